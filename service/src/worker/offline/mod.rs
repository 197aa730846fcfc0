//! What works without a running service: putting everything that a data directory holds into one file, and bringing it back.
//!
//! The store is copied before the repository. So the copy of the repository may be ahead of the store's, never behind: what the store
//! still has to do and the repository already has is found there by its `Delivery-Id` and not done twice.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Component, Path, PathBuf};

use tar::{Archive, Builder, EntryType, Header};

use super::lock::{DataDirLock, LOCK_FILE, LockError};
use super::start::{CLONE_DIR, MOVED, REPOSITORY_DIR};
use crate::command::{CommandError, Git};
pub use crate::git::Begun;
use crate::git::{
    CloneParts, GitError, Repository, bundle, bundle_clone, unbundle, unbundle_clone, wait_until_in_place,
};
pub use crate::store::StoreError;
use crate::store::{Address, Store};

/// Where everything lies.
#[derive(Debug, Clone, Copy)]
pub struct Premises<'p> {
    pub data_dir: &'p Path,
    /// `sqlite:` for the file in the data directory.
    pub store_url: &'p str,
    /// Of the store's server.
    pub store_password: Option<&'p str>,
    /// Where Git is looked for.
    pub search_path: Option<&'p str>,
    /// The branch lives elsewhere, and the data directory has a clone of it at most: what was the repository before is history.
    pub is_elsewhere: bool,
}

/// Why a backup was not made or not brought back: one sentence.
#[derive(Debug, thiserror::Error)]
pub enum OfflineError {
    #[error("the data directory holds no repository, so there is nothing to back up")]
    Nothing,
    #[error("no service has begun in the data directory, so there is nothing to back up")]
    NotBegun,
    #[error("the data directory is not there")]
    NoDirectory,
    #[error("the file is there already")]
    Exists,
    #[error("the data directory is not empty: it holds `{0}`")]
    NotEmpty(String),
    #[error("the file is not a backup: {0}")]
    NotABackup(&'static str),
    #[error("a store at another place than the data directory cannot be brought back")]
    StoreElsewhere,
    #[error("the store is on a database server, which `pg_dump` copies and `pg_restore` brings back")]
    StoreOnServer,
    #[error("the backup could not be read or written: {0}")]
    Files(io::ErrorKind),
    #[error(transparent)]
    Locked(#[from] LockError),
    #[error(transparent)]
    Program(#[from] CommandError),
    #[error(transparent)]
    Git(#[from] GitError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<io::Error> for OfflineError {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::AlreadyExists { Self::Exists } else { Self::Files(error.kind()) }
    }
}

/// The embedded repository's directory, and its name in a backup.
pub const REPOSITORY: &str = REPOSITORY_DIR;

/// Where the clone of a branch elsewhere is in the data directory.
pub const CLONE: &str = CLONE_DIR;
const BUNDLE: &str = "gitops.bundle";

/// What a clone is in a backup: what it is of, what it knows, and where its history ends.
const CLONE_OF: &str = "clone-of";
const CLONE_BUNDLE: &str = "clone.bundle";
const CLONE_SHALLOW: &str = "clone-shallow";

/// The store's file.
const STORE: &str = "kmlflow.db";

/// Says that the store was taken over to a server.
const STORE_MOVED: &str = "kmlflow.db.moved-to";

/// What else is kept: the secrets that senders sign with, and the administrator's token.
const SECRETS: [&str; 5] = ["admin-token", "secrets/mlflow", "secrets/github", "secrets/generic", "secrets/argocd"];

/// What a data directory with a service in it has.
const PARTS: [&str; 6] = [REPOSITORY, CLONE_DIR, STORE, STORE_MOVED, "admin-token", "secrets"];

/// Says that a file is a backup, and of which form.
const MARK: (&str, &[u8]) = ("kmlflow-backup", b"1\n");

/// What a backup holds beside the store and the secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The embedded repository.
    pub has_repository: bool,
    /// The branch elsewhere of which it holds what is known here.
    pub clone_of: Option<String>,
}

/// Writes into the embedded repository of a service that does not run where it was moved to: no service begins with it from then on.
///
/// # Errors
/// The file cannot be written.
pub fn mark_as_moved(data_dir: &Path, to: &str) -> std::io::Result<()> {
    std::fs::write(data_dir.join(REPOSITORY).join(MOVED), format!("{to}\n"))
}

/// Writes repository, store and secrets into one file that only its owner can read. The service may go on meanwhile.
///
/// Where the branch lives elsewhere, what is known of it here takes the place of the repository, if there is a clone yet. Where there is one although
/// the settings name no such branch, both are in it, because somebody may have forgotten to name the settings.
///
/// # Errors
/// There is nothing to back up, the file is there already, or something cannot be read or written.
pub async fn backup(premises: Premises<'_>, to: &Path) -> Result<Held, OfflineError> {
    let Premises { data_dir, store_url, store_password, search_path, is_elsewhere } = premises;
    let address = Address::new(store_url, store_password);
    if address.is_postgres() {
        return Err(OfflineError::StoreOnServer);
    }
    let (repository, clone) = (data_dir.join(REPOSITORY), data_dir.join(CLONE_DIR));
    let (has_repository, has_clone) = (!is_elsewhere && repository.is_dir(), clone.is_dir());
    match is_elsewhere {
        true if !data_dir.join(SECRETS[0]).exists() => return Err(OfflineError::NotBegun),
        false if !has_repository && !has_clone => return Err(OfflineError::Nothing),
        _ => {}
    }
    let git = Git::find(search_path).await?;
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
    let written = async {
        let scratch = tempfile::Builder::new().prefix(".backup-").tempdir_in(data_dir)?;
        let store = scratch.path().join(STORE);
        Store::copy(address, data_dir, &store).await?;
        let mut archive = Builder::new(&file);
        append(&mut archive, MARK.0, MARK.1)?;
        archive.append_path_with_name(&store, STORE)?;
        if has_repository {
            let bundled = scratch.path().join(BUNDLE);
            show_all_pushes(data_dir, &repository).await?;
            bundle(&git, &repository, &bundled).await?;
            archive.append_path_with_name(&bundled, BUNDLE)?;
        }
        let clone_of = if has_clone {
            append_clone(&mut archive, &git, &clone, &scratch.path().join(CLONE_BUNDLE)).await?
        } else {
            String::new()
        };
        if is_elsewhere && !has_clone {
            // The next start fetches it all; that this is the whole backup is said all the same.
            append(&mut archive, CLONE_OF, b"")?;
        }
        for secret in SECRETS {
            match fs::read(data_dir.join(secret)) {
                Ok(text) => append(&mut archive, secret, &text)?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error.into()),
            }
        }
        archive.finish()?;
        file.sync_all()?;
        Ok(Held { has_repository, clone_of: Some(clone_of).filter(|of| !of.is_empty()) })
    };
    let outcome: Result<Held, OfflineError> = written.await;
    if outcome.is_err() {
        // Half a backup must not be mistaken for one.
        fs::remove_file(to)?;
    }
    outcome
}

/// Has the files of the embedded repository show what was answered as done: a running service puts it in place a moment later, and one that
/// was killed left it in its journal.
async fn show_all_pushes(data_dir: &Path, repository: &Path) -> Result<(), OfflineError> {
    match DataDirLock::take(data_dir) {
        Ok(lock) => {
            // To open it does the records of the journal again.
            let recovered = Repository::open(repository).map(drop);
            drop(lock);
            Ok(recovered?)
        }
        Err(LockError::Taken) => Ok(wait_until_in_place(repository).await?),
        Err(error) => Err(error.into()),
    }
}

/// Adds what is known of a branch elsewhere, and answers which that is.
async fn append_clone(
    archive: &mut Builder<&File>,
    git: &Git,
    clone: &Path,
    bundled: &Path,
) -> Result<String, OfflineError> {
    let CloneParts { of, shallow } = bundle_clone(git, clone, bundled).await?;
    append(archive, CLONE_OF, of.as_bytes())?;
    if let Some(shallow) = shallow {
        append(archive, CLONE_SHALLOW, &shallow)?;
    }
    archive.append_path_with_name(bundled, CLONE_BUNDLE)?;
    Ok(of)
}

/// Brings a backup back into an empty data directory, which no service uses.
///
/// # Errors
/// The directory is in use or not empty, the file is no backup, or something cannot be read or written.
pub async fn restore(premises: Premises<'_>, from: &Path) -> Result<(), OfflineError> {
    let Premises { data_dir, store_url, store_password: _, search_path, is_elsewhere: _ } = premises;
    if Address::from(store_url).is_postgres() {
        return Err(OfflineError::StoreOnServer);
    }
    if store_url != "sqlite:" {
        return Err(OfflineError::StoreElsewhere);
    }
    let file = File::open(from)?;
    let git = Git::find(search_path).await?;
    let made = Made::of(data_dir);
    let lock = DataDirLock::take(data_dir)?;
    let restored = restore_into(data_dir, &git, file).await;
    if restored.is_err() {
        made.remove();
    }
    drop(lock);
    restored
}

async fn restore_into(data_dir: &Path, git: &Git, file: File) -> Result<(), OfflineError> {
    for name in PARTS {
        if data_dir.join(name).exists() {
            return Err(OfflineError::NotEmpty(name.to_owned()));
        }
    }
    fs::set_permissions(data_dir, fs::Permissions::from_mode(0o700))?;
    let scratch = tempfile::Builder::new().prefix(".restore-").tempdir_in(data_dir)?;
    unpack(file, scratch.path())?;
    let at = |name: &str| scratch.path().join(name);
    if at(BUNDLE).exists() {
        unbundle(git, &at(BUNDLE), &at(REPOSITORY)).await?;
    }
    if at(CLONE_BUNDLE).exists() {
        let of = fs::read_to_string(at(CLONE_OF))?;
        let shallow = at(CLONE_SHALLOW).exists().then(|| fs::read(at(CLONE_SHALLOW))).transpose()?;
        unbundle_clone(git, &at(CLONE_BUNDLE), &CloneParts { of, shallow }, &at(CLONE_DIR)).await?;
    }
    for dir in ["secrets", REPOSITORY, CLONE_DIR].map(at).iter().filter(|dir| dir.exists()) {
        fs::set_permissions(dir, fs::Permissions::from_mode(0o700))?;
    }
    // All of it is there and good, so nothing but the disk can fail from here on.
    for name in PARTS {
        let unpacked = scratch.path().join(name);
        if unpacked.exists() {
            fs::rename(unpacked, data_dir.join(name))?;
        }
    }
    Ok(File::open(data_dir)?.sync_all()?)
}

/// Copies the store in a file into the empty database that the premises name, and says how many rows of which table. No service may use the
/// data directory meanwhile.
///
/// # Errors
/// The data directory is in use, the file is not there, the database is not empty, or something cannot be read or written.
pub async fn migrate(premises: Premises<'_>, from: &str) -> Result<Vec<(&'static str, u64)>, OfflineError> {
    let Premises { data_dir, store_url, store_password, search_path: _, is_elsewhere: _ } = premises;
    if !data_dir.is_dir() {
        return Err(OfflineError::NoDirectory);
    }
    let lock = DataDirLock::take(data_dir)?;
    let copied = Store::migrate(from, data_dir, Address::new(store_url, store_password)).await;
    drop(lock);
    Ok(copied?)
}

/// What is made on the way to a data directory that may come to nothing: directories and the lock's file.
struct Made(Vec<PathBuf>);

impl Made {
    /// What will be made for a data directory, outermost first.
    fn of(data_dir: &Path) -> Self {
        let dirs = data_dir.ancestors().take_while(|dir| !dir.as_os_str().is_empty() && !dir.exists());
        let mut made: Vec<PathBuf> = dirs.map(Path::to_owned).collect();
        made.reverse();
        made.extend(Some(data_dir.join(LOCK_FILE)).filter(|file| !file.exists()));
        Self(made)
    }

    /// Removes it again. What is not empty by now is somebody else's, and stays.
    fn remove(self) {
        for path in self.0.into_iter().rev() {
            let removed = if path.is_dir() { fs::remove_dir(&path) } else { fs::remove_file(&path) };
            if removed.is_err() {
                return;
            }
        }
    }
}

fn append(archive: &mut Builder<&File>, name: &str, bytes: &[u8]) -> io::Result<()> {
    let mut header = Header::new_gnu();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o600);
    header.set_entry_type(EntryType::Regular);
    archive.append_data(&mut header, name, bytes)
}

/// Unpacks the files that a backup has; anything else in it means that it is none.
fn unpack(file: File, into: &Path) -> Result<(), OfflineError> {
    let not_tar = |_| OfflineError::NotABackup("it is no tar archive, or it is cut short");
    fs::create_dir_all(into.join("secrets"))?;
    let mut found = Vec::new();
    for entry in Archive::new(file).entries().map_err(not_tar)? {
        let mut entry = entry.map_err(not_tar)?;
        let path = entry.path().map_err(not_tar)?.into_owned();
        let name = known(&path).ok_or(OfflineError::NotABackup("it holds something else"))?;
        if found.is_empty() && name != MARK.0 {
            return Err(OfflineError::NotABackup("it does not begin like one"));
        }
        let mut out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(into.join(&path))?;
        io::copy(&mut entry, &mut out).map_err(not_tar)?;
        out.sync_all()?;
        found.push(name);
    }
    let has = |name: &str| found.contains(&name);
    let has_clone = fs::read(into.join(CLONE_OF)).is_ok_and(|of| !of.is_empty());
    if has(STORE) && (has(BUNDLE) || has(CLONE_OF)) && has_clone == has(CLONE_BUNDLE) {
        Ok(())
    } else {
        Err(OfflineError::NotABackup("a part of it is missing"))
    }
}

/// The name of a part, if the path is exactly that of one.
fn known(path: &PathBuf) -> Option<&'static str> {
    let plain = path.components().all(|component| matches!(component, Component::Normal(_)));
    let mut names = SECRETS.into_iter().chain([MARK.0, STORE, BUNDLE, CLONE_OF, CLONE_BUNDLE, CLONE_SHALLOW]);
    names.find(|name| plain && Path::new(name) == path)
}

#[cfg(test)]
mod tests;
