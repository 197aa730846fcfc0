//! What the forge is told about commits: a status per release, which says how far what the commit leads to has come; and what it is told about
//! environments.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::conveyor::Done;
use super::deployments::{self, Fares};
use super::index::Entry;
use super::observe::watched;
use super::read::endpoint;
use super::shared::Shared;
use crate::forge::{CommitState, CommitStatus, Forge, ForgeError};
use crate::live::{LiveState, Progress};
use crate::names::{CommitId, ReleaseKey};
use crate::release::{Phase, Release};

/// Between two tries after one that failed, unless the forge asks for more.
const RETRY: Duration = Duration::from_secs(30);

/// The most statuses that wait to be told; beyond that the forge has been away for long, and the oldest names go untold.
const WAITING_MAX: usize = 10_000;

/// Beyond so many that wait, a pause is made between two: GitHub asks whoever writes much to wait a second each time, and answers with its
/// secondary limit otherwise (80 writes a minute, 500 an hour).
/// <https://docs.github.com/en/rest/using-the-rest-api/best-practices-for-using-the-rest-api#pause-between-mutative-requests>
const WAITING_AT_EASE: usize = 10;

/// That pause.
const PAUSE: Duration = Duration::from_secs(1);

/// What is to be told, the newest of each commit and release.
#[derive(Debug, Default)]
pub(super) struct Statuses {
    waiting: Mutex<BTreeMap<(ReleaseKey, CommitId), CommitStatus>>,
    /// How releases fare in their environments, where the forge shows that: one each at most.
    fares: Mutex<BTreeMap<ReleaseKey, Fares>>,
    /// The commits of releases that are on their way, until the next commit goes on from there.
    pending: Mutex<HashMap<ReleaseKey, CommitId>>,
    wake: Notify,
}

impl Statuses {
    /// Takes note of the commits of a turn.
    pub(super) fn note(&self, shared: &Shared, done: &Done) {
        let Some(forge) = shared.settings.forge().filter(|_| done.replaced.is_none()) else { return };
        let newest: BTreeMap<&ReleaseKey, &CommitId> =
            done.harvest.rows.iter().map(|row| (&row.key, &row.commit)).collect();
        for (key, commit) in newest {
            let release = shared.entry(key).map(|entry| entry.release);
            let status = match release.as_deref() {
                Some(release) if watched(shared, &key.environment).is_some() => {
                    let words = "it is on its way to the cluster".to_owned();
                    said(key, CommitState::Pending, words, Some(release))
                }
                release => status(key, release),
            };
            if forge.has_deployments() {
                self.fares().insert(key.clone(), Fares::of(commit, release.as_deref(), &status));
            }
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
        let Some(forge) = shared.settings.forge() else { return };
        let state = match progress.state {
            LiveState::Live => CommitState::Success,
            LiveState::Syncing => CommitState::Pending,
            LiveState::Degraded | LiveState::Stalled => CommitState::Failure,
        };
        let description = match progress.state {
            LiveState::Live => "it is live".to_owned(),
            _ => progress.reason.clone(),
        };
        let status = said(key, state, description, Some(&entry.release));
        if forge.has_deployments() {
            self.fares().insert(key.clone(), Fares::of(&entry.commit, Some(&entry.release), &status));
        }
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

    fn fares(&self) -> MutexGuard<'_, BTreeMap<ReleaseKey, Fares>> {
        self.fares.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pending(&self) -> MutexGuard<'_, HashMap<ReleaseKey, CommitId>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells the forge of statuses and deployments until it is dropped.
pub(super) async fn tell_statuses(shared: Arc<Shared>) {
    let Some(forge) = shared.settings.forge().cloned() else { return };
    let statuses = &shared.statuses;
    loop {
        let pause = match (tell_status(statuses, &forge).await, tell_deployment(statuses, &forge).await) {
            (None, None) => {
                statuses.wake.notified().await;
                continue;
            }
            (Some(Err(wait)), Some(Err(other))) => wait.max(other),
            (Some(Err(wait)), _) | (_, Some(Err(wait))) => wait,
            _ if statuses.waiting().len() + statuses.fares().len() > WAITING_AT_EASE => PAUSE,
            _ => Duration::ZERO,
        };
        tokio::time::sleep(pause).await;
    }
}

/// Tells the next status. Nothing where none waits; the error is how long to wait before it is tried again.
async fn tell_status(statuses: &Statuses, forge: &Forge) -> Option<Result<(), Duration>> {
    let (of, status) = statuses.waiting().first_key_value().map(|(of, status)| (of.clone(), status.clone()))?;
    if let Some(wait) = wait(&of.0, forge.set_status(&of.1, &status).await) {
        return Some(Err(wait));
    }
    // What is newer by now is told next.
    let mut waiting = statuses.waiting();
    if waiting.get(&of) == Some(&status) {
        waiting.remove(&of);
    }
    Some(Ok(()))
}

/// The same for how the next release fares.
async fn tell_deployment(statuses: &Statuses, forge: &Forge) -> Option<Result<(), Duration>> {
    let (key, fares) = statuses.fares().first_key_value().map(|(key, fares)| (key.clone(), fares.clone()))?;
    if let Some(wait) = wait(&key, deployments::tell(forge, &key, &fares).await) {
        return Some(Err(wait));
    }
    let mut waiting = statuses.fares();
    if waiting.get(&key) == Some(&fares) {
        waiting.remove(&key);
    }
    Some(Ok(()))
}

/// How long to wait before something is told again; nothing where it was told, or is refused for good.
fn wait(key: &ReleaseKey, told: Result<(), ForgeError>) -> Option<Duration> {
    let error = told.err()?;
    if error.is_temporary() {
        tracing::info!("How `{key}` fares could not be told: {error}; it is tried again");
        return Some(error.retry_after().unwrap_or(RETRY));
    }
    tracing::warn!(release.key = %key, "The forge is not told how `{key}` fares: {error}");
    None
}

/// The status of a release's commit; one of a retraction leads nowhere.
fn said(key: &ReleaseKey, state: CommitState, description: String, release: Option<&Release>) -> CommitStatus {
    CommitStatus { state, context: format!("kmlflow/{key}"), description, url: release.map(endpoint) }
}

/// How far a release has come by what Git says; nobody looks at a cluster.
fn status(key: &ReleaseKey, release: Option<&Release>) -> CommitStatus {
    let Some(release) = release else {
        return said(key, CommitState::Success, "it is retracted".to_owned(), None);
    };
    let versions: Vec<String> = release.staying().map(|variant| variant.version.to_string()).collect();
    let (state, phase) = match release.rollout.phase {
        Phase::Entering => (CommitState::Pending, "is on its way beside what serves"),
        Phase::Leaving => (CommitState::Pending, "stays, the rest leaves"),
        Phase::Running => (CommitState::Success, "run side by side"),
        Phase::Settled => (CommitState::Success, "serves"),
    };
    let description = format!("{} {phase}, as Git says; no cluster is watched", versions.join(" and "));
    said(key, state, description, Some(release))
}
