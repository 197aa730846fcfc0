//! What a running release does by itself, and when.

use jiff::Timestamp;

use super::Decision;
use crate::names::PredictorName;
use crate::release::{Intent, Observed, Period, Release, Role, Strategy};

/// Decides what a running release does next.
pub(super) fn running(release: &Release, observed: &Observed, now: Timestamp) -> Decision {
    let due = match release.spec.strategy {
        Strategy::Canary => canary(release),
        Strategy::BlueGreen => blue_green(release),
        Strategy::Single | Strategy::Ab | Strategy::Shadow => None,
    };
    let Some(Due { after, what, intent }) = due else {
        return Decision::Wait { until: None, reason: "a person decides how the run goes on".to_owned() };
    };
    let Some(begin) = begin(release, observed) else {
        let why = observed.live(release, now).reason();
        let reason = why.unwrap_or_else(|| "the last commit is not live yet".to_owned());
        return Decision::Wait { until: None, reason };
    };
    // What was committed must be applied before the next commit, however short the pause is.
    let applied_at = match observed {
        Observed::Blind { delay } => release.rollout.counts_as_live_at(*delay),
        Observed::Seen(_) | Observed::Unseen(_) => begin,
    };
    let at = after.after(begin).max(applied_at);
    if now >= at { Decision::Go(intent) } else { Decision::Wait { until: Some(at), reason: format!("{what} at {at}") } }
}

/// Something that happens by itself some time after the present state was first seen live.
struct Due {
    after: Period,
    /// What happens then, as the beginning of a sentence that ends with the moment.
    what: String,
    intent: Intent,
}

/// The next step after the present one's pause; after the last step the promotion. A step without a pause waits for a person.
fn canary(release: &Release) -> Option<Due> {
    let steps = &release.spec.canary.as_ref()?.steps;
    let step = release.rollout.step.unwrap_or(0);
    let candidate = predictor(release, Role::Candidate)?;
    let after = steps.get(step as usize)?.pause?;
    let next = step as usize + 1;
    if steps.len() <= next {
        return Some(Due {
            after,
            what: format!("{candidate} is promoted"),
            intent: Intent::Promote { keep: candidate },
        });
    }
    let what = format!("step {} of {} begins", next + 1, steps.len());
    Some(Due { after, what, intent: Intent::Step { candidate, step: step + 1 } })
}

/// Before the first flip: the flip, where it is automatic. After one: the end, once the colour left behind was kept long enough.
fn blue_green(release: &Release) -> Option<Due> {
    let settings = release.spec.blue_green.as_ref()?;
    let flips = release.rollout.step.unwrap_or(0);
    if flips == 0 {
        let after = settings.auto_promote_after?;
        let predictor = predictor(release, Role::Green)?;
        let what = format!("green ({predictor}) becomes active");
        return Some(Due { after, what, intent: Intent::Activate { colour: Role::Green, predictor } });
    }
    let keep = predictor(release, settings.active)?;
    let idle = if settings.active == Role::Blue { Role::Green } else { Role::Blue };
    let what = format!("{idle} ({}) is kept for a flip back, and the run ends", predictor(release, idle)?);
    Some(Due { after: settings.scale_down_delay, what, intent: Intent::Promote { keep } })
}

fn predictor(release: &Release, role: Role) -> Option<PredictorName> {
    release.variant(role).map(|variant| variant.predictor.clone())
}

/// From when the time of the present state counts: from when it was first seen live; unseen, from its commit.
fn begin(release: &Release, observed: &Observed) -> Option<Timestamp> {
    match observed {
        Observed::Blind { .. } => Some(release.rollout.since),
        Observed::Seen(seen) => seen.live_since.map(|live| live.max(release.rollout.since)),
        Observed::Unseen(_) => None,
    }
}
