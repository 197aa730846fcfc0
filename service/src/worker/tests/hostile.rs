//! Pushes that would harm others: each stays the matter of its own release.

use super::*;
use crate::release::RefusalKind;
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

/// Refuses, in a sentence that names the directory and the cure, what would overwrite a person's directory.
async fn check_kept(world: &mut World, what: &str, mine: &str) {
    let refused = refusal(world.ask(put("copy", single("8"))).await);
    assert_eq!(refused.kind, RefusalKind::Drifted, "{what}: {refused}");
    assert!(refused.cure.as_ref().unwrap().contains("`force=true` (`--force`)"), "{what}: {refused}");
    let event = world.event("copy", alias("champion", "9")).await;
    assert_eq!(event.state, crate::event::DeliveryState::Refused, "{what}: {:?}", event.reason);
    let shown = world.handle().release(&key("copy")).await.unwrap_err().to_string();
    assert!(shown.contains("cannot be used"), "{what}: {shown}");
    assert_eq!(world.read("copy", "seldon.yaml").as_deref(), Some(mine), "{what}");
}

#[tokio::test]
async fn a_directory_that_never_could_be_used_is_not_written_over() {
    let copied = |file: &str| format!("releases/production/models/copy/{file}");
    for what in ["a copy that names another release", "no document", "nonsense"] {
        let mut world = with_fraud().await;
        let document = match what {
            "no document" => None,
            "nonsense" => Some("x".to_owned()),
            _ => world.read("fraud", "release.yaml"),
        };
        let mine = world.read("fraud", "seldon.yaml").unwrap();
        let mut edits = vec![(copied("seldon.yaml"), Some(mine.clone()))];
        edits.extend(document.map(|text| (copied("release.yaml"), Some(text))));
        world.push(edits).await;
        check_kept(&mut world, what, &mine).await;
        world.kill();
        world.start().await;
        check_kept(&mut world, &format!("{what}, after a restart"), &mine).await;
        let force = Guard { force: true, ..Guard::default() };
        assert!(world.done(Requested { guard: force, ..put("copy", single("8")) }).await.created, "{what}");
        assert_eq!(world.state("copy").await, "single settled live=8");
        assert!(world.put("copy", single("9")).await.changed);
    }
}

#[tokio::test]
async fn a_directory_that_is_removed_or_corrected_is_in_nobodys_way() {
    let mut world = with_fraud().await;
    let document = "releases/production/models/copy/release.yaml";
    world.push(vec![(document.to_owned(), Some("x".to_owned()))]).await;
    let text = world.read("fraud", "release.yaml").unwrap();
    let good = text.replace("name: fraud\n", "name: copy\n").replace("fraud-models", "copy-models");
    world.push(vec![(document.to_owned(), Some(good))]).await;
    assert!(world.put("copy", single("8")).await.changed);
    world.push(vec![("releases/production/models/other/release.yaml".to_owned(), Some("x".to_owned()))]).await;
    world.push(vec![("releases/production/models/other".to_owned(), None)]).await;
    assert!(world.put("other", single("8")).await.created);
}

#[tokio::test]
async fn a_policy_that_is_too_large_stops_nobody_and_its_last_version_stays_in_force() {
    let mut world = with_fraud().await;
    world.push(vec![("policies/default.yaml".to_owned(), Some("# x\n".repeat(2 << 20)))]).await;
    for when in ["at once", "after a restart"] {
        let model = format!("wine{}", when.len());
        let event = world.event(&model, alias("champion", "1")).await;
        assert_eq!(event.state, crate::event::DeliveryState::Applied, "{when}: {:?}", event.reason);
        let told = world.handle().policy_test("wine".parse().unwrap(), BTreeMap::new(), BTreeMap::new());
        assert!(told.warnings[0].contains("is larger than"), "{when}: {:?}", told.warnings);
        world.kill();
        world.start().await;
    }
}

#[tokio::test]
async fn adopting_a_file_that_is_too_large_is_refused_and_stops_nobody() {
    let mut world = with_fraud().await;
    world.push(vec![(path("seldon.yaml"), Some("x".repeat(5 << 20)))]).await;
    let adopt = Guard { adopt: true, ..Guard::default() };
    let refused = refusal(world.ask(Requested { guard: adopt, ..put("fraud", single("7")) }).await);
    assert!(refused.reason.contains("is larger than"), "{refused}");
    world.put("wine", json!({"model": "wine", "version": "1"})).await;
    let force = Guard { force: true, ..Guard::default() };
    assert!(world.done(Requested { guard: force, ..put("fraud", single("7")) }).await.changed);
}

#[tokio::test]
async fn files_that_are_too_large_beside_a_document_alone_stop_nobody() {
    let mut world = with_fraud().await;
    let text = world.read("fraud", "release.yaml").unwrap();
    let copy = text.replace("name: fraud\n", "name: copy\n").replace("fraud-models", "copy-models");
    let bare = copy.split("rendered:").next().unwrap().replace("copy", "bare");
    let large = || Some("x".repeat(5 << 20));
    for (name, text) in [("copy", copy.as_str()), ("bare", bare.as_str())] {
        let at = |file: &str| format!("releases/production/models/{name}/{file}");
        world.push(vec![(at("release.yaml"), Some(text.to_owned())), (at("seldon.yaml"), large())]).await;
        assert!(world.view(name).await.files.contains(&FileState::Drifted), "{name}");
    }
    world.put("wine", json!({"model": "wine", "version": "1"})).await;
}

#[tokio::test]
async fn something_else_in_the_place_of_a_directory_is_said_to_be_there() {
    let mut world = World::immediate().await;
    for (place, name) in [("releases/production/models/wine", "wine"), ("releases/production/models", "beer")] {
        world.push(vec![(place.to_owned(), Some("a file".to_owned()))]).await;
        let refused = refusal(world.ask(put(name, json!({"model": "wine", "version": "1"}))).await);
        assert_eq!(refused.kind, RefusalKind::Conflict, "{refused}");
        assert!(refused.reason.contains(place) && refused.cure.as_ref().unwrap().contains("push"), "{refused}");
    }
}
