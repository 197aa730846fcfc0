//! Tokens, roles, scopes and sessions.

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};

use super::{FRAUD, Reply, Service, single};
use crate::access::TokenRole;

async fn bare(service: &Service, method: &str, path: &str) -> Reply {
    service.send(Request::builder().method(method).uri(path).body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn without_a_live_token_nothing_is_answered() {
    let service = Service::start().await;
    for (method, path) in
        [("GET", "/api/v1/releases"), ("PUT", FRAUD), ("GET", "/api/v1/events"), ("POST", "/api/v1/hold")]
    {
        assert_eq!(bare(&service, method, path).await.headers["www-authenticate"], "Bearer");
        bare(&service, method, path).await.problem(401);
        service.ask_as("nonsense", method, path, None).await.problem(401);
    }
    for path in ["/healthz", "/readyz", "/metrics", "/api/openapi.json"] {
        assert_eq!(bare(&service, "GET", path).await.status.as_u16(), 200, "{path}");
    }
}

#[tokio::test]
async fn a_role_ends_where_the_next_begins_and_its_refusals_are_noted() {
    let service = Service::start().await;
    let viewer = service.token(TokenRole::Viewer, &[]).await;
    let releaser = service.token(TokenRole::Releaser, &[]).await;
    let problem = service.ask_as(&viewer, "PUT", FRAUD, Some(single("fraud", "7"))).await.problem(403);
    assert!(problem["cure"].as_str().unwrap().contains("--role releaser"), "{problem}");
    assert_eq!(service.ask_as(&releaser, "PUT", FRAUD, Some(single("fraud", "7"))).await.status.as_u16(), 201);
    assert_eq!(service.ask_as(&viewer, "GET", FRAUD, None).await.status.as_u16(), 200);
    service.ask_as(&releaser, "GET", "/api/v1/tokens", None).await.problem(403);
    let audit = service.ask("GET", "/api/v1/audit", None).await.json();
    let refused: Vec<&Value> =
        audit["items"].as_array().unwrap().iter().filter(|entry| entry["outcome"] == "refused").collect();
    assert_eq!(refused.len(), 2, "{audit}");
    assert_eq!((&refused[1]["actor"], &refused[1]["action"]), (&json!("a-viewer"), &json!(format!("PUT {FRAUD}"))));
}

#[tokio::test]
async fn a_scope_filters_lists_and_refuses_the_rest() {
    let service = Service::start().await;
    let scoped = service.token(TokenRole::Releaser, &["production/models/fraud*"]).await;
    service.released("/api/v1/releases/production/models/credit", "hidden-model", "1").await;
    service.released("/api/v1/releases/production/models/card", "credit", "1").await;
    assert_eq!(service.ask_as(&scoped, "PUT", FRAUD, Some(single("fraud-detector", "7"))).await.status.as_u16(), 201);
    // The model counts, the one that is asked for and the one that is there.
    service.ask_as(&scoped, "PUT", FRAUD, Some(single("credit", "7"))).await.problem(403);
    let credit = "/api/v1/releases/production/models/credit";
    service.ask_as(&scoped, "PUT", credit, Some(single("fraud-detector", "7"))).await.problem(403);
    for (method, path) in [
        ("GET", ""),
        ("GET", "/history"),
        ("GET", "/manifests"),
        ("GET", "/diff"),
        ("GET", "/events"),
        ("POST", "/pause"),
        ("DELETE", ""),
    ] {
        let of = |name: &str| format!("/api/v1/releases/production/models/{name}{path}");
        let hidden = service.ask_as(&scoped, method, &of("credit"), None).await;
        hidden.problem(404);
        if method != "DELETE" {
            let nobody = service.ask_as(&scoped, method, &of("nobody"), None).await;
            assert_eq!(hidden.text.replace("credit", "nobody"), nobody.text, "{method} {path}");
        }
    }
    let taken = service.ask_as(&scoped, "PUT", &credit.replace("credit", "card"), Some(single("fraud", "7"))).await;
    assert!(!taken.text.contains("credit"), "{taken:?}");
    service.ask_as(&scoped, "GET", "/api/v1/releases/production/other/fraud", None).await.problem(403);
    let environments = service.ask_as(&scoped, "GET", "/api/v1/environments", None).await.json();
    assert_eq!(environments["items"][0]["releases"], 1, "{environments}");
    let deliveries = service.ask("GET", "/api/v1/deliveries", None).await.json();
    let of_credit =
        deliveries["items"].as_array().unwrap().iter().find(|one| one["release"] == "production/models/card");
    let number = of_credit.unwrap()["number"].to_string();
    let hidden = service.ask_as(&scoped, "GET", &format!("/api/v1/deliveries/{number}"), None).await;
    hidden.problem(404);
    let nobody = service.ask_as(&scoped, "GET", "/api/v1/deliveries/999", None).await;
    assert_eq!(hidden.text.replace(&number, "999"), nobody.text);
    service.ask_as(&scoped, "POST", "/api/v1/rerender", Some(json!({"all": true}))).await.problem(403);
    let seen = service.ask_as(&scoped, "GET", "/api/v1/releases", None).await.json();
    assert_eq!(seen["items"].as_array().unwrap().len(), 1, "{seen}");
    let deliveries = service.ask_as(&scoped, "GET", "/api/v1/deliveries", None).await;
    assert!(!deliveries.text.contains("credit") && deliveries.text.contains("fraud"), "{}", deliveries.text);
    // What is left of a release that is gone is for who may see every model of its place.
    service.ask("DELETE", credit, None).await;
    service.ask_as(&scoped, "GET", &format!("{credit}/history"), None).await.problem(404);
    service.ask_as(&scoped, "GET", &format!("{credit}/events"), None).await.problem(404);
    let every_model = service.token(TokenRole::Viewer, &["production/models/*"]).await;
    assert_eq!(service.ask_as(&every_model, "GET", &format!("{credit}/history"), None).await.status.as_u16(), 200);
    let scoped_admin = service.token(TokenRole::Admin, &["production/models/*"]).await;
    let wanted = json!({"role": "admin"});
    service.ask_as(&scoped_admin, "POST", "/api/v1/tokens", Some(wanted)).await.problem(403);
}

#[tokio::test]
async fn a_token_is_shown_once_ends_with_its_time_and_by_revocation() {
    let service = Service::start().await;
    let wanted = |expires: &str| Some(json!({"role": "viewer", "name": "ci", "expires": expires, "scopes": ["*/*/*"]}));
    service.ask("POST", "/api/v1/tokens", wanted("soon")).await.problem(422);
    service.ask("POST", "/api/v1/tokens", Some(json!({"role": "root"}))).await.problem(422);
    service.ask("POST", "/api/v1/tokens", Some(json!({"role": "viewer", "scopes": ["x"]}))).await.problem(422);
    let made = service.ask("POST", "/api/v1/tokens", wanted("30d")).await;
    assert_eq!(made.status.as_u16(), 201, "{made:?}");
    let (token, id) =
        (made.json()["token"].as_str().unwrap().to_owned(), made.json()["id"].as_str().unwrap().to_owned());
    assert!(!service.ask("GET", "/api/v1/tokens", None).await.text.contains(&token));
    assert_eq!(service.ask_as(&token, "GET", "/api/v1/releases", None).await.status.as_u16(), 200);
    assert_eq!(service.ask("DELETE", &format!("/api/v1/tokens/{id}"), None).await.status.as_u16(), 204);
    service.ask_as(&token, "GET", "/api/v1/releases", None).await.problem(401);
    service.ask("DELETE", &format!("/api/v1/tokens/{id}"), None).await.problem(404);

    let short = service.ask("POST", "/api/v1/tokens", wanted("12h")).await.json()["token"].as_str().unwrap().to_owned();
    service.clock.advance(std::time::Duration::from_secs(12 * 3600));
    service.ask_as(&short, "GET", "/api/v1/releases", None).await.problem(401);
}

#[tokio::test]
async fn a_flood_of_wrong_tokens_is_cut_short_and_a_right_one_still_passes() {
    let service = Service::start().await;
    let mut last = 0;
    for _ in 0..=super::super::limits::FAILED_SIGN_INS_PER_MINUTE {
        last = service.ask_as("nonsense", "GET", "/api/v1/releases", None).await.status.as_u16();
    }
    assert_eq!(last, 429);
    assert!(service.ask_as("nonsense", "GET", "/api/v1/releases", None).await.headers.contains_key("retry-after"));
    assert_eq!(service.ask("GET", "/api/v1/releases", None).await.status.as_u16(), 200);
}

#[tokio::test]
async fn a_session_works_for_our_own_pages_only() {
    let service = Service::start().await;
    let sign_in = |body: Value, origin: &str| {
        let request =
            Request::post("/session").header("content-type", "application/json").header("host", "kmlflow.test");
        service.send(request.header("origin", origin).body(Body::from(body.to_string())).unwrap())
    };
    sign_in(json!({"code": "nonsense"}), "http://kmlflow.test").await.problem(401);
    sign_in(json!({"code": service.code}), "http://elsewhere.test").await.problem(403);
    let signed_in = sign_in(json!({"code": service.code}), "http://kmlflow.test").await;
    let cookie = signed_in.headers["set-cookie"].to_str().unwrap();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    let cookie = cookie.split(';').next().unwrap().to_owned();
    let put = |site: &str| {
        let request = Request::put(FRAUD).header("cookie", &cookie).header("content-type", "application/json");
        let body = Body::from(single("fraud", "7").to_string());
        service.send(request.header("sec-fetch-site", site).body(body).unwrap())
    };
    for site in ["cross-site", "same-site", "none"] {
        put(site).await.problem(403);
    }
    assert_eq!(put("same-origin").await.status.as_u16(), 201);
    let end = Request::delete("/session").header("cookie", &cookie).header("sec-fetch-site", "same-origin");
    assert_eq!(service.send(end.body(Body::empty()).unwrap()).await.status.as_u16(), 204);
    put("same-origin").await.problem(401);
}

#[tokio::test]
async fn a_session_by_token_ends_with_the_token() {
    let service = Service::start().await;
    let made = service.ask("POST", "/api/v1/tokens", Some(json!({"role": "viewer"}))).await.json();
    let request = Request::post("/session").header("content-type", "application/json");
    let body = json!({"token": made["token"]}).to_string();
    let signed_in = service.send(request.body(Body::from(body)).unwrap()).await;
    let cookie = signed_in.headers["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    let list = || service.send(Request::get("/api/v1/releases").header("cookie", &cookie).body(Body::empty()).unwrap());
    assert_eq!(list().await.status.as_u16(), 200);
    service.ask("DELETE", &format!("/api/v1/tokens/{}", made["id"].as_str().unwrap()), None).await;
    list().await.problem(401);
}

#[tokio::test]
async fn too_long_headers_are_431() {
    let service = Service::start().await;
    let request = Request::get("/api/v1/releases").header("x-long", "a".repeat(16 * 1024)).body(Body::empty()).unwrap();
    service.send(request).await.problem(431);
}

#[tokio::test]
async fn a_page_of_a_scoped_caller_is_full_and_tells_nothing_of_the_rest() {
    let service = Service::start().await;
    let scoped = service.token(TokenRole::Viewer, &["production/mine/*"]).await;
    service.released("/api/v1/releases/production/mine/first", "first", "1").await;
    for name in ["a", "b", "c"] {
        service.released(&format!("/api/v1/releases/production/models/{name}"), name, "1").await;
    }
    service.released("/api/v1/releases/production/mine/second", "second", "1").await;
    service.released("/api/v1/releases/production/models/d", "d", "1").await;
    for path in ["releases", "deliveries"] {
        let ask = |query: String| {
            let (service, scoped) = (&service, &scoped);
            async move { service.ask_as(scoped, "GET", &format!("/api/v1/{path}?limit=1{query}"), None).await.json() }
        };
        let first = ask(String::new()).await;
        assert_eq!(first["items"].as_array().unwrap().len(), 1, "{path}: {first}");
        let second = ask(format!("&cursor={}", first["next"].as_str().unwrap())).await;
        assert_eq!(second["items"].as_array().unwrap().len(), 1, "{path}: {second}");
        assert!(second["next"].is_null(), "{path}: {second}");
    }
    let found = service.ask("GET", "/api/v1/releases?q=sEC", None).await.json();
    assert_eq!(found["items"].as_array().unwrap().len(), 1, "{found}");
}
