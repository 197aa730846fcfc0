//! Each part of the definition of live is asked for.

use serde_json::{Value, json};

use super::world::{FIRST, SECOND, World, hash, release};
use crate::live::{Blindness, Index, Kind, LiveState, Reached, Times, progress};
use crate::release::{Period, Readiness};

#[test]
fn every_strategy_is_live_once_all_of_it_is_there() {
    let pair = |first, second| vec![(first, "7"), (second, "8")];
    for (strategy, phase, variants) in [
        ("single", "settled", vec![("live", "7")]),
        ("canary", "entering", pair("stable", "candidate")),
        ("canary", "running, step: 0", pair("stable", "candidate")),
        ("ab", "running", pair("a", "b")),
        ("blue-green", "running", pair("blue", "green")),
        ("shadow", "running", pair("live", "shadow")),
        ("canary", "leaving", pair("stable", "leaving")),
    ] {
        let release = release(strategy, phase, &variants);
        let world = World::live(&release);
        let look = world.look();
        assert!(look.is_live() && look.applied && look.trouble.is_none(), "{strategy} {phase}: {look:?}");
        assert!(look.variants.values().all(|it| *it == Readiness::Ready), "{look:?}");
        let named: Vec<_> = release.traffic().unwrap().named().into_iter().cloned().collect();
        assert_eq!(look.routed.into_iter().collect::<Vec<_>>(), named, "{strategy} {phase}");
    }
}

#[test]
fn each_missing_part_is_named() {
    let release = release("canary", "running, step: 0", &[("stable", "7"), ("candidate", "8")]);
    let missing = |change: &dyn Fn(&mut World)| {
        let mut world = World::live(&release);
        change(&mut world);
        let look = world.look();
        assert!(!look.is_live());
        look.missing.unwrap()
    };
    let application = |status: serde_json::Value| missing(&|world| world.application(status.clone()));
    assert_eq!(
        missing(&|world| world.remove(Kind::Application, "production.models.fraud")),
        "Argo CD has no Application of it yet"
    );
    let other = "3333333333333333333333333333333333333333";
    let old = application(json!({"sync": {"status": "Synced", "revision": other}}));
    assert_eq!(old, "Argo CD has not seen the commit yet");
    let differs = application(json!({"sync": {"status": "OutOfSync", "revision": FIRST}}));
    assert_eq!(differs, "what Argo CD has applied differs from the commit");
    let running = json!({"sync": {"status": "Synced", "revision": FIRST}, "operationState": {"phase": "Running"}});
    assert_eq!(application(running), "Argo CD is applying it");
    let before = json!({"sync": {"status": "Synced", "revision": FIRST}, "reconciledAt": "2026-11-23T10:00:01Z",
                        "operationState": {"phase": "Succeeded", "finishedAt": "2026-11-23T10:00:02Z"}});
    assert_eq!(application(before), "Argo CD has not looked again since it applied it");
    let (v7, v8) = (hash(&release, "v7"), hash(&release, "v8"));
    let short = missing(&|world| world.deployment("v8", &v8, (1, 0)));
    assert_eq!(short, "v8 is not ready: 0 of 1 replicas are available");
    let stale = missing(&|world| world.deployment("v8", &v7, (1, 1)));
    assert_eq!(stale, "v8 is not ready: its Deployment is of another state");
    let none = missing(&|world| world.remove(Kind::Deployment, "fraud-v8-0-model"));
    assert_eq!(none, "v8 is not ready: the operator has made no Deployment yet");
    assert_eq!(missing(&|world| world.deployment("v6", "sha256:x", (1, 1))), "the Deployment of v6 is still there");
    let ready = json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]});
    assert_eq!(missing(&|world| world.pod("v6", ready.clone())), "the pod `fraud-v6-0-model-abc` of v6 still serves");
    let creating = missing(&|world| world.seldon_says("Creating"));
    assert_eq!(creating, "the operator says that the SeldonDeployment is `Creating`");
    let service = missing(&|world| world.remove(Kind::Service, "fraud"));
    assert_eq!(service, "the release's own Service in the cluster selects others");
    let route = missing(&|world| world.remove(Kind::GrpcRoute, "fraud-grpc"));
    assert_eq!(route, "the route `fraud-grpc` is not there yet");
    for (conditions, why) in [
        (vec![("Accepted", "False"), ("ResolvedRefs", "True")], "Accepted is False"),
        (vec![("Accepted", "True"), ("ResolvedRefs", "False")], "ResolvedRefs is False"),
        (
            vec![("Accepted", "True"), ("ResolvedRefs", "True"), ("BackendsAvailable", "False")],
            "BackendsAvailable is False",
        ),
        (vec![("Accepted", "True")], "the Gateway does not say `ResolvedRefs` yet"),
        (vec![("ResolvedRefs", "True")], "the Gateway does not say `Accepted` yet"),
    ] {
        assert_eq!(
            missing(&|world| world.routes_say(&conditions)),
            format!("the route `fraud` is not accepted: {why}")
        );
    }
}

#[test]
fn a_route_that_the_gateway_has_not_looked_at_since_is_not_live() {
    let world = &mut World::live(&release("canary", "running, step: 0", &[("stable", "7"), ("candidate", "8")]));
    world.commit(SECOND, &release("canary", "running, step: 1", &[("stable", "7"), ("candidate", "8")]));
    world.sync();
    assert!(world.look().missing.unwrap().contains("has not looked at it since"), "{:?}", world.look());
    world.accept_routes();
    assert!(world.look().is_live());
}

#[test]
fn what_an_applied_route_still_names_is_said_whatever_git_holds() {
    let world = &mut World::live(&release("canary", "running, step: 1", &[("stable", "7"), ("candidate", "8")]));
    world.commit(SECOND, &release("canary", "leaving", &[("stable", "7"), ("leaving", "8")]));
    let names = |world: &World| world.look().routed.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    assert_eq!((names(world).as_str(), world.look().applied), ("v7 v8", false));
    // Argo CD says that it is done, and the watch of the routes is behind.
    world.say_synced(SECOND);
    world.apply(|kind| kind != Kind::HttpRoute);
    assert_eq!((names(world).as_str(), world.look().applied), ("v7 v8", false));
    world.apply(|_| true);
    assert_eq!((names(world).as_str(), world.look().applied), ("v7", true));
    assert!(!world.look().is_followed, "the gateway may send by the route of before");
    world.accept_routes();
    assert!(world.look().is_followed);
}

#[test]
fn a_pod_that_was_told_to_end_or_never_served_does_not_hold_a_release_up() {
    let world = &mut World::live(&release("single", "settled", &[("live", "7")]));
    let is_ready = |status: &str| json!({"phase": "Running", "conditions": [{"type": "Ready", "status": status}]});
    world.pod("v6", is_ready("True"));
    assert!(!world.look().is_live());
    world.pod("v6", is_ready("False"));
    assert!(world.look().is_live());
    world.pod("v6", is_ready("True"));
    let mut ending = world.objects[&(Kind::Pod, "fraud-v6-0-model-abc".to_owned())].clone();
    ending["metadata"]["deletionTimestamp"] = json!("2026-11-23T10:00:00Z");
    world.put(Kind::Pod, ending);
    assert!(world.look().is_live(), "{:?}", world.look());
}

fn at(second: i64) -> jiff::Timestamp {
    jiff::Timestamp::from_second(second).unwrap()
}

#[test]
fn a_release_is_stalled_after_its_deadline_degraded_after_it_was_live_and_well_again() {
    let release = release("single", "settled", &[("live", "7")]);
    let mut world = World::live(&release);
    let times = Times { committed_at: at(100), deadline: Period::from_minutes(10), live_since: None, dipped_at: None };
    let state = |world: &World, times: Times, now: i64| {
        let progress = progress(&world.look(), times, at(now));
        (progress.state, progress.since)
    };
    assert_eq!(state(&world, times, 120), (LiveState::Live, at(120)));
    world.deployment("v7", &hash(&release, "v7"), (1, 0));
    assert_eq!(state(&world, times, 699), (LiveState::Syncing, at(100)));
    assert_eq!(state(&world, times, 700), (LiveState::Stalled, at(700)));
    let was_live = Times { live_since: Some(at(120)), dipped_at: Some(at(650)), ..times };
    assert_eq!(state(&world, was_live, 900), (LiveState::Degraded, at(650)));
    world.deployment("v7", &hash(&release, "v7"), (1, 1));
    assert_eq!(state(&world, was_live, 901), (LiveState::Live, at(120)));
}

#[test]
fn what_is_not_watched_is_said_with_the_kind() {
    let mut index = Index::default();
    assert!(index.blindness(&[Kind::Pod]).unwrap().reason.contains("Pods are not read yet"));
    index.replace(Kind::Pod, Vec::new());
    assert_eq!(index.blindness(&[Kind::Pod]), None);
    let blind = |verb: &str| Blindness { reason: format!("no `{verb}` on `pods`"), cure: Some("allow it".to_owned()) };
    assert!(index.is_blind(Kind::Pod, blind("list")));
    assert!(!index.is_blind(Kind::Pod, blind("list")), "the same again is no news");
    assert_eq!(index.blindness(&[Kind::Pod]).unwrap(), blind("list"));
    assert!(index.says(&blind("list")) && !index.says(&blind("watch")));
    assert!(index.sees(Kind::Pod) && index.blindness(&[Kind::Pod]).is_none());
}

#[test]
fn what_was_reached_first_on_the_way_to_live_is_kept() {
    let release = release("canary", "running, step: 0", &[("stable", "7"), ("candidate", "8")]);
    let mut reached = Reached::default();
    let mut world = World::live(&release);
    world.application(json!({"sync": {"status": "OutOfSync"}}));
    reached.take(&world.look(), at(0), at(1));
    assert_eq!(reached, Reached::default(), "ready pods of another commit are no step of this one");
    let mut world = World::live(&release);
    world.deployment("v8", &hash(&release, "v8"), (1, 0));
    reached.take(&world.look(), at(0), at(2));
    assert_eq!(reached, Reached { applied_at: Some(at(2)), ..Reached::default() });
    let world = World::live(&release);
    reached.take(&world.look(), at(0), at(3));
    reached.take(&world.look(), at(0), at(4));
    assert_eq!(reached, Reached { applied_at: Some(at(2)), ready_at: Some(at(3)), faulted_at: None });
}

#[test]
fn a_commit_has_its_deadline_from_when_it_was_applied_or_was_first_in_trouble() {
    let release = release("single", "settled", &[("live", "7")]);
    let times = Times { committed_at: at(100), deadline: Period::from_minutes(10), live_since: None, dipped_at: None };
    let blamed_at = |status: Value, now: i64, mut reached: Reached| {
        let mut world = World::live(&release);
        world.application(status);
        world.deployment("v7", &hash(&release, "v7"), (1, 0));
        let waiting = json!({"reason": "ErrImagePull", "message": "manifest unknown"});
        world.pod(
            "v7",
            json!({"containerStatuses": [{"name": "model", "ready": false, "state": {"waiting": waiting}}]}),
        );
        reached.take(&world.look(), times.committed_at, at(now));
        (times.blamed_at(reached), reached)
    };
    let synced = |finished: i64| {
        let operation = json!({"phase": "Succeeded", "operation": {}, "finishedAt": at(finished).to_string()});
        json!({"sync": {"status": "Synced", "revision": FIRST}, "reconciledAt": at(finished).to_string(), "operationState": operation})
    };
    let running = json!({"sync": {"status": "OutOfSync", "revision": FIRST}, "operationState": {"phase": "Running", "operation": {}}});
    assert_eq!(times.blamed_at(Reached::default()), at(700));
    let (due, reached) = blamed_at(running, 1_000, Reached::default());
    assert_eq!(due, at(1_600), "while it is still applied");
    assert_eq!(blamed_at(synced(1_010), 1_011, reached).0, at(1_610), "by Argo CD's word");
    assert_eq!(
        blamed_at(synced(1_010), 1_500, Reached::default()).0,
        at(1_610),
        "also for who looks for the first time"
    );
    assert_eq!(blamed_at(synced(50), 130, Reached::default()).0, at(730), "an older operation did not apply it");
    assert_eq!(blamed_at(synced(9_999), 130, Reached::default()).0, at(730), "nor one of a clock that is ahead");
}
