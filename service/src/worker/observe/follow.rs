//! Follows the clusters: what changed is looked at, told, kept, and, where it stalls by its own fault, taken back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use tokio::task::JoinSet;

use super::tell::{Noticed, Told, say};
use super::{BEING_READ, Going, Known, Observations, lock, look_at, status, unseen, watched};
use crate::event::{Guard, Requested};
use crate::live::{
    Blindness, LiveState, Look, Place, PodName, Reached, Times, Touched, TroubleKind, application_key,
    application_name, progress,
};
use crate::names::{Namespace, ReleaseKey, ReleaseName};
use crate::release::Period;
use crate::rollout;
use crate::store::{IndexedCommit, Newest, SeenLive};
use crate::sync::{Changes, Clusters};
use crate::worker::Fault;
use crate::worker::handle::Handle;
use crate::worker::index::Entry;
use crate::worker::load::{At, read_some};
use crate::worker::read;
use crate::worker::registry::tell_in_the_way;
use crate::worker::shared::{Shared, git_fault, read as locked, write};
use crate::worker::statuses::lately;

/// Who is written down as having asked, where a commit is taken back.
const UNDONE_BY: &str = "auto-rollback";

/// After how long it is asked for again, where it could not be.
const UNDONE_AGAIN_AFTER: Period = Period::from_seconds(30);

/// The lines of a log of which the last one is a pod's last words.
const WORDS_LINES: i64 = 20;

/// Follows the clusters until it is dropped.
pub(in crate::worker) async fn follow_clusters(shared: Arc<Shared>) {
    let Some(clusters) = shared.settings.clusters.clone() else { return };
    let mut watches = JoinSet::new();
    let watching = clusters.clone();
    watches.spawn(async move { watching.run().await });
    shared.observations.note(all_keys(&shared, &|_| true));
    // When the deadlines of the releases on their way pass: nothing is seen then.
    let mut deadlines: BTreeMap<ReleaseKey, Timestamp> = BTreeMap::new();
    loop {
        let next = deadlines.values().min().copied();
        let mut due: BTreeSet<ReleaseKey> = tokio::select! {
            changes = clusters.changes() => {
                let (mut keys, strangers) = concerned(&shared, &clusters, changes);
                for key in strangers {
                    if recall(&shared, &key).await {
                        keys.insert(key);
                    }
                }
                keys
            }
            () = shared.observations.wake.notified() => BTreeSet::new(),
            () = until(&shared, next) => passed(&deadlines, shared.clock.now()),
        };
        due.append(&mut lock(&shared.observations.noted));
        read_told(&shared, std::mem::take(&mut *lock(&shared.observations.told_of)));
        for key in due {
            match look(&shared, &key).await {
                Some(stalls_at) => deadlines.insert(key, stalls_at),
                None => deadlines.remove(&key),
            };
        }
    }
}

fn passed(deadlines: &BTreeMap<ReleaseKey, Timestamp>, now: Timestamp) -> BTreeSet<ReleaseKey> {
    deadlines.iter().filter(|(_, at)| **at <= now).map(|(key, _)| key.clone()).collect()
}

async fn until(shared: &Shared, moment: Option<Timestamp>) {
    match moment {
        Some(moment) => shared.clock.sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// Reads the Applications of releases that Argo CD said something of, beside everything else: the watch may be behind.
fn read_told(shared: &Arc<Shared>, keys: BTreeSet<ReleaseKey>) {
    if keys.is_empty() {
        return;
    }
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        for key in keys {
            let Some((clusters, _)) = watched(&shared, &key.environment) else { continue };
            if let Err(why) = clusters.read_application(&application_name(&key)).await {
                tracing::warn!(release.key = %key, "The Application of `{key}` could not be read anew: {why}");
            }
        }
    });
}

/// The releases that changes are about, and Applications of none that is deployed or known to go.
fn concerned(shared: &Shared, clusters: &Clusters, changes: Changes) -> (BTreeSet<ReleaseKey>, BTreeSet<ReleaseKey>) {
    let Changes { clusters: anew, touched } = changes;
    let mut keys = BTreeSet::new();
    let mut applications = BTreeSet::new();
    if !anew.is_empty() {
        let is_hub = anew.contains(clusters.hub());
        keys.extend(all_keys(shared, &|cluster| is_hub || anew.contains(cluster)));
    }
    let index = locked(&shared.index);
    for (cluster, touched) in touched {
        match touched {
            Touched::Application(name) => applications.extend(application_key(&name)),
            Touched::Place(place) => {
                let environments = shared.settings.environments.iter();
                for (name, settings) in environments.filter(|(_, it)| it.target.cluster == cluster) {
                    let bare = place.namespace.strip_prefix(settings.target.namespace_prefix.as_str());
                    let namespace = bare.and_then(|bare| Namespace::parse(bare).ok());
                    let name_of_release = ReleaseName::parse(&place.name).ok();
                    keys.extend(namespace.zip(name_of_release).map(|(namespace, release)| ReleaseKey {
                        environment: name.clone(),
                        namespace,
                        name: release,
                    }));
                }
            }
        }
    }
    let is_known = |key: &ReleaseKey| locked(&shared.observations.known).contains_key(key);
    let is_going = |key: &ReleaseKey| lock(&shared.observations.going).contains_key(key);
    let is_ours = |key: &ReleaseKey| index.get(key).is_some() || is_known(key) || is_going(key);
    let (ours, strangers): (BTreeSet<_>, BTreeSet<_>) = applications.into_iter().partition(is_ours);
    keys.retain(is_ours);
    keys.extend(ours);
    (keys, strangers)
}

/// Takes note again of a release that was retracted before this service started, and says whether it was.
async fn recall(shared: &Arc<Shared>, key: &ReleaseKey) -> bool {
    if watched(shared, &key.environment).is_none() {
        return false;
    }
    let Ok(rows) = shared.store.history(key, None, 2).await else { return false };
    let Ok([retracted, last]) = <[IndexedCommit; 2]>::try_from(rows) else { return false };
    if retracted.phase.is_some() {
        return false;
    }
    let wanted = key.clone();
    let read = move |shared: &Shared| {
        let (newest, at) = (Newest::from(&last), At { tip: &last.commit, begun_at: None });
        let (index, _) = read_some(&shared.repository, at, std::slice::from_ref(&wanted), |_| Some((&newest, true)))
            .map_err(git_fault)?;
        Ok(index.get(&wanted))
    };
    let Ok(Some(entry)) = shared.blocking(read).await else { return false };
    shared.observations.leaves(key, entry, retracted.at);
    true
}

/// Every release of the clusters that are meant.
fn all_keys(shared: &Shared, is_meant: &dyn Fn(&str) -> bool) -> Vec<ReleaseKey> {
    let cluster = |key: &ReleaseKey| watched(shared, &key.environment).map(|(_, cluster)| cluster);
    let index = locked(&shared.index);
    index.iter().map(|(key, _)| key).filter(|key| cluster(key).is_some_and(is_meant)).cloned().collect()
}

fn times(entry: &Entry, known: Option<&Known>) -> Times {
    Times {
        committed_at: entry.changed_at,
        deadline: entry.release.spec.deadline,
        live_since: known.and_then(|known| known.live_since),
        dipped_at: known.and_then(|known| known.dipped_at),
    }
}

/// Looks at one release, and does what follows from that. Says when it is to be looked at although nothing is seen.
async fn look(shared: &Arc<Shared>, key: &ReleaseKey) -> Option<Timestamp> {
    let observations = &shared.observations;
    let now = shared.clock.now_exact();
    let Some(entry) = shared.entry(key) else { return gone(shared, key, now) };
    let before = observations.of(key, &entry.commit);
    let mut known = match &before {
        Some(known) => known.clone(),
        None => Known::new(&entry, shared.store.live_since(key, &entry.commit).await.ok().flatten()),
    };
    let looked = look_at(shared, key, &entry, known.words.as_ref())?;
    let (word, again) = match &looked {
        Ok((_, noticed)) => known.told.next(*noticed, entry.changed_at, now),
        Err(_) => (None, None),
    };
    let looked = looked.map(|(look, _)| look);
    let is_newly_live = known.take(&looked, &entry, now);
    observations.keep(key, &mut known);
    if let Some(word) = word.filter(|_| shared.replica.leads()) {
        say(shared, key, word);
    }
    if is_newly_live {
        became_live(shared, key, &entry, (known.reached, now)).await;
    }
    if before.as_ref().map(|it| &it.progress) != Some(&known.progress) {
        // At the start everything is looked at for the first time; what was live long before that is no news.
        let is_told = before.as_ref().is_some_and(|it| it.progress.is_ok() || it.dipped_at.is_some());
        let is_news = is_told || !known.is_live_since_before(lately(now));
        tell(shared, key, &entry, is_news);
    }
    if before.as_ref().map(|it| &it.seen) != Some(&known.seen) {
        shared.inbox.note_seen(key);
    }
    let mut blamed_at = None;
    if let Ok(look) = &looked {
        hear(shared, key, &known, look);
        blamed_at = undo(shared, key, &entry, (&known, look), now).await;
    }
    let is_on_its_way = known.progress.as_ref().is_ok_and(|progress| progress.state == LiveState::Syncing);
    let stalls_at = is_on_its_way.then(|| times(&entry, None).stalls_at());
    stalls_at.into_iter().chain(blamed_at).chain(again).min()
}

/// Has the Application of a release go that is not deployed any more; says when to look for that again.
fn gone(shared: &Arc<Shared>, key: &ReleaseKey, now: Timestamp) -> Option<Timestamp> {
    let (clusters, cluster) = watched(shared, &key.environment)?;
    let name = application_name(key);
    let has_application = clusters.see(clusters.hub(), |index| index.application(&name).is_some()).unwrap_or(false);
    let mut going = lock(&shared.observations.going);
    let at = going.get(key).and_then(|going| going.entry.as_ref()).map(|entry| Place::of(&entry.release));
    let is_there = has_application
        || at.is_some_and(|at| clusters.see(cluster, |index| index.found(&at).is_some()).unwrap_or(false));
    if !is_there {
        let was_going = going.remove(key).is_some();
        drop(going);
        if write(&shared.observations.known).remove(key).is_some() || was_going {
            shared.ring.push("sync", &json!({"release": key.to_string(), "status": null}));
        }
        return None;
    }
    let new = || Going { since: now, told: Told::default(), entry: None };
    let Going { since, told, .. } = going.entry(key.clone()).or_insert_with(new);
    let (word, again) = told.next(Noticed::NoApplication, *since, now);
    drop(going);
    if let Some(word) = word.filter(|_| shared.replica.leads()) {
        say(shared, key, word);
    }
    again
}

impl Known {
    fn new(entry: &Entry, live_since: Option<Timestamp>) -> Self {
        Self {
            commit: entry.commit.clone(),
            live_since,
            reached: Reached::default(),
            dipped_at: None,
            progress: Err(unseen(BEING_READ)),
            seen: None,
            words: None,
            asked: None,
            pod: None,
            is_undone: false,
            told: Told::default(),
        }
    }

    /// Whether it is live, and was before that moment.
    pub(super) fn is_live_since_before(&self, moment: Timestamp) -> bool {
        let is_live = self.progress.as_ref().is_ok_and(|progress| progress.state == LiveState::Live);
        is_live && self.live_since.is_some_and(|since| since < moment)
    }

    /// Takes in what was seen; says whether the commit is live for the first time.
    fn take(&mut self, looked: &Result<Look, Blindness>, entry: &Entry, now: Timestamp) -> bool {
        let look = match looked {
            Ok(look) => look,
            Err(why) => {
                (self.progress, self.seen) = (Err(why.clone()), None);
                return false;
            }
        };
        let is_newly_live = look.is_live() && self.live_since.is_none();
        self.reached.take(look, entry.changed_at, now);
        if is_newly_live {
            self.live_since = Some(now);
        }
        self.dipped_at = if look.is_live() { None } else { self.dipped_at.or(Some(now)) };
        self.progress = Ok(progress(look, times(entry, Some(self)), now));
        self.seen = Some(look.seen(self.live_since));
        self.pod = look.trouble.as_ref().and_then(|trouble| trouble.pod.clone());
        is_newly_live
    }
}

/// Keeps that a commit is live, and how long that took.
async fn became_live(shared: &Shared, key: &ReleaseKey, entry: &Entry, (reached, now): (Reached, Timestamp)) {
    let took = Duration::try_from(now.duration_since(entry.changed_at)).unwrap_or_default();
    shared.metrics.became_live(took);
    tracing::info!(release.key = %key, commit.id = %entry.commit, "Release `{key}` is live after {:.1} s", took.as_secs_f64());
    let Reached { applied_at, ready_at, .. } = reached;
    let seen = SeenLive { commit: entry.commit.clone(), at: now, applied_at, ready_at };
    if let Err(error) = shared.store.note_live(key, seen).await {
        tracing::warn!(error = &error as &dyn std::error::Error, "When `{key}` became live was not kept: {error}");
    }
}

/// Tells whoever wants to know how a release fares: the readers of events, the forge, the registry.
fn tell(shared: &Shared, key: &ReleaseKey, entry: &Entry, is_news: bool) {
    let status = status(shared, key, &entry.commit);
    if let Some(Ok(progress)) = shared.observations.of(key, &entry.commit).map(|known| known.progress)
        && shared.replica.leads()
    {
        if is_news {
            shared.statuses.note_progress(shared, (key, entry), &progress);
        }
        let reason = match progress.state {
            LiveState::Stalled => Some(Some(progress.reason)),
            LiveState::Live => Some(None),
            LiveState::Syncing | LiveState::Degraded => None,
        };
        if let Some(reason) = reason {
            tell_in_the_way(shared, (key, &entry.commit, &entry.release), reason);
        }
    }
    shared.ring.push(
        "sync",
        &json!({
            "release": key.to_string(), "environment": key.environment, "namespace": key.namespace, "name": key.name,
            "commit": entry.commit, "status": status,
        }),
    );
}

/// Has the last words of a pod in trouble read: once as soon as it is, and once more in each further state of the release, because the
/// events tell of a probe that fails some time after the pod was seen to run.
fn hear(shared: &Arc<Shared>, key: &ReleaseKey, known: &Known, look: &Look) {
    let Some(trouble) = &look.trouble else { return };
    let Some(pod) = trouble.pod.clone() else { return };
    let Ok(state) = known.progress.as_ref().map(|progress| progress.state) else { return };
    let asked = Some((pod.clone(), trouble.kind, state));
    let says_more = matches!(trouble.kind, TroubleKind::CrashLoop | TroubleKind::Initializer | TroubleKind::Unready);
    if known.asked == asked || !says_more {
        return;
    }
    if let Some(known) = write(&shared.observations.known).get_mut(key) {
        known.asked.clone_from(&asked);
    }
    let (shared, key, kind) = (Arc::clone(shared), key.clone(), trouble.kind);
    tokio::spawn(async move {
        let words = last_words(&shared, &key, &pod, kind).await.unwrap_or_default();
        // An answer that took longer than the next question says less than that one's.
        if let Some(known) = write(&shared.observations.known).get_mut(&key).filter(|known| known.asked == asked) {
            known.words = Some((pod, words));
        }
        Observations::note(&shared.observations, [key]);
    });
}

async fn last_words(shared: &Shared, key: &ReleaseKey, pod: &PodName, kind: TroubleKind) -> Option<String> {
    let (clusters, cluster) = watched(shared, &key.environment)?;
    if kind == TroubleKind::Unready {
        return clusters.last_warning(cluster, pod).await;
    }
    let log = clusters.log(cluster, pod, WORDS_LINES).await.ok()?;
    let last = log.text.lines().rev().map(str::trim).find(|line| !line.is_empty())?;
    // One line of it, of a size that can be shown.
    Some(last.chars().filter(|c| !crate::names::is_invisible(*c)).take(300).collect())
}

/// Takes a commit back that stalled by its own fault, where the environment says so. While that has not had its time yet, it says when it will have.
async fn undo(
    shared: &Arc<Shared>,
    key: &ReleaseKey,
    entry: &Entry,
    (known, look): (&Known, &Look),
    now: Timestamp,
) -> Option<Timestamp> {
    let is_stalled = known.progress.as_ref().is_ok_and(|progress| progress.state == LiveState::Stalled);
    let fault = look.trouble.as_ref().filter(|trouble| trouble.kind.is_of_the_commit());
    let (Some(trouble), false, true) = (fault, known.is_undone, is_stalled) else { return None };
    let wants = shared.environment(&key.environment).is_ok_and(|environment| environment.auto_rollback);
    if !wants || !shared.replica.leads() {
        return None;
    }
    let act = rollout::undo(&entry.release)?;
    let blamed_at = times(entry, None).blamed_at(known.reached);
    if now < blamed_at {
        return Some(blamed_at);
    }
    if let Some(known) = write(&shared.observations.known).get_mut(key) {
        known.is_undone = true;
    }
    let guard = Guard { if_match: Some(entry.tree.clone()), ..Guard::default() };
    let asked = match read::absolute(shared, key, act).await {
        Ok(intent) => {
            let requested = Requested { key: key.clone(), intent, guard, requested_by: Some(UNDONE_BY.to_owned()) };
            Handle::new(Arc::clone(shared)).submit(requested).await.map(drop)
        }
        Err(fault) => Err(fault),
    };
    let Err(fault) = asked else {
        tracing::warn!(release.key = %key, "Release `{key}` is taken back, because it stalled: {}", trouble.reason);
        return None;
    };
    tracing::warn!(release.key = %key, "Release `{key}` stalled and cannot be taken back: {fault}");
    // What is refused is so until something else is committed; anything else may work a little later.
    if matches!(fault, Fault::Refused(_)) {
        return None;
    }
    if let Some(known) = write(&shared.observations.known).get_mut(key) {
        known.is_undone = false;
    }
    Some(UNDONE_AGAIN_AFTER.after(now))
}
