//! One line per request, with fixed field names (of deliveries, probes and what is passed on to MLflow only with `debug` where it went well); no query, no header and no body, which may hold what is not for a log.

use std::time::Instant;

use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::Response;

use super::{Web, client};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest request id of a caller that is taken over.
const REQUEST_ID_BYTES_MAX: usize = 64;

/// The most characters of a path that are logged; a release's longest one has some 200.
const PATH_CHARS_MAX: usize = 300;

/// Gives the request an id (the caller's where it has a plain one), and logs how it ended.
pub(crate) async fn layer(State(web): State<Web>, request: Request, next: Next) -> Response {
    let id = request_id(&request);
    let method = request.method().clone();
    let path: String = request.uri().path().chars().take(PATH_CHARS_MAX).collect();
    let address = client::address(request.extensions(), request.headers(), &web.settings().trusted_proxies);
    let start = Instant::now();
    let mut response = next.run(request).await;
    let status = response.status().as_u16();
    let duration_ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
    macro_rules! log {
        ($level:ident) => {
            tracing::$level!(
                request.id = id, http.method = %method, http.path = path, http.status = status, client.address = %address, duration_ms,
                "{method} {path} answered {status}"
            )
        };
    }
    if (response.status().is_success() || response.status() == StatusCode::NOT_MODIFIED) && is_told_elsewhere(&path) {
        log!(debug)
    } else {
        log!(info)
    }
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

/// Whether what was done is to be seen anyway: a delivery in the inbox, a probe in what it asks for, a request for MLflow in MLflow's log.
/// A line for each would be most of the log.
fn is_told_elsewhere(path: &str) -> bool {
    let is_of_mlflow = path.starts_with("/mlflow/") && !path.starts_with("/mlflow/_kmlflow/api/");
    is_of_mlflow || path.starts_with("/webhooks/") || matches!(path, "/healthz" | "/readyz" | "/metrics")
}

fn request_id(request: &Request) -> String {
    let given = request.headers().get(REQUEST_ID).and_then(|value| value.to_str().ok());
    let is_plain = |id: &&str| {
        (1..=REQUEST_ID_BYTES_MAX).contains(&id.len())
            && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    };
    given.filter(is_plain).map_or_else(|| uuid::Uuid::now_v7().to_string(), ToOwned::to_owned)
}
