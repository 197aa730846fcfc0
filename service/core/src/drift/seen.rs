//! One release by what is watched of it: nothing is read for that.

use super::subset::Field;
use super::{About, Difference, DriftKind};
use crate::live::{Application, Deployment, Found, Own, Predictor, Route, RouteKind, replicas, wanted_routes};
use crate::names::ReleaseKey;
use crate::release::{MainRule, OwnSelector, RELEASE_FILE, Release, Variant};

/// What differs between a release and what is seen of it.
///
/// Of the objects as little is known as is watched: images, artifacts, replicas, whom
/// Service and routes reach and with which weight. Where Argo CD finds more, its word stands for it.
pub fn seen(key: &ReleaseKey, release: &Release, found: &Found, application: Option<&Application>) -> Vec<Difference> {
    let about = About { key };
    let mut differences: Vec<Difference> = about.application(application).into_iter().collect();
    differences.extend(about.seldon(release, found));
    differences.extend(pods(key, release, found));
    differences.extend(about.service(release, found));
    differences.extend(about.routes(release, found));
    if differences.is_empty() {
        differences.extend(application.and_then(|application| about.unsynced(application)));
    }
    differences
}

/// What was changed of the operator's own Deployments, which no document is about: the SeldonDeployment is as Git wants it all the while.
pub fn pods(key: &ReleaseKey, release: &Release, found: &Found) -> Vec<Difference> {
    let about = About { key };
    let of = |variant: &Variant| {
        // One of another state is on its way to this one.
        let hash = release.rendered.pods.get(&variant.predictor)?;
        let is_it = |it: &&Deployment| *it.predictor == *variant.predictor.as_str() && *it.pod_hash == *hash.as_str();
        let deployment = found.deployments.iter().find(is_it)?;
        let image = variant.artifact.image.as_ref().map(|want| (want, &deployment.image));
        // What names none was not read as a whole.
        let image = image.filter(|(want, have)| !have.is_empty() && ***have != ***want);
        let image = image.map(|(want, have)| differs("spec.template.spec.containers[model].image", want, have));
        let size = replicas(release, variant).filter(|want| *want != deployment.wanted);
        let size = size.map(|want| differs("spec.replicas", &want.to_string(), &deployment.wanted.to_string()));
        Some(image.into_iter().chain(size).map(move |field| {
            let cure = format!(
                "the operator puts it back once it looks again: `kubectl annotate seldondeployment {} -n {} looked-at=again`",
                key.name, release.spec.target.namespace
            );
            Difference { cure, ..about.edited(&format!("Deployment/{}", deployment.name), field) }
        }))
    };
    release.spec.variants.iter().filter_map(of).flatten().collect()
}

/// The files of a release that were changed by hand in Git, and what is wrong with its `release.yaml`.
pub fn files(key: &ReleaseKey, drifted: &[String], invalid: Option<&str>) -> Vec<Difference> {
    let options = About { key }.options();
    let difference = |file: &String| Difference {
        kind: DriftKind::Drifted,
        object: file.clone(),
        field: String::new(),
        want: "as `release.yaml` renders it".to_owned(),
        have: "changed by hand in Git".to_owned(),
        cure: format!("`kmlflow release {options} … --adopt` takes it over, `--force` renders over it"),
    };
    let invalid = invalid.map(|why| Difference {
        kind: DriftKind::Drifted,
        object: RELEASE_FILE.to_owned(),
        field: String::new(),
        want: "a document that can be rendered".to_owned(),
        have: why.to_owned(),
        cure: "correct it by a push; the files that were rendered before stay in force".to_owned(),
    });
    drifted.iter().map(difference).chain(invalid).collect()
}

impl About<'_> {
    fn seldon(self, release: &Release, found: &Found) -> Vec<Difference> {
        let object = format!("SeldonDeployment/{}", self.key.name);
        let Some(seldon) = &found.seldon else { return vec![self.missing(&object)] };
        if *seldon.release != *self.key.to_string() {
            let owner = if seldon.release.is_empty() { "no release's".to_owned() } else { seldon.release.to_string() };
            let field = "metadata.annotations[kmlflow.dev/release]";
            return vec![self.occupied(&object, (field, self.key.to_string(), owner))];
        }
        let there = |name: &str| seldon.predictors.iter().find(|it| *it.name == *name);
        let wanted = release.spec.variants.iter().flat_map(|variant| {
            let path = format!("spec.predictors[{}]", variant.predictor);
            match there(variant.predictor.as_str()) {
                Some(predictor) => fields(release, variant, predictor, &path),
                None => vec![differs(&path, "there", "absent")],
            }
        });
        let is_wanted =
            |it: &&Predictor| release.spec.variants.iter().any(|variant| *variant.predictor.as_str() == *it.name);
        let more = seldon.predictors.iter().filter(|it| !is_wanted(it));
        let more = more.map(|it| differs(&format!("spec.predictors[{}]", it.name), "absent", "there"));
        wanted.chain(more).map(|field| self.edited(&object, field)).collect()
    }

    fn service(self, release: &Release, found: &Found) -> Option<Difference> {
        let object = format!("Service/{}", self.key.name);
        let Some(service) = &found.service else { return Some(self.missing(&object)) };
        let name = |predictor: &str| format!("the pods of {predictor}");
        let want = match release.traffic()?.own {
            OwnSelector::All => "every pod of the release".to_owned(),
            OwnSelector::One(predictor) => name(predictor.as_str()),
        };
        let have = match &service.own {
            Own::All => "every pod of the release".to_owned(),
            Own::One(predictor) => name(predictor),
            Own::Other => "others".to_owned(),
        };
        (want != have).then(|| self.edited(&object, Field { path: "spec.selector".to_owned(), want, have }))
    }

    fn routes(self, release: &Release, found: &Found) -> Vec<Difference> {
        let wanted = wanted_routes(release);
        let mut differences = Vec::new();
        for (kind, name) in &wanted {
            let object = format!("{}/{name}", of_kind(*kind));
            match found.routes.iter().find(|it| it.kind == *kind && *it.name == **name) {
                None => differences.push(self.missing(&object)),
                Some(route) if !name.ends_with("-preview") => {
                    differences.extend(shares(release, route).into_iter().map(|field| self.edited(&object, field)));
                }
                Some(_) => {}
            }
        }
        let is_wanted = |it: &&Route| wanted.iter().any(|(kind, name)| it.kind == *kind && *it.name == **name);
        let more = found.routes.iter().filter(|it| !is_wanted(it));
        differences.extend(more.map(|it| self.left(&format!("{}/{}", of_kind(it.kind), it.name))));
        differences
    }

    /// Argo CD finds a difference that is not seen here.
    fn unsynced(self, application: &Application) -> Option<Difference> {
        let is_running = application.operation.as_ref().is_some_and(|it| it.phase.is_running());
        if application.is_synced || application.is_requested || is_running {
            return None;
        }
        let field = differs("status.sync.status", "Synced", "OutOfSync");
        let cure = format!("`kmlflow diff {}` names what differs; Argo CD puts it back where it heals", self.options());
        Some(Difference { cure, ..self.edited(&format!("Application/{}", application.name), field) })
    }
}

/// What differs of a predictor.
fn fields(release: &Release, variant: &Variant, predictor: &Predictor, path: &str) -> Vec<Field> {
    let mut fields = Vec::new();
    let mut hold = |part: &str, want: &str, have: &str| {
        if want != have {
            fields.push(differs(&format!("{path}{part}"), want, have));
        }
    };
    match (&variant.artifact.image, &variant.artifact.model_uri) {
        (Some(image), _) => hold(".componentSpecs[0].spec.containers[model].image", image, &predictor.image),
        (None, Some(uri)) => hold(".graph.modelUri", uri, &predictor.model_uri),
        (None, None) => {}
    }
    let serving = release.serving_of(variant);
    if let (None, Some(want), Some(have)) = (&serving.autoscaling, serving.replicas, predictor.replicas) {
        hold(".replicas", &want.to_string(), &have.to_string());
    }
    fields
}

/// What differs of the rule that takes what no rule before it does.
fn shares(release: &Release, route: &Route) -> Vec<Field> {
    let Some(traffic) = release.traffic() else { return Vec::new() };
    let service = |predictor: &str| format!("{}-{predictor}", release.metadata.name);
    let want: Vec<(String, u32)> = match &traffic.main {
        MainRule::Own => vec![(release.metadata.name.to_string(), 0)],
        MainRule::Split(split) => split.iter().map(|(it, weight)| (service(it.as_str()), u32::from(*weight))).collect(),
    };
    // The share of the only one says nothing.
    let is_alone = want.len() == 1 && route.shares.len() == 1;
    let mut fields = hold_shares("backendRefs", ("weight", !is_alone), &want, &route.shares);
    if route.kind == RouteKind::Http {
        let mirror = traffic.mirror.iter().map(|(it, percent)| (service(it.as_str()), u32::from(*percent)));
        fields.extend(hold_shares("requestMirror", ("percent", true), &mirror.collect::<Vec<_>>(), &route.mirrors));
    }
    fields
}

fn hold_shares(
    part: &str,
    (share, counts): (&str, bool),
    want: &[(String, u32)],
    have: &[(Box<str>, u32)],
) -> Vec<Field> {
    let path = |name: &str| format!("spec.rules[main].{part}[{name}]");
    let mut fields = Vec::new();
    for (name, wanted) in want {
        match have.iter().find(|(other, _)| **other == **name) {
            None => fields.push(differs(&path(name), "there", "absent")),
            Some((_, there)) if counts && there != wanted => {
                fields.push(differs(&format!("{}.{share}", path(name)), &wanted.to_string(), &there.to_string()));
            }
            Some(_) => {}
        }
    }
    let more = have.iter().filter(|(name, _)| want.iter().all(|(other, _)| **other != **name));
    fields.extend(more.map(|(name, there)| differs(&path(name), "absent", &format!("there, {share} {there}"))));
    fields
}

fn differs(path: &str, want: &str, have: &str) -> Field {
    Field { path: path.to_owned(), want: want.to_owned(), have: crate::names::shown(have) }
}

fn of_kind(kind: RouteKind) -> &'static str {
    match kind {
        RouteKind::Http => "HTTPRoute",
        RouteKind::Grpc => "GRPCRoute",
    }
}
