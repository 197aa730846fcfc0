//! What restarts pods, and what must not.

use super::samples::release;
use crate::names::{Digest, PredictorName};
use crate::release::{Node, Release, Serving, read_yaml};
use crate::render::{Templates, render};

fn hash(release: &Release, predictor: &str) -> Digest {
    let manifests = render(release, &Templates::built_in()).unwrap();
    let hash = manifests.pods[&PredictorName::parse(predictor).unwrap()].clone();
    assert!(manifests.files["seldon.yaml"].contains(&format!("kmlflow.dev/pod-hash: \"{hash}\"")));
    hash
}

#[test]
fn a_predictor_keeps_its_hash_in_every_state_and_place() {
    let (v7, v8) = (hash(&release("settled"), "v7"), hash(&release("leaving"), "v8"));
    assert_ne!(v7, v8);
    for state in ["entering", "canary", "ab", "blue-green", "flipped", "shadow", "leaving"] {
        assert_eq!(hash(&release(state), "v7"), v7, "{state}");
        assert_eq!(hash(&release(state), "v8"), v8, "{state}");
    }
}

#[test]
fn what_restarts_no_pod_changes_no_hash() {
    let before = hash(&release("settled"), "v7");
    let mut changed = release("settled");
    changed.spec.serving.replicas = Some(3);
    changed.spec.deadline = crate::release::Period::from_minutes(30);
    changed.spec.serving.docs_path = Some("/redoc".to_owned());
    changed.spec.target.host = "other.example".to_owned();
    changed.spec.target.links.release = None;
    changed.spec.model = crate::names::ModelName::parse("Another").unwrap();
    assert_eq!(hash(&changed, "v7"), before);
}

#[test]
fn what_restarts_a_pod_changes_its_hash() {
    let before = hash(&release("settled"), "v7");
    let changes: [fn(&mut Serving); 6] = [
        |s| s.port = Some(9001),
        |s| s.timeout = Some(crate::release::Period::from_seconds(6)),
        |s| s.engine = Some(false),
        |s| s.autoscaling = Some(crate::release::Autoscaling { min: 1, max: 2, cpu: 50 }),
        |s| s.probe = Some(crate::release::Probe { path: "/up".to_owned(), initial_delay: None, period: None }),
        |s| s.protocol = Some(crate::release::Protocol::Seldon),
    ];
    for (n, change) in changes.into_iter().enumerate() {
        let mut changed = release("settled");
        change(&mut changed.spec.serving);
        assert_ne!(hash(&changed, "v7"), before, "change {n}");
    }
    let mut changed = release("settled");
    changed.spec.variants[0].artifact.image = Some("registry.example/fraud:7b".to_owned());
    assert_ne!(hash(&changed, "v7"), before);
}

#[test]
fn the_hash_is_the_same_wherever_the_fields_of_a_document_stand() {
    let manifests = render(&release("canary"), &Templates::built_in()).unwrap();
    let documents = read_yaml(&manifests.files["seldon.yaml"]).unwrap();
    let reversed = reverse(&documents[0]);
    assert_eq!(crate::render::pods::hashes("seldon.yaml", &reversed).unwrap(), manifests.pods);
}

fn reverse(node: &Node) -> Node {
    match node {
        Node::Map(entries) => {
            Node::Map(entries.iter().rev().map(|(name, value)| (name.clone(), reverse(value))).collect())
        }
        Node::List(items) => Node::List(items.iter().map(reverse).collect()),
        other => other.clone(),
    }
}

#[test]
fn another_timeout_of_the_candidate_leaves_the_stable_pods_alone_and_the_gateway_waits_longer() {
    let before = release("canary");
    let mut after = before.clone();
    after.spec.variants[1].serving =
        Some(Serving { timeout: Some(crate::release::Period::from_seconds(9)), ..Default::default() });
    let templates = Templates::built_in();
    let (before, after) = (render(&before, &templates).unwrap(), render(&after, &templates).unwrap());
    assert_eq!(before.pods.get_index(0), after.pods.get_index(0));
    assert_ne!(before.pods.get_index(1), after.pods.get_index(1));
    assert!(after.files["route.yaml"].contains("timeouts: {request: \"9s\"}"));
}
