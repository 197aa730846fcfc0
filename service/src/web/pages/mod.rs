//! The page: plain HTML made here, which a small script keeps up to date by server-sent events.

mod rows;
mod session;
mod view;

use axum::Router;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use tower_http::set_header::SetResponseHeaderLayer;

use super::Web;

/// Nothing is loaded from elsewhere, and nothing inside the page's text is run or styles it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
    base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// What is sent along with every page.
const HEADERS: [(HeaderName, &str); 4] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
];

pub(super) fn router() -> Router<Web> {
    let router = Router::new()
        .route("/", get(view::overview))
        .route("/releases/{environment}/{namespace}/{name}", get(view::release))
        .route("/session", post(session::begin).delete(session::end))
        .route("/assets/page.css", get(|| async { asset("text/css; charset=utf-8", include_str!("page.css")) }))
        .route("/assets/page.js", get(|| async { asset("text/javascript; charset=utf-8", include_str!("page.js")) }))
        .route("/assets/icon.svg", get(|| async { asset("image/svg+xml", include_str!("icon.svg")) }));
    HEADERS.into_iter().fold(router, |router, (name, value)| {
        router.layer(SetResponseHeaderLayer::overriding(name, HeaderValue::from_static(value)))
    })
}

fn asset(content_type: &'static str, text: &'static str) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, content_type)], text)
}
