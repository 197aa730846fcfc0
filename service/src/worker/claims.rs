//! Commits that say of themselves that they carried a request out: what they are believed.
//!
//! A service that was killed, or that another one replaced, knows what it pushed by the trailers of the commits alone. Whoever may push can write
//! the same, or copy it by accident, so a request counts as done by a commit only where that has what was asked for.

use super::deliveries::asked_version;
use super::foreign::checked;
use super::shared::Shared;
use crate::event::Requested;
use crate::git::GitError;
use crate::names::{CommitId, PredictorName, ReleaseKey};
use crate::release::{Intent, RELEASE_FILE, Release};

/// Whether a commit that says that it carried a request out has what was asked for.
///
/// Where changes are reviewed, people may have merged it with changes of their own, and have decided.
///
/// # Errors
/// The repository fails.
pub(super) fn is_carried_out(
    shared: &Shared,
    requested: &Requested,
    (key, commit): (&ReleaseKey, &CommitId),
) -> Result<bool, GitError> {
    if *key != requested.key {
        return Ok(false);
    }
    if shared.is_reviewed(key) {
        return Ok(true);
    }
    let text = match shared.repository.read(commit, &format!("{}/{RELEASE_FILE}", key.directory())) {
        Err(error) if error.is_about_the_request() => None,
        text => text?,
    };
    let release = text.and_then(|text| checked(key, &String::from_utf8_lossy(&text)).ok());
    Ok(has(release.as_ref(), &requested.intent))
}

/// Whether a release has what an intent names; nothing where it is retracted. Shares and steps may have gone on since, in the same turn.
fn has(release: Option<&Release>, intent: &Intent) -> bool {
    let Some(release) = release else { return *intent == Intent::Retract };
    let variants = &release.spec.variants;
    let serves = |predictor: &PredictorName| variants.iter().any(|variant| variant.predictor == *predictor);
    match intent {
        Intent::Retract => false,
        Intent::Put(wanted) => {
            let version = asked_version(intent);
            let has_version = version.is_none_or(|version| variants.iter().any(|variant| variant.version == *version));
            release.spec.model == wanted.model && has_version
        }
        Intent::Rollback { to } => release.rollout.restores.as_ref() == Some(to),
        Intent::Step { candidate: predictor, .. }
        | Intent::Activate { predictor, .. }
        | Intent::Promote { keep: predictor }
        | Intent::Abort { keep: predictor, .. }
        | Intent::Settle { keep: predictor } => serves(predictor),
        Intent::Pause => release.rollout.paused.is_some(),
        Intent::Resume => release.rollout.paused.is_none(),
        Intent::Weights(_)
        | Intent::Rerender
        | Intent::Run { .. }
        | Intent::Remove { .. }
        | Intent::RouteDocs { .. } => true,
    }
}
