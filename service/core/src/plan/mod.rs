//! 4: what must become different.
//!
//! `plan` takes an absolute intent and the situation (what Git holds, what the cluster shows, the time) and says which one commit comes
//! next, or that nothing has to, or what it waits for, or why not. It does no I/O and reads no clock. When something happens by itself is
//! not decided here but in `rollout`; how a state looks in manifests is `render`'s.

mod absolute;
mod acts;
mod arms;
mod artifact;
mod change;
mod collision;
mod create;
mod findings;
mod put;
mod review;
mod rollback;
mod situation;
mod strategy;
mod target;
mod timing;
mod transition;

pub use absolute::{Settled, absolute};
pub use collision::{Owner, collision};
pub use create::occupied;
pub use findings::{Findings, ImageFinding, ServingRules, VersionFinding};
pub use review::wants_review;
pub use situation::{Occupant, Situation};
pub use target::{EnvironmentTarget, target};

use crate::release::{Deployed, Intent, Refusal, RefusalKind, ReleasePlan, Retracted};

/// Says which one commit comes next for an intent.
pub fn plan(intent: &Intent, situation: &Situation) -> ReleasePlan {
    let planned = match (intent, &situation.deployed) {
        (Intent::Put(wanted), None) => create::create(wanted, situation),
        (Intent::Put(wanted), Some(deployed)) => put::put(wanted, deployed, situation),
        (Intent::Retract, None) => Ok(ReleasePlan::Nothing("nothing of that name is deployed".to_owned())),
        (Intent::Retract, Some(deployed)) => Ok(retract(deployed, situation)),
        (_, None) => Err(not_deployed()),
        (Intent::Step { candidate, step }, Some(deployed)) => acts::step(candidate, *step, deployed, situation),
        (Intent::Activate { colour, predictor }, Some(deployed)) => {
            acts::activate(*colour, predictor, deployed, situation)
        }
        (Intent::Promote { keep }, Some(deployed)) => acts::promote(keep, deployed, situation),
        (Intent::Abort { keep, reject }, Some(deployed)) => acts::abort(keep, reject, deployed, situation),
        (Intent::Rollback { to }, Some(deployed)) => rollback::rollback(to, deployed, situation),
        (Intent::Pause, Some(deployed)) => acts::pause(deployed, situation),
        (Intent::Resume, Some(deployed)) => acts::resume(deployed, situation),
        (Intent::Weights(request), Some(deployed)) => acts::weights(request, deployed),
        (Intent::Rerender, Some(deployed)) => Ok(acts::rerender(deployed)),
        (Intent::Run { entered }, Some(deployed)) => Ok(transition::run(entered, deployed, situation)),
        (Intent::Remove { gone }, Some(deployed)) => Ok(transition::remove(gone, deployed, situation)),
        (Intent::Settle { keep }, Some(deployed)) => Ok(transition::settle(keep, deployed, situation)),
        (Intent::RouteDocs { predictor }, Some(deployed)) => Ok(transition::route_docs(predictor, deployed)),
    };
    planned.unwrap_or_else(ReleasePlan::Refused)
}

fn retract(deployed: &Deployed, situation: &Situation) -> ReleasePlan {
    let mut origin = deployed.release.origin.clone();
    origin.requested_by.clone_from(&situation.requested_by);
    origin.registry = situation.origin.registry.clone().or(origin.registry);
    ReleasePlan::Delete(Retracted { origin, rejected: deployed.release.rollout.rejected.clone() })
}

fn not_deployed() -> Refusal {
    Refusal {
        kind: RefusalKind::NotFound,
        reason: "no release of that name is deployed".to_owned(),
        cure: Some("`kmlflow list` shows what is, `kmlflow history NAME` what was; `kmlflow release NAME --model M --version V` makes it".to_owned()),
        violations: Vec::new(),
    }
}
