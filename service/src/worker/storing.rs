//! What turns leave to the store: handed over in their order, however long it takes, because Git has it already.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::Timestamp;
use tokio::task::{JoinError, JoinHandle};

use super::conclusion::Conclusion;
use super::policies;
use super::shared::Shared;
use super::told::conclude_all;
use crate::store::{Batch, HandedOver, StoreError};

/// How long the store is left alone after it refused what Git has already.
const STORE_RETRY: Duration = Duration::from_secs(1);

/// So many turns may wait for a store that refuses, so that a way back goes through all of its phases meanwhile. The memory of a turn is that of
/// its deliveries.
pub(super) const TURNS_BEHIND_MAX: usize = 16;

/// What turns left to the store, the newest of which waits for those before it.
#[derive(Debug, Default)]
pub(super) struct Storing {
    pub(super) newest: Option<JoinHandle<()>>,
    /// How many turns wait.
    pub(super) turns: usize,
}

impl Storing {
    /// Waits until everything is durable.
    pub(super) async fn all(&mut self) {
        if let Some(newest) = &mut self.newest {
            told_of_its_end(newest.await);
        }
        *self = Self::default();
    }

    /// Waits until everything is durable, and says so; not while the store refuses and few turns wait.
    pub(super) async fn is_durable(&mut self, shared: &Shared) -> bool {
        if self.turns < TURNS_BEHIND_MAX {
            let mut refuses = std::pin::pin!(shared.state.store_refuses.notified());
            refuses.as_mut().enable();
            let is_behind = shared.state.is_store_behind.load(Ordering::Relaxed);
            let is_pending = self.newest.as_ref().is_some_and(|newest| !newest.is_finished());
            if is_pending && is_behind {
                return false;
            }
            tokio::select! {
                biased;
                () = self.all() => return true,
                () = refuses => return false,
            }
        }
        self.all().await;
        true
    }

    /// Tells what is told at once, hands over what a turn leaves, and has the rest done beside the next turn.
    pub(super) async fn add(&mut self, shared: &Arc<Shared>, left: Left, tell: impl FnOnce()) {
        let before = if self.is_durable(shared).await { None } else { self.newest.take() };
        let Left { batch, later, policies, now } = left;
        let is_empty = batch == Batch::default();
        let reserved = if before.is_none() && !is_empty { Some(shared.store.reserve().await) } else { None };
        // Those who wait wake up first; what they ask of the store then comes after the batch.
        tell();
        let mut first = reserved.map(|place| place.map(|place| place.hand_over(batch.clone())));
        let shared = Arc::clone(shared);
        self.turns += 1;
        self.newest = Some(tokio::spawn(async move {
            if let Some(before) = before {
                told_of_its_end(before.await);
                if !is_empty {
                    first = Some(shared.store.reserve().await.map(|place| place.hand_over(batch.clone())));
                }
            }
            if let Some(first) = first
                && let Err(Replaced) = store(&shared, first, batch).await
            {
                // The next leader says what became of them, from what it finds.
                return;
            }
            if let Some(read) = policies {
                remember(&shared, read, now).await;
            }
            conclude_all(&shared, later, now);
        }));
    }
}

fn told_of_its_end(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(error = %error, "What a turn left to the store was lost by a mistake; the next start reads it in Git");
    }
}

/// What a turn leaves to the store.
pub(super) struct Left {
    pub(super) batch: Batch,
    /// Told once the store has it.
    pub(super) later: Vec<Conclusion>,
    pub(super) policies: Option<policies::Read>,
    pub(super) now: Timestamp,
}

/// Another service leads, and what this one did is its to tell.
struct Replaced;

/// Sees to it that a batch is stored, however long it takes: Git has it already. Where the worker is to end meanwhile, the next start
/// reads in Git what the store does not know.
async fn store(
    shared: &Shared,
    first: Result<HandedOver<Option<()>>, StoreError>,
    batch: Batch,
) -> Result<(), Replaced> {
    let (term, is_store_behind) = (shared.replica.term(), &shared.state.is_store_behind);
    let mut stored = match first {
        Ok(handed_over) => handed_over.durable().await.and_then(|led| led.ok_or(StoreError::NotLeading)),
        Err(error) => Err(error),
    };
    while let Err(error) = stored {
        if matches!(error, StoreError::NotLeading) {
            tracing::warn!("Another replica leads; what this one did is found by it");
            term.cancel();
            return Err(Replaced);
        }
        is_store_behind.store(true, Ordering::Relaxed);
        shared.state.store_refuses.notify_waiters();
        tracing::error!(
            error = &error as &dyn std::error::Error,
            "The store did not take a batch: {error}; it is tried again"
        );
        tokio::select! {
            () = shared.state.stopping.cancelled() => return Ok(()),
            () = term.cancelled() => return if shared.replica.is_one { Err(Replaced) } else { Ok(()) },
            () = tokio::time::sleep(STORE_RETRY) => {}
        }
        stored = shared.store.commit(batch.clone()).await;
    }
    is_store_behind.store(false, Ordering::Relaxed);
    Ok(())
}

async fn remember(shared: &Shared, read: policies::Read, now: Timestamp) {
    for (name, text) in read.good {
        if let Err(error) = shared.store.remember_policy(&name, &text, now).await {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "Policy `{name}` could not be remembered: {error}"
            );
        }
    }
    for name in read.gone {
        if let Err(error) = shared.store.forget_policy(&name).await {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "Policy `{name}` could not be forgotten: {error}"
            );
        }
    }
}
