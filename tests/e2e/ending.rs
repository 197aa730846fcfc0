//! Told to end, the service ends within ten seconds: what is under way is answered, and what was acknowledged is not lost.

use std::io::Write as _;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::json;
use tests::environment::succeed;
use tests::{Delivery, Request, Server, Signing, TestEnvironment};

/// What Docker and most supervisors give a service before they kill it.
const ENDS_WITHIN: Duration = Duration::from_secs(10);

/// The storm guard is not what these tests are about.
const UNGUARDED: (&str, &str) = ("KMLFLOW__ENVIRONMENTS__PRODUCTION__NEW_RELEASES_PER_MINUTE", "100000");

fn delivery(lane: usize, number: usize) -> Delivery {
    let name = format!("m{lane}-{number}");
    let body = json!({"name": name, "namespace": "models", "environment": "production", "model": name, "version": "1", "image": "registry.example/m:1"});
    Delivery::generic(&format!("ci-{lane}-{number}"), &body)
}

/// Ends it, in time and in order.
fn end(server: Server<'_>) {
    let begin = Instant::now();
    assert_eq!(server.stop(), Some(0));
    assert!(begin.elapsed() < ENDS_WITHIN, "{:?}", begin.elapsed());
}

#[test]
fn under_load_it_ends_in_time_and_nothing_acknowledged_is_lost() {
    const LANES: usize = 6;
    let environment = TestEnvironment::new();
    let start = || environment.server().env(UNGUARDED.0, UNGUARDED.1).start();
    let server = start();
    let (address, secret) = (server.address(), server.secret(Signing::Standard));
    let (is_over, (tell, told)) = (AtomicBool::new(false), mpsc::channel());
    let answered: Vec<(String, u16)> = std::thread::scope(|scope| {
        let lanes: Vec<_> = (0..LANES)
            .map(|lane| {
                let (is_over, secret, tell) = (&is_over, &secret, tell.clone());
                scope.spawn(move || {
                    let mut answered = Vec::new();
                    for number in 0.. {
                        if is_over.load(Ordering::Relaxed) {
                            break;
                        }
                        let delivery = delivery(lane, number);
                        // Without an answer nothing was promised; the sender tries again.
                        if let Ok(answer) = delivery.sign(secret).try_send(address) {
                            answered.push((delivery.id, answer.status));
                            let _ = tell.send(());
                        }
                    }
                    answered
                })
            })
            .collect();
        assert_eq!(told.iter().take(30).count(), 30);
        end(server);
        is_over.store(true, Ordering::Relaxed);
        lanes.into_iter().flat_map(|lane| lane.join().unwrap()).collect()
    });
    assert!(answered.iter().all(|(_, status)| [202, 503].contains(status)), "{answered:?}");

    let server = start();
    let acknowledged: Vec<&String> = answered.iter().filter(|(_, status)| *status == 202).map(|(id, _)| id).collect();
    assert!(acknowledged.len() >= 30, "{acknowledged:?}");
    for id in acknowledged {
        assert_eq!(server.settle(id)["state"], "applied", "{id}");
    }
}

#[test]
fn connections_without_end_do_not_hold_it_back() {
    let environment = TestEnvironment::new();
    let server = environment.server().start();
    let events = server.events();
    let _idle = TcpStream::connect(server.address()).unwrap();
    let mut unfinished = TcpStream::connect(server.address()).unwrap();
    unfinished.write_all(b"POST /webhooks/generic HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{").unwrap();
    end(server);
    drop(events);
}

#[test]
fn a_change_that_a_slow_remote_holds_up_is_answered_and_done_after_the_restart_once() {
    let environment = TestEnvironment::new();
    let repository = environment.path("gitops.git");
    succeed(environment.command("git").args(["init", "-q", "--bare", "--initial-branch=main"]).arg(&repository));
    let url = format!("file://{}", repository.display());
    succeed(environment.kmlflow(["init", "--data-dir"]).arg(environment.data_dir()).env("KMLFLOW__GIT__URL", &url));
    let hook = repository.join("hooks/pre-receive");
    std::fs::create_dir_all(hook.parent().unwrap()).unwrap();
    // Says that it is there, and answers for as long as nobody takes that away.
    let begun = repository.join("begun");
    std::fs::write(&hook, format!("#!/bin/sh\n: >'{}'\nexec sleep 60\n", begun.display())).unwrap();
    std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o755)).unwrap();

    let start = || environment.server().env("KMLFLOW__GIT__URL", &url).start();
    let server = start();
    let (address, token) = (server.address(), server.token());
    let body = super::image("fraud", "7");
    let put = Request::new("PUT", "/api/v1/releases/production/models/fraud").bearer(&token).json(&body);
    let answer = std::thread::scope(|scope| {
        let asked = scope.spawn(move || put.send(address));
        server.until("the push is under way", || begun.exists().then_some(()));
        end(server);
        asked.join().unwrap()
    });
    let id = answer.expect(202).json()["delivery"].as_str().unwrap().to_owned();

    std::fs::remove_file(&hook).unwrap();
    let server = start();
    assert_eq!(server.settle(&id)["state"], "applied");
    let log = succeed(
        environment.command("git").args(["log", "--format=%s", "main", "--", "releases"]).current_dir(&repository),
    );
    assert_eq!(log.lines().count(), 1, "{log}");
}
