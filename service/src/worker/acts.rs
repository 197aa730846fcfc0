//! Acts that were kept as they were asked for: while nobody has accepted a rewritten history, no state of a release is known that "one step on" or "back"
//! could be made absolute by. That is done once the hold is lifted, by what counts from then on, and written down before it is carried out: after that it is
//! a request like any other.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::conclusion::{Concluded, Conclusion, Keep};
use super::conveyor::{Conveyor, Work};
use super::handle::Handle;
use super::holds::of_a_rewrite;
use super::read;
use super::request::fresh_id;
use super::retry::{later, postpone, wait};
use super::shared::{Shared, store_fault};
use super::urgent::release_of;
use super::{Answer, Fault};
use crate::event::{ActRequested, Delivery, Event, Requested};
use crate::names::{DeliveryId, ReleaseKey};

impl Handle {
    /// Whether somebody rewrote the history of the branch, and nobody has decided yet which one counts: what is refused by what is known may make sense by
    /// that one.
    pub fn awaits_a_decision(&self) -> bool {
        of_a_rewrite(&self.shared).is_some()
    }

    /// Keeps an act as it was asked for, until it is known by what it is to be made absolute. Under an id as of [`Self::request_as`], where one is given.
    ///
    /// # Errors
    /// The environment is not configured, or it could not be stored; or it was carried out meanwhile, and refused.
    pub async fn keep_act(&self, id: Option<DeliveryId>, act: ActRequested, wait: Duration) -> Result<Answer, Fault> {
        self.shared.environment(&act.key.environment)?;
        let (id, key) = (id.map_or_else(fresh_id, Ok)?, act.key.clone());
        self.answered(id, key, Event::ActRequested(Box::new(act)), wait).await
    }
}

/// Makes the acts absolute that can be; those that make no sense by what counts now are refused. What is held stays as it is.
///
/// While what the branch has is not taken in yet, as after a person accepted another history, they stay behind, with all that was asked of the same releases,
/// for the turn after the one that takes it in.
pub(super) async fn make_absolute(shared: &Arc<Shared>, conveyor: &mut Conveyor, work: &mut Work) {
    let kept: BTreeSet<ReleaseKey> = work.deliveries.iter().filter_map(|it| kept_act(shared, it)).cloned().collect();
    if kept.is_empty() {
        return;
    }
    let is_taken_in = || shared.repository.tip().is_ok_and(|tip| tip == conveyor.known);
    if conveyor.rewritten.is_some() || !is_taken_in() {
        let is_behind = |it: &mut Delivery| release_of(it).is_some_and(|key| kept.contains(key));
        let behind: Vec<Delivery> = work.deliveries.extract_if(.., is_behind).collect();
        behind.into_iter().rev().for_each(|delivery| shared.inbox.push_front(delivery));
        work.look_at_repository = true;
        return;
    }
    for delivery in std::mem::take(&mut work.deliveries) {
        match (&delivery.event, kept_act(shared, &delivery)) {
            (Event::ActRequested(act), Some(_)) => {
                let act = ActRequested::clone(act);
                made_absolute(shared, conveyor, work, (delivery, act)).await;
            }
            _ => work.deliveries.push(delivery),
        }
    }
}

/// The release of an act that is no longer held.
fn kept_act<'d>(shared: &Shared, delivery: &'d Delivery) -> Option<&'d ReleaseKey> {
    let Event::ActRequested(act) = &delivery.event else { return None };
    shared.hold_of(&act.key.environment).is_none().then_some(&act.key)
}

async fn made_absolute(
    shared: &Arc<Shared>,
    conveyor: &mut Conveyor,
    work: &mut Work,
    (mut delivery, act): (Delivery, ActRequested),
) {
    let ActRequested { key, act, guard, requested_by } = act;
    let made = match read::absolute(shared, &key, act).await {
        Ok(intent) => {
            let event = Event::Requested(Box::new(Requested { key: key.clone(), intent, guard, requested_by }));
            shared.store.make_absolute(delivery.number, event.clone()).await.map(|()| event).map_err(store_fault)
        }
        Err(fault) => Err(fault),
    };
    match made {
        Ok(event) => {
            delivery.event = event;
            work.deliveries.push(delivery);
        }
        Err(Fault::Refused(refusal)) => {
            let concluded = Concluded::refused(Some(key), refusal);
            work.concluded.push(Conclusion { delivery, concluded, keep: Keep::No });
        }
        Err(fault) => {
            let wait = wait(delivery.attempt.saturating_add(1), None);
            let at = later(shared.clock.now_exact(), wait);
            tracing::warn!(release.key = %key, "What was asked of `{key}` is not known in full: {fault}; it is tried again");
            postpone(shared, conveyor, vec![delivery], (fault.to_string(), None), at).await;
        }
    }
}
