//! The branch that a change waits on: one per release, the service's own, and still never forced.
//!
//! A new state is a commit on top of the one before. Where the release was changed on the target meanwhile, that history is joined first.

use std::time::Duration;

use jiff::Timestamp;

use crate::git::{Draft, Edit, GitError, LogEntry, Offered, join_message, says_join};
use crate::names::{CommitId, DeliveryId, ReleaseKey};
use crate::release::{RELEASE_FILE, Refusal, Release};
use crate::worker::foreign::checked;
use crate::worker::history::{SUPERSEDES, says_ours, trailer};
use crate::worker::shared::Shared;
use crate::worker::task::new_id;

use super::Proposed;
use super::call_off::call_off;
use super::merged::{PROPOSAL, proposal_id};

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

/// What is on a release's branch.
pub(super) struct Standing {
    /// Where the branch is.
    tip: CommitId,
    /// The newest commit of the service on it, and the release there.
    pub(super) own: LogEntry,
    pub(super) release: Option<Release>,
    /// The newest commit of somebody else after that one, which nobody has decided about yet.
    pub(super) theirs: Option<LogEntry>,
    /// Whether the target has the same of this release as when the branch was begun, or last joined with it.
    is_current: bool,
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
    let there = |commit: CommitId| {
        shared.reviews.want(key, commit, proposed);
        Offer::There
    };
    let branch = branch_of(key);
    for _ in 0..MOVED_MAX {
        let standing = standing(shared, target, key)?;
        if let Some(standing) = &standing
            && standing.is_current
            && is_same(standing.release.as_ref(), proposed.write.after.as_ref())
        {
            let is_called_off = if !proposed.merges_itself && shared.reviews.merges_itself(key) {
                call_off(shared, key).await
            } else {
                Ok(())
            };
            return Ok(is_called_off.map_or_else(Offer::Later, |()| there(standing.own.commit.clone())));
        }
        if let Some(Standing { own, theirs: Some(theirs), .. }) = &standing
            && !proposed.is_forced
        {
            let asks = proposed.delivery.as_ref().map(DeliveryId::as_str);
            return Ok(if asks.is_some() && asks == trailer(own, "Delivery-Id") {
                // It waits there as it was proposed, and as people made it since; how that goes with what is new on the target is theirs to decide.
                there(own.commit.clone())
            } else {
                Offer::Theirs(taken(&branch, theirs))
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
            Offered::Done => return Ok(there(commit)),
            Offered::Refused(words) => return Ok(Offer::Refused(crate::names::line_of_a_person(&words))),
            Offered::Moved => {}
        }
    }
    Ok(later())
}

/// The refusal of a change that would write over what somebody added to the branch of the last one.
fn taken(branch: &str, theirs: &LogEntry) -> Refusal {
    let (who, commit) = (crate::names::line_of_a_person(&theirs.author.name), theirs.commit.as_str());
    let reason = format!(
        "{who} added the commit {} to the branch `{branch}`, which this would write over",
        commit.get(..12).unwrap_or(commit)
    );
    Refusal::conflict(
        reason,
        "merge or close the pull request of that branch first, take the commit off the branch by a push, or write over it with `force=true` (`--force`)",
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
        if let Some(id) = proposal_id(&standing.own) {
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

/// What is on a release's branch that was seen last; nothing where there is none of ours.
pub(super) fn standing(shared: &Shared, target: &CommitId, key: &ReleaseKey) -> Result<Option<Standing>, GitError> {
    let repository = &shared.repository;
    let Some(tip) = repository.beside(&branch_of(key))? else { return Ok(None) };
    let Some(common) = repository.common(&tip, target)? else { return Ok(None) };
    let directory = key.directory();
    let author = &shared.settings.author;
    let is_own = |entry: &LogEntry| says_ours(entry, author) && entry.changed.contains(&directory);
    let own = repository.log(Some(target), &tip)?.into_iter().rfind(is_own);
    let Some(own) = own else { return Ok(None) };
    let is_ours = |entry: &LogEntry| {
        let is_join =
            entry.author == *author && entry.committer == *author && says_join(&entry.message, repository.branch());
        says_ours(entry, author) || is_join
    };
    // A merge that leaves the release as it is brings the branch up to the target, and nothing of anybody's own.
    let is_theirs = |entry: &LogEntry| !is_ours(entry) && (!entry.is_merge || entry.changed.contains(&directory));
    let mut theirs = repository.line(Some(&own.commit), &tip)?.into_iter().rfind(is_theirs);
    if theirs.is_some() && was_in_force(shared, (&common, target), (&tip, &directory))? {
        theirs = None;
    }
    let text = repository.read(&own.commit, &format!("{directory}/{RELEASE_FILE}"))?;
    let release = text.and_then(|text| checked(key, &String::from_utf8_lossy(&text)).ok());
    let is_current = repository.tree_id(&common, &directory)? == repository.tree_id(target, &directory)?;
    Ok(Some(Standing { tip, own, release, theirs, is_current }))
}

/// Whether the target has had a directory as a commit has it: then that was merged, whatever commit a forge made of it.
fn was_in_force(
    shared: &Shared,
    (from, target): (&CommitId, &CommitId),
    (commit, directory): (&CommitId, &String),
) -> Result<bool, GitError> {
    let repository = &shared.repository;
    let tree = repository.tree_id(commit, directory)?;
    for entry in repository.line(Some(from), target)? {
        if entry.changed.contains(directory) && repository.tree_id(&entry.commit, directory)? == tree {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether two states of a release are the same but for when they were decided, and for where its pages are: what waits is planned again, at another
/// moment, and by a service that may listen at another port, which is its address where no `public_url` is set.
pub(super) fn is_same(one: Option<&Release>, other: Option<&Release>) -> bool {
    one.map(decided) == other.map(decided)
}

/// A release without the moments that its planning wrote, and without its own page. The files are rendered from what is left and from them.
fn decided(release: &Release) -> Release {
    let mut release = release.clone();
    release.spec.target.links.release = None;
    release.rendered.files.clear();
    let rollout = &mut release.rollout;
    let moments = [&mut rollout.since]
        .into_iter()
        .chain(rollout.paused.iter_mut().map(|paused| &mut paused.since))
        .chain(rollout.rejected.iter_mut().map(|rejected| &mut rejected.at));
    moments.for_each(|moment| *moment = Timestamp::UNIX_EPOCH);
    release
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT_ONE: &str = "2026-11-23T10:00:00Z";
    const AT_OTHER: &str = "2026-11-23T10:00:19Z";

    /// A release that went back and is paused, by a planning at some moment.
    fn planned(at: &str, reason: &str) -> Release {
        let mut release = Release::parse(include_str!("../testdata/release.yaml")).unwrap();
        let at: Timestamp = at.parse().unwrap();
        release.rollout.since = at;
        release.rollout.paused = Some(crate::release::Paused { since: at, by: "ann".to_owned() });
        release.rollout.rejected = vec![crate::release::Rejected {
            version: crate::names::Version::parse("8").unwrap(),
            commit: CommitId::parse(&"a".repeat(40)).unwrap(),
            reason: reason.to_owned(),
            at,
        }];
        release
    }

    #[test]
    fn what_is_planned_again_at_another_moment_is_the_same() {
        let (one, again) = (planned(AT_ONE, "slow"), planned(AT_OTHER, "slow"));
        assert!(one != again && is_same(Some(&one), Some(&again)));
    }

    #[test]
    fn what_is_planned_again_at_another_address_is_the_same() {
        let planned = |page: &str| {
            let mut release = planned(AT_ONE, "slow");
            release.spec.target.links.release = Some(page.to_owned());
            // The files have the link in them.
            release.rendered.files.insert("seldon.yaml".to_owned(), crate::names::Digest::of(page.as_bytes()));
            release
        };
        let (one, again) = (planned("http://localhost:1/releases/x"), planned("http://localhost:2/releases/x"));
        assert!(one != again && is_same(Some(&one), Some(&again)));
        let mut other = planned("http://localhost:2/releases/x");
        other.spec.target.host = "elsewhere".to_owned();
        assert!(!is_same(Some(&one), Some(&other)));
    }

    #[test]
    fn another_decision_at_the_same_moment_is_not_the_same() {
        let (one, other) = (planned(AT_ONE, "slow"), planned(AT_ONE, "wrong"));
        assert!(!is_same(Some(&one), Some(&other)) && !is_same(Some(&one), None));
    }
}
