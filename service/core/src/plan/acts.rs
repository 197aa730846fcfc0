//! What a person does to a run: a step, a flip, a promotion, an abort, a pause, other shares.

use jiff::Timestamp;

use super::change::update;
use super::situation::Situation;
use super::strategy::rules;
use super::transition;
use crate::names::{CommitId, PredictorName};
use crate::release::{
    Action, Deployed, Outcome, Paused, Phase, Refusal, Rejected, Release, ReleasePlan, Role, Strategy, Variant,
    WeightsRequest,
};

/// The most rejected versions that a release remembers.
const REJECTED_MAX: usize = 50;

/// The canary of this candidate at this step.
pub(super) fn step(
    candidate: &PredictorName,
    step: u32,
    deployed: &Deployed,
    situation: &Situation,
) -> Result<ReleasePlan, Refusal> {
    let release = &deployed.release;
    let runs = release.variant(Role::Candidate).is_some_and(|variant| variant.predictor == *candidate);
    if release.spec.strategy != Strategy::Canary || !runs {
        return Ok(over(candidate));
    }
    running(release)?;
    if release.rollout.step.unwrap_or(0) >= step {
        return Ok(ReleasePlan::Nothing(format!(
            "the canary is at step {} already",
            release.rollout.step.unwrap_or(0)
        )));
    }
    let Some(weight) =
        release.spec.canary.as_ref().and_then(|canary| canary.steps.get(step as usize)).map(|step| step.weight)
    else {
        return Err(Refusal::conflict("the canary has no such step any more", "`kmlflow get NAME` shows its steps"));
    };
    let mut next = release.clone();
    next.rollout.step = Some(step);
    next.rollout.since = situation.now;
    let version = release.variant(Role::Candidate).map_or_else(String::new, |variant| variant.version.to_string());
    Ok(update(next, Action::Step, format!("{weight} % to version {version}")))
}

/// This colour active.
pub(super) fn activate(
    colour: Role,
    predictor: &PredictorName,
    deployed: &Deployed,
    situation: &Situation,
) -> Result<ReleasePlan, Refusal> {
    let release = &deployed.release;
    let runs = release.variant(colour).is_some_and(|variant| variant.predictor == *predictor);
    if release.spec.strategy != Strategy::BlueGreen || !runs {
        return Ok(over(predictor));
    }
    running(release)?;
    let mut next = release.clone();
    let Some(blue_green) = next.spec.blue_green.as_mut().filter(|bg| bg.active != colour) else {
        return Ok(ReleasePlan::Nothing(format!("{colour} is active already")));
    };
    blue_green.active = colour;
    next.rollout.step = Some(release.rollout.step.unwrap_or(0) + 1);
    next.rollout.since = situation.now;
    Ok(update(next, Action::Flip, format!("flip to {colour} (version {})", predictor.parts().0)))
}

/// The run ended with this predictor.
pub(super) fn promote(
    keep: &PredictorName,
    deployed: &Deployed,
    situation: &Situation,
) -> Result<ReleasePlan, Refusal> {
    let release = &deployed.release;
    let Some(winner) = release.staying().find(|variant| variant.predictor == *keep) else { return Ok(over(keep)) };
    match release.rollout.phase {
        Phase::Settled | Phase::Leaving => {
            Ok(ReleasePlan::Nothing(format!("version {} is promoted already", winner.version)))
        }
        Phase::Entering => Err(entering(release)),
        Phase::Running => {
            // A run that ends with the stable variant promoted nothing, but for an A/B release, which `a` may win.
            let strategy = release.spec.strategy;
            let went_back = winner.role == strategy.stable_role() && strategy != Strategy::Ab;
            let (outcome, action) =
                if went_back { (Outcome::Aborted, Action::Abort) } else { (Outcome::Promoted, Action::Promote) };
            let verb = if went_back { "keep" } else { "promote" };
            let next = transition::end_run(release, keep, outcome, situation);
            Ok(update(next, action, format!("{verb} version {}", winner.version)))
        }
    }
}

/// The run ended with the stable predictor; what ran beside it is rejected.
pub(super) fn abort(
    keep: &PredictorName,
    reject: &[PredictorName],
    deployed: &Deployed,
    situation: &Situation,
) -> Result<ReleasePlan, Refusal> {
    let release = &deployed.release;
    let stays = release.stable().is_some_and(|variant| variant.predictor == *keep);
    match release.rollout.phase {
        Phase::Settled | Phase::Leaving if stays => Ok(ReleasePlan::Nothing("the run has ended already".to_owned())),
        Phase::Settled | Phase::Leaving => {
            Err(Refusal::conflict("the run has ended with another version", "use `rollback` to go back"))
        }
        Phase::Entering | Phase::Running if !stays => Ok(over(keep)),
        Phase::Entering | Phase::Running => {
            let mut next = transition::end_run(release, keep, Outcome::Aborted, situation);
            let rejected = release.spec.variants.iter().filter(|variant| reject.contains(&variant.predictor));
            let rejected = other_versions(&next, rejected);
            reject_all(&mut next, rejected, "aborted", &deployed.commit, situation);
            Ok(update(next, Action::Abort, format!("abort, keep version {}", keep.parts().0)))
        }
    }
}

/// No automatic commit but a rollback from now on.
pub(super) fn pause(deployed: &Deployed, situation: &Situation) -> Result<ReleasePlan, Refusal> {
    let release = &deployed.release;
    if release.rollout.paused.is_some() {
        return Ok(ReleasePlan::Nothing("it is paused already".to_owned()));
    }
    if release.rollout.phase == Phase::Settled {
        return Err(nothing_runs("pause"));
    }
    let mut next = release.clone();
    let by = situation.requested_by.clone().unwrap_or_else(|| "somebody".to_owned());
    next.rollout.paused = Some(Paused { since: situation.now, by });
    Ok(update(next, Action::Pause, "pause"))
}

/// On again; the time of the pause does not count.
pub(super) fn resume(deployed: &Deployed, situation: &Situation) -> Result<ReleasePlan, Refusal> {
    let mut next = deployed.release.clone();
    let Some(paused) = next.rollout.paused.take() else {
        return Ok(ReleasePlan::Nothing("it is not paused".to_owned()));
    };
    next.rollout.since = later(next.rollout.since, paused.since, situation.now);
    Ok(update(next, Action::Resume, "resume"))
}

/// `since` moved on by the length of the pause, never past the present moment.
fn later(since: Timestamp, paused_since: Timestamp, now: Timestamp) -> Timestamp {
    let paused_for = now.duration_since(paused_since);
    since.saturating_add(paused_for).unwrap_or(now).clamp(since.min(now), now)
}

/// Other shares.
pub(super) fn weights(request: &WeightsRequest, deployed: &Deployed) -> Result<ReleasePlan, Refusal> {
    let mut next = deployed.release.clone();
    if matches!(next.rollout.phase, Phase::Settled | Phase::Leaving) {
        return Err(nothing_runs("weights"));
    }
    match rules(next.spec.strategy).weigh(request, &mut next)? {
        Some(summary) => Ok(update(next, Action::Weights, summary)),
        None => Ok(ReleasePlan::Nothing("the shares are so already".to_owned())),
    }
}

/// The same document, rendered by the present templates.
pub(super) fn rerender(deployed: &Deployed) -> ReleasePlan {
    update(deployed.release.clone(), Action::Render, "render by the present templates")
}

/// Remembers versions that were rolled back or aborted; of too many the newest.
pub(super) fn reject_all<'a>(
    next: &mut Release,
    variants: impl Iterator<Item = &'a Variant>,
    reason: &str,
    commit: &CommitId,
    situation: &Situation,
) {
    let by = situation.requested_by.as_ref().map_or_else(String::new, |who| format!(" by {who}"));
    let rejected = &mut next.rollout.rejected;
    for Variant { version, .. } in variants {
        if rejected.iter().all(|known| known.version != *version) {
            rejected.push(Rejected {
                version: version.clone(),
                commit: commit.clone(),
                reason: format!("{reason}{by}"),
                at: situation.now,
            });
        }
    }
    rejected.drain(..rejected.len().saturating_sub(REJECTED_MAX));
}

/// The variants of other versions than the one that serves next, which is not rejected for other pods of its own.
pub(super) fn other_versions<'a, I: Iterator<Item = &'a Variant>>(
    next: &Release,
    variants: I,
) -> impl Iterator<Item = &'a Variant> + use<'a, I> {
    let serves = next.stable().map(|stable| stable.version.clone());
    variants.filter(move |variant| Some(&variant.version) != serves.as_ref())
}

/// Refuses what needs a running release.
pub(super) fn running(release: &Release) -> Result<(), Refusal> {
    match release.rollout.phase {
        Phase::Running => Ok(()),
        Phase::Entering => Err(entering(release)),
        Phase::Leaving | Phase::Settled => Err(nothing_runs("advance")),
    }
}

/// Refuses what must wait until the new variants are ready; says for what.
pub(super) fn entering(release: &Release) -> Refusal {
    let entering: Vec<&str> = release.staying().skip(1).map(|variant| variant.predictor.as_str()).collect();
    let reason = format!("{} is entering: it gets traffic once it is ready", entering.join(", "));
    Refusal::conflict(reason, "`kmlflow watch NAME` shows when; `abort` ends the run now")
}

/// Refuses what only a run can have.
pub(super) fn nothing_runs(act: &str) -> Refusal {
    Refusal::conflict(
        format!("nothing runs that `{act}` could act on: the release has one serving version"),
        "`kmlflow release` starts a run, and replaces a request that is still queued",
    )
}

/// The answer to an act on a run that is over.
fn over(predictor: &PredictorName) -> ReleasePlan {
    ReleasePlan::Refused(Refusal::conflict(
        format!("{predictor} is not part of the run any more"),
        "`kmlflow get NAME` shows the variants",
    ))
}
