//! When the order add, wait, move the traffic, remove lets something go on: what counts as live, and what may be removed.

use crate::names::PredictorName;
use crate::release::{Observed, Period, Readiness, Release, Seen, Situation};

/// Why a run cannot start yet; none when the stable variant is live.
pub(super) fn not_live(release: &Release, situation: &Situation) -> Option<String> {
    let stable = &release.stable()?.predictor;
    match &situation.observed {
        Observed::Blind { delay } => blind(release, *delay, situation)
            .map(|at| format!("{stable} counts as ready at {at}, as no cluster is watched")),
        Observed::Seen(seen) if seen.live_since.is_some() => None,
        Observed::Seen(seen) => Some(match seen.variants.get(stable) {
            Some(Readiness::Ready) => format!("{stable} is ready, but its commit is not live yet"),
            Some(Readiness::NotReady(why)) => format!("{stable} is not ready: {why}"),
            Some(Readiness::Unknown) | None => format!("it is not known whether {stable} is ready"),
        }),
    }
}

/// Why a settled release's predictor cannot be replaced in one commit yet: the applied route may still name its own Service.
pub(super) fn not_replaceable(release: &Release, situation: &Situation) -> Option<String> {
    let stable = &release.stable()?.predictor;
    match &situation.observed {
        // Only the commit that settled a run moves the route away from the predictor; after any other one it names the own Service already.
        Observed::Blind { delay } if release.rollout.outcome.is_some() => blind(release, *delay, situation)
            .map(|at| format!("the route counts as settled at {at}, as no cluster is watched")),
        Observed::Blind { .. } => None,
        Observed::Seen(seen) => still_routed(seen, stable),
    }
}

fn still_routed(seen: &Seen, predictor: &PredictorName) -> Option<String> {
    seen.routed.contains(predictor).then(|| format!("the applied route still names {predictor}"))
}

fn blind(release: &Release, delay: Period, situation: &Situation) -> Option<jiff::Timestamp> {
    let at = release.rollout.counts_as_live_at(delay);
    (situation.now < at).then_some(at)
}
