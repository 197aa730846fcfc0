//! Moving the branch on, durably and only from where it was believed to be.

use super::{GitError, Repository};
use crate::names::CommitId;

/// What became of an attempt to move the branch.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Publish {
    /// The branch is at the new tip, durably.
    Done,
    /// Somebody else moved it to this commit; nothing was changed.
    Moved(CommitId),
}

impl Repository {
    /// Moves the branch from `base` to `tip`, durably, if it is still at `base`.
    pub fn publish(&self, base: &CommitId, tip: &CommitId) -> Result<Publish, GitError> {
        todo!()
    }
}
