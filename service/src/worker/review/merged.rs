//! Knowing again what was merged: a merge brings the service's own commit, a squash or a rebase brings another one with the same files.
//!
//! What counts is what was in force on the branch, and since when; so a merge speaks as the proposal whose files it brought there, by the id of the
//! proposal's commit. The proposals that it brought along and that never were in force are no history, but what they carried out is done: also where
//! people went on from them on their branch and merged that.

use std::collections::HashSet;

use super::branch::branch_of;
use super::standing::standing;
use crate::git::{Author, GitError, LogEntry, Repository};
use crate::names::{CommitId, ReleaseKey};
use crate::release::Release;
use crate::worker::history::{Came, SUPERSEDES, key_of_directory, says_ours, trailer};
use crate::worker::shared::Shared;

/// The trailer by which a proposal is told from another one, which may be of the same intent.
pub(super) const PROPOSAL: &str = "Proposal-Id";

/// What a proposal is named by: older ones have their intent's id alone.
pub(in crate::worker) fn proposal_id(entry: &LogEntry) -> Option<&str> {
    trailer(entry, PROPOSAL).or_else(|| trailer(entry, "Release-Id"))
}

/// Reads a commit that came to the branch: each release that it brings to exactly what was proposed for it speaks as the proposal did, whoever merged
/// it and however. Where the proposals are still on branches of their own, `from` says after which commit they were made.
///
/// # Errors
/// The repository cannot be read.
pub(in crate::worker) fn merged_as(
    repository: &Repository,
    author: &Author,
    from: Option<&CommitId>,
    entry: LogEntry,
) -> Result<Vec<Came>, GitError> {
    if says_ours(&entry, author) {
        return Ok(vec![entry.into()]);
    }
    if entry.is_merge {
        return merge(repository, author, entry);
    }
    let ([directory], Some(from)) = (entry.changed.as_slice(), from) else { return Ok(vec![entry.into()]) };
    Ok(match put_up_as(repository, author, from, (&entry, directory))? {
        // The proposal's own commit is on no branch that stays.
        Some(PutUp::Proposal(proposal)) => {
            vec![Came { change: entry.commit.clone(), ..speaking_as(&entry, proposal, directory) }]
        }
        Some(PutUp::GoneOnFrom(proposal)) => {
            vec![Came { brought: vec![LogEntry { commit: entry.commit.clone(), ..proposal }], ..entry.into() }]
        }
        None => vec![entry.into()],
    })
}

/// Takes a merge apart: what of it is somebody's own first, then what it brought of the service's.
fn merge(repository: &Repository, author: &Author, mut entry: LogEntry) -> Result<Vec<Came>, GitError> {
    let brought = repository.log(entry.before.as_ref(), &entry.commit)?.into_iter();
    let mut brought: Vec<LogEntry> = brought.filter(|other| says_ours(other, author)).collect();
    let superseded: HashSet<String> =
        brought.iter().filter_map(|entry| trailer(entry, SUPERSEDES)).map(ToOwned::to_owned).collect();
    brought.retain(|entry| proposal_id(entry).is_none_or(|id| !superseded.contains(id)));
    let (mut spoken, mut others) = (Vec::new(), Vec::new());
    for directory in std::mem::take(&mut entry.changed) {
        let tree = repository.tree_id(&entry.commit, &directory)?;
        let mut found = None;
        for (at, proposal) in brought.iter().enumerate().rev().filter(|(_, other)| other.changed.contains(&directory)) {
            if repository.tree_id(&proposal.commit, &directory)? == tree {
                found = Some(at);
                break;
            }
        }
        match found {
            Some(at) => spoken.push(speaking_as(&entry, brought.remove(at), &directory)),
            None => others.push(directory),
        }
    }
    entry.changed = others;
    Ok(std::iter::once(Came { brought, ..entry.into() }).chain(spoken).collect())
}

/// What a commit did to a release, in the words of the proposal.
fn speaking_as(entry: &LogEntry, proposal: LogEntry, directory: &str) -> Came {
    let LogEntry { commit: change, author, committer, message, trailers, .. } = proposal;
    let changed = vec![directory.to_owned()];
    Came {
        entry: LogEntry { author, committer, message, trailers, changed, ..entry.clone() },
        change,
        brought: Vec::new(),
    }
}

/// What was put up for review with the files that a commit brings to a release.
enum PutUp {
    Proposal(LogEntry),
    /// What people made of a proposal, on its branch.
    GoneOnFrom(LogEntry),
}

/// Looks on the branch of a release's review for the files that a commit brings; nothing where they never were there.
fn put_up_as(
    repository: &Repository,
    author: &Author,
    from: &CommitId,
    (entry, directory): (&LogEntry, &str),
) -> Result<Option<PutUp>, GitError> {
    let Some(key) = key_of_directory(directory) else { return Ok(None) };
    let Some(tip) = repository.beside(&branch_of(&key))? else { return Ok(None) };
    let tree = repository.tree_id(&entry.commit, directory)?;
    let is_about_it = |other: &LogEntry| other.changed.iter().any(|changed| changed == directory);
    let mut put_up: Vec<LogEntry> = repository.log(Some(from), &tip)?.into_iter().filter(is_about_it).collect();
    while let Some(newest) = put_up.pop() {
        if repository.tree_id(&newest.commit, directory)? != tree {
            continue;
        }
        if says_ours(&newest, author) {
            return Ok(Some(PutUp::Proposal(newest)));
        }
        return Ok(put_up.into_iter().rfind(|older| says_ours(older, author)).map(PutUp::GoneOnFrom));
    }
    Ok(None)
}

/// The document that was proposed for a release, where what people merged goes on from it.
///
/// # Errors
/// The repository cannot be read.
pub(in crate::worker) fn proposed_document(
    shared: &Shared,
    target: &CommitId,
    (key, merged): (&ReleaseKey, &Release),
) -> Result<Option<Release>, GitError> {
    if shared.settings.forge().is_none() {
        return Ok(None);
    }
    let proposed = standing(shared, target, key)?.and_then(|standing| standing.release);
    Ok(proposed.filter(|proposed| proposed.rollout == merged.rollout && proposed.origin == merged.origin))
}
