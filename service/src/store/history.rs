//! The index of the repository's history: which commits changed a release, so that nobody walks Git to answer that.

use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, SqliteConnection, SqlitePool};

use super::columns::{get, parse, time, word, word_some, write_rows};
use super::writer::{Ledger, Write};
use super::{IndexedCommit, PAGE_ROWS_MAX, StoreError};
use crate::names::{CommitId, ReleaseKey};

const COLUMNS: &str = "environment, namespace, name, commit_id, action, version, strategy, phase, at, release_id, requested_by, delivery_id, subject";

const INSERT: (&str, &str) = (
    "INSERT INTO commits (environment, namespace, name, commit_id, action, version, strategy, phase, at, release_id, requested_by,
     delivery_id, subject) ",
    " ON CONFLICT (commit_id, environment, namespace, name) DO NOTHING",
);

/// Adds commits, oldest first, and moves each release's newest.
pub(super) async fn write_commits(db: &mut SqliteConnection, commits: &[IndexedCommit]) -> Result<(), sqlx::Error> {
    if commits.is_empty() {
        return Ok(());
    }
    let last: i64 = sqlx::query_scalar("SELECT coalesce(max(position), 0) FROM commits").fetch_one(&mut *db).await?;
    write_rows(db, INSERT, commits, |values, commit| {
        let IndexedCommit {
            key,
            commit,
            action,
            version,
            strategy,
            phase,
            at,
            release_id,
            requested_by,
            delivery_id,
            subject,
        } = commit;
        values.push_bind(key.environment.as_str());
        values.push_bind(key.namespace.as_str());
        values.push_bind(key.name.as_str());
        values.push_bind(commit.as_str());
        values.push_bind(action.as_str());
        values.push_bind(version.as_str());
        values.push_bind(strategy.as_str());
        values.push_bind(phase.map(|phase| phase.as_str()));
        values.push_bind(time(*at));
        values.push_bind(release_id.as_str());
        values.push_bind(requested_by.clone());
        values.push_bind(delivery_id.clone());
        values.push_bind(subject.as_str());
    })
    .await?;
    let newest = sqlx::query(
        "INSERT INTO newest_commits (environment, namespace, name, position)
         SELECT environment, namespace, name, max(position) FROM commits WHERE position > $1 GROUP BY environment, namespace, name
         ON CONFLICT (environment, namespace, name) DO UPDATE SET position = excluded.position",
    );
    newest.bind(last).execute(db).await?;
    Ok(())
}

/// Writes down up to where the index reaches.
pub(super) async fn write_tip(db: &mut SqliteConnection, tip: &CommitId) -> Result<(), sqlx::Error> {
    let query = sqlx::query(
        "INSERT INTO indexed_tip (only_row, commit_id) VALUES (1, $1) ON CONFLICT (only_row) DO UPDATE SET commit_id = excluded.commit_id",
    );
    query.bind(tip.as_str()).execute(db).await?;
    Ok(())
}

/// Empties the index.
pub(super) struct ForgetIndex;

impl Write for ForgetIndex {
    type Answer = ();

    async fn run(self, db: &mut SqliteConnection, _: &mut Ledger) -> Result<(), sqlx::Error> {
        sqlx::query("DELETE FROM commits").execute(&mut *db).await?;
        sqlx::query("DELETE FROM newest_commits").execute(&mut *db).await?;
        sqlx::query("DELETE FROM indexed_tip").execute(&mut *db).await?;
        Ok(())
    }
}

/// The commits of a release before one of them, newest first; none where that one did not change the release.
pub(super) async fn of_release(
    db: &SqlitePool,
    key: &ReleaseKey,
    before: Option<&CommitId>,
    limit: u32,
) -> Result<Vec<IndexedCommit>, StoreError> {
    let mut query = QueryBuilder::new("SELECT ");
    query.push(COLUMNS).push(" FROM commits WHERE ");
    push_key(&mut query, key);
    if let Some(before) = before {
        query.push(" AND position < (SELECT position FROM commits WHERE ");
        push_key(&mut query, key);
        query.push(" AND commit_id = ").push_bind(before.as_str()).push(")");
    }
    query.push(" ORDER BY position DESC LIMIT ").push_bind(limit.min(PAGE_ROWS_MAX));
    query.build().fetch_all(db).await?.iter().map(indexed_commit).collect()
}

fn push_key(query: &mut QueryBuilder<sqlx::Sqlite>, key: &ReleaseKey) {
    query.push("environment = ").push_bind(key.environment.as_str());
    query.push(" AND namespace = ").push_bind(key.namespace.as_str());
    query.push(" AND name = ").push_bind(key.name.as_str());
}

/// The newest commit of every release.
pub(super) async fn newest(db: &SqlitePool) -> Result<Vec<IndexedCommit>, StoreError> {
    let mut query = QueryBuilder::new("SELECT ");
    query.push(COLUMNS).push(" FROM commits WHERE position IN (SELECT position FROM newest_commits) ORDER BY position");
    query.build().fetch_all(db).await?.iter().map(indexed_commit).collect()
}

/// Up to where the index reaches.
pub(super) async fn tip(db: &SqlitePool) -> Result<Option<CommitId>, StoreError> {
    let row = sqlx::query("SELECT commit_id FROM indexed_tip").fetch_optional(db).await?;
    row.map(|row| parse(&row, "commit_id")).transpose()
}

fn indexed_commit(row: &SqliteRow) -> Result<IndexedCommit, StoreError> {
    Ok(IndexedCommit {
        key: ReleaseKey {
            environment: parse(row, "environment")?,
            namespace: parse(row, "namespace")?,
            name: parse(row, "name")?,
        },
        commit: parse(row, "commit_id")?,
        action: word(row, "action")?,
        version: parse(row, "version")?,
        strategy: word(row, "strategy")?,
        phase: word_some(row, "phase")?,
        at: parse(row, "at")?,
        release_id: get(row, "release_id")?,
        requested_by: get(row, "requested_by")?,
        delivery_id: get(row, "delivery_id")?,
        subject: get(row, "subject")?,
    })
}
