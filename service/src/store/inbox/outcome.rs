//! Writing down what became of deliveries, and letting one wait again.

use std::collections::BTreeMap;

use super::super::columns::{json, time};
use super::super::db::{Connection, Statement, Values};
use super::super::ledger::Ledger;
use super::super::writer::Write;
use super::super::{DeliveryOutcome, Redelivered, StoreError};
use super::accept::{wait_again, wait_no_longer};
use crate::event::Event;
use crate::names::CommitId;

const UPDATE: (&str, &str) = (
    "WITH became (number, state, attempt, next_attempt_at, release, commit_id, reason, cure, waits_for, answer) AS (",
    ") UPDATE deliveries SET state = became.state, attempt = became.attempt, next_attempt_at = became.next_attempt_at,
       release = became.release, reason = became.reason, cure = became.cure, waits_for = became.waits_for, answer = became.answer,
       commit_id = CASE became.state WHEN 'accepted' THEN became.commit_id ELSE coalesce(became.commit_id, deliveries.commit_id) END
       FROM became WHERE deliveries.number = became.number",
);

/// Writes down what became of deliveries; the last outcome of a number counts. One that made no commit leaves the one of before.
pub(in super::super) async fn write_outcomes(
    db: &mut Connection,
    ledger: &mut Ledger,
    outcomes: Vec<DeliveryOutcome>,
) -> Result<(), sqlx::Error> {
    if outcomes.is_empty() {
        return Ok(());
    }
    let last: BTreeMap<i64, DeliveryOutcome> = outcomes.into_iter().map(|outcome| (outcome.number, outcome)).collect();
    let numbers = json(&last.keys().collect::<Vec<_>>())?;
    let rows: Vec<(DeliveryOutcome, Option<String>)> = last.into_values().map(with_answer).collect::<Result<_, _>>()?;
    let before = waiting_among(db, &numbers);
    let (before, changed) = db.write_rows_after(before, UPDATE, &rows, push_outcome).await?;
    // All were there, nearly always; only where one was not it is worth asking.
    let after = match changed == rows.len() as u64 {
        true => rows.iter().filter(|(outcome, _)| outcome.state.is_waiting()).count() as u64,
        false => db.number(waiting_among(db, &numbers)).await?.unsigned_abs(),
    };
    ledger.waiting = (ledger.waiting + after).saturating_sub(before.unsigned_abs());
    Ok(())
}

fn push_outcome<'o>(values: &mut Values<'_, 'o>, (outcome, answer): &'o (DeliveryOutcome, Option<String>)) {
    let DeliveryOutcome { number, state, verdict, attempt, next_attempt_at, told: _ } = outcome;
    values.push_bind(*number);
    values.push_bind(state.as_str());
    values.push_bind(*attempt);
    values.push_bind(next_attempt_at.map(time));
    values.push_bind(verdict.release.as_ref().map(ToString::to_string));
    values.push_bind(verdict.commit.as_ref().map(CommitId::as_str));
    values.push_bind(verdict.reason.as_deref());
    values.push_bind(verdict.cure.as_deref());
    values.push_bind(verdict.waits_for.as_deref());
    values.push_bind(answer.as_deref());
}

/// An outcome, and what whoever waits for it is told, as it is written.
fn with_answer(outcome: DeliveryOutcome) -> Result<(DeliveryOutcome, Option<String>), sqlx::Error> {
    let answer = outcome.told.as_ref().map(json).transpose()?;
    Ok((outcome, answer))
}

/// How many of these deliveries wait.
fn waiting_among<'n>(db: &Connection, numbers: &'n str) -> Statement<'n> {
    // The state is no condition of the search: its index would be walked through all that wait, for each of the numbers.
    let query = format!(
        "SELECT count(CASE WHEN state IN ('accepted', 'failed') THEN 1 END) FROM deliveries WHERE number IN ({})",
        db.numbers_of_list()
    );
    Statement::new(query).bind(numbers)
}

/// Lets a delivery wait again, whatever became of it; what still waits is tried at once, and is not doubled.
pub(in super::super) struct Redeliver {
    pub(in super::super) number: i64,
}

impl Write for Redeliver {
    /// Nothing where there is none of that number.
    type Answer = Result<Option<Redelivered>, StoreError>;

    async fn run(self, db: &mut Connection, ledger: &mut Ledger) -> Result<Self::Answer, sqlx::Error> {
        let waits = Statement::new("SELECT state IN ('accepted', 'failed') AS waits FROM deliveries WHERE number = $1");
        let waits = db.row(waits.bind(self.number)).await?.map(|row| row.get::<bool>("waits")).transpose()?;
        Ok(match waits {
            None => Ok(None),
            Some(true) => wait_no_longer(db, self.number).await?.map(|delivery| Some(Redelivered::Sooner(delivery))),
            Some(false) if ledger.room() == 0 => Err(StoreError::Full),
            Some(false) => {
                ledger.waiting += 1;
                wait_again(db, self.number).await?.map(|delivery| Some(Redelivered::Again(delivery)))
            }
        })
    }
}

/// Writes down what an act was made absolute to, in the place of the act.
pub(in super::super) struct MakeAbsolute {
    pub(in super::super) number: i64,
    pub(in super::super) event: Event,
}

impl Write for MakeAbsolute {
    type Answer = ();

    async fn run(self, db: &mut Connection, _: &mut Ledger) -> Result<(), sqlx::Error> {
        let update = Statement::new("UPDATE deliveries SET event = $1 WHERE number = $2");
        db.execute(update.bind(json(&self.event)?).bind(self.number)).await.map(drop)
    }
}
