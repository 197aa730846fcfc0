//! Removing what has been kept long enough, a little at a time so that deliveries do not wait behind it.

use jiff::{SignedDuration, Timestamp};

use super::columns::{json, time};
use super::db::{Connection, Statement};
use super::ledger::Ledger;
use super::writer::Write;
use super::{Limits, Pruned};

/// How long a delivery is kept; what waits is kept until it is done.
const DELIVERIES_KEPT: SignedDuration = SignedDuration::from_hours(30 * 24);

/// How long the id of a delivery is kept, so that a repeat is known as one.
const DELIVERY_IDS_KEPT: SignedDuration = SignedDuration::from_hours(90 * 24);

/// How long an idempotency key and its answer are kept.
pub(super) const IDEMPOTENCY_KEYS_KEPT: SignedDuration = SignedDuration::from_hours(24);

/// How long an audit entry is kept: a year, as audits are asked for.
const AUDIT_KEPT: SignedDuration = SignedDuration::from_hours(365 * 24);

/// How long it is kept when a commit was first seen live: as long as anybody is asked what served when.
const LIVE_KEPT: SignedDuration = SignedDuration::from_hours(365 * 24);

/// Audit entries and idempotency keys that are kept at most, as many as deliveries: they are fed from outside too.
const ROWS_MAX: u32 = 100_000;

/// Rows of one table that one turn of the writer removes: some milliseconds of work.
const STEP_ROWS: u32 = 1_000;

/// One step of a pruning; done when it removed nothing.
pub(super) struct PruneStep {
    pub(super) now: Timestamp,
}

impl Write for PruneStep {
    type Answer = Pruned;

    async fn run(self, db: &mut Connection, ledger: &mut Ledger) -> Result<Pruned, sqlx::Error> {
        let before = |kept| time(self.now.checked_sub(kept).unwrap_or(Timestamp::MIN));
        Ok(Pruned {
            deliveries: prune_deliveries(db, &before(DELIVERIES_KEPT), ledger.limits).await?,
            delivery_ids: prune_delivery_ids(db, &before(DELIVERY_IDS_KEPT)).await?,
            idempotency_keys: prune_idempotency_keys(db, &before(IDEMPOTENCY_KEYS_KEPT)).await?,
            audit_entries: prune_audit(db, &before(AUDIT_KEPT)).await?,
            live: prune_live(db, &before(LIVE_KEPT)).await?,
        })
    }
}

impl Pruned {
    /// Whether nothing was removed.
    pub fn is_nothing(self) -> bool {
        self == Self::default()
    }

    pub(super) fn add(&mut self, step: Self) {
        let Self { deliveries, delivery_ids, idempotency_keys, audit_entries, live } = step;
        self.deliveries += deliveries;
        self.delivery_ids += delivery_ids;
        self.idempotency_keys += idempotency_keys;
        self.audit_entries += audit_entries;
        self.live += live;
    }
}

/// Removes the oldest deliveries that are done and either old or too many. Their ids are kept, except those of refused ones: they had
/// no effect, and the sender may try them again.
async fn prune_deliveries(db: &mut Connection, before: &str, limits: Limits) -> Result<u64, sqlx::Error> {
    let rows = db.number(Statement::new("SELECT count(*) FROM deliveries")).await?;
    let too_many = usize::try_from(rows - i64::from(limits.deliveries_max)).unwrap_or(0);
    // Arrival goes with time, so only the oldest are looked at.
    let oldest = Statement::new(
        "SELECT number, received_at < $1 AS is_old FROM deliveries WHERE state NOT IN ('accepted', 'failed') ORDER BY number LIMIT $2",
    );
    let oldest = db.rows(oldest.bind(before).bind(STEP_ROWS)).await?;
    let mut numbers: Vec<i64> = Vec::new();
    for (place, row) in oldest.iter().enumerate() {
        if place < too_many || row.get("is_old")? {
            numbers.push(row.get("number")?);
        }
    }
    if numbers.is_empty() {
        return Ok(0);
    }
    let numbers = json(&numbers)?;
    let these = db.numbers_of_list();
    let remember = format!(
        "INSERT INTO past_deliveries (delivery_id, source, number, state, received_at)
         SELECT delivery_id, source, number, state, received_at FROM deliveries
         WHERE number IN ({these}) AND state <> 'refused'
         ON CONFLICT (delivery_id, source) DO NOTHING",
    );
    db.execute(Statement::new(remember).bind(&numbers)).await?;
    let delete = format!("DELETE FROM deliveries WHERE number IN ({these})");
    db.execute(Statement::new(delete).bind(numbers)).await
}

async fn prune_delivery_ids(db: &mut Connection, before: &str) -> Result<u64, sqlx::Error> {
    let delete = Statement::new(
        "DELETE FROM past_deliveries WHERE (delivery_id, source) IN
         (SELECT delivery_id, source FROM past_deliveries WHERE received_at < $1 ORDER BY received_at LIMIT $2)",
    );
    db.execute(delete.bind(before).bind(STEP_ROWS)).await
}

/// Removes old keys, and where there are too many the oldest that nobody is answering under.
async fn prune_idempotency_keys(db: &mut Connection, before: &str) -> Result<u64, sqlx::Error> {
    let delete = Statement::new(
        "DELETE FROM idempotency_keys WHERE (token_id, path, key) IN
         (SELECT token_id, path, key FROM idempotency_keys WHERE claimed_at < $1
          OR ((status IS NOT NULL OR claimed_by IS NULL) AND claimed_at < (SELECT claimed_at FROM idempotency_keys ORDER BY claimed_at DESC LIMIT 1 OFFSET $3))
          ORDER BY claimed_at LIMIT $2)",
    );
    db.execute(delete.bind(before).bind(STEP_ROWS).bind(ROWS_MAX)).await
}

async fn prune_audit(db: &mut Connection, before: &str) -> Result<u64, sqlx::Error> {
    let delete = Statement::new(
        "DELETE FROM audit WHERE number IN (SELECT number FROM (SELECT number, at FROM audit ORDER BY number LIMIT $2) oldest
         WHERE at < $1 OR number <= (SELECT number FROM audit ORDER BY number DESC LIMIT 1 OFFSET $3))",
    );
    db.execute(delete.bind(before).bind(STEP_ROWS).bind(ROWS_MAX)).await
}

async fn prune_live(db: &mut Connection, before: &str) -> Result<u64, sqlx::Error> {
    let delete = Statement::new(
        "DELETE FROM live WHERE (release, commit_id) IN
         (SELECT release, commit_id FROM live WHERE at < $1 ORDER BY at LIMIT $2)",
    );
    db.execute(delete.bind(before).bind(STEP_ROWS)).await
}
