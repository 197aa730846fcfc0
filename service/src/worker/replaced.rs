//! Which delivery takes the place of which: what was asked of a release before something newer was done, and still waits.

use std::collections::HashMap;

use super::conclusion::{Concluded, Conclusion, Keep};
use super::urgent::release_of;
use crate::event::{Delivery, DeliveryState, Event};
use crate::names::ReleaseKey;
use crate::release::Intent;

/// Whether a delivery that is carried out takes the place of an older one that waits for the same release.
///
/// What changed something does, where it asked for a state of the release. What changed nothing does only as a whole request: who asks
/// for what is deployed asks that it stay so, while an act that was done already says nothing about what waits.
pub(super) fn replaces(delivery: &Delivery, state: DeliveryState) -> bool {
    match state {
        DeliveryState::Applied => {
            matches!(delivery.event, Event::RegistryChanged(_)) || asks_for_a_state(delivery).is_some()
        }
        DeliveryState::Unchanged => is_put(delivery),
        DeliveryState::Accepted | DeliveryState::Ignored | DeliveryState::Refused | DeliveryState::Failed => false,
    }
}

/// Whether it is a whole request.
fn is_put(delivery: &Delivery) -> bool {
    matches!(&delivery.event, Event::Requested(requested) if matches!(requested.intent, Intent::Put(_)))
}

/// The release of which somebody asks that it be in a certain state, whatever was asked of it before; none for what goes on from there,
/// such as a step, a pause or other shares.
pub(super) fn asks_for_a_state(delivery: &Delivery) -> Option<&ReleaseKey> {
    let Event::Requested(requested) = &delivery.event else { return None };
    let is_state = matches!(
        requested.intent,
        Intent::Put(_) | Intent::Promote { .. } | Intent::Abort { .. } | Intent::Rollback { .. } | Intent::Retract
    );
    is_state.then_some(&requested.key)
}

/// What of a turn's deliveries an act takes the place of that was asked for after them, by their numbers, with that act.
///
/// An act that takes a release to a state, such as a rollback, was made absolute by what serves, and what still waited then never was in force: it is
/// not to be in force for the moment before the act either. Whole requests say all of what they want, and are done in their order.
pub(super) fn replaced_by(deliveries: &[Delivery]) -> HashMap<i64, Delivery> {
    let mut newest: HashMap<&ReleaseKey, &Delivery> = HashMap::new();
    for delivery in deliveries.iter().filter(|delivery| !is_put(delivery)) {
        if let Some(key) = asks_for_a_state(delivery)
            && newest.get(key).is_none_or(|known| known.number < delivery.number)
        {
            newest.insert(key, delivery);
        }
    }
    let newer = |delivery: &Delivery| {
        let act = newest.get(release_of(delivery)?).filter(|act| act.number > delivery.number)?;
        Some((delivery.number, Delivery::clone(act)))
    };
    deliveries.iter().filter_map(newer).collect()
}

pub(super) fn replaced(older: Delivery, newer: &Delivery) -> Conclusion {
    let reason = format!("replaced by the newer delivery {}", newer.id);
    let asked = match &older.event {
        Event::Requested(requested) => Some(&requested.key),
        _ => None,
    };
    let concluded = match (older.verdict.release.as_ref().or(asked), &older.verdict.commit) {
        (Some(key), Some(commit)) => Concluded::applied(key.clone(), commit.clone(), false, Some(reason)),
        (Some(key), None) => Concluded::unchanged(key.clone(), reason),
        (None, _) => Concluded::ignored(reason),
    };
    Conclusion { delivery: older, concluded, keep: Keep::No }
}
