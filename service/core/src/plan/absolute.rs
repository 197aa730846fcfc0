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
    /// Whether it was seen live; nothing where nobody looked at the time.
    pub was_live: Option<bool>,
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
    // The present state is the first of them, unless whoever keeps the history has not heard of it yet.
    let is_first = |state: &State<'_>| state.newest.release.spec == release.spec;
    let is_settled_here = release.rollout.phase == Phase::Settled && states.first().is_some_and(is_first);
    let start = if is_settled_here { restored_state(&states, 0) + 1 } else { 0 };
    let is_other = |state: &&State<'_>| state.newest.release.spec != release.spec;
    let older = || states.iter().skip(start).filter(is_other);
    let passed_over = |state: &State<'_>| passed_over(state, release, history);
    let target = older().find(|state| passed_over(state).is_none());
    let target = target.ok_or_else(|| nowhere(older().find_map(passed_over)))?;
    Ok(Intent::Rollback { to: target.newest.commit.clone() })
}

/// Why a rollback passes a state over; nothing where it does not.
fn passed_over(state: &State<'_>, release: &Release, history: &[Settled]) -> Option<&'static str> {
    let version = state.newest.release.stable().map(|variant| &variant.version);
    if release.rollout.rejected.iter().any(|rejected| Some(&rejected.version) == version) {
        return Some("was rejected");
    }
    // It may have been live under an older commit, which a rollback has restored.
    let mut commits = history.iter().filter(|settled| settled.release.spec == state.newest.release.spec);
    commits.all(|settled| settled.was_live == Some(false)).then_some("never was live")
}

/// The refusal of a rollback without an aim; `why` the newest older state was passed over.
fn nowhere(why: Option<&str>) -> Refusal {
    let reason = match why {
        Some(why) => format!("each older settled state is passed over by a rollback; the newest of them {why}"),
        None => "there is no older settled state to go back to".to_owned(),
    };
    Refusal::conflict(
        reason,
        "`kmlflow history NAME` shows the states; `to` (`--to`) names one, also one that is passed over",
    )
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

#[cfg(test)]
mod tests {
    use super::*;

    fn release(version: u32, rollout: &str) -> Release {
        Release::parse(&format!(
            "apiVersion: kmlflow.dev/v1\nkind: Release\nmetadata: {{name: f, namespace: m, environment: production}}\nspec:\n  model: f\n  \
             strategy: single\n  variants: [{{role: live, version: '{version}', predictor: v{version}, image: a}}]\n  serving: {{}}\n  target: {{cluster: c, \
             namespace: m, gateway: {{namespace: g, name: g}}, host: h, previewHost: p, grpcHost: g, monitoring: {{mode: 'off'}}, links: {{}}}}\n\
             rollout: {{phase: settled, since: 2026-11-23T10:00:00Z{rollout}}}\n"
        ))
        .unwrap()
    }

    fn commit(number: u32) -> CommitId {
        CommitId::parse(&format!("{number:040}")).unwrap()
    }

    /// A settled state; its commit has the number of its place in the history, the oldest is 1.
    fn settled(number: u32, version: u32, was_live: Option<bool>) -> Settled {
        Settled { commit: commit(number), release: release(version, ""), was_live }
    }

    /// What a rollback of what was settled last goes back to, with the history newest first.
    fn back_from(history: &[Settled]) -> Result<CommitId, String> {
        let deployed = Deployed { release: history[0].release.clone(), commit: history[0].commit.clone() };
        match absolute(&Act::Rollback { to: None }, &deployed, history) {
            Ok(Intent::Rollback { to }) => Ok(to),
            Ok(other) => panic!("{other:?}"),
            Err(refusal) => Err(refusal.reason),
        }
    }

    #[test]
    fn a_rollback_passes_over_what_never_was_live() {
        let (live, not) = (Some(true), Some(false));
        assert_eq!(back_from(&[settled(3, 9, live), settled(2, 8, not), settled(1, 7, live)]), Ok(commit(1)));
        assert_eq!(back_from(&[settled(3, 9, not), settled(2, 8, live), settled(1, 7, live)]), Ok(commit(2)));
        let nowhere = back_from(&[settled(2, 8, not), settled(1, 7, not)]).unwrap_err();
        assert!(nowhere.ends_with("the newest of them never was live"), "{nowhere}");
    }

    #[test]
    fn what_nobody_looked_at_is_not_passed_over() {
        assert_eq!(back_from(&[settled(3, 9, Some(true)), settled(2, 8, None), settled(1, 7, None)]), Ok(commit(2)));
    }

    #[test]
    fn a_state_that_was_restored_counts_as_live_where_it_was_before() {
        let mut restored = settled(3, 7, Some(false));
        restored.release = release(7, &format!(", outcome: rolled-back, restores: {}", commit(1)));
        let history = [settled(4, 9, Some(true)), restored, settled(2, 8, Some(true)), settled(1, 7, Some(true))];
        assert_eq!(back_from(&history), Ok(commit(3)));
    }

    #[test]
    fn the_newest_state_is_gone_back_to_where_the_history_does_not_have_the_present_one() {
        let deployed = Deployed { release: release(9, ""), commit: commit(9) };
        let history = [settled(2, 8, None), settled(1, 7, None)];
        let back = absolute(&Act::Rollback { to: None }, &deployed, &history).unwrap();
        assert_eq!(back, Intent::Rollback { to: commit(2) });
    }
}
