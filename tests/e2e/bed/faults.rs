//! What goes wrong around a release: it is said with what helps, nothing is lost, and once it has passed the release is live.

use std::path::PathBuf;

use serde_json::{Value, json};
use tests::TestEnvironment;
use tests::bed::{Bed, Namespace};
use tests::server::Server;

use super::followed::{is_live_in, release, until, view, with_seven};
use crate::image;

/// The bed's kubeconfig with something else in it.
pub(super) fn kubeconfig(bed: &Bed, environment: &TestEnvironment, change: impl FnOnce(&mut Value)) -> PathBuf {
    let mut config = serde_json::from_str(&bed.ask(&["config", "view", "--raw", "--output", "json"])).unwrap();
    change(&mut config);
    environment.write("kubeconfig", config.to_string())
}

/// A service that goes by this kubeconfig.
pub(super) fn by<'a>(environment: &'a TestEnvironment, kubeconfig: &std::path::Path) -> Server<'a> {
    environment.server().env("KMLFLOW__KUBERNETES__KUBECONFIG", kubeconfig.to_str().unwrap()).start()
}

/// Waits until this is said of a release, and returns how it fares.
pub(super) fn until_said(server: &Server<'_>, release: &str, (state, reason, cure): (&str, &str, &str)) -> Value {
    let found = until(server, release, &format!("{state}: {reason}"), |view| {
        let status = &view["status"];
        status["state"] == state && status["reason"].as_str().is_some_and(|text| text.contains(reason))
    });
    assert!(found["status"]["cure"].as_str().is_some_and(|text| text.contains(cure)), "{found:#}");
    found
}

pub(super) fn until_live(server: &Server<'_>, release: &str, version: &str) {
    until(server, release, &format!("version {version} is live"), |view| {
        is_live_in("settled")(view) && view["spec"]["variants"][0]["version"] == version
    });
}

/// A body with a short deadline.
pub(super) fn soon(version: &str) -> Value {
    let mut body = image("fraud", version);
    body["deadline"] = "5s".into();
    body
}

/// What makes an object of the whole cluster go with a namespace.
fn owned_by(bed: &Bed, namespace: &Namespace<'_>) -> Value {
    let uid = bed.get("", "namespace", &namespace.name).unwrap()["metadata"]["uid"].clone();
    json!([{"apiVersion": "v1", "kind": "Namespace", "name": namespace.name, "uid": uid}])
}

#[test]
fn a_role_that_is_too_small_is_told_the_verb_and_the_resource_that_it_lacks() {
    let (bed, environment) = (Bed::shared(), TestEnvironment::new());
    let namespace = bed.namespace("role");
    let name = format!("watcher-{}", namespace.name);
    let role = |of_routes: &[&str]| {
        let rule = |group: &str, resources: &[&str], verbs: &[&str]| json!({"apiGroups": [group], "resources": resources, "verbs": verbs});
        let watch = ["get", "list", "watch", "patch"];
        let rules = [
            rule("argoproj.io", &["applications", "applicationsets"], &watch),
            rule("machinelearning.seldon.io", &["seldondeployments"], &watch),
            rule("apps", &["deployments"], &watch),
            rule("", &["pods", "services"], &watch),
            rule("gateway.networking.k8s.io", &["grpcroutes"], &watch),
            rule("gateway.networking.k8s.io", &["httproutes"], of_routes),
        ];
        let metadata = json!({"name": name, "ownerReferences": owned_by(&bed, &namespace)});
        bed.apply(&json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": metadata, "rules": rules}).to_string());
    };
    role(&["list"]);
    let metadata = json!({"name": name, "ownerReferences": owned_by(&bed, &namespace)});
    let subject = json!({"kind": "ServiceAccount", "name": "watcher", "namespace": namespace.name});
    let reference = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name});
    bed.apply(
        &json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": metadata,
        "roleRef": reference, "subjects": [subject]})
        .to_string(),
    );
    bed.ask(&["--namespace", &namespace.name, "create", "serviceaccount", "watcher"]);
    let token = bed.ask(&["--namespace", &namespace.name, "create", "token", "watcher"]);
    let path = kubeconfig(&bed, &environment, |config| config["users"][0]["user"] = json!({"token": token.trim()}));
    let server = by(&environment, &path);
    namespace.follow(&server);
    let release = release(&namespace);
    server.put(&release, &image("fraud", "7")).expect(201);
    let lacks = "does not let the service `watch` `httproutes.gateway.networking.k8s.io`: its role lacks that verb";
    until_said(
        &server,
        &release,
        ("unknown", lacks, "`kubectl auth can-i watch httproutes.gateway.networking.k8s.io -A"),
    );
    assert!(!server.printed().contains(token.trim()), "the token is nowhere");
    role(&["list", "watch"]);
    until_live(&server, &release, "7");
}

#[test]
fn an_application_with_our_name_that_reads_another_folder_is_named_and_ours_takes_its_place() {
    let (bed, environment) = (Bed::shared(), TestEnvironment::new());
    let path = bed.kubeconfig();
    let server = by(&environment, &path);
    let namespace = bed.namespace("foreign");
    let application = format!("production.{}.fraud", namespace.name);
    let theirs = format!("theirs-{}", namespace.name);
    let source =
        json!({"repoURL": format!("{}/git/gitops.git", server.url()), "targetRevision": "main", "path": "policies"});
    let destination = json!({"server": "https://kubernetes.default.svc", "namespace": namespace.name});
    let template = json!({"metadata": {"name": application}, "spec": {"project": "default", "source": source, "destination": destination}});
    bed.apply(&json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "ApplicationSet", "metadata": {"name": theirs, "namespace": "argocd"},
        "spec": {"generators": [{"list": {"elements": [{"one": "1"}]}}], "template": template}}).to_string());
    bed.until("theirs is there", ("argocd", "application"), |object| {
        (object["metadata"]["name"] == application).then_some(())
    });
    namespace.follow(&server);
    let release = release(&namespace);
    server.put(&release, &soon("7")).expect(201);
    let reads = format!(
        "the Application `{application}` is not this release's: it reads `policies` and not `releases/{release}`"
    );
    until_said(&server, &release, ("stalled", &reads, "delete or rename it"));
    bed.ask(&["--namespace", "argocd", "delete", "applicationset", &theirs]);
    until_live(&server, &release, "7");
}

#[test]
fn a_finalizer_that_never_ends_is_named_until_it_is_taken_out() {
    let (bed, environment) = (Bed::shared(), TestEnvironment::new());
    let path = bed.kubeconfig();
    let server = by(&environment, &path);
    let namespace = with_seven(&bed, &server, "held");
    let release = release(&namespace);
    let finalizers = |list: Value| {
        let patch = json!({"metadata": {"finalizers": list}}).to_string();
        bed.ask(&[
            "--namespace",
            &namespace.name,
            "patch",
            "seldondeployment",
            "fraud",
            "--type=merge",
            "--patch",
            &patch,
        ]);
    };
    finalizers(json!(["tests.example/never"]));
    server.api("DELETE", &format!("/releases/{release}"), None).expect(200);
    let holds = "the SeldonDeployment `fraud` is being deleted, and its finalizer `tests.example/never` holds it";
    until_said(&server, &release, ("retracting", holds, "`kubectl edit seldondeployment fraud"));
    finalizers(Value::Null);
    server.until("nothing is left", || {
        (server.api("GET", &format!("/releases/{release}"), None).status == 404).then_some(())
    });
}

#[test]
fn a_namespace_that_is_being_deleted_is_named_and_a_new_one_takes_the_release() {
    let (bed, environment) = (Bed::shared(), TestEnvironment::new());
    let path = bed.kubeconfig();
    let server = by(&environment, &path);
    let namespace = bed.namespace("terminating");
    let name = namespace.name.as_str();
    let metadata = json!({"name": "holds", "namespace": name, "finalizers": ["tests.example/never"]});
    bed.apply(&json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}).to_string());
    bed.ask(&["delete", "namespace", name, "--wait=false"]);
    namespace.follow(&server);
    let release = release(&namespace);
    server.put(&release, &soon("7")).expect(201);
    until_said(&server, &release, ("stalled", "the namespace is being deleted: ", "`kubectl get namespace"));
    let patch = r#"{"metadata": {"finalizers": null}}"#;
    bed.ask(&["--namespace", name, "patch", "configmap", "holds", "--type=merge", "--patch", patch]);
    bed.ask(&["wait", "--for=delete", &format!("namespace/{name}"), "--timeout=60s"]);
    bed.apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}).to_string());
    until_live(&server, &release, "7");
}

#[test]
fn two_applications_on_one_folder_are_named_until_one_is_gone() {
    let (bed, environment) = (Bed::shared(), TestEnvironment::new());
    let path = bed.kubeconfig();
    let server = by(&environment, &path);
    let namespace = with_seven(&bed, &server, "shared");
    let release = release(&namespace);
    let ours = bed.get("argocd", "application", &format!("production.{}.fraud", namespace.name)).unwrap();
    let second = format!("second.{}.fraud", namespace.name);
    let application = json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Application",
        "metadata": {"name": second, "namespace": "argocd"}, "spec": ours["spec"]});
    bed.apply(&application.to_string());
    until_said(
        &server,
        &release,
        ("degraded", "another Application has the same objects", "`kubectl get applications -A`"),
    );
    bed.ask(&["--namespace", "argocd", "delete", "application", &second]);
    until_live(&server, &release, "7");
    assert_eq!(view(&server, &release)["status"].get("cure"), None);
}
