//! Where Git and the cluster differ, as callers are told.

use std::time::{Duration, Instant};

use super::cluster::{Cluster, KINDS, Scene};
use super::*;
use crate::drift::DriftKind;
use crate::worker::{StatusState, SweepReport};

/// What differs, in short.
async fn diff(scene: &Scene) -> (StatusState, String, Vec<(DriftKind, String)>) {
    let diff = scene.world.handle().diff(&key("fraud")).await.unwrap();
    let short =
        diff.differences.into_iter().map(|it| (it.kind, format!("{} {} {}>{}", it.object, it.field, it.want, it.have)));
    (diff.state, diff.reason, short.collect())
}

/// Sweeps until what is found satisfies a claim: what was changed is listed a moment later.
async fn sweep_until(scene: &Scene, claim: impl Fn(&SweepReport) -> bool) -> SweepReport {
    let (begin, mut told) = (Instant::now(), Instant::now());
    loop {
        let report = scene.world.handle().sweep(false).await.unwrap();
        if claim(&report) {
            return report;
        }
        assert!(begin.elapsed() < Duration::from_secs(60), "{report:#?}");
        if told.elapsed() > Duration::from_millis(500) {
            // A watch that began after the list was taken and before it was another one.
            KINDS.iter().for_each(|plural| scene.server.expire(plural));
            told = Instant::now();
        }
        super::pause().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_live_agrees_and_what_was_changed_by_hand_is_told_by_diff_and_sweep() {
    let scene = Scene::with_seven().await;
    assert_eq!(diff(&scene).await, (StatusState::Live, "Git and the cluster agree".to_owned(), Vec::new()));
    sweep_until(&scene, |report| report.drift.is_empty() && report.unseen.is_empty()).await;
    scene.server.edit("seldondeployments", |items| {
        items[0]["spec"]["predictors"][0]["componentSpecs"][0]["spec"]["containers"][0]["image"] =
            json!("registry.example/evil:1");
    });
    scene.server.edit("grpcroutes", Vec::clear);
    let (_, reason, differences) = diff(&scene).await;
    assert_eq!(reason, "Git and the cluster differ in 2 places");
    let field = "spec.predictors[v7].componentSpecs[0].spec.containers[model].image";
    let image = format!("SeldonDeployment/fraud {field} registry.example/fraud:7>registry.example/evil:1");
    let gone = "GRPCRoute/fraud-grpc  it is there>it is not there".to_owned();
    assert_eq!(differences, [(DriftKind::Missing, gone), (DriftKind::Edited, image)]);
    let report = sweep_until(&scene, |report| report.drift.iter().any(|drift| drift.differences.len() == 2)).await;
    assert_eq!(report.drift[0].release.as_deref(), Some("production/models/fraud"));
    assert_eq!(scene.world.handle().last_sweep().await.unwrap().drift, report.drift, "kept for whoever asks");
    let metrics = scene.world.handle().metrics().await;
    for line in ["kmlflow_sweep_differences{kind=\"edited\"} 1", "kmlflow_sweep_differences{kind=\"missing\"} 1"] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_release_wants_is_told_and_what_is_retracted_right_now_is_not() {
    let mut scene = Scene::with_seven().await;
    let object = |name: &str, release: Value| json!({"metadata": {"name": name, "namespace": "models", "annotations": {"kmlflow.dev/release": release}}, "spec": {"predictors": []}});
    scene.server.edit("seldondeployments", |items| {
        let mut by_hand = object("by-hand", json!(""));
        by_hand["metadata"]["annotations"] = json!({});
        items.extend([
            by_hand,
            object("left", json!("production/models/left")),
            object("theirs", json!("staging/models/theirs")),
        ]);
    });
    let report = sweep_until(&scene, |report| report.drift.len() == 2).await;
    let told: Vec<_> =
        report.drift.iter().map(|it| (it.release.as_deref(), it.place.as_str(), it.differences[0].kind)).collect();
    assert_eq!(
        told,
        [(None, "models/by-hand", DriftKind::Unmanaged), (None, "models/left", DriftKind::Orphaned)],
        "what another service says is its own is left to that"
    );
    scene.world.act("fraud", Act::Retract).await;
    let report = scene.world.handle().sweep(true).await.unwrap();
    assert_eq!(report.drift.len(), 2, "{report:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_on_its_way_is_no_drift_for_the_sweep_and_diff_says_so() {
    let mut scene = Scene::with_seven().await;
    scene.world.put("fraud", single("8")).await;
    let (state, reason, differences) = diff(&scene).await;
    assert_eq!(state, StatusState::Syncing);
    assert!(reason.contains("and it is on its way: ") && !differences.is_empty(), "{reason} {differences:?}");
    assert_eq!(scene.world.handle().sweep(true).await.unwrap().drift, []);
    scene.comes(Cluster::Ready).await;
    assert_eq!(diff(&scene).await.2, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_cannot_be_read_is_named_and_what_differs_within_git_is_told() {
    let scene = Scene::with_seven().await;
    scene.server.put("services", crate::sync::tests::api_server::Answer::Fails(403));
    scene.server.expire("services");
    let (state, reason, _) = diff(&scene).await;
    assert_eq!(state, StatusState::Unknown);
    assert!(reason.contains("`get` `services`: its role lacks that verb"), "{reason}");
    // Whichever comes first is refused first: to watch on, or to list anew.
    let report =
        sweep_until(&scene, |report| report.unseen.iter().any(|unseen| unseen.contains("`list` `services`"))).await;
    assert!(report.drift.is_empty(), "{report:#?}");
}

#[tokio::test]
async fn without_a_cluster_diff_says_so_and_there_is_nothing_to_sweep() {
    let world = with_fraud().await;
    let diff = world.handle().diff(&key("fraud")).await.unwrap();
    assert_eq!(diff.reason, "no cluster configured; no rendered file in Git was changed by hand");
    assert_eq!((diff.state, diff.differences), (StatusState::Unknown, Vec::new()));
    let refused = world.handle().sweep(true).await.unwrap_err();
    assert!(format!("{refused:?}").contains("`mlflow.tracking_uri` or `kubernetes`"), "{refused:?}");
}
