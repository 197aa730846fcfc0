use serde_json::{Value, json};

use super::api_server::Answer;
use super::watching::scene;

#[tokio::test]
async fn an_application_is_refreshed_by_a_fresh_moment_and_a_missing_one_is_said() {
    let scene = scene(|_| {}).await;
    let path = "/apis/argoproj.io/v1alpha1/namespaces/argocd/applications/production.models.fraud";
    scene.server.say(path, 200, &json!({"metadata": {"name": "production.models.fraud"}}).to_string());
    let now = jiff::Timestamp::from_second(1_700_000_000).unwrap();
    assert!(scene.clusters.refresh("production.models.fraud", now).await.unwrap());
    assert!(!scene.clusters.refresh("production.models.other", now).await.unwrap(), "404");
    assert!(scene.clusters.end_operation("production.models.fraud", 41).await.unwrap());
    let asked = scene.server.asked();
    let patches: Vec<Value> = asked.iter().map(|(_, _, body)| serde_json::from_str(body).unwrap()).collect();
    let annotations =
        json!({"argocd.argoproj.io/refresh": "normal", "argocd.argoproj.io/refresh-timestamp": "2023-11-14T22:13:20Z"});
    assert_eq!(patches[0], json!({"metadata": {"annotations": annotations}}));
    let ended = json!({"metadata": {"resourceVersion": "41"}, "status": {"operationState": {"phase": "Terminating"}}});
    assert_eq!(patches[2], ended);
    scene.server.say(path, 409, "");
    assert!(!scene.clusters.end_operation("production.models.fraud", 41).await.unwrap(), "what runs is another one");
    assert!(asked.iter().all(|(method, _, _)| method == "PATCH"));
}

#[tokio::test]
async fn a_right_that_is_missing_is_named() {
    let scene = scene(|_| {}).await;
    scene.server.say("/apis/argoproj.io/v1alpha1/namespaces/argocd/applications/a.b.c", 403, "");
    let refused = scene.clusters.refresh("a.b.c", jiff::Timestamp::UNIX_EPOCH).await.unwrap_err();
    assert!(refused.contains("does not let the service `patch` `applications.argoproj.io`"), "{refused}");
    scene.server.put("applicationsets", Answer::Fails(403));
    let refused = scene.clusters.refresh_sets(|_| true).await.unwrap_err();
    assert!(refused.contains("`list` `applicationsets.argoproj.io`"), "{refused}");
}

#[tokio::test]
async fn only_the_sets_that_read_our_folders_of_our_repository_are_told() {
    let set = |name: &str, generators: Value| {
        json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "ApplicationSet", "metadata": {"name": name, "namespace": "argocd"},
               "spec": {"generators": generators}})
    };
    let git = |repository: &str, path: &str| json!({"git": {"repoURL": repository, "directories": [{"path": path}]}});
    let sets = [
        ("ours", json!([git("ours", "releases/production/*/*")])),
        ("nested", json!([{"matrix": {"generators": [{"list": {}}, git("ours", "releases/staging/*/*")]}}])),
        ("another-folder", json!([git("ours", "apps/*")])),
        ("like-it", json!([git("ours", "helm-releases/*")])),
        ("another-repository", json!([git("theirs", "releases/production/*/*")])),
    ];
    let scene = scene(|server| {
        let sets = sets.map(|(name, generators)| set(name, generators));
        server.put("applicationsets", Answer::Objects(sets.to_vec()));
    })
    .await;
    let path = |name: &str| format!("/apis/argoproj.io/v1alpha1/namespaces/argocd/applicationsets/{name}");
    for name in ["ours", "nested"] {
        scene.server.say(&path(name), 200, &set(name, json!([])).to_string());
    }
    assert_eq!(scene.clusters.refresh_sets(|address| address == "ours").await.unwrap(), 2);
    let asked = scene.server.asked();
    assert_eq!(asked.len(), 2, "{asked:?}");
    for ((_, at, body), name) in asked.iter().zip(["ours", "nested"]) {
        assert!(at.starts_with(&path(name)) && body.contains("application-set-refresh"), "{asked:?}");
    }
}

#[tokio::test]
async fn an_application_is_read_beside_a_watch_that_is_behind() {
    let at = |version: &str, status: &str| json!({"metadata": {"name": "a.b.c", "namespace": "argocd", "resourceVersion": version}, "status": {"sync": {"status": status}}});
    let scene = scene(|server| server.put("applications", Answer::Objects(vec![at("5", "OutOfSync")]))).await;
    let is_synced = || scene.clusters.see("here", |index| index.application("a.b.c").map(|it| it.is_synced)).unwrap();
    while is_synced().is_none() {
        tokio::task::yield_now().await;
    }
    let path = "/apis/argoproj.io/v1alpha1/namespaces/argocd/applications/a.b.c";
    scene.server.say(path, 200, &at("4", "Synced").to_string());
    assert!(scene.clusters.read_application("a.b.c").await.unwrap());
    assert_eq!(is_synced(), Some(false), "an older state");
    scene.server.say(path, 200, &at("9", "Synced").to_string());
    assert!(scene.clusters.read_application("a.b.c").await.unwrap());
    assert_eq!(is_synced(), Some(true));
    assert!(!scene.clusters.read_application("a.b.d").await.unwrap(), "404");
    scene.server.say(path, 403, "");
    let refused = scene.clusters.read_application("a.b.c").await.unwrap_err();
    assert!(refused.contains("`get` `applications.argoproj.io`"), "{refused}");
}
