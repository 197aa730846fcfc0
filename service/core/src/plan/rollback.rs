//! Back to an older settled state: in one commit from a settled release, through leaving from a run.
//!
//! Over another engine or port, the first commit brings the older version beside the one that serves, where that one is seen to answer.

use super::acts::{other_versions, reject_all};
use super::arms::free_name;
use super::change::update;
use super::create::origin_of;
use super::situation::Situation;
use super::{timing, transition};
use crate::names::CommitId;
use crate::release::{
    Action, Deployed, Observed, Outcome, Phase, Readiness, Refusal, Release, ReleasePlan, Restorable, Serving,
    Strategy, Variant,
};

/// Plans the next commit of a rollback to the settled state of `to`.
pub(super) fn rollback(to: &CommitId, deployed: &Deployed, situation: &Situation) -> Result<ReleasePlan, Refusal> {
    let release = &deployed.release;
    let Some(restorable) = situation.restorable.as_ref().filter(|restorable| restorable.commit == *to) else {
        return Err(Refusal::conflict(
            format!("commit {to} is no settled state of this release"),
            "`kmlflow history NAME` shows the states",
        ));
    };
    match release.rollout.phase {
        Phase::Settled if release.spec == restorable.release.spec => Ok(ReleasePlan::Nothing(format!(
            "it serves version {} in that state already",
            version(&restorable.release)
        ))),
        Phase::Settled => Ok(from_settled(release, restorable, deployed, situation)),
        Phase::Leaving | Phase::Entering | Phase::Running => Ok(from_run(release, restorable, deployed, situation)),
    }
}

fn from_settled(release: &Release, restorable: &Restorable, deployed: &Deployed, situation: &Situation) -> ReleasePlan {
    // On the way from a run the candidate is rejected already, and the version in between was never at fault.
    let on_its_way = release.rollout.restores.as_ref() == Some(&restorable.commit)
        && release.rollout.outcome == Some(Outcome::RolledBack);
    if let Some(mut next) = entering(release, restorable, situation) {
        if !on_its_way {
            let rejected = other_versions(&restorable.release, release.stable().into_iter());
            reject_all(&mut next, rejected, "rolled back", &deployed.commit, situation);
        }
        return update(next, Action::Rollback, format!("roll back: add version {}", version(&restorable.release)));
    }
    if let Some(why) = timing::not_replaceable(release, situation) {
        return ReleasePlan::Wait(why);
    }
    let mut change = transition::restore(release, restorable, origin_of(situation), Action::Rollback, situation);
    if !on_its_way {
        let rejected = other_versions(&change.release, release.stable().into_iter());
        reject_all(&mut change.release, rejected, "rolled back", &deployed.commit, situation);
        // No run has ended, and the route goes on naming the own Service: nothing that follows has to wait for it.
        change.release.rollout.outcome = None;
    }
    ReleasePlan::Update(Box::new(change))
}

/// The older version beside the one that serves: where the own Service cannot reach both, and the one that serves is seen to answer.
///
/// Where it does not, or nobody looks, callers lose nothing by one commit, and it takes no time.
fn entering(release: &Release, restorable: &Restorable, situation: &Situation) -> Option<Release> {
    let (live, then) = (release.stable()?, restorable.release.stable()?);
    let (serves, served) = (release.serving_of(live), restorable.release.serving_of(then));
    let Observed::Seen(seen) = &situation.observed else { return None };
    let answers = seen.variants.get(&live.predictor) == Some(&Readiness::Ready);
    // One release has one protocol as long as two of its variants serve.
    if serves.has_ports_of(&served) || serves.protocol() != served.protocol() || !answers {
        return None;
    }
    let common = serves.in_common(&served);
    let base = common.over(&Serving::defaults());
    let (old, new) = (Strategy::Single.stable_role(), Strategy::Single.new_role());
    let is_taken = live.predictor == then.predictor;
    let predictor = if is_taken { free_name(&then.version, release) } else { then.predictor.clone() };
    let mut next = release.clone();
    next.spec.variants = vec![
        Variant { role: old, serving: serves.differing_from(&base), ..live.clone() },
        Variant { role: new, predictor, serving: served.differing_from(&base), ..then.clone() },
    ];
    next.spec.serving = common;
    Some(transition::enter_again(next, &restorable.commit, situation))
}

fn from_run(release: &Release, restorable: &Restorable, deployed: &Deployed, situation: &Situation) -> ReleasePlan {
    if release.rollout.restores.as_ref() == Some(&restorable.commit) {
        return ReleasePlan::Nothing("the rollback is on its way".to_owned());
    }
    let Some(keep) = kept(release, restorable) else {
        return ReleasePlan::Nothing("the release has no variant".to_owned());
    };
    let mut next = if release.rollout.phase == Phase::Leaving && release.leaving().next().is_none() {
        // The last one has been removed: what is left settles, then the older state is restored.
        Release {
            rollout: crate::release::Rollout {
                outcome: Some(Outcome::RolledBack),
                paused: None,
                ..release.rollout.clone()
            },
            ..release.clone()
        }
    } else {
        transition::end_run(release, &keep.predictor, Outcome::RolledBack, situation)
    };
    next.rollout.restores = Some(restorable.commit.clone());
    next.origin = origin_of(situation);
    // What was just promoted is what is rolled back, although it serves until the older state is restored.
    let is_blamed = |variant: &&Variant| {
        (release.rollout.phase == Phase::Leaving || variant.version != keep.version)
            && Some(&variant.version) != restored_version(restorable)
    };
    let rejected = release.spec.variants.iter().filter(is_blamed);
    reject_all(&mut next, rejected, "rolled back", &deployed.commit, situation);
    update(next, Action::Rollback, format!("roll back to version {}", version(&restorable.release)))
}

/// The variant that serves on the way: the restored state's own where its pods are still there, else the stable one.
fn kept(release: &Release, restorable: &Restorable) -> Option<Variant> {
    let then = restorable.release.stable()?;
    let there = release
        .spec
        .variants
        .iter()
        .find(|variant| variant.predictor == then.predictor && variant.artifact == then.artifact);
    there.or_else(|| release.stable()).cloned()
}

fn restored_version(restorable: &Restorable) -> Option<&crate::names::Version> {
    restorable.release.stable().map(|variant| &variant.version)
}

fn version(release: &Release) -> String {
    release.stable().map_or_else(|| "?".to_owned(), |variant| variant.version.to_string())
}
