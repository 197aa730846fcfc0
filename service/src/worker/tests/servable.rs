//! Can it be served? What is found out before a commit, and what is refused for it.

use super::tracking_server::Registry;
use super::*;
use crate::event::DeliveryState;
use crate::release::RefusalKind;

const CLOUDPICKLE: &str = include_str!("../../../core/src/servable/samples/cloudpickle.yaml");
const SKOPS: &str = include_str!("../../../core/src/servable/samples/skops.yaml");

/// A service whose registry has version 1 of `fraud` with these files and no image.
async fn with_model(mlmodel: Option<&str>) -> World {
    let registry = Registry::start().await;
    registry.register_one("fraud", 1, &[]);
    if let Some(text) = mlmodel {
        registry.file("fraud", 1, "MLmodel", text);
    }
    World::tracking(registry).await
}

/// The same with version 2, whose column `sepal width` has another name.
async fn with_another_signature() -> World {
    let mut world = with_model(Some(CLOUDPICKLE)).await;
    let registry = world.registry();
    registry.register_one("fraud", 2, &[]);
    registry.file("fraud", 2, "MLmodel", &CLOUDPICKLE.replace("sepal width", "sepal breadth"));
    assert_eq!(world.set_alias("champion", 1).await.state, DeliveryState::Applied);
    world
}

#[tokio::test]
async fn a_version_without_an_image_is_served_from_its_files_by_the_default_runtime() {
    let mut world = with_model(Some(CLOUDPICKLE)).await;
    let delivery = world.set_alias("champion", 1).await;
    assert_eq!(delivery.state, DeliveryState::Applied, "{delivery:?}");
    let spec = world.view("fraud").await.release.spec;
    let variant = &spec.variants[0].artifact;
    assert_eq!((variant.model_uri.as_deref(), &variant.image), (Some("s3://models/1"), &None));
    assert_eq!(variant.model_digest, Some(crate::names::Digest::of(CLOUDPICKLE.as_bytes())));
    assert_eq!(spec.serving.runtime.as_deref(), Some(RUNTIME));
    let seldon = world.read("fraud", "seldon.yaml").unwrap();
    assert!(seldon.contains("s3://models/1") && seldon.contains(RUNTIME), "{seldon}");
}

#[tokio::test]
async fn what_the_runtime_cannot_load_is_refused_and_told_with_the_cure() {
    let mut world = with_model(Some(SKOPS)).await;
    let refused = world.set_alias("champion", 1).await;
    assert_eq!(refused.state, DeliveryState::Refused, "{refused:?}");
    assert!(refused.reason.as_ref().unwrap().contains("skops"), "{refused:?}");
    assert!(refused.cure.as_ref().unwrap().contains("serialization_format='cloudpickle'"), "{refused:?}");
    let told = world.registry().status("fraud", 1, "reason").unwrap();
    assert!(told.contains("skops") && told.contains("cloudpickle"), "{told}");
    assert!(world.log().is_empty());
}

#[tokio::test]
async fn a_store_that_no_cluster_can_read_and_a_version_without_a_model_are_refused() {
    for (location, mlmodel, words) in [
        (Some("file:///srv/mlruns/1"), Some(CLOUDPICKLE), "file:"),
        (Some("mlflow-artifacts:/1/models/m-1/artifacts"), Some(CLOUDPICKLE), "behind its own server"),
        (None, None, "has no `MLmodel` file"),
    ] {
        let mut world = with_model(mlmodel).await;
        if let Some(location) = location {
            world.registry().locate("fraud", location);
        }
        let refused = world.set_alias("champion", 1).await;
        assert_eq!(refused.state, DeliveryState::Refused, "{refused:?}");
        assert!(refused.reason.as_ref().unwrap().contains(words), "{refused:?}");
        assert!(refused.cure.is_some(), "{refused:?}");
    }
}

#[tokio::test]
async fn a_request_that_names_an_image_needs_no_servable_model_and_no_registry() {
    let mut world = with_model(Some(SKOPS)).await;
    world.registry().content().is_down = true;
    let done = world.put("fraud", single("1")).await;
    assert!(done.created);
    assert_eq!(world.state("fraud").await, "single settled live=1");
}

#[tokio::test]
async fn a_request_that_names_nothing_waits_while_the_registry_is_down() {
    let mut world = with_model(Some(CLOUDPICKLE)).await;
    world.registry().content().is_down = true;
    let wanted: ReleaseRequest = serde_json::from_value(json!({"model": "fraud", "version": "1"})).unwrap();
    let asked = request("fraud", Intent::Put(Box::new(wanted.wanted().unwrap())));
    let Ok(Answer::Queued { delivery, waits_for }) = world.ask(asked).await else { panic!("it was not queued") };
    assert!(waits_for.contains("could not be asked"), "{waits_for}");
    world.registry().content().is_down = false;
    world.turn_clock(10).await;
    assert_eq!(world.handle().delivery(&delivery).await.unwrap().state, DeliveryState::Applied);
    assert_eq!(world.state("fraud").await, "single settled live=1");
}

#[tokio::test]
async fn a_candidate_that_breaks_callers_is_refused_unless_the_request_says_that_it_may() {
    let mut world = with_another_signature().await;
    let refused = world.set_alias("challenger", 2).await;
    assert_eq!(refused.state, DeliveryState::Refused, "{refused:?}");
    assert!(refused.reason.as_ref().unwrap().contains("breaks callers of the live version 1"), "{refused:?}");
    assert!(refused.cure.as_ref().unwrap().contains("allowBreakingSignature"), "{refused:?}");
    // An image does not hide what its callers would run into.
    let refusal = refusal(world.ask(put("fraud", json!({"version": "2", "strategy": "canary"}))).await);
    assert_eq!(refusal.kind, RefusalKind::Invalid);
    assert!(refusal.violations.iter().any(|violation| violation.field.contains("sepal width")), "{refusal:?}");
    let allowed = json!({"version": "2", "strategy": "canary", "allowBreakingSignature": true});
    world.put("fraud", allowed).await;
    assert_eq!(world.state("fraud").await, "canary running stable=1 candidate=2");
}

#[tokio::test]
async fn the_version_that_served_may_run_beside_the_one_that_takes_its_place() {
    let mut world = with_another_signature().await;
    let registry = world.registry();
    registry.register_one("fraud", 3, &[]);
    registry.file("fraud", 3, "MLmodel", CLOUDPICKLE);
    let aliases = [("champion".to_owned(), "3".to_owned()), ("challenger".to_owned(), "1".to_owned())];
    registry.content().models.get_mut("fraud").unwrap().aliases = aliases.into();
    let event = world.event("fraud", alias("champion", "3")).await;
    assert_eq!(event.state, DeliveryState::Applied, "{event:?}");
    assert_eq!(world.state("fraud").await, "canary running stable=3 candidate=1");
}

#[tokio::test]
async fn a_dry_run_finds_out_as_the_request_would() {
    let world = with_model(Some(SKOPS)).await;
    let wanted: ReleaseRequest = serde_json::from_value(json!({"model": "fraud", "version": "1"})).unwrap();
    let asked = request("fraud", Intent::Put(Box::new(wanted.wanted().unwrap())));
    let Err(Fault::Refused(refusal)) = world.handle().dry_run(asked).await else { panic!("it would be released") };
    assert!(refusal.reason.contains("skops"), "{refusal:?}");
}

#[tokio::test]
async fn the_sweep_sees_files_that_were_changed_in_their_place() {
    let mut world = with_model(Some(CLOUDPICKLE)).await;
    world.set_alias("champion", 1).await;
    assert_eq!(world.handle().sweep(false).await.unwrap().differences, []);
    world.registry().file("fraud", 1, "MLmodel", &format!("{CLOUDPICKLE}# changed\n"));
    let report = world.handle().sweep(false).await.unwrap();
    assert_eq!(report.differences[0].kind, super::super::DifferenceKind::Changed, "{report:?}");
    assert!(report.differences[0].cure.as_ref().unwrap().contains("kmlflow release fraud"), "{report:?}");
    assert_eq!(world.state("fraud").await, "single settled live=1", "it is only told");
}

#[tokio::test]
async fn the_sweep_lists_what_cannot_be_served_and_releases_it_once_it_can() {
    let mut world = with_model(Some(SKOPS)).await;
    world.registry().content().models.get_mut("fraud").unwrap().aliases.insert("champion".into(), "1".into());
    let report = world.handle().sweep(false).await.unwrap();
    world.run().await;
    assert_eq!(report.differences[0].kind, super::super::DifferenceKind::Refused, "{report:?}");
    assert!(report.differences[0].cure.is_some() && report.differences[0].delivery.is_none(), "{report:?}");
    world.registry().set_tag("fraud", 1, "serving_image", "registry.example/fraud:1");
    drop(world.handle().sweep(false).await.unwrap());
    world.run().await;
    assert_eq!(world.state("fraud").await, "single settled live=1");
}

#[tokio::test]
async fn a_rollback_overtakes_a_request_that_is_still_being_looked_into() {
    let mut world = with_another_signature().await;
    world.put("fraud", json!({"version": "2", "allowBreakingSignature": true})).await;
    let handle = world.handle();
    let slow = put("fraud", json!({"version": "3"}));
    let rollback = world.absolute("fraud", Act::Rollback { to: None }).await.unwrap();
    let (first, second) = (handle.clone(), handle.clone());
    let asked = tokio::spawn(async move { first.request(slow, Duration::from_secs(60)).await });
    // The request is with the writer before the rollback is made.
    while world.handle().deliveries(Default::default()).await.unwrap().items.len() < 3 {
        tokio::task::yield_now().await;
    }
    let rolled_back = tokio::spawn(async move { second.request(rollback, Duration::from_secs(60)).await });
    while !(asked.is_finished() && rolled_back.is_finished()) {
        world.run().await;
        tokio::task::yield_now().await;
    }
    assert_eq!(world.state("fraud").await, "single settled live=1", "what was asked last is what is so");
}
