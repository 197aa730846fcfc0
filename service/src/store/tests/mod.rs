//! The store from the outside: every test has a database of its own, and the time is an argument.
//!
//! The tests are the same for both engines: SQLite, or the PostgreSQL server that `KMLFLOW_TEST_POSTGRES` names by its URL, whose user may make databases.
//! Those of [`TestStore::in_file`] are about what only a file can do or suffer.

mod access;
mod durability;
mod failure;
mod history;
mod inbox;
mod leading;
mod orders;
mod pruning;
mod tables;

use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use tempfile::TempDir;

use super::*;
use crate::event::{Delivery, Event, RegistryChange, RegistryFact, Verdict};
use crate::names::{AliasName, DeliveryId, ModelName, Version};

/// A store with a directory and a database of its own.
struct TestStore {
    store: Store,
    directory: TempDir,
    address: Address,
    /// The server and the name of the database on it; none for a file.
    server: Option<(String, String)>,
}

impl TestStore {
    async fn open() -> Self {
        Self::open_with(Limits::default()).await
    }

    async fn open_with(limits: Limits) -> Self {
        let Some(server) = server() else { return Self::in_file(limits).await };
        let name = format!("kmlflow_test_{}", uuid::Uuid::now_v7().simple());
        on_server(&server, format!("CREATE DATABASE {name}")).await;
        let (base, query) = server.split_once('?').unwrap_or((&server, ""));
        let place = base.rfind('/').unwrap();
        let address = Address::from(format!("{}/{name}?{query}", &base[..place]).as_str());
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open_with(&address, directory.path(), limits).await.unwrap();
        Self { store, directory, address, server: Some((server, name)) }
    }

    /// One in a file, whatever the other tests use.
    async fn in_file(limits: Limits) -> Self {
        let (directory, address) = (tempfile::tempdir().unwrap(), Address::from("sqlite:"));
        let store = Store::open_with(&address, directory.path(), limits).await.unwrap();
        Self { store, directory, address, server: None }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Another process's store on the same database, where that is on a server.
    async fn opened_again(&self, limits: Limits) -> Store {
        Store::open_with(&self.address, self.path(), limits).await.unwrap()
    }

    /// Closes the store and opens it again.
    async fn reopened(mut self) -> Self {
        self.store.close().await;
        self.store = self.opened_again(Limits::default()).await;
        self
    }

    /// Runs a statement as somebody with `sqlite3` or `psql` would.
    async fn sql(&self, statement: &str) {
        let mut db = db::Place::of(&self.address, self.path()).unwrap().connect(Limits::default()).await.unwrap();
        db.execute(db::Statement::new(statement.to_owned())).await.unwrap();
        db.close().await.unwrap();
    }

    /// Accepts a delivery that must be new.
    async fn accept_new(&self, id: &str) -> Delivery {
        match self.store.accept(arriving(id)).await.unwrap() {
            Accepted::New(delivery) => delivery,
            other => panic!("{id} should be new: {other:?}"),
        }
    }

    /// Writes down what became of a delivery.
    async fn settle(&self, number: i64, state: DeliveryState) {
        self.store.commit(Batch { outcomes: vec![became(number, state)], ..Batch::default() }).await.unwrap();
    }

    async fn waiting_ids(&self) -> Vec<String> {
        self.store
            .waiting(0, PAGE_ROWS_MAX)
            .await
            .unwrap()
            .into_iter()
            .map(|delivery| delivery.id.to_string())
            .collect()
    }
}

impl Drop for TestStore {
    fn drop(&mut self) {
        let Some((server, name)) = self.server.take() else { return };
        let gone = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(on_server(&server, format!("DROP DATABASE {name} WITH (FORCE)")));
        });
        assert!(gone.join().is_ok() || std::thread::panicking(), "a database is left behind");
    }
}

/// The server that the tests run on; none means files.
#[expect(clippy::disallowed_methods, reason = "the tier that has a server says so by its environment")]
fn server() -> Option<String> {
    std::env::var("KMLFLOW_TEST_POSTGRES").ok()
}

async fn on_server(url: &str, statement: String) {
    let place = db::Place::of(&url.into(), Path::new("")).unwrap();
    let mut db = place.connect(Limits::default()).await.unwrap();
    db.execute(db::Statement::new(statement)).await.unwrap();
    db.close().await.unwrap();
}

fn start() -> Timestamp {
    "2026-11-23T10:00:00Z".parse().unwrap()
}

fn days_later(days: i64) -> Timestamp {
    start().checked_add(SignedDuration::from_hours(days * 24)).unwrap()
}

fn arriving(id: &str) -> NewDelivery {
    let fact =
        RegistryFact::AliasSet { alias: AliasName::parse("champion").unwrap(), version: Version::parse("7").unwrap() };
    let change = RegistryChange { model: ModelName::parse("fraud-detector").unwrap(), at: start(), fact };
    NewDelivery {
        source: Source::Mlflow,
        id: DeliveryId::parse(id).unwrap(),
        received_at: start(),
        body: format!(r#"{{"id": "{id}", "text": "ü \u0000 'quoted' {{{{ }}}}"}}"#),
        event: Event::RegistryChanged(change),
    }
}

fn became(number: i64, state: DeliveryState) -> DeliveryOutcome {
    DeliveryOutcome { number, state, verdict: Verdict::default(), attempt: 1, next_attempt_at: None, told: None }
}

fn key(text: &str) -> ReleaseKey {
    ReleaseKey::parse(text).unwrap()
}
