//! What the registry is told: how a version fares, as tags that MLflow's own page shows, and that a wish was answered.
//!
//! Never a trigger and never waited for: what cannot be written now is written later, and a release goes on meanwhile. Of several things to
//! say about one version only the newest is said; the sweep says again what a restart made forgotten.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use indexmap::IndexMap;
use tokio::sync::Notify;

use super::status::{State, VersionStatus, of_release, refused, rejected, retired, statuses};
use crate::mlflow::{Client, Error};
use crate::names::{CommitId, ModelName, ReleaseKey, Version};
use crate::registry::{Answered, Reading, RegistryState, VersionReading};
use crate::release::Release;
use crate::store::Batch;
use crate::worker::shared::{Shared, read, write as write_lock};
use crate::worker::turn::Harvest;

/// One version of a model.
pub(in crate::worker) type Which = (ModelName, Version);

/// The most versions that wait to be told something, at some 500 bytes each. What does not fit is dropped; the sweep finds it again.
const WAITING_MAX: usize = 10_000;

/// The waits between attempts double from the first to the last of these.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// What waits to be written.
#[derive(Debug, Default)]
pub(in crate::worker) struct Outbox {
    waiting: Mutex<IndexMap<Which, Said>>,
    wake: Notify,
}

/// What a version is to be told.
#[derive(Debug, Default)]
struct Said {
    status: Option<VersionStatus>,
    /// Wishes that were answered: key and value of the tag.
    answered: BTreeMap<String, String>,
}

impl Outbox {
    /// Has a version told how it fares.
    pub(super) fn tell(&self, which: Which, status: VersionStatus) {
        self.put(which, Said { status: Some(status), ..Said::default() });
    }

    /// Has a version told how it fares, where the tags that it has do not say so.
    pub(super) fn correct(&self, which: Which, present: &BTreeMap<String, String>, status: VersionStatus) {
        if !status.is_said(present) {
            self.tell(which, status);
        }
    }

    /// Has the tag of a wish deleted that was answered, unless it says something else by then.
    pub(super) fn delete(&self, which: Which, (tag, value): (String, String)) {
        self.put(which, Said { status: None, answered: BTreeMap::from([(tag, value)]) });
    }

    fn take(&self) -> Option<(Which, Said)> {
        self.waiting().shift_remove_index(0)
    }

    /// Puts back what could not be written; what was said since wins.
    fn put_back(&self, which: Which, mut said: Said) {
        let newer = self.waiting().shift_remove(&which).unwrap_or_default();
        said.extend(newer);
        self.put(which, said);
    }

    fn put(&self, which: Which, said: Said) {
        let mut all = self.waiting();
        let has_room = all.len() < WAITING_MAX;
        if let Some(waiting) = all.get_mut(&which) {
            waiting.extend(said);
        } else if has_room {
            all.insert(which, said);
        } else {
            let (model, version) = which;
            tracing::warn!(model.name = %model, "Too many versions wait for their tags; the next sweep tells version {version} of `{model}`");
        }
        drop(all);
        self.wake.notify_one();
    }

    fn waiting(&self) -> MutexGuard<'_, IndexMap<Which, Said>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Said {
    fn extend(&mut self, newer: Self) {
        self.status = newer.status.or_else(|| self.status.take());
        self.answered.extend(newer.answered);
    }
}

/// Has the newest version of a release told why it is not live, or that nothing is in its way any more.
pub(in crate::worker) fn tell_in_the_way(
    shared: &Shared,
    (key, commit, release): (&ReleaseKey, &CommitId, &Release),
    reason: Option<String>,
) {
    let is_wanted = shared.settings.registry.as_ref().is_some_and(|registry| registry.write_back);
    let newest = of_release(key, commit, release).into_iter().rfind(|(_, status)| status.state != State::Leaving);
    if let Some((which, status)) = newest.filter(|_| is_wanted) {
        shared.outbox.tell(which, VersionStatus { reason, ..status });
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
    while let Some((which, said)) = shared.outbox.take() {
        let Err(error) = write(&registry.client, &which, &said).await else {
            forget_answered(shared, &which, &said).await;
            continue;
        };
        let (model, version) = &which;
        if error.is_temporary() {
            shared.metrics.wrote_back("retried");
            tracing::debug!(model.name = %model, "The tags of version {version} of `{model}` are written later: {error}");
            shared.outbox.put_back(which, said);
            return Some(error.retry_after());
        }
        shared.metrics.wrote_back("failed");
        tracing::warn!(model.name = %model, "The tags of version {version} of `{model}` could not be written: {error}");
    }
    None
}

/// Forgets the wishes whose tags are deleted: set again, they are new ones.
async fn forget_answered(shared: &Shared, (model, version): &Which, said: &Said) {
    if said.answered.is_empty() {
        return;
    }
    let state = {
        let mut known = write_lock(&shared.registry);
        let Some(state) = known.get_mut(model) else { return };
        let is_said = |answered: &Answered| said.answered.get(&answered.tag) == Some(&answered.value);
        if !state.answered.get(version).is_some_and(is_said) {
            return;
        }
        let state = Arc::make_mut(state);
        state.answered.remove(version);
        state.clone()
    };
    // Without the store the next reading says the same, unless the wish is set again before it.
    if let Err(error) = shared.store.commit(Batch { registry: vec![state], ..Batch::default() }).await {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "That a wish's tag is deleted could not be stored: {error}"
        );
    }
}

/// Writes what a version does not say yet. It is read first, because MLflow tells everybody of a deletion, also of what never was.
async fn write(client: &Client, (model, version): &Which, said: &Said) -> Result<(), Error> {
    let Some(VersionReading { tags, .. }) = client.version(model, version).await? else { return Ok(()) };
    for (tag, _) in said.answered.iter().filter(|(tag, value)| tags.get(*tag) == Some(value)) {
        client.delete_tag(model, version, tag).await?;
    }
    for (key, value) in said.status.iter().flat_map(|status| status.differences(&tags)) {
        match value {
            Some(value) => client.set_tag(model, version, &key, &value).await?,
            None => client.delete_tag(model, version, &key).await?,
        }
    }
    Ok(())
}

/// Has the versions of all releases that a turn changed told so. Before the readers see the turn: they still have what was.
pub(in crate::worker) fn tell_versions(shared: &Shared, harvest: &Harvest) {
    let Some(registry) = &shared.settings.registry else { return };
    for (which, tag, value) in &harvest.answered {
        shared.outbox.delete(which.clone(), (tag.clone(), value.clone()));
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
}

/// Has the versions told that were refused in a turn. Once the readers see the turn: a version that a release has serves on, and what was
/// refused about it stands beside that.
pub(in crate::worker) fn tell_refused(shared: &Shared, harvest: &Harvest) {
    let is_written = shared.settings.registry.as_ref().is_some_and(|registry| registry.write_back);
    for (which, key, refusal) in harvest.refused.iter().filter(|_| is_written) {
        let refused = refused(key, refusal);
        let status = match deployed(shared, which) {
            Some(status) => VersionStatus { reason: refused.reason, ..status },
            None => refused,
        };
        shared.outbox.tell(which.clone(), status);
    }
}

/// Has said again what the registry should have been told.
pub(super) fn remind(shared: &Shared, readings: &[Reading]) {
    let writes_back = shared.settings.registry.as_ref().is_some_and(|registry| registry.write_back);
    let index = read(&shared.index);
    let releases = index.by_model();
    for reading in readings {
        let Reading { model, aliases: _, versions } = reading;
        if let Some(known) = shared.registry_of(model).filter(|known| !known.answered.is_empty()) {
            let mut known = RegistryState::clone(&known);
            known.confirm(reading);
            for (version, answered) in known.answered {
                shared.outbox.delete((model.clone(), version), (answered.tag, answered.value));
            }
        }
        let mut statuses: BTreeMap<Which, VersionStatus> = BTreeMap::new();
        for (key, kept) in releases.get(model).into_iter().flatten().filter(|_| writes_back) {
            let entry = kept.entry();
            // What one release has counts for more than what another one had.
            for (which, status) in rejected(key, &entry.release) {
                statuses.entry(which).or_insert(status);
            }
            statuses.extend(of_release(key, &entry.commit, &entry.release));
        }
        for (version, VersionReading { tags, .. }) in versions.iter().filter(|_| writes_back) {
            let which = (model.clone(), version.clone());
            let is_ours =
                |status: &VersionStatus| shared.settings.environments.contains_key(&status.release.environment);
            if let Some(status) = statuses.remove(&which).or_else(|| retired(tags).filter(is_ours)) {
                shared.outbox.correct(which, tags, status);
            }
        }
    }
}

/// How a version fares that a release has.
pub(super) fn deployed(shared: &Shared, which: &Which) -> Option<VersionStatus> {
    let index = read(&shared.index);
    let with_it = index.iter().filter(|(_, kept)| kept.model == which.0 && kept.versions().any(|has| has == which.1));
    let mut statuses = with_it.flat_map(|(key, kept)| {
        let entry = kept.entry();
        of_release(key, &entry.commit, &entry.release)
    });
    statuses.find(|(version, _)| version == which).map(|(_, status)| status)
}
