//! The Lease of a leader, on an API server in miniature that keeps one object with its version.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use axum::{Json, Router};
use serde_json::{Value, json};

use super::super::{Address, Clusters, Holding, Lease, LeaseSettings, Settings};

/// The shortest that a Lease can say.
const LASTS: Duration = Duration::from_secs(1);

/// Only ends a hanging test.
const SOON: Duration = Duration::from_secs(20);

/// What is at the API server.
#[derive(Default)]
struct Kept {
    lease: Option<Value>,
    version: u32,
    /// Every call is answered so instead.
    fails: Option<u16>,
    /// No call is answered.
    is_silent: bool,
    /// Method and path of every call.
    asked: Vec<String>,
}

#[derive(Clone, Default)]
struct Site(Arc<Mutex<Kept>>);

impl Site {
    /// Starts it, with a way there for each of these replicas.
    async fn start<const N: usize>(holders: [&str; N]) -> (Self, [Lease; N]) {
        let site = Self::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().fallback(answer).with_state(site.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kubeconfig");
        let file = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{"name": "test", "cluster": {"server": format!("http://{address}")}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test", "namespace": "k5w"}}],
            "users": [{"name": "test", "user": {"token": "of-the-tests"}}],
        });
        std::fs::write(&path, file.to_string()).unwrap();
        let clusters = [("in-cluster".to_owned(), Address::Kubeconfig { path, context: None })].into();
        let (hub, argocd_namespace) = ("in-cluster".to_owned(), "argocd".to_owned());
        let clusters = Clusters::connect(Settings { clusters, hub, argocd_namespace }).await.unwrap();
        let of = |holder: &str| LeaseSettings { name: "kmlflow".into(), holder: holder.into(), duration: LASTS };
        (site, holders.map(|holder| clusters.lease(of(holder)).unwrap()))
    }

    fn change(&self, change: impl FnOnce(&mut Kept)) {
        change(&mut self.0.lock().unwrap());
    }

    fn spec(&self) -> Value {
        let kept = self.0.lock().unwrap();
        kept.lease.as_ref().map_or(Value::Null, |lease| lease["spec"].clone())
    }

    fn holder(&self) -> String {
        self.spec()["holderIdentity"].as_str().unwrap_or_default().to_owned()
    }

    /// Somebody writes it without regard for what is there.
    fn write(&self, holder: &str, renewed: &str) {
        self.change(|kept| {
            kept.version += 1;
            kept.lease = Some(json!({
                "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
                "metadata": {"name": "kmlflow", "namespace": "k5w", "resourceVersion": kept.version.to_string()},
                "spec": {"holderIdentity": holder, "leaseDurationSeconds": 1, "leaseTransitions": 4, "renewTime": renewed},
            }));
        });
    }
}

async fn answer(State(site): State<Site>, method: Method, uri: Uri, body: Bytes) -> Response {
    let is_silent = {
        let mut kept = site.0.lock().unwrap();
        kept.asked.push(format!("{method} {}", uri.path()));
        kept.is_silent
    };
    if is_silent {
        std::future::pending::<()>().await;
    }
    let mut kept = site.0.lock().unwrap();
    if let Some(code) = kept.fails {
        return failed(code);
    }
    let current = kept.version.to_string();
    let given = serde_json::from_slice::<Value>(&body).unwrap_or_default();
    match (method.as_str(), kept.lease.is_some()) {
        ("GET", true) => Json(kept.lease.clone()).into_response(),
        ("GET" | "PUT", false) => failed(404),
        ("POST", true) => failed(409),
        ("PUT", true) if given["metadata"]["resourceVersion"] != current.as_str() => failed(409),
        _ => {
            let mut lease = given;
            kept.version += 1;
            lease["metadata"]["resourceVersion"] = kept.version.to_string().into();
            kept.lease = Some(lease.clone());
            Json(lease).into_response()
        }
    }
}

fn failed(code: u16) -> Response {
    let reason = if code == 404 { "NotFound" } else { "Test" };
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": "as the test wants"});
    (StatusCode::from_u16(code).unwrap(), Json(status)).into_response()
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let looking = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, looking).await.unwrap_or_else(|_| panic!("{what}"));
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, future).await.expect("in time")
}

#[tokio::test]
async fn the_first_makes_it_and_renews_it_and_a_release_lets_the_next_one_have_it_at_once() {
    let (site, [first, second]) = Site::start(["kmlflow-0", "kmlflow-1"]).await;
    let holding = within(first.take()).await;
    let made = site.spec();
    assert_eq!((site.holder().as_str(), &made["leaseTransitions"], first.is_held()), ("kmlflow-0", &json!(0), true));
    assert_eq!(made["leaseDurationSeconds"], 1);
    until("a renewal", || site.spec()["renewTime"] != made["renewTime"]).await;
    assert_eq!(site.spec()["acquireTime"], made["acquireTime"]);
    within(holding.release()).await;
    assert_eq!((site.holder().as_str(), first.is_held()), ("", false));

    let begun = Instant::now();
    let _holding = within(second.take()).await;
    assert!(begun.elapsed() < LASTS, "{:?}", begun.elapsed());
    assert_eq!((site.holder().as_str(), &site.spec()["leaseTransitions"]), ("kmlflow-1", &json!(1)));
    let asked = site.0.lock().unwrap().asked.clone();
    let path = "/apis/coordination.k8s.io/v1/namespaces/k5w/leases";
    assert_eq!(asked[..2], [format!("GET {path}/kmlflow"), format!("POST {path}")]);
    assert_eq!(asked[2], format!("PUT {path}/kmlflow"), "it is renewed without being read");
}

#[tokio::test]
async fn one_of_a_holder_that_is_gone_is_waited_for_until_it_is_over() {
    let (site, [next]) = Site::start(["kmlflow-1"]).await;
    // Its clock is nobody's business.
    site.write("kmlflow-0", "2020-01-01T00:00:00.000000Z");
    let begun = Instant::now();
    let _holding = within(next.take()).await;
    assert!(begun.elapsed() >= LASTS, "{:?}", begun.elapsed());
    assert_eq!((site.holder().as_str(), &site.spec()["leaseTransitions"]), ("kmlflow-1", &json!(5)));
}

#[tokio::test]
async fn one_that_is_renewed_on_and_on_keeps_nobody_from_leading_and_is_taken_once_it_is_over() {
    let (site, [next]) = Site::start(["kmlflow-1"]).await;
    let (renewing, others) = (tokio_util::sync::CancellationToken::new(), site.clone());
    let end = renewing.clone();
    tokio::spawn(async move {
        let mut renewals = tokio::time::interval(LASTS / 4);
        for second in 0_u32.. {
            renewals.tick().await;
            if end.is_cancelled() {
                return;
            }
            others.write("elsewhere-0", &format!("2026-01-01T00:00:00.{second:06}Z"));
        }
    });
    until("theirs", || site.holder() == "elsewhere-0").await;
    let begun = Instant::now();
    let holding = within(next.take()).await;
    assert!((LASTS * 3..LASTS * 5).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    assert_eq!((site.holder().as_str(), next.is_held()), ("elsewhere-0", false), "nothing was written over theirs");
    renewing.cancel();
    until("ours", || next.is_held()).await;
    assert_eq!(site.holder(), "kmlflow-1");
    within(holding.release()).await;
}

#[tokio::test]
async fn whoever_had_it_learns_that_another_one_has_it() {
    let (site, [first]) = Site::start(["kmlflow-0"]).await;
    let holding: Holding = within(first.take()).await;
    site.write("kmlflow-1", "2026-01-01T00:00:00.000000Z");
    within(holding.replaced()).await;
    until("it has it no more", || !first.is_held()).await;
    within(holding.release()).await;
    assert_eq!(site.holder(), "kmlflow-1", "only one's own is released");
}

#[tokio::test]
async fn a_cluster_that_refuses_or_is_silent_keeps_nobody_from_leading() {
    for fails in [Some(403), Some(500), None] {
        let (site, [lease]) = Site::start(["kmlflow-0"]).await;
        site.change(|kept| (kept.fails, kept.is_silent) = (fails, fails.is_none()));
        let begun = Instant::now();
        let holding = within(lease.take()).await;
        assert!(begun.elapsed() < Duration::from_secs(5) && !lease.is_held(), "{fails:?}: {:?}", begun.elapsed());
        site.change(|kept| (kept.fails, kept.is_silent) = (None, false));
        until("it is taken as soon as it can be", || lease.is_held()).await;
        assert_eq!(site.holder(), "kmlflow-0");
        within(holding.release()).await;
    }
}

#[tokio::test]
async fn a_change_by_somebody_else_is_read_and_not_written_over() {
    let (site, [lease]) = Site::start(["kmlflow-0"]).await;
    let holding = within(lease.take()).await;
    site.change(|kept| {
        kept.version += 1;
        let version = kept.version.to_string();
        let lease = kept.lease.as_mut().unwrap();
        lease["metadata"]["resourceVersion"] = version.into();
        lease["metadata"]["labels"] = json!({"seen": "by-a-person"});
    });
    let renewed = site.spec()["renewTime"].clone();
    until("a renewal", || site.spec()["renewTime"] != renewed).await;
    let labels = site.0.lock().unwrap().lease.as_ref().unwrap()["metadata"]["labels"].clone();
    assert_eq!((labels, lease.is_held()), (json!({"seen": "by-a-person"}), true));
    // Dropped without an end, as where a start to lead is given up.
    drop(holding);
    until("it is released", || site.holder().is_empty()).await;
}
