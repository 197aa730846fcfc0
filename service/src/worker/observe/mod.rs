//! What the clusters show of the releases: asked when something is decided, and followed beside the turns.

mod address;
mod doors;
mod drift;
mod follow;
mod gone;
mod hear;
mod lineage;
mod notice;
mod occupied;
mod queue;
mod tell;
mod undo;
mod view;

pub(super) use doors::{Untold, tell_doors};
pub(super) use drift::{Drifts, diff, drift_of_all};
pub(super) use follow::follow_clusters;
pub(super) use occupied::{asked_occupant, occupant};
pub use view::{ClusterDiff, Drift, LogView, Status, StatusState};

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

use jiff::Timestamp;
use tokio::sync::Notify;

use self::hear::Asked;
use self::lineage::Lineage;
use self::notice::{Notice, notice};
use self::queue::Queue;
use self::tell::{Noticed, Told, Word};
use super::index::Entry;
use super::read::NO_CLUSTER;
use super::shared::{Shared, read, write};
use super::{EnvironmentSettings, Fault};
use crate::live::{
    Blindness, Facts, Kind, Look, Place, PodName, Progress, Reached, Trouble, application_name, look, remains,
};
use crate::names::{CommitId, EnvironmentName, ReleaseKey};
use crate::release::{Observed, Period, Refusal, RefusalKind, Seen};
use crate::store::IndexedCommit;
use crate::sync::{Clusters, PodLog};

/// Until a release was looked at for the first time.
const BEING_READ: &str = "the cluster is being read";

/// How long a commit's pods may take to start before it is said that they do: within that most images are pulled and most models fetched.
const STARTS_WITHIN: Period = Period::from_seconds(120);

/// The lines of a log that are shown.
const LOG_LINES: i64 = 200;

/// What is known of the releases in their clusters.
#[derive(Debug, Default)]
pub(super) struct Observations {
    known: RwLock<HashMap<ReleaseKey, Known>>,
    lineage: Mutex<Lineage>,
    /// Releases that are to be looked at although nothing was seen of them.
    noted: Mutex<BTreeSet<ReleaseKey>>,
    /// Releases whose Application is to be read anew: each once, however often Argo CD says something of it meanwhile.
    told_of: Mutex<BTreeSet<ReleaseKey>>,
    /// Retracted releases of which something is still there.
    going: Mutex<HashMap<ReleaseKey, Going>>,
    /// What Argo CD is to be told of Applications.
    hints: Queue<Word>,
    /// The folders are to be listed anew.
    lists: Notify,
    /// Pods whose last words are to be read.
    hearing: Queue<Asked>,
    /// Every release is to be looked at.
    is_all_due: AtomicBool,
    /// When this service began to look.
    began: OnceLock<Timestamp>,
    wake: Notify,
}

/// What is known of the newest commit of a release.
#[derive(Debug, Clone)]
struct Known {
    commit: CommitId,
    /// When it was first seen live.
    live_since: Option<Timestamp>,
    /// When it was first seen on its way there.
    reached: Reached,
    /// Since when it is not, after it was.
    dipped_at: Option<Timestamp>,
    /// How far it has come; why nothing is known, where nothing is.
    progress: Result<Progress, Blindness>,
    /// What it was decided by, to notice when that changes.
    seen: Option<Seen>,
    /// The pod in trouble and its last words.
    words: Option<(PodName, String)>,
    /// Of whom they were asked last.
    asked: Option<Asked>,
    /// That pod, where one is.
    pod: Option<PodName>,
    /// It has been taken back.
    is_undone: bool,
    /// It was there before this service looked, and nobody knows whether it was live.
    is_unknown: bool,
    /// The commit that Argo CD is at, where that is not known here.
    ahead: Option<Ahead>,
    /// What Argo CD was told of it.
    told: Told,
}

/// A commit that Argo CD is at before it is known here.
#[derive(Debug, Clone)]
struct Ahead {
    revision: Box<str>,
    since: Timestamp,
    /// How many looks at the branch were begun until then.
    looks: u64,
}

/// What a look has found.
struct Sight {
    look: Look,
    noticed: Noticed,
    /// The commit that Argo CD is at, where that is not known here and may be on the branch.
    ahead: Option<Box<str>>,
}

/// A retracted release of which something is still there.
#[derive(Debug)]
struct Going {
    since: Timestamp,
    told: Told,
    /// It as it was, where this service retracted it.
    entry: Option<Entry>,
}

impl Observations {
    /// Takes note of a release that is being retracted.
    pub(super) fn leaves(&self, key: &ReleaseKey, entry: Entry, now: Timestamp) {
        lock(&self.going).insert(key.clone(), Going { since: now, told: Told::default(), entry: Some(entry) });
    }

    /// A retracted release as it was, while something of it is still there, and since when it goes.
    pub(super) fn leaving(&self, key: &ReleaseKey) -> Option<(Entry, Timestamp)> {
        let going = lock(&self.going);
        let going = going.get(key)?;
        Some((going.entry.clone()?, going.since))
    }

    /// Takes note of what was committed, so that it is looked at.
    pub(super) fn committed(&self, rows: &[IndexedCommit], tip: &CommitId, is_anew: bool) {
        let commits = rows.iter().map(|row| &row.commit);
        lock(&self.lineage).grow(commits, tip, is_anew);
        self.note(rows.iter().map(|row| row.key.clone()));
    }

    /// Has the Application of a release read anew.
    pub(super) fn read_anew(&self, key: ReleaseKey) {
        lock(&self.told_of).insert(key);
        self.wake.notify_one();
    }

    /// Has every release looked at: this service has just begun to lead, or to look.
    pub(super) fn look_at_all(&self) {
        self.is_all_due.store(true, Ordering::Relaxed);
        self.wake.notify_one();
    }

    /// Notes when this service began to look.
    fn begin(&self, now: Timestamp) {
        self.began.get_or_init(|| now);
    }

    /// Whether it began after a commit of that time, which Git knows to the second.
    fn began_after(&self, committed_at: Timestamp) -> bool {
        self.began.get().is_some_and(|began| began.as_second() > committed_at.as_second())
    }

    /// Has releases looked at.
    fn note(&self, keys: impl IntoIterator<Item = ReleaseKey>) {
        lock(&self.noted).extend(keys);
        self.wake.notify_one();
    }

    /// How a commit of a release fares, where that was seen.
    pub(super) fn progress(&self, key: &ReleaseKey, commit: &CommitId) -> Option<Progress> {
        self.of(key, commit)?.progress.ok()
    }

    /// The releases that are seen not to be live, or to be so since that moment at the earliest.
    pub(super) fn unsettled(&self, since: Timestamp) -> Vec<ReleaseKey> {
        let known = read(&self.known);
        let is_meant = |known: &Known| known.progress.is_ok() && !known.is_live_since_before(since);
        known.iter().filter(|(_, known)| is_meant(known)).map(|(key, _)| key.clone()).collect()
    }

    fn of(&self, key: &ReleaseKey, commit: &CommitId) -> Option<Known> {
        read(&self.known).get(key).filter(|known| known.commit == *commit).cloned()
    }

    /// Keeps what a look has found, with the words of the pod in trouble that were read during it.
    fn keep(&self, key: &ReleaseKey, known: &mut Known) {
        let mut all = write(&self.known);
        if let Some(there) = all.get(key).filter(|there| there.commit == known.commit) {
            known.words.clone_from(&there.words);
        }
        all.insert(key.clone(), known.clone());
    }

    /// The pod of a release that is in trouble.
    fn pod_in_trouble(&self, key: &ReleaseKey) -> Option<PodName> {
        read(&self.known).get(key)?.pod.clone()
    }
}

/// The clusters and the name of the one that an environment's releases go to, where it is watched.
pub(super) fn watched<'s>(shared: &'s Shared, environment: &EnvironmentName) -> Option<(&'s Clusters, &'s str)> {
    let clusters = shared.settings.clusters.as_ref()?;
    let cluster = shared.environment(environment).ok()?.target.cluster.as_str();
    clusters.has(cluster).then_some((clusters, cluster))
}

/// Whether something of a retracted release is still there.
pub(super) fn is_going(shared: &Shared, key: &ReleaseKey) -> bool {
    lock(&shared.observations.going).contains_key(key)
}

/// What a decision about a release goes by.
pub(super) fn observed(
    shared: &Shared,
    (key, entry): (&ReleaseKey, Option<&Entry>),
    environment: &EnvironmentSettings,
    now: Timestamp,
) -> Observed {
    if watched(shared, &key.environment).is_none() {
        return Observed::Blind { delay: environment.blind_delay };
    }
    let Some(entry) = entry else { return Observed::Seen(Seen::default()) };
    match look_at(shared, (key, entry), None, now) {
        None => Observed::Blind { delay: environment.blind_delay },
        Some(Err(why)) => Observed::Unseen(why.reason),
        Some(Ok(Sight { look, .. })) => {
            let known = shared.observations.of(key, &entry.commit);
            Observed::Seen(look.seen(known.and_then(|known| known.live_since).or(Some(now))))
        }
    }
}

/// Looks at the newest commit of a release: nothing where no cluster is watched, else why it cannot be seen, or what is seen.
fn look_at(
    shared: &Shared,
    (key, entry): (&ReleaseKey, &Entry),
    words: Option<&(PodName, String)>,
    now: Timestamp,
) -> Option<Result<Sight, Blindness>> {
    let (clusters, cluster) = watched(shared, &key.environment)?;
    let name = application_name(key);
    let application = clusters.see(clusters.hub(), |index| match index.blindness(&[Kind::Application]) {
        Some(why) => Err(why),
        None => Ok(index.application(&name).cloned()),
    });
    let application = match application {
        Some(Ok(application)) => application,
        Some(Err(why)) => return Some(Err(why)),
        None => return Some(Err(unseen("the cluster that Argo CD runs in is not watched"))),
    };
    let Notice { noticed, ahead, is_contained, reads_another } = notice(shared, entry, application.as_ref());
    let is_late = now >= starts_until(entry);
    let place = Place::of(&entry.release);
    clusters.see(cluster, |index| {
        if let Some(why) = index.blindness(&Kind::OF_RELEASES) {
            return Err(why);
        }
        let found = index.found(&place);
        let application = application.as_ref();
        let facts = |last_words| Facts { found, application, is_contained, reads_another, is_late, last_words };
        let first = look(&entry.release, facts(None));
        // The words are of one pod; where another one is in trouble by now they say nothing.
        let pod = first.trouble.as_ref().and_then(|trouble| trouble.pod.as_ref());
        let look = match words.filter(|(of, _)| Some(of) == pod) {
            Some((_, words)) => look(&entry.release, facts(Some(words))),
            None => first,
        };
        Ok(Sight { look, noticed, ahead })
    })
}

/// Until when the pods of a commit merely start.
fn starts_until(entry: &Entry) -> Timestamp {
    STARTS_WITHIN.after(entry.changed_at).min(entry.release.spec.deadline.after(entry.changed_at))
}

/// When the newest commit of a release was seen on its way to live, until it is.
pub(super) fn reached(shared: &Shared, key: &ReleaseKey, commit: &CommitId) -> Reached {
    let known = shared.observations.of(key, commit).filter(|known| known.live_since.is_none());
    known.map(|known| known.reached).unwrap_or_default()
}

/// How a release fares, for those who ask.
pub(super) fn status(shared: &Shared, key: &ReleaseKey, commit: &CommitId) -> Status {
    let unknown =
        |Blindness { reason, cure }: Blindness| Status { state: StatusState::Unknown, reason, since: None, cure };
    if watched(shared, &key.environment).is_none() {
        return unknown(unseen(NO_CLUSTER));
    }
    match shared.observations.of(key, commit).map(|known| known.progress) {
        Some(Ok(progress)) => Status {
            state: StatusState::from(progress.state),
            reason: progress.reason,
            since: Some(progress.since),
            cure: progress.cure,
        },
        Some(Err(why)) => unknown(why),
        None => unknown(unseen(BEING_READ)),
    }
}

/// What is left of a retracted release in its cluster, for those who ask. What was there before the cluster could not be seen any more is not what is left.
pub(super) fn status_of_leaving(shared: &Shared, key: &ReleaseKey, entry: &Entry, since: Timestamp) -> Status {
    let (what, cure) = match left_of(shared, key, entry) {
        Ok(Some(left)) => (left.reason, Some(left.cure)),
        Ok(None) => ("objects of it go".to_owned(), None),
        Err(why) => (format!("what is left of it cannot be seen: {}", why.reason), why.cure),
    };
    Status { state: StatusState::Retracting, reason: format!("it is retracted, and {what}"), since: Some(since), cure }
}

fn left_of(shared: &Shared, key: &ReleaseKey, entry: &Entry) -> Result<Option<Trouble>, Blindness> {
    let Some((clusters, cluster)) = watched(shared, &key.environment) else { return Ok(None) };
    if let Some(why) = cannot_be_seen(clusters, cluster) {
        return Err(why);
    }
    let (name, place) = (application_name(key), Place::of(&entry.release));
    let application = clusters.see(clusters.hub(), |index| index.application(&name).cloned()).flatten();
    let found = clusters.see(cluster, |index| index.found(&place).cloned()).flatten();
    Ok(remains(&place, found.as_ref(), application.as_ref()))
}

/// Why what Argo CD or a cluster has of releases cannot be seen; nothing where it can.
fn cannot_be_seen(clusters: &Clusters, cluster: &str) -> Option<Blindness> {
    let of = |cluster: &str, kinds: &[Kind]| clusters.see(cluster, |index| index.blindness(kinds)).flatten();
    of(clusters.hub(), &[Kind::Application]).or_else(|| of(cluster, &Kind::OF_RELEASES))
}

/// That something cannot be seen, where nobody has to do anything about it.
fn unseen(reason: &str) -> Blindness {
    Blindness { reason: reason.to_owned(), cure: None }
}

/// The end of the log of a release's pod that is in trouble.
pub(super) async fn logs(shared: &Shared, key: &ReleaseKey) -> Result<Vec<LogView>, Fault> {
    let refused = |reason: String, cure: &str| -> Fault {
        Refusal { kind: RefusalKind::Conflict, reason, cure: Some(cure.to_owned()), violations: Vec::new() }.into()
    };
    let Some((clusters, cluster)) = watched(shared, &key.environment) else {
        let cure = "`kubectl logs` has them; `kubernetes` in the configuration names a cluster";
        return Err(refused(format!("the logs of `{key}` cannot be read: {NO_CLUSTER}"), cure));
    };
    // All pods are well: there is nothing to show.
    let Some(pod) = shared.observations.pod_in_trouble(key) else { return Ok(Vec::new()) };
    match clusters.log(cluster, &pod, LOG_LINES).await {
        Ok(PodLog { pod, is_previous, text }) => {
            let PodName { name, container, namespace: _ } = pod;
            Ok(vec![LogView { pod: name, container, previous: is_previous, text }])
        }
        Err(why) => Err(refused(why, "see whether the pod has started: `kubectl describe pod`")),
    }
}

/// Every change under these locks is one assignment, so whoever panicked left nothing half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
