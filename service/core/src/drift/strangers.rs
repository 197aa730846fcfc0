//! What is there and belongs to no release of Git.

use std::collections::BTreeMap;

use super::{Difference, DriftKind};
use crate::live::{Found, Index, Place, RouteKind};
use crate::names::EnvironmentName;

/// Something that no release of Git wants.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stranger {
    /// Where it is: the cluster's namespace and the name that it goes by there.
    pub place: Place,
    pub difference: Difference,
}

/// Everything that is there and that no release of Git wants.
///
/// `is_known` says whether some release belongs at a place, or is just leaving it;
/// `is_ours` whether an environment is one of this service: another service may release into the same cluster.
pub fn strangers(
    index: &Index,
    is_known: impl Fn(&Place) -> bool,
    is_ours: impl Fn(&EnvironmentName) -> bool,
) -> Vec<Stranger> {
    let mut strangers: Vec<Stranger> = index
        .places()
        .filter(|(place, _)| !is_known(place))
        .flat_map(|(place, found)| at(place, found, &is_ours))
        .chain(doubled(index))
        .collect();
    strangers.sort();
    strangers
}

fn at(place: &Place, found: &Found, is_ours: &impl Fn(&EnvironmentName) -> bool) -> Vec<Stranger> {
    let Place { namespace, name } = place;
    let stranger = |kind: DriftKind, object: String, have: String, cure: String| {
        let difference = Difference {
            kind,
            object,
            field: String::new(),
            want: "no release of Git wants it".to_owned(),
            have,
            cure,
        };
        Stranger { place: place.clone(), difference }
    };
    // What says that it is another service's is left to that.
    let is_orphan = |release: &str| match release.split('/').next().map(EnvironmentName::parse) {
        Some(Ok(environment)) => is_ours(&environment),
        _ => false,
    };
    let orphan = |kind: &str, object: &str, release: &str| {
        let cure = format!(
            "`kubectl delete {} {object} -n {namespace}` where no other service made it, or release `{release}` again",
            kind.to_lowercase()
        );
        let have = format!("it says that it is of `{}`", crate::names::shown(release));
        stranger(DriftKind::Orphaned, format!("{kind}/{object}"), have, cure)
    };
    let mut strangers = Vec::new();
    match &found.seldon {
        Some(seldon) if is_orphan(&seldon.release) => strangers.push(orphan("SeldonDeployment", name, &seldon.release)),
        Some(seldon) if seldon.release.is_empty() => {
            let cure =
                format!("it is left alone; `kmlflow import {name} -n {namespace}` shows what release it would be");
            let have = match seldon.predictors.len() {
                1 => "it runs with one predictor".to_owned(),
                number => format!("it runs with {number} predictors"),
            };
            strangers.push(stranger(DriftKind::Unmanaged, format!("SeldonDeployment/{name}"), have, cure));
        }
        _ => {}
    }
    let services = found.service.iter().filter(|it| is_orphan(&it.release));
    strangers.extend(services.map(|it| orphan("Service", name, &it.release)));
    let routes = found.routes.iter().filter(|it| is_orphan(&it.release));
    strangers.extend(routes.map(|it| {
        let kind = if it.kind == RouteKind::Grpc { "GRPCRoute" } else { "HTTPRoute" };
        orphan(kind, &it.name, &it.release)
    }));
    strangers
}

/// Folders that more than one Application applies.
fn doubled(index: &Index) -> Vec<Stranger> {
    let mut folders: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    for application in index.applications().filter(|it| it.path.starts_with("releases/")) {
        folders.entry((&application.repository, &application.path)).or_default().push(&application.name);
    }
    let twice = folders.into_iter().filter(|(_, names)| names.len() > 1);
    twice
        .map(|((_, path), mut names)| {
            names.sort_unstable();
            let place = Place { namespace: "".into(), name: path.into() };
            let wanted = path.strip_prefix("releases/").unwrap_or(path).replace('/', ".");
            let others: Vec<&str> = names.iter().copied().filter(|name| *name != wanted).collect();
            let difference = Difference {
                kind: DriftKind::Doubled,
                object: format!("Application/{}", others.first().unwrap_or(&"")),
                field: "spec.source.path".to_owned(),
                want: format!("`{wanted}` alone applies the folder"),
                have: format!("it is applied by `{}`", names.join("`, `")),
                cure: "delete the Application that no ApplicationSet of ours made, without its objects: \
                       `argocd app delete NAME --cascade=false`"
                    .to_owned(),
            };
            Stranger { place, difference }
        })
        .collect()
}
