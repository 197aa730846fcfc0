//! Argo CD is told of what is the release's alone, is ahead now and then, and what cannot be known is not blamed.

use std::time::{Duration, Instant};

use super::cluster::{Cluster, Scene};
use super::remote::Far;
use super::*;
use crate::sync::tests::api_server::Answer as Listed;
use crate::worker::StatusState;

const APPLICATION: &str = "/apis/argoproj.io/v1alpha1/namespaces/argocd/applications/production.models.fraud";

/// What the Application of the release was told, by the bodies.
fn told(scene: &Scene) -> Vec<String> {
    let asked = scene.server.asked().into_iter();
    let of = |(method, at, _): &(String, String, String)| method == "PATCH" && at.starts_with(APPLICATION);
    asked.filter(of).map(|(_, _, body)| body).collect()
}

/// The ends of operations among it.
fn ended(scene: &Scene) -> Vec<String> {
    told(scene).into_iter().filter(|body| body.contains("Terminating")).collect()
}

/// The Application in that version, compared with the one commit while an operation runs at the other.
fn says(scene: &Scene, version: u64, (compared, running): (&str, &str)) {
    scene.server.edit("applications", |items| {
        items[0]["metadata"]["resourceVersion"] = json!(version.to_string());
        let operation = json!({"phase": "Running", "message": "waiting", "operation": {"sync": {"revision": running}}});
        items[0]["status"] = json!({"sync": {"status": "Synced", "revision": compared}, "operationState": operation});
    });
}

fn tip(scene: &Scene) -> String {
    scene.world.handle().shared.repository.tip().unwrap().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operation_is_ended_at_an_older_commit_until_it_ends_and_never_at_one_that_may_be_newer() {
    let mut scene = Scene::with_seven().await;
    let old = tip(&scene);
    scene.world.put("fraud", single("8")).await;
    scene.comes(Cluster::Ready).await;
    scene.until("v8 is live", |view| view.status.state == StatusState::Live).await;
    let new = tip(&scene);
    // Somebody else has pushed, and Argo CD is at that already.
    says(&scene, 11, (&new, &"ab".repeat(20)));
    let applies = |view: &ReleaseView| view.status.reason == "Argo CD is applying it";
    scene.until("it is applying something", applies).await;
    scene.world.clock.advance(Duration::from_secs(60));
    says(&scene, 12, (&old, &"ab".repeat(20)));
    let differs = |view: &ReleaseView| view.status.reason == "Argo CD has not seen the commit yet";
    scene.until("it is looked at again", differs).await;
    // It holds ours back at a commit from before.
    says(&scene, 13, (&new, &old));
    scene.until("it is applying the old one", applies).await;
    assert_eq!(ended(&scene), [""; 0], "neither what may be newer nor what was seen just now");
    for times in 1..=2 {
        scene.world.clock.advance(Duration::from_secs(9));
        let server = scene.server.clone();
        let is_end = |(_, _, body): &&(String, String, String)| body.contains("Terminating");
        let said = move |_: &ReleaseView| server.asked().iter().filter(is_end).count() == times;
        scene.until("it is ended, as often as that comes to nothing", said).await;
    }
    let as_seen =
        json!({"metadata": {"resourceVersion": "13"}, "status": {"operationState": {"phase": "Terminating"}}})
            .to_string();
    assert!(ended(&scene).iter().all(|body| *body == as_seen), "{:?}", ended(&scene));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_of_that_name_that_is_not_the_releases_is_named_and_left_alone() {
    for (spec, words) in [
        (json!({"sources": [{"path": "a"}, {"path": "b"}]}), "reads several sources"),
        (
            json!({"source": {"repoURL": "https://elsewhere/x.git", "path": "releases/production/models/fraud"}}),
            "reads another repository, `https://elsewhere/x.git`",
        ),
        (json!({"source": {"repoURL": "http://any/git/gitops.git", "path": "theirs"}}), "reads `theirs` and not"),
    ] {
        let mut scene = Scene::new().await;
        let other = "cd".repeat(20);
        let operation = json!({"phase": "Running", "operation": {"sync": {"revision": other}}});
        let status = json!({"sync": {"status": "OutOfSync", "revision": other}, "operationState": operation});
        let foreign = json!({"metadata": {"name": "production.models.fraud", "namespace": "argocd"}, "spec": spec, "status": status});
        scene.server.edit("applications", |items| items.push(foreign));
        let shared = scene.world.handle().shared.clone();
        let clusters = shared.settings.clusters.clone().unwrap();
        while clusters.see("in-cluster", |index| index.application("production.models.fraud").is_none()).unwrap() {
            super::pause().await;
        }
        scene.world.put("fraud", single("7")).await;
        let named = |view: &ReleaseView| view.status.reason.contains(&format!("is not this release's: it {words}"));
        scene.until("it is named", named).await;
        scene.world.clock.advance(Duration::from_secs(601));
        scene.until("it is stalled", |view| view.status.state == StatusState::Stalled && named(view)).await;
        assert_eq!(told(&scene), [""; 0], "{words}");
        // A retraction does not wait for it either.
        for plural in super::cluster::KINDS.into_iter().skip(1) {
            scene.server.put(plural, Listed::Objects(Vec::new()));
        }
        scene.world.done(request("fraud", Intent::Retract)).await;
        let (handle, begin) = (scene.world.handle(), Instant::now());
        while handle.release(&key("fraud")).await.is_ok() {
            assert!(begin.elapsed() < Duration::from_secs(60), "it is still known");
            super::pause().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_release_stays_so_while_argo_cd_is_at_a_commit_that_is_fetched_first() {
    let mut far = Far::without_start().await;
    let world = std::mem::replace(&mut far.world, World::new(Period::ZERO, 1));
    let mut scene = Scene::of(world).await;
    scene.world.put("fraud", single("7")).await;
    scene.comes(Cluster::Ready).await;
    scene.until("v7 is live", |view| view.status.state == StatusState::Live).await;
    let pushed = far.push("README.md", "by somebody else");
    assert_ne!(tip(&scene), pushed);
    scene.server.edit("applications", |items| items[0]["status"]["sync"]["revision"] = json!(pushed));
    let handle = scene.world.handle();
    let is_noticed = |handle: &Handle| {
        let clusters = handle.shared.settings.clusters.as_ref().unwrap();
        let is_at = |revision: Option<&str>| revision == Some(&*pushed);
        let of = clusters.see("in-cluster", |index| {
            index.application("production.models.fraud").is_some_and(|it| is_at(it.revision.as_deref()))
        });
        of.unwrap()
    };
    let begin = Instant::now();
    while tip(&scene) != pushed {
        // Nothing but what the cluster shows has the branch looked at.
        scene.world.run().await;
        let view = scene.world.view("fraud").await;
        assert_eq!(view.status.state, StatusState::Live, "{}", view.status.reason);
        assert!(begin.elapsed() < Duration::from_secs(60), "the branch is looked at; noticed: {}", is_noticed(&handle));
        super::pause().await;
    }
    scene.world.clock.advance(Duration::from_secs(2));
    scene.until("it is live at the newer commit", |view| view.status.state == StatusState::Live).await;
    assert_eq!(ended(&scene), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_new_releases_are_a_few_lists_of_the_folders_together() {
    let mut scene = Scene::new().await;
    let begin = Instant::now();
    for number in 0..30 {
        scene.world.put(&format!("new-{number}"), single("7")).await;
    }
    for number in 0..30 {
        while !scene.world.view(&format!("new-{number}")).await.status.reason.contains("has no Application") {
            assert!(begin.elapsed() < Duration::from_secs(120), "each is looked at");
            super::pause().await;
        }
    }
    let (lists, seconds) = (scene.server.lists("applicationsets"), begin.elapsed().as_secs());
    assert!(u64::from(lists) <= seconds + 2, "{lists} lists in {seconds} s");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retracted_release_is_not_gone_before_its_cluster_was_seen() {
    let mut scene = Scene::with_seven().await;
    for plural in super::cluster::KINDS {
        scene.server.put(plural, Listed::Fails(403));
    }
    scene.start().await;
    scene.world.done(request("fraud", Intent::Retract)).await;
    // They are looked at one after the other: once the second was, the first was too.
    scene.world.put("other", single("7")).await;
    let begin = Instant::now();
    while !scene.world.view("other").await.status.reason.contains("`list` `applications.argoproj.io`") {
        assert!(begin.elapsed() < Duration::from_secs(60), "it is looked at");
        super::pause().await;
    }
    let view = scene.world.view("fraud").await;
    assert_eq!((view.deployed, view.status.state), (false, StatusState::Retracting));
    assert!(view.status.reason.contains("what is left of it cannot be seen"), "{}", view.status.reason);
    for plural in super::cluster::KINDS {
        scene.server.put(plural, Listed::Objects(Vec::new()));
        scene.server.expire(plural);
    }
    let handle = scene.world.handle();
    while handle.release(&key("fraud")).await.is_ok() {
        assert!(begin.elapsed() < Duration::from_secs(60), "it is still known");
        super::pause().await;
    }
}

/// Version 8 in trouble, and a service that is started again a minute after it was committed, its store changed meanwhile.
async fn started_again_after(statement: &'static str) -> Scene {
    let mut scene = Scene::with_seven().await;
    scene.world.put("fraud", single("8")).await;
    scene.comes(Cluster::NewestCannotPull).await;
    scene.until("v8 is in trouble", |view| view.status.reason.contains("cannot pull its image")).await;
    scene.world.clock.advance(Duration::from_secs(60));
    scene.world.sql(statement).await;
    scene.start().await;
    scene.until("it is seen again", |view| view.status.reason.contains("cannot pull its image")).await;
    scene.world.clock.advance(Duration::from_secs(11 * 60));
    scene.until("it is stalled", |view| view.status.state == StatusState::Stalled).await;
    scene.world.clock.advance(Duration::from_secs(11 * 60));
    scene
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_lost_store_cannot_tell_of_is_not_taken_back() {
    let mut scene = started_again_after("DELETE FROM live").await;
    // They are looked at one after the other: once the second was, the first was too.
    scene.world.put("other", single("7")).await;
    let begin = Instant::now();
    while !scene.world.view("other").await.status.reason.contains("has no Application") {
        assert!(begin.elapsed() < Duration::from_secs(60), "it is looked at");
        super::pause().await;
    }
    scene.world.run().await;
    let view = scene.world.view("fraud").await;
    assert_eq!(view.release.stable().unwrap().version.as_str(), "8", "it may have been live for years");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stalls_over_a_restart_is_taken_back_where_the_store_knows_its_release() {
    let mut scene = started_again_after("DELETE FROM live WHERE release = 'no such'").await;
    scene.until("taken back", |view| view.release.stable().unwrap().version.as_str() == "7").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_does_not_answer_does_not_say_that_it_never_was_live() {
    let mut scene = Scene::with_seven().await;
    let since = scene.world.view("fraud").await.status.since;
    scene.world.clock.advance(Duration::from_secs(300));
    scene.world.sql("ALTER TABLE live RENAME TO away").await;
    scene.start().await;
    scene.until_applied().await;
    scene.world.run().await;
    scene.world.sql("ALTER TABLE away RENAME TO live").await;
    scene.world.clock.advance(Duration::from_secs(3));
    let view = scene.until("live again", |view| view.status.state == StatusState::Live).await;
    assert_eq!(view.status.since, since, "the first time counts");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_starts_for_long_is_named_with_the_last_warning_of_its_events() {
    let mut scene = Scene::new().await;
    let message = "MountVolume.SetUp failed for volume \"s3\": secret \"s3\" not found";
    let event = json!({"metadata": {"name": "one", "namespace": "models"}, "involvedObject": {"kind": "Pod"}, "message": message});
    scene.server.put("events", Listed::Objects(vec![event]));
    scene.world.put("fraud", single("7")).await;
    scene.comes(Cluster::NewestIsUnready).await;
    scene.server.edit("pods", |items| {
        let waiting = json!({"waiting": {"reason": "ContainerCreating"}});
        items[0]["status"]["containerStatuses"] = json!([{"name": "model", "ready": false, "state": waiting}]);
    });
    let starts = |view: &ReleaseView| view.status.reason == "v7 is not ready: 0 of 1 replicas are available";
    scene.until("it starts", starts).await;
    scene.world.clock.advance(Duration::from_secs(121));
    let named = |view: &ReleaseView| view.status.reason.ends_with(&format!("does not get beyond its start: {message}"));
    let view = scene.until("it is named", named).await;
    assert_eq!(view.status.state, StatusState::Syncing, "long before its deadline");
}
