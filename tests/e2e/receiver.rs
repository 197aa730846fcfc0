//! The doors for events: what is not proven, not whole or not sensible gets its status, is counted, and leaves nothing behind.

use std::io::{BufReader, Write as _};
use std::net::TcpStream;

use serde_json::json;
use tests::{Delivery, Request, Response, Server, Signing, TestEnvironment};

const ALIAS: fn(&str) -> Delivery = |id| Delivery::alias(id, "fraud", "champion", "7");

fn inbox_size(server: &Server<'_>) -> usize {
    server.get("/deliveries")["items"].as_array().unwrap().len()
}

fn metrics(server: &Server<'_>) -> String {
    Request::new("GET", "/metrics").send(server.address()).expect(200).text()
}

/// The sum of a counter over all series whose labels hold this text.
fn counted(server: &Server<'_>, metric: &str, label: &str) -> f64 {
    let text = metrics(server);
    let series = text.lines().filter(|line| line.starts_with(metric) && line.contains(label));
    series.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

#[test]
fn what_is_not_proven_is_401_with_one_fixed_body_and_is_counted() {
    let environment = TestEnvironment::new();
    let server = environment.server().start();
    let secret = server.secret(Signing::Mlflow);
    let good = ALIAS("d-1").sign(&secret);
    let mut changed = good.body_bytes().to_vec();
    changed.push(b' ');
    let table = [
        ("unsigned", good.clone().without("X-MLflow-Signature")),
        ("no id", good.clone().without("X-MLflow-Delivery-Id")),
        ("no time", good.clone().without("X-MLflow-Timestamp")),
        ("wrong secret", ALIAS("d-2").sign("another secret")),
        ("empty secret", ALIAS("d-2").sign("")),
        ("stale", ALIAS("d-3").sent(-330).sign(&secret)),
        ("future", ALIAS("d-4").sent(330).sign(&secret)),
        ("another body", good.clone().body(changed)),
        ("another id", good.clone().header("X-MLflow-Delivery-Id", "d-5")),
        ("another scheme", good.clone().header("X-MLflow-Signature", "v2,AAAA")),
        ("not base64", good.clone().header("X-MLflow-Signature", "v1,***")),
        ("a time that is none", good.clone().header("X-MLflow-Timestamp", "noon")),
        ("a huge time", good.clone().header("X-MLflow-Timestamp", "99999999999999999999")),
        ("another sender's scheme", Delivery::generic("d-6", &json!({})).sign(&server.secret(Signing::Standard))),
    ];
    let unknown_source = Request::new("POST", "/webhooks/nobody").json(&json!({})).send(server.address()).expect(401);
    for (what, request) in table {
        let is_generic = what == "another sender's scheme";
        let request = if is_generic { as_mlflow(&request) } else { request };
        let answer = request.send(server.address());
        assert_eq!(answer.status, 401, "{what}: {}", answer.text());
        assert_eq!(answer.text(), unknown_source.text(), "{what}");
    }
    assert_eq!(inbox_size(&server), 0);
    assert!(counted(&server, "kmlflow_deliveries_total", "source=\"mlflow\"") >= 14.0, "{}", metrics(&server));
}

/// The headers of another sender at MLflow's door.
fn as_mlflow(request: &Request) -> Request {
    let headers = ["webhook-id", "webhook-timestamp", "webhook-signature"];
    let moved =
        Request::new("POST", "/webhooks/mlflow").header("Content-Type", "application/json").body(request.body_bytes());
    headers.iter().fold(moved, |moved, name| moved.header(name, request.header_value(name).unwrap()))
}

#[test]
fn size_type_and_form_have_a_status_of_their_own() {
    let environment = TestEnvironment::new();
    let server = environment.server().start();
    let secret = server.secret(Signing::Mlflow);
    let sign = |id: &str, body: Vec<u8>| Delivery::mlflow(id, body).sign(&secret);
    let deep = |open: &str, close: &str| format!("{}{}", open.repeat(100_000), close.repeat(100_000)).into_bytes();
    let table = [
        ("1 MiB and one byte", sign("d-1", vec![b' '; (1 << 20) + 1]), 413),
        ("another content type", sign("d-2", b"{}".to_vec()).header("Content-Type", "text/plain"), 415),
        ("no content type", sign("d-3", b"{}".to_vec()).without("Content-Type"), 415),
        ("not JSON", sign("d-4", b"champion=7".to_vec()), 400),
        ("empty", sign("d-5", Vec::new()), 400),
        ("half of JSON", sign("d-6", br#"{"entity": "model_ver"#.to_vec()), 400),
        ("not UTF-8", sign("d-7", vec![b'{', b'"', 0xff, 0xfe, b'"', b'}']), 400),
        ("deep lists", sign("d-8", deep("[", "]")), 400),
        ("deep objects", sign("d-9", deep(r#"{"a":"#, "}")), 400),
        ("a get", Request::new("GET", "/webhooks/mlflow"), 405),
    ];
    for (what, request, status) in table {
        let answer = request.send(server.address());
        assert_eq!(answer.status, status, "{what}: {}", answer.text());
    }
    assert_eq!(inbox_size(&server), 0);
}

#[test]
fn a_body_that_ends_early_is_not_a_delivery() {
    let environment = TestEnvironment::new();
    let server = environment.server().start();
    let whole = ALIAS("d-1").sign(&server.secret(Signing::Mlflow));
    let length = whole.body_bytes().len();
    // The connection may be closed without an answer: there is nobody left to answer.
    if let Ok(answer) = whole.announce(length + 10).try_send(server.address()) {
        assert!((400..500).contains(&answer.status), "{}", answer.text());
    }
    assert_eq!(inbox_size(&server), 0);
}

#[test]
fn a_body_that_does_not_come_is_given_up_within_the_time_limit() {
    let environment = TestEnvironment::new();
    let server = environment.server().start();
    let request = ALIAS("d-1").sign(&server.secret(Signing::Mlflow));
    let bytes = request.to_bytes("localhost", false);
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(std::time::Duration::from_secs(30))).unwrap();
    stream.write_all(&bytes[..bytes.len() - 10]).unwrap();
    // The client's patience is three times the service's: an answer or the end of the connection comes first.
    match Response::read(&mut BufReader::new(stream), false) {
        Ok(answer) => assert_eq!(answer.status, 408, "{}", answer.text()),
        Err(error) => {
            assert!(!matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut), "{error}")
        }
    }
    assert_eq!(inbox_size(&server), 0);
}

#[test]
fn a_body_of_exactly_1_mib_is_taken() {
    let environment = TestEnvironment::new();
    let server = environment.server().start();
    let mut delivery = Delivery::tag("d-1", "fraud", "7", "note", "");
    delivery.body.resize(1 << 20, b' ');
    let state = server.deliver_and_settle(&delivery);
    assert!(["ignored", "unchanged"].contains(&state["state"].as_str().unwrap()), "{state}");
}

#[test]
fn every_live_secret_is_accepted_so_that_one_can_be_rotated() {
    let environment = TestEnvironment::new();
    let old = environment.write("old", "the-old-secret-0123456789\n");
    let new = environment.write("new", "the-new-secret-0123456789");
    for file in [&old, &new] {
        std::fs::set_permissions(file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    }
    let files = format!("[{:?}, {:?}]", old, new);
    let server = environment.server().env("KMLFLOW__WEBHOOKS__MLFLOW__SECRET_FILES", &files).start();
    for (id, secret, status) in
        [("d-1", "the-old-secret-0123456789", 202), ("d-2", "the-new-secret-0123456789", 202), ("d-3", "neither", 401)]
    {
        let answer = ALIAS(id).sign(secret).send(server.address());
        assert_eq!(answer.status, status, "{secret}: {}", answer.text());
    }
}

#[test]
fn the_same_delivery_twice_is_one_commit() {
    let environment = TestEnvironment::new();
    let server = environment.server().start();
    let delivery = ALIAS("d-1");
    let state = server.deliver_and_settle(&delivery);
    assert_eq!(state["state"], "applied", "{state}");
    let before = server.clone_repository().log("");
    let again = server.deliver(&delivery).expect(200);
    assert_eq!(again.json()["delivery"], "d-1");
    // Another id that says the same: taken, and without effect.
    let same = server.deliver_and_settle(&ALIAS("d-2"));
    assert_eq!(same["state"], "unchanged", "{same}");
    let after = server.clone_repository().log("");
    assert_eq!(before.len(), after.len());
    assert_eq!(after.iter().filter(|commit| commit.trailer("Delivery-Id") == Some("d-1")).count(), 1);
}

#[test]
fn what_is_of_no_interest_is_taken_and_shown_with_the_reason() {
    let environment = TestEnvironment::new();
    let server = environment.server().start();
    let bodies = [
        json!({"entity": "prompt", "action": "created", "timestamp": "2026-11-23T04:11:01.114562+00:00", "data": {"name": "greet", "tags": {}}}),
        json!({"entity": "spaceship", "action": "launched", "timestamp": "2026-11-23T04:11:01.114562+00:00", "data": {}}),
        json!({"entity": "model_version", "action": "exploded", "timestamp": "2026-11-23T04:11:01.114562+00:00", "data": {}}),
    ];
    for (number, body) in bodies.iter().enumerate() {
        let state = server.deliver_and_settle(&Delivery::mlflow(&format!("d-{number}"), body.to_string()));
        assert_eq!(state["state"], "ignored", "{state}");
        assert!(state["reason"].as_str().is_some_and(|reason| reason.len() > 10), "{state}");
    }
}

#[test]
fn the_generic_door_takes_a_release_request() {
    let environment = TestEnvironment::new();
    let server = environment.server().start();
    let body = json!({"name": "fraud", "namespace": "models", "environment": "production", "model": "fraud", "version": 7, "image": "registry.example/fraud:7", "requestedBy": "ci"});
    let state = server.deliver_and_settle(&Delivery::generic("ci-1", &body));
    assert_eq!(state["state"], "applied", "{state}");
    let commits = server.clone_repository().log("releases/production/models/fraud");
    assert_eq!(commits.last().unwrap().trailer("Delivery-Id"), Some("ci-1"));
    let mut unknown = body.clone();
    unknown["colour"] = "red".into();
    let refused = server.deliver(&Delivery::generic("ci-2", &unknown));
    assert_eq!(refused.status, 400, "{}", refused.text());
}

#[test]
fn a_delivery_that_was_refused_can_be_seen_and_delivered_again() {
    let environment = TestEnvironment::new();
    let server = environment.server().start();
    let request = |strategy: &str, version: &str| json!({"name": "fraud", "namespace": "models", "environment": "production", "model": "fraud", "version": version, "strategy": strategy, "image": format!("registry.example/fraud:{version}")});
    let refused = server.deliver_and_settle(&Delivery::generic("ci-8", &request("canary", "8")));
    assert_eq!(refused["state"], "refused", "{refused}");
    assert!(
        !refused["reason"].as_str().unwrap().is_empty() && !refused["cure"].as_str().unwrap().is_empty(),
        "{refused}"
    );
    server.deliver_and_settle(&Delivery::generic("ci-7", &request("single", "7")));
    let again = server.api("POST", "/deliveries/ci-8/redeliver", None);
    assert!((200..300).contains(&again.status), "{}", again.text());
    let mut events = server.events();
    let state = server.until("the delivery is applied", || {
        let state = server.get("/deliveries/ci-8");
        (state["state"] == "applied").then_some(state)
    });
    drop(events.next_within_silence());
    assert_eq!(state["release"], "production/models/fraud", "{state}");
    // What was carried out long ago is not carried out over that.
    let overtaken = server.api("POST", "/deliveries/ci-7/redeliver", None).expect(200).json();
    assert_eq!(overtaken["state"], "unchanged", "{overtaken}");
    assert!(overtaken["reason"].as_str().unwrap().contains("asked for something else"), "{overtaken}");
    assert_eq!(server.get("/deliveries/ci-7")["state"], "applied");
}
