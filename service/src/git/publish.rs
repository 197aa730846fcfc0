//! Moving the branch on: durably, and only from where it was believed to be.
//!
//! Three sync calls for a batch of any size. The batch's pack and the branch's new value are written aside, one `syncfs` makes both
//! durable, and only then they get their names: the pack first (its directory is synced), then the branch (its directory is synced),
//! under Git's own lock, `refs/heads/main.lock`, which any `git push` respects. So a crash leaves the old branch or the new one, and
//! never a name without its content. libgit2's own update would rename first and leave the sync to luck.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::repository::{BRANCH, branch_tip, commit_id, find_commit, oid};
use super::{GitError, Repository, pack};
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

/// How long the branch's lock is waited for. Git holds it for the length of two renames; its own default is to wait 100 ms.
const LOCK_WAIT: Duration = Duration::from_millis(500);
const LOCK_RETRY: Duration = Duration::from_millis(2);

/// The file in the repository that the branch's new value is first written to.
const ASIDE: &str = "main.next";

impl Repository {
    /// Moves the branch from `base` to `tip`, durably, if it is still at `base`. One call at a time, as there is one writer.
    ///
    /// Drafts end with it: commits that are not published by it are forgotten, unless it fails, for then it may be tried again.
    pub fn publish(&self, base: &CommitId, tip: &CommitId) -> Result<Publish, GitError> {
        let line = self.made().line_to(oid(tip)?);
        let outcome = self.handles().call(|repository| {
            if line.is_empty() {
                find_commit(repository, tip)?;
            }
            // Looking first spares a sync where it is already lost; it decides nothing.
            let now = branch_tip(repository)?;
            if now != oid(base)? {
                return commit_id(now).map(Publish::Moved);
            }
            let pack = if line.is_empty() { None } else { Some(pack::write(self.path(), &line)?) };
            let aside = write_aside(self.path(), tip)?;
            sync_file_system(&aside)?;
            let lock = Lock::take(&aside, lock_path(self.path()))?;
            let now = branch_tip(repository)?;
            if now != oid(base)? {
                return commit_id(now).map(Publish::Moved);
            }
            pack.map(pack::WrittenPack::take_place).transpose()?;
            let branch = self.path().join(BRANCH);
            lock.become_file(&branch)?;
            sync_parent(&branch)?;
            Ok(Publish::Done)
        })?;
        self.made().clear();
        Ok(outcome)
    }
}

/// Makes durable all that was written to the file system a path is on, in one call.
pub(super) fn sync_file_system(path: &Path) -> Result<(), GitError> {
    let file = File::open(path)?;
    #[cfg(target_os = "linux")]
    rustix::fs::syncfs(&file)?;
    #[cfg(not(target_os = "linux"))]
    {
        rustix::fs::sync();
        file.sync_all()?;
    }
    Ok(())
}

/// Makes durable which names are in the directory that a path is in.
pub(super) fn sync_parent(path: &Path) -> Result<(), GitError> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_directory(parent),
        _ => sync_directory(Path::new(".")),
    }
}

/// Makes durable which names are in a directory.
pub(super) fn sync_directory(directory: &Path) -> Result<(), GitError> {
    Ok(File::open(directory)?.sync_all()?)
}

/// Takes away a lock of the branch that this service left behind when it was killed. It is known by being the same file as the value
/// written aside; the lock of anybody else stays, because a push may still be running.
pub(super) fn remove_own_lock(repository: &Path) -> Result<(), GitError> {
    let lock = lock_path(repository);
    let (Ok(aside), Ok(locked)) = (fs::metadata(repository.join(ASIDE)), fs::metadata(&lock)) else { return Ok(()) };
    if (aside.dev(), aside.ino()) == (locked.dev(), locked.ino()) {
        tracing::warn!("the branch was locked by this service when it was killed; the lock is removed");
        fs::remove_file(&lock)?;
    }
    Ok(())
}

/// Writes a value to a new file, so that no name of an older one shares it.
fn write_aside(repository: &Path, tip: &CommitId) -> Result<PathBuf, GitError> {
    let aside = repository.join(ASIDE);
    match fs::remove_file(&aside) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    fs::write(&aside, format!("{tip}\n"))?;
    Ok(aside)
}

fn lock_path(repository: &Path) -> PathBuf {
    repository.join(format!("{BRANCH}.lock"))
}

/// The branch's lock while it is held, given back when dropped; an empty path holds nothing any more.
struct Lock(PathBuf);

impl Lock {
    /// Takes the lock by linking the file there under the lock's name, which succeeds for one at a time, as Git's own way does.
    fn take(aside: &Path, path: PathBuf) -> Result<Self, GitError> {
        let begun = Instant::now();
        loop {
            match fs::hard_link(aside, &path) {
                Ok(()) => return Ok(Self(path)),
                Err(error) if error.kind() == ErrorKind::AlreadyExists && begun.elapsed() < LOCK_WAIT => {
                    std::thread::sleep(LOCK_RETRY)
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists => return Err(GitError::Locked),
                // Git removes a directory of branches that ends empty, which it does when it packs them.
                Err(error) if error.kind() == ErrorKind::NotFound && aside.exists() && begun.elapsed() < LOCK_WAIT => {
                    fs::create_dir_all(path.parent().unwrap_or(aside))?;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Puts the locked file in the branch's place, which ends the lock.
    fn become_file(mut self, branch: &Path) -> Result<(), GitError> {
        fs::rename(&self.0, branch)?;
        self.0.clear();
        Ok(())
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if self.0.as_os_str().is_empty() {
            return;
        }
        if let Err(error) = fs::remove_file(&self.0) {
            tracing::warn!(error = &error as &dyn std::error::Error, "the lock of the branch could not be given back");
        }
    }
}
