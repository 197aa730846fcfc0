//! The term of a leader where replicas share the store: what it has taken up, and that one who was replaced writes nothing any more.
//!
//! Every transaction locks the one row of `ledger` first, which has the number of the present term. So a leader's writes are refused from the moment
//! at which the next one has begun, whenever it hears of that itself. A lease is the number of a term in a column of the delivery: no transaction
//! stays open during a push, and no clock decides who is dead.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use super::columns::{from_json_some, json};
use super::db::{Connection, Readers, Row, Statement};
use super::inbox::{COLUMNS, delivery};
use super::ledger::Ledger;
use super::writer::Write;
use super::{PAGE_ROWS_MAX, StoreError, TakenUp, Told};
use crate::event::Delivery;

/// The term that this replica leads in.
#[derive(Debug, Clone, Default)]
pub(super) struct Term(Arc<AtomicI64>);

/// Whoever never led in a term writes as the only one there is.
const NONE: i64 = 0;

/// Whoever was replaced writes nothing of a leader's.
const OVER: i64 = -1;

impl Term {
    pub(super) fn begin(&self, term: i64) {
        self.0.store(term, Ordering::Relaxed);
    }

    pub(super) fn end(&self) {
        // Who has led in none goes on as before.
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |term| (term != NONE).then_some(OVER));
    }

    /// Its number; none where there are no terms.
    pub(super) fn number(&self) -> Option<i64> {
        Some(self.0.load(Ordering::Relaxed)).filter(|term| *term != NONE)
    }
}

/// A write of the leader's: nothing is written once its term is over.
pub(super) struct Led<W> {
    pub(super) term: Option<i64>,
    pub(super) write: W,
}

impl<W: Write> Write for Led<W> {
    /// None: the term is over.
    type Answer = Option<W::Answer>;

    async fn run(self, db: &mut Connection, ledger: &mut Ledger) -> Result<Self::Answer, sqlx::Error> {
        match self.term {
            Some(term) if term != ledger.term => Ok(None),
            _ => self.write.run(db, ledger).await.map(Some),
        }
    }
}

/// Begins a term: everything that waits is the new leader's. Answers the number of the term.
pub(super) struct TakeOver;

impl Write for TakeOver {
    type Answer = i64;

    async fn run(self, db: &mut Connection, ledger: &mut Ledger) -> Result<i64, sqlx::Error> {
        let term = ledger.term + 1;
        db.execute(Statement::new("UPDATE ledger SET term = $1 WHERE only_row = 1").bind(term)).await?;
        let lease = Statement::new("UPDATE deliveries SET leased_in = $1 WHERE state IN ('accepted', 'failed')");
        db.execute(lease.bind(term)).await?;
        ledger.term = term;
        Ok(term)
    }
}

/// Takes up what has arrived since, oldest first. A lease below zero is the same one of a delivery that somebody gave in again.
pub(super) struct TakeUp {
    pub(super) limit: u32,
}

/// What a leader has not taken up.
const FREE: &str = "leased_in IS NULL AND state IN ('accepted', 'failed')";

/// What it has, and somebody gave in again.
const SOONER: &str = "leased_in < 0 AND state IN ('accepted', 'failed')";

impl Write for TakeUp {
    type Answer = Result<TakenUp, StoreError>;

    async fn run(self, db: &mut Connection, ledger: &mut Ledger) -> Result<Self::Answer, sqlx::Error> {
        let limit = self.limit.min(PAGE_ROWS_MAX);
        let mut free = Statement::new("SELECT ");
        free.push(COLUMNS).push(" FROM deliveries WHERE ").push(FREE);
        free.push(" ORDER BY number LIMIT ").push_bind(limit);
        let arrived = db.rows(free).await?;
        let mut sooner = Statement::new("SELECT number FROM deliveries WHERE ");
        sooner.push(SOONER).push(" ORDER BY number LIMIT ").push_bind(limit);
        let number = |row: &Row| row.get::<i64>("number");
        let sooner: Vec<i64> = db.rows(sooner).await?.iter().map(number).collect::<Result<_, _>>()?;
        let mut numbers: Vec<i64> = arrived.iter().map(number).collect::<Result<_, _>>()?;
        numbers.extend(&sooner);
        let lease = format!("UPDATE deliveries SET leased_in = $2 WHERE number IN ({})", db.numbers_of_list());
        db.execute(Statement::new(lease).bind(json(&numbers)?).bind(ledger.term)).await?;
        let arrived: Result<_, _> = arrived.iter().map(delivery).collect();
        Ok(arrived.map(|arrived| TakenUp { arrived, sooner }))
    }
}

/// Whether there is something that nobody has taken up.
pub(super) async fn is_something_free(db: &Readers) -> Result<bool, StoreError> {
    let mut free = Statement::new("SELECT number FROM (SELECT number FROM deliveries WHERE ");
    free.push(FREE).push(" UNION ALL SELECT number FROM deliveries WHERE ").push(SOONER).push(") free LIMIT 1");
    Ok(db.row(free).await?.is_some())
}

/// Those of some deliveries about which whoever waits for them can be told something, and what beside their verdict.
pub(super) async fn told(db: &Readers, numbers: &[i64]) -> Result<Vec<(Delivery, Told)>, StoreError> {
    let mut out = Vec::new();
    for numbers in numbers.chunks(PAGE_ROWS_MAX as usize) {
        let mut query = Statement::new("SELECT ");
        query.push(COLUMNS).push(", answer FROM deliveries WHERE answer IS NOT NULL AND number IN (");
        for (place, number) in numbers.iter().enumerate() {
            query.push(if place == 0 { "" } else { ", " }).push_bind(*number);
        }
        query.push(")");
        for row in db.rows(query).await? {
            if let Some(told) = from_json_some(&row, "answer")? {
                out.push((delivery(&row)?, told));
            }
        }
    }
    Ok(out)
}
