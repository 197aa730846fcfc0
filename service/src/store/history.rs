//! The index of the repository's history: which commits changed a release, so that nobody walks Git to answer that.

use super::columns::{get, parse, time, word, word_some};
use super::db::{Connection, Readers, Row, Statement};
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
pub(super) async fn write_commits(db: &mut Connection, commits: &[IndexedCommit]) -> Result<(), sqlx::Error> {
    if commits.is_empty() {
        return Ok(());
    }
    let last = db.number(Statement::new("SELECT coalesce(max(position), 0) FROM commits")).await?;
    db.write_rows(INSERT, commits, |values, commit| {
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
        values.push_bind(requested_by.as_deref());
        values.push_bind(delivery_id.as_deref());
        values.push_bind(subject.as_str());
    })
    .await?;
    let newest = Statement::new(
        "INSERT INTO newest_commits (environment, namespace, name, position)
         SELECT environment, namespace, name, max(position) FROM commits WHERE position > $1 GROUP BY environment, namespace, name
         ON CONFLICT (environment, namespace, name) DO UPDATE SET position = excluded.position",
    );
    db.execute(newest.bind(last)).await?;
    Ok(())
}

/// Writes down up to where the index reaches.
pub(super) async fn write_tip(db: &mut Connection, tip: &CommitId) -> Result<(), sqlx::Error> {
    let query = Statement::new(
        "INSERT INTO indexed_tip (only_row, commit_id) VALUES (1, $1) ON CONFLICT (only_row) DO UPDATE SET commit_id = excluded.commit_id",
    );
    db.execute(query.bind(tip.as_str())).await?;
    Ok(())
}

/// Empties the index.
pub(super) struct ForgetIndex;

impl Write for ForgetIndex {
    type Answer = ();

    async fn run(self, db: &mut Connection, _: &mut Ledger) -> Result<(), sqlx::Error> {
        db.execute(Statement::new("DELETE FROM commits")).await?;
        db.execute(Statement::new("DELETE FROM newest_commits")).await?;
        db.execute(Statement::new("DELETE FROM indexed_tip")).await?;
        Ok(())
    }
}

/// The commits of a release before one of them, newest first; none where that one did not change the release.
pub(super) async fn of_release(
    db: &Readers,
    key: &ReleaseKey,
    before: Option<&CommitId>,
    limit: u32,
) -> Result<Vec<IndexedCommit>, StoreError> {
    let mut query = Statement::new("SELECT ");
    query.push(COLUMNS).push(" FROM commits WHERE ");
    push_key(&mut query, key);
    if let Some(before) = before {
        query.push(" AND position < (SELECT position FROM commits WHERE ");
        push_key(&mut query, key);
        query.push(" AND commit_id = ").push_bind(before.as_str()).push(")");
    }
    query.push(" ORDER BY position DESC LIMIT ").push_bind(limit.min(PAGE_ROWS_MAX));
    db.rows(query).await?.iter().map(indexed_commit).collect()
}

fn push_key<'a>(query: &mut Statement<'a>, key: &'a ReleaseKey) {
    query.push("environment = ").push_bind(key.environment.as_str());
    query.push(" AND namespace = ").push_bind(key.namespace.as_str());
    query.push(" AND name = ").push_bind(key.name.as_str());
}

/// The newest commit of every release.
pub(super) async fn newest(db: &Readers) -> Result<Vec<IndexedCommit>, StoreError> {
    let mut query = Statement::new("SELECT ");
    query.push(COLUMNS).push(" FROM commits WHERE position IN (SELECT position FROM newest_commits) ORDER BY position");
    db.rows(query).await?.iter().map(indexed_commit).collect()
}

/// Up to where the index reaches.
pub(super) async fn tip(db: &Readers) -> Result<Option<CommitId>, StoreError> {
    let row = db.row(Statement::new("SELECT commit_id FROM indexed_tip")).await?;
    row.map(|row| parse(&row, "commit_id")).transpose()
}

fn indexed_commit(row: &Row) -> Result<IndexedCommit, StoreError> {
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
