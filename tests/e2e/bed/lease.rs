//! Two replicas on PostgreSQL and the real API server: the Lease names the one that leads, and the next one waits for it and for nothing else.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::{Value, json};
use tests::bed::{Bed, Namespace};
use tests::cut::Line;
use tests::environment::repository_root;
use tests::{Request, Server, ServerBuilder};

use super::faults::kubeconfig;
use crate::image;
use crate::postgres::together::{Site, leads};

/// The name in the platform's settings, and how long it lasts.
const NAME: &str = "kmlflow";
const LASTS: Duration = Duration::from_secs(10);

/// Only ends a hanging test.
const WITHIN: Duration = Duration::from_secs(60);

/// The database and the branch, and the account in a namespace of the bed that the replicas share.
struct Scene<'b> {
    bed: &'b Bed,
    namespace: Namespace<'b>,
    site: Site<2>,
    line: Line,
}

impl<'b> Scene<'b> {
    fn new(bed: &'b Bed, name: &str) -> Self {
        let namespace = bed.namespace(name);
        bed.ask(&["--namespace", &namespace.name, "create", "serviceaccount", "kmlflow"]);
        let scene = Self { bed, namespace, site: Site::new(), line: Line::to("127.0.0.1:6443".parse().unwrap()) };
        bed.apply(&scene.roles());
        scene
    }

    /// What the platform lets replicas do, in this namespace.
    fn roles(&self) -> String {
        let path = repository_root().join("gitops-repo/platform/kmlflow-replicas/lease.yaml");
        std::fs::read_to_string(path).unwrap().replace("namespace: k5w", &format!("namespace: {}", self.namespace.name))
    }

    /// A replica as the platform starts it: by its own account, in its own namespace, with its pod's name.
    fn replica(&self, at: usize) -> ServerBuilder<'_> {
        let path = self.kubeconfig(at);
        let builder = self.site.replica(at).env("KMLFLOW__KUBERNETES__KUBECONFIG", path.to_str().unwrap());
        builder.env("KMLFLOW__KUBERNETES__LEASE__NAME", NAME).env("KMLFLOW__KUBERNETES__LEASE__HOLDER", &pod(at))
    }

    fn kubeconfig(&self, at: usize) -> PathBuf {
        let name = self.namespace.name.as_str();
        let token = self.bed.ask(&["--namespace", name, "create", "token", "kmlflow", "--duration=2h"]);
        let address = format!("https://{}", self.line.address());
        kubeconfig(self.bed, &self.site.environments[at], |config| {
            config["users"][0]["user"] = json!({"token": token.trim()});
            config["clusters"][0]["cluster"]["server"] = address.into();
            config["contexts"][0]["context"]["namespace"] = name.into();
        })
    }

    /// Waits until a replica leads and the Lease names it, and returns what else it says.
    fn until_it_names(&self, at: usize) -> Value {
        self.bed.until(&format!("the Lease names {}", pod(at)), (&self.namespace.name, "lease"), |lease| {
            (lease["spec"]["holderIdentity"] == pod(at)).then(|| lease["spec"].clone())
        })
    }

    fn lease(&self) -> Value {
        self.bed.get(&self.namespace.name, "lease", NAME).expect("the Lease")["spec"].clone()
    }
}

fn pod(at: usize) -> String {
    format!("kmlflow-{at}")
}

fn time(lease: &Value, field: &str) -> Timestamp {
    lease[field].as_str().unwrap().parse().unwrap()
}

/// Waits until a replica leads.
fn until_it_leads(server: &Server<'_>) {
    server.until("leading", || leads(server).then_some(()));
}

/// Whether a replica says that the Lease names it.
fn is_named(server: &Server<'_>) -> bool {
    let text = Request::new("GET", "/metrics").bearer(&server.token()).send(server.address()).expect(200).text();
    text.lines().any(|line| line == "kmlflow_lease_held{lease=\"kmlflow\"} 1")
}

/// Asks for a release that is not there, until it is on the branch.
fn release(server: &Server<'_>, name: &str) {
    let asked = server.put(&format!("production/models/{name}"), &image("fraud", "7"));
    match asked.status {
        201 => {}
        202 => assert_eq!(server.settle(asked.json()["delivery"].as_str().unwrap())["state"], "applied"),
        _ => panic!("{}", asked.text()),
    }
}

#[test]
fn the_lease_names_the_leader_and_is_taken_over_once_it_is_over_or_released() {
    let bed = Bed::shared();
    let scene = Scene::new(&bed, "lease");
    let since = bed.log("audit").len();
    let first = scene.replica(0).start();
    let made = scene.until_it_names(0);
    assert_eq!((&made["leaseTransitions"], &made["leaseDurationSeconds"]), (&json!(0), &json!(LASTS.as_secs())));
    until_it_leads(&first);
    let second = scene.replica(1).start();
    release(&second, "before");
    assert!(is_named(&first) && !is_named(&second) && !leads(&second));

    // Nobody releases it: the other one has the lock at once, and waits.
    first.kill();
    let last = scene.lease();
    assert_eq!(last["holderIdentity"], pod(0));
    let taken = scene.until_it_names(1);
    let waited = time(&taken, "acquireTime").duration_since(time(&last, "renewTime"));
    assert!(waited.unsigned_abs() >= LASTS && waited.is_positive(), "{last:#} {taken:#}");
    assert_eq!(taken["leaseTransitions"], 1);
    release(&second, "after");
    assert!(leads(&second) && is_named(&second));

    // An end costs nothing.
    let first = scene.replica(0).start();
    let mut watch = bed.watch(&scene.namespace.name, "lease");
    let deadline = Instant::now() + WITHIN;
    assert!(watch.next_before(deadline).is_some(), "it is watched");
    assert_eq!(second.stop(), Some(0));
    let ended = Timestamp::now();
    let taken = scene.until_it_names(0);
    let waited = time(&taken, "acquireTime").duration_since(ended);
    assert!(waited.unsigned_abs() < LASTS / 2, "{ended} {taken:#}");
    let seen = std::iter::from_fn(|| watch.next_before(deadline));
    let holders = seen.map(|lease| lease["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned());
    let until_taken: Vec<String> = holders.take_while(|holder| *holder != pod(0)).collect();
    assert_eq!(until_taken.last().map(String::as_str), Some(""), "it was released: {until_taken:?}");
    assert_eq!(taken["leaseTransitions"], 2);
    release(&first, "at-last");

    let asked = asked(&bed, since, &scene.namespace.name);
    assert_eq!(asked, ["create", "get", "update"].map(|verb| (verb.to_owned(), true)).into());
}

/// What the replicas asked about Leases since the log had this length, and whether they were let.
fn asked(bed: &Bed, since: usize, namespace: &str) -> BTreeSet<(String, bool)> {
    let account = format!("system:serviceaccount:{namespace}:kmlflow");
    let log = bed.log("audit");
    let events = log[since..].lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let theirs = events.filter(|event| event["user"]["username"] == account.as_str());
    let of_leases = theirs.filter(|event| event["objectRef"]["resource"] == "leases");
    of_leases
        .map(|event| (event["verb"].as_str().unwrap().to_owned(), event["responseStatus"]["code"] != 403))
        .collect()
}

/// What a replica says where it leads without the Lease.
const ALONE: &str = "; this replica leads by the lock of the database alone";

#[test]
fn while_the_api_server_cannot_be_reached_the_lock_alone_decides() {
    let bed = Bed::shared();
    let scene = Scene::new(&bed, "lease-cut");
    let first = scene.replica(0).start();
    scene.until_it_names(0);
    let second = scene.replica(1).start();
    release(&second, "before");
    scene.line.cut();
    first.kill();
    until_it_leads(&second);
    release(&second, "meanwhile");
    let said = second.printed();
    assert!(said.contains(&format!("does not answer{ALONE}")), "{said}");
    assert!(!is_named(&second));
    assert_eq!(scene.lease()["holderIdentity"], pod(0), "nobody has seen it");
    scene.line.mend();
    scene.until_it_names(1);
    second.until("it says so", || is_named(&second).then_some(()));
    assert_eq!(second.printed().matches(ALONE).count(), 1, "it is said once");
    assert!(leads(&second));
}

#[test]
fn without_the_right_to_a_lease_the_lock_alone_decides_and_the_verb_is_named() {
    let bed = Bed::shared();
    let scene = Scene::new(&bed, "lease-right");
    bed.ask(&["--namespace", &scene.namespace.name, "delete", "rolebinding", NAME]);
    let server = scene.replica(0).start();
    until_it_leads(&server);
    release(&server, "all-the-same");
    let lacks = "does not let the service `get` `leases.coordination.k8s.io`: its role lacks that verb";
    let said = server.printed();
    assert!(said.contains(&format!("{lacks}{ALONE}")), "{said}");
    bed.apply(&scene.roles());
    scene.until_it_names(0);
    assert_eq!(server.printed().matches(ALONE).count(), 1, "it is said once");
}
