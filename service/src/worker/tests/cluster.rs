//! A cluster is watched: what is committed is followed to live, and decisions go by what is seen.

use std::time::{Duration, Instant};

use super::*;
use crate::event::DeliveryState;
use crate::release::{Observed, Phase};
use crate::sync::tests::api_server::{Answer as Listed, ApiServer};
use crate::sync::{Address, Settings as ClusterSettings};
use crate::worker::StatusState;
use crate::worker::observe::{follow_clusters, observed};

pub(super) const KINDS: [&str; 7] =
    ["applications", "seldondeployments", "deployments", "pods", "services", "httproutes", "grpcroutes"];

/// A service, and the cluster that it watches.
pub(super) struct Scene {
    pub(super) world: World,
    pub(super) server: ApiServer,
    clusters: ClusterSettings,
    following: Option<tokio::task::JoinHandle<()>>,
    _dir: TempDir,
}

/// How far the cluster has come with what Git holds.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Cluster {
    /// Argo CD has applied it; the operator does nothing.
    Applied,
    /// The operator has done all of it, and all pods are ready.
    Ready,
    /// The pod of the newest predictor cannot pull its image; the older ones serve.
    NewestCannotPull,
    /// It runs, and does not answer its probe.
    NewestIsUnready,
    /// So it is while Argo CD still applies the rest.
    NewestStarts,
}

impl Scene {
    pub(super) async fn new() -> Self {
        Self::of(World::new(Period::ZERO, 1_000)).await
    }

    /// Over a service that was not started yet.
    pub(super) async fn of(world: World) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kubeconfig");
        let server = ApiServer::start(&path).await;
        KINDS.iter().for_each(|plural| server.put(plural, Listed::Objects(Vec::new())));
        server.put("applicationsets", Listed::Objects(Vec::new()));
        let clusters = [("in-cluster".to_owned(), Address::Kubeconfig { path, context: None })].into();
        let clusters =
            ClusterSettings { clusters, hub: "in-cluster".to_owned(), argocd_namespace: "argocd".to_owned() };
        let mut scene = Self { world, server, clusters, following: None, _dir: dir };
        scene.start().await;
        scene
    }

    pub(super) async fn start(&mut self) {
        if let Some(following) = self.following.take() {
            following.abort();
        }
        // What was seen before is not remembered over a restart.
        self.world.clusters = Some(Clusters::connect(self.clusters.clone()).await.unwrap());
        self.world.start().await;
        self.following = Some(tokio::spawn(follow_clusters(self.world.handle().shared.clone())));
    }

    /// Has the cluster come so far with what Git holds now.
    pub(super) async fn comes(&self, how: Cluster) {
        let view = self.world.view("fraud").await;
        let mut objects: BTreeMap<&str, Vec<Value>> = KINDS.iter().map(|plural| (*plural, Vec::new())).collect();
        let manifests = self.world.handle().manifests(&key("fraud"), None).await.unwrap();
        for text in ["seldon.yaml", "route.yaml"].map(|file| &manifests[file]) {
            for document in serde_yaml::Deserializer::from_str(text) {
                let mut object = <Value as serde::Deserialize>::deserialize(document).unwrap();
                let plural = match object["kind"].as_str().unwrap() {
                    "SeldonDeployment" => {
                        object["status"] =
                            json!({"state": if how == Cluster::Ready { "Available" } else { "Creating" }});
                        "seldondeployments"
                    }
                    "Service" => "services",
                    "HTTPRoute" => "httproutes",
                    _ => "grpcroutes",
                };
                if plural.ends_with("routes") {
                    let is = |kind: &str| json!({"type": kind, "status": "True", "observedGeneration": 1});
                    object["metadata"]["generation"] = json!(1);
                    let parent = json!({"name": "gateway", "namespace": "gateway"});
                    object["status"] =
                        json!({"parents": [{"parentRef": parent, "conditions": [is("Accepted"), is("ResolvedRefs")]}]});
                }
                objects.get_mut(plural).unwrap().push(object);
            }
        }
        let newest = view.release.staying().last().unwrap().predictor.clone();
        for (predictor, hash) in &view.release.rendered.pods {
            let is_unready = matches!(how, Cluster::NewestIsUnready | Cluster::NewestStarts);
            let is_bad = (is_unready || how == Cluster::NewestCannotPull) && *predictor == newest;
            if how == Cluster::Applied {
                continue;
            }
            let labels = json!({"seldon-deployment-id": "fraud", "seldon-app": format!("fraud-{predictor}")});
            let available = u8::from(!is_bad);
            objects.get_mut("deployments").unwrap().push(json!({
                "metadata": {"name": format!("fraud-{predictor}-0-model"), "namespace": "models", "generation": 1, "labels": labels,
                             "annotations": {"kmlflow.dev/pod-hash": hash}},
                "spec": {"replicas": 1, "selector": {"matchLabels": labels}},
                "status": {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "availableReplicas": available},
            }));
            let waiting = json!({"waiting": {"reason": "ErrImagePull", "message": "manifest unknown"}});
            let container = json!({"name": "model", "image": "", "ready": !is_bad, "state": if is_bad && !is_unready { waiting } else { json!({"running": {}}) }});
            objects.get_mut("pods").unwrap().push(json!({
                "metadata": {"name": format!("fraud-{predictor}-0-model-abc"), "namespace": "models", "labels": labels},
                "spec": {"containers": [{"name": "model", "image": "registry.example/fraud:8"}]},
                "status": {"containerStatuses": [container], "conditions": [{"type": "Ready", "status": if is_bad { "False" } else { "True" }}]},
            }));
        }
        let tip = self.world.handle().shared.repository.tip().unwrap();
        let operation = match how {
            Cluster::NewestStarts => json!({"phase": "Running", "operation": {}}),
            _ => Value::Null,
        };
        objects.get_mut("applications").unwrap().push(json!({
            "metadata": {"name": "production.models.fraud", "namespace": "argocd"},
            "spec": {"source": {"path": "releases/production/models/fraud"}},
            "status": {"sync": {"status": "Synced", "revision": tip}, "operationState": operation},
        }));
        // A pod tells why it is in trouble, and from when something of its own is in trouble a commit has its time, unless it was applied
        // before: so the pods come last.
        let pods = objects.remove("pods").unwrap();
        for (plural, objects) in objects {
            self.put(plural, objects);
        }
        if how != Cluster::NewestStarts {
            self.until_applied().await;
        }
        self.put("pods", pods);
    }

    fn put(&self, plural: &str, objects: Vec<Value>) {
        self.server.put(plural, Listed::Objects(objects));
        self.server.expire(plural);
    }

    /// Waits until what Git holds is seen to be applied.
    pub(super) async fn until_applied(&self) {
        let shared = &self.world.handle().shared;
        let (key, begin) = (key("fraud"), Instant::now());
        let mut told = Instant::now();
        loop {
            let entry = shared.entry(&key).unwrap();
            let environment = shared.environment(&key.environment).unwrap();
            let seen = observed(shared, (&key, Some(&entry)), environment, self.world.clock.now());
            if matches!(&seen, Observed::Seen(seen) if seen.applied) {
                return;
            }
            assert!(begin.elapsed() < Duration::from_secs(60), "what was applied is seen: {seen:?}");
            self.watch_anew(&mut told);
            super::pause().await;
        }
    }

    /// Has everything listed again from time to time: a watch that began after the list was taken and before it was another one.
    fn watch_anew(&self, told: &mut Instant) {
        if told.elapsed() > Duration::from_millis(500) {
            KINDS.iter().for_each(|plural| self.server.expire(plural));
            *told = Instant::now();
        }
    }

    /// Lets the writer work until a claim about the release holds.
    pub(super) async fn until(&mut self, what: &str, claim: impl Fn(&ReleaseView) -> bool) -> ReleaseView {
        let (begin, mut told) = (Instant::now(), Instant::now());
        loop {
            self.world.run().await;
            let view = self.world.view("fraud").await;
            if claim(&view) {
                return view;
            }
            assert!(begin.elapsed() < Duration::from_secs(60), "{what}: {:?} {:?}", view.status, view.release.rollout);
            self.watch_anew(&mut told);
            super::pause().await;
        }
    }

    /// The release with version 7 settled and live.
    pub(super) async fn with_seven() -> Self {
        Self::new().await.and_seven().await
    }

    async fn and_seven(self) -> Self {
        let mut scene = self;
        scene.world.put("fraud", single("7")).await;
        scene.comes(Cluster::Ready).await;
        scene.until("v7 is live", |view| view.status.state == StatusState::Live).await;
        scene
    }
}

fn phase(view: &ReleaseView) -> Phase {
    view.release.rollout.phase
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_is_followed_to_live_and_when_is_kept_over_a_restart() {
    let mut scene = Scene::new().await;
    let done = scene.world.put("fraud", single("7")).await;
    assert_ne!(done.release.unwrap().status.state, StatusState::Live);
    scene.comes(Cluster::Applied).await;
    let stuck = |view: &ReleaseView| view.status.reason.contains("the Seldon operator does not take up");
    let view = scene.until("the operator is missed", stuck).await;
    assert_eq!(view.status.state, StatusState::Syncing);
    scene.comes(Cluster::Ready).await;
    let view = scene.until("live", |view| view.status.state == StatusState::Live).await;
    let since = view.status.since.unwrap();
    scene.world.clock.advance(Duration::from_secs(300));
    scene.start().await;
    let view = scene.until("live again", |view| view.status.state == StatusState::Live).await;
    assert_eq!(view.status.since, Some(since), "the first time counts");
    let timeline = scene.world.handle().timeline(&key("fraud")).await.unwrap();
    assert!(timeline.items.iter().any(|item| item.kind == "live" && item.at == since), "{timeline:?}");
    let kinds: Vec<&str> = timeline.items.iter().rev().map(|item| item.kind.as_str()).collect();
    for kind in ["delivery", "commit", "sync", "pods", "live"] {
        assert!(kinds.contains(&kind), "{kind}: {timeline:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_begins_once_the_new_predictor_is_seen_ready_and_no_sooner() {
    let mut scene = Scene::with_seven().await;
    let wanted = json!({"model": "fraud", "version": "8", "strategy": "canary", "steps": [5, 50]});
    let done = scene.world.put("fraud", wanted).await;
    assert_eq!(phase(&done.release.unwrap()), Phase::Entering, "whatever `blind_delay` is");
    scene.comes(Cluster::Applied).await;
    let waits = |view: &ReleaseView| view.waits_for.as_deref().is_some_and(|why| why.contains("is not ready"));
    let view = scene.until("it says for what it waits", waits).await;
    assert_eq!(phase(&view), Phase::Entering);
    scene.comes(Cluster::Ready).await;
    let view = scene.until("running", |view| phase(view) == Phase::Running).await;
    assert_eq!(view.release.rollout.step, Some(0));
    assert_ne!(view.status.state, StatusState::Live, "the new commit has to be applied first");
    scene.comes(Cluster::Ready).await;
    scene.until("live", |view| view.status.state == StatusState::Live).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_candidate_that_stalls_is_taken_back_by_a_commit() {
    let mut scene = Scene::with_seven().await;
    let wanted = json!({"model": "fraud", "version": "8", "strategy": "canary", "steps": [5, 50]});
    scene.world.put("fraud", wanted).await;
    scene.comes(Cluster::NewestCannotPull).await;
    let named = |view: &ReleaseView| {
        view.status.reason.contains("cannot pull its image `registry.example/fraud:8`: manifest unknown")
    };
    let view = scene.until("the reason is named", named).await;
    assert_eq!((view.status.state, phase(&view)), (StatusState::Syncing, Phase::Entering));
    assert!(view.status.cure.unwrap().contains("push that image"));
    scene.world.clock.advance(Duration::from_secs(11 * 60));
    let view = scene.until("taken back", |view| phase(view) == Phase::Leaving).await;
    assert_eq!(view.release.rollout.rejected[0].version.as_str(), "8");
    assert_eq!(view.release.stable().unwrap().version.as_str(), "7");
    let history = scene.world.handle().history(&key("fraud"), None, None).await.unwrap();
    let newest = &history.items[0];
    assert_eq!(
        (newest.action, newest.requested_by.as_deref()),
        (Some(crate::release::Action::Abort), Some("auto-rollback"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stalls_while_the_inbox_is_full_is_taken_back_once_there_is_room() {
    let mut world = World::new(Period::ZERO, 1);
    world.limits.store.waiting_max = 1;
    let mut scene = Scene::of(world).await.and_seven().await;
    scene.world.put("fraud", single("8")).await;
    scene.comes(Cluster::NewestCannotPull).await;
    scene.until("v8 is in trouble", |view| view.status.reason.contains("cannot pull its image")).await;
    scene.world.clock.advance(Duration::from_secs(10 * 60 - 30));
    for model in ["model-1", "model-2"] {
        scene.world.event(model, alias("champion", "1")).await;
    }
    assert!(scene.world.handle().release(&key("model-2")).await.is_err(), "it waits, and the inbox is full");
    scene.world.clock.advance(Duration::from_secs(30));
    let view = scene.until("it is stalled", |view| view.status.state == StatusState::Stalled).await;
    assert_eq!(view.release.stable().unwrap().version.as_str(), "8");
    scene.world.clock.advance(Duration::from_secs(30));
    scene.world.run().await;
    assert!(scene.world.handle().release(&key("model-2")).await.is_ok(), "there is room again");
    scene.world.clock.advance(Duration::from_secs(30));
    scene.until("taken back", |view| view.release.stable().unwrap().version.as_str() == "7").await;
}

/// Version 8 in trouble for nine of its ten minutes, which began after its deadline had passed.
async fn late_by_nine_minutes(how: Cluster) -> Scene {
    let mut scene = Scene::with_seven().await;
    scene.world.put("fraud", single("8")).await;
    scene.world.clock.advance(Duration::from_secs(11 * 60));
    scene.until("it is stalled", |view| view.status.state == StatusState::Stalled).await;
    scene.comes(how).await;
    let is_unready = |view: &ReleaseView| view.status.reason.contains("does not answer its readiness probe");
    scene.until("its pod starts", is_unready).await;
    scene.world.clock.advance(Duration::from_secs(9 * 60));
    scene.world.run().await;
    scene
}

#[tokio::test(flavor = "multi_thread")]
async fn what_argo_cd_applies_late_has_its_time_from_then_on() {
    let mut scene = late_by_nine_minutes(Cluster::NewestIsUnready).await;
    let view = scene.world.view("fraud").await;
    assert_eq!(view.release.stable().unwrap().version.as_str(), "8", "its pod had nine of its ten minutes");
    scene.world.clock.advance(Duration::from_secs(2 * 60));
    scene.until("taken back", |view| view.release.stable().unwrap().version.as_str() == "7").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_argo_cd_is_still_applying_has_its_time_from_when_it_is_first_in_trouble() {
    let mut scene = late_by_nine_minutes(Cluster::NewestStarts).await;
    assert_eq!(scene.world.view("fraud").await.release.stable().unwrap().version.as_str(), "8");
    scene.comes(Cluster::Ready).await;
    let view = scene.until("live", |view| view.status.state == StatusState::Live).await;
    assert_eq!(view.release.stable().unwrap().version.as_str(), "8");
}

#[tokio::test(flavor = "multi_thread")]
async fn argo_cd_is_told_of_a_commit_at_once() {
    let mut scene = Scene::with_seven().await;
    let path = "/apis/argoproj.io/v1alpha1/namespaces/argocd/applications/production.models.fraud";
    scene.server.say(path, 200, r#"{"metadata": {"name": "production.models.fraud"}}"#);
    scene.world.put("fraud", single("8")).await;
    let server = scene.server.clone();
    let is_refresh = |(method, at, body): &(String, String, String)| {
        method == "PATCH" && at.starts_with(path) && body.contains("argocd.argoproj.io/refresh-timestamp")
    };
    scene.until("Argo CD is told", move |_| server.asked().iter().any(is_refresh)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_cannot_be_seen_lets_nothing_go_on_and_says_why() {
    let mut scene = Scene::with_seven().await;
    scene.server.put("pods", Listed::Fails(403));
    scene.server.expire("pods");
    let unknown =
        |view: &ReleaseView| view.status.state == StatusState::Unknown && view.status.reason.contains("`list` `pods`");
    scene.until("it is said", unknown).await;
    let requested = put("fraud", json!({"model": "fraud", "version": "8", "strategy": "canary"}));
    let handle = scene.world.handle();
    let asking = tokio::spawn(async move { handle.request(requested, Duration::from_millis(200)).await });
    while !asking.is_finished() {
        scene.world.run().await;
        super::pause().await;
    }
    match asking.await.unwrap().unwrap() {
        Answer::Queued { .. } => {}
        other => panic!("not queued: {other:?}"),
    }
    assert!(
        scene.world.handle().release(&key("fraud")).await.unwrap().waiting.unwrap().waits_for.contains("`list` `pods`")
    );
    scene.server.put("pods", Listed::Objects(Vec::new()));
    scene.comes(Cluster::Ready).await;
    scene.until("it goes on", |view| phase(view) == Phase::Entering).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retracted_release_is_known_to_go_over_a_restart_until_nothing_of_it_is_left() {
    let mut scene = Scene::with_seven().await;
    scene.world.done(request("fraud", Intent::Retract)).await;
    scene.start().await;
    let handle = scene.world.handle();
    let begin = Instant::now();
    let view = loop {
        match handle.release(&key("fraud")).await {
            Ok(view) => break view,
            Err(fault) => assert!(begin.elapsed() < Duration::from_secs(60), "{fault}"),
        }
        super::pause().await;
    };
    assert_eq!((view.deployed, view.status.state), (false, StatusState::Retracting));
    assert_eq!(view.release.stable().unwrap().version.as_str(), "7");
    // What cannot be seen any more is not said to be there still.
    scene.server.put("applications", Listed::Fails(403));
    scene.server.expire("applications");
    let unseen = "it is retracted, and what is left of it cannot be seen: the cluster ";
    while !handle.release(&key("fraud")).await.unwrap().status.reason.starts_with(unseen) {
        assert!(begin.elapsed() < Duration::from_secs(60), "it is said to be seen");
        super::pause().await;
    }
    for plural in KINDS {
        scene.server.put(plural, Listed::Objects(Vec::new()));
        scene.server.expire(plural);
    }
    while handle.release(&key("fraud")).await.is_ok() {
        assert!(begin.elapsed() < Duration::from_secs(60), "it is still known");
        super::pause().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_passes_over_a_version_that_never_was_live() {
    let mut scene = Scene::with_seven().await;
    scene.world.put("fraud", single("8")).await;
    scene.comes(Cluster::NewestCannotPull).await;
    scene.until("v8 is not live", |view| view.status.reason.contains("cannot pull its image")).await;
    scene.world.put("fraud", single("9")).await;
    scene.comes(Cluster::Ready).await;
    scene.until("v9 is live", |view| view.status.state == StatusState::Live).await;
    scene.world.act("fraud", Act::Rollback { to: None }).await;
    assert_eq!(scene.world.view("fraud").await.release.stable().unwrap().version.as_str(), "7");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_probe_says_is_read_again_once_the_release_stalls() {
    let mut scene = Scene::new().await;
    scene.server.put("events", Listed::Objects(Vec::new()));
    scene.world.put("fraud", single("7")).await;
    scene.comes(Cluster::NewestIsUnready).await;
    let unready = |view: &ReleaseView| view.status.reason.ends_with("does not answer its readiness probe");
    scene.until("the probe fails, and nobody says how", unready).await;
    let message = "Readiness probe failed: HTTP probe failed with statuscode: 503";
    let event = json!({"metadata": {"name": "one", "namespace": "models"}, "involvedObject": {"kind": "Pod"}, "message": message});
    scene.server.put("events", Listed::Objects(vec![event]));
    scene.world.clock.advance(Duration::from_secs(601));
    let told = |view: &ReleaseView| view.status.state == StatusState::Stalled && view.status.reason.ends_with(message);
    scene.until("it is stalled, and how the probe fails is said", told).await;
}

/// A notification of Argo CD arrives.
async fn argo_cd_says(world: &World, id: &str, application: &str) {
    let event = Event::ApplicationChanged { application: application.to_owned() };
    let (id, received_at) = (DeliveryId::parse(id).unwrap(), world.clock.now_exact());
    let delivery = NewDelivery { source: Source::Argocd, id, received_at, body: "{}".into(), event };
    assert_eq!(world.handle().deliver(delivery).await.unwrap(), Received::Accepted);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_argo_cd_says_is_read_from_the_cluster_and_never_believed() {
    let mut scene = Scene::with_seven().await;
    let name = "production.models.fraud";
    argo_cd_says(&scene.world, "n-1", name).await;
    let path = format!("/apis/argoproj.io/v1alpha1/namespaces/argocd/applications/{name}");
    let server = scene.server.clone();
    let is_read = move |_: &ReleaseView| server.asked().iter().any(|(method, at, _)| method == "GET" && *at == path);
    let view = scene.until("the Application is read", is_read).await;
    assert_eq!(view.status.state, StatusState::Live, "a hint changes nothing");
    let told = scene.world.handle().delivery("n-1").await.unwrap();
    assert_eq!(
        (told.state, told.reason.unwrap()),
        (DeliveryState::Unchanged, format!("the Application `{name}` is read anew"))
    );
    argo_cd_says(&scene.world, "n-2", "kmlflow").await;
    scene.world.run().await;
    let told = scene.world.handle().delivery("n-2").await.unwrap();
    assert_eq!(
        (told.state, told.reason.unwrap().as_str()),
        (DeliveryState::Ignored, "the Application `kmlflow` is of no release")
    );
}
