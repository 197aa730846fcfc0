//! Open handles on one repository, kept because opening costs more than a commit.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::GitError;

/// After so many calls a handle is closed: what it read of the packs stays mapped for as long as it lives.
const CALLS_MAX: u32 = 1_024;

/// The most handles kept open between calls; more are opened when more threads ask at once, and closed afterwards.
const IDLE_MAX: usize = 4;

/// Handles that are not in use, the warmest last.
#[derive(Debug)]
pub(super) struct Handles {
    path: PathBuf,
    idle: Mutex<Vec<Kept>>,
    /// How often all of them were given up.
    renewed: AtomicU64,
}

struct Kept {
    repository: git2::Repository,
    calls: u32,
    since: u64,
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kept").field("calls", &self.calls).finish_non_exhaustive()
    }
}

impl Handles {
    /// Opens the first handle, which shows that there is a repository.
    pub(super) fn open(path: &Path) -> Result<Self, GitError> {
        // Of what is read hardly anything is read twice; a walk of the history would leave half a kB of each commit behind.
        git2::opts::enable_caching(false);
        let handles = Self { path: path.to_owned(), idle: Mutex::default(), renewed: AtomicU64::new(0) };
        handles.call(|_| Ok(()))?;
        Ok(handles)
    }

    /// The repository's place on this machine.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Calls a function with a handle that nobody else uses meanwhile.
    pub(super) fn call<T>(&self, f: impl FnOnce(&git2::Repository) -> Result<T, GitError>) -> Result<T, GitError> {
        let kept = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut kept = match kept {
            Some(kept) => kept,
            None => {
                // Read before it is opened: what is given up meanwhile is not kept.
                let since = self.renewed.load(Ordering::Acquire);
                Kept { repository: self.fresh()?, calls: 0, since }
            }
        };
        let result = f(&kept.repository).map_err(|error| not_fetched(&kept.repository, error));
        kept.calls += 1;
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let is_good = kept.calls < CALLS_MAX && kept.since == self.renewed.load(Ordering::Acquire);
        if is_good && idle.len() < IDLE_MAX {
            idle.push(kept);
        }
        result
    }

    /// Gives all handles up, those in use at their next return. A handle knows where the history of a clone begins from when it was opened; and
    /// while any is open, every part of a pack that was read stays mapped.
    pub(super) fn renew(&self) {
        self.renewed.fetch_add(1, Ordering::AcqRel);
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// A handle of its own, for a walk whose mapped packs shall not outlive it.
    pub(super) fn fresh(&self) -> Result<git2::Repository, GitError> {
        git2::Repository::open_bare(&self.path).map_err(|error| match error.code() {
            git2::ErrorCode::NotFound => GitError::corrupt("there is no Git repository at its place", error),
            _ => error.into(),
        })
    }
}

/// In a clone that has a part of the history, a commit that is not there may be in the rest.
pub(super) fn not_fetched(repository: &git2::Repository, error: GitError) -> GitError {
    match error {
        GitError::UnknownCommit(_) if repository.is_shallow() => GitError::NotFetched,
        error => error,
    }
}
