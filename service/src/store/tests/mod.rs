//! The store from the outside: every test has a database of its own, and the time is an argument.

mod access;
mod durability;
mod failure;
mod history;
mod inbox;
mod orders;
mod pruning;

use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use tempfile::TempDir;

use super::*;
use crate::event::{Delivery, Event, RegistryChange, RegistryFact, Verdict};
use crate::names::{AliasName, DeliveryId, ModelName, Version};

/// A store in a directory of its own.
struct TestStore {
    store: Store,
    directory: TempDir,
}

impl TestStore {
    async fn open() -> Self {
        Self::open_with(Limits::default()).await
    }

    async fn open_with(limits: Limits) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open_with("sqlite:", directory.path(), limits).await.unwrap();
        Self { store, directory }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Closes the store and opens it again.
    async fn reopened(self) -> Self {
        self.store.close().await;
        let store = Store::open("sqlite:", self.directory.path()).await.unwrap();
        Self { store, directory: self.directory }
    }

    /// Runs a statement as somebody with `sqlite3` would.
    async fn sql(&self, statement: &'static str) {
        use sqlx::{ConnectOptions as _, Connection as _};
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(self.path().join("kmlflow.db"));
        let mut db = options.connect().await.unwrap();
        sqlx::query(statement).execute(&mut db).await.unwrap();
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
    DeliveryOutcome { number, state, verdict: Verdict::default(), attempt: 1, next_attempt_at: None }
}

fn key(text: &str) -> ReleaseKey {
    ReleaseKey::parse(text).unwrap()
}
