//! How much waits, and who leads: what the writer knows without asking the database.

use super::Limits;
use super::db::{Connection, Statement};

/// What the writer knows without asking the database.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ledger {
    /// Deliveries that wait.
    pub(super) waiting: u64,
    /// The term of whoever leads, where replicas share the store.
    pub(super) term: i64,
    /// The server's number of the transaction that is open, where there is a server.
    pub(super) transaction: Option<i64>,
    pub(super) limits: Limits,
}

impl Ledger {
    /// How many deliveries more may wait.
    pub(super) fn room(&self) -> u64 {
        self.limits.waiting_max.saturating_sub(self.waiting)
    }

    pub(super) async fn read(db: &mut Connection, limits: Limits) -> Result<Self, sqlx::Error> {
        let waiting = Statement::new("SELECT count(*) FROM deliveries WHERE state IN ('accepted', 'failed')");
        Ok(Self { waiting: db.number(waiting).await?.unsigned_abs(), term: 0, transaction: None, limits })
    }

    /// Counts what waits, and writes it down where replicas share the store.
    pub(super) async fn recount(db: &mut Connection, limits: Limits) -> Result<Self, sqlx::Error> {
        if !db.is_shared() {
            return Self::read(db, limits).await;
        }
        db.begin().await?;
        let ledger = Self::read(db, limits).await?;
        db.commit(Some(ledger.waiting)).await?;
        Ok(ledger)
    }
}
