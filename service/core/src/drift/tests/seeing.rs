//! What is told by the index of what is watched.

use serde_json::{Value, json};

use crate::drift::{Difference, DriftKind, files, seen, strangers};
use crate::live::tests::world::{World, kept, release};
use crate::live::{Index, Kind, Place};
use crate::names::ReleaseKey;
use crate::release::Release;

fn key() -> ReleaseKey {
    ReleaseKey::parse("production/models/fraud").unwrap()
}

fn place(name: &str) -> Place {
    Place { namespace: "models".into(), name: name.into() }
}

fn running(strategy: &str, roles: [&str; 2]) -> Release {
    let phase = if strategy == "canary" { "running, step: 0" } else { "running" };
    release(strategy, phase, &[(roles[0], "7"), (roles[1], "8")])
}

/// What is seen of a release after its objects were changed by hand.
fn after(release: &Release, change: impl FnOnce(&mut World)) -> Vec<Difference> {
    let mut world = World::live(release);
    change(&mut world);
    let found = world.index.found(&place("fraud")).cloned().unwrap_or_default();
    seen(&key(), release, &found, world.index.application("production.models.fraud"))
}

/// Changes an object by hand.
fn edit(world: &mut World, kind: Kind, name: &str, pointer: &str, value: Value) {
    let mut object = world.objects[&(kind, name.to_owned())].clone();
    *object.pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer}")) = value;
    world.put(kind, object);
}

#[test]
fn every_strategy_that_is_live_differs_in_nothing() {
    let settled = release("single", "settled", &[("live", "7")]);
    for release in [
        settled,
        running("canary", ["stable", "candidate"]),
        running("ab", ["a", "b"]),
        running("blue-green", ["blue", "green"]),
        running("shadow", ["live", "shadow"]),
    ] {
        assert_eq!(after(&release, |_| ()), [], "{}", release.spec.strategy);
    }
}

#[test]
fn an_image_a_weight_and_a_percentage_changed_by_hand_are_seen() {
    let canary = running("canary", ["stable", "candidate"]);
    let image = "/spec/predictors/1/componentSpecs/0/spec/containers/0/image";
    let cases = [
        (
            &canary,
            Kind::Seldon,
            "fraud",
            image,
            json!("registry.example/evil:1"),
            [
                "SeldonDeployment/fraud",
                "spec.predictors[v8].componentSpecs[0].spec.containers[model].image",
                "registry.example/fraud:8",
                "registry.example/evil:1",
            ],
        ),
        (
            &canary,
            Kind::HttpRoute,
            "fraud",
            "/spec/rules/0/backendRefs/1/weight",
            json!(90),
            ["HTTPRoute/fraud", "spec.rules[main].backendRefs[fraud-v8].weight", "5", "90"],
        ),
        (
            &running("shadow", ["live", "shadow"]),
            Kind::HttpRoute,
            "fraud",
            "/spec/rules/0/filters/0/requestMirror/percent",
            json!(100),
            ["HTTPRoute/fraud", "spec.rules[main].requestMirror[fraud-v8].percent", "20", "100"],
        ),
        (
            &canary,
            Kind::Service,
            "fraud",
            "/spec/selector",
            json!({"app": "other"}),
            ["Service/fraud", "spec.selector", "the pods of v7", "others"],
        ),
    ];
    for (release, kind, name, pointer, value, words) in cases {
        let found = after(release, |world| edit(world, kind, name, pointer, value));
        assert_eq!(found.len(), 1, "{found:#?}");
        let Difference { kind, object, field, want, have, .. } = &found[0];
        assert_eq!(*kind, DriftKind::Edited);
        assert_eq!([object, field, want, have].map(String::as_str), words);
    }
}

#[test]
fn what_is_changed_on_the_operators_own_deployment_is_seen_while_the_seldon_deployment_is_as_it_was() {
    let canary = running("canary", ["stable", "candidate"]);
    let image = "/spec/template/spec/containers/0/image";
    let by_hand = |name: &str, image: &str| {
        let evil = json!("registry.example/evil:1");
        let name = name.to_owned();
        let image = image.to_owned();
        move |world: &mut World| edit(world, Kind::Deployment, &name, &image, evil.clone())
    };
    let found = after(&canary, by_hand("fraud-v8-0-model", image));
    assert_eq!(found.len(), 1, "{found:#?}");
    let Difference { kind, object, field, want, have, cure } = &found[0];
    assert_eq!(*kind, DriftKind::Edited);
    let words = ["Deployment/fraud-v8-0-model", "spec.template.spec.containers[model].image"];
    assert_eq!([object, field].map(String::as_str), words);
    assert_eq!([want, have].map(String::as_str), ["registry.example/fraud:8", "registry.example/evil:1"]);
    assert!(cure.contains("the operator puts it back"), "{cure}");
    let scaled = after(&canary, |world| edit(world, Kind::Deployment, "fraud-v8-0-model", "/spec/replicas", json!(4)));
    let [Difference { object, field, want, have, .. }] = &scaled[..] else { panic!("{scaled:#?}") };
    assert_eq!(
        [object, field, want, have].map(String::as_str),
        ["Deployment/fraud-v8-0-model", "spec.replicas", "1", "4"]
    );
    // The engine beside the model is the operator's, and a Deployment of another state is on its way.
    assert_eq!(after(&canary, by_hand("fraud-v8-0-model", "/spec/template/spec/containers/1/image")), []);
    let other = after(&canary, |world| {
        let hash = "/metadata/annotations/kmlflow.dev~1pod-hash";
        edit(world, Kind::Deployment, "fraud-v8-0-model", hash, json!("sha256:other"));
        by_hand("fraud-v8-0-model", image)(world);
    });
    assert_eq!(other, []);
}

#[test]
fn what_is_gone_what_is_left_and_what_argo_cd_alone_sees_is_told() {
    let canary = running("canary", ["stable", "candidate"]);
    let kinds =
        |found: &[Difference]| found.iter().map(|it| format!("{} {}", it.kind.as_str(), it.object)).collect::<Vec<_>>();
    let gone = after(&canary, |world| world.remove(Kind::HttpRoute, "fraud"));
    assert_eq!(kinds(&gone), ["missing HTTPRoute/fraud"]);
    let gone = after(&canary, |world| world.remove(Kind::Seldon, "fraud"));
    assert_eq!(kinds(&gone), ["missing SeldonDeployment/fraud"]);
    let left = after(&canary, |world| {
        let mut route = world.objects[&(Kind::HttpRoute, "fraud".to_owned())].clone();
        route["metadata"]["name"] = json!("fraud-preview");
        world.put(Kind::HttpRoute, route);
    });
    assert_eq!(kinds(&left), ["orphaned HTTPRoute/fraud-preview"]);
    let beyond = after(&canary, |world| world.application(json!({"sync": {"status": "OutOfSync"}})));
    assert_eq!(kinds(&beyond), ["edited Application/production.models.fraud"]);
    assert!(beyond[0].cure.contains("`kmlflow diff fraud -n models -e production`"), "{beyond:?}");
    let other = after(&canary, |world| edit(world, Kind::Seldon, "fraud", "/metadata/annotations", json!({})));
    assert_eq!(kinds(&other), ["occupied SeldonDeployment/fraud"]);
}

/// An index of the objects that are given.
fn index(objects: &[(Kind, Value)]) -> Index {
    let mut index = Index::default();
    for (kind, object) in objects {
        index.apply(kept(*kind, object).unwrap());
    }
    index
}

fn object(name: &str, release: &str) -> Value {
    let annotations = if release.is_empty() { json!({}) } else { json!({"kmlflow.dev/release": release}) };
    json!({"metadata": {"name": name, "namespace": "models", "annotations": annotations},
           "spec": {"predictors": [{"name": "default"}], "rules": []}})
}

fn application(name: &str, path: &str) -> (Kind, Value) {
    (
        Kind::Application,
        json!({"metadata": {"name": name}, "spec": {"source": {"repoURL": "http://git", "path": path}}}),
    )
}

#[test]
fn what_belongs_to_no_release_is_told_by_whose_it_says_that_it_is() {
    let index = index(&[
        (Kind::Seldon, object("fraud", "production/models/fraud")),
        (Kind::Seldon, object("by-hand", "")),
        (Kind::Seldon, object("left", "production/models/left")),
        (Kind::Service, object("left", "production/models/left")),
        (Kind::HttpRoute, object("left", "production/models/left")),
        (Kind::Seldon, object("theirs", "staging/models/theirs")),
        (Kind::Seldon, object("going", "production/models/going")),
    ]);
    let is_known = |at: &Place| *at == place("fraud") || *at == place("going");
    let found = strangers(&index, is_known, |environment| environment.as_str() == "production");
    let told: Vec<(&str, &str)> =
        found.iter().map(|it| (it.difference.kind.as_str(), it.difference.object.as_str())).collect();
    assert_eq!(
        told,
        [
            ("unmanaged", "SeldonDeployment/by-hand"),
            ("orphaned", "HTTPRoute/left"),
            ("orphaned", "SeldonDeployment/left"),
            ("orphaned", "Service/left"),
        ],
        "another service's is left to that"
    );
    assert!(found[0].difference.cure.contains("`kmlflow import by-hand -n models`"), "{found:#?}");
    assert!(found[1].difference.cure.contains("kubectl delete httproute left -n models"), "{found:#?}");
}

#[test]
fn two_applications_on_one_folder_are_told_and_two_repositories_are_not() {
    let folder = "releases/production/models/fraud";
    let mut elsewhere = application("mirror", folder).1;
    elsewhere["spec"]["source"]["repoURL"] = json!("http://other");
    let index = index(&[
        application("production.models.fraud", folder),
        application("copy", folder),
        application("other", "releases/production/models/other"),
        (Kind::Application, elsewhere),
    ]);
    let found = strangers(&index, |_| true, |_| true);
    assert_eq!(found.len(), 1, "{found:#?}");
    let Difference { kind, object, want, .. } = &found[0].difference;
    assert_eq!((*kind, object.as_str()), (DriftKind::Doubled, "Application/copy"));
    assert!(want.contains("`production.models.fraud` alone"), "{want}");
}

#[test]
fn a_file_changed_by_hand_is_told_with_both_ways_out() {
    let found = files(&key(), &["seldon.yaml".to_owned()], Some("`spec` is missing"));
    assert_eq!((found[0].kind, found[0].object.as_str()), (DriftKind::Drifted, "seldon.yaml"));
    assert!(found[0].cure.contains("--adopt") && found[0].cure.contains("--force"), "{found:?}");
    assert_eq!((found[1].object.as_str(), found[1].have.as_str()), ("release.yaml", "`spec` is missing"));
}
