//! The description of what is served: made from the routes themselves, so that the two cannot differ.

mod complete;

use axum::body::Bytes;
use axum::http::{HeaderValue, header};
use axum::{Router, routing};
use serde_json::Value;
use tower_http::set_header::SetResponseHeaderLayer;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{ComponentsBuilder, InfoBuilder, License, OpenApi, OpenApiBuilder};
use utoipa_axum::router::OpenApiRouter;
use utoipa_swagger_ui::{Config, SwaggerUi};

use super::Web;

/// The description's pages bring their own scripts and styles and load nothing from elsewhere.
const DOCS_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'",
);

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The OpenAPI document of what is served.
pub fn document() -> Value {
    completed(&super::api().into_openapi())
}

fn completed(described: &OpenApi) -> Value {
    complete::complete(serde_json::to_value(described).unwrap_or_default())
}

/// An empty router with the description's head.
pub(super) fn base() -> OpenApiRouter<Web> {
    let info = InfoBuilder::new()
        .title("Kmlflow")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some("Releases of registered models by GitOps: what is asked here becomes a commit."))
        .license(Some(License::new("Apache-2.0")))
        .build();
    let session = ApiKeyValue::with_description("kmlflow_session", "The session of the page");
    let components = ComponentsBuilder::new()
        .security_scheme("token", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)))
        .security_scheme("session", SecurityScheme::ApiKey(ApiKey::Cookie(session)))
        .build();
    let none: [&str; 0] = [];
    let security = [SecurityRequirement::new("token", none), SecurityRequirement::new("session", none)];
    let openapi = OpenApiBuilder::new().info(info).components(Some(components)).security(Some(security)).build();
    OpenApiRouter::with_openapi(openapi)
}

/// The document and the pages to browse it.
pub(super) fn docs_router(document: &OpenApi) -> Router<Web> {
    // As text it is a tenth of what its values are in memory.
    let document = Bytes::from(completed(document).to_string());
    let pages: Router<Web> = SwaggerUi::new("/api/docs").config(Config::from("/api/openapi.json")).into();
    let policy = SetResponseHeaderLayer::overriding(header::CONTENT_SECURITY_POLICY, DOCS_POLICY);
    Router::new()
        .route("/api/openapi.json", routing::get(move || async move { ([(header::CONTENT_TYPE, JSON)], document) }))
        .merge(pages.layer(policy))
}
