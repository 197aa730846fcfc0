//! Reading the inbox.

use super::super::columns::{from_json, get, number, parse, parse_some, word};
use super::super::db::{Readers, Row, Statement};
use super::super::{DeliveryQuery, PAGE_ROWS_MAX, StoreError};
use crate::event::{Delivery, DeliveryState, Source, Verdict};
use crate::names::ReleaseKey;

/// All columns but the body: a page of bodies could be a thousand MiB.
pub(in super::super) const COLUMNS: &str = "number, source, delivery_id, received_at, state, attempt, next_attempt_at, release, commit_id, reason, cure, waits_for, event";

/// Reads a row of [`COLUMNS`]; the body where it is one of them.
pub(in super::super) fn delivery(row: &Row) -> Result<Delivery, StoreError> {
    Ok(Delivery {
        number: get(row, "number")?,
        source: word(row, "source")?,
        id: parse(row, "delivery_id")?,
        received_at: parse(row, "received_at")?,
        body: row.body("body").unwrap_or_default(),
        event: from_json(row, "event")?,
        state: word(row, "state")?,
        verdict: Verdict {
            release: get::<Option<&str>>(row, "release")?
                .map(ReleaseKey::parse)
                .transpose()
                .map_err(|_| StoreError::Unreadable { what: "release" })?,
            commit: parse_some(row, "commit_id")?,
            reason: get(row, "reason")?,
            cure: get(row, "cure")?,
            waits_for: get(row, "waits_for")?,
        },
        attempt: number(row, "attempt")?,
        next_attempt_at: parse_some(row, "next_attempt_at")?,
    })
}

/// What waits after a number, oldest first; of a term alone, where there is one.
pub(in super::super) async fn waiting(
    db: &Readers,
    (after, term): (i64, Option<i64>),
    limit: u32,
) -> Result<Vec<Delivery>, StoreError> {
    // Through the index on the state for the numbers alone: the other way round, SQLite would sort whole rows.
    let mut query = Statement::new("SELECT ");
    query.push(COLUMNS).push(" FROM deliveries WHERE number IN (");
    for state in ["accepted", "failed"] {
        query.push(if state == "failed" { " UNION ALL " } else { "" });
        query.push("SELECT number FROM deliveries WHERE state = '").push(state).push("' AND number > ");
        query.push_bind(after);
        if let Some(term) = term {
            // What somebody gave in again bears it below zero until it is taken up as that.
            query.push(" AND leased_in IN (").push_bind(term).push(", ").push_bind(-term).push(")");
        }
    }
    query.push(" ORDER BY number LIMIT ").push_bind(limit.min(PAGE_ROWS_MAX)).push(") ORDER BY number");
    db.rows(query).await?.iter().map(delivery).collect()
}

/// The newest delivery of an id, with its body.
pub(in super::super) async fn by_id(
    db: &Readers,
    source: Option<Source>,
    id: &str,
) -> Result<Option<Delivery>, StoreError> {
    let mut query = Statement::new("SELECT ");
    query.push(COLUMNS).push(", body FROM deliveries WHERE delivery_id = ").push_bind(id.to_owned());
    if let Some(source) = source {
        query.push(" AND source = ").push_bind(source.as_str());
    }
    query.push(" ORDER BY number DESC LIMIT 1");
    db.row(query).await?.as_ref().map(delivery).transpose()
}

/// A page of deliveries, newest first.
pub(in super::super) async fn list(db: &Readers, wanted: &DeliveryQuery) -> Result<Vec<Delivery>, StoreError> {
    let DeliveryQuery { source, state, release, before, limit } = wanted;
    let mut query = Statement::new("SELECT ");
    query.push(COLUMNS).push(" FROM deliveries WHERE number < ").push_bind(before.unwrap_or(i64::MAX));
    if let Some(source) = source {
        query.push(" AND source = ").push_bind(source.as_str());
    }
    if let Some(state) = state {
        query.push(" AND state = ").push_bind(state.as_str());
    }
    if let Some(release) = release {
        query.push(" AND release = ").push_bind(release.to_string());
    }
    query.push(" ORDER BY number DESC LIMIT ").push_bind((*limit).min(PAGE_ROWS_MAX));
    db.rows(query).await?.iter().map(delivery).collect()
}

/// How many deliveries are in each state.
pub(in super::super) async fn depth(db: &Readers) -> Result<Vec<(DeliveryState, u64)>, StoreError> {
    let rows =
        db.rows(Statement::new("SELECT state, count(*) AS rows FROM deliveries GROUP BY state ORDER BY state")).await?;
    rows.iter().map(|row| Ok((word(row, "state")?, get::<i64>(row, "rows")?.unsigned_abs()))).collect()
}
