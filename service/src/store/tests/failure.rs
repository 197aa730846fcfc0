use futures_util::future::join_all;

use super::*;

#[tokio::test]
async fn a_directory_in_the_files_place_is_an_error_until_it_is_gone() {
    let directory = tempfile::tempdir().unwrap();
    let in_the_way = directory.path().join("kmlflow.db");
    std::fs::create_dir(&in_the_way).unwrap();
    let error = Store::open("sqlite:", directory.path()).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    std::fs::remove_dir(&in_the_way).unwrap();
    assert!(Store::open("sqlite:", directory.path()).await.is_ok());
}

#[tokio::test]
async fn a_file_that_was_taken_over_is_neither_opened_nor_copied_until_its_mark_is_gone() {
    let directory = tempfile::tempdir().unwrap();
    let (file, copy) = (directory.path().join("kmlflow.db"), directory.path().join("copy.db"));
    Store::open("sqlite:", directory.path()).await.unwrap().close().await;
    let mark = directory.path().join("kmlflow.db.moved-to");
    std::fs::write(&mark, "postgres://k@db.example/kmlflow\n").unwrap();
    for error in [
        Store::open("sqlite:", directory.path()).await.unwrap_err(),
        Store::open(format!("sqlite:{}", file.display()).as_str(), directory.path()).await.unwrap_err(),
        Store::copy("sqlite:", directory.path(), &copy).await.unwrap_err(),
    ] {
        let text = error.to_string();
        assert!(
            text.starts_with("the store in this file was taken over to postgres://k@db.example/kmlflow; "),
            "{text}"
        );
        assert!(text.contains(&format!("delete `{}`", mark.display())), "{text}");
    }
    assert!(Store::open("sqlite:other.db", directory.path()).await.is_ok(), "another file is another store");
    std::fs::remove_file(mark).unwrap();
    assert!(Store::open("sqlite:", directory.path()).await.is_ok() && !copy.exists());
}

#[tokio::test]
async fn a_missing_data_directory_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let error = Store::open("sqlite:", &directory.path().join("nowhere")).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
}

#[tokio::test]
async fn only_sqlite_in_a_file_and_postgresql_are_supported() {
    let directory = tempfile::tempdir().unwrap();
    for url in ["mysql://localhost/kmlflow", "sqlite::memory:", "sqlite://store.db?synchronous=off", "", "kmlflow.db"] {
        assert!(matches!(Store::open(url, directory.path()).await, Err(StoreError::Unsupported)), "{url}");
    }
    for (url, file) in [("sqlite:one.db", "one.db"), ("sqlite://two.db", "two.db")] {
        Store::open(url, directory.path()).await.unwrap();
        assert!(directory.path().join(file).is_file());
    }
}

#[tokio::test]
async fn what_is_no_database_is_told_so() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("kmlflow.db"), "these are someone's notes, not a database\n".repeat(200))
        .unwrap();
    let error = Store::open("sqlite:", directory.path()).await.unwrap_err();
    assert!(matches!(error, StoreError::Corrupt(_)), "{error:?}");
    assert!(!error.to_string().contains(directory.path().to_str().unwrap()));
}

#[tokio::test]
async fn a_damaged_database_is_told_so() {
    let test = TestStore::in_file(Limits::default()).await;
    for n in 0..50 {
        test.accept_new(&format!("d{n}")).await;
    }
    test.store.close().await;
    let file = test.path().join("kmlflow.db");
    let mut bytes = std::fs::read(&file).unwrap();
    // The first page says which tables there are; all others are lost.
    bytes[4096..].fill(0xa5);
    std::fs::write(&file, bytes).unwrap();
    let error = Store::open("sqlite:", test.path()).await.unwrap_err();
    assert!(matches!(error, StoreError::Corrupt(_)), "{error:?}");
}

#[tokio::test]
async fn a_store_of_a_newer_version_is_left_alone() {
    let test = TestStore::in_file(Limits::default()).await;
    test.sql(
        "INSERT INTO _sqlx_migrations (version, description, installed_on, success, checksum, execution_time)
         VALUES (9999, 'later', '2030-01-01', 1, x'00', 0)",
    )
    .await;
    test.store.close().await;
    assert!(matches!(Store::open("sqlite:", test.path()).await, Err(StoreError::Newer)));
}

#[tokio::test]
async fn a_full_disk_refuses_everybody_in_the_turn_and_serves_again_when_there_is_room() {
    let test = TestStore::in_file(Limits { pages_max: Some(100), ..Limits::default() }).await;
    test.accept_new("before").await;
    test.sql("CREATE TABLE somebodys_data AS SELECT zeroblob(1000000) AS data").await;
    let large = |id: &str| NewDelivery { body: "x".repeat(100_000), ..arriving(id) };
    let answers = join_all(["a", "b", "c"].map(|id| test.store.accept(large(id)))).await;
    assert!(answers.iter().all(|answer| matches!(answer, Err(StoreError::DiskFull(_)))), "{answers:?}");
    assert_eq!(test.waiting_ids().await, ["before"], "nothing of the turn is kept, and what was there is");

    test.sql("DROP TABLE somebodys_data").await;
    assert!(
        matches!(test.store.accept(large("a")).await.unwrap(), Accepted::New(_)),
        "its id was not taken by the failure"
    );
    assert_eq!(test.waiting_ids().await, ["before", "a"]);
}

#[tokio::test]
async fn a_store_that_fails_serves_again_once_it_works() {
    let test = TestStore::in_file(Limits { waiting_max: 2, ..Limits::default() }).await;
    let number = test.accept_new("before").await.number;
    test.sql("CREATE TRIGGER broken BEFORE INSERT ON deliveries BEGIN SELECT RAISE(ABORT, 'broken'); END").await;
    let batch = Batch { outcomes: vec![became(number, DeliveryState::Applied)], ..Batch::default() };
    let (accepted, stored) = tokio::join!(test.store.accept(arriving("a")), test.store.commit(batch));
    assert!(matches!(accepted, Err(StoreError::Unavailable(_))), "{accepted:?}");
    assert!(matches!(stored, Err(StoreError::Unavailable(_))), "a turn is one transaction: {stored:?}");
    assert_eq!(test.waiting_ids().await, ["before"]);

    test.sql("DROP TRIGGER broken").await;
    test.accept_new("a").await;
    assert_eq!(test.store.accept(arriving("b")).await.unwrap(), Accepted::Full, "what failed was not counted");
}

#[tokio::test]
async fn a_row_of_another_version_is_named_and_hides_no_other_id() {
    let test = TestStore::open().await;
    test.accept_new("odd").await;
    test.accept_new("fine").await;
    test.sql(
        "UPDATE deliveries SET event = '{\"event\":\"fromTheFuture\"}', state = 'failed' WHERE delivery_id = 'odd'",
    )
    .await;
    assert!(matches!(test.store.delivery(None, "odd").await, Err(StoreError::Unreadable { what: "event" })));
    let (odd, new) = tokio::join!(test.store.accept(arriving("odd")), test.store.accept(arriving("new")));
    assert!(matches!(odd, Err(StoreError::Unreadable { .. })), "{odd:?}");
    assert!(matches!(new, Ok(Accepted::New(_))));
    assert!(test.store.delivery(None, "fine").await.unwrap().is_some());
}

#[tokio::test]
async fn an_error_tells_the_caller_neither_cause_nor_path() {
    let cause = sqlx::Error::Io(std::io::Error::other("/var/lib/secret/kmlflow.db: input/output error"));
    let error = StoreError::from(cause);
    assert_eq!(error.to_string(), "the store cannot be reached; check its disk and permissions");
    assert!(std::error::Error::source(&error).unwrap().to_string().contains("input/output"), "the log gets it");
}
