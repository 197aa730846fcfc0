//! `cargo bootstrap` on a cluster that is there: the real Argo CD follows the real repository, for what can be had on the bed.

/// From nothing to everything healthy, and away again.
mod life;

/// Why something is not ready.
mod reasons;

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tests::TestEnvironment;
use tests::bed::Bed;
use tests::environment::{Run, program, repository_root, run, succeed};
use tests::git::Checkout;
use tests::server::Server;

/// What comes as a chart or as files from elsewhere, which the bed has no network for, and what the bed has of its own: the gateway, Argo CD
/// and Seldon's operator.
const ELSEWHERE: [&str; 14] = [
    "gateway-api",
    "prometheus-kinds",
    "cert-manager",
    "envoy-gateway",
    "gateway",
    "seldon-core",
    "prometheus",
    "headlamp",
    "katib",
    "kubeflow-pipelines-kinds",
    "kubeflow-pipelines",
    "harbor",
    "gpu-plugin",
    "gpu-exporter",
];

/// The health check without which no wave waits for another; the bed's Argo CD has none.
const HEALTH: &str = "resource.customizations.health.argoproj.io_Application";

/// A cluster of somebody's, with a class of volumes and somebody's objects in it, and the repository that it is to follow.
struct Scene<'a> {
    bed: &'a Bed,
    environment: &'a TestEnvironment,
    server: Server<'a>,
    /// The real `gitops-repo/` but for the address in it.
    gitops: PathBuf,
    name: String,
}

impl<'a> Scene<'a> {
    /// One of this name; what another test had may still be on its way out.
    fn new(bed: &'a Bed, environment: &'a TestEnvironment, name: &str) -> Self {
        // Other tests of the platform leave some of it, which would be somebody else's here.
        for namespace in ["k5w", "monitoring"] {
            bed.ask(&["delete", "namespace", namespace, "--ignore-not-found"]);
        }
        let access = repository_root().join("gitops-repo/platform/kmlflow/access.yaml");
        bed.ask(&["delete", "--ignore-not-found", "--filename", access.to_str().unwrap()]);
        // The doctor would find what their Applications say whose repositories have ended.
        for theirs in bed.list("argocd", "application") {
            let name = theirs["metadata"]["name"].as_str().unwrap();
            // Argo CD ends what it began before it takes one away, for minutes where the repository is gone; what that is made of goes with its namespace.
            let patch =
                ["patch", "application", name, "--type=merge", "--patch", r#"{"metadata":{"finalizers":null}}"#];
            let _gone_by_now = run(&mut bed.kubectl(&[["--namespace", "argocd"].as_slice(), &patch].concat()));
            bed.until_gone("argocd", "application", name);
        }
        let server = environment.server().start();
        let gitops = environment.path("gitops-repo");
        succeed(environment.command("cp").arg("-r").arg(repository_root().join("gitops-repo")).arg(&gitops));
        let name = format!("{name}-{}", std::process::id());
        let scene = Self { bed, environment, server, gitops, name };
        scene.follow_here();
        scene.prepare();
        scene
    }

    /// Names the repository of the service that runs here: the one that the cluster would run is only played.
    fn follow_here(&self) {
        let file = "platform/repository/repository.yaml";
        let there = std::fs::read_to_string(self.gitops.join(file)).unwrap();
        let here = there.replace("http://kmlflow.k5w.svc.cluster.local", &self.server.url());
        assert_ne!(here, there);
        std::fs::write(self.gitops.join(file), &here).unwrap();
        self.commit(file, &here);
    }

    /// Changes a file of the repository, as somebody does who pushes.
    fn commit(&self, file: &str, content: &str) {
        let checkout: Checkout = self.server.clone_repository();
        checkout.write(file, content);
        checkout.commit("platform: Change a file");
        let pushed = checkout.push(&self.server.token(), &["origin", "HEAD:main"]);
        assert_eq!(pushed.code, 0, "{pushed:?}");
    }

    /// A class of volumes, the way into the service's pod, the check that waves need, and what is somebody else's.
    fn prepare(&self) {
        let class = json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "provisioner": "kubernetes.io/no-provisioner",
            "metadata": {"name": self.name, "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}});
        let tenant = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.name}});
        let theirs = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "theirs", "namespace": self.name},
            "data": {"key": "value"}});
        for object in [class, tenant, theirs] {
            self.bed.apply(&object.to_string());
        }
        let settings = std::fs::read_to_string(self.gitops.join("platform/argo-cd/settings/health.yaml")).unwrap();
        let settings: Value = serde_yaml::from_str(&settings).unwrap();
        let patch = json!({"data": {HEALTH: settings["data"][HEALTH]}}).to_string();
        self.bed.ask(&["--namespace", "argocd", "patch", "configmap", "argocd-cm", "--type=merge", "--patch", &patch]);
        let path = std::path::Path::new(&std::env::var_os(tests::bed::PLACE).unwrap()).join("bin/kmlflow");
        if !path.exists() {
            std::os::unix::fs::symlink(program("kmlflow"), path).unwrap();
        }
    }

    /// Lets commands be run in the service's pod: they run here, and speak to the service that runs here.
    fn open_the_pod(&self) {
        let variables = json!([
            {"name": "KMLFLOW_URL", "value": self.server.url()}, {"name": "KMLFLOW_TOKEN", "value": self.server.token()},
        ]);
        let way = json!({"apiVersion": "kwok.x-k8s.io/v1alpha1", "kind": "Exec", "metadata": {"name": "kmlflow-0", "namespace": "k5w"},
            "spec": {"execs": [{"local": {"workDir": self.environment.path(""), "envs": variables}}]}});
        self.bed.apply(&way.to_string());
    }

    /// So many volumes that a claim may take.
    fn volumes(&self, from: usize, count: usize) {
        for number in from..from + count {
            let name = format!("{}-{number}", self.name);
            let volume = json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": {
                "storageClassName": self.name, "capacity": {"storage": "50Gi"}, "accessModes": ["ReadWriteOnce"],
                "persistentVolumeReclaimPolicy": "Retain", "hostPath": {"path": format!("/nowhere/{name}")}}});
            self.bed.apply(&volume.to_string());
        }
    }

    /// The program with its arguments, for this cluster and this repository.
    fn bootstrap(&self, arguments: &[&str]) -> Command {
        let mut command = self.environment.command(program("kmlflow-bootstrap"));
        command.args(arguments).args(["--poll", "500ms", "--gitops-repo"]).arg(&self.gitops);
        command.env("KUBECONFIG", self.bed.kubeconfig());
        command
    }

    /// `up` of everything that can be had here, but for these parts.
    fn up(&self, without: &[&str], more: &[&str]) -> Command {
        let mut command = self.bootstrap(&["up", "--profile", "full", "--cluster", "existing", "--context", "bed"]);
        command.args(["--argo-cd", "present"]).args(more);
        for part in ELSEWHERE.iter().chain(without) {
            command.args(["--without", part]);
        }
        command
    }

    /// A command about the platform that is there.
    fn ask(&self, arguments: &[&str]) -> Run {
        run(&mut self.bootstrap(&[arguments, &["--context", "bed"]].concat()))
    }

    /// Every object of the cluster by kind, namespace and name, with its uid: what is the same was neither changed hands nor made anew.
    fn objects(&self) -> BTreeMap<String, String> {
        let kinds = self.bed.ask(&["api-resources", "--verbs=list,delete", "--output=name"]);
        // What comes and goes by itself.
        let lasting = |kind: &&str| !["events", "leases.", "endpoint"].iter().any(|passing| kind.starts_with(passing));
        let kinds = kinds.lines().filter(lasting).collect::<Vec<_>>().join(",");
        let each = r#"{range .items[*]}{.kind} {.metadata.namespace}/{.metadata.name}={.metadata.uid}{"\n"}{end}"#;
        let said = self.bed.ask(&["get", &kinds, "--all-namespaces", "--output", &format!("jsonpath={each}")]);
        said.lines()
            .filter_map(|line| line.split_once('='))
            .map(|(name, uid)| (name.to_owned(), uid.to_owned()))
            .collect()
    }
}

impl Drop for Scene<'_> {
    fn drop(&mut self) {
        // A test that failed half-way leaves as little as one that passed.
        let ran = run(&mut self.bootstrap(&["down", "--context", "bed"]));
        assert!([0, 4].contains(&ran.code) || std::thread::panicking(), "{ran:?}");
        let remove = |arguments: &[&str]| {
            let ran = run(&mut self.bed.kubectl(&[arguments, &["--ignore-not-found", "--wait=false"]].concat()));
            assert!(ran.code == 0 || std::thread::panicking(), "{ran:?}");
        };
        remove(&["delete", "namespace", &self.name]);
        remove(&["delete", "storageclass", &self.name]);
        let volumes = self.bed.ask(&["get", "persistentvolume", "--output=name"]);
        volumes.lines().filter(|name| name.contains(&self.name)).for_each(|name| remove(&["delete", name]));
        let patch = json!({"data": {HEALTH: null}}).to_string();
        self.bed.ask(&["--namespace", "argocd", "patch", "configmap", "argocd-cm", "--type=merge", "--patch", &patch]);
    }
}

/// Runs it until it says a line that satisfies the condition, and kills it there, as a power cut does; says how it ended where it did before.
fn kill_at(mut command: Command, mut is_here: impl FnMut(&Value) -> bool) -> Option<i32> {
    command.args(["--output", "json"]).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    for line in lines {
        let event: Value = serde_json::from_str(&line).unwrap_or_default();
        if is_here(&event) {
            child.kill().unwrap();
            child.wait().unwrap();
            return None;
        }
    }
    child.wait().unwrap().code()
}

/// The last object that was written.
fn last(said: &str) -> Value {
    serde_json::from_str(said.lines().last().unwrap_or_default()).unwrap_or_else(|error| panic!("{error}: {said}"))
}

/// A file of the real repository.
fn real(file: impl AsRef<Path>) -> String {
    std::fs::read_to_string(repository_root().join("gitops-repo").join(file)).unwrap()
}
