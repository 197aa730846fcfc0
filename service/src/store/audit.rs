//! The audit: what was refused, and what admins did.

use super::columns::{get, parse, time};
use super::db::{Connection, Readers, Statement};
use super::ledger::Ledger;
use super::writer::Write;
use super::{AuditEntry, Audited, PAGE_ROWS_MAX, StoreError};
use crate::names::ReleaseKey;

const INSERT: (&str, &str) = ("INSERT INTO audit (at, actor, action, release, outcome, reason) ", "");

/// Adds entries in their order.
pub(super) async fn write_entries(db: &mut Connection, entries: &[AuditEntry]) -> Result<(), sqlx::Error> {
    db.put_off_rows(INSERT, entries, |values, AuditEntry { at, actor, action, release, outcome, reason }| {
        values.push_bind(time(*at));
        values.push_bind(actor.as_deref());
        values.push_bind(action.as_str());
        values.push_bind(release.as_ref().map(ToString::to_string));
        values.push_bind(outcome.as_str());
        values.push_bind(reason.as_deref());
    })
    .await
}

impl Write for AuditEntry {
    type Answer = ();

    async fn run(self, db: &mut Connection, _: &mut Ledger) -> Result<(), sqlx::Error> {
        write_entries(db, &[self]).await
    }
}

/// Entries before a number, newest first.
pub(super) async fn list(db: &Readers, before: Option<i64>, limit: u32) -> Result<Vec<Audited>, StoreError> {
    let query = Statement::new("SELECT * FROM audit WHERE number < $1 ORDER BY number DESC LIMIT $2");
    let rows = db.rows(query.bind(before.unwrap_or(i64::MAX)).bind(limit.min(PAGE_ROWS_MAX))).await?;
    let entry = |row| {
        let release: Option<&str> = get(row, "release")?;
        let entry = AuditEntry {
            at: parse(row, "at")?,
            actor: get(row, "actor")?,
            action: get(row, "action")?,
            release: release
                .map(ReleaseKey::parse)
                .transpose()
                .map_err(|_| StoreError::Unreadable { what: "release" })?,
            outcome: get(row, "outcome")?,
            reason: get(row, "reason")?,
        };
        Ok(Audited { number: get(row, "number")?, entry })
    };
    rows.iter().map(entry).collect()
}
