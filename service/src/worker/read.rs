//! What is asked of the worker without changing anything: views of releases, their history, the inbox, numbers.

use std::collections::HashMap;

use indexmap::IndexMap;

use super::foreign::occupied;
use super::handle::not_found;
use super::history::{self, CANDIDATES_MAX};
use super::holds;
use super::index::{Entry, Kept};
use super::metrics::{Present, ReleaseNumbers};
use super::observe;
use super::preview::Now;
use super::shared::{Shared, Waits, git_fault, not_deployed, read, store_fault};
use super::{
    DeliveryFilter, DeliveryView, EnvironmentView, Fault, HistoryEntry, HoldView, Page, ReleaseFilter, ReleaseView,
    Share, StatusState, TimelineEntry, Waiting,
};
use crate::bounds::PAGE_MAX;
use crate::event::{Delivery, DeliveryState};
use crate::live::Reached;
use crate::names::{CommitId, ModelName, ReleaseKey};
use crate::plan;
use crate::release::{Act, Intent, MainRule, RELEASE_FILE, Refusal, RefusalKind, Release};
use crate::store::{DeliveryQuery, SeenLive};
use std::sync::Arc;

/// Why the live status is not known.
pub(super) const NO_CLUSTER: &str = "no cluster configured";

/// One release as the API answers it.
pub(super) fn view(shared: &Shared, key: &ReleaseKey) -> Option<ReleaseView> {
    shared.entry(key).map(|entry| view_of(shared, key, &entry))
}

fn view_of(shared: &Shared, key: &ReleaseKey, entry: &Entry) -> ReleaseView {
    let waits = match holds::of_a_rewrite(shared) {
        Some(hold) => Waits { reason: Some(holds::waits_for(&hold)), until: None },
        None => read(&shared.waits).get(key).cloned().unwrap_or_default(),
    };
    let Entry { release, commit, tree, changed_at, is_undated: _, drifted, invalid, notes } = entry;
    let mut notes = notes.clone();
    notes.extend(drifted.iter().map(|file| format!("`{file}` was changed by hand")));
    notes.extend(invalid.iter().map(|why| format!("the `release.yaml` in the repository cannot be used: {why}")));
    notes.extend(read(&shared.remote_refusals).get(key).cloned());
    ReleaseView {
        deployed: true,
        commit: commit.clone(),
        etag: tree.clone(),
        changed_at: *changed_at,
        status: observe::status(shared, key, commit),
        files: entry.files(shared.settings.templates.digest()),
        notes,
        endpoint: endpoint(release),
        split: split(release),
        waits_for: waits.reason,
        waiting: None,
        next_at: waits.until,
        review: shared.reviews.view(key),
        release: Release::clone(release),
    }
}

/// A retracted release as it was, while something of it is still in its cluster.
pub(super) fn leaving(shared: &Shared, key: &ReleaseKey) -> Option<ReleaseView> {
    let (entry, since) = shared.observations.leaving(key)?;
    let status = observe::status_of_leaving(shared, key, &entry, since);
    Some(ReleaseView { deployed: false, status, ..view_of(shared, key, &entry) })
}

/// The newest request that is queued for a release, or failed and is tried again; none where the store does not say.
pub(super) async fn waiting(shared: &Shared, key: &ReleaseKey) -> Option<Waiting> {
    let newest = async |state| {
        let query =
            DeliveryQuery { release: Some(key.clone()), state: Some(state), limit: 1, ..DeliveryQuery::default() };
        shared.store.deliveries(query).await.ok()?.into_iter().next()
    };
    let (queued, failed) = (newest(DeliveryState::Accepted).await, newest(DeliveryState::Failed).await);
    let delivery = queued.into_iter().chain(failed).max_by_key(|delivery| delivery.number)?;
    let waits_for = delivery.verdict.waits_for.clone().or_else(|| another_try(&delivery))?;
    Some(Waiting { delivery: delivery.id.to_string(), number: delivery.number, waits_for })
}

/// What a delivery waits for that failed for now.
fn another_try(delivery: &Delivery) -> Option<String> {
    let reason = delivery.verdict.reason.as_ref().filter(|_| delivery.state == DeliveryState::Failed)?;
    let at = delivery.next_attempt_at.map(|at| format!(" at {at:.0}")).unwrap_or_default();
    Some(format!("another try{at}, because {reason}"))
}

/// The refusal of a release that is not deployed; where its first request is queued or something is in its place, it says so.
pub(super) fn absent(shared: &Shared, key: &ReleaseKey, waiting: Option<Waiting>) -> Result<Refusal, Fault> {
    if let Some(Waiting { number, waits_for, .. }) = waiting {
        return Ok(not_found(
            format!("release `{key}` is not deployed yet: delivery {number} waits for: {waits_for}"),
            "`kmlflow deliveries list` shows what is queued",
        ));
    }
    let ground = Now {
        shared,
        tip: shared.repository.tip().map_err(git_fault)?,
        now: shared.clock.now(),
        is_live: false,
        known: None,
    };
    let occupied = occupied(&ground, key).map_err(git_fault)?;
    Ok(occupied.map_or_else(|| not_deployed(key), |refusal| Refusal { kind: RefusalKind::NotFound, ..refusal }))
}

/// The address that a caller posts to. Where the service's own page is at the name that the host ends with, both come through one gateway: then the page
/// says by which scheme and port.
pub(super) fn endpoint(release: &Release) -> String {
    let target = &release.spec.target;
    let suffix = target.host.split_once('.').map(|(_, suffix)| suffix);
    let page = target.links.release.as_deref().and_then(place).filter(|(_, name, _)| Some(*name) == suffix);
    let (scheme, _, port) = page.unwrap_or(("http", "", ""));
    let base = format!("{scheme}://{}{port}", target.host);
    let protocol = release.stable().map(|stable| release.serving_of(stable).protocol()).unwrap_or_default();
    match protocol {
        crate::release::Protocol::V2 => format!("{base}/v2/models/{}/infer", release.metadata.name),
        crate::release::Protocol::Seldon => format!("{base}/api/v1.0/predictions"),
    }
}

/// The scheme of an address, its host, and `:` with its port where it names one.
fn place(address: &str) -> Option<(&str, &str, &str)> {
    let (scheme, rest) = address.split_once("://")?;
    let authority = rest.split('/').next()?;
    let (name, port) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
    Some((scheme, name, port))
}

/// Who gets how much of the traffic.
pub(super) fn split(release: &Release) -> Vec<Share> {
    let Some(traffic) = release.traffic() else { return Vec::new() };
    release
        .spec
        .variants
        .iter()
        .enumerate()
        .map(|(position, variant)| Share {
            role: variant.role,
            version: variant.version.clone(),
            predictor: variant.predictor.clone(),
            weight: match &traffic.main {
                MainRule::Own if position == 0 => 100,
                MainRule::Own => 0,
                MainRule::Split(split) => {
                    split.iter().find(|(p, _)| *p == variant.predictor).map_or(0, |(_, weight)| *weight)
                }
            },
            mirror: traffic.mirror.as_ref().filter(|(p, _)| *p == variant.predictor).map_or(0, |(_, percent)| *percent),
        })
        .collect()
}

/// The releases that a filter lets through, by key.
pub(super) fn releases(shared: &Shared, filter: &ReleaseFilter) -> Page<ReleaseView> {
    let limit = filter.limit.unwrap_or(PAGE_MAX).clamp(1, PAGE_MAX) as usize;
    let digest = shared.settings.templates.digest();
    let mut found: Vec<(ReleaseKey, Entry)> = {
        let index = read(&shared.index);
        let from = filter.cursor.as_deref().and_then(|cursor| ReleaseKey::parse(cursor).ok());
        let all: Box<dyn Iterator<Item = (&ReleaseKey, &Kept)>> = match &from {
            Some(key) => Box::new(index.after(key)),
            None => Box::new(index.iter()),
        };
        let matching = all.filter(|(key, kept)| passes(shared, filter, (key, kept), digest));
        matching.take(limit + 1).map(|(key, kept)| (key.clone(), kept.entry())).collect()
    };
    let next = if found.len() > limit {
        found.truncate(limit);
        found.last().map(|(key, _)| key.to_string())
    } else {
        None
    };
    Page { items: found.iter().map(|(key, entry)| view_of(shared, key, entry)).collect(), next }
}

fn passes(
    shared: &Shared,
    filter: &ReleaseFilter,
    (key, kept): (&ReleaseKey, &Kept),
    templates: &crate::names::Digest,
) -> bool {
    let ReleaseFilter { environment, namespace, model, strategy, phase, status, q, limit: _, cursor: _ } = filter;
    let has_status = |status: &str| {
        let files = || kept.files(templates).into_iter().any(|state| is_word(&state, status));
        is_word(&observe::status(shared, key, &kept.commit()).state, status) || files()
    };
    environment.as_ref().is_none_or(|wanted| *wanted == key.environment)
        && namespace.as_ref().is_none_or(|wanted| *wanted == key.namespace)
        && model.as_ref().is_none_or(|wanted| *wanted == kept.model)
        && strategy.is_none_or(|wanted| wanted == kept.strategy)
        && phase.is_none_or(|wanted| wanted == kept.phase)
        && status.as_deref().is_none_or(has_status)
        && q.as_deref().is_none_or(|part| contains(key.name.as_str(), part) || contains(kept.model.as_str(), part))
}

/// Whether a state is written so.
fn is_word(state: &impl serde::Serialize, word: &str) -> bool {
    serde_json::to_value(state).is_ok_and(|written| written == word)
}

/// Whether a text has a part, in small or capital letters.
fn contains(text: &str, part: &str) -> bool {
    text.to_lowercase().contains(&part.to_lowercase())
}

/// Makes an act absolute against what is deployed now.
pub(super) async fn absolute(shared: &Arc<Shared>, key: &ReleaseKey, act: Act) -> Result<Intent, Fault> {
    shared.environment(&key.environment)?;
    let entry = shared.entry(key).ok_or_else(|| not_deployed(key))?;
    let deployed = entry.deployed();
    if !matches!(act, Act::Rollback { .. }) {
        return plan::absolute(&act, &deployed, &[]).map_err(Fault::Refused);
    }
    shared.past.wait().await?;
    let rows = shared.store.history(key, None, CANDIDATES_MAX).await.map_err(store_fault)?;
    let live = match observe::watched(shared, &key.environment) {
        Some(_) => Some(shared.store.seen_live(key, CANDIDATES_MAX).await.map_err(store_fault)?),
        None => None,
    };
    let live = live.map(|live| live.into_iter().map(|seen| seen.commit).collect());
    let key = key.clone();
    let settled =
        shared.blocking(move |shared| history::settled(shared, &key, &rows, live.as_ref()).map_err(git_fault)).await?;
    plan::absolute(&act, &deployed, &settled).map_err(Fault::Refused)
}

/// The commits of a release, newest first; `next` is the commit that the next page begins after.
pub(super) async fn history(
    shared: &Shared,
    key: &ReleaseKey,
    before: Option<CommitId>,
    limit: Option<u32>,
) -> Result<Page<HistoryEntry>, Fault> {
    shared.environment(&key.environment)?;
    let limit = limit.unwrap_or(PAGE_MAX).clamp(1, PAGE_MAX);
    shared.past.wait().await?;
    let mut rows = shared.store.history(key, before.as_ref(), limit + 1).await.map_err(store_fault)?;
    if rows.is_empty() && before.is_none() {
        return Err(not_deployed(key).into());
    }
    let next = if rows.len() > limit as usize {
        rows.truncate(limit as usize);
        rows.last().map(|row| row.commit.to_string())
    } else {
        None
    };
    let mut items: Vec<HistoryEntry> = rows.into_iter().map(HistoryEntry::from).collect();
    number_deliveries(shared, key, &mut items).await?;
    Ok(Page { items, next })
}

/// Adds the numbers of the deliveries that the inbox still has.
async fn number_deliveries(shared: &Shared, key: &ReleaseKey, items: &mut [HistoryEntry]) -> Result<(), Fault> {
    let query = DeliveryQuery { release: Some(key.clone()), limit: PAGE_MAX, ..DeliveryQuery::default() };
    let found = shared.store.deliveries(query).await.map_err(store_fault)?;
    let numbers: HashMap<String, i64> =
        found.into_iter().map(|delivery| (delivery.id.to_string(), delivery.number)).collect();
    for item in items {
        item.delivery_number = item.delivery_id.as_ref().and_then(|id| numbers.get(id).copied());
    }
    Ok(())
}

/// The files of a release, `release.yaml` first.
pub(super) fn manifests(
    shared: &Shared,
    key: &ReleaseKey,
    commit: Option<CommitId>,
) -> Result<IndexMap<String, String>, Fault> {
    shared.environment(&key.environment)?;
    let directory = key.directory();
    let at = match commit {
        Some(commit) => commit,
        None => shared.repository.tip().map_err(git_fault)?,
    };
    let mut files = IndexMap::new();
    let names = shared.repository.list(&at, &directory).map_err(git_fault)?;
    let first = names.iter().filter(|(name, _)| name == RELEASE_FILE);
    let rest = names.iter().filter(|(name, _)| name != RELEASE_FILE);
    for (name, _) in first.chain(rest) {
        if let Some(bytes) = shared.repository.read(&at, &format!("{directory}/{name}")).map_err(git_fault)? {
            files.insert(name.clone(), String::from_utf8_lossy(&bytes).into_owned());
        }
    }
    if files.is_empty() { Err(not_deployed(key).into()) } else { Ok(files) }
}

/// What happened to a release, newest first.
pub(super) async fn timeline(shared: &Shared, key: &ReleaseKey) -> Result<Page<TimelineEntry>, Fault> {
    let commits = history(shared, key, None, None).await?;
    let query = DeliveryQuery { release: Some(key.clone()), limit: PAGE_MAX, ..DeliveryQuery::default() };
    let deliveries = shared.store.deliveries(query).await.map_err(store_fault)?;
    let commits = commits.items.into_iter().map(|entry| TimelineEntry {
        at: entry.at,
        kind: "commit".to_owned(),
        summary: entry.summary,
        commit: Some(entry.commit),
        delivery: entry.delivery_id,
    });
    let deliveries = deliveries.into_iter().map(|delivery| TimelineEntry {
        at: delivery.received_at,
        kind: "delivery".to_owned(),
        summary: delivery
            .verdict
            .waits_for
            .or(delivery.verdict.reason)
            .map_or_else(|| delivery.state.to_string(), |why| format!("{}: {why}", delivery.state)),
        commit: delivery.verdict.commit,
        delivery: Some(delivery.id.to_string()),
    });
    let mut items: Vec<TimelineEntry> = commits.chain(deliveries).chain(in_the_cluster(shared, key).await?).collect();
    items.sort_by_key(|entry| std::cmp::Reverse(entry.at));
    items.truncate(PAGE_MAX as usize);
    Ok(Page { items, next: None })
}

/// When commits of a release became live, and how the newest one fares where it is not.
async fn in_the_cluster(shared: &Shared, key: &ReleaseKey) -> Result<Vec<TimelineEntry>, Fault> {
    let seen = shared.store.seen_live(key, PAGE_MAX).await.map_err(store_fault)?;
    let mut items = Vec::new();
    for SeenLive { commit, at, applied_at, ready_at } in seen {
        items.push(TimelineEntry {
            at,
            kind: "live".to_owned(),
            summary: "live: the routes are accepted, and traffic goes as the commit says".to_owned(),
            commit: Some(commit.clone()),
            delivery: None,
        });
        items.extend(on_the_way(&commit, Reached { applied_at, ready_at, ..Reached::default() }));
    }
    if let Some(entry) = shared.entry(key) {
        items.extend(on_the_way(&entry.commit, observe::reached(shared, key, &entry.commit)));
        let status = observe::status(shared, key, &entry.commit);
        let since = status.since.filter(|_| !matches!(status.state, StatusState::Live | StatusState::Unknown));
        items.extend(since.map(|at| TimelineEntry {
            at,
            kind: "status".to_owned(),
            summary: format!("{}: {}", status.state.as_str(), status.reason),
            commit: Some(entry.commit.clone()),
            delivery: None,
        }));
    }
    Ok(items)
}

/// What was seen of a commit before it was live.
fn on_the_way(commit: &CommitId, reached: Reached) -> impl Iterator<Item = TimelineEntry> {
    let Reached { applied_at, ready_at, .. } = reached;
    let synced = ("sync", "Argo CD has applied the commit", applied_at);
    let ready = ("pods", "the pods of every version are ready", ready_at);
    // The newest first, also where both were seen at once.
    [ready, synced].into_iter().filter_map(move |(kind, summary, at)| {
        let (kind, summary) = (kind.to_owned(), summary.to_owned());
        Some(TimelineEntry { at: at?, kind, summary, commit: Some(commit.clone()), delivery: None })
    })
}

/// Deliveries of the inbox, newest first.
pub(super) async fn deliveries(shared: &Shared, filter: DeliveryFilter) -> Result<Page<DeliveryView>, Fault> {
    let DeliveryFilter { source, state, release, before, limit } = filter;
    let limit = limit.unwrap_or(PAGE_MAX).clamp(1, PAGE_MAX);
    let query = DeliveryQuery { source, state, release, before, limit: limit + 1 };
    let mut found = shared.store.deliveries(query).await.map_err(store_fault)?;
    let next = if found.len() > limit as usize {
        found.truncate(limit as usize);
        found.last().map(|delivery| delivery.number.to_string())
    } else {
        None
    };
    Ok(Page { items: found.into_iter().map(DeliveryView::from).collect(), next })
}

/// One delivery, by its sender's id or its number.
pub(super) async fn delivery(shared: &Shared, id: &str) -> Result<Delivery, Fault> {
    if let Some(delivery) = shared.store.delivery(None, id).await.map_err(store_fault)? {
        return Ok(delivery);
    }
    let number = id.parse::<i64>().ok().filter(|number| *number > 0);
    let Some(number) = number else { return Err(no_delivery(id).into()) };
    let query = DeliveryQuery { before: Some(number.saturating_add(1)), limit: 1, ..DeliveryQuery::default() };
    let found = shared.store.deliveries(query).await.map_err(store_fault)?;
    found.into_iter().find(|delivery| delivery.number == number).ok_or_else(|| no_delivery(id).into())
}

/// The refusal of a delivery that is not in the inbox.
pub fn no_delivery(id: &str) -> Refusal {
    not_found(
        format!("delivery `{}` is not in the inbox", crate::names::shown(id)),
        "`kmlflow deliveries list` shows what is",
    )
}

/// The environments of the configuration, with the number of those releases that are to be counted.
pub(super) fn environments(shared: &Shared, counts: impl Fn(&ReleaseKey, &ModelName) -> bool) -> Vec<EnvironmentView> {
    let index = read(&shared.index);
    shared
        .settings
        .environments
        .iter()
        .map(|(name, environment)| EnvironmentView {
            name: name.clone(),
            cluster: environment.target.cluster.clone(),
            namespace_prefix: environment.target.namespace_prefix.clone(),
            host_suffix: environment.target.host_suffix.clone(),
            blind_delay: environment.blind_delay,
            new_releases_per_minute: environment.new_releases_per_minute,
            releases: index.iter().filter(|(key, kept)| key.environment == *name && counts(key, &kept.model)).count(),
            hold: shared.hold_of(name).map(HoldView::from),
        })
        .collect()
}

/// The metrics in OpenMetrics text.
pub(super) async fn metrics(shared: &Shared) -> String {
    let inbox = match shared.store.inbox_depth().await {
        Ok(depth) => depth.into_iter().map(|(state, count)| (state.as_str(), count)).collect(),
        Err(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "The inbox could not be counted: {error}");
            Vec::new()
        }
    };
    let releases = read(&shared.index).iter().map(|(key, kept)| numbers(shared, key, kept)).collect();
    let lease = shared.settings.lease.as_ref().map(|lease| (lease.name().to_owned(), lease.is_held()));
    shared.metrics.set(Present { inbox, leads: shared.replica.leads(), lease, releases });
    shared.metrics.text()
}

fn numbers(shared: &Shared, key: &ReleaseKey, kept: &Kept) -> ReleaseNumbers {
    let place = vec![
        ("environment", key.environment.to_string()),
        ("namespace", key.namespace.to_string()),
        ("release", key.name.to_string()),
    ];
    let weights = kept.weights.iter().map(|(predictor, weight)| {
        let mut labels = place.clone();
        labels.push(("predictor", predictor.to_string()));
        (labels, *weight)
    });
    ReleaseNumbers {
        kind: vec![
            ("environment", key.environment.to_string()),
            ("strategy", kept.strategy.as_str().to_owned()),
            ("phase", kept.phase.as_str().to_owned()),
            ("status", observe::status(shared, key, &kept.commit()).state.as_str().to_owned()),
        ],
        weights: weights.collect(),
        changed_at: kept.changed_at.as_second(),
        place,
    }
}
