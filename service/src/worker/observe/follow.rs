//! Follows the clusters: what changed is looked at, told, kept, and, where it stalls by its own fault, taken back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tokio::task::JoinSet;

use super::gone::gone;
use super::hear::{hear, hear_pods};
use super::tell::{Told, later, list_folders, say, tell_of_applications};
use super::undo::undo;
use super::{Ahead, BEING_READ, Known, Sight, lock, look_at, starts_until, status, unseen, watched};
use crate::live::{Blindness, LiveState, Look, Reached, Times, Touched, application_key, application_name, progress};
use crate::names::{Namespace, ReleaseKey, ReleaseName};
use crate::store::{IndexedCommit, Newest, SeenLive, StoreError};
use crate::sync::{Changes, Clusters};
use crate::worker::index::Entry;
use crate::worker::load::{At, read_some};
use crate::worker::registry::tell_in_the_way;
use crate::worker::shared::{Shared, git_fault, read as locked};
use crate::worker::statuses::lately;

/// After how long a release is looked at again where the store did not say what is known of it.
const STORE_AGAIN_AFTER: SignedDuration = SignedDuration::from_secs(2);

/// How long a commit that Argo CD is at and that is not known here is waited for where the branch cannot be looked at.
const AHEAD_MAX: SignedDuration = SignedDuration::from_mins(5);

/// Between two looks for such a commit: as long as it was waited for already, within these.
const AHEAD_AGAIN_MIN: SignedDuration = SignedDuration::from_secs(1);
const AHEAD_AGAIN_MAX: SignedDuration = SignedDuration::from_secs(30);

/// Follows the clusters until it is dropped.
pub(in crate::worker) async fn follow_clusters(shared: Arc<Shared>) {
    let Some(clusters) = shared.settings.clusters.clone() else { return };
    let mut beside = JoinSet::new();
    let watching = clusters.clone();
    beside.spawn(async move { watching.run().await });
    let (telling, listing, hearing) =
        (Arc::clone(&shared), (Arc::clone(&shared), clusters.clone()), Arc::clone(&shared));
    beside.spawn(async move { tell_of_applications(&telling).await });
    beside.spawn(async move { list_folders(&listing.0, &listing.1).await });
    beside.spawn(async move { hear_pods(&hearing).await });
    shared.observations.begin(shared.clock.now_exact());
    shared.observations.look_at_all();
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
        if shared.observations.is_all_due.swap(false, Ordering::Relaxed) {
            due.extend(all_keys(&shared, &|_| true));
        }
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

/// Every release of the clusters that are meant, those that go among them.
fn all_keys(shared: &Shared, is_meant: &dyn Fn(&str) -> bool) -> Vec<ReleaseKey> {
    let cluster = |key: &ReleaseKey| watched(shared, &key.environment).map(|(_, cluster)| cluster);
    let going: Vec<ReleaseKey> = lock(&shared.observations.going).keys().cloned().collect();
    let index = locked(&shared.index);
    let all = index.iter().map(|(key, _)| key).chain(&going);
    all.filter(|key| cluster(key).is_some_and(is_meant)).cloned().collect()
}

pub(super) fn times(entry: &Entry, known: Option<&Known>) -> Times {
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
        None => match remembered(shared, key, &entry).await {
            Ok(known) => known,
            // That it never was live is not to be read out of an answer that did not come.
            Err(error) => {
                tracing::warn!(release.key = %key, "Whether `{key}` was live before is not known yet: {error}");
                return Some(later(now, STORE_AGAIN_AFTER));
            }
        },
    };
    let looked = look_at(shared, (key, &entry), known.words.as_ref(), now)?;
    let ahead = looked.as_ref().ok().and_then(|sight| sight.ahead.as_deref());
    if let Some(again) = waits_for_branch(shared, &mut known, ahead, now) {
        observations.keep(key, &mut known);
        return Some(again);
    }
    // Who follows tells nobody, and notes nothing as told: whoever leads later says it.
    let (word, again) = match &looked {
        Ok(Sight { noticed, .. }) if shared.replica.leads() => known.told.next(*noticed, now),
        _ => (None, None),
    };
    let looked = looked.map(|sight| sight.look);
    let is_newly_live = known.take(&looked, &entry, now);
    observations.keep(key, &mut known);
    if let Some(word) = word {
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
    let starts_until = Some(starts_until(&entry)).filter(|at| is_on_its_way && now < *at);
    stalls_at.into_iter().chain(starts_until).chain(blamed_at).chain(again).min()
}

/// What is known of a release that was not looked at before.
async fn remembered(shared: &Shared, key: &ReleaseKey, entry: &Entry) -> Result<Known, StoreError> {
    let live_since = shared.store.live_since(key, &entry.commit).await?;
    let is_older = shared.observations.began_after(entry.changed_at);
    // Of a commit that was there before, a store that knows of no commit of its release that it was live may have been lost, or is new.
    let is_unknown = is_older && live_since.is_none() && shared.store.seen_live(key, 1).await?.is_empty();
    Ok(Known { is_unknown, ..Known::new(entry, live_since) })
}

/// Whether a commit that Argo CD is at and that is not known here is waited for, and until when: somebody else pushed it, and the branch is being
/// looked at. What is known of the release stands until then.
fn waits_for_branch(shared: &Shared, known: &mut Known, ahead: Option<&str>, now: Timestamp) -> Option<Timestamp> {
    let Some(revision) = ahead else {
        known.ahead = None;
        return None;
    };
    let begun = shared.state.looks_begun.load(Ordering::SeqCst);
    if known.ahead.as_ref().is_none_or(|ahead| *ahead.revision != *revision) {
        known.ahead = Some(Ahead { revision: revision.into(), since: now, looks: begun });
    }
    let Ahead { since, looks, .. } = known.ahead.as_ref()?;
    let has_looked = *shared.state.looked.borrow() > *looks && locked(&shared.state.trouble).is_none();
    if has_looked || now >= later(*since, AHEAD_MAX) {
        return None;
    }
    if shared.replica.leads() {
        shared.inbox.note_push();
    }
    let pause = now.duration_since(*since).clamp(AHEAD_AGAIN_MIN, AHEAD_AGAIN_MAX);
    Some(later(now, pause))
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
            is_unknown: false,
            ahead: None,
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
