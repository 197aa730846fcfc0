//! Where Git and the clusters differ: of one release by reading its objects, of all by what is watched.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;
use std::sync::Arc;

use futures_util::future::join_all;
use serde_json::Value;

use super::{Shared, lock, read, status, watched};
use crate::drift::{Difference, Live, ObjectName, Stranger, compare, documents, files, seen, strangers};
use crate::live::{Kind, Place, application_name};
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

/// Compares every release with what is watched, and says why where that cannot be done.
pub(in crate::worker) fn drift_of_all(shared: &Shared) -> (Vec<Drift>, Vec<String>) {
    let mut drift = Vec::new();
    let mut places: BTreeMap<String, HashSet<Place>> = BTreeMap::new();
    let Some(clusters) = &shared.settings.clusters else { return (drift, Vec::new()) };
    let environments = shared.settings.environments.values();
    let mut unseen = BTreeMap::new();
    for cluster in environments.map(|environment| environment.target.cluster.as_str()) {
        if clusters.has(cluster) {
            places.entry(cluster.to_owned()).or_default();
            unseen.extend(blindness(clusters, cluster).map(|why| (cluster.to_owned(), why)));
        }
    }
    let keys: Vec<ReleaseKey> = read(&shared.index).iter().map(|(key, _)| key.clone()).collect();
    for key in keys {
        // One after the other: the readers of the index are not kept waiting.
        let Some(entry) = shared.entry(&key) else { continue };
        let Some((_, cluster)) = watched(shared, &key.environment) else { continue };
        let at = Place::of(&entry.release);
        let differences = of_release(shared, &key, &entry, (clusters, cluster, &at), &unseen);
        if !differences.is_empty() {
            let (cluster, place) = (cluster.to_owned(), written(&at));
            drift.push(Drift { release: Some(key.to_string()), cluster, place, differences });
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
        drift.extend(found.into_iter().flatten().map(|Stranger { place, difference }| Drift {
            release: None,
            cluster: cluster.clone(),
            place: written(&place),
            differences: vec![difference],
        }));
    }
    (drift, unseen.into_values().collect())
}

/// What differs of a release: within Git, and, where it has arrived, from what is watched.
fn of_release(
    shared: &Shared,
    key: &ReleaseKey,
    entry: &Entry,
    (clusters, cluster, at): (&Clusters, &str, &Place),
    unseen: &BTreeMap<String, String>,
) -> Vec<Difference> {
    let mut differences = files(key, &entry.drifted, entry.invalid.as_deref());
    let has_arrived = matches!(
        status(shared, key, &entry.commit).state,
        StatusState::Live | StatusState::Degraded | StatusState::Stalled
    );
    if unseen.contains_key(cluster) || !has_arrived {
        return differences;
    }
    let name = application_name(key);
    let application = clusters.see(clusters.hub(), |index| index.application(&name).cloned()).flatten();
    let found = clusters.see(cluster, |index| index.found(at).cloned()).flatten().unwrap_or_default();
    differences.extend(seen(key, &entry.release, &found, application.as_ref()));
    differences
}

/// Why a cluster and what Argo CD says of it cannot be compared.
fn blindness(clusters: &Clusters, cluster: &str) -> Option<String> {
    let of = |cluster: &str, kinds: &[Kind]| clusters.see(cluster, |index| index.blindness(kinds)).flatten();
    let blind = of(cluster, &Kind::OF_RELEASES).or_else(|| of(clusters.hub(), &[Kind::Application]));
    blind.map(|why| why.reason)
}

fn written(at: &Place) -> String {
    let Place { namespace, name } = at;
    if namespace.is_empty() { name.to_string() } else { format!("{namespace}/{name}") }
}
