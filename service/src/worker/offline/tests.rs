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
    let (old, new, shelf) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
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
        assert_eq!(fs::read_dir(new.path()).unwrap().count(), 0, "a directory that was made for nothing is gone again");
    }
    let empty = tempfile::tempdir().unwrap();
    assert!(matches!(backup(premises(empty.path()), &shelf.path().join("b")).await, Err(OfflineError::Nothing)));
    assert!(!shelf.path().join("b").exists());
}
