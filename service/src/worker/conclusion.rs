//! What became of a delivery in one turn of the conveyor.

use crate::event::{Delivery, DeliveryState, Event, Verdict};
use crate::names::{CommitId, ReleaseKey};
use crate::release::Refusal;

/// The outcome of a delivery, for whoever waits for it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Concluded {
    pub(super) state: DeliveryState,
    pub(super) verdict: Verdict,
    pub(super) refusal: Option<Refusal>,
    pub(super) created: bool,
}

/// What happens to a delivery that is not done with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Keep {
    /// It is done with.
    No,
    /// It is tried again when its release changes or its time comes.
    Parked(ReleaseKey),
    /// It stays in the store alone until a hold is lifted.
    Held,
    /// It stays in the store alone until the storm is over.
    Storm,
    /// It goes into the next turn.
    NextTurn,
}

/// A delivery and what became of it in this turn.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Conclusion {
    pub(super) delivery: Delivery,
    pub(super) concluded: Concluded,
    pub(super) keep: Keep,
}

impl Conclusion {
    /// Whether it is the last word on what somebody asked for, by what the branch was seen to have.
    pub(super) fn is_judgement(&self) -> bool {
        let is_asked = matches!(self.delivery.event, Event::Requested(_) | Event::RegistryChanged(_));
        is_asked && self.keep == Keep::No && self.concluded.state != DeliveryState::Ignored
    }
}

impl Concluded {
    fn of(state: DeliveryState, verdict: Verdict) -> Self {
        Self { state, verdict, refusal: None, created: false }
    }

    /// Carried out by a commit.
    pub(super) fn applied(release: ReleaseKey, commit: CommitId, created: bool, reason: Option<String>) -> Self {
        let verdict = Verdict { release: Some(release), commit: Some(commit), reason, ..Verdict::default() };
        Self { created, ..Self::of(DeliveryState::Applied, verdict) }
    }

    /// It was already so.
    pub(super) fn unchanged(release: ReleaseKey, reason: String) -> Self {
        Self::of(
            DeliveryState::Unchanged,
            Verdict { release: Some(release), reason: Some(reason), ..Verdict::default() },
        )
    }

    /// It told of what stands in Git by itself.
    pub(super) fn taken_in(reason: String) -> Self {
        Self::of(DeliveryState::Unchanged, Verdict { reason: Some(reason), ..Verdict::default() })
    }

    /// It concerns nothing here.
    pub(super) fn ignored(reason: String) -> Self {
        Self::of(DeliveryState::Ignored, Verdict { reason: Some(reason), ..Verdict::default() })
    }

    /// A person must act.
    pub(super) fn refused(release: Option<ReleaseKey>, refusal: Refusal) -> Self {
        let verdict =
            Verdict { release, reason: Some(refusal.reason.clone()), cure: refusal.cure.clone(), ..Verdict::default() };
        Self { refusal: Some(refusal), ..Self::of(DeliveryState::Refused, verdict) }
    }

    /// It waits; `commit` is the part that is done.
    pub(super) fn waits(release: Option<ReleaseKey>, waits_for: String, commit: Option<CommitId>) -> Self {
        let verdict = Verdict { release, commit, waits_for: Some(waits_for), ..Verdict::default() };
        Self::of(DeliveryState::Accepted, verdict)
    }

    /// It will be tried again.
    pub(super) fn failed(release: Option<ReleaseKey>, reason: String) -> Self {
        Self::of(DeliveryState::Failed, Verdict { release, reason: Some(reason), ..Verdict::default() })
    }
}
