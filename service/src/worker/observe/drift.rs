//! Where Git and the clusters differ: of one release by reading its objects, of all by what is watched.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;
use std::sync::Arc;

use futures_util::future::join_all;
use serde_json::Value;

use super::{Shared, cannot_be_seen, lock, read, status, watched};
use crate::drift::{Difference, Live, ObjectName, Stranger, compare, documents, files, pods, seen, strangers};
use crate::live::{Place, application_name};
use crate::names::ReleaseKey;
use crate::sync::Clusters;
use crate::worker::index::Entry;
use crate::worker::read::{NO_CLUSTER, manifests};
use crate::worker::shared::not_deployed;
use crate::worker::{ClusterDiff, Drift, Fault, Status, StatusState};

/// Compares a release in Git with its objects as they are now.
pub(in crate::worker) async fn diff(shared: &Arc<Shared>, key: &ReleaseKey) -> Result<ClusterDiff, Fault> {
    let entry = shared.entry(key).ok_or_else(|| not_deployed(key))?;
    let within_git = files(key, &entry.drifted, entry.invalid.as_deref());
    let answer = |state: StatusState, reason: String, differences: Vec<Difference>| ClusterDiff {
        release: key.to_string(),
        state,
        reason,
        diff: lines(&differences),
        differences,
    };
    let unknown = |why: &str, differences: Vec<Difference>| {
        let within = match differences.len() {
            0 => "no rendered file in Git was changed by hand".to_owned(),
            number => format!("within Git {} by hand", counted(number, "file was changed", "files were changed")),
        };
        answer(StatusState::Unknown, format!("{why}; {within}"), differences)
    };
    let Some((clusters, cluster)) = watched(shared, &key.environment) else {
        return Ok(unknown(NO_CLUSTER, within_git));
    };
    let of = key.clone();
    let texts = shared.blocking(move |shared| manifests(shared, &of, None)).await?;
    let documents = documents(texts.iter().map(|(name, text)| (name.as_str(), text.as_str())));
    let live = match read_live(clusters, (cluster, &Place::of(&entry.release)), key, &documents).await {
        Ok(live) => live,
        Err(why) => return Ok(unknown(&why, within_git)),
    };
    let mut differences = within_git;
    differences.extend(compare(key, &documents, &live));
    differences.extend(live.found.iter().flat_map(|found| pods(key, &entry.release, found)));
    let Status { state, reason, .. } = status(shared, key, &entry.commit);
    let agree = match (differences.len(), state) {
        (0, _) => "Git and the cluster agree".to_owned(),
        // What is on its way differs until it has arrived.
        (number, StatusState::Syncing) => format!("{}, and it is on its way: {reason}", places(number)),
        (number, _) => places(number),
    };
    Ok(answer(state, agree, differences))
}

fn places(number: usize) -> String {
    format!("Git and the cluster differ in {}", counted(number, "place", "places"))
}

fn counted(number: usize, one: &str, more: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { more })
}

/// Reads what a release's documents are about.
async fn read_live(
    clusters: &Clusters,
    (cluster, at): (&str, &Place),
    key: &ReleaseKey,
    documents: &[Value],
) -> Result<Live, String> {
    let names = documents.iter().map(ObjectName::of).filter_map(|name| Some((name.read_as()?, name)));
    let objects = names.map(|(kind, name)| async move {
        let object = clusters.object(cluster, kind, (&at.namespace, &name.name)).await?;
        Ok::<_, String>((name, object))
    });
    let objects = join_all(objects).await.into_iter().collect::<Result<BTreeMap<_, _>, String>>()?;
    let application = clusters.application(&application_name(key)).await?;
    let found = clusters.see(cluster, |index| index.found(at).cloned()).flatten();
    Ok(Live { objects, application, found })
}

/// Differences as lines.
fn lines(differences: &[Difference]) -> String {
    let mut text = String::new();
    for Difference { object, field, want, have, .. } in differences {
        let field = if field.is_empty() { String::new() } else { format!(" {field}") };
        // Writing to a text cannot fail.
        let _ = writeln!(text, "@@ {object}{field}\n-{want}\n+{have}");
    }
    text
}

/// Where Git and the clusters differ, and what was compared to say so.
#[derive(Debug, Default)]
pub(in crate::worker) struct Drifts {
    pub(in crate::worker) drift: Vec<Drift>,
    /// Why a cluster could not be compared, one sentence each.
    pub(in crate::worker) unseen: Vec<String>,
    /// Those that were.
    pub(in crate::worker) clusters: Vec<String>,
    /// How many releases were.
    pub(in crate::worker) releases: usize,
    /// How many were left out because they are on their way.
    pub(in crate::worker) under_way: usize,
}

/// Compares every release with what is watched, and says why where that cannot be done.
pub(in crate::worker) fn drift_of_all(shared: &Shared) -> Drifts {
    let mut all = Drifts::default();
    let mut places: BTreeMap<String, HashSet<Place>> = BTreeMap::new();
    let Some(clusters) = &shared.settings.clusters else { return all };
    let environments = shared.settings.environments.values();
    let mut unseen = BTreeMap::new();
    for cluster in environments.map(|environment| environment.target.cluster.as_str()) {
        if clusters.has(cluster) {
            places.entry(cluster.to_owned()).or_default();
            unseen.extend(cannot_be_seen(clusters, cluster).map(|why| (cluster.to_owned(), why.reason)));
        }
    }
    let keys: Vec<ReleaseKey> = read(&shared.index).iter().map(|(key, _)| key.clone()).collect();
    for key in keys {
        // One after the other: the readers of the index are not kept waiting.
        let Some(entry) = shared.entry(&key) else { continue };
        let Some((_, cluster)) = watched(shared, &key.environment) else { continue };
        let at = Place::of(&entry.release);
        let mut differences = files(&key, &entry.drifted, entry.invalid.as_deref());
        let is_seen = !unseen.contains_key(cluster);
        if is_seen && has_arrived(shared, &key, &entry) {
            all.releases += 1;
            differences.extend(of_release(&key, &entry, (clusters, cluster, &at)));
        } else if is_seen {
            all.under_way += 1;
        }
        if !differences.is_empty() {
            let (cluster, place) = (cluster.to_owned(), written(&at));
            all.drift.push(Drift { release: Some(key.to_string()), cluster, place, differences });
        }
        places.entry(cluster.to_owned()).or_default().insert(at);
    }
    let going = lock(&shared.observations.going);
    let leaving: HashSet<Place> =
        going.values().filter_map(|going| going.entry.as_ref()).map(|entry| Place::of(&entry.release)).collect();
    drop(going);
    for (cluster, known) in places.iter().filter(|(cluster, _)| !unseen.contains_key(*cluster)) {
        let is_known = |at: &Place| known.contains(at) || leaving.contains(at);
        let found = clusters.see(cluster, |index| {
            strangers(index, is_known, |environment| shared.settings.environments.contains_key(environment))
        });
        all.clusters.push(cluster.clone());
        all.drift.extend(found.into_iter().flatten().map(|Stranger { place, difference }| Drift {
            release: None,
            cluster: cluster.clone(),
            place: written(&place),
            differences: vec![difference],
        }));
    }
    all.unseen = unseen.into_values().collect();
    all
}

/// Whether a release is no longer on its way.
fn has_arrived(shared: &Shared, key: &ReleaseKey, entry: &Entry) -> bool {
    let state = status(shared, key, &entry.commit).state;
    matches!(state, StatusState::Live | StatusState::Degraded | StatusState::Stalled)
}

/// What differs of a release that has arrived from what is watched of it.
fn of_release(key: &ReleaseKey, entry: &Entry, (clusters, cluster, at): (&Clusters, &str, &Place)) -> Vec<Difference> {
    let name = application_name(key);
    let application = clusters.see(clusters.hub(), |index| index.application(&name).cloned()).flatten();
    let found = clusters.see(cluster, |index| index.found(at).cloned()).flatten().unwrap_or_default();
    seen(key, &entry.release, &found, application.as_ref())
}

fn written(at: &Place) -> String {
    let Place { namespace, name } = at;
    if namespace.is_empty() { name.to_string() } else { format!("{namespace}/{name}") }
}
