//! What the Release button asks: the state of a model's release, and changes of it. Lies below MLflow's pages, because a browser sends the
//! credentials of MLflow only there.
//!
//! Changes nothing by itself: every request ends in the same functions as one of the API.

mod changes;
mod identity;
mod origin;
mod state;

use std::sync::Arc;

use axum::extract::{FromRef, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use tower_http::set_header::SetResponseHeaderLayer;

use self::identity::Known;
pub use self::identity::{AccountsError, ModelAccounts, ModelPermission, ModelUser};
use super::{Web, accounts, body};

/// What the button needs of the configuration.
#[derive(Debug, Clone)]
pub struct ButtonSettings {
    /// The origins of the service's own pages, MLflow's among them, as browsers write them.
    pub origins: Vec<String>,
    /// Whether the service listens for this machine alone and was told no other name: then the loopback name that a page was opened under is
    /// one of the service's own. Lets nobody in.
    pub is_local: bool,
}

/// What its handlers share.
#[derive(Clone)]
struct Button {
    web: Web,
    accounts: Arc<dyn ModelAccounts>,
    settings: Arc<ButtonSettings>,
    known: Arc<Known>,
}

impl FromRef<Button> for Web {
    fn from_ref(button: &Button) -> Self {
        button.web.clone()
    }
}

/// The paths of the button's API, to be mounted below MLflow's pages.
pub fn button_router(web: Web, accounts: Arc<dyn ModelAccounts>, settings: ButtonSettings) -> Router {
    let audited = from_fn_with_state(web.clone(), accounts::audit_refusals);
    let button = Button { web, accounts, settings: Arc::new(settings), known: Arc::default() };
    Router::new()
        .route("/models/{model}/versions/{version}", get(state::read))
        .route("/releases", post(changes::release))
        .route("/releases/{environment}/{namespace}/{name}/{act}", post(changes::act))
        .route("/anchors", post(anchor))
        .layer(from_fn_with_state(button.clone(), origin::layer))
        .layer(audited)
        .layer(SetResponseHeaderLayer::overriding(header::CACHE_CONTROL, HeaderValue::from_static("no-store")))
        .layer(SetResponseHeaderLayer::overriding(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")))
        .with_state(button)
}

/// A page of MLflow on which the button found no place.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Anchor {
    page: AnchorPage,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum AnchorPage {
    Model,
    Version,
}

/// Counts a page on which the button found no place, so that a change of MLflow's pages is noticed. Says nothing about anybody, so anyone may.
async fn anchor(State(web): State<Web>, body::Json(Anchor { page }): body::Json<Anchor>) -> (StatusCode, Json<()>) {
    let page = match page {
        AnchorPage::Model => "model",
        AnchorPage::Version => "version",
    };
    web.handle().count_missing_anchor(page);
    (StatusCode::ACCEPTED, Json(()))
}
