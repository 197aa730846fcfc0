//! Pushes that would harm others: each stays the matter of its own release.

use super::*;
use crate::worker::FileState;

/// The release is invalid and serves on, others are released as ever, also after a restart.
async fn check_contained(world: &mut World, what: &str) {
    let view = world.view("fraud").await;
    assert_eq!(view.files, [FileState::Invalid], "{what}");
    assert_eq!(view.release.stable().unwrap().version.as_str(), "7", "{what}");
    world.put("wine", json!({"model": "wine", "version": "1"})).await;
    world.kill();
    world.start().await;
    assert_eq!(world.view("fraud").await.files, [FileState::Invalid], "{what}, after a restart");
    world.put("wine", json!({"model": "wine", "version": "2"})).await;
}

#[tokio::test]
async fn a_document_that_is_too_large_or_too_deep_stops_nobody() {
    for (what, text) in [("large", format!("# {}\n", "x".repeat(5 << 20))), ("deep", "[".repeat(50_000))] {
        let mut world = with_fraud().await;
        world.push(vec![(path("release.yaml"), Some(text))]).await;
        check_contained(&mut world, what).await;
    }
}

#[tokio::test]
async fn a_rendered_file_that_is_too_large_counts_as_changed_by_hand() {
    let mut world = with_fraud().await;
    world.push(vec![(path("seldon.yaml"), Some("x".repeat(5 << 20)))]).await;
    assert_eq!(world.view("fraud").await.files, [FileState::Drifted]);
    world.put("wine", json!({"model": "wine", "version": "1"})).await;
}

#[tokio::test]
async fn a_directory_without_its_document_is_not_gone() {
    let mut world = with_fraud().await;
    world.push(vec![(path("release.yaml"), None)]).await;
    check_contained(&mut world, "without").await;
    let refused = refusal(world.ask(put("fraud", single("8"))).await);
    assert!(refused.reason.contains("is not there"), "{refused}");
}

#[tokio::test]
async fn a_document_cannot_take_another_releases_host_or_namespace() {
    for (from, to) in [
        ("host: fraud-models", "host: wine-models"),
        ("namespace: models\n    gateway", "namespace: kube-system\n    gateway"),
    ] {
        let mut world = with_fraud().await;
        world.put("wine", json!({"model": "wine", "version": "1"})).await;
        let text = world.read("fraud", "release.yaml").unwrap();
        assert!(text.contains(from), "{text}");
        world.push(vec![(path("release.yaml"), Some(text.replace(from, to)))]).await;
        let view = world.view("fraud").await;
        assert_eq!(view.files, [FileState::Invalid], "{to}");
        assert_eq!(view.release.spec.target.host, "fraud-models.k5w.localhost");
        let refused = refusal(world.ask(put("fraud", single("8"))).await);
        assert!(refused.reason.contains("cannot be used"), "{refused}");
    }
}

#[tokio::test]
async fn a_document_copied_alone_into_a_new_directory_is_rendered() {
    let mut world = with_fraud().await;
    let text = world.read("fraud", "release.yaml").unwrap();
    let copy = text.replace("name: fraud\n", "name: copy\n").replace("fraud-models", "copy-models");
    world.push(vec![("releases/production/models/copy/release.yaml".to_owned(), Some(copy))]).await;
    assert!(world.view("copy").await.files.is_empty());
    assert!(world.read("copy", "seldon.yaml").unwrap().contains("name: \"copy\""));
}
