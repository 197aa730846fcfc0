//! Which delivery takes the place of which: what was asked of a release before something newer was done, and still waits.

use super::conclusion::{Concluded, Conclusion, Keep};
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
        DeliveryState::Unchanged => {
            matches!(&delivery.event, Event::Requested(requested) if matches!(requested.intent, Intent::Put(_)))
        }
        DeliveryState::Accepted | DeliveryState::Ignored | DeliveryState::Refused | DeliveryState::Failed => false,
    }
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
