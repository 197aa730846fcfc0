//! One service on SQLite, a remote, somebody else who pushes there all the time, and a process that is killed again and again: what was
//! acknowledged is found once among the commits, nothing of the other's is lost, and the end is what the commits say.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, mpsc};

use serde_json::{Value, json};
use tests::{Checkout, Commit, Request, Server};

use super::*;

/// How often it is killed, and after how many acknowledged requests each time.
const KILLS: usize = 100;
const ACKNOWLEDGED: usize = 10;

/// Clients, each with a release of its own.
const CLIENTS: usize = 4;

/// What a client was told.
#[derive(Default)]
struct Told {
    /// Commits that were answered.
    commits: Vec<String>,
    /// Deliveries that were answered as queued.
    queued: Vec<String>,
}

/// The request of a client at one of its steps: a release's life, again and again with newer versions.
fn step(client: usize, at: usize) -> Request {
    const STEPS: usize = 7;
    let (name, version) = (format!("c{client}"), at / STEPS * 3 + 1);
    let put = |version: usize, strategy: &str| {
        let body = json!({"model": name, "version": version.to_string(), "strategy": strategy, "image": format!("registry.example/{name}:{version}")});
        Request::new("PUT", &format!("/api/v1/releases/production/models/{name}")).json(&body)
    };
    let act = |act: &str| Request::new("POST", &format!("/api/v1/releases/production/models/{name}/{act}"));
    match at % STEPS {
        0 => put(version, "single"),
        1 => put(version + 1, "canary"),
        2 | 5 => act("promote"),
        3 => put(version + 2, "blue-green"),
        4 => act("advance"),
        _ => act("rollback"),
    }
}

/// Asks until the service does not answer any more, or enough was acknowledged.
fn ask(server: &Server<'_>, client: usize, at: &AtomicUsize, told: &Mutex<Told>, tell: &mpsc::Sender<()>) {
    let (address, token) = (server.address(), server.token());
    loop {
        let request = step(client, at.fetch_add(1, Ordering::Relaxed)).bearer(&token);
        let Ok(answer) = request.try_send(address) else { return };
        let mut told = told.lock().unwrap();
        match answer.status {
            200 | 201 => told.commits.extend(answer.json()["commit"].as_str().map(ToOwned::to_owned)),
            202 => told.queued.extend(answer.json()["delivery"].as_str().map(ToOwned::to_owned)),
            // What was asked before may have been lost with an answer, and then this makes no sense.
            404 | 409 | 422 => continue,
            other => panic!("{other}: {}", answer.text()),
        }
        drop(told);
        if tell.send(()).is_err() {
            return;
        }
    }
}

/// Pushes empty commits until told to stop, always on what is there; answers how many arrived.
fn push_by_hand(checkout: &Checkout<'_>, stop: &AtomicBool) -> usize {
    let mut pushed = 0;
    while !stop.load(Ordering::Relaxed) {
        checkout.update();
        checkout.ask(&["commit", "-q", "--allow-empty", "-m", &format!("By hand {pushed}")]);
        pushed += usize::from(checkout.git(&["push", "-q", "origin", "HEAD:main"]).code == 0);
    }
    pushed
}

fn check_commits(commits: &[Commit], told: &Told) {
    let ids: BTreeSet<&str> = commits.iter().map(|commit| commit.id.as_str()).collect();
    let lost: Vec<&String> = told.commits.iter().filter(|commit| !ids.contains(commit.as_str())).collect();
    assert!(lost.is_empty(), "lost: {lost:?}");
    let (mut intents, mut seen) = (BTreeMap::new(), BTreeSet::new());
    for commit in commits {
        let Some(delivery) = commit.trailer("Delivery-Id") else { continue };
        let intent = commit.trailer("Release-Id").expect("the intent of a delivery");
        assert_eq!(*intents.entry(delivery).or_insert(intent), intent, "carried out twice: {commit:?}");
        assert!(seen.insert((delivery, commit.subject.as_str())), "the same step twice: {commit:?}");
    }
}

#[test]
fn killed_a_hundred_times_it_loses_and_doubles_nothing_that_it_acknowledged() {
    let environment = TestEnvironment::new();
    let path = environment.path("gitops.git");
    succeed(environment.command("git").args(["init", "-q", "--bare", "--initial-branch=main"]).arg(&path));
    let url = format!("file://{}", path.display());
    succeed(&mut environment.kmlflow(["init", "--url", &url]));
    let start = || {
        let begin = environment.server().env("KMLFLOW__GIT__URL", &url);
        begin.env("KMLFLOW__ENVIRONMENTS__PRODUCTION__NEW_RELEASES_PER_MINUTE", "100000").start()
    };
    let told: Mutex<Told> = Mutex::default();
    let at: [AtomicUsize; CLIENTS] = Default::default();
    let stop = AtomicBool::new(false);
    let checkout = Checkout::of(&environment, &url);
    let by_hand = std::thread::scope(|scope| {
        let by_hand = scope.spawn(|| push_by_hand(&checkout, &stop));
        for _ in 0..KILLS {
            let server = start();
            let (tell, acknowledged) = mpsc::channel();
            std::thread::scope(|scope| {
                for (client, at) in at.iter().enumerate() {
                    let (server, told, tell) = (&server, &told, tell.clone());
                    scope.spawn(move || ask(server, client, at, told, &tell));
                }
                drop(tell);
                let heard = acknowledged.iter().take(ACKNOWLEDGED).count();
                assert_eq!(heard, ACKNOWLEDGED, "{}", server.printed());
                let id = server.pid().to_string();
                succeed(environment.command("kill").args(["-KILL", &id]));
            });
        }
        stop.store(true, Ordering::Relaxed);
        by_hand.join().unwrap()
    });

    let server = start();
    let told = told.into_inner().unwrap();
    assert!(told.commits.len() + told.queued.len() >= KILLS * ACKNOWLEDGED);
    for delivery in &told.queued {
        let state = server.settle(delivery)["state"].clone();
        assert!(["applied", "unchanged", "refused"].contains(&state.as_str().unwrap()), "{delivery}: {state}");
    }
    server.until("an empty inbox", || {
        let waiting =
            |state: &str| server.get(&format!("/deliveries?state={state}"))["items"].as_array().unwrap().len();
        (waiting("accepted") + waiting("failed") == 0).then_some(())
    });
    checkout.update();
    let commits = checkout.log("");
    check_commits(&commits, &told);
    let theirs = commits.iter().filter(|commit| commit.subject.starts_with("By hand ")).count();
    assert!(theirs == by_hand && by_hand > 0, "{theirs} of {by_hand}");
    checkout.ask(&["fsck", "--full", "--strict"]);
    for client in 0..CLIENTS {
        let directory = format!("releases/production/models/c{client}");
        let release: Value = server.get(&format!("/releases/production/models/c{client}"));
        assert_eq!(release["commit"], checkout.log(&directory)[0].id.as_str(), "{release}");
        let manifests = server.get(&format!("/releases/production/models/c{client}/manifests"));
        for (file, text) in manifests["manifests"].as_object().unwrap_or_else(|| panic!("{manifests}")) {
            assert_eq!(text.as_str(), checkout.read(&format!("{directory}/{file}")).as_deref(), "{file}");
        }
        assert_eq!(release["files"], json!([]), "nothing is taken for a person's change");
    }
}
