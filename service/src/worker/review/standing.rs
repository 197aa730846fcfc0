//! What is on the branch of a release's review: the service's last proposal, and what people made of it.

use jiff::Timestamp;

use super::branch::branch_of;
use crate::git::{GitError, LogEntry, says_join};
use crate::names::{CommitId, ReleaseKey};
use crate::release::{RELEASE_FILE, Release};
use crate::worker::foreign::checked;
use crate::worker::history::{says_ours, trailer};
use crate::worker::shared::Shared;

/// What is on a release's branch that the target has not.
pub(super) struct Standing {
    /// Where the branch is.
    pub(super) tip: CommitId,
    /// The newest commit of the service on it, also as somebody's rebase has it, and the release there; nothing where all of it is somebody else's.
    pub(super) own: Option<LogEntry>,
    pub(super) release: Option<Release>,
    /// The newest commit of somebody else after that one, or that one where somebody changed it; nobody has decided about it yet.
    pub(super) theirs: Option<LogEntry>,
    /// Whether the target has the same of this release as when the branch was begun, or last joined with it.
    pub(super) is_current: bool,
}

/// What is on a release's branch that was seen last; nothing where there is none, or the target has all of it.
pub(super) fn standing(shared: &Shared, target: &CommitId, key: &ReleaseKey) -> Result<Option<Standing>, GitError> {
    let repository = &shared.repository;
    let Some(tip) = repository.beside(&branch_of(key))? else { return Ok(None) };
    let (directory, author) = (key.directory(), &shared.settings.author);
    let entries = repository.log(Some(target), &tip)?;
    // Whoever rebases a commit leaves its author and becomes its committer.
    let is_own = |entry: &&LogEntry| {
        entry.author == *author && trailer(entry, "Release-Id").is_some() && entry.changed.contains(&directory)
    };
    let common = repository.common(&tip, target)?;
    let (Some(own), Some(common)) = (entries.iter().rfind(is_own).cloned(), common) else {
        let theirs = entries.into_iter().next_back();
        return Ok(theirs.map(|theirs| Standing {
            tip,
            own: None,
            release: None,
            theirs: Some(theirs),
            is_current: false,
        }));
    };
    let is_ours = |entry: &LogEntry| {
        let is_join =
            entry.author == *author && entry.committer == *author && says_join(&entry.message, repository.branch());
        says_ours(entry, author) || is_join
    };
    // A merge that leaves the release as it is brings the branch up to the target, and nothing of anybody's own.
    let is_theirs = |entry: &LogEntry| !is_ours(entry) && (!entry.is_merge || entry.changed.contains(&directory));
    let mut theirs = repository.line(Some(&own.commit), &tip)?.into_iter().rfind(is_theirs);
    if theirs.is_none() && is_changed(shared, key, &own)? {
        theirs = Some(own.clone());
    }
    if theirs.is_some() && was_in_force(shared, (&common, target), (&tip, &directory))? {
        theirs = None;
    }
    let text = repository.read(&own.commit, &format!("{directory}/{RELEASE_FILE}"))?;
    let release = text.and_then(|text| checked(key, &String::from_utf8_lossy(&text)).ok());
    let is_current = repository.tree_id(&common, &directory)? == repository.tree_id(target, &directory)?;
    Ok(Some(Standing { tip, own: Some(own), release, theirs, is_current }))
}

/// Whether somebody may have changed what the service proposed, in its own commit. One that was only rebased has the same files, as far as is remembered
/// which those were.
fn is_changed(shared: &Shared, key: &ReleaseKey, own: &LogEntry) -> Result<bool, GitError> {
    if says_ours(own, &shared.settings.author) {
        return Ok(false);
    }
    let Some(made) = shared.reviews.one(key).and_then(|review| review.made) else { return Ok(true) };
    let tree = |commit: &CommitId| shared.repository.tree_id(commit, &key.directory());
    match tree(&made) {
        Ok(made) => Ok(made != tree(&own.commit)?),
        Err(GitError::UnknownCommit(_) | GitError::NotFetched) => Ok(true),
        Err(error) => Err(error),
    }
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
