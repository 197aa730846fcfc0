//! What the service may do in a cluster: look, and ask Argo CD to look.

use std::collections::BTreeSet;

use serde_yaml::Value;

use super::documents;

/// What it may do, and where: everywhere, or in the namespace of Argo CD. Whoever lets the service call something else adds it here, to
/// `access.yaml` and to the reason.
const RIGHTS: &[(&str, &str, &str, &[&str])] = &[
    ("*", "apps", "deployments", &["list", "watch"]),
    ("*", "", "pods", &["list", "watch"]),
    ("*", "", "services", &["list", "watch"]),
    ("*", "", "events", &["list"]),
    ("*", "", "pods/log", &["get"]),
    ("*", "gateway.networking.k8s.io", "grpcroutes", &["list", "watch"]),
    ("*", "gateway.networking.k8s.io", "httproutes", &["list", "watch"]),
    ("*", "machinelearning.seldon.io", "seldondeployments", &["list", "watch"]),
    ("argocd", "argoproj.io", "applications", &["get", "list", "patch", "watch"]),
    ("argocd", "argoproj.io", "applicationsets", &["get", "list", "patch"]),
];

type Right = (String, String, String, BTreeSet<String>);

fn texts(value: &Value) -> Vec<String> {
    value.as_sequence().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

/// Every right that the roles give, one resource each.
fn given() -> BTreeSet<Right> {
    let mut rights = BTreeSet::new();
    for role in documents("kmlflow/access.yaml").iter().filter(|object| object.get("rules").is_some()) {
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
    let own = |text: &&str| (*text).to_owned();
    let needed = RIGHTS.iter().map(|(namespace, group, resource, verbs)| {
        (own(namespace), own(group), own(resource), verbs.iter().map(own).collect())
    });
    assert_eq!(given(), needed.collect::<BTreeSet<Right>>());
}

#[test]
fn it_changes_nothing_but_applications_and_reads_no_secret() {
    for (namespace, group, resource, verbs) in given() {
        let changes = verbs.iter().any(|verb| !["get", "list", "watch"].contains(&verb.as_str()));
        let is_of_argocd = (namespace.as_str(), group.as_str()) == ("argocd", "argoproj.io");
        assert!(!changes || is_of_argocd, "{group}/{resource}: {verbs:?}");
        let words = [group.as_str(), resource.as_str()].into_iter().chain(verbs.iter().map(String::as_str));
        assert!(words.into_iter().all(|word| word != "*"), "{group}/{resource}");
        assert_ne!(resource, "secrets");
    }
}

#[test]
fn each_role_is_bound_to_the_account_of_the_service_and_to_nobody_else() {
    let all = documents("kmlflow/access.yaml");
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
