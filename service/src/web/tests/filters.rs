//! What restricts a list, and what is no restriction.

use serde_json::json;

use super::Service;

#[tokio::test]
async fn a_filter_that_means_nothing_is_refused_instead_of_finding_nothing() {
    let service = Service::start().await;
    for (query, status, words) in [
        ("releases?environment=staging", 404, "`staging` is not configured"),
        ("releases?status=foo", 400, "`status` must be one of syncing, live"),
        ("releases?phase=foo", 400, "`phase` must be entering, running, leaving or settled, not `foo`"),
        ("releases?limit=0", 400, "`limit` must be from 1 to 100"),
        ("releases?limit=101", 400, "`limit` must be from 1 to 100"),
        ("releases?limit=many", 400, "`limit` must be a whole number"),
        ("releases?cursor=nonsense", 400, "`cursor`"),
        ("releases?colour=red", 400, "there is no parameter `colour`"),
        ("deliveries?limit=0", 400, "`limit` must be from 1 to 100"),
        ("deliveries?cursor=x", 400, "`cursor` must be a whole number"),
        ("deliveries?source=mail", 400, "`source` must be mlflow, github, generic, argocd, api or sweep"),
        ("audit?limit=0", 400, "`limit` must be from 1 to 100"),
    ] {
        let problem = service.ask("GET", &format!("/api/v1/{query}"), None).await.problem(status);
        assert!(problem["detail"].as_str().unwrap().contains(words), "{query}: {problem}");
    }
    for query in ["releases?environment=production&status=outdated&limit=100", "deliveries?source=argocd&limit=1"] {
        assert_eq!(service.ask("GET", &format!("/api/v1/{query}"), None).await.status.as_u16(), 200, "{query}");
    }
}

#[tokio::test]
async fn a_history_goes_on_after_a_commit_of_its_own_only() {
    let service = Service::start().await;
    service.released(super::FRAUD, "fraud", "7").await;
    let foreign = format!("{}/history?cursor={}", super::FRAUD, "0".repeat(40));
    service.ask("GET", &foreign, None).await.problem(400);
}

#[tokio::test]
async fn a_scope_names_an_environment_that_there_is() {
    let service = Service::start().await;
    let create = |scope: &str| json!({"role": "viewer", "scopes": [scope]});
    let problem = service.ask("POST", "/api/v1/tokens", Some(create("staging/models/*"))).await.problem(404);
    assert!(problem["cure"].as_str().unwrap().contains("production"), "{problem}");
    assert_eq!(service.ask("POST", "/api/v1/tokens", Some(create("*/models/*"))).await.status.as_u16(), 201);
}
