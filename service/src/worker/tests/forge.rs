//! What a forge is told of commits and environments while it says no, is away, or somebody else was to tell it.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::{Request, Response};
use tokio::net::TcpListener;

use super::cluster::{Cluster, Scene};
use super::remote::Far;
use super::*;
use crate::forge::{Access, Address, Forge, Kind, Settings as ForgeSettings, Token, TokenAccess};
use crate::worker::StatusState;
use crate::worker::statuses::{Refusals, tell_status};

/// A forge that answers every request with one status, and keeps what it took.
#[derive(Clone)]
struct Told(Arc<Mutex<(u16, Vec<String>)>>);

impl Told {
    async fn start(kind: Kind) -> (Self, Arc<Forge>) {
        let told = Self(Arc::new(Mutex::new((201, Vec::new()))));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let api = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(take).with_state(told.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        let address = Address::of(kind, "https://forge.example/team/gitops.git", Some(&api)).unwrap();
        let token = TokenAccess { token: Token::new("t0ken"), cure: String::new(), renewal: None };
        let settings = ForgeSettings { kind, address, access: Access::Token(token), ca_file: None };
        (told, Arc::new(Forge::new(settings).unwrap()))
    }

    fn answers(&self, status: u16) {
        self.0.lock().unwrap().0 = status;
    }

    /// Commit and state of each status that it took.
    fn statuses(&self) -> Vec<String> {
        self.0.lock().unwrap().1.clone()
    }

    /// Waits until it took that each of these commits succeeded.
    async fn until_succeeded(&self, commits: [&CommitId; 2]) {
        let begin = Instant::now();
        while !commits.iter().all(|commit| self.statuses().contains(&format!("{commit} success"))) {
            assert!(begin.elapsed() < Duration::from_secs(60), "{commits:?}: {:?}", self.statuses());
            super::pause().await;
        }
    }
}

async fn take(State(told): State<Told>, request: Request<Body>) -> Response<Body> {
    let commit = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
    let body = to_bytes(request.into_body(), 1 << 20).await.unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let mut told = told.0.lock().unwrap();
    if told.0 < 300 {
        told.1.push(format!("{commit} {}", body["state"].as_str().unwrap_or_default()));
    }
    Response::builder().status(told.0).body(Body::from("{}")).unwrap()
}

/// A service with a remote at a forge.
async fn at_a_forge() -> (Far, Told) {
    let mut far = Far::without_start().await;
    let (told, forge) = Told::start(Kind::Gitea).await;
    far.world.remote.as_mut().unwrap().forge = Some(forge);
    (far, told)
}

/// Does all there is to do, as the program does, until the forge was told that these commits succeeded.
async fn run_until_told(world: &mut World, told: &Told, commits: [&CommitId; 2]) {
    let (_handle, worker) = world.parts.take().unwrap();
    tokio::select! {
        () = worker.run(std::future::pending()) => panic!("it ended by itself"),
        () = told.until_succeeded(commits) => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_forge_refuses_for_a_bad_token_is_told_once_the_token_is_good() {
    let (mut far, told) = at_a_forge().await;
    far.world.start().await;
    let commit = far.world.put("fraud", single("7")).await.commit.unwrap();
    let shared = far.world.handle().shared;
    let forge = shared.settings.forge().unwrap();
    let mut refusals = Refusals::default();
    let mut pauses = Vec::new();
    for status in [401, 403, 401, 401, 401, 401, 401] {
        told.answers(status);
        pauses.push(tell_status(&shared.statuses, forge, &mut refusals).await.unwrap().unwrap_err().as_secs());
    }
    assert_eq!(pauses, [30, 60, 120, 240, 480, 900, 900]);
    told.answers(201);
    assert_eq!(tell_status(&shared.statuses, forge, &mut refusals).await, Some(Ok(())));
    assert_eq!(told.statuses(), [format!("{commit} success")]);
    assert_eq!(tell_status(&shared.statuses, forge, &mut refusals).await, None, "it is told");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_forge_is_never_told_is_counted() {
    let (mut far, told) = at_a_forge().await;
    far.world.start().await;
    far.world.put("fraud", single("7")).await;
    told.answers(422);
    let (handle, worker) = far.world.parts.take().unwrap();
    let counted = async {
        let begin = Instant::now();
        while !handle.metrics().await.contains("kmlflow_forge_untold_total{reason=\"refused\"} 1") {
            assert!(begin.elapsed() < Duration::from_secs(60), "{}", handle.metrics().await);
            super::pause().await;
        }
    };
    tokio::select! {
        () = worker.run(std::future::pending()) => panic!("it ended by itself"),
        () = counted => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_a_forge_refuses_keeps_none_of_the_others_from_being_told() {
    let (mut far, told) = at_a_forge().await;
    far.world.start().await;
    for name in ["a", "b"] {
        far.world.put(name, single("7")).await;
    }
    let shared = far.world.handle().shared;
    let (forge, mut refusals) = (shared.settings.forge().unwrap(), Refusals::default());
    told.answers(403);
    assert!(tell_status(&shared.statuses, forge, &mut refusals).await.unwrap().is_err());
    told.answers(201);
    assert_eq!(tell_status(&shared.statuses, forge, &mut refusals).await, Some(Ok(())));
    let of_b = far.world.view("b").await.commit;
    assert_eq!(told.statuses(), [format!("{of_b} success")], "the one that was refused comes after the others");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_forge_was_not_told_before_a_kill_it_is_told_after() {
    let (mut far, told) = at_a_forge().await;
    told.answers(503);
    far.world.start().await;
    let first = far.world.put("fraud", single("7")).await.commit.unwrap();
    far.world.put("gone", single("1")).await;
    let gone = far.world.done(request("gone", Intent::Retract)).await.commit.unwrap();
    far.world.kill();
    told.answers(201);
    far.world.start().await;
    run_until_told(&mut far.world, &told, [&first, &gone]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_was_on_its_way_at_a_kill_is_not_so_for_ever() {
    let (mut far, told) = at_a_forge().await;
    far.world.delay = Period::from_minutes(5);
    far.world.start().await;
    far.world.put("fraud", single("7")).await;
    far.world.turn_clock(6).await;
    let entering = far.world.put("fraud", canary("8")).await.commit.unwrap();
    far.world.turn_clock(6).await;
    let running = far.world.view("fraud").await.commit;
    assert_ne!(entering, running);
    far.world.kill();
    far.world.start().await;
    run_until_told(&mut far.world, &told, [&entering, &running]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changed_long_ago_is_not_told_again_at_a_start() {
    let (mut far, _told) = at_a_forge().await;
    far.world.start().await;
    far.world.put("old", single("7")).await;
    far.world.clock.advance(Duration::from_secs(25 * 3_600));
    let commit = far.world.put("new", single("7")).await.commit.unwrap();
    far.world.start().await;
    let shared = far.world.handle().shared;
    shared.statuses.recall(&shared).await;
    let waiting = shared.statuses.waiting().keys().cloned().collect::<Vec<_>>();
    assert_eq!(waiting, [(key("new"), commit)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_to_lead_tells_what_it_saw_while_another_one_led() {
    let (mut far, _told) = at_a_forge().await;
    let world = std::mem::replace(&mut far.world, World::new(Period::ZERO, 1_000));
    let mut scene = Scene::of(world).await;
    scene.world.put("fraud", single("7")).await;
    scene.comes(Cluster::Ready).await;
    scene.until("v7 is live", |view| view.status.state == StatusState::Live).await;
    let commit = scene.world.view("fraud").await.commit;
    let shared = scene.world.handle().shared;
    // As whoever follows: nothing was noted here.
    shared.statuses.forget();
    shared.statuses.recall(&shared).await;
    let state = |statuses: &crate::worker::statuses::Statuses| {
        statuses.waiting().get(&(key("fraud"), commit.clone())).map(|status| status.state)
    };
    assert_eq!(state(&shared.statuses), Some(crate::forge::CommitState::Success));
    // What was live a day before is told already, what fails now may not be.
    scene.world.clock.advance(Duration::from_secs(25 * 3_600));
    shared.statuses.forget();
    shared.statuses.recall(&shared).await;
    assert_eq!(state(&shared.statuses), None);
    scene.comes(Cluster::NewestIsUnready).await;
    scene.until("it fails", |view| view.status.state != StatusState::Live).await;
    shared.statuses.forget();
    shared.statuses.recall(&shared).await;
    assert!(state(&shared.statuses).is_some_and(|state| state != crate::forge::CommitState::Success));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_live_long_before_a_start_is_not_told_again_by_the_first_look() {
    let (mut far, _told) = at_a_forge().await;
    let world = std::mem::replace(&mut far.world, World::new(Period::ZERO, 1_000));
    let mut scene = Scene::of(world).await;
    scene.world.put("fraud", single("7")).await;
    scene.comes(Cluster::Ready).await;
    scene.until("v7 is live", |view| view.status.state == StatusState::Live).await;
    scene.world.clock.advance(Duration::from_secs(25 * 3_600));
    scene.start().await;
    scene.until("it is live again", |view| view.status.state == StatusState::Live).await;
    // The next change of what is seen comes after what the first look told.
    let shared = scene.world.handle().shared;
    assert!(shared.statuses.waiting().is_empty());
    scene.comes(Cluster::NewestIsUnready).await;
    scene.until("it fails", |view| view.status.state != StatusState::Live).await;
    let begin = Instant::now();
    while shared.statuses.waiting().is_empty() {
        assert!(begin.elapsed() < Duration::from_secs(60), "what fails is told");
        super::pause().await;
    }
}
