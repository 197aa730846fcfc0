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
    let trouble = web.handle().ready().await;
    let trouble = trouble.map_err(|sentence| Problem::unavailable(sentence, RETRY_AFTER_SECONDS.into()))?;
    let trouble = trouble.map(|trouble| format!("; everything is accepted, and nothing is released yet: {trouble}"));
    let refusal = web.handle().forge_refusal();
    let refusal = refusal.map(|why| format!("; no pull request is opened or followed, and no status told: {why}"));
    let held: String = web.handle().held().into_iter().map(|held| format!("; {held}")).collect();
    Ok(format!("ready{}{held}{}\n", trouble.unwrap_or_default(), refusal.unwrap_or_default()))
}

async fn metrics(State(web): State<Web>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, OPEN_METRICS)], web.handle().metrics().await)
}
