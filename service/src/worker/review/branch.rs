//! The branch that a change waits on: one per release, the service's own, and still never forced.
//!
//! A new state is a commit on top of the one before. Where the release was changed on the target meanwhile, that history is joined first.

use std::time::Duration;

use crate::git::{Author, Draft, Edit, GitError, LogEntry, Offered, join_message};
use crate::names::{CommitId, DeliveryId, ReleaseKey};
use crate::release::{Refusal, Release};
use crate::worker::history::{SUPERSEDES, says_ours, trailer};
use crate::worker::shared::Shared;
use crate::worker::task::new_id;

use super::Proposed;
use super::call_off::call_off;
use super::merged::{PROPOSAL, proposal_id};
use super::standing::{Standing, is_same, standing};

/// The branches of reviews, as a pattern.
pub(in crate::worker) const BRANCHES: &str = "kmlflow/*";

/// How long a branch is waited for that is being deleted: a forge does that in a tenth of it.
const LOCK_WAIT: Duration = Duration::from_secs(2);

/// How often a branch is built anew that somebody else moved meanwhile.
const MOVED_MAX: usize = 3;

/// The branch of a release's review.
pub(in crate::worker) fn branch_of(key: &ReleaseKey) -> String {
    format!("kmlflow/{key}")
}

/// The release whose review a branch is for.
pub(in crate::worker) fn key_of_branch(branch: &str) -> Option<ReleaseKey> {
    ReleaseKey::parse(branch.strip_prefix("kmlflow/")?).ok()
}

/// What became of an offer.
#[derive(Debug)]
pub(in crate::worker) enum Offer {
    /// The branch has it, and it is noted as wanted.
    There,
    /// The branch could not be moved now, in these words; it is tried again.
    Later(String),
    /// The remote refuses the branch, in these words.
    Refused(String),
    /// Somebody added to the branch what this would write over.
    Theirs(Refusal),
}

/// Puts a change on its release's branch, on what the target has, and notes that it is wanted; does nothing to the branch where it stands there already.
///
/// # Errors
/// The remote cannot be reached, or the disk fails.
pub(in crate::worker) async fn offer(
    shared: &Shared,
    target: &CommitId,
    key: &ReleaseKey,
    proposed: &Proposed,
) -> Result<Offer, GitError> {
    let lock = shared.reviews.branch(key);
    let later = || Offer::Later("its branch is being changed".to_owned());
    let Ok(_alone) = tokio::time::timeout(LOCK_WAIT, lock.lock()).await else { return Ok(later()) };
    // Noted before anybody else has the lock: what is on the branch is wanted.
    let there = |commit: CommitId, is_as_made: bool| {
        shared.reviews.want(key, (commit, is_as_made), proposed);
        Offer::There
    };
    let (branch, author) = (branch_of(key), &shared.settings.author);
    for _ in 0..MOVED_MAX {
        let standing = standing(shared, target, key)?;
        if let Some(standing) = &standing
            && let Some(own) = &standing.own
            && standing.is_current
            && is_same(standing.release.as_ref(), proposed.write.after.as_ref())
        {
            let is_called_off = if !proposed.merges_itself && shared.reviews.merges_itself(key) {
                call_off(shared, key).await
            } else {
                Ok(())
            };
            return Ok(is_called_off.map_or_else(Offer::Later, |()| there(own.commit.clone(), says_ours(own, author))));
        }
        if let Some(Standing { own, theirs: Some(theirs), .. }) = &standing
            && !proposed.is_forced
        {
            let asks = proposed.delivery.as_ref().map(DeliveryId::as_str);
            let is_asked_by = |own: &&LogEntry| asks.is_some() && asks == trailer(own, "Delivery-Id");
            return Ok(match own.as_ref().filter(is_asked_by) {
                // It waits there as it was proposed, and as people made it since; how that goes with what is new on the target is theirs to decide.
                Some(own) => there(own.commit.clone(), says_ours(own, author)),
                None => Offer::Theirs(taken(&branch, theirs, author)),
            });
        }
        if !proposed.merges_itself
            && shared.repository.beside(&branch)?.is_some()
            && let Err(words) = call_off(shared, key).await
        {
            return Ok(Offer::Later(words));
        }
        let Some(commit) = build(shared, target, standing.as_ref(), (key, proposed))? else {
            return Ok(Offer::Refused("it changes nothing that the branch has not".to_owned()));
        };
        match shared.repository.push_beside(&branch, &commit).await? {
            Offered::Done => return Ok(there(commit, true)),
            Offered::Refused(words) => return Ok(Offer::Refused(crate::names::line_of_a_person(&words))),
            Offered::Moved => {}
        }
    }
    Ok(later())
}

/// The refusal of a change that would write over what somebody added to the branch of the last one.
fn taken(branch: &str, theirs: &LogEntry, service: &Author) -> Refusal {
    // A rebase keeps who wrote a commit.
    let is_rewritten = theirs.author == *service;
    let (who, did, at) = match is_rewritten {
        true => (&theirs.committer, "rewrote", "on"),
        false => (&theirs.author, "added", "to"),
    };
    let (who, commit) = (crate::names::line_of_a_person(&who.name), theirs.commit.as_str());
    let reason = format!(
        "{who} {did} the commit {} {at} the branch `{branch}`, which this would write over",
        commit.get(..12).unwrap_or(commit)
    );
    Refusal::conflict(
        reason,
        "merge or close the pull request of that branch first, take the commit off the branch by a push, delete the branch where nobody needs it any more, or write over it with `force=true` (`--force`)",
    )
}

/// Makes the commits that bring a branch to a new state.
fn build(
    shared: &Shared,
    target: &CommitId,
    standing: Option<&Standing>,
    (key, proposed): (&ReleaseKey, &Proposed),
) -> Result<Option<CommitId>, GitError> {
    let (repository, author) = (&shared.repository, &shared.settings.author);
    let now = shared.clock.now();
    let mut text = format!("{}{PROPOSAL}: {}\n", proposed.message.to_text(), new_id());
    let mut edits = proposed.write.edits.clone();
    let mut draft: Draft<'_> = repository.draft(standing.map_or(target, |standing| &standing.tip))?;
    if let Some(standing) = standing {
        let is_whole = standing.release.is_some() && proposed.write.after.is_some();
        if standing.is_current && is_whole {
            edits.splice(0..0, leftovers(key, standing, proposed));
        } else {
            let branch = repository.branch();
            draft.join(target, &join_message(branch, &branch_of(key)), author, now)?;
        }
        if let Some(id) = standing.own.as_ref().and_then(proposal_id) {
            text.push_str(&format!("{SUPERSEDES}: {id}\n"));
        }
    }
    draft.commit(edits, &text, author, now)
}

/// The removal of the files that only the state before had.
fn leftovers(key: &ReleaseKey, standing: &Standing, proposed: &Proposed) -> Vec<Edit> {
    let names = |release: &Option<Release>| -> Vec<String> {
        release.iter().flat_map(|release| release.rendered.files.keys().cloned()).collect()
    };
    let kept = names(&proposed.write.after);
    let gone = names(&standing.release).into_iter().filter(|name| !kept.contains(name));
    gone.map(|name| Edit { path: format!("{}/{name}", key.directory()), content: None }).collect()
}
