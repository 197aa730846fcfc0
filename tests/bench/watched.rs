//! A cluster with many releases, watched: how soon everything is known, how much memory that takes, and what an event costs.
//!
//! The API server is played: a real one would take minutes to be filled, and its own speed would be measured.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use kmlflow::live::{
    Index, Kind, Object, Watched, WireApplication, WireDeployment, WirePod, WireRoute, WireSeldon, WireService,
};
use serde_json::{Value, json};
use tests::{Server, TestEnvironment};

use crate::Bench;
use crate::machine::{pause, processor_seconds, resident_mib_max};
use crate::report::Report;

/// Pods of each release.
const PODS: usize = 4;

/// The kinds that are watched: how the API server calls them, how the service does.
const KINDS: [(&str, Kind); 7] = [
    ("applications", Kind::Application),
    ("seldondeployments", Kind::Seldon),
    ("deployments", Kind::Deployment),
    ("pods", Kind::Pod),
    ("services", Kind::Service),
    ("httproutes", Kind::HttpRoute),
    ("grpcroutes", Kind::GrpcRoute),
];

/// How long nothing may be asked for.
const SILENCE: Duration = Duration::from_secs(5);

pub fn measure(bench: &Bench, report: &mut Report) {
    let releases = bench.sizes.watched;
    let objects = objects(releases);
    events(report, &objects, releases);
    start(bench, report, objects, releases);
}

/// Every object of so many releases as the API server writes it, by kind.
fn objects(releases: usize) -> BTreeMap<&'static str, Vec<String>> {
    let mut all: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for number in 0..releases {
        for (plural, object) in of_release(number) {
            all.entry(plural).or_default().push(object.to_string());
        }
    }
    all
}

/// The objects of a release that is live, as large as real ones are: status, owners, managed fields.
fn of_release(number: usize) -> Vec<(&'static str, Value)> {
    let (namespace, name) = (format!("ns{}", number % 50), format!("m{number}"));
    // Of another service, so that the sweep does not list all of it as nobody's.
    let release = format!("elsewhere/{namespace}/{name}");
    let hash = format!("sha256:{number:064x}");
    let meta = |name: &str, labels: Value| {
        json!({"name": name, "namespace": namespace, "uid": format!("{number:032x}"), "generation": 1, "resourceVersion": "1", "labels": labels,
            "annotations": {"kmlflow.dev/release": release, "kmlflow.dev/pod-hash": hash},
            "managedFields": [{"manager": "argocd-controller", "operation": "Apply", "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:predictors": {}}}}]})
    };
    let ours = json!({"app.kubernetes.io/managed-by": "kmlflow"});
    let seldon_labels = json!({"seldon-deployment-id": name, "seldon-app": format!("{name}-v7"), "version": "v7"});
    let image = format!("registry.example/{name}:7@{hash}");
    let pod = json!({"containers": [{"name": "model", "image": image, "resources": {"requests": {"cpu": "100m"}}}, {"name": "seldon-container-engine", "image": "seldon:1"}]});
    let condition = |kind: &str| json!({"type": kind, "status": "True", "reason": kind, "message": "", "observedGeneration": 1, "lastTransitionTime": "2026-11-29T10:00:00Z"});
    let route = |name: &str| {
        json!({"metadata": meta(name, ours.clone()), "spec": {"rules": [{"backendRefs": [{"name": format!("m{number}"), "port": 8000, "weight": 100}]}]},
            "status": {"parents": [{"parentRef": {"namespace": "gateway", "name": "models"}, "conditions": [condition("Accepted"), condition("ResolvedRefs")]}]}})
    };
    let commit = format!("{number:040x}");
    let mut all = vec![
        (
            "applications",
            json!({"metadata": {"name": format!("elsewhere.{namespace}.{name}"), "namespace": "argocd", "resourceVersion": "1"},
            "spec": {"source": {"repoURL": "http://kmlflow/git/gitops.git", "path": format!("releases/{release}")}},
            "status": {"sync": {"status": "Synced", "revision": commit}, "reconciledAt": "2026-11-29T10:00:02Z",
                "operationState": {"phase": "Succeeded", "finishedAt": "2026-11-29T10:00:01Z", "syncResult": {"revision": commit, "resources": []}}}}),
        ),
        (
            "seldondeployments",
            json!({"metadata": meta(&name, ours.clone()), "status": {"state": "Available"},
            "spec": {"predictors": [{"name": "v7", "replicas": PODS, "annotations": {"kmlflow.dev/pod-hash": hash}, "graph": {"name": "model"}, "componentSpecs": [{"spec": pod}]}]}}),
        ),
        (
            "deployments",
            json!({"metadata": meta(&format!("{name}-v7-0-model"), seldon_labels.clone()),
            "spec": {"replicas": PODS, "selector": {"matchLabels": seldon_labels}, "template": {"spec": pod}},
            "status": {"observedGeneration": 1, "replicas": PODS, "updatedReplicas": PODS, "availableReplicas": PODS}}),
        ),
        (
            "services",
            json!({"metadata": meta(&name, ours.clone()), "spec": {"selector": {"seldon-deployment-id": name}}}),
        ),
        ("httproutes", route(&name)),
        ("grpcroutes", route(&format!("{name}-grpc"))),
    ];
    let statuses = json!([{"name": "model", "ready": true, "image": image, "state": {"running": {}}}]);
    all.extend((0..PODS).map(|pod_number| {
        let object = json!({"metadata": meta(&format!("{name}-v7-0-model-{pod_number}"), seldon_labels.clone()), "spec": pod,
            "status": {"phase": "Running", "conditions": [condition("Ready"), condition("PodScheduled")], "containerStatuses": statuses}});
        ("pods", object)
    }));
    all
}

/// What is kept of an object of a kind.
fn kept(kind: Kind, text: &str) -> Option<Object> {
    fn of<W: Watched + serde::de::DeserializeOwned>(kind: Kind, text: &str) -> Option<Object> {
        serde_json::from_str::<W>(text).expect("an object").kept(kind)
    }
    match kind {
        Kind::Application => of::<WireApplication>(kind, text),
        Kind::Seldon => of::<WireSeldon>(kind, text),
        Kind::Deployment => of::<WireDeployment>(kind, text),
        Kind::Pod => of::<WirePod>(kind, text),
        Kind::Service => of::<WireService>(kind, text),
        Kind::HttpRoute | Kind::GrpcRoute => of::<WireRoute>(kind, text),
    }
}

/// What an event costs with all of them in the index: read, reduced to what is kept, applied.
fn events(report: &mut Report, objects: &BTreeMap<&str, Vec<String>>, releases: usize) {
    let mut index = Index::default();
    let mut count = 0;
    for (plural, kind) in KINDS {
        let list: Vec<Object> = objects[plural].iter().filter_map(|text| kept(kind, text)).collect();
        assert_eq!(list.len(), objects[plural].len(), "every object of {plural} is one of a release");
        count += list.len();
        drop(black_box(index.replace(kind, list)));
    }
    assert_eq!(index.len(), count);
    // A pod that goes out and comes back: each of these changes something.
    let pods = &objects["pods"];
    let unready: Vec<String> =
        pods.iter().map(|text| text.replace(r#""status":"True""#, r#""status":"False""#)).collect();
    let (mut changed, mut applying) = (0, Duration::ZERO);
    let began = Instant::now();
    for text in unready.iter().chain(pods) {
        let object = kept(Kind::Pod, text).expect("a pod of a release");
        let applied = Instant::now();
        changed += index.apply(object).len();
        applying += applied.elapsed();
    }
    let took = began.elapsed();
    assert_eq!(changed, 2 * pods.len(), "each event changed something");
    let each = |took: Duration| took.as_secs_f64() * 1e6 / changed as f64;
    let what =
        format!("an event of a pod, read and applied, with {releases} releases and {} pods in the index", pods.len());
    report.at_most(&what, each(took), 50.0, " µs");
    report.beside("the same, once it is read", format!("{:.2} µs", each(applying)));
}

/// An API server that has these objects and says nothing more.
#[derive(Clone)]
struct Played {
    objects: Arc<BTreeMap<&'static str, Vec<String>>>,
    lists: Arc<AtomicUsize>,
    others: Arc<AtomicUsize>,
}

impl Played {
    fn start(objects: BTreeMap<&'static str, Vec<String>>) -> (Self, SocketAddr) {
        let played = Self { objects: Arc::new(objects), lists: Arc::default(), others: Arc::default() };
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("a socket option");
        let address = listener.local_addr().expect("an address");
        let state = played.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
                axum::serve(listener, Router::new().fallback(answer).with_state(state)).await.expect("a server");
            });
        });
        (played, address)
    }
}

async fn answer(State(played): State<Played>, request: Request) -> Response {
    let query: BTreeMap<String, String> = request
        .uri()
        .query()
        .unwrap_or_default()
        .split('&')
        .filter_map(|pair| pair.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned())))
        .collect();
    let plural = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
    let number = |name: &str| query.get(name).and_then(|text| text.parse::<usize>().ok());
    let Some(objects) = played.objects.get(plural.as_str()) else {
        played.others.fetch_add(1, Ordering::Relaxed);
        return axum::http::StatusCode::NOT_FOUND.into_response();
    };
    if query.contains_key("watch") {
        // Open, and silent.
        return Body::from_stream(futures_util::stream::pending::<Result<String, std::io::Error>>()).into_response();
    }
    played.lists.fetch_add(1, Ordering::Relaxed);
    let (from, limit) = (number("continue").unwrap_or_default(), number("limit").unwrap_or(objects.len()));
    let end = objects.len().min(from + limit);
    let next = if end < objects.len() { format!(r#","continue":"{end}""#) } else { String::new() };
    let items = objects[from..end].join(",");
    let list =
        format!(r#"{{"apiVersion":"v1","kind":"List","metadata":{{"resourceVersion":"1"{next}}},"items":[{items}]}}"#);
    ([("content-type", "application/json")], list).into_response()
}

/// A start until everything is known, and what the service holds then.
fn start(bench: &Bench, report: &mut Report, objects: BTreeMap<&'static str, Vec<String>>, releases: usize) {
    let pods = objects["pods"].len();
    let (played, address) = Played::start(objects);
    let environment = TestEnvironment::below(&bench.folder);
    let kubeconfig = environment.write(
        "kubeconfig",
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "played",
            "clusters": [{"name": "played", "cluster": {"server": format!("http://{address}")}}],
            "contexts": [{"name": "played", "context": {"cluster": "played", "user": "played"}}],
            "users": [{"name": "played", "user": {"token": "of-the-bench"}}],
        })
        .to_string(),
    );
    let began = Instant::now();
    let kubeconfig = kubeconfig.to_str().expect("a path");
    let server = environment.server().env("KMLFLOW__KUBERNETES__KUBECONFIG", kubeconfig).start();
    let is_known = |server: &Server<'_>| server.printed().matches(" are watched").count() >= KINDS.len();
    while !is_known(&server) {
        assert!(began.elapsed() < Duration::from_secs(120), "not everything is watched");
        pause(Duration::from_millis(2));
    }
    let took = began.elapsed().as_secs_f64();
    let of = format!("{releases} releases and {pods} pods");
    report.at_most(&format!("a start until {of} are known"), took, 3.0, " s");
    let lists = played.lists.load(Ordering::Relaxed);
    let before = processor_seconds(server.pid());
    pause(SILENCE);
    let idle = processor_seconds(server.pid()) - before;
    report.at_most(&format!("resident memory with {of}"), resident_mib_max(server.pid()), 128.0, " MiB");
    let asked = played.lists.load(Ordering::Relaxed) - lists + played.others.load(Ordering::Relaxed);
    report.counted(
        &format!("requests to the API server within {} s after that", SILENCE.as_secs()),
        asked as f64,
        0.0..=0.0,
    );
    report.beside("processor time meanwhile", format!("{:.0} ms", idle * 1000.0));
}
