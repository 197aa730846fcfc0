//! What the forge is told about commits: a status per release, which says how far what the commit leads to has come.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::conveyor::Done;
use super::index::Entry;
use super::observe::watched;
use super::read::endpoint;
use super::shared::Shared;
use crate::forge::{CommitState, CommitStatus};
use crate::live::{LiveState, Progress};
use crate::names::{CommitId, ReleaseKey};
use crate::release::{Phase, Release};

/// Between two tries after one that failed, unless the forge asks for more.
const RETRY: Duration = Duration::from_secs(30);

/// The most statuses that wait to be told; beyond that the forge has been away for long, and the oldest names go untold.
const WAITING_MAX: usize = 10_000;

/// What is to be told, the newest of each commit and release.
#[derive(Debug, Default)]
pub(super) struct Statuses {
    waiting: Mutex<BTreeMap<(ReleaseKey, CommitId), CommitStatus>>,
    /// The commits of releases that are on their way, until the next commit goes on from there.
    pending: Mutex<HashMap<ReleaseKey, CommitId>>,
    wake: Notify,
}

impl Statuses {
    /// Takes note of the commits of a turn.
    pub(super) fn note(&self, shared: &Shared, done: &Done) {
        if shared.settings.forge().is_none() || done.replaced.is_some() {
            return;
        }
        let newest: BTreeMap<&ReleaseKey, &CommitId> =
            done.harvest.rows.iter().map(|row| (&row.key, &row.commit)).collect();
        for (key, commit) in newest {
            let release = shared.entry(key).map(|entry| entry.release);
            let environment = shared.environment(&key.environment).ok();
            let is_watched = environment.is_some_and(|environment| watched(shared, environment).is_some());
            let status = match release.as_deref() {
                Some(release) if is_watched => on_its_way(key, release),
                release => status(key, release),
            };
            let mut pending = self.pending();
            let before = match status.state {
                CommitState::Pending => pending.insert(key.clone(), commit.clone()),
                CommitState::Success | CommitState::Failure => pending.remove(key),
            };
            drop(pending);
            if let Some(before) = before.filter(|before| before != commit) {
                let went_on = CommitStatus {
                    state: CommitState::Success,
                    description: "it went on from there".to_owned(),
                    ..status.clone()
                };
                self.put(key, before, went_on);
            }
            self.put(key, commit.clone(), status);
        }
        self.wake.notify_one();
    }

    /// Takes note of how the newest commit of a release fares in its cluster.
    pub(super) fn note_progress(&self, shared: &Shared, (key, entry): (&ReleaseKey, &Entry), progress: &Progress) {
        if shared.settings.forge().is_none() {
            return;
        }
        let state = match progress.state {
            LiveState::Live => CommitState::Success,
            LiveState::Syncing => CommitState::Pending,
            LiveState::Degraded | LiveState::Stalled => CommitState::Failure,
        };
        let description = match progress.state {
            LiveState::Live => "it is live".to_owned(),
            _ => progress.reason.clone(),
        };
        let url = Some(endpoint(&entry.release));
        let status = CommitStatus { state, context: format!("kmlflow/{key}"), description, url };
        self.put(key, entry.commit.clone(), status);
        self.wake.notify_one();
    }

    fn put(&self, key: &ReleaseKey, commit: CommitId, status: CommitStatus) {
        let mut waiting = self.waiting();
        waiting.insert((key.clone(), commit), status);
        while waiting.len() > WAITING_MAX {
            drop(waiting.pop_first());
        }
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<(ReleaseKey, CommitId), CommitStatus>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pending(&self) -> MutexGuard<'_, HashMap<ReleaseKey, CommitId>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells the forge of statuses until it is dropped.
pub(super) async fn tell_statuses(shared: Arc<Shared>) {
    let Some(forge) = shared.settings.forge().cloned() else { return };
    loop {
        let next = shared.statuses.waiting().first_key_value().map(|(of, status)| (of.clone(), status.clone()));
        let Some((of, status)) = next else {
            shared.statuses.wake.notified().await;
            continue;
        };
        match forge.set_status(&of.1, &status).await {
            Err(error) if error.is_temporary() => {
                tracing::info!("A status could not be told: {error}; it is tried again");
                tokio::time::sleep(error.retry_after().unwrap_or(RETRY)).await;
                continue;
            }
            Err(error) => tracing::warn!(release.key = %of.0, commit.id = %of.1, "The forge takes no status: {error}"),
            Ok(()) => {}
        }
        // What is newer by now is told next.
        let mut waiting = shared.statuses.waiting();
        if waiting.get(&of) == Some(&status) {
            waiting.remove(&of);
        }
    }
}

/// What is said of a commit that a cluster has not shown yet.
fn on_its_way(key: &ReleaseKey, release: &Release) -> CommitStatus {
    let description = "it is on its way to the cluster".to_owned();
    let url = Some(endpoint(release));
    CommitStatus { state: CommitState::Pending, context: format!("kmlflow/{key}"), description, url }
}

/// How far a release has come by what Git says; nobody looks at a cluster.
fn status(key: &ReleaseKey, release: Option<&Release>) -> CommitStatus {
    let context = format!("kmlflow/{key}");
    let Some(release) = release else {
        let description = "it is retracted".to_owned();
        return CommitStatus { state: CommitState::Success, context, description, url: None };
    };
    let versions: Vec<String> = release.staying().map(|variant| variant.version.to_string()).collect();
    let (state, phase) = match release.rollout.phase {
        Phase::Entering => (CommitState::Pending, "is on its way beside what serves"),
        Phase::Leaving => (CommitState::Pending, "stays, the rest leaves"),
        Phase::Running => (CommitState::Success, "run side by side"),
        Phase::Settled => (CommitState::Success, "serves"),
    };
    let description = format!("{} {phase}, as Git says; no cluster is watched", versions.join(" and "));
    CommitStatus { state, context, description, url: Some(endpoint(release)) }
}
