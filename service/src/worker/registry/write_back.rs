//! What the registry is told: how a version fares, as tags that MLflow's own page shows, and that a wish was answered.
//!
//! Never a trigger and never waited for: what cannot be written now is written later, and a release goes on meanwhile. Of several things to
//! say about one version only the newest is said; the sweep says again what a restart made forgotten.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use indexmap::IndexMap;
use tokio::sync::Notify;

use crate::mlflow::{Client, Error};
use crate::names::{CommitId, ModelName, ReleaseKey, STATUS_TAG_PREFIX, Version};
use crate::release::{Phase, Refusal, Release, Role, Variant};
use crate::worker::read::endpoint;
use crate::worker::shared::Shared;
use crate::worker::turn::Harvest;

/// One version of a model.
pub(in crate::worker) type Which = (ModelName, Version);

/// Values by key; none where the tag is to be deleted.
type Tags = BTreeMap<String, Option<String>>;

/// The most versions that wait to be told something, at some 500 bytes each. What does not fit is dropped; the sweep finds it again.
const WAITING_MAX: usize = 10_000;

/// The most versions of which it is remembered what they were told last.
const TOLD_MAX: usize = 10_000;

/// The waits between attempts double from the first to the last of these.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// The longest reason in characters that is written to a version: MLflow's page shows a tag in one line.
const REASON_CHARS_MAX: usize = 500;

/// How a version fares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::worker) struct VersionStatus {
    /// `serving`, `entering`, `running`, `leaving`, `retired`, `rejected` or `refused`.
    pub(in crate::worker) state: &'static str,
    pub(in crate::worker) release: ReleaseKey,
    pub(in crate::worker) commit: Option<CommitId>,
    /// The address that a caller posts to.
    pub(in crate::worker) url: Option<String>,
    pub(in crate::worker) reason: Option<String>,
}

/// What waits to be written.
#[derive(Debug, Default)]
pub(in crate::worker) struct Outbox {
    state: Mutex<State>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct State {
    waiting: IndexMap<Which, Tags>,
    told: HashMap<Which, VersionStatus>,
}

impl VersionStatus {
    fn tags(&self) -> [(String, Option<String>); 5] {
        let Self { state, release, commit, url, reason } = self;
        let key = |name: &str| format!("{STATUS_TAG_PREFIX}{name}");
        let reason = reason.as_ref().map(|reason| reason.chars().take(REASON_CHARS_MAX).collect());
        [
            (key("state"), Some((*state).to_owned())),
            (key("release"), Some(release.to_string())),
            (key("commit"), commit.as_ref().map(ToString::to_string)),
            (key("url"), url.clone()),
            (key("reason"), reason),
        ]
    }
}

impl Outbox {
    /// Has a version told how it fares, where it was not told so before. A tag that says nothing any more is deleted where it is known
    /// to be there, because MLflow tells everybody of a deletion, also of what never was.
    pub(in crate::worker) fn tell(&self, which: Which, status: VersionStatus) {
        let mut state = self.state();
        let before = state.told.get(&which);
        if before == Some(&status) {
            return;
        }
        let old: BTreeMap<String, Option<String>> = before.into_iter().flat_map(VersionStatus::tags).collect();
        let is_new = |(key, value): &(String, Option<String>)| match (old.get(key), value) {
            (Some(Some(old)), Some(value)) => old != value,
            (Some(Some(_)), None) | (_, Some(_)) => true,
            (_, None) => false,
        };
        let tags: Tags = status.tags().into_iter().filter(is_new).collect();
        if state.told.len() >= TOLD_MAX {
            state.told.clear();
        }
        state.told.insert(which.clone(), status);
        state.put(which, tags);
        drop(state);
        self.wake.notify_one();
    }

    /// Has a version told how it fares, given the tags that it has.
    pub(in crate::worker) fn correct(&self, which: Which, present: &BTreeMap<String, String>, status: VersionStatus) {
        let differs = |(key, value): &(String, Option<String>)| present.get(key) != value.as_ref();
        let tags: Tags = status.tags().into_iter().filter(differs).collect();
        let mut state = self.state();
        state.told.insert(which.clone(), status);
        if !tags.is_empty() {
            state.put(which, tags);
            drop(state);
            self.wake.notify_one();
        }
    }

    /// Has a tag deleted.
    pub(in crate::worker) fn delete(&self, which: Which, key: String) {
        self.state().put(which, Tags::from([(key, None)]));
        self.wake.notify_one();
    }

    fn take(&self) -> Option<(Which, Tags)> {
        self.state().waiting.shift_remove_index(0)
    }

    /// Puts back what could not be written; what was said since wins.
    fn put_back(&self, which: Which, tags: Tags) {
        let mut state = self.state();
        let newer = state.waiting.shift_remove(&which).unwrap_or_default();
        let tags = tags.into_iter().chain(newer).collect();
        state.put(which, tags);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn put(&mut self, which: Which, tags: Tags) {
        let has_room = self.waiting.len() < WAITING_MAX;
        if let Some(waiting) = self.waiting.get_mut(&which) {
            waiting.extend(tags);
        } else if has_room {
            self.waiting.insert(which, tags);
        } else {
            let (model, version) = which;
            tracing::warn!(model.name = %model, "Too many versions wait for their tags; the next sweep tells version {version} of `{model}`");
        }
    }
}

/// Writes what waits, until it is dropped.
pub(in crate::worker) async fn write_back(shared: Arc<Shared>) {
    let mut pause = RETRY.0;
    loop {
        match write_waiting(&shared).await {
            None => {
                pause = RETRY.0;
                shared.outbox.wake.notified().await;
            }
            Some(wait) => {
                tokio::time::sleep(wait.unwrap_or(pause).min(RETRY.1)).await;
                pause = (pause * 2).min(RETRY.1);
            }
        }
    }
}

/// Writes what waits, one version after the other. Where the registry cannot take it now, the rest waits: how long, if it said so.
pub(in crate::worker) async fn write_waiting(shared: &Shared) -> Option<Option<Duration>> {
    let registry = shared.settings.registry.as_ref()?;
    while let Some((which, mut tags)) = shared.outbox.take() {
        let Err(error) = write(&registry.client, &which, &mut tags).await else { continue };
        let (model, version) = &which;
        if error.is_temporary() {
            shared.metrics.wrote_back("retried");
            tracing::debug!(model.name = %model, "The tags of version {version} of `{model}` are written later: {error}");
            shared.outbox.put_back(which, tags);
            return Some(error.retry_after());
        }
        shared.metrics.wrote_back("failed");
        tracing::warn!(model.name = %model, "The tags of version {version} of `{model}` could not be written: {error}");
    }
    None
}

/// Writes the tags of a version and takes away what is written; the state comes last, because it is what others look at.
async fn write(client: &Client, (model, version): &Which, tags: &mut Tags) -> Result<(), Error> {
    let is_state = |key: &str| key.ends_with(".state");
    while let Some(key) = tags.keys().find(|key| !is_state(key)).or_else(|| tags.keys().next()).cloned() {
        match tags.get(&key).cloned().flatten() {
            Some(value) => client.set_tag(model, version, &key, &value).await?,
            None => client.delete_tag(model, version, &key).await?,
        }
        tags.remove(&key);
    }
    Ok(())
}

/// Has the versions of all releases that a turn changed told so. Before the readers see the turn: they still have what was.
pub(in crate::worker) fn tell_versions(shared: &Shared, harvest: &Harvest) {
    let Some(registry) = &shared.settings.registry else { return };
    for (which, tag) in &harvest.answered {
        shared.outbox.delete(which.clone(), tag.clone());
    }
    if !registry.write_back {
        return;
    }
    let newest: IndexMap<&ReleaseKey, &CommitId> = harvest.rows.iter().map(|row| (&row.key, &row.commit)).collect();
    for (key, commit) in newest {
        let before = shared.entry(key).map(|entry| entry.release);
        let after = harvest.fresh.get(key).map(|entry| entry.release);
        for (which, status) in statuses(key, commit, (before.as_deref(), after.as_deref())) {
            shared.outbox.tell(which, status);
        }
    }
    for (which, key, refusal) in &harvest.refused {
        shared.outbox.tell(which.clone(), refused(key, refusal));
    }
}

/// How the versions of a release fare from a commit on: those it has, and those it had before.
fn statuses(
    key: &ReleaseKey,
    commit: &CommitId,
    (before, after): (Option<&Release>, Option<&Release>),
) -> Vec<(Which, VersionStatus)> {
    let of = |release: &Release, version: &Version, state, url, reason| {
        let status = VersionStatus { state, release: key.clone(), commit: Some(commit.clone()), url, reason };
        ((release.spec.model.clone(), version.clone()), status)
    };
    let mut found: Vec<_> = after.map(|after| of_release(key, commit, after)).unwrap_or_default();
    let is_there = |version: &Version| {
        after.is_some_and(|after| after.spec.variants.iter().any(|variant| variant.version == *version))
    };
    if let Some(before) = before {
        for Variant { version, .. } in before.spec.variants.iter().filter(|variant| !is_there(&variant.version)) {
            let rejected = after.and_then(|after| after.rollout.rejected.iter().rfind(|no| no.version == *version));
            found.push(match rejected {
                Some(rejected) => of(before, version, "rejected", None, Some(rejected.reason.clone())),
                None => of(before, version, "retired", None, None),
            });
        }
    }
    found
}

/// How the versions that a release has fare; a version that is there twice, with other pods, as the one that stays.
pub(in crate::worker) fn of_release(
    key: &ReleaseKey,
    commit: &CommitId,
    release: &Release,
) -> Vec<(Which, VersionStatus)> {
    let stable = release.stable().map(|variant| &variant.predictor);
    let mut found: IndexMap<Which, VersionStatus> = IndexMap::new();
    for variant in &release.spec.variants {
        let state = match release.rollout.phase {
            _ if variant.role == Role::Leaving => "leaving",
            _ if Some(&variant.predictor) == stable => "serving",
            Phase::Entering => "entering",
            Phase::Running | Phase::Leaving | Phase::Settled => "running",
        };
        let url = (state != "leaving").then(|| endpoint(release));
        let status = VersionStatus { state, release: key.clone(), commit: Some(commit.clone()), url, reason: None };
        found.entry((release.spec.model.clone(), variant.version.clone())).or_insert(status);
    }
    found.into_iter().collect()
}

fn refused(key: &ReleaseKey, refusal: &Refusal) -> VersionStatus {
    let reason = match &refusal.cure {
        Some(cure) => format!("{}; {cure}", refusal.reason),
        None => refusal.reason.clone(),
    };
    VersionStatus { state: "refused", release: key.clone(), commit: None, url: None, reason: Some(reason) }
}
