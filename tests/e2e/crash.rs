//! What was acknowledged arrives, once, whatever happens to the process.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::mpsc;

use serde_json::json;
use tests::{Delivery, Request, Server, Signing, TestEnvironment};

/// The storm guard is not what these tests are about.
const UNGUARDED: (&str, &str) = ("KMLFLOW__ENVIRONMENTS__PRODUCTION__NEW_RELEASES_PER_MINUTE", "100000");

fn release_request(number: usize) -> Delivery {
    let name = format!("m{number}");
    let body = json!({"name": name, "namespace": "models", "environment": "production", "model": name, "version": "1", "image": "registry.example/m:1"});
    Delivery::generic(&format!("ci-{number}"), &body)
}

/// How many commits of this kind each delivery led to.
fn commits_by_delivery(server: &Server<'_>, action: &str) -> BTreeMap<String, usize> {
    let mut count = BTreeMap::new();
    for commit in server.clone_repository().log("releases") {
        if let (Some(id), true) = (commit.trailer("Delivery-Id"), commit.trailer("Action") == Some(action)) {
            *count.entry(id.to_owned()).or_default() += 1;
        }
    }
    count
}

#[test]
fn killed_between_answer_and_commit_the_release_is_made_after_the_restart_once() {
    let environment = TestEnvironment::new();
    let start = || environment.server().env(UNGUARDED.0, UNGUARDED.1).start();
    let server = start();
    server.api("POST", "/hold", Some(&json!({"reason": "to be killed"}))).expect(200);
    for number in 0..3 {
        server.deliver(&release_request(number)).expect(202);
    }
    server.kill();

    let server = start();
    assert_eq!(server.get("/deliveries?state=accepted")["items"].as_array().unwrap().len(), 3);
    server.api("DELETE", "/hold", None).expect(200);
    for number in 0..3 {
        assert_eq!(server.settle(&format!("ci-{number}"))["state"], "applied");
    }
    // A restart finds nothing left to do.
    server.kill();
    let server = start();
    server.put("production/models/other", &super::image("other", "1")).expect(201);
    let made = commits_by_delivery(&server, "create");
    for number in 0..3 {
        assert_eq!(made.get(&format!("ci-{number}")), Some(&1), "{made:?}");
    }
}

#[test]
fn under_a_loop_of_kills_every_acknowledged_delivery_arrives_exactly_once() {
    const DELIVERIES: usize = 60;
    const ROUNDS: usize = 6;
    let environment = TestEnvironment::new();
    let start = || environment.server().env(UNGUARDED.0, UNGUARDED.1).start();
    let acknowledged = Mutex::new(Vec::new());
    for round in 0..ROUNDS {
        let server = start();
        let (address, secret) = (server.address(), server.secret(Signing::Standard));
        let (told, acks) = mpsc::channel();
        std::thread::scope(|scope| {
            for lane in 0..4 {
                let (told, acknowledged, secret) = (told.clone(), &acknowledged, &secret);
                scope.spawn(move || {
                    let of_round =
                        (0..DELIVERIES).filter(|number| number % ROUNDS == round && number / ROUNDS % 4 == lane);
                    for number in of_round {
                        let delivery = release_request(number);
                        // No answer: not acknowledged; it may still have arrived.
                        if delivery.sign(secret).try_send(address).is_ok_and(|answer| answer.status == 202) {
                            acknowledged.lock().unwrap().push(delivery.id);
                            // The test may have heard enough.
                            let _ = told.send(());
                        }
                    }
                });
            }
            drop(told);
            // Killed after another number of answers in each round, in the middle of the others.
            let _ = acks.iter().take(2 + round).count();
            server.kill();
        });
    }

    let server = start();
    let acknowledged = acknowledged.into_inner().unwrap();
    assert!(acknowledged.len() >= 2 * ROUNDS, "{acknowledged:?}");
    for id in &acknowledged {
        assert_eq!(server.settle(id)["state"], "applied", "{id}");
    }
    let made = commits_by_delivery(&server, "create");
    for id in &acknowledged {
        assert_eq!(made.get(id), Some(&1), "{id}");
    }
    assert!(made.values().all(|&count| count == 1), "{made:?}");
    server.clone_repository().ask(&["fsck", "--full", "--strict"]);
}

#[test]
fn killed_while_a_backlog_is_committed_nothing_is_lost_or_doubled() {
    const BACKLOG: usize = 40;
    let environment = TestEnvironment::new();
    let start = || environment.server().env(UNGUARDED.0, UNGUARDED.1).start();
    let server = start();
    server.api("POST", "/hold", Some(&json!({"reason": "a backlog"}))).expect(200);
    for number in 0..BACKLOG {
        server.deliver(&release_request(number)).expect(202);
    }
    let mut events = server.events();
    server.api("DELETE", "/hold", None).expect(200);
    drop(events.until("the first commit of the backlog", |event| event.kind == "release"));
    server.kill();

    let server = start();
    for number in 0..BACKLOG {
        assert_eq!(server.settle(&format!("ci-{number}"))["state"], "applied");
    }
    let made = commits_by_delivery(&server, "create");
    assert_eq!(made.len(), BACKLOG);
    assert!(made.values().all(|&count| count == 1), "{made:?}");
}

#[test]
fn under_a_loop_of_kills_what_is_asked_again_under_its_key_is_done_once() {
    const ROUNDS: usize = 12;
    const FRAUD: &str = "production/models/fraud";
    let environment = TestEnvironment::new();
    let server = environment.server().start();
    server.put(FRAUD, &super::image("fraud", "7")).expect(201);
    server.put(FRAUD, &super::by("blue-green", "fraud", "8", json!({}))).expect(200);
    drop(server);
    let token = environment.server().start().token();
    // Each flip under a key of its own, and again under the same one where there was no answer.
    let flip = |number: usize, address| {
        let request = Request::new("POST", &format!("/api/v1/releases/{FRAUD}/advance")).bearer(&token);
        request.header("Idempotency-Key", format!("flip-{number}")).try_send(address)
    };
    let start = || {
        let server = environment.server().start();
        server.until("an empty inbox", || {
            let waiting = server.get("/deliveries?state=accepted");
            waiting["items"].as_array().unwrap().is_empty().then_some(())
        });
        server
    };
    let mut flips = 0;
    for round in 0..ROUNDS {
        let server = start();
        let address = server.address();
        let (told, acks) = mpsc::channel();
        std::thread::scope(|scope| {
            let (flips, flip) = (&mut flips, &flip);
            scope.spawn(move || {
                while let Ok(answer) = flip(*flips, address) {
                    drop(answer.expect(200));
                    *flips += 1;
                    // The test may have heard enough.
                    let _ = told.send(());
                }
            });
            // Killed in the middle of the next one.
            let _ = acks.iter().take(1 + round % 4).count();
            server.kill();
        });
    }
    let server = start();
    drop(flip(flips, server.address()).unwrap().expect(200));
    let made = commits_by_delivery(&server, "flip");
    assert_eq!(made.len(), flips + 1, "flips that were done twice, or not at all: {made:?}");
    assert!(made.values().all(|&count| count == 1), "{made:?}");
}

#[test]
fn told_to_end_it_ends_in_order_and_goes_on_where_it_was() {
    let environment = TestEnvironment::new();
    let server = environment.server().start();
    server.put("production/models/fraud", &super::image("fraud", "7")).expect(201);
    assert_eq!(server.stop(), Some(0));
    let server = environment.server().start();
    assert_eq!(server.get("/releases/production/models/fraud")["spec"]["variants"][0]["version"], "7");
    assert!(!server.get("/releases/production/models/fraud/history")["items"].as_array().unwrap().is_empty());
}
