//! The sweep: the whole registry compared with what is deployed, and that with the clusters, at the start and again and again.
//!
//! An event that got lost, a tag that was set while nobody listened, a restore of the registry: all of it costs latency only.
//! It decides nothing by itself. A model that asks for something else than what is there gets a delivery of the sweep's own, which passes
//! through policy, plan and Git as an event's would; what would not come of it is listed with the reason.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, stream};

use super::changed::{Watch, served};
use super::compare::{Found, Looked, Seen, compare, look_at};
use super::reader::{Answered, Read, about_reading};
use super::status::state_tag;
use super::write_back::remind;
use crate::drift::DriftKind;
use crate::event::{Event, NewDelivery, RegistryChange, RegistryFact, Source};
use crate::mlflow::Error;
use crate::names::{DeliveryId, ModelName, ReleaseKey};
use crate::plan::Findings;
use crate::registry::Reading;
use crate::release::{Refusal, RefusalKind};
use crate::store::Accepted;
use crate::worker::observe::{Drifts, drift_of_all};
use crate::worker::shared::{Shared, read, store_fault, write};
use crate::worker::task::new_id;
use crate::worker::view::{DifferenceKind, SweepDifference, SweepReport};
use crate::worker::{Drift, Fault, RegistrySettings};

/// What the sweep remembers from one time to the next, for each model of the registry that differed.
#[derive(Debug, Default)]
pub(in crate::worker) struct Sweeper {
    asked: HashMap<ModelName, Seen>,
    artifacts: Watch,
}

/// How many models that differ are asked about at once. Each has one to three questions on their way at a time, and the client eight in all:
/// so a sweep uses what a server answers side by side, and what people ask for meanwhile stands behind no more than a handful.
const ASKED_AT_ONCE: usize = 4;

/// How soon a registry that did not answer is asked again, where the interval is longer.
const RETRY: Duration = Duration::from_secs(5);

/// Between two looks at the clusters where no registry is swept: what is watched is in memory.
const LOOK_INTERVAL: Duration = Duration::from_secs(60);

/// Sweeps at once, then after every interval, until it is dropped.
pub(in crate::worker) async fn sweep_again_and_again(shared: Arc<Shared>) {
    if check_configured(&shared).is_err() {
        return;
    }
    let registry = shared.settings.registry.as_ref();
    let interval = registry.map_or(LOOK_INTERVAL, |registry| registry.sweep_interval.as_duration());
    loop {
        let wait = match sweep(&shared, false).await {
            Ok(_) => interval,
            Err(fault) => {
                tracing::warn!(fault = ?fault, "The registry could not be compared with what is deployed");
                interval.min(RETRY)
            }
        };
        tokio::time::sleep(wait).await;
    }
}

/// Compares the whole registry with what is deployed, and has repaired what differs, unless it is only asked what would be.
///
/// What is deployed is compared with the clusters, too; nothing is done about that.
///
/// # Errors
/// There is neither a tracking server nor a cluster, or the tracking server does not answer.
pub(in crate::worker) async fn sweep(shared: &Arc<Shared>, dry_run: bool) -> Result<SweepReport, Fault> {
    check_configured(shared)?;
    let mut sweeper = shared.sweeper.lock().await;
    let begun = Instant::now();
    let at = shared.clock.now();
    let (models, differences) = match &shared.settings.registry {
        Some(registry) => sweep_registry(shared, registry, &mut sweeper, dry_run).await?,
        None => (0, Vec::new()),
    };
    let Drifts { drift, unseen, clusters, releases, under_way } =
        shared.blocking(|shared| Ok(drift_of_all(shared))).await?;
    let took_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    let registry = shared.settings.registry.is_some();
    let report = SweepReport {
        at,
        took_ms,
        registry,
        models,
        clusters,
        releases,
        under_way,
        dry_run,
        differences,
        drift,
        unseen,
    };
    if !dry_run {
        note(shared, &report);
        keep(shared, &report).await;
    }
    Ok(report)
}

/// How many models the registry has, and where it and Git differ.
async fn sweep_registry(
    shared: &Arc<Shared>,
    registry: &RegistrySettings,
    sweeper: &mut Sweeper,
    dry_run: bool,
) -> Result<(usize, Vec<SweepDifference>), Fault> {
    let readings = read_all(shared, registry).await?;
    let models = readings.len();
    let look = move |shared: &Shared| {
        if !dry_run {
            remind(shared, &readings);
        }
        compare(shared, readings)
    };
    let Looked { listed: mut differences, open, .. } = shared.blocking(look).await?;
    let (asking, unknown) = find_out_about(shared, open).await;
    differences.extend(unknown);
    let looked = shared.blocking(move |shared| look_at(shared, asking.into_iter())).await?;
    differences.extend(looked.listed);
    if registry.write_back && !dry_run {
        looked.refused.into_iter().for_each(|(which, tags, status)| shared.outbox.correct(which, &tags, status));
    }
    for Found { reading, mut difference, seen, has_wish, findings } in looked.found {
        let is_known = sweeper.asked.get(&reading.model) == Some(&seen) && !has_wish;
        if !dry_run && !is_known {
            let model = reading.model.clone();
            difference.delivery = deliver(shared, reading, findings).await?;
            // What the inbox did not take is asked for again.
            if difference.delivery.is_some() {
                sweeper.asked.insert(model, seen);
            }
        }
        differences.push(difference);
    }
    let all = shared.blocking(|shared| Ok(served(shared))).await?;
    differences.extend(sweeper.artifacts.look(&registry.client, &all, dry_run).await);
    differences.sort_by(|a, b| a.release.cmp(&b.release));
    Ok((models, differences))
}

/// Finds out what models would serve, a few at once and answered in their order; beside it those of which it cannot be told: one is no
/// reason to leave the others.
async fn find_out_about(
    shared: &Shared,
    open: Vec<(Reading, ReleaseKey)>,
) -> (Vec<(Reading, Option<Arc<Findings>>)>, Vec<SweepDifference>) {
    let asked = open.into_iter().map(|(reading, key)| async move {
        let found = about_reading(shared, &reading).await;
        (reading, key, found)
    });
    let mut answered = stream::iter(asked).buffered(ASKED_AT_ONCE);
    let (mut found_out, mut unknown) = (Vec::new(), Vec::new());
    while let Some((reading, key, found)) = answered.next().await {
        match found {
            Ok(findings) => found_out.push((reading, Some(findings))),
            Err(error) => unknown.push(not_found_out(&reading, &key, &error)),
        }
    }
    (found_out, unknown)
}

/// What the last sweep found.
///
/// # Errors
/// There is neither a tracking server nor a cluster, or no sweep has ended yet.
pub(in crate::worker) async fn last_sweep(shared: &Shared) -> Result<SweepReport, Fault> {
    check_configured(shared)?;
    let kept = shared.store.last_sweep().await.map_err(store_fault)?;
    // What a newer version wrote is as good as none.
    kept.and_then(|report| serde_json::from_str(&report).ok()).ok_or_else(|| {
        Refusal::conflict("no sweep has ended yet", "`kmlflow sweep` makes one; the log says why one failed").into()
    })
}

/// Keeps what was found where every replica reads it. It is found again by the next sweep.
async fn keep(shared: &Shared, report: &SweepReport) {
    let Ok(report) = serde_json::to_string(report) else { return };
    if let Err(error) = shared.store.keep_sweep(report).await {
        tracing::warn!(error = &error as &dyn std::error::Error, "What the sweep found could not be stored: {error}");
    }
}

fn note(shared: &Shared, report: &SweepReport) {
    let of = |kind: DifferenceKind| report.differences.iter().filter(|difference| difference.kind == kind).count();
    shared.metrics.swept(&DifferenceKind::ALL.map(|kind| (kind.as_str(), of(kind))));
    let drifts = || report.drift.iter().flat_map(|drift| &drift.differences);
    let of = |kind: DriftKind| drifts().filter(|difference| difference.kind == kind).count();
    shared.metrics.swept(&DriftKind::ALL.map(|kind| (kind.as_str(), of(kind))));
    let before = write(&shared.swept).replace(report.clone());
    let was_known = |difference: &SweepDifference| {
        before.iter().flat_map(|before| &before.differences).any(|known| {
            (&known.release, known.kind, &known.reason) == (&difference.release, difference.kind, &difference.reason)
        })
    };
    for difference in report.differences.iter().filter(|difference| !was_known(difference)) {
        let SweepDifference { release, model, kind, reason, .. } = difference;
        tracing::warn!(release.key = %release, model.name = %model, kind = kind.as_str(), "Registry and Git differ for `{release}`: {reason}");
    }
    let known_drifts: Vec<&Drift> = before.iter().flat_map(|before| &before.drift).collect();
    for drift in report.drift.iter().filter(|drift| !known_drifts.contains(drift)) {
        let (name, number) = (drift.release.as_ref().unwrap_or(&drift.place), drift.differences.len());
        tracing::warn!(cluster.name = %drift.cluster, "Git and the cluster differ for `{name}`, {number} of what they have");
    }
}

/// Refuses to sweep where there is nothing to compare with.
fn check_configured(shared: &Shared) -> Result<(), Refusal> {
    if shared.settings.registry.is_some() || shared.settings.clusters.is_some() {
        return Ok(());
    }
    Err(Refusal {
        kind: RefusalKind::Conflict,
        reason: "no tracking server is configured, so there is no registry to compare with, and no cluster".to_owned(),
        cure: Some("set `mlflow.tracking_uri` or `kubernetes` in the configuration of the service".to_owned()),
        violations: Vec::new(),
    })
}

/// A model of which it cannot be told what it would serve.
fn not_found_out(reading: &Reading, key: &ReleaseKey, error: &Error) -> SweepDifference {
    SweepDifference {
        release: key.to_string(),
        model: reading.model.clone(),
        kind: DifferenceKind::Waiting,
        reason: format!("what it would serve could not be found out, and the next sweep tries again: {error}"),
        cure: error.cure().map(str::to_owned),
        delivery: None,
    }
}

/// Reads what policies need, what serves, and what was told how it fares.
async fn read_all(shared: &Shared, registry: &RegistrySettings) -> Result<Vec<Reading>, Fault> {
    let mut wishes = shared.policy_set().policies.wish_tags();
    wishes.push(state_tag());
    let served = read(&shared.index).versions();
    registry.client.read_all(&wishes, &served).await.map_err(unreadable)
}

/// A registry that does not answer, as callers see it.
pub(in crate::worker) fn unreadable(error: Error) -> Fault {
    /// How long a caller should wait before it asks again: MLflow is restarting, or busy.
    const RETRY_AFTER: u32 = 10;
    let wait = error.retry_after().and_then(|wait| u32::try_from(wait.as_secs()).ok());
    Fault::Unavailable {
        sentence: format!("the registry could not be read: {error}"),
        retry_after_seconds: wait.unwrap_or(RETRY_AFTER),
    }
}

/// Puts a delivery of the sweep's own into the inbox, with what was read. Answers its id, where the inbox took it.
async fn deliver(
    shared: &Arc<Shared>,
    reading: Arc<Reading>,
    findings: Arc<Findings>,
) -> Result<Option<String>, Fault> {
    let (model, now) = (reading.model.clone(), shared.clock.now_exact());
    let id = format!("sweep-{}", new_id());
    let Ok(delivery_id) = DeliveryId::parse(&id) else { return Ok(None) };
    let change = RegistryChange { model: model.clone(), at: now, fact: RegistryFact::Compared };
    let new = NewDelivery {
        source: Source::Sweep,
        id: delivery_id,
        received_at: now,
        body: String::new(),
        event: Event::RegistryChanged(change),
    };
    match shared.store.accept(new).await.map_err(store_fault)? {
        Accepted::New(delivery) | Accepted::Again(delivery) => {
            // Where whoever leads may be another service, it takes it up from the store and reads the model itself.
            if !shared.replica.is_one {
                let answer = Ok(Answered { found: Some(Some(reading)), findings });
                shared.reader.give(Read { model, deliveries: vec![delivery], answer });
                shared.inbox.wake();
            }
            Ok(Some(id))
        }
        // Too much waits; the next sweep finds it again.
        Accepted::Sooner(_) | Accepted::Repeat { .. } | Accepted::Full => Ok(None),
    }
}
