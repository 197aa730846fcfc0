//! The doors for events.

use axum::body::Body;
use axum::http::Request;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::super::Peer;
use super::{ARGOCD_TOKEN, GITHUB_SECRET, Reply, SECRET, STANDARD_SECRET, Service};
use crate::names::DeliveryId;
use crate::webhook::live::LiveSecrets;
use crate::webhook::signature::{Secret, sign_github, sign_mlflow, sign_standard};

/// A request with MLflow's signature.
fn signed(secret: &str, id: &str, at: Timestamp, body: &[u8]) -> axum::http::request::Builder {
    let headers = sign_mlflow(&Secret::parse(secret).unwrap(), &DeliveryId::parse(id).unwrap(), at, body);
    let request = Request::post("/webhooks/mlflow").header("content-type", "application/json");
    headers.into_iter().fold(request, |request, (name, value)| request.header(name, value))
}

async fn deliver(service: &Service, id: &str, body: &[u8]) -> Reply {
    let request = signed(SECRET, id, service.clock.now(), body);
    service.send(request.body(Body::from(body.to_vec())).unwrap()).await
}

async fn deliver_request(service: &Service, id: &str, body: &Value) -> Reply {
    let body = body.to_string();
    let secret = Secret::parse_standard(STANDARD_SECRET).unwrap();
    let headers = sign_standard(&secret, &DeliveryId::parse(id).unwrap(), service.clock.now(), body.as_bytes());
    let request = Request::post("/webhooks/generic").header("content-type", "application/json");
    let request = headers.into_iter().fold(request, |request, (name, value)| request.header(name, value));
    service.send(request.body(Body::from(body)).unwrap()).await
}

/// A request with GitHub's signature.
fn of_github(secret: &str, (id, event): (&str, &str), body: &[u8]) -> Request<Body> {
    let headers = sign_github(&Secret::parse(secret).unwrap(), &DeliveryId::parse(id).unwrap(), body);
    let request = Request::post("/webhooks/github").header("content-type", "application/json");
    let request = headers.into_iter().fold(request, |request, (name, value)| request.header(name, value));
    request.header("x-github-event", event).body(Body::from(body.to_vec())).unwrap()
}

/// A request with a bearer token, as Argo CD's notifications send one.
fn of_argo_cd(token: &str, body: &[u8]) -> Request<Body> {
    let request = Request::post("/webhooks/argocd").header("content-type", "application/json");
    request.header("authorization", format!("Bearer {token}")).body(Body::from(body.to_vec())).unwrap()
}

#[tokio::test]
async fn a_notification_of_argo_cd_is_kept_and_counted_where_no_cluster_is_watched() {
    let service = Service::start().await;
    let mut events = service.handle.subscribe(None);
    let body = json!({"application": "production.models.fraud", "phase": "Succeeded"}).to_string();
    let first = service.send(of_argo_cd(ARGOCD_TOKEN, body.as_bytes())).await;
    assert_eq!(first.status.as_u16(), 202, "{first:?}");
    let id = first.json()["delivery"].as_str().unwrap().to_owned();
    let shown = loop {
        let shown = service.ask("GET", &format!("/api/v1/deliveries/{id}"), None).await.json();
        if shown["state"] != "accepted" {
            break shown;
        }
        events.next().await.unwrap();
    };
    assert_eq!((&shown["source"], &shown["state"]), (&json!("argocd"), &json!("ignored")), "{shown}");
    assert!(shown["reason"].as_str().unwrap().contains("is of no release"), "{shown}");
    let again = service.send(of_argo_cd("another", body.as_bytes())).await;
    assert_eq!((again.status.as_u16(), again.json()["delivery"].as_str()), (202, Some(id.as_str())), "the same words");
    let metrics = service.send(Request::get("/metrics").body(Body::empty()).unwrap()).await.text;
    assert!(metrics.contains(r#"kmlflow_deliveries_total{source="argocd",outcome="ignored"} 1"#), "{metrics}");

    service.send(of_argo_cd(ARGOCD_TOKEN, b"[]")).await.problem(400);
    service.send(of_argo_cd(ARGOCD_TOKEN, &vec![b' '; (1 << 20) + 1])).await.problem(413);
    let mut request = of_argo_cd(ARGOCD_TOKEN, b"{}");
    request.headers_mut().insert("content-type", "text/plain".parse().unwrap());
    service.send(request).await.problem(415);
}

#[tokio::test]
async fn what_is_not_proven_gets_one_answer() {
    let service = Service::start().await;
    let now = service.clock.now();
    let minutes = |minutes: i64| now + SignedDuration::from_mins(minutes);
    let body = b"{}";
    let request = |builder: axum::http::request::Builder| builder.body(Body::from(&body[..])).unwrap();
    let unsigned = Request::post("/webhooks/mlflow").header("content-type", "application/json");
    let known = service.send(request(unsigned)).await;
    known.problem(401);
    assert!(!known.headers.contains_key("www-authenticate"), "a token would not help: {known:?}");
    let others = [
        request(signed("wrong", "d-1", now, body)),
        request(signed(SECRET, "d-1", minutes(-6), body)),
        request(signed(SECRET, "d-1", minutes(6), body)),
        request(signed(SECRET, "d-1", now, b"{ }")),
        request(Request::post("/webhooks/github")),
        of_github("wrong", ("d-1", "push"), body),
        request(Request::post("/webhooks/nobody")),
        request(Request::post("/webhooks/generic")),
        request(Request::post("/webhooks/argocd")),
        of_argo_cd("wrong", b"{}"),
    ];
    for other in others {
        let reply = service.send(other).await;
        assert_eq!((reply.status.as_u16(), &reply.text), (401, &known.text));
    }
    assert_eq!(service.ask("GET", "/api/v1/deliveries", None).await.json()["items"], json!([]));
    let metrics = service.send(Request::get("/metrics").body(Body::empty()).unwrap()).await.text;
    assert!(metrics.contains(r#"kmlflow_deliveries_total{source="mlflow",outcome="unauthorized"} 5"#), "{metrics}");
}

#[tokio::test]
async fn either_live_secret_proves() {
    let service = Service::start().await;
    for (id, secret) in [("d-1", SECRET), ("d-2", "another")] {
        let request = signed(secret, id, service.clock.now(), b"{}").body(Body::from("{}")).unwrap();
        assert_eq!(service.send(request).await.status.as_u16(), 202, "{id}");
    }
}

#[tokio::test]
async fn without_a_secret_nothing_is_proven() {
    let service = Service::with(|settings| {
        settings.mlflow_secrets = LiveSecrets::fixed(Vec::new());
        settings.github_secrets.clear();
        settings.argocd_tokens.clear();
    })
    .await;
    deliver(&service, "d-1", b"{}").await.problem(401);
    service.send(of_github(GITHUB_SECRET, ("d-1", "ping"), b"{}")).await.problem(401);
    service.send(of_argo_cd(ARGOCD_TOKEN, b"{}")).await.problem(401);
}

#[tokio::test]
async fn what_is_proven_and_cannot_be_read_says_why() {
    let service = Service::start().await;
    deliver(&service, "d-1", b"champion=7").await.problem(400);
    deliver(&service, "d-2", &[b'{', b'"', 0xff, b'"', b'}']).await.problem(400);
    deliver(&service, "d-3", "[".repeat(100_000).as_bytes()).await.problem(400);
    deliver(&service, "d-4", &vec![b' '; (1 << 20) + 1]).await.problem(413);
    let no_type = signed(SECRET, "d-5", service.clock.now(), b"{}");
    let mut request = no_type.body(Body::from("{}")).unwrap();
    request.headers_mut().insert("content-type", "text/plain".parse().unwrap());
    service.send(request).await.problem(415);
    deliver_request(&service, "g-1", &json!({"colour": "red"})).await.problem(400);
    let bad = json!({"namespace": "models", "environment": "production", "model": "m", "version": "0"});
    deliver_request(&service, "g-2", &bad).await.problem(422);
    assert_eq!(service.ask("GET", "/api/v1/deliveries", None).await.json()["items"], json!([]));
}

#[tokio::test]
async fn a_delivery_is_kept_and_its_repeat_is_200_once_it_is_settled() {
    let service = Service::start().await;
    let mut events = service.handle.subscribe(None);
    let body =
        json!({"entity": "prompt", "action": "created", "timestamp": "2026-11-23T04:11:01.114562+00:00", "data": {}});
    let first = deliver(&service, "d-1", body.to_string().as_bytes()).await;
    assert_eq!((first.status.as_u16(), first.json()), (202, json!({"delivery": "d-1"})));
    while service.ask("GET", "/api/v1/deliveries/d-1", None).await.json()["state"] == "accepted" {
        events.next().await.unwrap();
    }
    let again = deliver(&service, "d-1", body.to_string().as_bytes()).await;
    assert_eq!((again.status.as_u16(), again.json()), (200, json!({"delivery": "d-1"})));
    let kept = service.ask("GET", "/api/v1/deliveries?source=mlflow&state=ignored", None).await.json();
    assert_eq!(kept["items"].as_array().unwrap().len(), 1, "{kept}");
}

/// Waits until a delivery is no longer only accepted.
async fn settled(service: &Service, id: &str) -> Value {
    let mut events = service.handle.subscribe(None);
    loop {
        let kept = service.ask("GET", &format!("/api/v1/deliveries/{id}"), None).await.json();
        if kept["state"] != "accepted" {
            return kept;
        }
        events.next().await.unwrap();
    }
}

#[tokio::test]
async fn a_dispatch_of_github_is_carried_out_once_whoever_of_its_secrets_signed() {
    let service = Service::start().await;
    let body = json!({"action": "mlflow-model-update", "client_payload": {"image_uri": "registry.example/fraud:8"},
        "sender": {"login": "octocat"}});
    let body = body.to_string().into_bytes();
    let first = service.send(of_github("another", ("d-1", "repository_dispatch"), &body)).await;
    assert_eq!((first.status.as_u16(), first.json()), (202, json!({"delivery": "d-1"})));
    let kept = settled(&service, "d-1").await;
    assert_eq!((&kept["state"], &kept["source"]), (&json!("applied"), &json!("github")), "{kept}");
    let again = service.send(of_github(GITHUB_SECRET, ("d-1", "repository_dispatch"), &body)).await;
    assert_eq!((again.status.as_u16(), again.json()), (200, json!({"delivery": "d-1"})));
    let release = service.ask("GET", super::FRAUD, None).await.json();
    assert_eq!(release["spec"]["variants"][0]["version"], "8", "{release}");
    let metrics = service.send(Request::get("/metrics").body(Body::empty()).unwrap()).await.text;
    assert!(metrics.contains(r#"kmlflow_deliveries_total{source="github",outcome="applied"} 1"#), "{metrics}");
}

#[tokio::test]
async fn a_ping_of_github_is_answered_at_once_and_kept_to_be_seen() {
    let service = Service::start().await;
    for _ in 0..2 {
        let pong = service.send(of_github(GITHUB_SECRET, ("d-1", "ping"), br#"{"zen": "Design for failure."}"#)).await;
        assert_eq!((pong.status.as_u16(), pong.json()), (200, json!({"delivery": "d-1"})));
    }
    assert_eq!(settled(&service, "d-1").await["state"], "ignored");
}

#[tokio::test]
async fn what_github_tells_of_branches_and_pull_requests_is_kept_with_the_reason() {
    let service = Service::start().await;
    for (id, event, body, state, because) in [
        ("d-1", "push", json!({"ref": "refs/heads/main"}), "unchanged", "`main` is taken in"),
        ("d-2", "push", json!({"ref": "refs/heads/topic"}), "ignored", "`topic`"),
        ("d-3", "push", json!({"ref": "refs/tags/v1"}), "ignored", "no branch"),
        ("d-4", "pull_request", json!({"action": "opened"}), "ignored", "names no branch"),
        ("d-6", "pull_request", json!({"pull_request": {"head": {"ref": "topic"}}}), "ignored", "`topic` is none of"),
        ("d-5", "star", json!({"action": "created"}), "ignored", "`star`"),
    ] {
        let body = body.to_string().into_bytes();
        assert_eq!(service.send(of_github(GITHUB_SECRET, (id, event), &body)).await.status.as_u16(), 202, "{id}");
        let kept = settled(&service, id).await;
        assert!(kept["state"] == state && kept["reason"].as_str().unwrap().contains(because), "{kept}");
    }
}

#[tokio::test]
async fn what_is_of_github_and_cannot_be_read_says_why() {
    let service = Service::start().await;
    let mut form = of_github(GITHUB_SECRET, ("d-1", "push"), b"payload=%7B%7D");
    form.headers_mut().insert("content-type", "application/x-www-form-urlencoded".parse().unwrap());
    let refused = service.send(form).await.problem(415);
    assert!(refused["cure"].as_str().unwrap().contains("content type to `application/json`"), "{refused}");
    let mut nameless = of_github(GITHUB_SECRET, ("d-2", "push"), b"{}");
    nameless.headers_mut().remove("x-github-event");
    service.send(nameless).await.problem(400);
    let dispatch = |image: &str| {
        let body = json!({"action": "mlflow-model-update", "client_payload": {"image_uri": image}});
        service.send(of_github(GITHUB_SECRET, ("d-3", "repository_dispatch"), body.to_string().as_bytes()))
    };
    let refused = dispatch("registry.example/fraud:latest").await.problem(422);
    assert_eq!(refused["violations"][0]["field"], "image_uri", "{refused}");
    dispatch("registry.example/$(reboot):8").await.problem(422);
    let empty = br#"{"action": "mlflow-model-update", "client_payload": {}}"#;
    service.send(of_github(GITHUB_SECRET, ("d-4", "repository_dispatch"), empty)).await.problem(400);
    assert_eq!(service.ask("GET", "/api/v1/deliveries", None).await.json()["items"], json!([]));
}

#[tokio::test]
async fn only_the_networks_that_are_named_may_deliver() {
    let service = Service::with(|settings| {
        settings.allow_from = vec!["192.0.2.0/24".parse().unwrap()];
        settings.trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()];
    })
    .await;
    let from = |id: &str, peer: &str, forwarded: &str| {
        let request = signed(SECRET, id, service.clock.now(), b"{}").header("x-forwarded-for", forwarded);
        let mut request = request.body(Body::from("{}")).unwrap();
        request.extensions_mut().insert(Peer(format!("{peer}:1").parse().unwrap()));
        service.send(request)
    };
    assert_eq!(from("d-1", "192.0.2.9", "").await.status.as_u16(), 202);
    assert_eq!(from("d-2", "10.0.0.1", "192.0.2.9").await.status.as_u16(), 202);
    from("d-3", "10.0.0.1", "198.51.100.1").await.problem(401);
    from("d-4", "198.51.100.1", "192.0.2.9").await.problem(401);
}

#[tokio::test]
async fn the_doctor_finds_the_wrong_secret_and_has_its_hours() {
    let service = Service::start().await;
    let id = DeliveryId::parse("d-1").unwrap();
    let headers = sign_mlflow(&Secret::parse("wrong").unwrap(), &id, service.clock.now(), b"{}");
    let headers: serde_json::Map<String, Value> =
        headers.into_iter().map(|(name, value)| (name.to_owned(), Value::String(value))).collect();
    let visit = json!({"headers": headers, "body": "{}"});
    let said = service.ask("POST", "/api/v1/doctor/webhook", Some(visit.clone())).await;
    assert_eq!(said.status.as_u16(), 200, "{said:?}");
    assert_ne!(said.json()["code"], "fine");
    assert!(!said.text.contains(SECRET), "{said:?}");
    let headers = json!({"X-GitHub-Delivery": "d-1", "X-GitHub-Event": "ping", "X-Hub-Signature-256": "sha256="});
    let github = json!({"headers": headers, "body": "{}", "source": "github"});
    assert_eq!(service.ask("POST", "/api/v1/doctor/webhook", Some(github)).await.json()["code"], "unsigned");
    let mut last = 0;
    for _ in 0..super::super::limits::DOCTOR_VISITS_PER_MINUTE {
        last = service.ask("POST", "/api/v1/doctor/webhook", Some(visit.clone())).await.status.as_u16();
    }
    assert_eq!(last, 429);
}
