//! Argo CD's doors are told of pushes, for releases whose cluster is not watched: beside the turns, so that nothing waits for them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::watched;
use crate::names::CommitId;
use crate::store::IndexedCommit;
use crate::sync::{Doors, PushTold};
use crate::worker::retry::backoff;
use crate::worker::shared::Shared;

/// How long a push is told of again and again: after that Argo CD has looked by itself (`timeout.reconciliation`, three minutes).
const TOLD_WITHIN: Duration = Duration::from_secs(180);

/// What each door is still to be told. What waits is one push, however many there were: newer ones go with it.
#[derive(Debug, Default)]
pub(in crate::worker) struct Untold(Vec<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    push: Mutex<Option<Since>>,
    wake: Notify,
}

/// A push, and since when it waits.
#[derive(Debug)]
struct Since {
    push: PushTold,
    at: Instant,
}

impl Untold {
    /// For so many doors.
    pub(in crate::worker) fn for_doors(doors: Option<&Doors>) -> Self {
        Self((0..doors.map_or(0, Doors::count)).map(|_| Waiting::default()).collect())
    }

    /// Takes note of what was pushed.
    pub(in crate::worker) fn note(&self, shared: &Shared, rows: &[IndexedCommit], before: &CommitId, after: &CommitId) {
        let keys = rows.iter().map(|row| &row.key).filter(|key| watched(shared, &key.environment).is_none());
        let files = keys.map(|key| format!("releases/{key}/release.yaml")).collect();
        let push = PushTold { before: before.to_string(), after: after.to_string(), files };
        if push.files.is_empty() {
            return;
        }
        self.0.iter().for_each(|waiting| waiting.put(Since { push: push.clone(), at: Instant::now() }));
    }
}

impl Waiting {
    /// Adds what is newer.
    fn put(&self, new: Since) {
        let mut waiting = self.lock();
        match waiting.as_mut() {
            Some(waiting) => waiting.push.followed_by(new.push),
            None => *waiting = Some(new),
        }
        drop(waiting);
        self.wake.notify_one();
    }

    /// Puts back what could not be told, before what came meanwhile.
    fn put_back(&self, mut old: Since) {
        let mut waiting = self.lock();
        if let Some(newer) = waiting.take() {
            // What is new has all of the time again, and what is old goes with it.
            old.push.followed_by(newer.push);
            old.at = newer.at;
        }
        *waiting = Some(old);
    }

    fn lock(&self) -> MutexGuard<'_, Option<Since>> {
        self.push.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells Argo CD's doors of pushes until it is dropped, each door by itself.
pub(in crate::worker) async fn tell_doors(shared: Arc<Shared>) {
    let Some(doors) = shared.settings.doors.clone() else { return };
    let mut telling = JoinSet::new();
    for door in 0..doors.count() {
        telling.spawn(tell_door(Arc::clone(&shared), doors.clone(), door));
    }
    while telling.join_next().await.is_some() {}
}

async fn tell_door(shared: Arc<Shared>, doors: Doors, door: usize) {
    let Some(waiting) = shared.untold.0.get(door) else { return };
    let mut failures = 0;
    loop {
        let next = waiting.lock().take();
        let Some(since) = next else {
            waiting.wake.notified().await;
            continue;
        };
        let address = doors.address(door);
        match doors.tell(door, &since.push).await {
            Ok(()) => {
                failures = 0;
                shared.metrics.told_door("told");
            }
            Err(why) if since.at.elapsed() < TOLD_WITHIN => {
                if failures == 0 {
                    tracing::warn!("Argo CD could not be told of a push: `{address}` {why}; it is told again");
                }
                shared.metrics.told_door("retried");
                waiting.put_back(since);
                tokio::time::sleep(backoff(failures)).await;
                failures = failures.saturating_add(1);
            }
            Err(why) => {
                tracing::warn!(
                    "Argo CD was not told of a push: `{address}` {why}; it looks by itself every three minutes"
                );
                shared.metrics.told_door("failed");
            }
        }
    }
}
