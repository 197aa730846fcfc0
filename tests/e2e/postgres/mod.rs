//! The store on a real PostgreSQL server, which the tier `postgres` installs.

mod alone;
mod killed;
mod migrate;
mod replicas;
pub(crate) mod together;
mod trouble;
mod unheard;

use kmlflow::event::{Event, NewDelivery, RegistryChange, RegistryFact, Source};
use kmlflow::names::{AliasName, DeliveryId, ModelName, Version};
use kmlflow::store::{Accepted, Address, Limits, Store, StoreError};
use tests::postgres_server::{OWNER, PostgresServer};

/// The address of the server's database `kmlflow`.
fn address(server: &PostgresServer) -> Address {
    Address::new(&server.url("kmlflow"), Some(OWNER.1))
}

/// A replica's store.
async fn store(server: &PostgresServer, limits: Limits) -> Store {
    Store::open_with(address(server), &std::env::temp_dir(), limits).await.unwrap()
}

fn arriving(id: &str) -> NewDelivery {
    let fact =
        RegistryFact::AliasSet { alias: AliasName::parse("champion").unwrap(), version: Version::parse("7").unwrap() };
    let at = "2026-11-23T10:00:00Z".parse().unwrap();
    let change = RegistryChange { model: ModelName::parse("fraud-detector").unwrap(), at, fact };
    NewDelivery {
        source: Source::Mlflow,
        id: DeliveryId::parse(id).unwrap(),
        received_at: at,
        body: format!("{{\"id\": \"{id}\"}}"),
        event: Event::RegistryChanged(change),
    }
}

/// The number of a delivery that must be new.
async fn accept_new(store: &Store, id: &str) -> i64 {
    match store.accept(arriving(id)).await.unwrap() {
        Accepted::New(delivery) => delivery.number,
        other => panic!("{id} should be new: {other:?}"),
    }
}

async fn waiting_ids(store: &Store) -> Vec<String> {
    store.waiting(0, 1_000).await.unwrap().into_iter().map(|delivery| delivery.id.to_string()).collect()
}

/// Everything that an error says, to callers and to the log.
fn everything(error: &StoreError) -> String {
    let mut told = format!("{error} {error:?}");
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        told.push_str(&format!(" {error} {error:?}"));
        cause = error.source();
    }
    told
}
