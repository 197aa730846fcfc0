//! Who may do what.

use serde_json::{Value, json};
use tests::{Request, Response, Server, TestEnvironment};

use super::image;

const FRAUD: &str = "production/models/fraud";

fn token(server: &Server<'_>, body: Value) -> (String, String) {
    let made = server.api("POST", "/tokens", Some(&body)).expect(201).json();
    (made["id"].as_str().unwrap().to_owned(), made["token"].as_str().unwrap().to_owned())
}

fn call(server: &Server<'_>, token: &str, method: &str, path: &str, body: Option<&Value>) -> Response {
    let request = Request::new(method, &format!("/api/v1{path}")).bearer(token);
    body.map_or_else(|| request.clone(), |body| request.clone().json(body)).send(server.address())
}

#[test]
fn beyond_the_loopback_it_refuses_to_listen_without_secrets_and_says_which() {
    let environment = TestEnvironment::new();
    let told = environment.server().listen("0.0.0.0:0").run();
    assert_ne!(told.code, 0);
    assert!(told.stderr.contains("Error: ") && told.stderr.contains("Hint: "), "{}", told.stderr);
    let both = "`webhooks.mlflow.secret_files` and `webhooks.generic.secret_files` are not set";
    assert!(told.stderr.contains(both), "{}", told.stderr);
}

#[test]
fn without_a_token_there_is_nothing_to_see() {
    let environment = TestEnvironment::new();
    let server = environment.server().start();
    for (method, path) in [
        ("GET", "/releases"),
        ("GET", "/deliveries"),
        ("GET", "/events"),
        ("PUT", "/releases/production/models/fraud"),
        ("GET", "/tokens"),
        ("POST", "/hold"),
    ] {
        let bare = Request::new(method, &format!("/api/v1{path}")).json(&json!({})).send(server.address());
        drop(bare.expect_problem(401));
        drop(call(&server, "wrong", method, path, None).expect_problem(401));
    }
}

#[test]
fn a_role_allows_what_it_says_and_no_more() {
    let environment = TestEnvironment::new();
    let server = environment.server().start();
    let (_, viewer) = token(&server, json!({"role": "viewer", "name": "v"}));
    let (_, releaser) = token(&server, json!({"role": "releaser", "name": "r"}));
    let body = image("fraud", "7");
    let put = format!("/releases/{FRAUD}");
    drop(call(&server, &viewer, "PUT", &put, Some(&body)).expect_problem(403));
    call(&server, &releaser, "PUT", &put, Some(&body)).expect(201);
    call(&server, &viewer, "GET", &put, None).expect(200);
    for path in ["/tokens", "/audit"] {
        drop(call(&server, &releaser, "GET", path, None).expect_problem(403));
        drop(call(&server, &viewer, "GET", path, None).expect_problem(403));
    }
    let audit = server.get("/audit");
    let refused = |entry: &&Value| entry["outcome"] == "refused" && entry["action"] == format!("PUT /api/v1{put}");
    let refused: Vec<&Value> = audit["items"].as_array().unwrap().iter().filter(refused).collect();
    let [entry] = refused[..] else { panic!("the refusal stands there once: {audit}") };
    assert_eq!(entry["actor"], "v", "{audit}");
}

#[test]
fn a_scope_ends_at_its_environment_namespace_and_models() {
    let environment = TestEnvironment::new();
    let server = environment.server().start();
    let (_, scoped) = token(&server, json!({"role": "releaser", "name": "s", "scopes": ["production/models/fraud*"]}));
    call(&server, &scoped, "PUT", "/releases/production/models/fraud", Some(&image("fraud", "7"))).expect(201);
    drop(
        call(&server, &scoped, "PUT", "/releases/production/models/credit", Some(&image("credit", "7")))
            .expect_problem(403),
    );
    drop(
        call(&server, &scoped, "PUT", "/releases/production/other/fraud", Some(&image("fraud", "7")))
            .expect_problem(403),
    );
    // The model counts, not the name under which it would be released.
    drop(
        call(&server, &scoped, "PUT", "/releases/production/models/fraud-2", Some(&image("credit", "7")))
            .expect_problem(403),
    );
    server.put("production/models/credit", &image("credit", "7")).expect(201);
    let seen = call(&server, &scoped, "GET", "/releases", None).expect(200).text();
    assert!(!seen.contains("credit"), "{seen}");
}

#[test]
fn a_revoked_token_is_worth_nothing_at_once() {
    let environment = TestEnvironment::new();
    let server = environment.server().start();
    let (id, releaser) = token(&server, json!({"role": "releaser", "name": "r"}));
    call(&server, &releaser, "GET", "/releases", None).expect(200);
    let answer = server.api("DELETE", &format!("/tokens/{id}"), None);
    assert_eq!(answer.expect(204).text(), "");
    drop(call(&server, &releaser, "GET", "/releases", None).expect_problem(401));
    let listed = server.get("/tokens").to_string();
    assert!(!listed.contains(&releaser), "{listed}");
}
