//! Leases: one replica at a time is at work on what waits, and what a dead one had is taken over.
//!
//! A lease is two columns of a delivery, not a lock: it outlives a connection, and no transaction stays open during a push. Whatever becomes of
//! the delivery ends it.

use super::columns::time;
use super::db::{Connection, Statement};
use super::inbox::{COLUMNS, delivery};
use super::writer::{Ledger, Write};
use super::{Lease, PAGE_ROWS_MAX, StoreError};
use crate::event::Delivery;

/// Takes what waits.
pub(super) struct TakeLease {
    pub(super) lease: Lease,
    pub(super) limit: u32,
}

impl Write for TakeLease {
    type Answer = Vec<Result<Delivery, StoreError>>;

    async fn run(self, db: &mut Connection, _: &mut Ledger) -> Result<Self::Answer, sqlx::Error> {
        let Self { lease: Lease { owner, now, until }, limit } = self;
        let take = Statement::new(
            "UPDATE deliveries SET leased_by = $1, leased_until = $2 WHERE number IN
             (SELECT number FROM deliveries WHERE state IN ('accepted', 'failed')
              AND (leased_by IS NULL OR leased_by = $1 OR leased_until <= $3) ORDER BY number LIMIT $4)",
        );
        db.execute(take.bind(&owner).bind(time(until)).bind(time(now)).bind(limit.min(PAGE_ROWS_MAX))).await?;
        // Not by `RETURNING`, whose rows are in no order.
        let mut taken = Statement::new("SELECT ");
        taken
            .push(COLUMNS)
            .push(" FROM deliveries WHERE state IN ('accepted', 'failed') AND leased_by = ")
            .push_bind(&owner);
        taken.push(" AND leased_until = ").push_bind(time(until)).push(" ORDER BY number");
        Ok(db.rows(taken).await?.iter().map(delivery).collect())
    }
}

/// Keeps for longer what an owner has.
pub(super) struct ExtendLease {
    pub(super) lease: Lease,
}

impl Write for ExtendLease {
    type Answer = u64;

    async fn run(self, db: &mut Connection, _: &mut Ledger) -> Result<u64, sqlx::Error> {
        let Lease { owner, now: _, until } = self.lease;
        let extend = Statement::new(
            "UPDATE deliveries SET leased_until = $2 WHERE leased_by = $1 AND state IN ('accepted', 'failed')",
        );
        db.execute(extend.bind(owner).bind(time(until))).await
    }
}

/// Gives back what an owner has.
pub(super) struct EndLease {
    pub(super) owner: String,
}

impl Write for EndLease {
    type Answer = u64;

    async fn run(self, db: &mut Connection, _: &mut Ledger) -> Result<u64, sqlx::Error> {
        let end = Statement::new(
            "UPDATE deliveries SET leased_by = NULL, leased_until = NULL WHERE leased_by = $1 AND state IN ('accepted', 'failed')",
        );
        db.execute(end.bind(self.owner)).await
    }
}
