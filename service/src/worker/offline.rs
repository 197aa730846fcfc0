//! What works without a running service: putting everything that a data directory holds into one file, and bringing it back.
//!
//! The store is copied before the repository. So the copy of the repository may be ahead of the store's, never behind: what the store
//! still has to do and the repository already has is found there by its `Release-Id` and not done twice.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Component, Path, PathBuf};

use tar::{Archive, Builder, EntryType, Header};

use super::lock::{DataDirLock, LOCK_FILE, LockError};
use super::start::{CLONE_DIR, REPOSITORY_DIR};
use crate::command::{CommandError, Git};
pub use crate::git::Begun;
use crate::git::{
    CloneParts, GitError, Repository, bundle, bundle_clone, unbundle, unbundle_clone, wait_until_in_place,
};
use crate::store::{Address, Store, StoreError};

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
const BUNDLE: &str = "gitops.bundle";

/// What a clone is in a backup: what it is of, what it knows, and where its history ends.
const CLONE_OF: &str = "clone-of";
const CLONE_BUNDLE: &str = "clone.bundle";
const CLONE_SHALLOW: &str = "clone-shallow";

/// The store's file.
const STORE: &str = "kmlflow.db";

/// What else is kept: the secrets that senders sign with, and the administrator's token.
const SECRETS: [&str; 5] = ["admin-token", "secrets/mlflow", "secrets/github", "secrets/generic", "secrets/argocd"];

/// What a data directory with a service in it has.
const PARTS: [&str; 5] = [REPOSITORY, CLONE_DIR, STORE, "admin-token", "secrets"];

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
mod tests {
    use std::time::Duration;

    use jiff::Timestamp;

    use super::*;
    use crate::git::{Author, Edit, Publish};
    use crate::names::CommitId;

    fn premises(data_dir: &Path) -> Premises<'_> {
        Premises { data_dir, store_url: "sqlite:", store_password: None, search_path: None, is_elsewhere: false }
    }

    async fn furnish(data_dir: &Path) -> CommitId {
        let author = Author { name: "Kmlflow".into(), email: "kmlflow@localhost".into() };
        let seed = [("README.md".to_owned(), b"hello\n".to_vec())];
        let (repository, _) =
            Repository::open_or_seed(&data_dir.join(REPOSITORY), &seed, &author, Timestamp::UNIX_EPOCH, None).unwrap();
        Store::open("sqlite:", data_dir).await.unwrap().close().await;
        fs::create_dir(data_dir.join("secrets")).unwrap();
        fs::write(data_dir.join("secrets/mlflow"), "s3cret\n").unwrap();
        fs::write(data_dir.join("admin-token"), "kmlflow_x\n").unwrap();
        repository.tip().unwrap()
    }

    #[tokio::test]
    async fn what_was_backed_up_comes_back_as_it_was() {
        let (old, new, shelf) =
            (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let tip = furnish(old.path()).await;
        let file = shelf.path().join("backup.tar");
        backup(premises(old.path()), &file).await.unwrap();
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);

        fs::set_permissions(new.path(), fs::Permissions::from_mode(0o755)).unwrap();
        restore(premises(new.path()), &file).await.unwrap();
        assert_eq!(fs::metadata(new.path()).unwrap().permissions().mode() & 0o777, 0o700);
        let author = Author { name: "x".into(), email: "x".into() };
        let (repository, seeded) =
            Repository::open_or_seed(&new.path().join(REPOSITORY), &[], &author, Timestamp::UNIX_EPOCH, None).unwrap();
        assert_eq!((repository.tip().unwrap(), seeded), (tip.clone(), crate::git::Seeded::Existing));
        assert_eq!(repository.read(&tip, "README.md").unwrap().unwrap(), b"hello\n");
        let config = fs::read_to_string(new.path().join("gitops.git/config")).unwrap();
        assert!(config.contains("denyNonFastForwards"), "{config}");
        for (name, text) in [("secrets/mlflow", "s3cret\n"), ("admin-token", "kmlflow_x\n")] {
            assert_eq!(fs::read_to_string(new.path().join(name)).unwrap(), text);
            assert_eq!(fs::metadata(new.path().join(name)).unwrap().permissions().mode() & 0o777, 0o600);
        }
        Store::open("sqlite:", new.path()).await.unwrap().close().await;
        assert!(
            fs::read_dir(new.path()).unwrap().all(|entry| !entry
                .unwrap()
                .file_name()
                .to_string_lossy()
                .starts_with(".restore-"))
        );
    }

    /// Pushes a commit and goes no further, as where the service is killed or busy then.
    async fn push_only(data_dir: &Path) -> (Repository, CommitId) {
        let author = Author { name: "Kmlflow".into(), email: "kmlflow@localhost".into() };
        let (repository, _) =
            Repository::open_or_seed(&data_dir.join(REPOSITORY), &[], &author, Timestamp::UNIX_EPOCH, None).unwrap();
        let base = repository.tip().unwrap();
        let edit = Edit { path: "releases/x".to_owned(), content: Some(b"x\n".to_vec()) };
        let commit = repository.draft(&base).unwrap().commit(vec![edit], "x", &author, Timestamp::UNIX_EPOCH);
        let commit = commit.unwrap().unwrap();
        assert_eq!(repository.push(&base, &commit).await.unwrap(), Publish::Done);
        (repository, commit)
    }

    /// The commit that comes back out of a backup.
    async fn restored_tip(file: &Path) -> CommitId {
        let new = tempfile::tempdir().unwrap();
        restore(premises(new.path()), file).await.unwrap();
        let author = Author { name: "x".into(), email: "x".into() };
        let (repository, _) =
            Repository::open_or_seed(&new.path().join(REPOSITORY), &[], &author, Timestamp::UNIX_EPOCH, None).unwrap();
        repository.tip().unwrap()
    }

    #[tokio::test]
    async fn a_backup_has_what_only_the_journal_of_a_killed_service_has() {
        let (data, shelf) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        furnish(data.path()).await;
        let (repository, commit) = push_only(data.path()).await;
        // Killed: nothing is put in place at an orderly end.
        std::mem::forget(repository);
        let file = shelf.path().join("backup.tar");
        backup(premises(data.path()), &file).await.unwrap();
        assert_eq!(restored_tip(&file).await, commit);
    }

    #[tokio::test]
    async fn a_backup_beside_a_running_service_has_what_that_puts_in_place_a_moment_later() {
        let (data, shelf) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        furnish(data.path()).await;
        let _running = DataDirLock::take(data.path()).unwrap();
        let (repository, commit) = push_only(data.path()).await;
        let file = shelf.path().join("backup.tar");
        let mut backed_up = std::pin::pin!(backup(premises(data.path()), &file));
        let scratch = |entry: io::Result<fs::DirEntry>| entry.unwrap().path().join(STORE);
        // Until the store is copied at least: what is put in place then came after it.
        while !fs::read_dir(data.path()).unwrap().map(scratch).any(|store| store.exists()) {
            assert!(tokio::time::timeout(Duration::from_millis(1), backed_up.as_mut()).await.is_err());
        }
        // One that waited for nothing would be done by then.
        assert!(tokio::time::timeout(Duration::from_millis(300), backed_up.as_mut()).await.is_err());
        repository.put_in_place().unwrap();
        backed_up.await.unwrap();
        assert_eq!(restored_tip(&file).await, commit);
    }

    #[tokio::test]
    async fn a_restore_never_writes_over_what_is_there_or_in_use() {
        let (old, shelf) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        furnish(old.path()).await;
        let file = shelf.path().join("backup.tar");
        backup(premises(old.path()), &file).await.unwrap();
        assert!(matches!(restore(premises(old.path()), &file).await, Err(OfflineError::NotEmpty(_))));
        assert!(matches!(backup(premises(old.path()), &file).await, Err(OfflineError::Exists)));

        let busy = tempfile::tempdir().unwrap();
        let _lock = DataDirLock::take(busy.path()).unwrap();
        assert!(matches!(restore(premises(busy.path()), &file).await, Err(OfflineError::Locked(_))));
    }

    #[tokio::test]
    async fn a_store_on_a_server_is_left_to_its_own_tools() {
        let (dir, shelf) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        furnish(dir.path()).await;
        let file = shelf.path().join("backup.tar");
        let premises = Premises { store_url: "postgres://k@localhost/kmlflow", ..premises(dir.path()) };
        let backed_up = backup(premises, &file).await.unwrap_err();
        fs::write(&file, "x").unwrap();
        let restored = restore(premises, &file).await.unwrap_err();
        for error in [backed_up, restored] {
            assert!(matches!(error, OfflineError::StoreOnServer) && error.to_string().contains("`pg_dump`"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_migration_leaves_a_store_in_use_and_a_file_alone() {
        let dir = tempfile::tempdir().unwrap();
        furnish(dir.path()).await;
        let server = Premises { store_url: "postgres://k@localhost/kmlflow", ..premises(dir.path()) };
        let lock = DataDirLock::take(dir.path()).unwrap();
        assert!(matches!(migrate(server, "sqlite:").await, Err(OfflineError::Locked(_))));
        drop(lock);
        let back = migrate(premises(dir.path()), "sqlite:").await;
        assert!(matches!(back, Err(OfflineError::Store(StoreError::Direction))), "{back:?}");
        let missing = migrate(server, "sqlite:elsewhere.db").await;
        assert!(matches!(missing, Err(OfflineError::Store(StoreError::NoFile { .. }))), "{missing:?}");
        assert!(!dir.path().join("elsewhere.db").exists());
        let nowhere = Premises { data_dir: &dir.path().join("nowhere"), ..server };
        assert!(matches!(migrate(nowhere, "sqlite:").await, Err(OfflineError::NoDirectory)));
    }

    #[tokio::test]
    async fn a_file_that_is_no_backup_changes_nothing() {
        let shelf = tempfile::tempdir().unwrap();
        let write = |name: &str, parts: &[(&str, &[u8])]| {
            let path = shelf.path().join(name);
            let file = File::create(&path).unwrap();
            let mut archive = Builder::new(&file);
            for (name, bytes) in parts {
                append(&mut archive, name, bytes).unwrap();
            }
            archive.finish().unwrap();
            path
        };
        fs::write(shelf.path().join("text"), "no archive\n").unwrap();
        for file in [
            shelf.path().join("text"),
            write("unmarked", &[(STORE, b"x")]),
            write("incomplete", &[MARK, (STORE, b"x")]),
            write("storeless", &[MARK, (BUNDLE, b"x")]),
            write("nameless", &[MARK, (STORE, b"x"), (CLONE_BUNDLE, b"x")]),
            write("cut short", &[MARK, (STORE, b"x"), (CLONE_OF, b"https://git.example/x main")]),
            write("foreign", &[MARK, (STORE, b"x"), (BUNDLE, b"x"), ("etc/passwd", b"x")]),
        ] {
            let new = tempfile::tempdir().unwrap();
            let error = restore(premises(new.path()), &file).await.unwrap_err();
            assert!(matches!(error, OfflineError::NotABackup(_)), "{}: {error}", file.display());
            assert_eq!(fs::read_dir(new.path()).unwrap().count(), 0, "{}", file.display());
            let missing = new.path().join("a/b");
            assert!(restore(premises(&missing), &file).await.is_err());
            assert_eq!(
                fs::read_dir(new.path()).unwrap().count(),
                0,
                "a directory that was made for nothing is gone again"
            );
        }
        let empty = tempfile::tempdir().unwrap();
        assert!(matches!(backup(premises(empty.path()), &shelf.path().join("b")).await, Err(OfflineError::Nothing)));
        assert!(!shelf.path().join("b").exists());
    }
}
