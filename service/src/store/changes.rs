//! Word of what other replicas have written: at once where the server tells, and by itself after a while where its word was lost.

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::PgListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::StoreError;
use super::db::{Readers, postgres_listener};

/// The channel that every committed transaction is told on (see `db::Connection::commit`). It is the database's own.
pub(super) const CHANNEL: &str = "kmlflow";

/// How long nothing may be heard before it counts as a word: what a broken connection or a restart of the server swallows is found by then.
const SILENCE_MAX: Duration = Duration::from_secs(1);

/// Hears of changes until it is dropped.
#[derive(Debug)]
pub struct Changes {
    told: Arc<Notify>,
    listening: JoinHandle<()>,
}

/// Why somebody was woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Somebody wrote something.
    Told,
    /// Nothing was heard for a while.
    Silence,
}

impl Changes {
    pub(super) fn of(readers: &Readers) -> Self {
        let told = Arc::new(Notify::new());
        Self { listening: tokio::spawn(listen(readers.clone(), Arc::clone(&told))), told }
    }

    /// Waits for the next change, or for a moment of silence.
    pub async fn next(&mut self) -> Change {
        match tokio::time::timeout(SILENCE_MAX, self.told.notified()).await {
            Ok(()) => Change::Told,
            Err(_) => Change::Silence,
        }
    }

    /// What wakes it from here: what this replica has written itself need not be heard of over the server.
    pub fn waker(&self) -> Arc<Notify> {
        Arc::clone(&self.told)
    }
}

impl Drop for Changes {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

/// Listens, on a connection of its own, and again whenever that broke.
async fn listen(readers: Readers, told: Arc<Notify>) {
    loop {
        if let Err(error) = hear(&readers, &told).await {
            tracing::debug!(error = %error, "The database server does not tell of changes: {error}");
        }
        tokio::time::sleep(SILENCE_MAX).await;
    }
}

async fn hear(readers: &Readers, told: &Notify) -> Result<(), StoreError> {
    let Some(mut listener): Option<PgListener> = postgres_listener(readers, CHANNEL).await? else {
        // Nobody else writes into a file.
        return std::future::pending().await;
    };
    loop {
        // What came while nobody listened is unknown, which is a change as well.
        told.notify_one();
        match listener.try_recv().await {
            Ok(_) => {}
            Err(error) => return Err(super::db::postgres_failed(error)),
        }
    }
}
