//! What was asked for at a rate: carried out one by one, so that not all the pods of a fleet restart at once.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::event::{Delivery, Event};

/// Deliveries that wait for their turn, and when the next one has it.
#[derive(Debug)]
pub(super) struct Pace {
    /// By number; small, and at most as many as the inbox may hold.
    waiting: BTreeMap<i64, Delivery>,
    free_at: Timestamp,
}

impl Pace {
    /// Nobody waits, and the first one goes at once.
    pub(super) fn new() -> Self {
        Self { waiting: BTreeMap::new(), free_at: Timestamp::MIN }
    }

    /// Keeps what is to be carried out at a rate and gives back the rest.
    pub(super) fn keep_back(&mut self, deliveries: Vec<Delivery>) -> Vec<Delivery> {
        let (paced, rest): (Vec<_>, Vec<_>) =
            deliveries.into_iter().partition(|delivery| pause_after(delivery).is_some());
        self.waiting.extend(paced.into_iter().map(|delivery| (delivery.number, delivery)));
        rest
    }

    /// Takes the next one, where its turn has come.
    pub(super) fn take_due(&mut self, now: Timestamp) -> Option<Delivery> {
        if now < self.free_at {
            return None;
        }
        let (_, delivery) = self.waiting.pop_first()?;
        let pause = pause_after(&delivery).unwrap_or_default();
        self.free_at = now.saturating_add(pause).unwrap_or(Timestamp::MAX);
        Some(delivery)
    }

    /// When the next one has its turn, where one waits.
    pub(super) fn next(&self) -> Option<Timestamp> {
        (!self.waiting.is_empty()).then_some(self.free_at)
    }
}

/// How long the next one waits after this one; none where no rate was asked for.
fn pause_after(delivery: &Delivery) -> Option<SignedDuration> {
    let Event::Requested(requested) = &delivery.event else { return None };
    requested.guard.per_minute.map(|rate| SignedDuration::from_secs(60) / i32::try_from(rate.get()).unwrap_or(i32::MAX))
}
