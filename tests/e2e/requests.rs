//! Bad requests at the API: each has its status, one sentence and, where a person can act, a cure; none leaves a trace.

use serde_json::{Value, json};
use tests::{Request, Server, TestEnvironment};

use super::{by, image};

const FRAUD: &str = "production/models/fraud";

/// A service with `fraud` settled on version 7.
fn with_fraud<'a>(environment: &'a TestEnvironment) -> Server<'a> {
    let server = environment.server().start();
    server.put(FRAUD, &image("fraud", "7")).expect(201);
    server
}

fn commits(server: &Server<'_>) -> usize {
    server.clone_repository().log("").len()
}

#[test]
fn what_would_not_work_is_422_and_changes_nothing() {
    let environment = TestEnvironment::new();
    let server = with_fraud(&environment);
    let before = commits(&server);
    let canary = |steps: Value| by("canary", "fraud", "8", json!({"steps": steps}));
    let serving = |serving: Value| by("single", "fraud", "8", json!({"serving": serving}));
    let table = [
        ("version 0", by("single", "fraud", "0", json!({}))),
        ("version 0 as a number", json!({"model": "fraud", "version": 0, "image": "registry.example/fraud:0"})),
        ("a version with a sign", by("single", "fraud", "-1", json!({}))),
        ("a version in words", by("single", "fraud", "latest", json!({}))),
        ("a step of 0", canary(json!([0, 50]))),
        ("a step of 100", canary(json!([5, 100]))),
        ("a step of 101", canary(json!([5, 101]))),
        ("steps that do not rise", canary(json!([25, 5]))),
        ("steps that stand still", canary(json!([25, 25]))),
        ("no step", canary(json!([]))),
        ("weights beyond 100", by("ab", "fraud", "8", json!({"weights": {"a": 70, "b": 40}}))),
        ("weights below 100", by("ab", "fraud", "8", json!({"weights": {"a": 30, "b": 40}}))),
        ("a weight of 101", by("ab", "fraud", "8", json!({"weights": {"a": 101, "b": 1}}))),
        ("a weight for nobody", by("ab", "fraud", "8", json!({"weights": {"a": 50, "b": 30, "c": 20}}))),
        (
            "a match for nobody",
            by("ab", "fraud", "8", json!({"match": [{"header": "x", "value": "y", "variant": "h"}]})),
        ),
        (
            "a header that is none",
            by("ab", "fraud", "8", json!({"match": [{"header": "x y", "value": "z", "variant": "b"}]})),
        ),
        ("percent 0", by("shadow", "fraud", "8", json!({"percent": 0}))),
        ("percent 101", by("shadow", "fraud", "8", json!({"percent": 101}))),
        ("a delay that is none", by("blue-green", "fraud", "8", json!({"scaleDownDelay": "soon"}))),
        ("a model with a newline", json!({"model": "a\nb", "version": "8", "image": "registry.example/a:8"})),
        ("an image with a newline", json!({"model": "fraud", "version": "8", "image": "registry.example/a:8\nx: y"})),
        (
            "two ways to serve",
            json!({"model": "fraud", "version": "8", "image": "registry.example/a:8", "modelUri": "s3://b/a"}),
        ),
        ("a literal secret", serving(json!({"env": [{"name": "API_TOKEN", "value": "hunter2"}]}))),
        ("steps of another strategy", by("shadow", "fraud", "8", json!({"steps": [5]}))),
        ("live without a cluster", image("fraud", "8")),
    ];
    for (what, body) in table {
        let wait = if what == "live without a cluster" { "?wait=live" } else { "" };
        let answer = server.api("PUT", &format!("/releases/{FRAUD}{wait}"), Some(&body));
        assert_eq!(answer.status, 422, "{what}: {}", answer.text());
        let problem = answer.expect_problem(422);
        assert!(problem["detail"].as_str().unwrap().len() < 400, "{what}: {problem}");
    }
    assert_eq!(commits(&server), before);
}

#[test]
fn what_is_not_a_request_is_400() {
    let environment = TestEnvironment::new();
    let server = with_fraud(&environment);
    let path = format!("/api/v1/releases/{FRAUD}");
    let put = |body: &str| {
        Request::new("PUT", &path).bearer(&server.token()).header("Content-Type", "application/json").body(body)
    };
    let deep = format!("{}1{}", "[".repeat(50_000), "]".repeat(50_000));
    let not_utf8 = put("").body(vec![b'{', b'"', 0xff, b'"', b'}']);
    let table = [
        ("not JSON", put("version=8")),
        ("nothing", put("")),
        ("half", put(r#"{"model": "fraud""#)),
        ("NaN", put(r#"{"model":"fraud","version":"8","strategy":"shadow","percent":NaN}"#)),
        ("not UTF-8", not_utf8),
        ("deep", put(&deep)),
        ("unknown field", put(r#"{"model":"fraud","version":"8","colour":"red"}"#)),
        ("unknown field inside", put(r#"{"model":"fraud","version":"8","serving":{"replicaz":2}}"#)),
    ];
    for (what, request) in table {
        let answer = request.send(server.address());
        assert_eq!(answer.status, 400, "{what}: {}", answer.text());
        drop(answer.expect_problem(400));
    }
    let other_type = put("{}").header("Content-Type", "text/plain").send(server.address());
    drop(other_type.expect_problem(415));
    drop(put(&" ".repeat((1 << 20) + 1)).send(server.address()).expect_problem(413));
}

#[test]
fn an_unknown_field_is_named_with_the_nearest_known_one_or_its_place() {
    let environment = TestEnvironment::new();
    let server = with_fraud(&environment);
    let problem = server.put(FRAUD, &by("single", "fraud", "8", json!({"stratgy": "canary"}))).expect_problem(400);
    assert!(problem.to_string().contains("stratgy"), "{problem}");
}

#[test]
fn names_in_the_address_cannot_leave_their_place() {
    let environment = TestEnvironment::new();
    let server = environment.server().start();
    for name in
        ["a%0Ab", "%2e%2e", "..%2f..%2fpolicies", "%7B%7Bx%7D%7D", "%22a%22", "A", "9a", "a_b", "a.b", &"a".repeat(41)]
    {
        let answer = server.api("PUT", &format!("/releases/production/models/{name}"), Some(&image("fraud", "7")));
        assert!([404, 422].contains(&answer.status), "{name}: {} {}", answer.status, answer.text());
    }
    for namespace in ["..", "%2e%2e", "a%2fb", "A"] {
        let answer = server.api("PUT", &format!("/releases/production/{namespace}/fraud"), Some(&image("fraud", "7")));
        assert!([404, 422].contains(&answer.status), "{namespace}: {} {}", answer.status, answer.text());
    }
    assert!(server.clone_repository().ask(&["ls-files", "releases"]).is_empty());
}

#[test]
fn an_unknown_environment_is_404_and_the_known_ones_are_named() {
    let environment = TestEnvironment::new();
    let server = environment.server().start();
    let problem = server.put("prod/models/fraud", &image("fraud", "7")).expect_problem(404);
    assert!(problem.to_string().contains("production"), "{problem}");
    drop(server.api("GET", "/releases/production/models/nobody", None).expect_problem(404));
    drop(server.api("GET", "/nowhere", None).expect_problem(404));
}

#[test]
fn what_does_not_fit_what_is_deployed_is_409_with_the_cure() {
    let environment = TestEnvironment::new();
    let server = environment.server().start();
    let canary = by("canary", "fraud", "8", json!({}));
    let problem = server.put(FRAUD, &canary).expect_problem(409);
    assert!(problem["cure"].as_str().is_some_and(|cure| !cure.is_empty()), "nothing deployed: {problem}");
    server.put(FRAUD, &image("fraud", "7")).expect(201);

    let other_baseline = server.put(FRAUD, &by("canary", "fraud", "8", json!({"baseline": "6"}))).expect_problem(409);
    assert!(other_baseline["detail"].as_str().unwrap().contains('7'), "{other_baseline}");
    for act in ["advance", "promote", "abort", "rollback"] {
        let problem = server.act(FRAUD, act, None).expect_problem(409);
        assert!(problem["detail"].is_string(), "{act}: {problem}");
    }
    server.put(FRAUD, &canary).expect(200);
    let problem = server.act(FRAUD, "weights", Some(&json!({"weights": {"a": 50, "b": 50}})));
    assert!([409, 422].contains(&problem.status), "{}", problem.text());
}

#[test]
fn a_baseline_equal_to_the_candidate_with_the_same_pods_is_refused_and_without_one_nothing_changes() {
    let environment = TestEnvironment::new();
    let server = with_fraud(&environment);
    let before = commits(&server);
    drop(server.put(FRAUD, &by("canary", "fraud", "7", json!({"baseline": "7"}))).expect_problem(422));
    let answer = server.put(FRAUD, &by("canary", "fraud", "7", json!({}))).expect(200).json();
    assert_eq!(answer["changed"], false, "{answer}");
    assert_eq!(commits(&server), before);
}

#[test]
fn the_same_version_with_other_pods_is_a_candidate_of_its_own() {
    let environment = TestEnvironment::new();
    let server = with_fraud(&environment);
    let body = by(
        "canary",
        "fraud",
        "7",
        json!({"baseline": "7", "serving": {"replicas": 3, "env": [{"name": "THREADS", "value": "8"}]}}),
    );
    let answer = server.put(FRAUD, &body).expect(200).json();
    assert_eq!(answer["release"]["spec"]["variants"][1]["predictor"], "v7r2", "{answer}");
}

#[test]
fn two_second_variants_are_refused() {
    let environment = TestEnvironment::new();
    let server = with_fraud(&environment);
    server.put(FRAUD, &by("canary", "fraud", "8", json!({}))).expect(200);
    let mut whole = server.get(&format!("/releases/{FRAUD}"));
    let mut third = whole["spec"]["variants"][1].clone();
    third["version"] = "9".into();
    third["predictor"] = "v9".into();
    whole["spec"]["variants"].as_array_mut().unwrap().push(third);
    drop(server.put(FRAUD, &whole).expect_problem(422));
}

#[test]
fn the_body_of_a_get_can_be_put_back_and_changes_nothing() {
    let environment = TestEnvironment::new();
    let server = with_fraud(&environment);
    let whole = server.get(&format!("/releases/{FRAUD}"));
    let answer = server.put(FRAUD, &whole).expect(200).json();
    assert_eq!(answer["changed"], false, "{answer}");
}

#[test]
fn a_dry_run_answers_manifests_and_touches_nothing() {
    let environment = TestEnvironment::new();
    let server = with_fraud(&environment);
    let before = commits(&server);
    let path = format!("/releases/{FRAUD}?dryRun=true");
    let preview = server.api("PUT", &path, Some(&by("canary", "fraud", "8", json!({})))).expect(200).json();
    assert_eq!(preview["changed"], true, "{preview}");
    assert!(preview["manifests"]["seldon.yaml"].as_str().unwrap().contains("v8"), "{preview}");
    assert!(preview["diff"].as_str().unwrap().contains("+++"), "{preview}");
    assert_eq!(commits(&server), before);
}

#[test]
fn an_entity_tag_that_is_old_is_412_and_an_idempotency_key_answers_once() {
    let environment = TestEnvironment::new();
    let server = with_fraud(&environment);
    let path = format!("/api/v1/releases/{FRAUD}");
    let read = Request::new("GET", &path).bearer(&server.token()).send(server.address()).expect(200);
    let tag = read.header("ETag").expect("an entity tag").to_owned();
    let put = |version: &str| Request::new("PUT", &path).bearer(&server.token()).json(&image("fraud", version));
    put("8").header("If-Match", &tag).send(server.address()).expect(200);
    drop(put("9").header("If-Match", &tag).send(server.address()).expect_problem(412));

    let first = put("9").header("Idempotency-Key", "k-1").send(server.address()).expect(200).json();
    put("10").send(server.address()).expect(200);
    let before = commits(&server);
    let again = put("9").header("Idempotency-Key", "k-1").send(server.address()).expect(200).json();
    assert_eq!(first["commit"], again["commit"]);
    assert_eq!(commits(&server), before);
    drop(put("11").header("Idempotency-Key", "k-1").send(server.address()).expect_problem(422));
}

#[test]
fn the_description_of_the_api_is_what_is_served() {
    let environment = TestEnvironment::new();
    let server = environment.server().start();
    let described = Request::new("GET", "/api/openapi.json").send(server.address()).expect(200).json();
    assert!(described["openapi"].as_str().unwrap().starts_with("3.1"), "{}", described["openapi"]);
    let mut checked = 0;
    for (path, methods) in described["paths"].as_object().unwrap() {
        for method in methods
            .as_object()
            .unwrap()
            .keys()
            .filter(|method| ["get", "put", "post", "delete"].contains(&method.as_str()))
        {
            let concrete: String = path
                .split('/')
                .map(|part| if part.starts_with('{') { "/nobody".into() } else { format!("/{part}") })
                .skip(1)
                .collect();
            if concrete.ends_with("/events") && method == "get" && !concrete.contains("nobody") {
                continue;
            }
            let answer = Request::new(&method.to_uppercase(), &concrete).bearer("nobody").send(server.address());
            assert_ne!(answer.status, 405, "{method} {path} is described and not served");
            assert!(!(answer.status == 404 && concrete.starts_with("/api/v1")), "{method} {path}: {}", answer.text());
            checked += 1;
        }
    }
    assert!(checked > 25, "{checked} operations");
    let printed = tests::environment::succeed(&mut environment.kmlflow(["openapi"]));
    let printed: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(printed["paths"], described["paths"]);
}
