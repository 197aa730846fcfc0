//! Rendered documents against objects as an API server gives them back.

use serde_json::{Value, json};

use crate::drift::{Difference, DriftKind, Live, ObjectName, compare, documents, held_against};
use crate::live::tests::world::release;
use crate::names::ReleaseKey;
use crate::render::{Templates, render};

fn key() -> ReleaseKey {
    ReleaseKey::parse("production/models/fraud").unwrap()
}

/// What is rendered of a canary at its first step.
fn rendered() -> Vec<Value> {
    let release = release("canary", "running, step: 0", &[("stable", "7"), ("candidate", "8")]);
    let manifests = render(&release, &Templates::built_in()).unwrap();
    documents(manifests.files.iter().map(|(name, text)| (name.as_str(), text.as_str())))
}

/// The cluster as the documents say, with what servers and operators add.
fn applied(documents: &[Value]) -> Live {
    let mut live = Live::default();
    for document in documents {
        let mut object = document.clone();
        object["metadata"]["uid"] = json!("3f");
        object["metadata"]["generation"] = json!(4);
        object["metadata"]["annotations"]["argocd.argoproj.io/tracking-id"] = json!("x");
        object["status"] = json!({"state": "Available"});
        match object["kind"].as_str().unwrap() {
            "Service" => {
                object["spec"]["clusterIP"] = json!("10.0.0.1");
                object["spec"]["ports"][0]["nodePort"] = json!(0);
            }
            "HTTPRoute" => object["spec"]["rules"][0]["matches"][0]["headers"] = json!([]),
            "SeldonDeployment" => {
                let container = &mut object["spec"]["predictors"][0]["componentSpecs"][0]["spec"]["containers"][0];
                container["resources"]["requests"]["cpu"] = json!("0.1");
                container["terminationMessagePath"] = json!("/dev/termination-log");
            }
            _ => {}
        }
        let name = ObjectName::of(&object);
        if name.read_as().is_some() {
            live.objects.insert(name, Some(object));
        }
    }
    live.application = Some(json!({
        "metadata": {"name": "production.models.fraud"},
        "spec": {"source": {"repoURL": "http://git", "path": "releases/production/models/fraud"}},
        "status": {"sync": {"status": "Synced"}, "resources": [{"kind": "ConfigMap", "name": "fraud-dashboard", "status": "Synced"}]},
    }));
    live
}

fn object<'l>(live: &'l mut Live, kind: &str, name: &str) -> &'l mut Option<Value> {
    live.objects.get_mut(&ObjectName { kind: kind.to_owned(), name: name.to_owned() }).unwrap()
}

/// What is found after a change by hand, in short.
fn found(change: impl FnOnce(&mut Live)) -> Vec<(DriftKind, String, String, String, String)> {
    let documents = rendered();
    let mut live = applied(&documents);
    change(&mut live);
    let short = |it: Difference| {
        assert!(!it.cure.is_empty());
        (it.kind, it.object, it.field, it.want, it.have)
    };
    compare(&key(), &documents, &live).into_iter().map(short).collect()
}

fn is(kind: DriftKind, words: [&str; 4]) -> Vec<(DriftKind, String, String, String, String)> {
    let [object, field, want, have] = words.map(ToOwned::to_owned);
    vec![(kind, object, field, want, have)]
}

#[test]
fn what_servers_and_operators_add_is_no_difference() {
    assert_eq!(found(|_| ()), []);
}

#[test]
fn what_was_changed_by_hand_is_named_by_its_field() {
    let seldon = |live: &mut Live, path: &str, value: Value| {
        *object(live, "SeldonDeployment", "fraud").as_mut().unwrap().pointer_mut(path).unwrap() = value;
    };
    let image = found(|live| {
        seldon(live, "/spec/predictors/0/componentSpecs/0/spec/containers/0/image", json!("registry.example/evil:1"));
    });
    let field = "spec.predictors[v7].componentSpecs[0].spec.containers[model].image";
    let want = ["SeldonDeployment/fraud", field, "registry.example/fraud:7", "registry.example/evil:1"];
    assert_eq!(image, is(DriftKind::Edited, want));
    let weight = found(|live| {
        *object(live, "HTTPRoute", "fraud")
            .as_mut()
            .unwrap()
            .pointer_mut("/spec/rules/0/backendRefs/1/weight")
            .unwrap() = json!(90);
    });
    let field = "spec.rules[0].backendRefs[fraud-v8].weight";
    assert_eq!(weight, is(DriftKind::Edited, ["HTTPRoute/fraud", field, "5", "90"]));
    let memory = found(|live| {
        seldon(live, "/spec/predictors/1/svcOrchSpec/resources/limits/memory", json!("1Gi"));
    });
    let field = "spec.predictors[v8].svcOrchSpec.resources.limits.memory";
    assert_eq!(memory, is(DriftKind::Edited, ["SeldonDeployment/fraud", field, "256Mi", "1Gi"]));
}

#[test]
fn what_is_taken_out_or_put_in_is_named() {
    let gone = found(|live| *object(live, "HTTPRoute", "fraud") = None);
    assert_eq!(gone, is(DriftKind::Missing, ["HTTPRoute/fraud", "", "it is there", "it is not there"]));
    let less = found(|live| {
        let rule = &mut object(live, "HTTPRoute", "fraud").as_mut().unwrap()["spec"]["rules"][0];
        rule["backendRefs"].as_array_mut().unwrap().remove(1);
    });
    let field = "spec.rules[0].backendRefs[fraud-v8]";
    assert_eq!(less, is(DriftKind::Edited, ["HTTPRoute/fraud", field, "there, weight 5", "absent"]));
    let more = found(|live| {
        let spec = &mut object(live, "SeldonDeployment", "fraud").as_mut().unwrap()["spec"];
        spec["predictors"].as_array_mut().unwrap().push(json!({"name": "miner", "replicas": 3}));
    });
    assert_eq!(more, is(DriftKind::Edited, ["SeldonDeployment/fraud", "spec.predictors[miner]", "absent", "there"]));
    let nobody = found(|live| {
        object(live, "Service", "fraud").as_mut().unwrap()["spec"]["selector"]["never"] = json!("there");
    });
    assert_eq!(nobody, is(DriftKind::Edited, ["Service/fraud", "spec.selector.never", "absent", "there"]));
}

#[test]
fn what_is_not_read_is_told_in_argo_cds_words() {
    let unsynced =
        |resource: Value| found(|live| live.application.as_mut().unwrap()["status"]["resources"] = json!([resource]));
    let edited = unsynced(json!({"kind": "ConfigMap", "name": "fraud-dashboard", "status": "OutOfSync"}));
    assert_eq!(
        edited,
        is(DriftKind::Edited, ["ConfigMap/fraud-dashboard", "", "as in Git", "Argo CD says `OutOfSync`"])
    );
    let gone =
        json!({"kind": "ConfigMap", "name": "fraud-dashboard", "status": "OutOfSync", "health": {"status": "Missing"}});
    assert!(unsynced(gone)[0].4.contains("it is missing"));
    // What is read is not told by it: its word may be older.
    assert_eq!(unsynced(json!({"kind": "Service", "name": "fraud", "status": "OutOfSync"})), []);
}

#[test]
fn an_object_and_an_application_of_somebody_else_are_told_as_such() {
    let other = found(|live| {
        let object = object(live, "SeldonDeployment", "fraud").as_mut().unwrap();
        *object = json!({"metadata": {"name": "fraud", "annotations": {}}, "spec": {}});
    });
    let field = "metadata.annotations[kmlflow.dev/release]";
    let words = ["SeldonDeployment/fraud", field, "production/models/fraud", "no release's"];
    assert_eq!(other, is(DriftKind::Occupied, words));
    let foreign = found(|live| live.application.as_mut().unwrap()["spec"]["source"]["path"] = json!("elsewhere"));
    let words =
        ["Application/production.models.fraud", "spec.source.path", "releases/production/models/fraud", "elsewhere"];
    assert_eq!(foreign, is(DriftKind::Occupied, words));
    assert_eq!(found(|live| live.application = None)[0].0, DriftKind::Missing);
}

#[test]
fn values_are_compared_by_what_they_mean() {
    for (want, have, fields) in [
        (json!({"requests": {"cpu": "100m"}}), json!({"requests": {"cpu": "0.1"}}), 0),
        (json!({"limits": {"cpu": "1"}}), json!({"limits": {"cpu": 1}}), 0),
        (json!({"timeout": "100m"}), json!({"timeout": "0.1"}), 1),
        (json!({"weight": 5}), json!({"weight": 5.0}), 0),
        (json!({"group": "", "flag": false, "list": [], "map": {"a": ""}}), json!({}), 0),
        (json!({"weight": 0}), json!({"weight": 1}), 1),
        (json!({"items": [{"a": 1}, {"a": 2}]}), json!({"items": [{"a": 1, "b": 2}, {"a": 2}]}), 0),
        (json!({"items": [{"a": 1}]}), json!({"items": [{"a": 1}, {"a": 2}]}), 1),
        (json!({"items": [{"name": "x"}, {"name": "y"}]}), json!({"items": [{"name": "y"}, {"name": "x"}]}), 0),
        (json!({"hosts": ["a"]}), json!({"hosts": ["b"]}), 1),
    ] {
        assert_eq!(held_against(&want, Some(&have), "at").len(), fields, "{want} {have}");
    }
}

#[test]
fn what_stands_in_an_environment_is_never_shown_and_no_text_is_long() {
    let env = |value: &str| json!({"env": [{"name": "TOKEN", "value": value}]});
    let more = json!({"env": [{"name": "TOKEN", "value": "a"}, {"name": "NEW", "value": "hunter2"}]});
    for have in [env("hunter2"), more] {
        let fields = held_against(&env("a"), Some(&have), "spec.containers[model]");
        assert_eq!(fields.len(), 1, "{fields:?}");
        assert!(!format!("{fields:?}").contains("hunter2") && fields[0].path.contains(".env["), "{fields:?}");
    }
    let long = held_against(&json!({"a": "x"}), Some(&json!({"a": format!("\u{1b}[2J{}", "y".repeat(1_000))})), "");
    assert!(long[0].have.chars().count() <= 121 && !long[0].have.contains('\u{1b}'), "{long:?}");
}
