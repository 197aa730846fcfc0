//! When each commit of a release was first seen live.

use jiff::Timestamp;

use super::StoreError;
use super::columns::{parse, time};
use super::db::{Connection, Readers, Statement};
use super::writer::{Ledger, Write};
use crate::names::{CommitId, ReleaseKey};

/// Notes that a commit was seen live; the first time counts.
pub(super) struct NoteLive {
    pub(super) key: ReleaseKey,
    pub(super) commit: CommitId,
    pub(super) at: Timestamp,
}

impl Write for NoteLive {
    type Answer = ();

    async fn run(self, db: &mut Connection, _: &mut Ledger) -> Result<(), sqlx::Error> {
        let query =
            Statement::new("INSERT INTO live (release, commit_id, at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING")
                .bind(self.key.to_string())
                .bind(self.commit.as_str())
                .bind(time(self.at));
        db.execute(query).await?;
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
pub(super) async fn of_release(
    db: &Readers,
    key: &ReleaseKey,
    limit: u32,
) -> Result<Vec<(CommitId, Timestamp)>, StoreError> {
    let query = Statement::new("SELECT commit_id, at FROM live WHERE release = $1 ORDER BY at DESC LIMIT $2");
    let rows = db.rows(query.bind(key.to_string()).bind(i64::from(limit))).await?;
    rows.iter().map(|row| Ok((parse(row, "commit_id")?, parse(row, "at")?))).collect()
}
