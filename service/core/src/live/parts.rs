//! The parts of the definition of live: each says what is missing, where something is.

use std::collections::BTreeSet;

use super::argocd::foreign;
use super::look::Facts;
use super::objects::{Condition, Deployment, Found, Own, Parent, PodView, Route, RouteKind, SeldonState};
use super::wire::predictor_of;
use crate::names::{Digest, PredictorName};
use crate::release::{MainRule, OwnSelector, Release, Variant};

/// What a Gateway says of a route that it takes: <https://gateway-api.sigs.k8s.io/reference/spec/#routeconditiontype>.
const ACCEPTED: &str = "Accepted";

/// What Argo CD has not done yet.
pub(super) fn unsynced(release: &Release, facts: Facts<'_>) -> Option<String> {
    let Some(application) = facts.application else {
        return Some("Argo CD has no Application of it yet".to_owned());
    };
    if let Some(why) = foreign(release, application, facts.reads_another) {
        return Some(format!("the Application of its name {why}"));
    }
    if !facts.is_contained {
        return Some("Argo CD has not seen the commit yet".to_owned());
    }
    let operation = application.operation.as_ref();
    if application.is_requested || operation.is_some_and(|it| it.phase.is_running()) {
        return Some("Argo CD is applying it".to_owned());
    }
    if !application.is_synced {
        return Some("what Argo CD has applied differs from the commit".to_owned());
    }
    let finished = operation.and_then(|it| it.finished_at);
    match (finished, application.reconciled_at) {
        (Some(finished), Some(reconciled)) if reconciled < finished => {
            Some("Argo CD has not looked again since it applied it".to_owned())
        }
        _ => None,
    }
}

/// The predictors that applied routes and the own Service name, by the names of the predictors' Services.
pub(super) fn routed(release: &Release, found: &Found) -> BTreeSet<PredictorName> {
    let own = found.service.iter().filter_map(|service| match &service.own {
        Own::One(predictor) => PredictorName::parse(predictor).ok(),
        Own::All | Own::Other => None,
    });
    let backends = found.routes.iter().flat_map(|route| &route.backends);
    let named = backends.filter_map(|service| predictor_of(release.metadata.name.as_str(), service));
    named.filter_map(|predictor| PredictorName::parse(&predictor).ok()).chain(own).collect()
}

/// Where what is applied is not what the document says, whatever Argo CD says of it.
pub(super) fn differs(release: &Release, found: &Found, routed: &BTreeSet<PredictorName>) -> Option<String> {
    let Some(seldon) = &found.seldon else { return Some("the SeldonDeployment is not there yet".to_owned()) };
    if seldon.held_by.is_some() {
        return Some("the SeldonDeployment is being deleted".to_owned());
    }
    let wanted: BTreeSet<(&str, &str)> = release
        .spec
        .variants
        .iter()
        .map(|variant| (variant.predictor.as_str(), hash(release, &variant.predictor)))
        .collect();
    let there: BTreeSet<(&str, &str)> = seldon.predictors.iter().map(|it| (&*it.name, &*it.pod_hash)).collect();
    if wanted != there {
        return Some("the SeldonDeployment in the cluster is another one".to_owned());
    }
    let is_of_size = |variant: &Variant| {
        let there = seldon.predictors.iter().find(|it| *it.name == *variant.predictor.as_str());
        let there = there.and_then(|it| it.replicas);
        replicas(release, variant).is_none_or(|wanted| there.is_none_or(|there| there == wanted))
    };
    if !release.spec.variants.iter().all(is_of_size) {
        return Some("the SeldonDeployment in the cluster asks for another number of replicas".to_owned());
    }
    let traffic = release.traffic()?;
    let own = match (&traffic.own, found.service.as_ref().map(|service| &service.own)) {
        (OwnSelector::All, Some(Own::All)) => true,
        (OwnSelector::One(wanted), Some(Own::One(there))) => wanted.as_str() == &**there,
        _ => false,
    };
    if !own {
        return Some("the release's own Service in the cluster selects others".to_owned());
    }
    let named: BTreeSet<PredictorName> = traffic.named().into_iter().cloned().collect();
    let main = main_route(release, found);
    let is_by_own = main.is_some_and(|route| route.backends.iter().any(|it| **it == *release.metadata.name.as_str()));
    let is_right = named == *routed && is_by_own == matches!(traffic.main, MainRule::Own);
    (!is_right).then(|| "the route in the cluster names others".to_owned())
}

/// What is not ready of the predictors.
pub(super) fn unready(release: &Release, found: &Found) -> Option<String> {
    release.spec.variants.iter().find_map(|variant| {
        let why = not_ready(release, found, &variant.predictor)?;
        Some(format!("{} is not ready: {why}", variant.predictor))
    })
}

/// Why a predictor is not ready; nothing where it is.
pub(super) fn not_ready(release: &Release, found: &Found, predictor: &PredictorName) -> Option<String> {
    let hash = hash(release, predictor);
    let of = |it: &&Deployment| *it.predictor == *predictor.as_str();
    let Some(deployment) = found.deployments.iter().find(|it| of(it) && *it.pod_hash == *hash && !hash.is_empty())
    else {
        return Some(match found.deployments.iter().any(|it| of(&it)) {
            true => "its Deployment is of another state".to_owned(),
            false => "the operator has made no Deployment yet".to_owned(),
        });
    };
    let Deployment { is_observed, wanted, replicas: there, updated, available, .. } = deployment;
    if !is_observed {
        return Some("its Deployment has changed just now".to_owned());
    }
    if *wanted == 0 {
        return Some("its Deployment is scaled to nothing".to_owned());
    }
    let variant = release.spec.variants.iter().find(|variant| variant.predictor == *predictor);
    if let Some(asked) = variant.and_then(|variant| replicas(release, variant)).filter(|asked| asked != wanted) {
        return Some(format!("its Deployment is scaled to {wanted} and not to {asked}"));
    }
    let is_whole = there == wanted && updated == wanted && available == wanted;
    (!is_whole).then(|| format!("{} of {wanted} replicas are available", (*available).min(*updated)))
}

/// The pods that the document asks for, where nothing scales them.
pub fn replicas(release: &Release, variant: &Variant) -> Option<u32> {
    let serving = release.serving_of(variant);
    serving.autoscaling.is_none().then(|| u32::from(serving.replicas.unwrap_or(1)))
}

/// A predictor that the commit does not have, and that has a Deployment, or a pod that serves: once its Deployment is deleted it takes a
/// moment until its pods are told to end, and until then the own Service reaches them.
pub(super) fn left_over(release: &Release, found: &Found) -> Option<String> {
    let is_wanted = |it: &str| release.spec.variants.iter().any(|variant| variant.predictor.as_str() == it);
    if let Some(left) = found.deployments.iter().find(|it| !is_wanted(&it.predictor)) {
        return Some(format!("the Deployment of {} is still there", left.predictor));
    }
    let serves = |it: &&PodView| it.is_ready && !it.is_deleting && !is_wanted(&it.predictor);
    let left = found.pods.iter().find(serves)?;
    Some(format!("the pod `{}` of {} still serves", left.name, left.predictor))
}

/// What the operator says of the SeldonDeployment.
pub(super) fn unavailable(found: &Found) -> Option<String> {
    let word = match found.seldon.as_ref().map(|seldon| seldon.state) {
        Some(SeldonState::Available) => return None,
        Some(SeldonState::Creating) => "Creating",
        Some(SeldonState::Failed) => "Failed",
        Some(SeldonState::Silent) | None => {
            return Some("the operator says nothing of the SeldonDeployment".to_owned());
        }
    };
    Some(format!("the operator says that the SeldonDeployment is `{word}`"))
}

/// What our Gateway has not accepted.
pub(super) fn unrouted(release: &Release, found: &Found) -> Option<String> {
    wanted_routes(release).into_iter().find_map(|(kind, name)| {
        let Some(route) = found.routes.iter().find(|it| it.kind == kind && *it.name == *name) else {
            return Some(format!("the route `{name}` is not there yet"));
        };
        unaccepted(release, route).map(|why| format!("the route `{name}` is not accepted: {why}"))
    })
}

/// Why our Gateway does not take a route; nothing where it does.
pub(super) fn unaccepted(release: &Release, route: &Route) -> Option<String> {
    let gateway = &release.spec.target.gateway;
    let Some(parent) = parent(release, route) else {
        return Some(format!("the Gateway `{}/{}` says nothing of it", gateway.namespace, gateway.name));
    };
    let condition = |kind: &str| parent.conditions.iter().find(|it| *it.condition.kind == *kind);
    let words = |it: &Condition| match &*it.message {
        "" => it.reason.to_string(),
        message => message.to_owned(),
    };
    for kind in [ACCEPTED, "ResolvedRefs"] {
        match condition(kind) {
            Some(it) if it.generation < route.generation => {
                return Some("the Gateway has not looked at it since".to_owned());
            }
            Some(it) if it.condition.is_true => {}
            Some(it) => return Some(words(&it.condition)),
            None => return Some(format!("the Gateway does not say `{kind}` yet")),
        }
    }
    let without = condition("BackendsAvailable").filter(|it| !it.condition.is_true)?;
    Some(words(&without.condition))
}

/// Whether our Gateway has looked at a route as it is. One that it never said anything of is none that it sends by.
pub(super) fn is_followed(release: &Release, route: &Route) -> bool {
    let conditions = parent(release, route).into_iter().flat_map(|parent| &parent.conditions);
    conditions.filter(|it| *it.condition.kind == *ACCEPTED).all(|it| it.generation >= route.generation)
}

/// What our Gateway says of a route.
fn parent<'a>(release: &Release, route: &'a Route) -> Option<&'a Parent> {
    let gateway = &release.spec.target.gateway;
    route.parents.iter().find(|it| *it.namespace == *gateway.namespace && *it.name == *gateway.name)
}

/// The routes that the render writes.
pub fn wanted_routes(release: &Release) -> Vec<(RouteKind, String)> {
    let name = &release.metadata.name;
    let mut routes = vec![(RouteKind::Http, name.to_string()), (RouteKind::Grpc, format!("{name}-grpc"))];
    if release.traffic().is_some_and(|traffic| traffic.preview.is_some()) {
        routes.push((RouteKind::Http, format!("{name}-preview")));
    }
    routes
}

fn main_route<'a>(release: &Release, found: &'a Found) -> Option<&'a Route> {
    found.routes.iter().find(|it| it.kind == RouteKind::Http && *it.name == *release.metadata.name.as_str())
}

/// The digest of all that restarts a predictor's pods, as it was rendered; empty where it was not.
pub(super) fn hash<'a>(release: &'a Release, predictor: &PredictorName) -> &'a str {
    release.rendered.pods.get(predictor).map_or("", Digest::as_str)
}
