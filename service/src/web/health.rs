//! Whether the service is there, whether it can work, and its figures. Nothing here needs a token.

use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::sync::watch;

use super::Web;
use super::error::{Answer, Problem};
use crate::bounds::RETRY_AFTER_SECONDS;

/// OpenMetrics 1.0 text.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub(super) fn router() -> Router<Web> {
    Router::new().route("/healthz", get(alive)).route("/readyz", get(ready)).route("/metrics", get(metrics))
}

/// Not ready, whatever is asked, for the reason that there is at the moment.
pub(super) fn waiting_router(reason: watch::Receiver<String>) -> Router {
    let waits = move || {
        let problem = Problem::unavailable(reason.borrow().clone(), RETRY_AFTER_SECONDS.into());
        async move { problem }
    };
    Router::new().route("/healthz", get(alive)).fallback(waits)
}

async fn alive() -> &'static str {
    "ok\n"
}

async fn ready(State(web): State<Web>) -> Answer<String> {
    match web.handle().ready().await {
        Ok(None) => Ok("ready\n".to_owned()),
        Ok(Some(trouble)) => Ok(format!("ready; everything is accepted, and nothing is released yet: {trouble}\n")),
        Err(sentence) => Err(Problem::unavailable(sentence, RETRY_AFTER_SECONDS.into())),
    }
}

async fn metrics(State(web): State<Web>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, OPEN_METRICS)], web.handle().metrics().await)
}
