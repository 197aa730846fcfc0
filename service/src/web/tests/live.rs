//! Server-sent events.

use axum::body::{Body, BodyDataStream};
use axum::http::Request;
use futures_util::StreamExt as _;
use serde_json::json;
use tower::ServiceExt as _;

use super::{FRAUD, Service};
use crate::access::TokenRole;

async fn open(service: &Service, token: &str, last: Option<&str>) -> BodyDataStream {
    let request = Request::get("/api/v1/events").header("authorization", format!("Bearer {token}"));
    let request = last.into_iter().fold(request, |request, id| request.header("last-event-id", id));
    let response = service.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    response.into_body().into_data_stream()
}

/// Reads on until a kind of event about a text comes, and gives its id.
async fn until(stream: &mut BodyDataStream, kind: &str, about: &str) -> String {
    loop {
        let text = String::from_utf8(stream.next().await.unwrap().unwrap().to_vec()).unwrap();
        if text.contains(&format!("event: {kind}\n")) && text.contains(about) {
            return text.lines().find_map(|line| line.strip_prefix("id: ")).unwrap().to_owned();
        }
    }
}

#[tokio::test]
async fn a_reader_takes_up_where_it_left() {
    let service = Service::start().await;
    let mut stream = open(&service, &service.admin, None).await;
    service.released(FRAUD, "fraud", "7").await;
    let last = until(&mut stream, "release", "fraud").await;
    drop(stream);
    service.released("/api/v1/releases/production/models/other", "other", "1").await;
    let mut stream = open(&service, &service.admin, Some(&last)).await;
    until(&mut stream, "release", "other").await;
}

#[tokio::test]
async fn who_missed_too_much_is_told_so() {
    let service = Service::start().await;
    let mut stream = open(&service, &service.admin, Some("1")).await;
    until(&mut stream, "reset", "").await;
}

#[tokio::test]
async fn an_id_that_no_event_can_have_is_refused_and_one_from_the_future_begins_anew() {
    let service = Service::start().await;
    for bad in ["soon", "-1", "1.5", "99999999999999999999"] {
        let request = Request::get("/api/v1/events").header("authorization", format!("Bearer {}", service.admin));
        let request = request.header("last-event-id", bad).body(Body::empty()).unwrap();
        let problem = service.send(request).await.problem(400);
        assert!(problem["detail"].as_str().unwrap().contains("Last-Event-ID"), "{problem}");
    }
    let mut stream = open(&service, &service.admin, Some("18446744073709551615")).await;
    until(&mut stream, "reset", "").await;
}

#[tokio::test]
async fn a_scope_hides_what_happens_elsewhere() {
    let service = Service::start().await;
    let scoped = service.token(TokenRole::Viewer, &["production/mine/se*"]).await;
    let mut stream = open(&service, &scoped, None).await;
    service.released(FRAUD, "fraud", "7").await;
    service.released("/api/v1/releases/production/mine/other", "hidden", "1").await;
    service.released("/api/v1/releases/production/mine/seen", "seen", "1").await;
    let text = String::from_utf8(stream.next().await.unwrap().unwrap().to_vec()).unwrap();
    assert!(text.contains("production/mine/seen"), "{text}");
}

#[tokio::test]
async fn a_reader_whose_token_is_revoked_or_over_reads_nothing_more() {
    let service = Service::start().await;
    let made = service.ask("POST", "/api/v1/tokens", Some(json!({"role": "viewer"}))).await.json();
    let mut revoked = open(&service, made["token"].as_str().unwrap(), None).await;
    let short = service.ask("POST", "/api/v1/tokens", Some(json!({"role": "viewer", "expires": "12h"}))).await.json();
    let mut over = open(&service, short["token"].as_str().unwrap(), None).await;
    service.ask("DELETE", &format!("/api/v1/tokens/{}", made["id"].as_str().unwrap()), None).await;
    assert!(revoked.next().await.is_none());
    service.clock.advance(std::time::Duration::from_secs(12 * 3600));
    service.released(FRAUD, "fraud", "7").await;
    assert!(over.next().await.is_none());
}

#[tokio::test]
async fn a_reader_who_signs_out_reads_nothing_more() {
    let service = Service::start().await;
    let body = json!({"code": service.code}).to_string();
    let sign_in = Request::post("/session").header("content-type", "application/json").body(Body::from(body));
    let signed_in = service.send(sign_in.unwrap()).await;
    let cookie = signed_in.headers["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    let request = Request::get("/api/v1/events").header("cookie", &cookie).body(Body::empty()).unwrap();
    let mut stream = service.router.clone().oneshot(request).await.unwrap().into_body().into_data_stream();
    service.released(FRAUD, "fraud", "7").await;
    until(&mut stream, "release", "fraud").await;
    let end = Request::delete("/session").header("cookie", &cookie).header("sec-fetch-site", "same-origin");
    assert_eq!(service.send(end.body(Body::empty()).unwrap()).await.status.as_u16(), 204);
    while let Some(chunk) = stream.next().await {
        let text = String::from_utf8(chunk.unwrap().to_vec()).unwrap();
        assert!(text.contains("fraud"), "what was on its way is the last: {text}");
    }
}

#[tokio::test]
async fn one_token_cannot_take_every_stream() {
    let service = Service::start().await;
    let greedy = service.token(TokenRole::Viewer, &[]).await;
    let mut streams = Vec::new();
    for _ in 0..super::super::limits::STREAMS_PER_TOKEN_MAX {
        streams.push(open(&service, &greedy, None).await);
    }
    let refused = service.ask_as(&greedy, "GET", "/api/v1/events", None).await;
    refused.problem(429);
    assert!(refused.headers.contains_key("retry-after"));
    drop(open(&service, &service.admin, None).await);
    drop(streams.pop());
    drop(open(&service, &greedy, None).await);
}

#[tokio::test]
async fn the_stream_ends_when_the_service_stops() {
    let service = Service::start().await;
    let mut stream = open(&service, &service.admin, None).await;
    service.stop.cancel();
    assert!(stream.next().await.is_none());
}
