//! A branch that lives elsewhere: a clone here has its objects and says where it was seen last; a push moves it there first, then here.
//!
//! The clone holds nothing that the remote has not, so nothing here is synced: what a crash takes is fetched again, and a clone that is
//! damaged is made anew.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use tokio::sync::Mutex;

use super::handles::Handles;
use super::objects::Object;
use super::remote::{History, Pushed, Remote, RemoteError, Settings, is_shallow};
use super::repository::{Home, init_bare, oid};
use super::{GitError, Publish, Repository, pack};
use crate::command::Git;
use crate::names::CommitId;

/// The setting of a clone that says of which address and branch it is.
const CLONE_OF: &str = "kmlflow.cloneOf";

/// Nothing but the service's own maintenance touches the objects of a clone.
const QUIET: [(&str, &str); 2] = [("gc.auto", "0"), ("maintenance.auto", "false")];

/// How long the look of a start at the branch may take where there is a clone to begin with: what it does not bring, the first turn does.
const FIRST_LOOK_MAX: Duration = Duration::from_secs(4);

/// How old a lock in a clone is that nobody holds any more: far longer than anything takes for which one is held.
const LOCKED_MAX: Duration = Duration::from_secs(60);

/// What has a lock in a repository beside its references.
const LOCKED: [&str; 5] = ["HEAD.lock", "config.lock", "packed-refs.lock", "shallow.lock", "FETCH_HEAD.lock"];

/// The branch of a remote.
#[derive(Debug)]
pub(super) struct Upstream {
    remote: Remote,
    /// Why the remote was not looked at when the clone was opened.
    missed: Option<RemoteError>,
    /// Where this repository keeps what the branch was seen at.
    reference: String,
    /// A push was sent, and nobody has heard or looked what became of it.
    is_unsure: AtomicBool,
    /// Held while the rest of the history is fetched.
    completing: Mutex<()>,
}

/// The objects of a row of commits, the newest first.
type Line = Vec<(git2::Oid, Object)>;

impl Repository {
    /// Opens a clone of a remote's branch, or makes it at a place where there is none, or one of something else, or a damaged one.
    ///
    /// A clone that is there is enough to begin with, whatever keeps the remote from being looked at ([`Repository::missed`]): what a service can bear
    /// while it runs, it can bear when it starts. One that is made has as much of the history as `first` says; [`Repository::complete`] brings the
    /// rest. It takes the place of what is there once it is whole.
    ///
    /// # Errors
    /// What is set for the remote cannot be used; or there is no clone yet and the remote cannot be read, has no such branch, or is empty; or the
    /// disk fails.
    pub async fn open_clone(path: &Path, settings: Settings, git: &Git, first: History) -> Result<Self, GitError> {
        let identity = identity(&settings);
        if is_clone_of(path, &identity) {
            match Self::open_existing(path, settings.clone(), git).await {
                Err(GitError::Corrupt { what, .. }) => {
                    tracing::warn!("The clone of the remote is damaged ({what}) and is made anew");
                }
                opened => return opened,
            }
        }
        let remote = Remote::new(settings, git.clone())?;
        let beside = path.with_extension("new");
        make(&beside, &identity)?;
        remote.fetch(&beside, first).await?;
        remove(path)?;
        fs::rename(&beside, path)?;
        Self::clone_of(path, remote, None)
    }

    async fn open_existing(path: &Path, settings: Settings, git: &Git) -> Result<Self, GitError> {
        unlock(path, Duration::ZERO)?;
        let limit = settings.limits.fetch;
        let remote = Remote::new(settings, git.clone())?.fetching_within(limit.min(FIRST_LOOK_MAX));
        let missed = match remote.fetch(path, History::Since).await {
            Ok(_) => None,
            Err(error) if error.is_of_the_settings() => return Err(error.into()),
            Err(error) => Some(error),
        };
        Self::clone_of(path, remote.fetching_within(limit), missed)
    }

    fn clone_of(path: &Path, remote: Remote, missed: Option<RemoteError>) -> Result<Self, GitError> {
        let reference = remote.kept_as();
        let is_unsure = AtomicBool::new(missed.is_some());
        let upstream =
            Upstream { remote, missed, reference: reference.clone(), is_unsure, completing: Mutex::default() };
        Self::checked(Handles::open(path)?, reference, Home::Upstream(Box::new(upstream)))
    }
}

impl Upstream {
    pub(super) fn remote(&self) -> &Remote {
        &self.remote
    }

    pub(super) fn address(&self) -> &str {
        self.remote.address()
    }

    pub(super) fn silent_for(&self) -> Option<Duration> {
        self.remote.silent_for()
    }

    pub(super) fn branch(&self) -> &str {
        self.remote.branch()
    }

    pub(super) fn missed(&self) -> Option<&RemoteError> {
        self.missed.as_ref()
    }

    pub(super) fn is_unsure(&self) -> bool {
        self.is_unsure.load(Ordering::Relaxed)
    }

    /// Fetches the history that the clone does not have. Whoever comes meanwhile waits for the one fetch.
    pub(super) async fn complete(&self, handles: &Handles) -> Result<(), GitError> {
        let _completing = self.completing.lock().await;
        if is_shallow(handles.path()) {
            self.remote.complete(handles.path()).await?;
            handles.renew();
        }
        Ok(())
    }

    /// Fetches what is new, and says where the branch is.
    pub(super) async fn look(&self, repository: &Repository) -> Result<CommitId, GitError> {
        let fetched = self.remote.fetch(repository.path(), History::Since).await;
        if matches!(fetched, Err(RemoteError::Failed { .. })) {
            // For the next try, where that was it.
            unlock(repository.path(), LOCKED_MAX)?;
        }
        let tip = fetched?;
        self.is_unsure.store(false, Ordering::Relaxed);
        Ok(tip)
    }

    /// Moves the branch on by one exchange, if it is still at `base`.
    pub(super) async fn push(
        &self,
        repository: &Repository,
        base: &CommitId,
        tip: &CommitId,
    ) -> Result<Publish, GitError> {
        let line = repository.made().line_to(oid(tip)?);
        let pack = pack::encode(&line)?;
        // Whoever stops waiting for this does not know either.
        self.is_unsure.store(true, Ordering::Relaxed);
        let pushed = self.remote.push(Some(base), tip, &pack.bytes).await;
        let is_unsure = matches!(pushed, Pushed::Unknown(_));
        self.is_unsure.store(is_unsure, Ordering::Relaxed);
        match pushed {
            Pushed::Done => {
                pack.place(repository.path())?;
                self.note(repository, tip)?;
                repository.made().publish(line);
                Ok(Publish::Done)
            }
            Pushed::Refused { words } => {
                repository.made().clear();
                Ok(Publish::Refused(words))
            }
            Pushed::Moved { words } => {
                let unmoved = RemoteError::NotMoved { address: self.address().to_owned(), words };
                self.find(repository, (base, tip), line, unmoved).await
            }
            Pushed::Unknown(error) => {
                tracing::warn!("{error}; what became of the push is looked up");
                self.find(repository, (base, tip), line, error).await
            }
            Pushed::Unpack { words } => Err(RemoteError::NotKept { address: self.address().to_owned(), words }.into()),
            Pushed::Denied(error) | Pushed::Transient(error) => Err(error.into()),
        }
    }

    /// Looks whether the branch has a commit that was pushed: the push may have arrived, at this try or at one before. Where the branch has not
    /// moved at all, nobody was faster, and the push failed for the reason given.
    async fn find(
        &self,
        repository: &Repository,
        (base, tip): (&CommitId, &CommitId),
        line: Line,
        unmoved: RemoteError,
    ) -> Result<Publish, GitError> {
        let now = self.look(repository).await?;
        if now == *tip {
            repository.made().publish(line);
            return Ok(Publish::Done);
        }
        // Where somebody has built on it already, it is taken in like any commit of the branch.
        repository.made().clear();
        if now == *base { Err(unmoved.into()) } else { Ok(Publish::Moved(now)) }
    }

    fn note(&self, repository: &Repository, tip: &CommitId) -> Result<(), GitError> {
        let tip = oid(tip)?;
        repository
            .handles_after_placing()?
            .call(|repository| Ok(repository.reference(&self.reference, tip, true, "").map(drop)?))
    }
}

/// Takes away the locks of a clone that are older than this: those of programs that were killed. Nobody but this service uses a clone, and it holds none for long.
///
/// # Errors
/// The disk fails.
fn unlock(path: &Path, age: Duration) -> Result<(), GitError> {
    let mut locks: Vec<PathBuf> = LOCKED.iter().map(|name| path.join(name)).collect();
    let mut folders = vec![path.join("refs")];
    while let Some(folder) = folders.pop() {
        // What is gone meanwhile has no lock.
        for entry in fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok) {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(entry.path());
            } else if entry.path().extension().is_some_and(|extension| extension == "lock") {
                locks.push(entry.path());
            }
        }
    }
    for lock in locks {
        let is_old = |at: SystemTime| age.is_zero() || at.elapsed().is_ok_and(|elapsed| elapsed >= age);
        if fs::metadata(&lock).and_then(|lock| lock.modified()).is_ok_and(is_old) {
            tracing::warn!("`{}` was left by a program that was killed; it is removed", lock.display());
            if let Err(error) = fs::remove_file(&lock)
                && error.kind() != ErrorKind::NotFound
            {
                return Err(error.into());
            }
        }
    }
    Ok(())
}

/// How a clone says of which address and branch it is.
fn identity(settings: &Settings) -> String {
    format!("{} {}", settings.endpoint, settings.branch.as_str())
}

/// Where the branch was that the clone at a place is of, where it is of this one.
pub(super) fn seen_at(remote: &Remote, path: &Path, settings: &Settings) -> Option<CommitId> {
    is_clone_of(path, &identity(settings)).then(|| remote.seen_at(path)).flatten()
}

/// Whether there is a clone of this at a place.
fn is_clone_of(path: &Path, identity: &str) -> bool {
    clone_of(path).is_ok_and(|of| of == identity)
}

/// Of which address and branch the clone at a place is.
pub(super) fn clone_of(path: &Path) -> Result<String, GitError> {
    let repository = git2::Repository::open_bare(path)?;
    Ok(repository.config()?.get_string(CLONE_OF)?)
}

/// Makes an empty clone, in place of what is there.
pub(super) fn make(path: &Path, identity: &str) -> Result<git2::Repository, GitError> {
    remove(path)?;
    let repository = init_bare(path)?;
    let mut config = repository.config()?.open_level(git2::ConfigLevel::Local)?;
    for (key, value) in QUIET.into_iter().chain([(CLONE_OF, identity)]) {
        config.set_str(key, value)?;
    }
    Ok(repository)
}

fn remove(path: &Path) -> Result<(), GitError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}
