//! Commits that are made but not yet published.

use jiff::Timestamp;

use super::{Author, GitError};
use crate::names::CommitId;

/// One file that shall be different.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// Path in the repository, with `/`.
    pub path: String,
    /// The new content; nothing removes the file, or a directory with all below it.
    pub content: Option<Vec<u8>>,
}

/// A row of commits on a base, which nobody else sees until it is published.
pub struct Draft<'r> {
    _repository: &'r super::Repository,
}

impl Draft<'_> {
    /// Commits some edits on the tip of the draft. Makes no commit, and answers nothing, where the tree stays the same.
    pub fn commit(
        &mut self,
        edits: Vec<Edit>,
        message: &str,
        author: &Author,
        at: Timestamp,
    ) -> Result<Option<CommitId>, GitError> {
        todo!()
    }

    /// The last commit of the draft, the base where there is none yet.
    pub fn tip(&self) -> &CommitId {
        todo!()
    }

    /// Reads a file as the draft has it.
    pub fn read(&self, path: &str) -> Result<Option<Vec<u8>>, GitError> {
        todo!()
    }

    /// Drops the commits after this one.
    pub fn reset_to(&mut self, commit: &CommitId) {
        todo!()
    }
}
