//! The sweep: where registry and Git differ, and having it looked at now.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Web;
use super::auth::{Releaser, Viewer};
use super::body::{InQuery, flag};
use super::error::{Answer, Problem};
use crate::worker::SweepReport;

pub(super) fn router() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(last, now))
}

/// How it is asked to sweep.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
#[into_params(parameter_in = Query)]
struct SweepQuery {
    /// Says what differs, and repairs nothing.
    #[serde(deserialize_with = "flag")]
    #[param(value_type = Option<bool>)]
    dry_run: bool,
}

/// What the last sweep found: where the registry asks for something else than what is deployed, and what is done about it.
#[utoipa::path(get, path = "/sweep", operation_id = "lastSweep", tag = "operation",
    responses((status = 200, body = SweepReport), (status = "4XX", body = Problem)))]
async fn last(State(web): State<Web>, Viewer(caller): Viewer) -> Answer<Json<SweepReport>> {
    caller.check_unscoped()?;
    Ok(Json(web.handle().last_sweep().await?))
}

/// Compares the whole registry with what is deployed now, and has repaired what differs.
#[utoipa::path(post, path = "/sweep", operation_id = "sweep", tag = "operation", params(SweepQuery),
    responses((status = 200, body = SweepReport), (status = "4XX", body = Problem), (status = 503, body = Problem)))]
async fn now(
    State(web): State<Web>,
    Releaser(caller): Releaser,
    InQuery(query): InQuery<SweepQuery>,
) -> Answer<Json<SweepReport>> {
    caller.check_unscoped()?;
    Ok(Json(web.handle().sweep(query.dry_run).await?))
}
