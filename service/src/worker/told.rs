//! What the store, those who wait and the readers of events are told of what a turn ended with.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;

use super::conclusion::{Conclusion, Keep};
use super::review::Reviews;
use super::shared::Shared;
use crate::event::{DeliveryState, Event};
use crate::store::{AuditEntry, DeliveryOutcome, IndexedCommit, Told};

/// What the store is to write about a delivery; nothing where it knows.
pub(super) fn outcome(shared: &Shared, conclusion: &Conclusion) -> Option<DeliveryOutcome> {
    let Conclusion { delivery, concluded, keep } = conclusion;
    let is_known = delivery.state == concluded.state && delivery.verdict == concluded.verdict;
    if is_known || (*keep == Keep::NextTurn && concluded.verdict.commit.is_none()) {
        return None;
    }
    Some(DeliveryOutcome {
        number: delivery.number,
        state: concluded.state,
        verdict: concluded.verdict.clone(),
        attempt: delivery.attempt + u32::from(!concluded.state.is_waiting()),
        next_attempt_at: None,
        told: if shared.replica.is_one { told(&shared.reviews, conclusion) } else { None },
    })
}

/// What whoever waits for an outcome at another replica is told of it; nothing yet where another outcome follows that says more.
pub(super) fn told(reviews: &Reviews, Conclusion { concluded, keep, .. }: &Conclusion) -> Option<Told> {
    // The next turn has the rest of it, or where the review is that the forge has not heard of yet.
    let is_all = *keep != Keep::NextTurn && !reviews.is_untold(concluded);
    is_all.then(|| Told { created: concluded.created, refusal: concluded.refusal.clone() })
}

/// What the log of refusals keeps of a delivery; nothing where it was not refused.
pub(super) fn audit(conclusion: &Conclusion, now: Timestamp) -> Option<AuditEntry> {
    let Conclusion { delivery, concluded, .. } = conclusion;
    (concluded.state == DeliveryState::Refused).then(|| AuditEntry {
        at: now,
        actor: match &delivery.event {
            Event::Requested(requested) => requested.requested_by.clone(),
            Event::ActRequested(asked) => asked.requested_by.clone(),
            _ => Some(delivery.source.to_string()),
        },
        action: "release".to_owned(),
        release: concluded.verdict.release.clone(),
        outcome: "refused".to_owned(),
        reason: concluded.verdict.reason.clone(),
    })
}

/// Tells the readers of events about commits.
pub(super) fn announce(shared: &Shared, rows: &[IndexedCommit]) {
    for row in rows {
        if !row.release_id.is_empty() {
            shared.metrics.committed(row.action);
        }
        let data = json!({
            "release": row.key.to_string(), "environment": row.key.environment, "namespace": row.key.namespace, "name": row.key.name,
            "commit": row.commit, "action": row.action, "version": row.version, "strategy": row.strategy, "phase": row.phase,
            "summary": row.subject, "at": row.at,
        });
        tracing::info!(release.id = %row.release_id, release.key = %row.key, commit.id = %row.commit, "Committed `{}`: {}", row.key, row.subject);
        if row.delivery_id.is_none() && row.requested_by.is_none() && row.phase.is_some() {
            shared.ring.push("rollout", &data);
        }
        shared.ring.push("release", &data);
    }
}

/// Tells whoever waits, and the readers of events, what became of deliveries.
pub(super) fn conclude_all(shared: &Shared, conclusions: Vec<Conclusion>, now: Timestamp) {
    conclusions.into_iter().for_each(|conclusion| conclude(shared, conclusion, now));
}

fn conclude(shared: &Shared, conclusion: Conclusion, now: Timestamp) {
    let Conclusion { delivery, mut concluded, keep } = conclusion;
    if keep == Keep::NextTurn {
        return;
    }
    let took =
        Duration::try_from(now.duration_since(delivery.received_at)).ok().filter(|_| !concluded.state.is_waiting());
    if delivery.state != concluded.state || delivery.verdict != concluded.verdict {
        shared.metrics.concluded(delivery.source, concluded.state.as_str(), took);
        shared.ring.push(
            "delivery",
            &json!({
                "id": delivery.id, "number": delivery.number, "source": delivery.source, "state": concluded.state,
                "release": concluded.verdict.release.as_ref().map(ToString::to_string), "commit": concluded.verdict.commit,
                "reason": concluded.verdict.reason, "waitsFor": concluded.verdict.waits_for,
            }),
        );
    }
    let was_untold = shared.reviews.is_untold(&concluded);
    if shared.reviews.keeps_back(delivery.number, &mut concluded) {
        return;
    }
    if let Some(key) = concluded.verdict.release.as_ref().filter(|_| was_untold) {
        // The forge has heard of it since that was written, and the store is to know it too.
        shared.inbox.note_review(key);
    }
    shared.inbox.answer(delivery.number, concluded);
}
