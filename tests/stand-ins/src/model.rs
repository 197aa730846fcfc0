//! A model server: it answers everything, and says which pod and predictor it is.
//!
//! `/-/requests` tells how many requests it has had; a mirrored request is seen there and nowhere else.

use std::error::Error;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::State;
use axum::http::{HeaderName, Uri};
use axum::response::IntoResponse;
use axum::{Json, Router};
use serde_json::{Value, json};

/// A pod, and how many requests it has had.
struct Pod {
    name: String,
    predictor: String,
    requests: AtomicU64,
}

/// Serves a pod on all of its ports until it is killed: `{"name": …, "predictor": …, "address": …, "ports": […]}`.
///
/// A port that another program of the bed has on every address is left to that one.
pub async fn run(pod: Value) -> Result<(), Box<dyn Error>> {
    let text = |key: &str| pod[key].as_str().unwrap_or_default().to_owned();
    let address: IpAddr = text("address").parse()?;
    let state = Arc::new(Pod { name: text("name"), predictor: text("predictor"), requests: AtomicU64::new(0) });
    let app = Router::new().fallback(answer).with_state(state);
    let mut servers = tokio::task::JoinSet::new();
    for port in pod["ports"].as_array().into_iter().flatten().filter_map(Value::as_u64) {
        let listener = match tokio::net::TcpListener::bind(SocketAddr::new(address, u16::try_from(port)?)).await {
            Err(error) if error.kind() == ErrorKind::AddrInUse => {
                eprintln!("{address}:{port} is another program's");
                continue;
            }
            bound => bound?,
        };
        servers.spawn(axum::serve(listener, app.clone()).into_future());
    }
    while let Some(ended) = servers.join_next().await {
        ended??;
    }
    Ok(())
}

async fn answer(State(pod): State<Arc<Pod>>, uri: Uri) -> impl IntoResponse {
    let requests = match uri.path() {
        "/-/requests" => pod.requests.load(Ordering::Relaxed),
        _ => pod.requests.fetch_add(1, Ordering::Relaxed) + 1,
    };
    let said = [("x-pod", pod.name.clone()), ("x-predictor", pod.predictor.clone())];
    let headers = said.map(|(name, value)| (HeaderName::from_static(name), value));
    let body = json!({"model_name": "model", "outputs": [], "predictor": pod.predictor, "pod": pod.name, "requests": requests});
    (headers, Json(body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_says_who_it_is_and_counts_what_it_is_asked_but_for_the_count() {
        let pod = Pod { name: "fraud-v7-x".into(), predictor: "v7".into(), requests: AtomicU64::new(0) };
        let pod = Arc::new(pod);
        for (path, requests) in [("/v2/models/model/infer", 1), ("/docs", 2), ("/-/requests", 2)] {
            let response = answer(State(Arc::clone(&pod)), path.parse().unwrap()).await.into_response();
            assert_eq!(response.headers()["x-predictor"], "v7");
            let body = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
            let body: Value = serde_json::from_slice(&body).unwrap();
            assert_eq!((&body["pod"], &body["requests"]), (&json!("fraud-v7-x"), &json!(requests)), "{path}");
        }
    }
}
