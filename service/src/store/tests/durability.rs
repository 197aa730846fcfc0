use std::pin::pin;

use futures_util::FutureExt as _;

use super::*;
use crate::registry::RegistryState;

/// Copies what is on the disk at this moment, as a crash would leave it.
fn after_a_crash(test: &TestStore) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    for file in ["kmlflow.db", "kmlflow.db-wal"] {
        std::fs::copy(test.path().join(file), copy.path().join(file)).unwrap();
    }
    copy
}

#[tokio::test]
async fn what_was_answered_survives_a_crash() {
    let test = TestStore::in_file(Limits::default()).await;
    test.accept_new("a").await;
    let number = test.accept_new("b").await.number;
    test.settle(number, DeliveryState::Applied).await;
    let crashed = after_a_crash(&test);
    let store = Store::open("sqlite:", crashed.path()).await.unwrap();
    let waiting = store.waiting(0, 10).await.unwrap();
    assert_eq!(waiting.iter().map(|delivery| delivery.id.as_str()).collect::<Vec<_>>(), ["a"]);
    assert_eq!(store.accept(arriving("b")).await.unwrap(), Accepted::Repeat { number, state: DeliveryState::Applied });
    let Accepted::New(next) = store.accept(arriving("c")).await.unwrap() else { panic!("c is new") };
    assert!(next.number > number, "numbers go on");
}

#[tokio::test]
async fn numbers_go_on_after_everything_was_removed() {
    let test = TestStore::open().await;
    let number = test.accept_new("a").await.number;
    test.settle(number, DeliveryState::Refused).await;
    test.store.prune(days_later(31)).await.unwrap();
    let test = test.reopened().await;
    assert!(test.accept_new("b").await.number > number);
}

#[tokio::test]
async fn the_registry_is_remembered_one_state_per_model() {
    let test = TestStore::open().await;
    let model = |name: &str| RegistryState::new(ModelName::parse(name).unwrap());
    let mut fraud = model("fraud");
    let first = Batch { registry: vec![model("Ünder scored"), fraud.clone()], ..Batch::default() };
    test.store.commit(first).await.unwrap();
    let fact =
        RegistryFact::AliasSet { alias: AliasName::parse("champion").unwrap(), version: Version::parse("7").unwrap() };
    fraud.apply(&RegistryChange { model: fraud.model.clone(), at: start(), fact });
    test.store.commit(Batch { registry: vec![fraud.clone()], ..Batch::default() }).await.unwrap();
    let test = test.reopened().await;
    assert_eq!(test.store.registry().await.unwrap(), [fraud, model("Ünder scored")]);
}

#[tokio::test]
async fn the_file_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let test = TestStore::in_file(Limits::default()).await;
    test.accept_new("a").await;
    for file in ["kmlflow.db", "kmlflow.db-wal", "kmlflow.db-shm"] {
        let mode = std::fs::metadata(test.path().join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
}

#[tokio::test]
async fn a_copy_is_whole_and_never_overwrites() {
    let test = TestStore::in_file(Limits::default()).await;
    test.accept_new("a").await;
    let elsewhere = tempfile::tempdir().unwrap();
    let copy = elsewhere.path().join("kmlflow.db");
    test.store.checkpointed_copy(&copy).await.unwrap();
    test.accept_new("b").await;
    assert!(test.store.checkpointed_copy(&copy).await.is_err());
    let store = Store::open("sqlite:", elsewhere.path()).await.unwrap();
    assert!(matches!(store.accept(arriving("a")).await.unwrap(), Accepted::Repeat { .. }));
    assert!(matches!(store.accept(arriving("b")).await.unwrap(), Accepted::New(_)));
}

#[tokio::test]
async fn what_is_queued_is_written_before_closing_and_nothing_after() {
    let test = TestStore::open().await;
    let (_, kept) = test.store.hand_in(arriving("a")).await.unwrap();
    let (accepted, ()) = tokio::join!(kept.durable(), test.store.close());
    assert!(matches!(accepted, Ok(Accepted::New(_))));
    assert!(matches!(test.store.accept(arriving("b")).await, Err(StoreError::Closed)));
    assert!(test.store.waiting(0, 1).await.is_err());
    test.store.close().await;
    let test = test.reopened().await;
    assert_eq!(test.waiting_ids().await, ["a"]);
}

#[tokio::test]
async fn whoever_asks_once_a_place_is_reserved_comes_after_what_is_handed_over_there() {
    let test = TestStore::open().await;
    let (first, kept) = test.store.hand_in(arriving("a")).await.unwrap();
    let batch = Batch { outcomes: vec![became(first.number, DeliveryState::Applied)], ..Batch::default() };
    let reserved = test.store.reserve().await.unwrap();
    let mut read = pin!(test.store.delivery(None, "a"));
    assert!(read.as_mut().now_or_never().is_none(), "read before what was told of");
    let stored = reserved.hand_over(batch);
    let read = read.await.unwrap().unwrap();
    assert_eq!((read.number, read.state), (first.number, DeliveryState::Applied));
    assert_eq!(kept.durable().await.unwrap(), Accepted::New(first));
    stored.durable().await.unwrap();
}

#[tokio::test]
async fn what_is_carried_out_at_once_is_one_transaction() {
    let test = TestStore::open().await;
    let (first, kept) = test.store.hand_in(arriving("a")).await.unwrap();
    // A writer that did not wait would have its turn now.
    tokio::task::yield_now().await;
    tokio::task::yield_now().await;
    let batch = Batch { outcomes: vec![became(first.number, DeliveryState::Applied)], ..Batch::default() };
    test.store.commit(batch).await.unwrap();
    assert_eq!(test.store.writer_counts(), WriterCounts { transactions: 1, writes: 2 });
    assert_eq!(kept.durable().await.unwrap(), Accepted::New(first));
}

#[tokio::test]
async fn whoever_waits_for_what_was_handed_in_has_it_written() {
    let test = TestStore::in_file(Limits::default()).await;
    let (first, kept) = test.store.hand_in(arriving("a")).await.unwrap();
    assert_eq!(kept.durable().await.unwrap(), Accepted::New(first));
    let crashed = after_a_crash(&test);
    let store = Store::open("sqlite:", crashed.path()).await.unwrap();
    assert_eq!(store.waiting(0, 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn what_was_handed_in_and_never_awaited_is_written_before_closing() {
    let test = TestStore::open().await;
    let (_, kept) = test.store.hand_in(arriving("a")).await.unwrap();
    drop(kept);
    let test = test.reopened().await;
    assert_eq!(test.waiting_ids().await, ["a"]);
}

#[tokio::test]
async fn a_full_inbox_is_known_without_asking_it() {
    let test = TestStore::open_with(Limits { waiting_max: 1, ..Limits::default() }).await;
    assert!(!test.store.is_full());
    let number = test.accept_new("a").await.number;
    assert!(test.store.is_full());
    test.settle(number, DeliveryState::Applied).await;
    assert!(!test.store.is_full());
}
