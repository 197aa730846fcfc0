//! Which pull request is the one of a review: the one from its branch into the branch that everybody reads. One that a person sends elsewhere, or whose branch
//! has another name by now, or that was merged or closed before it showed what the review is about, is that no more: it says so, and the review has another one.

use std::collections::BTreeSet;

use super::body::plain;
use super::branch::branch_of;
use super::follow::Hitch;
use super::{Review, comment};
use crate::forge::{Forge, ForgeError, Found, PullRequest, PullState};
use crate::git::GitError;
use crate::names::ReleaseKey;
use crate::worker::shared::Shared;

/// The pull requests from the branch of a review.
pub(super) struct Sight {
    /// The one of the review, if there is one.
    pub(super) pull: Option<PullRequest>,
    /// Those that are it no more, or never were.
    pub(super) others: Vec<PullRequest>,
}

/// Looks for the pull request of a review, where it was listed just now by that, and for others from its branch.
///
/// # Errors
/// The forge does not answer, or the repository cannot be read.
pub(super) async fn see(
    shared: &Shared,
    forge: &Forge,
    (key, review): (&ReleaseKey, &Review),
    listed: Option<&PullRequest>,
) -> Result<Sight, Hitch> {
    let target = shared.repository.branch();
    let known = match (listed, &review.pull) {
        (Some(listed), _) => Some(listed.clone()),
        (None, Some(pull)) => Some(forge.pull_request(pull.number).await?),
        (None, None) => None,
    };
    let mut others = Vec::new();
    if let Some(known) = known {
        // Where it ended at what is not known here, somebody went on from all that was put up.
        let is_it = match known.state {
            // A branch that somebody renames takes its pull request along.
            PullState::Open => known.branch == branch_of(key),
            _ => shows(shared, review, &known)? != Some(false),
        };
        if known.base == target && is_it {
            return Ok(Sight { pull: Some(known), others });
        }
        others.push(known);
    }
    let Found { open, closed, elsewhere } = forge.find(&branch_of(key), target).await?;
    let mut pull = open;
    for closed in closed {
        if pull.is_none() && shows(shared, review, &closed)? == Some(true) {
            pull = Some(closed);
        }
    }
    let is_new = |other: &PullRequest| others.iter().all(|known| known.number != other.number);
    let elsewhere: Vec<PullRequest> = elsewhere.into_iter().filter(is_new).collect();
    others.extend(elsewhere);
    Ok(Sight { pull, others })
}

/// Whether a pull request shows what a review is about, or did so when it ended; nothing where that is not known.
fn shows(shared: &Shared, review: &Review, pull: &PullRequest) -> Result<Option<bool>, GitError> {
    let Some(head) = &pull.head else { return Ok(None) };
    shared.repository.is_known_ancestor(&review.commit, head)
}

/// Has pull requests that are not the review say so, and which one is.
///
/// # Errors
/// The forge does not answer.
pub(super) async fn say_of_others(
    shared: &Shared,
    forge: &Forge,
    others: &[PullRequest],
    review: Option<&PullRequest>,
) -> Result<(), ForgeError> {
    let target = shared.repository.branch();
    for PullRequest { number, base, state, .. } in others {
        if base == target && matches!(state, PullState::Merged(_)) {
            // How that fares it says itself.
            continue;
        }
        let what = if base == target && *state == PullState::Open {
            "**Not the review any more**: this is from another branch by now. Merging it brings what is on that one."
                .to_owned()
        } else if base == target {
            "**Closed**, so nothing changes by this.".to_owned()
        } else {
            let (base, target) = (plain(base), plain(target));
            format!(
                "**Not the review any more**: this goes into {base}, and releases are what {target} says. What is merged here releases nothing."
            )
        };
        let instead = review.map_or_else(String::new, |review| format!(" The review is {} now.", review.url));
        comment::say(shared, forge, *number, &format!("{what}{instead}")).await?;
    }
    Ok(())
}

/// The open one of some pull requests that go elsewhere, as they are by now: the branch of the review is theirs too.
///
/// # Errors
/// The forge does not answer.
pub(super) async fn open_elsewhere(
    shared: &Shared,
    forge: &Forge,
    numbers: BTreeSet<u64>,
) -> Result<Option<PullRequest>, ForgeError> {
    for number in numbers {
        let pull = forge.pull_request(number).await?;
        if pull.state == PullState::Open && pull.base != shared.repository.branch() {
            return Ok(Some(pull));
        }
    }
    Ok(None)
}
