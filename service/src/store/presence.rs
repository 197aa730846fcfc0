//! Which replicas are there: each holds an advisory lock of its own number, and one that all of them share, by the connection that writes. The server gives
//! both up with the connection, so nobody has to judge by a clock whether another one is dead.
//!
//! A replica that lost its connection is not seen until it has the next one, so what depends on this also waits for a while.

use super::StoreError;
use super::db::{Connection, Statement};
use super::ledger::Ledger;
use super::writer::Write;

/// The number that all replicas share.
const ALL: i64 = i64::from_be_bytes(*b"kmlflow.");

/// A replica's own number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Presence(i64);

impl Presence {
    /// A number that no other replica has.
    pub(super) fn new() -> Result<Self, StoreError> {
        let mut number = [0; 8];
        getrandom::fill(&mut number).map_err(|error| StoreError::from(std::io::Error::from(error)))?;
        Ok(Self(i64::from_be_bytes(number)))
    }

    pub(super) fn number(self) -> i64 {
        self.0
    }

    /// Says by a connection that writes that this replica is there.
    pub(super) async fn announce(self, db: &mut Connection) -> Result<(), sqlx::Error> {
        if !db.is_shared() {
            return Ok(());
        }
        // Shared, because the server may not have noticed yet that the connection before is gone.
        let locks = Statement::new("SELECT pg_advisory_lock_shared($1), pg_advisory_lock_shared($2)");
        db.execute(locks.bind(ALL).bind(self.0)).await.map(drop)
    }
}

/// What holds an advisory lock of a number in this database, as `pg_locks` has it
/// (<https://www.postgresql.org/docs/current/view-pg-locks.html>): the number is in two halves.
pub(super) const HOLDS: &str = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1
     AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
     AND ((classid::bigint << 32) | objid::bigint) = ";

/// Agrees with the other replicas on the branch that all of them release to.
pub(super) struct Agree {
    pub(super) branch: String,
}

impl Write for Agree {
    /// The branch of the others, where it is another one.
    type Answer = Option<String>;

    async fn run(self, db: &mut Connection, _: &mut Ledger) -> Result<Self::Answer, sqlx::Error> {
        if !db.is_shared() {
            return Ok(None);
        }
        let known = db.row(Statement::new("SELECT branch FROM ledger WHERE only_row = 1")).await?;
        let known: Option<String> = known.ok_or(sqlx::Error::RowNotFound)?.get("branch")?;
        if let Some(known) = known.filter(|known| *known != self.branch) {
            let others = format!("SELECT count(*) FROM ({HOLDS} $1 AND pid <> pg_backend_pid()) AS others");
            if db.number(Statement::new(others).bind(ALL)).await? > 0 {
                return Ok(Some(known));
            }
        }
        db.execute(Statement::new("UPDATE ledger SET branch = $1 WHERE only_row = 1").bind(self.branch)).await?;
        Ok(None)
    }
}
