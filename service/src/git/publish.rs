//! Moving the branch on: durably, and only from where it was believed to be.
//!
//! One sync call for a batch of any size: the journal's (`journal`). It comes first, and with it the push is done. The objects and the
//! branch's new value are put in place after that (`owed`), under Git's own lock, `refs/heads/main.lock`, which any `git push` respects. So
//! whoever reads the repository sees only what is durable, and a crash leaves a record of what is not there yet. libgit2's own update would
//! sync each file, or none.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use git2::Oid;

use super::handles::Handles;
use super::journal::{Journal, Record};
use super::owed::Embedded;
use super::repository::{BRANCH, Home, branch_tip, commit_id, find_commit, oid};
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
    /// A hook or a rule of the remote said no, in these words; nothing was changed, and the same commits will be refused again.
    Refused(String),
}

/// How long the branch's lock is waited for. Git holds it for the length of two renames; its own default is to wait 100 ms.
const LOCK_WAIT: Duration = Duration::from_millis(500);
const LOCK_RETRY: Duration = Duration::from_millis(2);

/// How long what is owed is waited for by who reads the files beside the service: many of the largest turns.
const IN_PLACE_WITHIN: Duration = Duration::from_secs(10);

/// The file in the repository that the branch's new value is first written to.
const ASIDE: &str = "main.next";

impl Repository {
    /// Moves the branch of the embedded repository, durably.
    pub(super) fn publish(&self, embedded: &Embedded, base: &CommitId, tip: &CommitId) -> Result<Publish, GitError> {
        self.make_room(embedded)?;
        let line = self.made().line_to(oid(tip)?);
        if line.is_empty() {
            self.handles_after_placing()?.call(|repository| find_commit(repository, tip).map(drop))?;
        }
        let pack = if line.is_empty() { None } else { Some(pack::encode(&line)?) };
        let record = Record { base: oid(base)?, tip: oid(tip)?, pack };
        let shown = || self.handles_as_shown().call(|repository| branch_tip(repository, BRANCH));
        let outcome = embedded.append(self.path(), record, &line, shown)?;
        match &outcome {
            Publish::Done => self.made().publish_owed(line),
            Publish::Moved(_) | Publish::Refused(_) => self.made().clear(),
        }
        Ok(outcome)
    }

    /// Makes durable what only the journal holds, so that it begins anew and the next start has nothing to do again.
    ///
    /// # Errors
    /// The disk fails; the journal then keeps what it holds.
    pub fn checkpoint(&self) -> Result<(), GitError> {
        // A clone can be made again.
        let Home::Embedded(embedded) = self.home() else { return Ok(()) };
        // Nearly everything goes to the disk while pushes go on; they wait for the rest alone.
        sync_file_system(self.path())?;
        let mut pushes = embedded.pushes();
        self.place(embedded, &mut pushes)?;
        checkpoint(self.path(), pushes.journal())
    }
}

/// Begins a journal anew, all of whose pushes are in place.
pub(super) fn checkpoint(repository: &Path, journal: &mut Journal) -> Result<(), GitError> {
    if journal.is_empty() {
        return Ok(());
    }
    sync_file_system(repository)?;
    journal.reset()
}

/// Opens the journal and does again what a crash may have taken: packs, and the branch's last value.
///
/// A branch that is beyond that value, or beside it, was moved by somebody else, and stays.
pub(super) fn recover(handles: &Handles) -> Result<Embedded, GitError> {
    recover_journal(handles).map(Embedded::new)
}

fn recover_journal(handles: &Handles) -> Result<Journal, GitError> {
    let path = handles.path();
    remove_own_lock(path)?;
    let (mut journal, records) = Journal::open(path)?;
    let (Some(first), Some(last)) = (records.first(), records.last()) else { return Ok(journal) };
    let repository = handles.fresh()?;
    let objects = repository.odb()?;
    // Where the repository lost what the pushes go on from, they stay in the journal: whoever brings that back has all of them.
    if !first.base.is_zero() && !objects.exists(first.base) {
        return Err(GitError::UnknownCommit(commit_id(first.base)?));
    }
    for pack in records.iter().filter_map(|record| record.pack.as_ref()) {
        // Pushes that were put in place together are in one pack of another name: a full disk has no room for them twice.
        pack.place_if_missing(path, &objects)?;
    }
    // Opened anew: the first one may have looked at a pack that was torn then.
    let repository = handles.fresh()?;
    if is_behind(&repository, last.tip)? {
        Lock::take(path, last.tip)?.become_branch()?;
        tracing::info!(commit.id = %last.tip, "The branch is at `{}` again, as it was before the service ended early", last.tip);
    } else {
        tell_what_is_beside(&repository, last.tip)?;
    }
    sync_file_system(path)?;
    journal.reset()?;
    Ok(journal)
}

/// Waits until whoever reads a repository by its path finds all pushes in it that a service had made when this was called.
///
/// # Errors
/// They are not in place in time, because the disk does not take them.
pub async fn wait_until_in_place(repository: &Path) -> Result<(), GitError> {
    let branch = || fs::read(repository.join(BRANCH)).ok();
    let (begun, shown) = (Instant::now(), branch());
    // Under load it is locked again at once, and then shows what was owed before.
    while is_locked_by_service(repository) && branch() == shown {
        if begun.elapsed() >= IN_PLACE_WITHIN {
            return Err(GitError::NotInPlace);
        }
        tokio::time::sleep(LOCK_RETRY).await;
    }
    Ok(())
}

/// Whether the branch is before a commit, or names nothing that is there.
fn is_behind(repository: &git2::Repository, tip: Oid) -> Result<bool, GitError> {
    let Ok(now) = branch_tip(repository, BRANCH) else { return Ok(true) };
    if now == tip {
        return Ok(false);
    }
    Ok(repository.find_commit(now).is_err() || repository.graph_descendant_of(tip, now)?)
}

/// Says so where somebody moved the branch while it was behind what was released: nothing else does, and only a person can bring that back.
fn tell_what_is_beside(repository: &git2::Repository, released: Oid) -> Result<(), GitError> {
    let now = branch_tip(repository, BRANCH)?;
    if now != released && !repository.graph_descendant_of(now, released)? {
        tracing::error!(commit.id = %released, "Somebody moved the branch to `{now}` while the service was down, and what was released up to `{released}` is not in it; `git merge {released}` in a clone brings it back");
    }
    Ok(())
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
fn sync_directory(directory: &Path) -> Result<(), GitError> {
    Ok(File::open(directory)?.sync_all()?)
}

/// Takes away a lock of the branch that this service left behind when it was killed. It is known by being the same file as the value
/// written aside; the lock of anybody else stays, because a push may still be running.
fn remove_own_lock(repository: &Path) -> Result<(), GitError> {
    if is_locked_by_service(repository) {
        tracing::warn!("the branch was locked by this service when it was killed; the lock is removed");
        fs::remove_file(lock_path(repository))?;
    }
    Ok(())
}

/// Whether the branch's lock is a service's and not that of another program.
fn is_locked_by_service(repository: &Path) -> bool {
    let file = |path: PathBuf| fs::metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()));
    let locked = file(lock_path(repository));
    locked.is_some() && locked == file(repository.join(ASIDE))
}

fn lock_path(repository: &Path) -> PathBuf {
    repository.join(format!("{BRANCH}.lock"))
}

/// The branch's lock while it is held, with the value that the branch is to have; given back when dropped.
#[derive(Debug)]
pub(super) struct Lock {
    /// Empty once nothing is held any more.
    path: PathBuf,
    branch: PathBuf,
}

impl Lock {
    /// Takes the lock by linking a file with the new value under the lock's name, which succeeds for one at a time, as Git's own way does.
    pub(super) fn take(repository: &Path, tip: Oid) -> Result<Self, GitError> {
        let (aside, path) = (repository.join(ASIDE), lock_path(repository));
        // A new file, because the branch may still be the old one by another name.
        match fs::remove_file(&aside) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        write_allocated(&aside, &line(tip))?;
        let begun = Instant::now();
        loop {
            match fs::hard_link(&aside, &path) {
                Ok(()) => return Ok(Self { path, branch: repository.join(BRANCH) }),
                Err(error) if error.kind() == ErrorKind::AlreadyExists && begun.elapsed() < LOCK_WAIT => {
                    std::thread::sleep(LOCK_RETRY)
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists => return Err(GitError::Locked),
                // Git removes a directory of branches that ends empty, which it does when it packs them.
                Err(error) if error.kind() == ErrorKind::NotFound && aside.exists() && begun.elapsed() < LOCK_WAIT => {
                    fs::create_dir_all(path.parent().unwrap_or(&aside))?;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Whether it is still this service's: a person may have removed it, and another program taken it since.
    pub(super) fn is_held(&self, repository: &Path) -> bool {
        !self.path.as_os_str().is_empty() && is_locked_by_service(repository)
    }

    /// Gives it up as it is, where it is not held any more.
    pub(super) fn forget(&mut self) {
        self.path.clear();
    }

    /// Changes the value that the branch is to have, which nobody sees while it is locked.
    pub(super) fn set(&self, tip: Oid) -> Result<(), GitError> {
        // As long as the one before, so that it takes no other room.
        Ok(OpenOptions::new().write(true).open(&self.path)?.write_all(line(tip).as_bytes())?)
    }

    /// Puts the locked file in the branch's place, which ends the lock.
    pub(super) fn become_branch(&mut self) -> Result<(), GitError> {
        fs::rename(&self.path, &self.branch)?;
        self.path.clear();
        Ok(())
    }
}

/// A commit as the file of a branch names it.
fn line(tip: Oid) -> String {
    format!("{tip}\n")
}

/// Writes a small new file whose block is there before its content: ext4 writes the content of a file that is renamed over another to the
/// disk at once where its place is not decided yet, and the journal has made sure of it already.
fn write_allocated(path: &Path, text: &str) -> Result<(), GitError> {
    let mut file = File::create(path)?;
    #[cfg(target_os = "linux")]
    // A file system that cannot do this writes sooner, or not; that is all.
    let _there_or_not = rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, text.len() as u64);
    Ok(file.write_all(text.as_bytes())?)
}

impl Drop for Lock {
    fn drop(&mut self) {
        if self.path.as_os_str().is_empty() {
            return;
        }
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(error = &error as &dyn std::error::Error, "the lock of the branch could not be given back");
        }
    }
}
