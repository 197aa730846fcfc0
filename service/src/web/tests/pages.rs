//! The page.

use axum::body::Body;
use axum::http::Request;
use serde_json::json;

use super::{FRAUD, Reply, Service};

async fn page(service: &Service, path: &str) -> Reply {
    let request = Request::get(path).header("authorization", format!("Bearer {}", service.admin));
    service.send(request.body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn a_stranger_sees_the_way_in_and_nothing_else() {
    let service = Service::start().await;
    service.released(FRAUD, "fraud", "7").await;
    for path in ["/", "/releases/production/models/fraud"] {
        let stranger = service.send(Request::get(path).body(Body::empty()).unwrap()).await;
        assert_eq!(stranger.status.as_u16(), 401);
        assert!(stranger.text.contains("Sign in") && !stranger.text.contains("fraud"), "{}", stranger.text);
    }
}

#[tokio::test]
async fn the_page_shows_releases_deliveries_and_holds() {
    let service = Service::start().await;
    assert!(page(&service, "/").await.text.contains("There is no release yet"));
    service.released(FRAUD, "fraud-detector", "7").await;
    let canary =
        json!({"model": "fraud-detector", "version": "8", "strategy": "canary", "image": "registry.example/f:8"});
    service.ask("PUT", FRAUD, Some(canary)).await;
    service.ask("POST", "/api/v1/hold", Some(json!({"reason": "<b>look</b>"}))).await;
    let text = page(&service, "/").await.text;
    for part in ["fraud-detector", "candidate v8", "step 1 of 3", "&lt;b&gt;look", "applied", "git clone"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("<b>look"), "{text}");
    assert!(!text.contains(&service.admin));
}

#[tokio::test]
async fn a_releases_page_shows_its_history_and_files() {
    let service = Service::start().await;
    service.released(FRAUD, "fraud", "7").await;
    let text = page(&service, "/releases/production/models/fraud").await.text;
    for part in ["create with version 7", "seldon.yaml", "kind: SeldonDeployment", "fraud-models.k5w.localhost"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let nobody = page(&service, "/releases/production/models/nobody").await;
    assert_eq!(nobody.status.as_u16(), 404);
    assert!(nobody.text.contains("Back to the releases"), "{}", nobody.text);
}

#[tokio::test]
async fn no_page_runs_or_loads_anything_of_its_text_or_from_elsewhere() {
    let service = Service::start().await;
    for path in ["/", "/assets/page.js", "/assets/page.css", "/assets/icon.svg"] {
        let reply = page(&service, path).await;
        assert_eq!(reply.status.as_u16(), 200, "{path}");
        let policy = reply.headers["content-security-policy"].to_str().unwrap();
        assert!(policy.contains("script-src 'self'") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(reply.headers["x-content-type-options"], "nosniff");
    }
    let text = page(&service, "/").await.text;
    assert!(!text.contains("style=") && !text.contains("onclick") && !text.contains("<script>"), "{text}");
}
