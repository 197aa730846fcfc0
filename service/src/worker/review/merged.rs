//! Knowing again what was merged: a merge brings the service's own commit, a squash or a rebase brings another one with the same files.

use super::branch::{self, branch_of};
use crate::git::{Author, GitError, LogEntry, Repository};
use crate::names::{CommitId, ReleaseKey};
use crate::release::Release;
use crate::worker::history::{key_of, says_ours};
use crate::worker::shared::Shared;

/// Reads a commit that came to the target after `from`: one that brings a release to exactly what was proposed for it speaks as the
/// proposal did, whoever merged it and however.
///
/// # Errors
/// The repository cannot be read.
pub(in crate::worker) fn merged_as(
    repository: &Repository,
    author: &Author,
    from: &CommitId,
    entry: LogEntry,
) -> Result<LogEntry, GitError> {
    let [directory] = entry.changed.as_slice() else { return Ok(entry) };
    if says_ours(&entry, author) {
        return Ok(entry);
    }
    Ok(match proposal_of(repository, author, from, (&entry, directory))? {
        Some(LogEntry { author, committer, message, trailers, .. }) => {
            LogEntry { author, committer, message, trailers, ..entry }
        }
        None => entry,
    })
}

/// The proposal whose files a commit brings to a release; nothing where there is none.
fn proposal_of(
    repository: &Repository,
    author: &Author,
    from: &CommitId,
    (entry, directory): (&LogEntry, &str),
) -> Result<Option<LogEntry>, GitError> {
    let Some(key) = key_of(directory) else { return Ok(None) };
    let Some(tip) = repository.beside(&branch_of(&key))? else { return Ok(None) };
    let tree = repository.tree_id(&entry.commit, directory)?;
    let is_proposal = |proposal: &LogEntry| {
        says_ours(proposal, author) && proposal.changed.iter().any(|changed| changed == directory)
    };
    for proposal in repository.log(Some(from), &tip)?.into_iter().rev().filter(is_proposal) {
        if repository.tree_id(&proposal.commit, directory)? == tree {
            return Ok(Some(proposal));
        }
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
    let proposed = branch::standing(shared, target, key)?.and_then(|standing| standing.release);
    Ok(proposed.filter(|proposed| proposed.rollout == merged.rollout && proposed.origin == merged.origin))
}
