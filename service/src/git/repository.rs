//! The repository: opened or seeded, and read by path.

use std::path::Path;

use jiff::Timestamp;

use super::{Draft, GitError};
use crate::names::{CommitId, ReleaseKey, TreeId};

/// The GitOps repository. Shared between threads; each call takes a handle of its own.
pub struct Repository;

/// Who stands in a commit as its author.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Author {
    pub name: String,
    pub email: String,
}

/// Whether the repository was there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seeded {
    New,
    Existing,
}

/// What an entry of a directory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    File,
    Directory,
}

impl Repository {
    /// Opens the embedded repository, or makes it with the seed as its first commit where there is nothing.
    pub fn open_or_seed(
        path: &Path,
        seed: &[(String, Vec<u8>)],
        author: &Author,
        now: Timestamp,
    ) -> Result<(Self, Seeded), GitError> {
        todo!()
    }

    /// Where the repository lies on this machine.
    pub fn path(&self) -> &Path {
        todo!()
    }

    /// The commit that the branch is at.
    pub fn tip(&self) -> Result<CommitId, GitError> {
        todo!()
    }

    /// Reads a file; nothing where there is none.
    pub fn read(&self, at: &CommitId, path: &str) -> Result<Option<Vec<u8>>, GitError> {
        todo!()
    }

    /// Lists a directory in Git's order; empty where there is none.
    pub fn list(&self, at: &CommitId, dir: &str) -> Result<Vec<(String, EntryKind)>, GitError> {
        todo!()
    }

    /// Every release of the commit with the tree of its directory.
    pub fn release_keys(&self, at: &CommitId) -> Result<Vec<(ReleaseKey, TreeId)>, GitError> {
        todo!()
    }

    /// The tree of a directory; nothing where there is none.
    pub fn tree_id(&self, at: &CommitId, dir: &str) -> Result<Option<TreeId>, GitError> {
        todo!()
    }

    /// Begins a draft on a commit.
    pub fn draft(&self, base: &CommitId) -> Result<Draft<'_>, GitError> {
        todo!()
    }
}
