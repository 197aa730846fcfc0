//! Commits that are made but not yet published: they lie in the repository, and no branch names them.

use jiff::Timestamp;

use super::repository::{commit_id, find_commit, read_file};
use super::{Author, GitError, Repository, tree};
use crate::names::CommitId;

/// One file that shall be different.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// Path in the repository, with `/`.
    pub path: String,
    /// The new content; nothing removes the file, or a directory with all below it.
    pub content: Option<Vec<u8>>,
}

/// A row of commits on a base, which nobody sees until it is published.
#[derive(Debug)]
pub struct Draft<'r> {
    repository: &'r Repository,
    /// The base and the commits after it.
    line: Vec<CommitId>,
    tip: CommitId,
}

impl<'r> Draft<'r> {
    pub(super) fn on(repository: &'r Repository, base: CommitId) -> Self {
        Self { repository, line: vec![base.clone()], tip: base }
    }
}

impl Draft<'_> {
    /// Commits some edits on the tip of the draft. Makes no commit, and answers nothing, where the tree stays the same.
    ///
    /// Edits count in order: a directory that is removed and then written to is replaced.
    pub fn commit(
        &mut self,
        edits: Vec<Edit>,
        message: &str,
        author: &Author,
        at: Timestamp,
    ) -> Result<Option<CommitId>, GitError> {
        let made = self.repository.handles().call(|repository| {
            let parent = find_commit(repository, &self.tip)?;
            let old = parent.tree()?;
            let id = tree::rewrite(repository, &old, edits)?;
            if id == old.id() {
                return Ok(None);
            }
            let signature = author.signature(at)?;
            let new = repository.find_tree(id)?;
            let commit = repository.commit(None, &signature, &signature, message, &new, &[&parent])?;
            commit_id(commit).map(Some)
        })?;
        if let Some(commit) = &made {
            self.line.push(commit.clone());
            self.tip = commit.clone();
        }
        Ok(made)
    }

    /// The last commit of the draft, the base where there is none yet.
    pub fn tip(&self) -> &CommitId {
        &self.tip
    }

    /// Reads a file as the draft has it.
    pub fn read(&self, path: &str) -> Result<Option<Vec<u8>>, GitError> {
        self.repository.handles().call(|repository| read_file(repository, &self.tip, path))
    }

    /// Drops the commits after this one, which is the base or one that the draft made.
    pub fn reset_to(&mut self, commit: &CommitId) -> Result<(), GitError> {
        let at =
            self.line.iter().position(|made| made == commit).ok_or_else(|| GitError::UnknownCommit(commit.clone()))?;
        self.line.truncate(at + 1);
        self.tip = commit.clone();
        Ok(())
    }
}
