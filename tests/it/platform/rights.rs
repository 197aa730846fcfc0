//! What the service may do in a cluster: look, and ask Argo CD to look; and replicas keep their Lease.

use std::collections::BTreeSet;

use kmlflow::sync::access::{ACCESS, Access, Place};
use serde_yaml::Value;

use super::documents;

type Right = (String, String, String, BTreeSet<String>);

fn texts(value: &Value) -> Vec<String> {
    value.as_sequence().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

/// The account with its roles, and what replicas have beside them.
const FILES: [&str; 2] = ["kmlflow/access.yaml", "kmlflow-replicas/lease.yaml"];

/// Every right that the roles of a file give, one resource each.
fn given(file: &str) -> BTreeSet<Right> {
    let mut rights = BTreeSet::new();
    for role in documents(file).iter().filter(|object| object.get("rules").is_some()) {
        let namespace = role["metadata"]["namespace"].as_str().unwrap_or("*");
        for rule in role["rules"].as_sequence().unwrap() {
            for group in texts(&rule["apiGroups"]) {
                for resource in texts(&rule["resources"]) {
                    let verbs = texts(&rule["verbs"]).into_iter().collect();
                    assert!(
                        rights.insert((namespace.to_owned(), group.clone(), resource, verbs)),
                        "given twice: {rule:?}"
                    );
                }
            }
        }
    }
    rights
}

#[test]
fn the_roles_give_what_is_needed_and_no_more() {
    let needed = |is_of_replicas: bool| -> BTreeSet<Right> {
        let of_them = ACCESS.iter().filter(|access| (access.place == Place::Replicas) == is_of_replicas);
        let right = |Access { group, resource, verbs, place }: &Access| {
            let namespace = match place {
                Place::Cluster => "*",
                Place::ArgoCd => "argocd",
                Place::Replicas => "k5w",
            };
            let verbs = verbs.iter().map(|verb| (*verb).to_owned()).collect();
            (namespace.to_owned(), (*group).to_owned(), (*resource).to_owned(), verbs)
        };
        of_them.map(right).collect()
    };
    assert_eq!(FILES.map(given), [needed(false), needed(true)]);
}

#[test]
fn replicas_read_and_change_no_other_lease_than_theirs() {
    let roles = documents(FILES[1]);
    let role = roles.iter().find(|object| object.get("rules").is_some()).unwrap();
    for rule in role["rules"].as_sequence().unwrap() {
        let names = rule.get("resourceNames").map(texts).unwrap_or_default();
        assert_eq!(names == ["kmlflow"], texts(&rule["verbs"]) != ["create"], "{rule:?}");
    }
}

#[test]
fn it_changes_nothing_but_applications_and_its_lease_and_reads_no_secret() {
    for (namespace, group, resource, verbs) in FILES.into_iter().flat_map(given) {
        let changes = verbs.iter().any(|verb| !["get", "list", "watch"].contains(&verb.as_str()));
        let is_allowed =
            [("argocd", "argoproj.io"), ("k5w", "coordination.k8s.io")].contains(&(namespace.as_str(), group.as_str()));
        assert!(!changes || is_allowed, "{group}/{resource}: {verbs:?}");
        let words = [group.as_str(), resource.as_str()].into_iter().chain(verbs.iter().map(String::as_str));
        assert!(words.into_iter().all(|word| word != "*"), "{group}/{resource}");
        assert_ne!(resource, "secrets");
    }
}

#[test]
fn each_role_is_bound_to_the_account_of_the_service_and_to_nobody_else() {
    let all: Vec<Value> = FILES.into_iter().flat_map(documents).collect();
    let bindings: Vec<&Value> = all.iter().filter(|object| object.get("roleRef").is_some()).collect();
    assert_eq!(bindings.len(), all.iter().filter(|object| object.get("rules").is_some()).count());
    for binding in bindings {
        let subjects = binding["subjects"].as_sequence().unwrap();
        assert_eq!(subjects.len(), 1);
        let subject = (&subjects[0]["kind"], &subjects[0]["name"], &subjects[0]["namespace"]);
        assert_eq!(subject, (&"ServiceAccount".into(), &"kmlflow".into(), &"k5w".into()));
        let role = (&binding["roleRef"]["kind"], &binding["roleRef"]["name"], &binding["metadata"]["namespace"]);
        let exists =
            |object: &&Value| (&object["kind"], &object["metadata"]["name"], &object["metadata"]["namespace"]) == role;
        assert_eq!(all.iter().filter(exists).count(), 1, "{role:?}");
    }
}
