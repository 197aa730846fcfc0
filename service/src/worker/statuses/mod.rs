//! What the forge is told about commits: a status per release, which says how far what the commit leads to has come; and what it is told about
//! environments.
//!
//! What waits to be told is kept in memory alone. At the start, and when a replica comes to lead, `recall` notes again what may be untold.

mod recall;

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use indexmap::IndexMap;
use tokio::sync::Notify;

use super::conveyor::Done;
use super::deployments::{self, Fares};
use super::index::Entry;
use super::observe::watched;
use super::read::endpoint;
use super::review::comment::tell_comment;
use super::shared::Shared;
use crate::forge::{CommitState, CommitStatus, Forge, ForgeError};
use crate::live::{LiveState, Progress};
use crate::names::{CommitId, ReleaseKey};
use crate::release::{Phase, Release};

pub(super) use self::recall::lately;

/// Between two tries after one that failed on its way, unless the forge asks for more.
const RETRY: Duration = Duration::from_secs(30);

/// The longest pause between two tries while the forge says no to whoever asks: the pauses double from [`RETRY`] to this. A person gives
/// another token, installs the App again or gives it a right, and nobody comes here to say so.
const REFUSED_RETRY_MAX: Duration = Duration::from_secs(900);

/// The most statuses that wait to be told; beyond that the forge has been away for long, and the oldest go untold.
const WAITING_MAX: usize = 10_000;

/// Beyond so many that wait, a pause is made between two: GitHub asks whoever writes much to wait a second each time, and answers with its
/// secondary limit otherwise: 80 writes a minute and 500 an hour, which a long queue meets all the same. What it asks for then is waited for.
/// <https://docs.github.com/en/rest/using-the-rest-api/best-practices-for-using-the-rest-api#pause-between-mutative-requests>
const WAITING_AT_EASE: usize = 10;

/// That pause.
const PAUSE: Duration = Duration::from_secs(1);

/// What is to be told, the newest of each commit and release.
#[derive(Debug, Default)]
pub(super) struct Statuses {
    waiting: Mutex<IndexMap<(ReleaseKey, CommitId), CommitStatus>>,
    /// How releases fare in their environments, where the forge shows that: one each at most.
    fares: Mutex<IndexMap<ReleaseKey, Fares>>,
    /// The commits of releases that are on their way, until the next commit goes on from there.
    pending: Mutex<HashMap<ReleaseKey, CommitId>>,
    wake: Notify,
    wake_fares: Notify,
}

/// How often in a row the forge said no to whoever asks.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    in_a_row: u32,
    /// How many were refused for good since that was last asked.
    for_good: u64,
}

impl Statuses {
    /// Takes note of the commits of a turn.
    pub(super) fn note(&self, shared: &Shared, done: &Done) {
        let Some(forge) = shared.settings.forge().filter(|_| done.replaced.is_none()) else { return };
        let newest: BTreeMap<&ReleaseKey, &CommitId> =
            done.harvest.rows.iter().map(|row| (&row.key, &row.commit)).collect();
        for (key, commit) in newest {
            shared.reviews.fares(key);
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
            let before = self.leads_on(key, commit, &status);
            if let Some(before) = before.filter(|before| before != commit) {
                shared.metrics.left_untold("waiting", self.put(key, before, went_on(&status)));
            }
            shared.metrics.left_untold("waiting", self.put(key, commit.clone(), status));
        }
        self.wake();
    }

    /// Forgets all of it: this replica leads no more, and when it does again, `recall` finds what there is to be told then.
    pub(super) fn forget(&self) {
        self.waiting().clear();
        self.fares().clear();
        self.pending().clear();
    }

    /// Notes whether a commit is on its way; gives the one of the release that was before.
    fn leads_on(&self, key: &ReleaseKey, commit: &CommitId, status: &CommitStatus) -> Option<CommitId> {
        match status.state {
            CommitState::Pending => self.pending().insert(key.clone(), commit.clone()),
            CommitState::Success | CommitState::Failure => self.pending().remove(key),
        }
    }

    fn wake(&self) {
        self.wake.notify_one();
        self.wake_fares.notify_one();
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
        shared.metrics.left_untold("waiting", self.put(key, entry.commit.clone(), status));
        shared.reviews.fares(key);
        self.wake();
    }

    /// Answers how many go untold for it.
    fn put(&self, key: &ReleaseKey, commit: CommitId, status: CommitStatus) -> u64 {
        let mut waiting = self.waiting();
        waiting.insert((key.clone(), commit), status);
        let mut untold = 0;
        while waiting.len() > WAITING_MAX {
            if let Some(((key, commit), _)) = waiting.shift_remove_index(0) {
                untold += 1;
                tracing::warn!(release.key = %key, commit.id = %commit, "The forge is not told how `{key}` fared: {WAITING_MAX} newer ones wait");
            }
        }
        untold
    }

    pub(super) fn waiting(&self) -> MutexGuard<'_, IndexMap<(ReleaseKey, CommitId), CommitStatus>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fares(&self) -> MutexGuard<'_, IndexMap<ReleaseKey, Fares>> {
        self.fares.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pending(&self) -> MutexGuard<'_, HashMap<ReleaseKey, CommitId>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells the forge of statuses, deployments and comments until it is dropped: each beside the others, because a token may be good for some only.
pub(super) async fn tell_statuses(shared: Arc<Shared>) {
    let Some(forge) = shared.settings.forge() else { return };
    let statuses = &shared.statuses;
    let commits = async {
        let mut refusals = Refusals::default();
        loop {
            let told = tell_status(statuses, forge, &mut refusals).await;
            shared.metrics.left_untold("refused", std::mem::take(&mut refusals.for_good));
            let waiting = statuses.waiting().len();
            pause(told, waiting, &statuses.wake).await;
        }
    };
    let environments = async {
        let mut refusals = Refusals::default();
        loop {
            let told = tell_deployment(statuses, forge, &mut refusals).await;
            shared.metrics.left_untold("refused", std::mem::take(&mut refusals.for_good));
            let waiting = statuses.fares().len();
            pause(told, waiting, &statuses.wake_fares).await;
        }
    };
    let reviews = async {
        let mut refusals = Refusals::default();
        let comments = &shared.reviews.comments;
        loop {
            let told = tell_comment(&shared, forge, &mut refusals).await;
            shared.metrics.left_untold("refused", std::mem::take(&mut refusals.for_good));
            pause(told, comments.len(), &comments.wake).await;
        }
    };
    tokio::join!(commits, environments, reviews);
}

/// Waits until the next is to be told.
async fn pause(told: Option<Result<(), Duration>>, waiting: usize, wake: &Notify) {
    match told {
        None => wake.notified().await,
        Some(Err(pause)) => tokio::time::sleep(pause).await,
        Some(Ok(())) if waiting > WAITING_AT_EASE => tokio::time::sleep(PAUSE).await,
        Some(Ok(())) => {}
    }
}

/// Tells the next status. Nothing where none waits; the error is how long to wait before more is tried.
pub(super) async fn tell_status(
    statuses: &Statuses,
    forge: &Forge,
    refusals: &mut Refusals,
) -> Option<Result<(), Duration>> {
    let (of, status) = statuses.waiting().first().map(|(of, status)| (of.clone(), status.clone()))?;
    let wait = refusals.wait(&of.0, forge.set_status(&of.1, &status).await);
    after(&mut statuses.waiting(), &of, &status, wait)
}

/// The same for how the next release fares.
pub(super) async fn tell_deployment(
    statuses: &Statuses,
    forge: &Forge,
    refusals: &mut Refusals,
) -> Option<Result<(), Duration>> {
    let (key, fares) = statuses.fares().first().map(|(key, fares)| (key.clone(), fares.clone()))?;
    let wait = refusals.wait(&key, deployments::tell(forge, &key, &fares).await);
    after(&mut statuses.fares(), &key, &fares, wait)
}

/// Takes out what was told, unless there is something newer to be told of the same; what was not has its turn after the others.
fn after<K: Hash + Eq, V: PartialEq>(
    waiting: &mut IndexMap<K, V>,
    of: &K,
    told: &V,
    wait: Option<Duration>,
) -> Option<Result<(), Duration>> {
    let index = waiting.get_index_of(of);
    match (wait, index) {
        (Some(wait), Some(index)) => {
            waiting.move_index(index, waiting.len() - 1);
            return Some(Err(wait));
        }
        (Some(wait), None) => return Some(Err(wait)),
        (None, Some(index)) if waiting.get_index(index).is_some_and(|(_, newest)| newest == told) => {
            waiting.shift_remove_index(index);
        }
        (None, _) => {}
    }
    Some(Ok(()))
}

impl Refusals {
    /// How long to wait before something is told again; nothing where it was told, or is refused for good.
    pub(super) fn wait(&mut self, key: &ReleaseKey, told: Result<(), ForgeError>) -> Option<Duration> {
        let error = match told {
            Ok(()) => {
                self.in_a_row = 0;
                return None;
            }
            Err(error) => error,
        };
        if error.is_temporary() {
            tracing::info!("How `{key}` fares could not be told: {error}; it is tried again");
            return Some(error.retry_after().unwrap_or(RETRY));
        }
        if error.is_of_who_asks() {
            let wait = RETRY.saturating_mul(1 << self.in_a_row.min(16)).min(REFUSED_RETRY_MAX);
            self.in_a_row = self.in_a_row.saturating_add(1);
            tracing::warn!(
                release.key = %key,
                "The forge cannot be told how `{key}` fares: {}; it is tried again after {} s",
                error.with_cure(),
                wait.as_secs()
            );
            return Some(wait);
        }
        self.for_good += 1;
        tracing::warn!(release.key = %key, "The forge is not told how `{key}` fares: {error}");
        None
    }
}

/// The status of a commit that the next one of the release goes on from.
fn went_on(status: &CommitStatus) -> CommitStatus {
    let description = "it went on from there".to_owned();
    CommitStatus { state: CommitState::Success, description, ..status.clone() }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_too_long_goes_untold_and_is_counted() {
        let (statuses, key) = (Statuses::default(), ReleaseKey::parse("production/models/fraud").unwrap());
        let put = |number: usize| {
            let commit = CommitId::parse(&format!("{number:040x}")).unwrap();
            statuses.put(&key, commit, said(&key, CommitState::Success, String::new(), None))
        };
        assert_eq!((0..WAITING_MAX).map(put).sum::<u64>(), 0);
        assert_eq!((WAITING_MAX..WAITING_MAX + 3).map(put).sum::<u64>(), 3);
        assert_eq!(statuses.waiting().len(), WAITING_MAX);
    }
}
