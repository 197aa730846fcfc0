//! The index of the repository's history: which commits changed a release, so that nobody walks Git to answer that.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::columns::{get, json, parse, parse_some, time, word, word_some};
use super::db::{Connection, Readers, Row, Statement, Values};
use super::ledger::Ledger;
use super::writer::Write;
use super::{IndexedCommit, Newest, PAGE_ROWS_MAX, StoreError};
use crate::event::Source;
use crate::names::{CommitId, EnvironmentName, ReleaseKey};

const COLUMNS: &str = "environment, namespace, name, commit_id, action, version, strategy, phase, at, release_id, requested_by, delivery_id, subject";

const INSERT: (&str, &str) = (
    "INSERT INTO commits (environment, namespace, name, commit_id, action, version, strategy, phase, at, release_id, requested_by,
     delivery_id, subject) ",
    UNLESS_THERE,
);

/// The same with a place in the order that is given.
const INSERT_PAST: (&str, &str) = (
    "INSERT INTO commits (environment, namespace, name, commit_id, action, version, strategy, phase, at, release_id, requested_by,
     delivery_id, subject, position) ",
    UNLESS_THERE,
);

const UNLESS_THERE: &str = " ON CONFLICT (commit_id, environment, namespace, name) DO NOTHING";

/// The place before the first of what was there before the index was begun: those places are below zero, and end before the first of the others.
const PAST: i64 = -(1 << 40);

/// What events newly made since a moment, through an index of what was newly made by its moment.
pub(super) const MADE_BY_EVENTS: &str = "SELECT environment, at FROM commits WHERE action = 'create' AND at > $1
     AND EXISTS (SELECT 1 FROM deliveries WHERE deliveries.delivery_id = commits.delivery_id AND source <> $2)
     ORDER BY at, position";

/// Adds commits, oldest first, and moves each release's newest.
pub(super) async fn write_commits(db: &mut Connection, commits: &[IndexedCommit]) -> Result<(), sqlx::Error> {
    if commits.is_empty() {
        return Ok(());
    }
    db.put_off_rows(INSERT, commits, push_commit).await?;
    let ids: BTreeSet<&str> = commits.iter().map(|commit| commit.commit.as_str()).collect();
    let newest = format!(
        "INSERT INTO newest_commits (environment, namespace, name, position)
         SELECT environment, namespace, name, max(position) FROM commits WHERE commit_id IN ({})
         GROUP BY environment, namespace, name
         ON CONFLICT (environment, namespace, name) DO UPDATE SET position = excluded.position
         WHERE newest_commits.position < excluded.position",
        db.texts_of_list()
    );
    db.put_off(Statement::new(newest).bind(json(&ids)?)).await
}

fn push_commit<'c>(values: &mut Values<'_, 'c>, commit: &'c IndexedCommit) {
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
}

/// Writes down up to where the index reaches.
pub(super) async fn write_tip(db: &mut Connection, tip: &CommitId) -> Result<(), sqlx::Error> {
    let query = Statement::new(
        "INSERT INTO indexed_tip (only_row, commit_id) VALUES (1, $1) ON CONFLICT (only_row) DO UPDATE SET commit_id = excluded.commit_id",
    );
    db.put_off(query.bind(tip.as_str())).await
}

/// Begins the index anew, at a commit: what was before it is added later.
pub(super) struct BeginIndex {
    pub(super) at: CommitId,
}

impl Write for BeginIndex {
    type Answer = ();

    async fn run(self, db: &mut Connection, ledger: &mut Ledger) -> Result<(), sqlx::Error> {
        ForgetIndex.run(db, ledger).await?;
        write_tip(db, &self.at).await?;
        db.execute(Statement::new("UPDATE indexed_tip SET lacks = $1").bind(self.at.as_str())).await?;
        Ok(())
    }
}

/// Adds commits that were there before the index was begun: oldest first, and so are several of these.
pub(super) struct AddPast {
    /// Where the index was begun.
    pub(super) before: CommitId,
    pub(super) commits: Vec<IndexedCommit>,
    /// What an earlier try left is in the way.
    pub(super) is_first: bool,
    pub(super) is_last: bool,
}

impl Write for AddPast {
    /// Whether the index still lacks them.
    type Answer = bool;

    async fn run(self, db: &mut Connection, _: &mut Ledger) -> Result<bool, sqlx::Error> {
        let Self { before, commits, is_first, is_last } = self;
        let is_lacking = Statement::new("SELECT count(*) FROM indexed_tip WHERE lacks = $1").bind(before.as_str());
        if db.number(is_lacking).await? == 0 {
            return Ok(false);
        }
        if is_first {
            db.execute(Statement::new("DELETE FROM newest_commits WHERE position < 0")).await?;
            db.execute(Statement::new("DELETE FROM commits WHERE position < 0")).await?;
        }
        let last = Statement::new("SELECT coalesce(max(position), $1) FROM commits WHERE position < 0").bind(PAST);
        let last = db.number(last).await?;
        let placed: Vec<(i64, IndexedCommit)> = (last + 1..).zip(commits).collect();
        db.write_rows(INSERT_PAST, &placed, |values, (position, commit)| {
            push_commit(values, commit);
            values.push_bind(*position);
        })
        .await?;
        let newest = Statement::new(
            "INSERT INTO newest_commits (environment, namespace, name, position)
             SELECT environment, namespace, name, max(position) FROM commits WHERE position > $1 AND position < 0
             GROUP BY environment, namespace, name
             ON CONFLICT (environment, namespace, name) DO UPDATE SET position = excluded.position
             WHERE newest_commits.position < excluded.position",
        );
        db.execute(newest.bind(last)).await?;
        if is_last {
            db.execute(Statement::new("UPDATE indexed_tip SET lacks = NULL")).await?;
        }
        Ok(true)
    }
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

/// What is known of one commit of a release; nothing where it did not change the release.
pub(super) async fn one(
    db: &Readers,
    key: &ReleaseKey,
    commit: &CommitId,
) -> Result<Option<IndexedCommit>, StoreError> {
    let mut query = Statement::new("SELECT ");
    query.push(COLUMNS).push(" FROM commits WHERE commit_id = ").push_bind(commit.as_str()).push(" AND ");
    push_key(&mut query, key);
    db.row(query).await?.as_ref().map(indexed_commit).transpose()
}

/// What the index knows of some commits that the service made, or that speak as it.
pub(super) async fn ours_among(db: &Readers, commits: &[CommitId]) -> Result<Vec<IndexedCommit>, StoreError> {
    let mut found = Vec::new();
    for commits in commits.chunks(PAGE_ROWS_MAX as usize) {
        let mut query = Statement::new("SELECT ");
        query.push(COLUMNS).push(" FROM commits WHERE release_id <> '' AND commit_id IN (");
        for (place, commit) in commits.iter().enumerate() {
            query.push(if place == 0 { "" } else { ", " }).push_bind(commit.as_str());
        }
        query.push(")");
        for row in &db.rows(query).await? {
            found.push(indexed_commit(row)?);
        }
    }
    Ok(found)
}

fn push_key<'a>(query: &mut Statement<'a>, key: &'a ReleaseKey) {
    query.push("environment = ").push_bind(key.environment.as_str());
    query.push(" AND namespace = ").push_bind(key.namespace.as_str());
    query.push(" AND name = ").push_bind(key.name.as_str());
}

/// The newest commit of each release after one of them, by key.
pub(super) async fn newest(db: &Readers, after: Option<&ReleaseKey>) -> Result<Vec<Newest>, StoreError> {
    let mut query = Statement::new(
        "SELECT newest_commits.environment, newest_commits.namespace, newest_commits.name, commit_id, at, release_id
         FROM newest_commits JOIN commits ON commits.position = newest_commits.position ",
    );
    if let Some(ReleaseKey { environment, namespace, name }) = after {
        query.push("WHERE (newest_commits.environment, newest_commits.namespace, newest_commits.name) > (");
        query.push_bind(environment.as_str()).push(", ").push_bind(namespace.as_str()).push(", ");
        query.push_bind(name.as_str()).push(") ");
    }
    query.push("ORDER BY newest_commits.environment, newest_commits.namespace, newest_commits.name LIMIT ");
    query.push_bind(PAGE_ROWS_MAX);
    let newest = |row: &Row| {
        let is_ours = !get::<String>(row, "release_id")?.is_empty();
        Ok(Newest { key: key(row)?, commit: parse(row, "commit_id")?, at: parse(row, "at")?, is_ours })
    };
    db.rows(query).await?.iter().map(newest).collect()
}

/// The releases that events newly made since a moment, the earliest first.
pub(super) async fn made_by_events(
    db: &Readers,
    since: Timestamp,
) -> Result<Vec<(EnvironmentName, Timestamp)>, StoreError> {
    let query = Statement::new(MADE_BY_EVENTS).bind(time(since)).bind(Source::Api.as_str());
    let made = |row: &Row| Ok((parse(row, "environment")?, parse(row, "at")?));
    db.rows(query).await?.iter().map(made).collect()
}

/// Up to where the index reaches, and the commit up to which it lacks what was before.
pub(super) async fn reach(db: &Readers) -> Result<Option<(CommitId, Option<CommitId>)>, StoreError> {
    let row = db.row(Statement::new("SELECT commit_id, lacks FROM indexed_tip")).await?;
    row.map(|row| Ok((parse(&row, "commit_id")?, parse_some(&row, "lacks")?))).transpose()
}

fn key(row: &Row) -> Result<ReleaseKey, StoreError> {
    Ok(ReleaseKey {
        environment: parse(row, "environment")?,
        namespace: parse(row, "namespace")?,
        name: parse(row, "name")?,
    })
}

fn indexed_commit(row: &Row) -> Result<IndexedCommit, StoreError> {
    Ok(IndexedCommit {
        key: key(row)?,
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
