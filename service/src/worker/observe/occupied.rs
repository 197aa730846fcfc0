//! What has the place of a new release in its cluster: Argo CD would write over it, whoever made it.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::Value;

use super::watched;
use crate::event::Requested;
use crate::live::{Found, Kind, Place};
use crate::names::ReleaseKey;
use crate::plan::{self, Occupant};
use crate::release::{Intent, Target};
use crate::worker::shared::Shared;

/// How long a caller waits for the cluster: what it does not say in time is found out by the sweep.
const WITHIN: Duration = Duration::from_secs(2);

/// What is seen in the place of a release; nothing where it is free, or nothing is watched or seen now.
pub(in crate::worker) fn occupant(shared: &Shared, key: &ReleaseKey, target: &Target) -> Option<Occupant> {
    let (clusters, cluster) = watched(shared, &key.environment)?;
    let place = Place { namespace: target.namespace.as_str().into(), name: key.name.as_str().into() };
    clusters.see(cluster, |index| match index.blindness(&Kind::OF_RELEASES) {
        Some(_) => None,
        None => index.found(&place).and_then(|found| of(found, key)),
    })?
}

/// Of what is watched: every SeldonDeployment, and Services and routes of releases.
fn of(found: &Found, key: &ReleaseKey) -> Option<Occupant> {
    let name = &key.name;
    let seldon = found.seldon.iter().map(|it| (format!("SeldonDeployment/{name}"), &*it.release));
    let service = found.service.iter().map(|it| (format!("Service/{name}"), &*it.release));
    seldon.chain(service).find_map(|(object, owner)| whose(object, owner, key))
}

fn whose(object: String, owner: &str, key: &ReleaseKey) -> Option<Occupant> {
    (owner != key.to_string())
        .then(|| Occupant { object, owner: (!owner.is_empty()).then(|| crate::names::shown(owner)) })
}

/// Asks the cluster for what is not watched: the Service and the routes that a new release would take the names of, whoever made them.
pub(in crate::worker) async fn asked_occupant(shared: &Shared, request: &Requested) -> Option<Occupant> {
    let Requested { key, intent: Intent::Put(_), guard, .. } = request else { return None };
    if guard.adopt || guard.force || shared.entry(key).is_some() {
        return None;
    }
    let (clusters, cluster) = watched(shared, &key.environment)?;
    let target = plan::target(key, &shared.environment(&key.environment).ok()?.target).ok()?;
    let names = [
        (Kind::Service, key.name.to_string()),
        (Kind::HttpRoute, key.name.to_string()),
        (Kind::GrpcRoute, format!("{}-grpc", key.name)),
    ];
    let reading = join_all(names.into_iter().map(|(kind, name)| {
        let namespace = target.namespace.as_str();
        async move {
            let object = clusters.object(cluster, kind, (namespace, &name)).await.ok()??;
            let owner = release_of(&object).to_owned();
            whose(format!("{}/{name}", kind.as_str()), &owner, key)
        }
    }));
    let read = tokio::time::timeout(WITHIN, reading).await.ok()?;
    read.into_iter().flatten().next()
}

/// The release that an object says it belongs to; empty where it says none.
fn release_of(object: &Value) -> &str {
    object["metadata"]["annotations"][crate::drift::RELEASE_ANNOTATION].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::{Own, SeldonDeployment, SeldonState, Service};

    fn seldon(release: &str) -> SeldonDeployment {
        let (description, predictors) = ("".into(), Box::from([]));
        SeldonDeployment {
            state: SeldonState::Available,
            description,
            predictors,
            release: release.into(),
            held_by: None,
        }
    }

    #[test]
    fn what_another_made_is_in_the_way_and_what_the_release_left_is_not() {
        let key = ReleaseKey::parse("production/models/fraud").unwrap();
        let with = |release: &str| Found { seldon: Some(seldon(release)), ..Found::default() };
        let object = "SeldonDeployment/fraud".to_owned();
        assert_eq!(of(&with(""), &key), Some(Occupant { object: object.clone(), owner: None }));
        let other = Some("staging/models/fraud".to_owned());
        assert_eq!(of(&with("staging/models/fraud"), &key), Some(Occupant { object, owner: other }));
        assert_eq!(of(&with("production/models/fraud"), &key), None);
        assert_eq!(of(&Found::default(), &key), None);
        let service = Service { own: Own::Other, release: "".into() };
        let found = Found { service: Some(service), ..with("production/models/fraud") };
        assert_eq!(of(&found, &key).unwrap().object, "Service/fraud");
    }
}
