//! What was put up for review by another service, or gone on from by people whom nobody here saw, and was then merged as one commit with its branch deleted:
//! the commit says nothing of it, but the forge knows what it merged, and keeps that.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::branch::branch_of;
use super::follow::Hitch;
use super::merged::merged_as;
use crate::forge::Forge;
use crate::git::{GitError, LogEntry};
use crate::names::{CommitId, ReleaseKey};
use crate::worker::history::{key_of_directory, says_ours};
use crate::worker::shared::Shared;

/// The most commits that are asked about before a turn: who brings more at once has not merged reviews.
const ASKED_MAX: usize = 20;

/// So many commits are remembered that were asked about.
const REMEMBERED_MAX: usize = 1_000;

/// The commits that were asked about.
#[derive(Debug, Default)]
pub(super) struct Asked(Mutex<HashSet<CommitId>>);

impl Asked {
    fn commits(&self) -> MutexGuard<'_, HashSet<CommitId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, commit: CommitId) {
        let mut commits = self.commits();
        if commits.len() >= REMEMBERED_MAX {
            commits.clear();
        }
        commits.insert(commit);
    }
}

/// Has the branches of reviews be as they were merged, where commits that came to the target since `from` are known by nothing that is here. What the forge
/// does not answer for counts as somebody's own.
///
/// # Errors
/// The repository cannot be read.
pub(in crate::worker) async fn recall(shared: &Shared, from: &CommitId, since: &[LogEntry]) -> Result<(), GitError> {
    let Some(forge) = shared.settings.forge() else { return Ok(()) };
    let mut asked = 0;
    for entry in since {
        let Some(key) = strange(shared, from, entry)? else { continue };
        if asked == ASKED_MAX {
            tracing::info!(
                "Of commits after `{}` the forge is not asked whether they were reviewed: there are too many",
                entry.commit
            );
            break;
        }
        asked += 1;
        if let Err(error) = recall_one(shared, forge, &key, &entry.commit).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                release.key = %key,
                "Whether the commit `{}` is a review of `{key}` that was merged is not known, so it counts as a change by hand: {error}",
                entry.commit
            );
            // It would not answer for the others either.
            break;
        }
    }
    Ok(())
}

/// The release that a commit changes alone, where changes of it are reviewed and nothing that is here says who made this one.
fn strange(shared: &Shared, from: &CommitId, entry: &LogEntry) -> Result<Option<ReleaseKey>, GitError> {
    let [directory] = entry.changed.as_slice() else { return Ok(None) };
    let author = &shared.settings.author;
    let key = key_of_directory(directory).filter(|key| shared.is_reviewed(key));
    let Some(key) = key.filter(|_| !entry.is_merge && !says_ours(entry, author)) else { return Ok(None) };
    if shared.reviews.asked.commits().contains(&entry.commit) {
        return Ok(None);
    }
    let came = merged_as(&shared.repository, author, Some(from), entry.clone())?;
    let is_known = came.iter().any(|came| !came.brought.is_empty() || says_ours(&came.entry, author));
    Ok((!is_known).then_some(key))
}

/// Brings what a commit may be merged from: the branch as it is now, or where that is gone, what the forge keeps of the pull request.
async fn recall_one(shared: &Shared, forge: &Forge, key: &ReleaseKey, commit: &CommitId) -> Result<(), Hitch> {
    let (repository, branch) = (&shared.repository, branch_of(key));
    let lock = shared.reviews.branch(key);
    let _alone = lock.lock().await;
    // A forge moves the target first, says a moment later that it has merged, and deletes the branch last: asked too early, it knows of nothing.
    if repository.find_beside(&branch).await?.is_none()
        && let Some(merged) = forge.merged_as(commit, repository.branch()).await?
        && merged.branch == branch
    {
        let found = repository.recall_beside(&branch, merged.pull.number).await?;
        tracing::info!(release.key = %key, "The commit `{commit}` is the review {}, which ended at {found:?}", merged.pull.url);
    }
    shared.reviews.asked.add(commit.clone());
    Ok(())
}
