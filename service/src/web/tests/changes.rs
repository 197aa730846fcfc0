//! Creating, changing and acting: statuses, sentences, conditions.

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::routing::post;
use serde_json::{Value, json};

use super::super::changes::WRITTEN_BY_THE_SERVICE;
use super::super::once;
use super::{FRAUD, Service, single};

fn with(mut body: Value, field: &str, value: Value) -> Value {
    body[field] = value;
    body
}

#[tokio::test]
async fn what_is_new_is_201_what_is_so_already_is_unchanged_and_what_becomes_different_is_200() {
    let service = Service::start().await;
    let created = service.ask("PUT", FRAUD, Some(single("fraud", "7"))).await;
    assert_eq!((created.status.as_u16(), &created.json()["changed"]), (201, &json!(true)));
    let same = service.ask("PUT", FRAUD, Some(single("fraud", "7"))).await;
    assert_eq!((same.status.as_u16(), &same.json()["changed"]), (200, &json!(false)));
    let changed = service.ask("PUT", FRAUD, Some(single("fraud", "8"))).await;
    assert_eq!((changed.status.as_u16(), &changed.json()["changed"]), (200, &json!(true)));
    assert_ne!(changed.headers["etag"], created.headers["etag"]);
}

#[tokio::test]
async fn each_bad_body_has_its_status_and_names_its_field() {
    let service = Service::start().await;
    let good = single("fraud", "7");
    let table = [
        (with(good.clone(), "colour", json!("red")), 400, "colour"),
        (json!({"model": "fraud"}), 400, "version"),
        (with(good.clone(), "steps", json!("5")), 400, "steps"),
        (with(good.clone(), "serving", json!({"replicaz": 1})), 400, "serving.replicaz"),
        (with(good.clone(), "version", json!("0")), 422, "version"),
        (with(good.clone(), "version", json!("latest")), 422, "version"),
        (with(good.clone(), "model", json!("a\nb")), 422, "model"),
        (with(good.clone(), "strategy", json!("rolling")), 422, "strategy"),
        (with(good.clone(), "percent", json!(300)), 422, "percent"),
        (with(good.clone(), "percent", json!(-1)), 422, "percent"),
        (with(good.clone(), "percent", json!(50.5)), 422, "percent"),
        (with(good.clone(), "percent", json!("x")), 400, "percent"),
        (
            with(good.clone(), "weights", json!({"a": 50, "b": -1})),
            422,
            "`weights` must be a whole number from 0 to 100",
        ),
        (with(good.clone(), "weights", json!({"a": 50, "b": "x"})), 400, "weights"),
        (
            with(good.clone(), "serving", json!({"env": [{"name": "API_KEY", "value": "x"}]})),
            422,
            "serving.env[0].value",
        ),
        (with(good.clone(), "requestedBy", json!("a\u{7}b")), 422, "requestedBy"),
        (with(with(good.clone(), "strategy", json!("canary")), "steps", json!([25, 5])), 422, "steps"),
        (json!([]), 400, ""),
    ];
    for (body, status, field) in table {
        let problem = service.ask("PUT", FRAUD, Some(body.clone())).await.problem(status);
        assert!(problem["detail"].as_str().unwrap().contains(field), "{body}: {problem}");
    }
    assert_eq!(service.ask("GET", "/api/v1/releases", None).await.json()["items"], json!([]));
}

#[tokio::test]
async fn whom_a_caller_speaks_for_is_one_plain_line_in_every_body() {
    let service = Service::start().await;
    service.released(FRAUD, "fraud", "7").await;
    let mut whole = service.ask("GET", FRAUD, None).await.json();
    for bad in ["", "a\nb", "a\u{85}b", "a\u{2028}b", "a\u{202e}b", &"a".repeat(101)] {
        whole["requestedBy"] = json!(bad);
        let whole = Some(whole.clone());
        let short = Some(with(single("fraud", "8"), "requestedBy", json!(bad)));
        for reply in [service.ask("PUT", FRAUD, whole).await, service.ask("PUT", FRAUD, short).await] {
            assert_eq!(reply.problem(422)["violations"][0]["field"], "requestedBy", "{bad:?}");
        }
        for act in ["advance", "promote", "abort", "rollback", "pause", "resume", "weights"] {
            let reply = service.ask("POST", &format!("{FRAUD}/{act}"), Some(json!({"requestedBy": bad}))).await;
            assert_eq!(reply.problem(422)["violations"][0]["field"], "requestedBy", "{act} {bad:?}");
        }
        service.ask("POST", "/api/v1/hold", Some(json!({"reason": format!("{bad}\u{202e}")}))).await.problem(422);
        service.ask("POST", "/api/v1/tokens", Some(json!({"role": "viewer", "name": bad}))).await.problem(422);
    }
}

#[tokio::test]
async fn a_parameter_that_nobody_reads_is_refused_on_every_path() {
    let service = Service::start().await;
    service.released(FRAUD, "fraud", "7").await;
    for (method, path) in [
        ("GET", FRAUD.to_owned()),
        ("POST", format!("{FRAUD}/pause")),
        ("POST", "/api/v1/rerender".to_owned()),
        ("POST", "/api/v1/policies/test".to_owned()),
        ("GET", "/api/v1/events".to_owned()),
        ("GET", "/api/v1/environments".to_owned()),
        ("GET", "/api/v1/releases".to_owned()),
        ("GET", "/api/v1/deliveries/1".to_owned()),
    ] {
        let problem = service.ask(method, &format!("{path}?colour=red"), None).await.problem(400);
        assert!(problem["detail"].as_str().unwrap().contains("`colour`"), "{method} {path}: {problem}");
    }
}

#[tokio::test]
async fn rendering_again_can_be_tried_by_parameter_and_by_body() {
    let service = Service::start().await;
    let release = service.released(FRAUD, "fraud", "7").await;
    for (query, body) in
        [("?dryRun=true", json!({"names": ["fraud"]})), ("", json!({"names": ["fraud"], "dryRun": true}))]
    {
        let reply = service.ask("POST", &format!("/api/v1/rerender{query}"), Some(body)).await;
        assert_eq!(reply.status.as_u16(), 200, "{reply:?}");
        assert_eq!(service.ask("GET", FRAUD, None).await.json()["commit"], release["commit"]);
    }
    service.ask("POST", "/api/v1/rerender?dryRun=perhaps", Some(json!({"all": true}))).await.problem(400);
}

#[tokio::test]
async fn what_is_no_json_is_400_another_type_415_and_too_long_413() {
    let service = Service::start().await;
    let put = |content_type: &str, body: Vec<u8>| {
        let request = Request::put(FRAUD).header("authorization", format!("Bearer {}", service.admin));
        service.send(request.header("content-type", content_type).body(Body::from(body)).unwrap())
    };
    let json_type = "application/json";
    put(json_type, b"version=8".to_vec()).await.problem(400);
    put(json_type, Vec::new()).await.problem(400);
    put(json_type, vec![b'{', b'"', 0xff, b'"', b'}']).await.problem(400);
    put(json_type, br#"{"model":"m","version":"1","percent":NaN}"#.to_vec()).await.problem(400);
    put(json_type, "[".repeat(100_000).into_bytes()).await.problem(400);
    put(json_type, br#"{"model":"m","version":"1"} {}"#.to_vec()).await.problem(400);
    let twice = put(json_type, br#"{"model":"m","version":"1","version":"2"}"#.to_vec()).await.problem(400);
    assert!(twice["detail"].as_str().unwrap().contains("`version` is there twice"), "{twice}");
    put(json_type, br#"{"model":"m","version":"1","weights":{"a":1,"a":2}}"#.to_vec()).await.problem(400);
    let packed = Request::put(FRAUD).header("authorization", format!("Bearer {}", service.admin));
    let packed = packed.header("content-type", json_type).header("content-encoding", "gzip");
    service.send(packed.body(Body::from(vec![0x1f, 0x8b])).unwrap()).await.problem(415);
    put("text/plain", b"{}".to_vec()).await.problem(415);
    put("application/x-www-form-urlencoded", b"{}".to_vec()).await.problem(415);
    put(json_type, vec![b' '; (1 << 20) + 1]).await.problem(413);
    assert_ne!(put("application/json; charset=utf-8", vec![b' '; 1 << 20]).await.status.as_u16(), 413);
}

#[tokio::test]
async fn names_and_queries_that_are_wrong_are_said_so() {
    let service = Service::start().await;
    let body = || Some(single("fraud", "7"));
    for name in ["a%0Ab", "..%2fpolicies", "%7B%7Bx%7D%7D", "A", "9a", &"a".repeat(41)] {
        service.ask("PUT", &format!("/api/v1/releases/production/models/{name}"), body()).await.problem(422);
    }
    let problem = service.ask("PUT", "/api/v1/releases/prod/models/fraud", body()).await.problem(404);
    assert!(problem["cure"].as_str().unwrap().contains("production"), "{problem}");
    service.ask("PUT", &format!("{FRAUD}?dryrun=true"), body()).await.problem(400);
    service.ask("PUT", &format!("{FRAUD}?dryRun=maybe"), body()).await.problem(400);
    service.ask("PUT", &format!("{FRAUD}?wait=live"), body()).await.problem(422);
    service.ask("PUT", &format!("{FRAUD}?force&adopt"), body()).await.problem(422);
    service.ask("GET", "/api/v1/releases?phase=done", None).await.problem(400);
    service.ask("GET", FRAUD, None).await.problem(404);
    service.ask("POST", &format!("{FRAUD}/pause"), None).await.problem(404);
}

#[tokio::test]
async fn a_dry_run_answers_the_files_and_leaves_nothing() {
    let service = Service::start().await;
    let preview = service.ask("PUT", &format!("{FRAUD}?dryRun=true"), Some(single("fraud", "7"))).await.json();
    assert_eq!(preview["changed"], true, "{preview}");
    assert!(preview["manifests"]["seldon.yaml"].as_str().unwrap().contains("SeldonDeployment"));
    service.ask("GET", FRAUD, None).await.problem(404);
}

#[tokio::test]
async fn a_condition_on_an_old_tree_is_412() {
    let service = Service::start().await;
    let put = |version: &str, tag: &str| {
        let request = Request::put(FRAUD).header("authorization", format!("Bearer {}", service.admin));
        let request = request.header("content-type", "application/json").header("if-match", tag);
        service.send(request.body(Body::from(single("fraud", version).to_string())).unwrap())
    };
    put("7", "*").await.problem(412);
    service.released(FRAUD, "fraud", "7").await;
    let tag = service.ask("GET", FRAUD, None).await.headers["etag"].to_str().unwrap().to_owned();
    assert_eq!(put("8", &tag).await.status.as_u16(), 200);
    put("9", &tag).await.problem(412);
    put("9", "\"nonsense\"").await.problem(412);
    assert_eq!(put("9", "*").await.status.as_u16(), 200);
    let now = service.ask("GET", FRAUD, None).await.headers["etag"].to_str().unwrap().to_owned();
    assert_eq!(put("10", &format!("{tag}, {now}")).await.status.as_u16(), 200);
}

#[tokio::test]
async fn the_body_of_a_get_can_be_put_back_and_what_the_service_writes_is_not_read() {
    let service = Service::start().await;
    service.released(FRAUD, "fraud", "7").await;
    let mut whole = service.ask("GET", FRAUD, None).await.json();
    let ours: Vec<&String> = whole
        .as_object()
        .unwrap()
        .keys()
        .filter(|key| !["apiVersion", "kind", "metadata", "spec"].contains(&key.as_str()))
        .collect();
    assert_eq!(ours, WRITTEN_BY_THE_SERVICE, "what a GET answers beside the release");
    whole["status"] = json!("as you like");
    whole["rollout"]["phase"] = json!("leaving");
    let again = service.ask("PUT", FRAUD, Some(whole.clone())).await;
    assert_eq!(again.json()["changed"], false, "{again:?}");

    service.ask("PUT", FRAUD, Some(with(whole.clone(), "colour", json!("red")))).await.problem(400);
    whole["metadata"]["name"] = json!("other");
    service.ask("PUT", FRAUD, Some(whole)).await.problem(422);
}

#[tokio::test]
async fn acts_carry_a_canary_forth_and_back() {
    let service = Service::start().await;
    service.released(FRAUD, "fraud", "7").await;
    let canary = with(single("fraud", "8"), "strategy", json!("canary"));
    service.ask("PUT", FRAUD, Some(canary)).await;
    let act = |act: &'static str, body: Value| {
        let service = &service;
        async move { service.ask("POST", &format!("{FRAUD}/{act}"), Some(body)).await }
    };
    let weight = |reply: super::Reply| reply.json()["release"]["split"][1]["weight"].clone();
    assert_eq!(weight(act("advance", json!({})).await), 25);
    act("weights", json!({"weights": {"a": 50, "b": 50}})).await.problem(422);
    act("advance", json!({"colour": 1})).await.problem(400);
    assert_eq!(act("pause", json!({"requestedBy": "ada"})).await.json()["release"]["rollout"]["paused"]["by"], "ada");
    let promoted = act("promote", json!({})).await.json();
    assert_eq!(promoted["release"]["spec"]["variants"][0]["version"], "8", "{promoted}");
    act("rollback", json!({"to": "somewhere"})).await.problem(422);
    let back = act("rollback", json!({"to": 7})).await.json();
    assert_eq!(back["release"]["spec"]["variants"][0]["version"], "7", "{back}");
    let gone = service.ask("DELETE", FRAUD, None).await;
    assert_eq!((gone.status.as_u16(), &gone.json()["changed"]), (200, &json!(true)), "{gone:?}");
}

#[tokio::test]
async fn the_same_key_answers_the_same_and_another_body_under_it_is_422() {
    let service = Service::start().await;
    let put = |version: &str| {
        let request = Request::put(FRAUD).header("authorization", format!("Bearer {}", service.admin));
        let request = request.header("content-type", "application/json").header("idempotency-key", "k-1");
        service.send(request.body(Body::from(single("fraud", version).to_string())).unwrap())
    };
    let first = put("7").await;
    service.released(FRAUD, "fraud", "8").await;
    let again = put("7").await;
    assert_eq!((again.status, &again.text), (first.status, &first.text));
    assert_eq!(again.headers["etag"], first.headers["etag"]);
    assert_eq!(again.headers["idempotency-replayed"], "true");
    assert_eq!(service.ask("GET", FRAUD, None).await.json()["spec"]["variants"][0]["version"], "8");
    put("9").await.problem(422);
    service.clock.advance(std::time::Duration::from_secs(24 * 3600 + 1));
    assert_eq!(put("7").await.headers.get("idempotency-replayed"), None);
}

#[tokio::test]
async fn a_refusal_is_kept_under_its_key_as_well() {
    let service = Service::start().await;
    let put = || {
        let request = Request::put(FRAUD).header("authorization", format!("Bearer {}", service.admin));
        let request = request.header("content-type", "application/json").header("idempotency-key", "k-1");
        let canary = with(single("fraud", "8"), "strategy", json!("canary"));
        service.send(request.body(Body::from(canary.to_string())).unwrap())
    };
    let refused = put().await;
    assert!(!refused.problem(409)["cure"].as_str().unwrap().is_empty());
    service.released(FRAUD, "fraud", "7").await;
    assert_eq!(put().await.text, refused.text);
}

#[tokio::test]
async fn an_answer_that_the_store_did_not_take_is_kept_under_its_key_once_it_does() {
    let service = Service::start().await;
    let put = |key: &str| {
        let request = Request::put(FRAUD).header("authorization", format!("Bearer {}", service.admin));
        let request = request.header("content-type", "application/json").header("idempotency-key", key);
        service.send(request.body(Body::from(single("fraud", "7").to_string())).unwrap())
    };
    service
        .sql("CREATE TRIGGER broken BEFORE UPDATE ON idempotency_keys BEGIN SELECT RAISE(ABORT, 'broken'); END")
        .await;
    let first = put("k-1").await;
    assert_eq!(first.status, StatusCode::CREATED);
    put("k-1").await.problem(409);
    service.sql("DROP TRIGGER broken").await;
    let begun = std::time::Instant::now();
    let again = loop {
        let again = put("k-1").await;
        if again.status != StatusCode::CONFLICT {
            break again;
        }
        assert!(begun.elapsed() < std::time::Duration::from_secs(30), "{again:?}");
        tokio::task::yield_now().await;
    };
    assert_eq!((again.status, &again.text), (first.status, &first.text));
    assert_eq!(again.headers["idempotency-replayed"], "true");
}

#[tokio::test]
async fn what_panics_under_a_key_leaves_it_free() {
    async fn broken() -> StatusCode {
        panic!("a fault of the service")
    }
    let mut service = Service::start().await;
    let broken = Router::new().route("/api/v1/broken", post(broken));
    service.router = once(broken, &service.web).with_state(service.web.clone());
    for _ in 0..2 {
        let request = Request::post("/api/v1/broken").header("authorization", format!("Bearer {}", service.admin));
        let request = request.header("idempotency-key", "k-1").body(Body::empty()).unwrap();
        service.send(request).await.problem(500);
    }
}

#[tokio::test]
async fn a_hold_keeps_and_does_not_apply() {
    let service = Service::start().await;
    service.ask("POST", "/api/v1/hold", Some(json!({"reason": ""}))).await.problem(422);
    service.ask("POST", "/api/v1/hold", Some(json!({"reason": "x", "environment": "prod"}))).await.problem(404);
    let held = service.ask("POST", "/api/v1/hold", Some(json!({"reason": "a look at it"}))).await.json();
    assert_eq!(held["items"][0]["reason"], "a look at it", "{held}");
    let ready = service.ask("GET", "/readyz", None).await;
    let said = "ready; everything is held, and what is asked for is kept until `kmlflow unhold`\n";
    assert_eq!((ready.status.as_u16(), ready.text.as_str()), (200, said));
    let queued = service.ask("PUT", FRAUD, Some(single("fraud", "7"))).await;
    assert_eq!((queued.status.as_u16(), &queued.json()["state"]), (202, &json!("queued")), "{queued:?}");
    let place = queued.headers["location"].to_str().unwrap();
    assert_eq!(service.ask("GET", place, None).await.json()["state"], "accepted");
    assert_eq!(service.ask("DELETE", "/api/v1/hold", None).await.json()["items"], json!([]));
}

#[tokio::test]
async fn a_release_that_must_be_new_is_412_where_one_is() {
    let service = Service::start().await;
    let put = |condition: &str| {
        let request = Request::put(FRAUD).header("authorization", format!("Bearer {}", service.admin));
        let request = request.header("content-type", "application/json").header("if-none-match", condition);
        service.send(request.body(Body::from(single("fraud", "7").to_string())).unwrap())
    };
    put("\"a-tag\"").await.problem(400);
    assert_eq!(put("*").await.status.as_u16(), 201);
    let problem = put("*").await.problem(412);
    assert!(problem["detail"].as_str().unwrap().contains("If-None-Match"), "{problem}");
}

#[tokio::test]
async fn a_sentence_quotes_what_was_sent_without_escaping() {
    let service = Service::start().await;
    let body = with(single("fraud", "7"), "percent", json!("nine"));
    let problem = service.ask("PUT", FRAUD, Some(body)).await.problem(400);
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("`nine`") && !detail.contains(['"', '\\']), "{detail}");
}
