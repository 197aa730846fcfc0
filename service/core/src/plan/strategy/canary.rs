//! Canary: the candidate's share grows step by step.

use super::{Rules, no_weights, only_winner, predictor, version};
use crate::names::PredictorName;
use crate::release::{
    Action, DEFAULT_STEPS, Intent, Phase, Refusal, Release, ReleaseSpec, Role, Step, Wanted, WeightsRequest,
};

pub(super) struct Canary;

impl Rules for Canary {
    fn set_up(&self, wanted: &Wanted, spec: &mut ReleaseSpec, _: usize) {
        spec.canary = Some(crate::release::Canary { steps: wanted_steps(wanted) });
    }

    fn first_step(&self) -> Option<u32> {
        Some(0)
    }

    fn started(&self, release: &Release) -> String {
        let weight = present(release).map_or(0, |step| step.weight);
        format!("{weight} % to version {}", version(release, Role::Candidate))
    }

    /// The present weight stays; the next step is the first new one above it.
    fn retune(&self, wanted: &Wanted, release: &mut Release) -> Option<(Action, String)> {
        let new = wanted.steps.clone()?;
        let step = release.rollout.step.unwrap_or(0) as usize;
        let running = release.rollout.phase == Phase::Running;
        let canary = release.spec.canary.as_mut()?;
        let steps = if running {
            let mut kept: Vec<Step> = canary.steps.iter().take(step + 1).cloned().collect();
            let weight = kept.last().map_or(0, |step| step.weight);
            if let (Some(last), Some(same)) = (kept.last_mut(), new.iter().find(|step| step.weight == weight)) {
                *last = same.clone();
            }
            kept.extend(new.into_iter().filter(|step| step.weight > weight));
            kept
        } else {
            new
        };
        if canary.steps == steps {
            return None;
        }
        canary.steps = steps;
        Some((Action::Update, "other steps".to_owned()))
    }

    fn advance(&self, release: &Release) -> Result<Intent, Refusal> {
        let candidate = predictor(release, Role::Candidate)?;
        let next = release.rollout.step.unwrap_or(0) + 1;
        let steps = release.spec.canary.as_ref().map_or(0, |canary| canary.steps.len());
        if (next as usize) < steps {
            Ok(Intent::Step { candidate, step: next })
        } else {
            Ok(Intent::Promote { keep: candidate })
        }
    }

    fn winner(&self, release: &Release, variant: Option<Role>) -> Result<PredictorName, Refusal> {
        only_winner(release, variant, Role::Candidate)
    }

    fn weigh(&self, _: &WeightsRequest, release: &mut Release) -> Result<Option<String>, Refusal> {
        Err(no_weights(release, "use `advance` for the next step, or release again with other `steps`"))
    }
}

fn wanted_steps(wanted: &Wanted) -> Vec<Step> {
    wanted.steps.clone().unwrap_or_else(|| DEFAULT_STEPS.map(|weight| Step { weight, pause: None }).to_vec())
}

fn present(release: &Release) -> Option<&Step> {
    release.spec.canary.as_ref()?.steps.get(release.rollout.step.unwrap_or(0) as usize)
}
