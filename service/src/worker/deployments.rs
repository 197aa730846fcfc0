//! What the forge is told about environments: a deployment per release and predictor that came, and how it fares.
//!
//! Nothing of it is kept here: what was told last is asked of the forge, and the rest follows from the release. So what changed lately can be told
//! again at a start, as `statuses` has it, and no deployment begins twice.

use crate::forge::{CommitState, CommitStatus, Deployment, DeploymentState, Forge, ForgeError, Payload};
use crate::names::{CommitId, ReleaseKey};
use crate::release::{Phase, Release};

/// The most that is told at once of a release: one that ended, one that begins, how it fares, and that the one before is replaced.
const STEPS_MAX: usize = 4;

/// How a release fares, for the environment that it is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fares {
    commit: CommitId,
    /// The predictor that it brings in, or that serves alone; nothing once it is retracted.
    brings: Option<String>,
    state: DeploymentState,
    description: String,
    url: Option<String>,
}

/// What is to be told next.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// Something new begins.
    Begin(Payload),
    /// A deployment fares like this.
    Say(u64, DeploymentState),
}

impl Fares {
    /// By the phase that Git has and the status that its commit was given, which is the cluster's word where one is watched.
    pub(super) fn of(commit: &CommitId, release: Option<&Release>, status: &CommitStatus) -> Self {
        let state = match release.map(|release| release.rollout.phase) {
            None => DeploymentState::Inactive,
            Some(_) if status.state == CommitState::Failure => DeploymentState::Failure,
            Some(Phase::Entering) => DeploymentState::Pending,
            Some(Phase::Running | Phase::Leaving) => DeploymentState::InProgress,
            Some(Phase::Settled) if status.state == CommitState::Pending => DeploymentState::InProgress,
            Some(Phase::Settled) => DeploymentState::Success,
        };
        let brings = release.and_then(|release| release.staying().last()).map(|variant| variant.predictor.to_string());
        let (description, url) = (status.description.clone(), status.url.clone());
        Self { commit: commit.clone(), brings, state, description, url }
    }
}

/// Tells the forge how a release fares.
///
/// # Errors
/// The forge refuses or does not answer; the same can be told again.
pub(super) async fn tell(forge: &Forge, key: &ReleaseKey, fares: &Fares) -> Result<(), ForgeError> {
    let (environment, task) = (key.environment.as_str(), format!("kmlflow:{}/{}", key.namespace, key.name));
    let mut newest = forge.newest_deployment(environment, &task).await?;
    for _ in 0..STEPS_MAX {
        match next(newest.as_ref(), fares) {
            None => return Ok(()),
            Some(Step::Begin(payload)) => {
                let id = forge.deploy((environment, &task), &fares.commit, &payload).await?;
                // It has no state yet, which is as good as pending; said at once, so that it is never without one.
                forge.set_deployment(id, fares.state, (&fares.description, fares.url.as_deref())).await?;
                let replaced = payload.replaces.filter(|_| fares.state == DeploymentState::Success);
                newest = Some(Deployment { id, commit: fares.commit.to_string(), payload, state: fares.state });
                replace(forge, replaced, &fares.description).await?;
            }
            Some(Step::Say(id, state)) => {
                let url = fares.url.as_deref().filter(|_| state != DeploymentState::Failure);
                forge.set_deployment(id, state, (&fares.description, url)).await?;
                if let Some(newest) = &mut newest {
                    newest.state = state;
                    let replaced = newest.payload.replaces.filter(|_| state == DeploymentState::Success);
                    replace(forge, replaced, &fares.description).await?;
                }
            }
        }
    }
    Ok(())
}

async fn replace(forge: &Forge, replaced: Option<u64>, description: &str) -> Result<(), ForgeError> {
    match replaced {
        Some(id) => forge.set_deployment(id, DeploymentState::Inactive, (description, None)).await,
        None => Ok(()),
    }
}

/// What of a release's state the forge does not know yet, from what it was told last.
fn next(newest: Option<&Deployment>, fares: &Fares) -> Option<Step> {
    let Some(brings) = &fares.brings else {
        let newest = newest.filter(|newest| newest.state != DeploymentState::Inactive)?;
        return Some(Step::Say(newest.id, DeploymentState::Inactive));
    };
    let begin = |before: &str, replaces| {
        Some(Step::Begin(Payload { brings: brings.clone(), before: before.to_owned(), replaces }))
    };
    let Some(Deployment { id, commit, payload, state }) = newest else { return begin("", None) };
    let is_same = payload.brings == *brings;
    let is_of_this = is_same && commit == fares.commit.as_str();
    match state {
        DeploymentState::Pending | DeploymentState::InProgress if is_same => {
            (*state != fares.state).then_some(Step::Say(*id, fares.state))
        }
        // What came did not stay, or something else came in its place.
        DeploymentState::Pending | DeploymentState::InProgress => Some(Step::Say(*id, DeploymentState::Failure)),
        // In its cluster it fails; what else comes of the same that has arrived is no news.
        DeploymentState::Success if is_same => {
            (fares.state == DeploymentState::Failure).then_some(Step::Say(*id, DeploymentState::Failure))
        }
        DeploymentState::Success => begin(&payload.brings, Some(*id)),
        DeploymentState::Failure if is_same && fares.state == DeploymentState::Failure => None,
        // It has recovered.
        DeploymentState::Failure if is_of_this => Some(Step::Say(*id, fares.state)),
        // Back to what was there before: that deployment still counts.
        DeploymentState::Failure if payload.before == *brings => None,
        DeploymentState::Failure => begin(&payload.before, payload.replaces),
        DeploymentState::Inactive => begin("", None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fares(brings: &str, state: DeploymentState) -> Fares {
        Fares {
            commit: CommitId::parse(&"a".repeat(40)).unwrap(),
            brings: (!brings.is_empty()).then(|| brings.to_owned()),
            state,
            description: String::new(),
            url: None,
        }
    }

    fn payload(brings: &str, before: &str, replaces: Option<u64>) -> Payload {
        Payload { brings: brings.to_owned(), before: before.to_owned(), replaces }
    }

    fn told(brings: &str, before: &str, state: DeploymentState) -> Deployment {
        let replaces = (!before.is_empty()).then_some(1);
        Deployment { id: 2, commit: "b".repeat(40), payload: payload(brings, before, replaces), state }
    }

    #[test]
    fn the_first_version_begins_a_deployment_and_the_same_again_says_nothing() {
        let wanted = fares("v7", DeploymentState::Success);
        assert_eq!(next(None, &wanted), Some(Step::Begin(payload("v7", "", None))));
        assert_eq!(next(Some(&told("v7", "", DeploymentState::Success)), &wanted), None);
    }

    #[test]
    fn a_run_goes_from_pending_to_success_on_one_deployment() {
        use DeploymentState::{InProgress, Pending, Success};
        let before = told("v7", "", Success);
        let begun = next(Some(&before), &fares("v8", Pending));
        assert_eq!(begun, Some(Step::Begin(payload("v8", "v7", Some(2)))));
        for (from, to) in [(Pending, InProgress), (InProgress, Success)] {
            assert_eq!(next(Some(&told("v8", "v7", from)), &fares("v8", to)), Some(Step::Say(2, to)));
        }
    }

    #[test]
    fn what_does_not_stay_has_failed_and_the_one_before_still_counts() {
        use DeploymentState::{Failure, InProgress, Success};
        let aborted = fares("v7", Success);
        assert_eq!(next(Some(&told("v8", "v7", InProgress)), &aborted), Some(Step::Say(2, Failure)));
        assert_eq!(next(Some(&told("v8", "v7", Failure)), &aborted), None);
        let third = next(Some(&told("v8", "v7", Failure)), &fares("v9", Success));
        assert_eq!(third, Some(Step::Begin(payload("v9", "v7", Some(1)))));
    }

    #[test]
    fn what_fails_in_its_cluster_is_told_once_and_again_when_it_recovers() {
        use DeploymentState::{Failure, InProgress, Pending, Success};
        let failing = fares("v8", Failure);
        for state in [Pending, InProgress, Success] {
            assert_eq!(next(Some(&told("v8", "v7", state)), &failing), Some(Step::Say(2, Failure)));
        }
        let failed = told("v8", "v7", Failure);
        assert_eq!(next(Some(&failed), &failing), None);
        let of_this = Deployment { commit: "a".repeat(40), ..failed.clone() };
        assert_eq!(next(Some(&of_this), &fares("v8", Success)), Some(Step::Say(2, Success)));
        // Of another commit it is another try.
        let again = next(Some(&failed), &fares("v8", Pending));
        assert_eq!(again, Some(Step::Begin(payload("v8", "v7", Some(1)))));
    }

    #[test]
    fn a_rollback_of_what_was_settled_is_a_deployment_of_its_own() {
        let settled = told("v8", "v7", DeploymentState::Success);
        let back = next(Some(&settled), &fares("v7", DeploymentState::Success));
        assert_eq!(back, Some(Step::Begin(payload("v7", "v8", Some(2)))));
    }

    #[test]
    fn a_release_that_is_retracted_is_inactive_and_can_come_again() {
        use DeploymentState::{Inactive, Success};
        let gone = fares("", Inactive);
        assert_eq!(next(None, &gone), None);
        assert_eq!(next(Some(&told("v8", "v7", Success)), &gone), Some(Step::Say(2, Inactive)));
        assert_eq!(next(Some(&told("v8", "v7", Inactive)), &gone), None);
        let again = next(Some(&told("v8", "v7", Inactive)), &fares("v8", Success));
        assert_eq!(again, Some(Step::Begin(payload("v8", "", None))));
    }
}
