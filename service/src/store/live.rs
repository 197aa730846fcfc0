//! When each commit of a release was first seen live.

use jiff::Timestamp;

use super::StoreError;
use super::columns::{parse, parse_some, time};
use super::db::{Connection, Readers, Statement};
use super::ledger::Ledger;
use super::writer::Write;
use crate::names::{CommitId, ReleaseKey};

/// When a commit was first seen live, and on its way there, where that was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenLive {
    pub commit: CommitId,
    pub at: Timestamp,
    /// Argo CD had applied it.
    pub applied_at: Option<Timestamp>,
    /// The pods of every predictor were ready.
    pub ready_at: Option<Timestamp>,
}

/// Notes that a commit was seen live; the first time counts.
pub(super) struct NoteLive {
    pub(super) key: ReleaseKey,
    pub(super) seen: SeenLive,
}

impl Write for NoteLive {
    type Answer = ();

    async fn run(self, db: &mut Connection, _: &mut Ledger) -> Result<(), sqlx::Error> {
        let SeenLive { commit, at, applied_at, ready_at } = &self.seen;
        let query = Statement::new(
            "INSERT INTO live (release, commit_id, at, applied_at, ready_at) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
        );
        let query = query.bind(self.key.to_string()).bind(commit.as_str()).bind(time(*at));
        db.execute(query.bind(applied_at.map(time)).bind(ready_at.map(time))).await?;
        Ok(())
    }
}

/// When a commit of a release was first seen live.
pub(super) async fn since(db: &Readers, key: &ReleaseKey, commit: &CommitId) -> Result<Option<Timestamp>, StoreError> {
    let query = Statement::new("SELECT at FROM live WHERE release = $1 AND commit_id = $2");
    let rows = db.rows(query.bind(key.to_string()).bind(commit.as_str())).await?;
    rows.first().map(|row| parse(row, "at")).transpose()
}

/// The commits of a release that were seen live, and when, the newest first.
pub(super) async fn of_release(db: &Readers, key: &ReleaseKey, limit: u32) -> Result<Vec<SeenLive>, StoreError> {
    let query = Statement::new(
        "SELECT commit_id, at, applied_at, ready_at FROM live WHERE release = $1 ORDER BY at DESC LIMIT $2",
    );
    let rows = db.rows(query.bind(key.to_string()).bind(i64::from(limit))).await?;
    let seen = |row| {
        let (applied_at, ready_at) = (parse_some(row, "applied_at")?, parse_some(row, "ready_at")?);
        Ok(SeenLive { commit: parse(row, "commit_id")?, at: parse(row, "at")?, applied_at, ready_at })
    };
    rows.iter().map(seen).collect()
}
