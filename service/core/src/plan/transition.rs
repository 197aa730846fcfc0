//! From phase to phase: how a release looks after each transition. When one happens is not decided here.

use super::change::{change, update};
use super::create::origin_of;
use super::situation::Situation;
use super::strategy::rules;
use crate::names::{CommitId, PredictorName};
use crate::release::{
    Action, Change, Deployed, Files, Origin, Outcome, Phase, Release, ReleasePlan, ReleaseSpec, Restorable, Role,
    Strategy, Variant, Wanted,
};

/// The answer to a replay: somebody has carried it out already, or something else came first.
fn done_already() -> ReleasePlan {
    ReleasePlan::Nothing("it has been done already, or something newer came first".to_owned())
}

/// Starts a run: the new variants are there, and no route names them.
pub(super) fn enter(release: &Release, wanted: &Wanted, new: Vec<Variant>, situation: &Situation) -> Release {
    let strategy = wanted.strategy;
    let mut next = release.clone();
    // Whoever serves now stays first; whoever neither stays nor is wanted leaves.
    let stable = release.stable().map(|variant| Variant { role: strategy.stable_role(), ..variant.clone() });
    let kept = |variant: &&Variant| stable.iter().chain(&new).all(|other| other.predictor != variant.predictor);
    let going: Vec<Variant> = release
        .spec
        .variants
        .iter()
        .filter(kept)
        .map(|variant| Variant { role: Role::Leaving, ..variant.clone() })
        .collect();
    let arms = new.len() + 1;
    next.rollout.outcome = (!going.is_empty()).then_some(Outcome::Superseded);
    next.spec.variants = stable.into_iter().chain(new).chain(going).collect();
    next.spec.strategy = strategy;
    clear_settings(&mut next.spec);
    rules(strategy).set_up(wanted, &mut next.spec, arms);
    next.spec.deadline = wanted.deadline.unwrap_or(next.spec.deadline);
    next.origin = origin_of(situation);
    begin(&mut next, Phase::Entering, situation);
    next
}

/// Brings an older version back beside the one that serves: a run that ends in the settled state of a commit.
pub(super) fn enter_again(mut next: Release, to: &CommitId, situation: &Situation) -> Release {
    begin(&mut next, Phase::Entering, situation);
    next.rollout.outcome = None;
    next.rollout.restores = Some(to.clone());
    next.origin = origin_of(situation);
    next
}

/// The entered variants get their first traffic, or, in a single release, all of it.
pub(super) fn run(entered: &[PredictorName], deployed: &Deployed, situation: &Situation) -> ReleasePlan {
    let release = &deployed.release;
    let same = release.staying().skip(1).map(|variant| &variant.predictor).eq(entered);
    if release.rollout.phase != Phase::Entering || !same || release.leaving().next().is_some() {
        return done_already();
    }
    let strategy = release.spec.strategy;
    if strategy == Strategy::Single {
        let Some(keep) = entered.first() else { return done_already() };
        let summary = rules(strategy).started(release);
        let (outcome, action) = match release.rollout.restores {
            Some(_) => (Outcome::RolledBack, Action::Rollback),
            None => (Outcome::Promoted, Action::Promote),
        };
        return update(end_run(release, keep, outcome, situation), action, summary);
    }
    let mut next = release.clone();
    begin(&mut next, Phase::Running, situation);
    next.rollout.step = rules(strategy).first_step();
    let summary = rules(strategy).started(&next);
    update(next, Action::Step, summary)
}

/// Ends a run with one predictor: the route names it alone, the others leave.
pub(super) fn end_run(release: &Release, keep: &PredictorName, outcome: Outcome, situation: &Situation) -> Release {
    let mut next = release.clone();
    let stays = |variant: &&Variant| variant.predictor == *keep;
    let first = release
        .spec
        .variants
        .iter()
        .filter(stays)
        .map(|v| Variant { role: release.spec.strategy.stable_role(), ..v.clone() });
    let others =
        release.spec.variants.iter().filter(|v| !stays(v)).map(|v| Variant { role: Role::Leaving, ..v.clone() });
    next.spec.variants = first.chain(others).collect();
    if let Some(blue_green) = &mut next.spec.blue_green {
        blue_green.active = Role::Blue;
    }
    begin(&mut next, Phase::Leaving, situation);
    next.rollout.outcome = Some(outcome);
    if outcome != Outcome::RolledBack {
        // Whoever ends a way back otherwise does not want what it led to.
        next.rollout.restores = None;
    }
    next
}

/// The predictors that no route names go.
pub(super) fn remove(gone: &[PredictorName], deployed: &Deployed, situation: &Situation) -> ReleasePlan {
    let release = &deployed.release;
    if !release.leaving().map(|variant| &variant.predictor).eq(gone) || gone.is_empty() {
        return done_already();
    }
    let mut next = release.clone();
    next.spec.variants.retain(|variant| variant.role != Role::Leaving);
    next.rollout.since = situation.now;
    let versions: Vec<&str> = release.leaving().map(|variant| variant.version.as_str()).collect();
    update(next, Action::Leave, format!("remove version {}", versions.join(", ")))
}

/// One version serves, through the release's own Service.
pub(super) fn settle(keep: &PredictorName, deployed: &Deployed, situation: &Situation) -> ReleasePlan {
    let release = &deployed.release;
    let alone = release.spec.variants.len() == 1 && release.stable().is_some_and(|variant| variant.predictor == *keep);
    if release.rollout.phase != Phase::Leaving || !alone {
        return done_already();
    }
    let spec = settled_spec(&release.spec, release);
    let is_back = |restorable: &&Restorable| {
        // Rendered by other templates its pods are others, and its files are to be in force all the same.
        same_pods(release, restorable)
            || (release.rollout.outcome == Some(Outcome::RolledBack) && restorable.release.spec == spec)
    };
    if let Some(restorable) = situation.restorable.as_ref().filter(is_back) {
        return ReleasePlan::Update(Box::new(restore(
            release,
            restorable,
            release.origin.clone(),
            Action::Settle,
            situation,
        )));
    }
    let mut next = release.clone();
    next.spec = spec;
    begin(&mut next, Phase::Settled, situation);
    let version = next.stable().map_or_else(String::new, |variant| variant.version.to_string());
    update(next, Action::Settle, format!("settle on version {version}"))
}

/// The documentation page of the live version is routed.
pub(super) fn route_docs(predictor: &PredictorName, deployed: &Deployed) -> ReleasePlan {
    let release = &deployed.release;
    if release.rollout.docs.as_ref() == Some(predictor)
        || release.stable().is_none_or(|variant| variant.predictor != *predictor)
    {
        return done_already();
    }
    let mut next = release.clone();
    next.rollout.docs = Some(predictor.clone());
    update(next, Action::Settle, "route the documentation page")
}

/// The settled state of an older commit, file for file; origin and rollout are new.
pub(super) fn restore(
    release: &Release,
    restorable: &Restorable,
    origin: Origin,
    action: Action,
    situation: &Situation,
) -> Change {
    let mut next = restorable.release.clone();
    next.origin = origin;
    next.rollout.rejected.clone_from(&release.rollout.rejected);
    next.rollout.outcome = Some(Outcome::RolledBack);
    next.rollout.restores = Some(restorable.commit.clone());
    next.rollout.since = situation.now;
    next.rollout.paused = None;
    let version = next.stable().map_or_else(String::new, |variant| variant.version.to_string());
    let what = if action == Action::Settle { "settle, rolled back to version" } else { "roll back to version" };
    let mut change = change(next, action, format!("{what} {version}"));
    change.files = Files::Restore(restorable.commit.clone());
    change
}

/// Whether the settled state has the very pods that serve now.
fn same_pods(release: &Release, restorable: &Restorable) -> bool {
    let (Some(now), Some(then)) = (release.stable(), restorable.release.stable()) else { return false };
    let digest = |release: &Release, predictor: &PredictorName| release.rendered.pods.get(predictor).cloned();
    now.predictor == then.predictor
        && now.artifact == then.artifact
        && digest(release, &now.predictor) == digest(&restorable.release, &then.predictor)
}

/// The `spec` of a settled release: one live variant, whose settings are the release's.
pub(super) fn settled_spec(spec: &ReleaseSpec, release: &Release) -> ReleaseSpec {
    let mut next = spec.clone();
    if let Some(stable) = release.stable() {
        next.serving = release.serving_of(stable);
        next.variants = vec![Variant { role: Strategy::Single.stable_role(), serving: None, ..stable.clone() }];
    }
    next.strategy = Strategy::Single;
    clear_settings(&mut next);
    next
}

/// Begins a phase: what belongs to the one before is gone.
fn begin(release: &mut Release, phase: Phase, situation: &Situation) {
    release.rollout.phase = phase;
    release.rollout.step = None;
    release.rollout.since = situation.now;
    release.rollout.paused = None;
    if phase == Phase::Entering {
        release.rollout.restores = None;
    }
    release.rollout.docs = docs(release);
}

/// Whose documentation page is routed: the stable variant's, whose Service is there in every phase that begins here.
fn docs(release: &Release) -> Option<PredictorName> {
    let stable = release.stable()?;
    release.serving_of(stable).docs_path.as_ref().map(|_| stable.predictor.clone())
}

fn clear_settings(spec: &mut ReleaseSpec) {
    // Named one by one, so that a new strategy's settings cannot be forgotten here.
    let ReleaseSpec {
        canary,
        ab,
        blue_green,
        shadow,
        model: _,
        strategy: _,
        variants: _,
        serving: _,
        route: _,
        deadline: _,
        target: _,
    } = spec;
    (*canary, *ab, *blue_green, *shadow) = (None, None, None, None);
}
