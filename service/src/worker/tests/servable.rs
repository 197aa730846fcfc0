//! Can it be served? What is found out before a commit, and what is refused for it.

use std::sync::Arc;

use tokio::sync::Barrier;

use super::super::DifferenceKind;
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
async fn a_version_that_the_registry_does_not_have_is_refused_whatever_would_serve_it() {
    let mut world = with_model(Some(CLOUDPICKLE)).await;
    world.push(vec![("policies/default.yaml".into(), Some(seeded_default_policy()))]).await;
    for (model, version) in [("fraud", "99"), ("fruad", "1")] {
        for served in [json!({"image": "registry.example/x:1"}), json!({"modelUri": "s3://elsewhere/x"}), json!({})] {
            let mut body = json!({"model": model, "version": version});
            body.as_object_mut().unwrap().extend(served.as_object().unwrap().clone());
            let refusal = refusal(world.ask(asks_for(body.clone())).await);
            let expected = format!("MLflow has no version {version} of the model `{model}`");
            assert_eq!((refusal.kind, &refusal.reason), (RefusalKind::Invalid, &expected), "{body}");
            assert!(refusal.cure.as_ref().unwrap().contains("register it in MLflow first"), "{refusal:?}");
            let Err(Fault::Refused(dry)) = world.handle().dry_run(asks_for(body)).await else { panic!("it would be") };
            assert_eq!(dry.reason, expected);
        }
    }
    assert_eq!(world.actions(), ["by hand"], "the policy alone was pushed");
}

#[tokio::test]
async fn a_version_that_is_deployed_may_be_asked_for_again_after_the_registry_lost_it() {
    let mut world = with_model(Some(CLOUDPICKLE)).await;
    world.put("fraud", single("1")).await;
    world.registry().content().models.get_mut("fraud").unwrap().versions.clear();
    let more = json!({"version": "1", "image": "registry.example/fraud:1", "serving": {"replicas": 3}});
    world.put("fraud", more).await;
    assert_eq!(world.view("fraud").await.release.spec.serving.replicas, Some(3));
    assert_eq!(refusal(world.ask(put("fraud", single("2"))).await).kind, RefusalKind::Invalid);
}

/// Version 1, wherever its files are.
fn names_nothing() -> Requested {
    let wanted: ReleaseRequest = serde_json::from_value(json!({"model": "fraud", "version": "1"})).unwrap();
    request("fraud", Intent::Put(Box::new(wanted.wanted().unwrap())))
}

#[tokio::test]
async fn a_request_that_names_nothing_waits_while_the_registry_is_down() {
    let mut world = with_model(Some(CLOUDPICKLE)).await;
    world.registry().content().is_down = true;
    let Ok(Answer::Queued { delivery, waits_for }) = world.ask(names_nothing()).await else {
        panic!("it was not queued")
    };
    assert!(waits_for.contains("could not be asked"), "{waits_for}");
    world.registry().content().is_down = false;
    world.turn_clock(10).await;
    assert_eq!(world.handle().delivery(&delivery).await.unwrap().state, DeliveryState::Applied);
    assert_eq!(world.state("fraud").await, "single settled live=1");
}

#[tokio::test]
async fn a_request_that_waited_for_the_registry_does_not_undo_a_newer_one() {
    let mut world = with_model(Some(CLOUDPICKLE)).await;
    world.registry().content().is_down = true;
    let Ok(Answer::Queued { delivery, .. }) = world.ask(names_nothing()).await else { panic!("it was not queued") };
    world.registry().content().is_down = false;
    world.put("fraud", json!({"version": "1", "image": "registry.example/fraud:newer"})).await;
    world.turn_clock(10).await;
    let older = world.handle().delivery(&delivery).await.unwrap();
    assert_eq!(older.state, DeliveryState::Unchanged, "{older:?}");
    assert!(older.reason.as_ref().unwrap().starts_with("replaced by the newer delivery"), "{older:?}");
    assert_eq!(world.actions().iter().filter(|action| *action == "create").count(), 1);
    let image = world.view("fraud").await.release.stable().unwrap().artifact.image.clone();
    assert_eq!(image.as_deref(), Some("registry.example/fraud:newer"));
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
    let Err(Fault::Refused(refusal)) = world.handle().dry_run(names_nothing()).await else {
        panic!("it would be released")
    };
    assert!(refusal.reason.contains("skops"), "{refusal:?}");
}

#[tokio::test]
async fn the_sweep_sees_files_that_were_changed_in_their_place() {
    let mut world = with_model(Some(CLOUDPICKLE)).await;
    world.set_alias("champion", 1).await;
    assert_eq!(world.handle().sweep(false).await.unwrap().differences, []);
    world.registry().file("fraud", 1, "MLmodel", &format!("{CLOUDPICKLE}# changed\n"));
    let report = world.handle().sweep(false).await.unwrap();
    assert_eq!(report.differences[0].kind, DifferenceKind::Changed, "{report:?}");
    assert!(report.differences[0].cure.as_ref().unwrap().contains("kmlflow release fraud"), "{report:?}");
    assert_eq!(world.state("fraud").await, "single settled live=1", "it is only told");
}

#[tokio::test]
async fn the_sweep_lists_what_cannot_be_served_and_releases_it_once_it_can() {
    let mut world = with_model(Some(SKOPS)).await;
    world.registry().content().models.get_mut("fraud").unwrap().aliases.insert("champion".into(), "1".into());
    let report = world.handle().sweep(false).await.unwrap();
    world.run().await;
    assert_eq!(report.differences[0].kind, DifferenceKind::Refused, "{report:?}");
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
    world.registry().register_one("fraud", 3, &[]);
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

/// What a request that names no image comes to.
fn asks_for(body: Value) -> Requested {
    let wanted: ReleaseRequest = serde_json::from_value(body).unwrap();
    request("fraud", Intent::Put(Box::new(wanted.wanted().unwrap())))
}

#[tokio::test]
async fn a_dry_run_shows_how_the_signature_differs() {
    let mut world = with_model(Some(CLOUDPICKLE)).await;
    world.set_alias("champion", 1).await;
    let registry = world.registry();
    registry.register_one("fraud", 2, &[]);
    let column = "inputs: '[{\"type\": \"double\", \"name\": \"extra\", \"required\": false}, ";
    registry.file("fraud", 2, "MLmodel", &CLOUDPICKLE.replace("inputs: '[", column));
    registry.register_one("fraud", 3, &[]);
    registry.file("fraud", 3, "MLmodel", CLOUDPICKLE.split("signature:").next().unwrap());
    let shown = async |version: &str| {
        let asked = asks_for(json!({"model": "fraud", "version": version, "strategy": "canary"}));
        world.handle().dry_run(asked).await.unwrap().signature
    };
    let wider = shown("2").await.unwrap();
    assert!(wider.lines.iter().any(|line| line.starts_with("+ extra")) && wider.warning.is_none(), "{wider:?}");
    assert_eq!((wider.breaks.as_slice(), wider.more_breaks), (&[][..], None), "what is merely added breaks nobody");
    let silent = shown("3").await.unwrap();
    assert!(silent.warning.unwrap().contains("no input signature"));
    assert_eq!(shown("1").await, None);
}

#[tokio::test]
async fn a_dry_run_that_may_break_callers_names_the_inputs_that_do() {
    let world = with_another_signature().await;
    let body = json!({"model": "fraud", "version": "2", "strategy": "canary", "allowBreakingSignature": true});
    let shown = world.handle().dry_run(asks_for(body)).await.unwrap().signature.unwrap();
    let named: Vec<&str> = shown.breaks.iter().map(|one| one.input.as_str()).collect();
    assert_eq!(named, ["sepal width (cm)", "sepal breadth (cm)"], "{shown:?}");
    assert!(shown.breaks[1].fault.starts_with("is new and required"), "{shown:?}");
    assert_eq!(shown.lines.len(), 2, "{shown:?}");
}

#[tokio::test]
async fn an_address_in_mlflow_is_the_versions_own_or_refused() {
    let mut world = with_model(Some(CLOUDPICKLE)).await;
    for (uri, words) in [
        ("models:/fraud/9", "not known to be version 1"),
        ("runs:/0123/model", "not known to be version 1"),
        ("file:///srv/models", "a directory of one machine"),
        ("dbfs:/models", "Seldon cannot fetch"),
    ] {
        let refusal = refusal(world.ask(asks_for(json!({"model": "fraud", "version": "1", "modelUri": uri}))).await);
        assert!(refusal.reason.contains(words), "{refusal:?}");
        assert!(refusal.cure.is_some(), "{refusal:?}");
    }
    let done = world.done(asks_for(json!({"model": "fraud", "version": "1", "modelUri": "models:/fraud/1"}))).await;
    let artifact = &done.release.unwrap().release.spec.variants[0].artifact;
    assert_eq!(artifact.model_uri.as_deref(), Some("s3://models/1"));
    assert!(artifact.model_digest.is_some());
}

#[tokio::test]
async fn files_that_lie_elsewhere_are_not_judged_by_the_versions_own() {
    let mut world = with_model(Some(SKOPS)).await;
    let body = json!({"model": "fraud", "version": "1", "modelUri": "s3://converted/by-hand"});
    let done = world.done(asks_for(body)).await;
    assert_eq!(done.release.unwrap().release.spec.variants[0].artifact.model_digest, None);
}

#[tokio::test]
async fn an_image_is_named_by_the_version_or_its_run_or_else_the_files_serve() {
    let mut world = with_model(Some(CLOUDPICKLE)).await;
    world.push(vec![("policies/default.yaml".into(), Some(seeded_default_policy()))]).await;
    let artifact = async |world: &World| world.view("fraud").await.release.spec.variants[0].artifact.clone();
    world.set_alias("champion", 1).await;
    assert_eq!(artifact(&world).await.model_uri.as_deref(), Some("s3://models/1"), "before the policy's image");
    let registry = world.registry();
    registry.register_one("fraud", 2, &[]);
    registry.set_run_tag("fraud", 2, "serving_image", "registry.example/by-run:2");
    world.set_alias("champion", 2).await;
    assert_eq!(artifact(&world).await.image.as_deref(), Some("registry.example/by-run:2"));
    let registry = world.registry();
    registry.register_one("fraud", 3, &[("serving_image", "registry.example/by-version:3")]);
    registry.set_run_tag("fraud", 3, "serving_image", "registry.example/by-run:3");
    world.set_alias("champion", 3).await;
    assert_eq!(artifact(&world).await.image.as_deref(), Some("registry.example/by-version:3"));
}

#[tokio::test]
async fn where_digests_are_required_neither_image_nor_runtime_goes_without() {
    let registry = Registry::start().await;
    registry.register_one("fraud", 1, &[]);
    registry.file("fraud", 1, "MLmodel", CLOUDPICKLE);
    let mut world = World { registry: Some(registry), require_digest: true, ..World::new(Period::ZERO, 1_000) };
    world.start().await;
    let by_files = asks_for(json!({"model": "fraud", "version": "1"}));
    for asked in [put("fraud", single("1")), by_files] {
        let refusal = refusal(world.ask(asked).await);
        assert!(refusal.reason.contains("is not pinned to a digest"), "{refusal:?}");
        assert!(refusal.cure.as_ref().unwrap().contains("@sha256:"), "{refusal:?}");
    }
    let pinned = format!("{RUNTIME}@sha256:{}", "0".repeat(64));
    world.done(asks_for(json!({"model": "fraud", "version": "1", "serving": {"runtime": pinned}}))).await;
}

#[tokio::test]
async fn files_that_are_too_large_or_cannot_be_read_are_no_reason_to_ask_for_ever() {
    let large = format!("{CLOUDPICKLE}\n# {}\n", "x".repeat(1024 * 1024));
    let mut world = with_model(Some(&large)).await;
    let refused = world.set_alias("champion", 1).await;
    assert_eq!(refused.state, DeliveryState::Refused, "{refused:?}");
    assert!(refused.reason.as_ref().unwrap().contains("larger than 1 MiB"), "{refused:?}");
    let registry = world.registry();
    registry.file("fraud", 1, "MLmodel", CLOUDPICKLE);
    registry.file("fraud", 1, "requirements.txt", &"# x\n".repeat(300_000));
    assert_eq!(
        world.set_alias("champion", 1).await.state,
        DeliveryState::Applied,
        "it says nothing of what is missing"
    );
}

#[tokio::test]
async fn the_sweep_lists_what_it_could_not_find_out_about() {
    let world = with_model(Some(CLOUDPICKLE)).await;
    world.registry().alias("fraud", "champion", Some(1));
    world.registry().content().busy = Some("location");
    let report = world.handle().sweep(true).await.unwrap();
    let [difference] = report.differences.as_slice() else { panic!("{report:?}") };
    assert_eq!((difference.kind, difference.release.as_str()), (DifferenceKind::Waiting, "production/models/fraud"));
    assert!(difference.reason.contains("could not be found out"), "{difference:?}");
}

#[tokio::test]
async fn the_sweep_asks_about_four_models_that_differ_at_once() {
    const MODELS: usize = 8;
    let registry = Registry::start().await;
    for number in 0..MODELS {
        let model = format!("m{number}");
        registry.register_one(&model, 1, &[]);
        registry.file(&model, 1, "MLmodel", CLOUDPICKLE);
        registry.alias(&model, "champion", Some(1));
    }
    // Fewer would wait for each other until the client gives up.
    registry.content().together = Some(Arc::new(Barrier::new(4)));
    let world = World::tracking(registry).await;
    let report = world.handle().sweep(true).await.unwrap();
    assert_eq!(report.differences.len(), MODELS);
    assert!(report.differences.iter().all(|one| one.kind == DifferenceKind::Repaired), "{report:?}");
    assert_eq!(world.registry().content().waiting_max, 4);
}

#[tokio::test]
async fn changed_files_stay_listed_while_others_are_looked_at() {
    const ARTIFACTS: usize = 45;
    let registry = Registry::start().await;
    for number in 0..ARTIFACTS {
        let model = format!("m{number:02}");
        registry.register_one(&model, 1, &[]);
        registry.file(&model, 1, "MLmodel", CLOUDPICKLE);
        registry.alias(&model, "champion", Some(1));
    }
    let mut world = World::tracking(registry).await;
    world.sweep(false).await;
    let changed = format!("{CLOUDPICKLE}# changed\n");
    world.registry().file("m00", 1, "MLmodel", &changed);
    world.registry().file("m30", 1, "MLmodel", &changed);
    // Twenty artifacts each time; a look alone moves nothing on.
    for (dry_run, listed) in [(true, 1), (true, 1), (false, 1), (false, 2), (false, 2), (true, 2), (false, 2)] {
        let report = world.sweep(dry_run).await;
        assert_eq!(report.differences.len(), listed, "{dry_run}: {report:?}");
    }
    world.registry().file("m00", 1, "MLmodel", CLOUDPICKLE);
    world.registry().file("m30", 1, "MLmodel", CLOUDPICKLE);
    for _ in 0..3 {
        world.sweep(false).await;
    }
    assert_eq!(world.sweep(false).await.differences, []);
}
