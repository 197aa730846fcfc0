//! When a request may go on: the two waits of the order add, wait, move the traffic, remove that a request meets.

use super::situation::Situation;
use crate::release::{Observed, Release};

/// Why a run cannot start yet; none when the stable variant is live.
pub(super) fn not_live(release: &Release, situation: &Situation) -> Option<String> {
    situation.observed.live(release, situation.now).reason()
}

/// Why a settled release's predictor cannot be replaced in one commit yet: the applied route may still name its own Service.
pub(super) fn not_replaceable(release: &Release, situation: &Situation) -> Option<String> {
    // Only the commit that settled a run moves the route away from the predictor; after any other one it names the own Service already.
    if matches!(situation.observed, Observed::Blind { .. }) && release.rollout.outcome.is_none() {
        return None;
    }
    let stable = &release.stable()?.predictor;
    situation.observed.unrouted(std::slice::from_ref(stable), release, situation.now).reason()
}
