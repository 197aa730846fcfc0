//! An act made absolute: "next", "the other" and "back" become names, so that carrying it out twice is one effect.

use super::acts::{entering, nothing_runs, running};
use super::strategy::rules;
use crate::names::CommitId;
use crate::release::{Act, Deployed, Intent, Outcome, Phase, Refusal, RefusalKind, Release, RollbackTo};

/// A commit after which the release was settled.
#[derive(Debug, Clone, PartialEq)]
pub struct Settled {
    pub commit: CommitId,
    pub release: Release,
}

/// Makes an act absolute, from what is deployed and its settled states, newest first.
///
/// # Errors
/// A refusal where the act makes no sense from what is deployed.
pub fn absolute(act: &Act, deployed: &Deployed, history: &[Settled]) -> Result<Intent, Refusal> {
    let release = &deployed.release;
    match act {
        Act::Advance => {
            running(release)?;
            rules(release.spec.strategy).advance(release)
        }
        Act::Promote { variant } => match (release.rollout.phase, ended(release, Outcome::Promoted)) {
            (Phase::Settled | Phase::Leaving, Some(intent)) => Ok(intent),
            (Phase::Settled | Phase::Leaving, None) => Err(nothing_runs("promote")),
            (Phase::Entering, _) => Err(entering(release)),
            (Phase::Running, _) => {
                Ok(Intent::Promote { keep: rules(release.spec.strategy).winner(release, *variant)? })
            }
        },
        Act::Abort => abort(release),
        Act::Rollback { to: None } => back(release, history),
        Act::Rollback { to: Some(to) } => named(to, history),
        Act::Pause => Ok(Intent::Pause),
        Act::Resume => Ok(Intent::Resume),
        Act::Weights(request) => Ok(Intent::Weights(request.clone())),
        Act::Retract => Ok(Intent::Retract),
        Act::Rerender => Ok(Intent::Rerender),
    }
}

fn abort(release: &Release) -> Result<Intent, Refusal> {
    let Some(stable) = release.stable() else { return Err(nothing_runs("abort")) };
    if matches!(release.rollout.phase, Phase::Settled | Phase::Leaving) {
        return match ended(release, Outcome::Aborted) {
            Some(_) => Ok(Intent::Abort { keep: stable.predictor.clone(), reject: Vec::new() }),
            None => Err(nothing_runs("abort")),
        };
    }
    let reject = release.spec.variants.iter().skip(1).map(|variant| variant.predictor.clone()).collect();
    Ok(Intent::Abort { keep: stable.predictor.clone(), reject })
}

/// The promotion of what serves, where the last run ended so: a repeat then changes nothing.
fn ended(release: &Release, outcome: Outcome) -> Option<Intent> {
    let stable = release.stable()?;
    (release.rollout.outcome == Some(outcome)).then(|| Intent::Promote { keep: stable.predictor.clone() })
}

/// The newest settled state before the present one. A rollback counts as the state it restored, so that a second one goes one further back.
fn back(release: &Release, history: &[Settled]) -> Result<Intent, Refusal> {
    if release.rollout.restores.is_some()
        && release.rollout.phase != Phase::Settled
        && let Some(to) = &release.rollout.restores
    {
        return Ok(Intent::Rollback { to: to.clone() });
    }
    let states = states(history);
    let start = if release.rollout.phase == Phase::Settled { restored_state(&states, 0) + 1 } else { 0 };
    let rejected = |state: &State<'_>| {
        let version = state.newest.release.stable().map(|variant| &variant.version);
        release.rollout.rejected.iter().any(|rejected| Some(&rejected.version) == version)
    };
    let target = states.iter().skip(start).find(|state| !rejected(state) && state.newest.release.spec != release.spec);
    let target = target.ok_or_else(|| nowhere(states.iter().skip(start).any(rejected)))?;
    Ok(Intent::Rollback { to: target.newest.commit.clone() })
}

/// The refusal of a rollback without an aim.
fn nowhere(passed_rejected: bool) -> Refusal {
    let reason = if passed_rejected {
        "every older settled state has a version that was rejected, and a rollback skips those"
    } else {
        "there is no older settled state to go back to"
    };
    Refusal::conflict(reason, "`kmlflow history NAME` shows the states; `rollback --to` names one, also a rejected one")
}

/// The settled state of a commit, or the newest one of a version.
fn named(to: &RollbackTo, history: &[Settled]) -> Result<Intent, Refusal> {
    let found = history.iter().find(|settled| match to {
        RollbackTo::Commit(commit) => settled.commit == *commit,
        RollbackTo::Version(version) => settled.release.stable().is_some_and(|variant| variant.version == *version),
    });
    let what = match to {
        RollbackTo::Commit(commit) => format!("commit {commit}"),
        RollbackTo::Version(version) => format!("version {version}"),
    };
    found.map(|settled| Intent::Rollback { to: settled.commit.clone() }).ok_or_else(|| Refusal {
        kind: RefusalKind::Conflict,
        reason: format!("{what} is no settled state of this release"),
        cure: Some("`kmlflow history NAME` shows the states".to_owned()),
        violations: Vec::new(),
    })
}

/// Neighbouring commits with one and the same `spec`.
struct State<'a> {
    /// The newest of them: with it everything is back that belongs to the state.
    newest: &'a Settled,
    commits: Vec<&'a CommitId>,
}

fn states(history: &[Settled]) -> Vec<State<'_>> {
    let mut states: Vec<State<'_>> = Vec::new();
    for settled in history {
        match states.last_mut() {
            Some(state) if state.newest.release.spec == settled.release.spec => state.commits.push(&settled.commit),
            _ => states.push(State { newest: settled, commits: vec![&settled.commit] }),
        }
    }
    states
}

/// The position of the state that the one at `position` restored, or its own.
fn restored_state(states: &[State<'_>], position: usize) -> usize {
    let mut at = position;
    while let Some(restored) = states.get(at).and_then(|state| state.newest.release.rollout.restores.as_ref()) {
        let older = states.iter().enumerate().skip(at + 1).find(|(_, state)| state.commits.contains(&restored));
        match older {
            Some((older, _)) => at = older,
            None => break,
        }
    }
    at
}
