//! Keeping what arrives: all deliveries of a turn at once, each told whether it is new.

use tokio::sync::oneshot;

use super::super::columns::{json, time, word};
use super::super::db::{Connection, Statement, Value};
use super::super::ledger::Ledger;
use super::super::{Accepted, StoreError};
use super::read::{COLUMNS, delivery};
use crate::event::{Delivery, DeliveryState, NewDelivery, Verdict};

/// A delivery on its way into the inbox, and who waits for the answer.
#[derive(Debug)]
pub(in super::super) struct Arrival {
    /// As it will be; the body is beside it.
    delivery: Delivery,
    body: String,
    /// The event as JSON, written before the writer's turn so that the writer does not have to.
    event: String,
    answer: Option<Result<Accepted, StoreError>>,
    reply: oneshot::Sender<Result<Accepted, StoreError>>,
}

impl Arrival {
    /// Prepares a delivery for the writer.
    pub(in super::super) fn new(
        new: NewDelivery,
        number: i64,
        reply: oneshot::Sender<Result<Accepted, StoreError>>,
    ) -> Result<Self, StoreError> {
        let NewDelivery { source, id, received_at, body, event } = new;
        let text = json(&event)?;
        let delivery = Delivery {
            number,
            source,
            id,
            received_at,
            body: String::new(),
            event,
            state: DeliveryState::Accepted,
            verdict: Verdict::default(),
            attempt: 0,
            next_attempt_at: None,
        };
        Ok(Self { delivery, body, event: text, answer: None, reply })
    }

    /// The delivery as it will be, without its body.
    pub(in super::super) fn delivery(&self) -> &Delivery {
        &self.delivery
    }

    /// About how much memory it takes.
    pub(in super::super) fn bytes(&self) -> usize {
        self.body.len() + self.event.len()
    }

    /// Answers with an error instead.
    pub(in super::super) fn fail(&mut self, error: &StoreError) {
        self.answer = Some(Err(error.clone()));
    }

    /// Sends the answer.
    pub(in super::super) fn settle(self) {
        // Whoever asked may have gone; the delivery is kept all the same.
        drop(self.reply.send(self.answer.unwrap_or(Err(StoreError::Closed))));
    }
}

/// Keeps what is new of these arrivals and writes down the answer of each.
pub(in super::super) async fn accept(
    db: &mut Connection,
    ledger: &mut Ledger,
    arrivals: &mut [Arrival],
) -> Result<(), sqlx::Error> {
    if arrivals.len() as u64 <= ledger.room() {
        return accept_all(db, ledger, arrivals).await;
    }
    for arrival in arrivals {
        let answer = match accept_again(db, ledger, &arrival.delivery).await? {
            Some(known) => known,
            None if ledger.room() == 0 => Ok(Accepted::Full),
            None => {
                accept_all(db, ledger, std::slice::from_mut(arrival)).await?;
                continue;
            }
        };
        arrival.answer = Some(answer);
    }
    Ok(())
}

const INSERT: (&str, &str) = (
    "WITH arrived (number, source, delivery_id, received_at, event, body) AS (",
    ") INSERT INTO deliveries (number, source, delivery_id, received_at, event, body)
       SELECT number, source, delivery_id, received_at, event, body FROM arrived
       WHERE NOT EXISTS (SELECT 1 FROM past_deliveries past WHERE past.delivery_id = arrived.delivery_id AND past.source = arrived.source)
       ON CONFLICT (delivery_id, source) DO NOTHING",
);

/// Keeps arrivals for which there is room.
async fn accept_all(db: &mut Connection, ledger: &mut Ledger, arrivals: &mut [Arrival]) -> Result<(), sqlx::Error> {
    let inserted = db
        .write_rows(INSERT, arrivals, |values, Arrival { delivery, body, event, .. }| {
            values.push_bind(delivery.number);
            values.push_bind(delivery.source.as_str());
            values.push_bind(delivery.id.as_str());
            values.push_bind(time(delivery.received_at));
            values.push_bind(event.as_str());
            values.push_bind(Value::body(body));
        })
        .await?;
    ledger.waiting += inserted;
    // All were new, nearly always; only where one was not it is worth asking which.
    let first = arrivals.iter().map(|arrival| arrival.delivery.number).min().unwrap_or_default();
    let numbers = if inserted == arrivals.len() as u64 { None } else { Some(numbers_from(db, first).await?) };
    for arrival in arrivals {
        let is_new = numbers.as_ref().is_none_or(|numbers| numbers.binary_search(&arrival.delivery.number).is_ok());
        let known = if is_new { None } else { accept_again(db, ledger, &arrival.delivery).await? };
        arrival.answer = Some(known.unwrap_or_else(|| Ok(Accepted::New(arrival.delivery.clone()))));
    }
    Ok(())
}

/// The numbers from one on that the inbox has, in order.
async fn numbers_from(db: &mut Connection, first: i64) -> Result<Vec<i64>, sqlx::Error> {
    let from = Statement::new("SELECT number FROM deliveries WHERE number >= $1 ORDER BY number").bind(first);
    db.rows(from).await?.iter().map(|row| row.get("number")).collect()
}

/// Answers a delivery whose id is known: a repeat, or one that waits again. Nothing where its id is unknown.
async fn accept_again(
    db: &mut Connection,
    ledger: &mut Ledger,
    arrived: &Delivery,
) -> Result<Option<Result<Accepted, StoreError>>, sqlx::Error> {
    let known = Statement::new(
        "SELECT number, state FROM deliveries WHERE delivery_id = $1 AND source = $2
         UNION ALL SELECT number, state FROM past_deliveries WHERE delivery_id = $1 AND source = $2",
    );
    let known = db.row(known.bind(arrived.id.as_str()).bind(arrived.source.as_str())).await?;
    let Some(row) = known else { return Ok(None) };
    let number: i64 = row.get("number")?;
    let state = match word(&row, "state") {
        Ok(state) => state,
        Err(error) => return Ok(Some(Err(error))),
    };
    Ok(Some(match state {
        DeliveryState::Accepted | DeliveryState::Applied | DeliveryState::Unchanged | DeliveryState::Ignored => {
            Ok(Accepted::Repeat { number, state })
        }
        DeliveryState::Refused if ledger.room() == 0 => Ok(Accepted::Full),
        DeliveryState::Refused => {
            ledger.waiting += 1;
            wait_again(db, number).await?.map(Accepted::Again)
        }
        DeliveryState::Failed => wait_no_longer(db, number).await?.map(Accepted::Sooner),
    }))
}

/// Puts a delivery back into the queue, its attempts and the commit that it made kept.
pub(super) async fn wait_again(db: &mut Connection, number: i64) -> Result<Result<Delivery, StoreError>, sqlx::Error> {
    let mut query = Statement::new(
        "UPDATE deliveries SET state = 'accepted', next_attempt_at = NULL, release = NULL, reason = NULL,
         cure = NULL, waits_for = NULL, answer = NULL, leased_in = NULL WHERE number = ",
    );
    query.push_bind(number).push(" RETURNING ").push(COLUMNS);
    let row = db.row(query).await?.ok_or(sqlx::Error::RowNotFound)?;
    Ok(delivery(&row))
}

/// Ends what a delivery was put off for that still waits, and keeps everything else: whoever carries it out has it already. Where that is the leader of
/// a term, its lease says so from now on.
pub(super) async fn wait_no_longer(
    db: &mut Connection,
    number: i64,
) -> Result<Result<Delivery, StoreError>, sqlx::Error> {
    let mut query = Statement::new(
        "UPDATE deliveries SET state = 'accepted', next_attempt_at = NULL, leased_in = -abs(leased_in) WHERE number = ",
    );
    query.push_bind(number).push(" RETURNING ").push(COLUMNS);
    let row = db.row(query).await?.ok_or(sqlx::Error::RowNotFound)?;
    Ok(delivery(&row))
}
