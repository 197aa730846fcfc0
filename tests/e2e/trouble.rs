//! What can be wrong around the service: each trouble is said in one sentence, and nothing acknowledged is lost.

use std::time::{Duration, Instant};

use serde_json::json;
use tests::{Delivery, Request, TestEnvironment};

use super::image;

const FRAUD: &str = "production/models/fraud";

fn request(id: &str, name: &str) -> Delivery {
    let body = json!({"name": name, "namespace": "models", "environment": "production", "model": name, "version": "1", "image": "registry.example/m:1"});
    Delivery::generic(id, &body)
}

#[test]
fn where_nothing_is_wrong_nothing_is_warned_of() {
    let environment = TestEnvironment::new();
    for (version, status) in [("7", 201), ("8", 200)] {
        let server = environment.server().start();
        server.put(FRAUD, &image("fraud", version)).expect(status);
        let is_there = |printed: &String| printed.contains(" INFO ") && printed.contains("Committed `");
        let printed = server.until("the commit is in the log", || Some(server.printed()).filter(is_there));
        let warnings: Vec<&str> =
            printed.lines().filter(|line| line.contains(" WARN ") || line.contains(" ERROR ")).collect();
        assert!(warnings.is_empty(), "{printed}");
        assert_eq!(server.stop(), Some(0));
    }
}

#[test]
fn a_second_service_on_the_same_data_directory_refuses_to_start() {
    let environment = TestEnvironment::new();
    let server = environment.server().start();
    let second = environment.server().run();
    assert_eq!(second.code, 1, "{}", second.stderr);
    assert!(second.stderr.contains("Error: ") && second.stderr.contains("Hint: "), "{}", second.stderr);
    server.put(FRAUD, &image("fraud", "7")).expect(201);
}

#[test]
fn a_locked_repository_keeps_what_comes_in_and_goes_on_when_it_is_free() {
    let environment = TestEnvironment::new();
    let server = environment.server().start();
    let lock = environment.data_dir().join("gitops.git/refs/heads/main.lock");
    std::fs::create_dir_all(lock.parent().unwrap()).unwrap();
    std::fs::write(&lock, "").unwrap();
    server.deliver(&request("ci-1", "fraud")).expect(202);
    let state = server.until("the fault is noted", || {
        let state = server.get("/deliveries/ci-1");
        (state["state"] == "failed" || state["waitsFor"].is_string()).then_some(state)
    });
    assert!(!state.to_string().contains("gitops.git/refs"), "{state}");
    let ready = || Request::new("GET", "/readyz").send(server.address());
    let problem = ready().expect_problem(503);
    assert!(problem["detail"].as_str().unwrap().contains("repository"), "{problem}");
    std::fs::remove_file(&lock).unwrap();
    let again = server.api("POST", "/deliveries/ci-1/redeliver", None);
    assert!((200..300).contains(&again.status), "{}", again.text());
    server.until("it is applied", || {
        // One that arrives while an attempt is under way goes with that attempt, whose next one may be minutes away.
        let is_applied = server.get("/deliveries/ci-1")["state"] == "applied";
        if !is_applied {
            let again = server.api("POST", "/deliveries/ci-1/redeliver", None);
            assert!((200..300).contains(&again.status), "{}", again.text());
        }
        is_applied.then_some(())
    });
    ready().expect(200);
}

#[test]
fn a_log_and_an_output_that_cannot_be_written_do_not_end_the_service() {
    let environment = TestEnvironment::new();
    let full = || std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut service = environment.server().command().stdout(full()).stderr(full()).spawn().unwrap();
    let begun = Instant::now();
    let address = loop {
        let ended = service.try_wait().unwrap();
        assert!(ended.is_none() && begun.elapsed() < Duration::from_secs(60), "it is not there: {ended:?}");
        let written = std::fs::read_to_string(environment.data_dir().join("address")).unwrap_or_default();
        if let Some(address) = written.trim().strip_prefix("http://").and_then(|address| address.parse().ok()) {
            break address;
        }
        std::thread::yield_now();
    };
    for _ in 0..2 {
        let alive = Request::new("GET", "/api/v1/releases").send(address);
        drop(alive.expect_problem(401));
    }
    service.kill().unwrap();
    service.wait().unwrap();
}

#[test]
fn a_corrupt_repository_is_said_at_the_start_and_nothing_that_was_acknowledged_is_lost() {
    let environment = TestEnvironment::new();
    let server = environment.server().start();
    server.put(FRAUD, &image("fraud", "7")).expect(201);
    server.api("POST", "/hold", Some(&json!({"reason": "trouble ahead"}))).expect(200);
    server.deliver(&request("ci-1", "other")).expect(202);
    server.kill();
    let objects = environment.data_dir().join("gitops.git/objects");
    let away = environment.path("objects");
    std::fs::rename(&objects, &away).unwrap();
    std::fs::create_dir(&objects).unwrap();
    let told = environment.server().run();
    assert_eq!(told.code, 1, "{}", told.stderr);
    assert!(told.stderr.contains("Error: ") && !told.stderr.contains("panicked"), "{}", told.stderr);

    std::fs::remove_dir_all(&objects).unwrap();
    std::fs::rename(&away, &objects).unwrap();
    let server = environment.server().start();
    server.api("DELETE", "/hold", None).expect(200);
    assert_eq!(server.settle("ci-1")["state"], "applied");
    assert_eq!(server.get(&format!("/releases/{FRAUD}"))["spec"]["variants"][0]["version"], "7");
}

#[test]
fn a_setting_that_does_not_exist_is_refused_with_the_nearest_that_does() {
    let environment = TestEnvironment::new();
    let told = environment.server().env("KMLFLOW__LISTENN", "127.0.0.1:0").run();
    assert_ne!(told.code, 0);
    assert!(told.stderr.contains("listen"), "{}", told.stderr);
    let file = environment.write("kmlflow.yaml", "store: {ulr: \"sqlite:\"}\n");
    let told = environment.server().arg("--config").arg(file.to_str().unwrap()).run();
    assert_ne!(told.code, 0);
    assert!(told.stderr.contains("Error: ") && told.stderr.contains("url"), "{}", told.stderr);
}

#[test]
fn health_readiness_and_metrics_are_open_and_say_what_they_should() {
    let environment = TestEnvironment::new();
    let server = environment.server().start();
    server.put(FRAUD, &image("fraud", "7")).expect(201);
    for path in ["/healthz", "/readyz"] {
        Request::new("GET", path).send(server.address()).expect(200);
    }
    let metrics = Request::new("GET", "/metrics").send(server.address()).expect(200);
    assert!(
        metrics.header("Content-Type").unwrap().starts_with("application/openmetrics-text"),
        "{:?}",
        metrics.headers
    );
    let text = metrics.text();
    for name in [
        "deliveries_total",
        "inbox_depth",
        "releases",
        "commits_total",
        "render_duration_seconds",
        "release_weight_ratio",
    ] {
        assert!(text.contains(&format!("kmlflow_{name}")), "{name}\n{text}");
    }
    assert!(text.trim_end().ends_with("# EOF"));
}
