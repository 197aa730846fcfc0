//! Several services on one database and one branch: any of them accepts and answers, one of them carries out.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use serde_json::{Value, json};
use tests::environment::succeed;
use tests::{Checkout, Delivery, Request, Server, ServerBuilder, TestEnvironment};

use super::migrate::URL;
use super::*;
use crate::{by, image};

pub(super) const FRAUD: &str = "production/models/fraud";

/// A database and a branch, and the directories of the services that share them.
pub(crate) struct Site<const N: usize> {
    pub(crate) database: PostgresServer,
    pub(crate) environments: [TestEnvironment; N],
    /// Where the branch lives.
    pub(crate) url: String,
}

impl<const N: usize> Site<N> {
    /// A new branch at a path, with its first files.
    pub(crate) fn new() -> Self {
        let environments = std::array::from_fn(|_| TestEnvironment::new());
        let repository = environments[0].path("gitops.git");
        let mut init = environments[0].command("git");
        succeed(init.args(["init", "-q", "--bare", "--initial-branch=main"]).arg(&repository));
        let url = format!("file://{}", repository.display());
        succeed(&mut environments[0].kmlflow(["init", "--url", &url]));
        Self { database: PostgresServer::start(), environments, url }
    }

    /// One of the services, not started yet.
    pub(crate) fn replica(&self, at: usize) -> ServerBuilder<'_> {
        let store = self.database.url("kmlflow").replace('@', &format!(":{}@", OWNER.1));
        self.environments[at].server().env(URL, &store).env("KMLFLOW__GIT__URL", &self.url)
    }

    /// The first two of the services: the one leads, the other follows.
    fn two(&self) -> [Server<'_>; 2] {
        let first = self.replica(0).start();
        until_it_leads(&first);
        [first, self.replica(1).start()]
    }
}

/// Whether a service says that it leads.
pub(crate) fn leads(server: &Server<'_>) -> bool {
    let text = Request::new("GET", "/metrics").bearer(&server.token()).send(server.address()).expect(200).text();
    match text.lines().find_map(|line| line.strip_prefix("kmlflow_leads ")) {
        Some("1") => true,
        Some("0") => false,
        other => panic!("{other:?} {text}"),
    }
}

pub(super) fn until_it_leads(server: &Server<'_>) {
    server.until("leading", || leads(server).then_some(()));
}

fn version(release: &Value) -> &str {
    release["spec"]["variants"][0]["version"].as_str().unwrap()
}

#[test]
fn any_of_them_is_asked_and_answers_what_the_leader_did() {
    let site = Site::<2>::new();
    let [first, second] = site.two();
    assert!(Request::new("GET", "/readyz").send(second.address()).expect(200).status == 200 && !leads(&second));
    second.put(FRAUD, &image("fraud", "7")).expect(201);
    assert_eq!(version(&first.get(&format!("/releases/{FRAUD}"))), "7");
    // What the one was told of, the other one goes on from.
    first.put(FRAUD, &by("canary", "fraud", "8", json!({"steps": [5, 25, 50]}))).expect(200);
    let weight = |server: &Server<'_>| {
        let release = server.get(&format!("/releases/{FRAUD}"));
        release["split"].as_array().unwrap().iter().find(|share| share["version"] == "8").unwrap()["weight"].clone()
    };
    assert_eq!((weight(&second), weight(&first)), (json!(5), json!(5)));
    for (server, then) in [(&second, 25), (&first, 50)] {
        server.act(FRAUD, "advance", None).expect(200);
        assert_eq!((weight(&first), weight(&second)), (json!(then), json!(then)));
    }
    // A refusal has its status and its cure at whoever was asked.
    for server in [&first, &second] {
        let refused = server.put(FRAUD, &by("canary", "fraud", "9", json!({"baseline": "6"}))).expect(409).json();
        assert!(refused["cure"].is_string(), "{refused}");
    }
    second.act(FRAUD, "promote", None).expect(200);
    second.act(FRAUD, "rollback", None).expect(200);
    assert_eq!(version(&second.get(&format!("/releases/{FRAUD}"))), "7");
    let dry = second.api("PUT", &format!("/releases/{FRAUD}?dryRun=true"), Some(&image("fraud", "9"))).expect(200);
    assert!(dry.json()["diff"].as_str().unwrap().contains("fraud:9"), "{}", dry.text());
    let histories = [&first, &second].map(|server| server.get(&format!("/releases/{FRAUD}/history")));
    assert_eq!(histories[0], histories[1]);
}

#[test]
fn a_rewritten_history_that_somebody_accepts_is_what_all_of_them_show_and_act_on() {
    let site = Site::<3>::new();
    let ([first, second], third) = (site.two(), site.replica(2).start());
    let servers = [&first, &second, &third];
    for (number, status) in [("7", 201), ("8", 200), ("9", 200), ("10", 200)] {
        second.put(FRAUD, &image("fraud", number)).expect(status);
    }
    let shows = |server: &Server<'_>, wanted: &str| {
        server.until("the state", || (version(&server.get(&format!("/releases/{FRAUD}"))) == wanted).then_some(()));
    };
    servers.iter().for_each(|server| shows(server, "10"));
    Checkout::of(&site.environments[0], &site.url).ask(&["push", "-q", "--force", "origin", "HEAD~3:main"]);
    // Asked for again it is there already, so that no commit follows.
    let held = third.put(FRAUD, &image("fraud", "7")).expect(202).json();
    assert!(held["waitsFor"].as_str().unwrap().contains("rewrote the history"), "{held}");
    servers.iter().for_each(|server| shows(server, "10"));
    second.api("DELETE", "/hold", None).expect(200);
    let settled = first.settle(held["delivery"].as_str().unwrap());
    assert_eq!(settled["state"], "unchanged", "{settled}");
    for server in servers {
        shows(server, "7");
        server.act(FRAUD, "rollback", None).expect(409);
    }
    third.put(FRAUD, &image("fraud", "8")).expect(200);
    servers.iter().for_each(|server| shows(server, "8"));
}

#[test]
fn what_is_so_already_is_answered_with_what_the_leader_did_a_moment_ago() {
    let site = Site::<2>::new();
    let [leader, follower] = site.two();
    for version in 1..=30 {
        let wanted = image("fraud", &version.to_string());
        let [done, again] = [&leader, &follower].map(|server| server.put(FRAUD, &wanted));
        assert!([200, 201].contains(&done.status) && again.status == 200, "{} {}", done.text(), again.text());
        let shown =
            |answer: &tests::Response| (answer.json()["commit"].clone(), answer.header("ETag").map(str::to_owned));
        assert!(done.json()["commit"].is_string() && again.json()["changed"] == false, "{}", again.text());
        assert_eq!(shown(&again), shown(&done), "version {version}");
    }
}

#[test]
fn a_hold_and_a_webhook_at_one_of_them_count_for_all() {
    let site = Site::<2>::new();
    let [first, second] = site.two();
    second.api("POST", "/hold", Some(&json!({"reason": "to look"}))).expect(200);
    first.until("the hold", || (first.get("/environments").to_string().contains("to look")).then_some(()));
    let body = json!({"name": "fraud", "namespace": "models", "environment": "production", "model": "fraud", "version": "7", "image": "registry.example/fraud:7"});
    let delivery = Delivery::generic("ci-1", &body);
    second.deliver(&delivery).expect(202);
    let held = second.put(FRAUD, &image("fraud", "8")).expect(202).json();
    assert!(held["waitsFor"].as_str().unwrap().contains("to look"), "{held}");
    second.api("DELETE", "/hold", None).expect(200);
    let settled = first.settle(held["delivery"].as_str().unwrap());
    assert_eq!(settled["state"], "applied");
    second.until("the release", || {
        let found = second.api("GET", &format!("/releases/{FRAUD}"), None);
        (found.status == 200 && version(&found.json()) == "8").then_some(())
    });
}

#[test]
fn who_is_left_takes_over_what_a_dead_leader_had() {
    let site = Site::<2>::new();
    let [first, second] = site.two();
    first.put(FRAUD, &image("fraud", "7")).expect(201);
    second.api("POST", "/hold", Some(&json!({"reason": "a backlog"}))).expect(200);
    first.until("the hold", || (first.get("/environments").to_string().contains("a backlog")).then_some(()));
    let queued: Vec<Value> = (0..6)
        .map(|n| [&first, &second][n % 2].put(&format!("production/models/m{n}"), &image("m", "1")).expect(202).json())
        .collect();
    first.kill();
    until_it_leads(&second);
    second.api("DELETE", "/hold", None).expect(200);
    for queued in &queued {
        assert_eq!(second.settle(queued["delivery"].as_str().unwrap())["state"], "applied");
    }
    second.put(FRAUD, &image("fraud", "8")).expect(200);
    // Whoever comes back follows.
    let first = site.replica(0).start();
    assert!(!leads(&first));
    assert_eq!(version(&first.get(&format!("/releases/{FRAUD}"))), "8");
    for n in 0..6 {
        let history = second.get(&format!("/releases/production/models/m{n}/history"));
        let made = history["items"].as_array().unwrap().iter().filter(|item| item["action"] == "create").count();
        assert_eq!(made, 1, "{history}");
    }
}

#[test]
fn a_request_whose_replica_died_before_it_answered_is_one_step_when_it_is_asked_again_under_its_key() {
    let site = Site::<2>::new();
    let [leader, follower] = site.two();
    leader.put(FRAUD, &image("fraud", "7")).expect(201);
    leader.put(FRAUD, &by("blue-green", "fraud", "8", json!({}))).expect(200);
    // The leader's next push takes as long as the test wants it to.
    let repository = site.environments[0].path("gitops.git");
    let (begun, busy) = (repository.join("begun"), site.environments[0].write("gitops.git/busy", ""));
    let script =
        format!("#!/bin/sh\n: >'{}'\nwhile [ -e '{}' ]; do sleep 0.05; done\n", begun.display(), busy.display());
    let hook = site.environments[0].write("gitops.git/hooks/pre-receive", script);
    std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o755)).unwrap();
    let flip = Request::new("POST", &format!("/api/v1/releases/{FRAUD}/advance")).bearer(&follower.token());
    let flip = flip.header("Idempotency-Key", "flip");
    std::thread::scope(|scope| {
        let (flip, address) = (&flip, follower.address());
        let asked = scope.spawn(move || flip.try_send(address));
        leader.until("the push is under way", || begun.exists().then_some(()));
        follower.kill();
        assert!(asked.join().unwrap().is_err(), "it was killed before it answered");
    });
    // It has the key, for as long as it may only have lost its connection; whoever comes then is told of the same request.
    let answer = |status: u16| move |answer: tests::Response| (answer.status == status).then_some(answer);
    let queued = leader.until_within(Duration::from_secs(60), "the key", || answer(202)(flip.send(leader.address())));
    std::fs::remove_file(&busy).unwrap();
    assert_eq!(leader.settle(queued.json()["delivery"].as_str().unwrap())["state"], "applied");
    let history = leader.get(&format!("/releases/{FRAUD}/history"));
    let flips = history["items"].as_array().unwrap().iter().filter(|item| item["action"] == "flip").count();
    assert_eq!(flips, 1, "{history}");
    assert_eq!(flip.send(leader.address()).expect(202).text(), queued.text());
}

#[test]
fn a_leader_that_loses_its_lock_follows_and_nothing_is_done_twice() {
    let site = Site::<2>::new();
    let servers = [site.replica(0).start(), site.replica(1).start()];
    for round in 1..=3 {
        let leader = servers[0].until("a leader", || servers.iter().position(leads));
        let other = 1 - leader;
        site.database
            .psql("kmlflow", "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted");
        for (n, server) in [(0, leader), (1, other)] {
            let version = (round * 2 + n).to_string();
            let answer = servers[server].put(FRAUD, &image("fraud", &version));
            assert!([200, 201].contains(&answer.status), "{}", answer.text());
        }
    }
    servers[0].until("one leader", || (servers.iter().filter(|server| leads(server)).count() == 1).then_some(()));
    let history = servers[1].get(&format!("/releases/{FRAUD}/history"));
    let versions: Vec<&str> =
        history["items"].as_array().unwrap().iter().rev().filter_map(|item| item["version"].as_str()).collect();
    assert!(versions.is_sorted_by_key(|version| version.parse::<u32>().unwrap()), "{versions:?}");
}

#[test]
fn a_replica_for_another_branch_is_refused_while_others_are_there() {
    let site = Site::<2>::new();
    let first = site.replica(0).start();
    let elsewhere = site.environments[1].path("elsewhere.git");
    let url = format!("file://{}", elsewhere.display());
    let mut init = site.environments[1].command("git");
    succeed(init.args(["init", "-q", "--bare", "--initial-branch=main"]).arg(&elsewhere));
    succeed(&mut site.environments[1].kmlflow(["init", "--url", &url]));
    let refused = site.replica(1).env("KMLFLOW__GIT__URL", &url).run();
    let told = "the other services on this database release to `main` of `";
    assert!(refused.code == 1 && refused.stderr.contains(told), "{refused:?}");
    assert!(refused.stderr.contains("Hint: give all of them the same `git.url`"), "{}", refused.stderr);
    let alone =
        site.environments[1].server().env(URL, &site.database.url("kmlflow").replace('@', &format!(":{}@", OWNER.1)));
    assert!(alone.run().stderr.contains("this one is to release to the repository in its data directory"));
    first.put(FRAUD, &image("fraud", "7")).expect(201);
    assert_eq!(first.stop(), Some(0));
    // Nobody is left who would be contradicted. That it is another history is for a person to judge.
    let moved = site.replica(1).env("KMLFLOW__GIT__URL", &url).start();
    until_it_leads(&moved);
    let held = moved.put(FRAUD, &image("fraud", "8")).expect(202).json();
    assert!(held["waitsFor"].as_str().unwrap().contains("rewrote the history"), "{held}");
    moved.api("DELETE", "/hold", None).expect(200);
    assert_eq!(moved.settle(held["delivery"].as_str().unwrap())["state"], "applied");
}

#[test]
fn a_start_waits_for_a_database_that_is_away_and_says_so() {
    let Site { mut database, environments: [environment], url } = Site::<1>::new();
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], tests::ssh_server::free_port()));
    let store = database.url("kmlflow").replace('@', &format!(":{}@", OWNER.1));
    let builder = environment.server().env(URL, &store).env("KMLFLOW__GIT__URL", &url).listen(&address.to_string());
    database.stop();
    std::thread::scope(|scope| {
        let starting = scope.spawn(|| builder.start());
        let ask = |path: &str| Request::new("GET", path).try_send(address);
        let waiting = loop {
            if let Ok(answer) = ask("/readyz") {
                break answer;
            }
        };
        assert!(
            waiting.status == 503 && waiting.text().contains("waits for the database server"),
            "{}",
            waiting.text()
        );
        assert!(ask("/healthz").is_ok_and(|answer| answer.status == 200));
        database.start_again();
        let server = starting.join().unwrap();
        assert!(server.printed().contains("The start waits for the database server"));
        server.put(FRAUD, &image("fraud", "7")).expect(201);
    });
}
