use std::process::Command;

use serde::Deserialize as _;
use serde_json::{Value, json};
use tests::TestEnvironment;
use tests::bed::Bed;
use tests::environment::{repository_root, run};

use super::accepted::STRICT;
use super::releases::Releases;
use crate::image;

/// The service's account in the cluster.
pub(super) const ACCOUNT: &str = "system:serviceaccount:k5w:kmlflow";

/// What Kustomize makes of a component of the platform.
pub(super) fn component(bed: &Bed, name: &str) -> String {
    let folder = repository_root().join("gitops-repo/platform").join(name);
    bed.ask(&["kustomize", folder.to_str().unwrap()])
}

/// Makes a namespace of the platform that is not there.
pub(super) fn make_namespace(bed: &Bed, name: &str) {
    bed.apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}).to_string());
}

/// Folders of the platform with how many objects each makes, as far as neither a chart nor a project elsewhere makes them.
const FOLDERS: [(&str, usize); 22] = [
    ("argo-cd/settings", 2),
    ("releases", 2),
    ("kmlflow", 14),
    ("kmlflow-replicas", 19),
    ("monitoring", 4),
    ("gateway", 5),
    ("postgresql", 5),
    ("object-store", 6),
    ("object-store-browser", 2),
    ("mlflow", 4),
    ("jupyterlab", 8),
    ("meilisearch", 4),
    ("headlamp", 1),
    ("prometheus", 3),
    ("overlays/production", 41),
    ("overlays/production/gateway", 5),
    ("overlays/production/jupyterlab", 8),
    ("overlays/production/kmlflow", 19),
    ("overlays/production/mlflow", 4),
    ("profiles/core", 36),
    ("profiles/standard", 47),
    ("profiles/full", 62),
];

/// Files of folders whose other files come from elsewhere.
const FILES: [&str; 4] = ["katib/route.yaml", "katib/quota.yaml", "kubeflow-pipelines/route.yaml", "harbor/route.yaml"];

/// The platform's namespaces that the bed does not have, until it is dropped.
pub(super) struct Namespaces<'a> {
    bed: &'a Bed,
    names: Vec<String>,
}

impl<'a> Namespaces<'a> {
    pub(super) fn of(bed: &'a Bed) -> Self {
        let kustomized = component(bed, "profiles/full");
        let objects = serde_yaml::Deserializer::from_str(&kustomized).map(|object| Value::deserialize(object).unwrap());
        let is_new = |name: &String| bed.get("", "namespace", name).is_none();
        let of_profile = objects.filter(|object| object["kind"] == "Namespace");
        let mut names: Vec<String> =
            of_profile.map(|object| object["metadata"]["name"].as_str().unwrap().to_owned()).filter(is_new).collect();
        names.extend(["k5w".to_owned()].into_iter().filter(is_new));
        assert!(names.len() > 5, "{names:?}");
        names.iter().for_each(|name| make_namespace(bed, name));
        Self { bed, names }
    }
}

impl Drop for Namespaces<'_> {
    fn drop(&mut self) {
        let names = self.names.iter().map(String::as_str).collect::<Vec<_>>();
        let gone =
            run(&mut self.bed.kubectl(&[&["delete", "namespace", "--ignore-not-found"], names.as_slice()].concat()));
        assert!(gone.code == 0 || std::thread::panicking(), "{gone:?}");
    }
}

/// Has the API server judge objects, without a word of warning. How many they are.
#[track_caller]
pub(super) fn accept(bed: &Bed, name: &str, objects: &str) -> usize {
    // The bed has put some of the settings of Argo CD there itself.
    let options = [STRICT.as_slice(), &["--force-conflicts"]].concat();
    let said = bed.try_apply(objects, &options).unwrap_or_else(|error| panic!("{name}: {error}"));
    // The name of the finalizer is the one that Argo CD reads.
    let is_known = |line: &&str| line.contains("\"resources-finalizer.argocd.argoproj.io\"");
    let warned: Vec<&str> =
        said.lines().filter(|line| line.contains("Warning")).filter(|line| !is_known(line)).collect();
    assert!(warned.is_empty(), "{name}: {warned:#?}");
    said.lines().filter(|line| line.contains("dry run")).count()
}

#[test]
fn every_component_of_the_platform_is_accepted_as_it_is() {
    let bed = Bed::alone();
    let _places = Namespaces::of(&bed);
    for (name, count) in FOLDERS {
        assert_eq!(accept(&bed, name, &component(&bed, name)), count, "{name}");
    }
    for name in FILES {
        let file = repository_root().join("gitops-repo/platform").join(name);
        let namespace = if name.starts_with("harbor") { "harbor" } else { "kubeflow" };
        let text = std::fs::read_to_string(file)
            .unwrap()
            .replace("\nmetadata:\n", &format!("\nmetadata:\n  namespace: {namespace}\n"));
        assert_eq!(accept(&bed, name, &text), 1, "{name}");
    }
}

#[test]
fn the_account_of_the_service_may_look_and_ask_argo_cd_and_nothing_else() {
    let bed = Bed::shared();
    make_namespace(&bed, "k5w");
    bed.apply(&std::fs::read_to_string(repository_root().join("gitops-repo/platform/kmlflow/access.yaml")).unwrap());
    let may = |verb: &str, resource: &str, namespace: &str| {
        // After a slash stands a name otherwise.
        let (resource, part) = resource.split_once('/').unwrap_or((resource, ""));
        let mut command: Command =
            bed.kubectl(&["auth", "can-i", verb, resource, "--subresource", part, "--as", ACCOUNT]);
        match namespace {
            "" => command.arg("--all-namespaces"),
            name => command.args(["--namespace", name]),
        };
        run(&mut command).stdout.trim() == "yes"
    };
    for (verb, resource, namespace) in [
        ("watch", "seldondeployments.machinelearning.seldon.io", ""),
        ("list", "pods", ""),
        ("get", "pods/log", "models"),
        ("patch", "applications.argoproj.io", "argocd"),
        ("patch", "applicationsets.argoproj.io", "argocd"),
    ] {
        assert!(may(verb, resource, namespace), "{verb} {resource}");
    }
    for (verb, resource, namespace) in [
        ("get", "secrets", ""),
        ("list", "secrets", "k5w"),
        ("patch", "deployments.apps", ""),
        ("delete", "pods", ""),
        ("patch", "seldondeployments.machinelearning.seldon.io", ""),
        ("create", "applications.argoproj.io", "argocd"),
        ("patch", "applications.argoproj.io", "models"),
        ("create", "leases.coordination.k8s.io", "k5w"),
    ] {
        assert!(!may(verb, resource, namespace), "{verb} {resource}");
    }
}

#[test]
fn each_release_becomes_an_application_that_may_be_made_of_a_release_alone() {
    let (bed, environment) = (Bed::alone(), TestEnvironment::new());
    let server = environment.server().start();
    let name = format!("platform-{}", std::process::id());
    let (release, application) = (format!("production/{name}/fraud"), format!("production.{name}.fraud"));
    server.put(&release, &image("fraud", "7")).expect(201);
    let releases = Releases::of(&bed, &format!("{}/git/gitops.git", server.url()));
    releases.until("the release is synced and healthy", &application, |object| {
        let status = &object["status"];
        status["sync"]["status"] == "Synced" && status["health"]["status"] == "Healthy"
    });
    // Argo CD has made the namespace, with what the Gateway and pod security look for.
    let labels = bed.get("", "namespace", &name).unwrap()["metadata"]["labels"].clone();
    assert_eq!(labels["kmlflow.dev/routes"], "true");
    assert_eq!(labels["pod-security.kubernetes.io/enforce"], "baseline");
    bed.predict_until(&format!("fraud-{name}.k5w.localhost"), |answer| answer.status == 200);

    // Somebody who may push puts other things beside it: what no release has, and a release in a namespace of the platform.
    let checkout = server.clone_repository();
    let kustomization = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [other.yaml]\n";
    let account = "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: other}\n";
    let settings = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: other}\ndata: {}\n";
    for (directory, object) in [(format!("{name}/other"), account), ("argocd/other".to_owned(), settings)] {
        checkout.write(&format!("releases/production/{directory}/kustomization.yaml"), kustomization);
        checkout.write(&format!("releases/production/{directory}/other.yaml"), object);
    }
    checkout.commit("Other things");
    let pushed = checkout.push(&server.token(), &["origin", "main"]);
    assert_eq!(pushed.code, 0, "{pushed:?}");
    releases.look();
    releases.until("an account is refused", &format!("production.{name}.other"), |object| {
        object["status"]["operationState"]["message"]
            .as_str()
            .is_some_and(|text| text.contains("not permitted in project"))
    });
    releases.until("Argo CD's own namespace is refused", "production.argocd.other", |object| {
        let conditions = object["status"]["conditions"].as_array();
        conditions.into_iter().flatten().any(|condition| condition["type"] == "InvalidSpecError")
    });
    assert!(bed.get(&name, "serviceaccount", "other").is_none());
    assert!(bed.get("argocd", "configmap", "other").is_none());

    // A retracted release takes its objects with it.
    server.api("DELETE", &format!("/releases/{release}"), None).expect(200);
    releases.look();
    bed.ask(&[
        "--namespace",
        "argocd",
        "wait",
        "--for=delete",
        &format!("application/{application}"),
        "--timeout=120s",
    ]);
    assert!(bed.get(&name, "seldondeployment", "fraud").is_none());
    drop(releases);
    bed.ask(&["delete", "namespace", &name, "--wait=false"]);
}
