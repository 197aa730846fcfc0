//! Holding everything, and rendering again: what concerns many releases at once.

use std::num::NonZeroU32;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Web;
use super::auth::{Admin, Releaser, Viewer};
use super::body::{InQuery, Json as JsonBody, MaybeJson, flag};
use super::error::{Answer, Problem};
use super::releases::List;
use crate::names::{EnvironmentName, Namespace, ReleaseName, is_plain_line};
use crate::worker::{HoldView, RerenderSelection, Rerendered};

/// The longest reason in characters: a sentence or two.
const REASON_CHARS_MAX: usize = 500;

pub(super) fn router() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(list, hold, unhold)).routes(routes!(rerender))
}

/// What shall be held.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct HoldRequest {
    /// Every environment unless given.
    #[schema(value_type = Option<String>)]
    environment: Option<EnvironmentName>,
    /// For whoever wonders.
    reason: String,
}

/// What shall no longer be held.
#[derive(Debug, Default, Deserialize, ToSchema, IntoParams)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
struct UnholdRequest {
    /// The hold of every environment unless given.
    #[schema(value_type = Option<String>)]
    #[param(value_type = Option<String>)]
    environment: Option<EnvironmentName>,
    /// For the log.
    reason: Option<String>,
}

/// How it is asked to render again.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
#[into_params(parameter_in = Query)]
struct RerenderQuery {
    /// Says what would be done, and touches nothing.
    #[serde(deserialize_with = "flag")]
    #[param(value_type = Option<bool>)]
    dry_run: bool,
}

/// What shall be rendered again.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
struct RerenderRequest {
    #[schema(value_type = Option<String>)]
    environment: Option<EnvironmentName>,
    /// Every namespace unless given.
    #[schema(value_type = Option<String>)]
    namespace: Option<Namespace>,
    /// These releases.
    #[schema(value_type = Vec<String>)]
    names: Vec<ReleaseName>,
    /// Every outdated release; needed where `names` is empty.
    all: bool,
    /// At most so many a minute; then the answer does not wait for them.
    #[schema(value_type = Option<u32>, minimum = 1)]
    rate: Option<NonZeroU32>,
    /// As the parameter of the same name.
    dry_run: bool,
}

/// Lists the holds in force.
#[utoipa::path(get, path = "/hold", operation_id = "listHolds", tag = "operation",
    responses((status = 200, body = List<HoldView>), (status = "4XX", body = Problem)))]
async fn list(State(web): State<Web>, Viewer(_caller): Viewer) -> Answer<Json<List<HoldView>>> {
    Ok(Json(List { items: web.handle().holds() }))
}

/// Accepts and keeps everything from now on, and applies nothing.
#[utoipa::path(post, path = "/hold", operation_id = "hold", tag = "operation", request_body = HoldRequest,
    responses((status = 200, body = List<HoldView>), (status = "4XX", body = Problem)))]
async fn hold(
    State(web): State<Web>,
    Admin(caller): Admin,
    JsonBody(request): JsonBody<HoldRequest>,
) -> Answer<Json<List<HoldView>>> {
    let HoldRequest { environment, reason } = request;
    check_reason(&reason)?;
    Ok(Json(List { items: web.handle().hold(environment, &reason, caller.name()).await? }))
}

/// Applies again, beginning with what was kept.
#[utoipa::path(delete, path = "/hold", operation_id = "unhold", tag = "operation", params(UnholdRequest), request_body = Option<UnholdRequest>,
    responses((status = 200, body = List<HoldView>), (status = "4XX", body = Problem)))]
async fn unhold(
    State(web): State<Web>,
    Admin(caller): Admin,
    InQuery(query): InQuery<UnholdRequest>,
    MaybeJson(body): MaybeJson<UnholdRequest>,
) -> Answer<Json<List<HoldView>>> {
    let environment = body.environment.or(query.environment);
    let reason = body.reason.or(query.reason).unwrap_or_default();
    if !reason.is_empty() {
        check_reason(&reason)?;
    }
    Ok(Json(List { items: web.handle().unhold(environment, &reason, caller.name()).await? }))
}

/// Renders outdated releases with the present templates. At a rate each is accepted (202) and has its turn.
#[utoipa::path(post, path = "/rerender", operation_id = "rerender", tag = "operation", params(RerenderQuery), request_body = RerenderRequest,
    responses((status = 200, body = List<Rerendered>), (status = 202, body = List<Rerendered>), (status = "4XX", body = Problem)))]
async fn rerender(
    State(web): State<Web>,
    Releaser(caller): Releaser,
    InQuery(query): InQuery<RerenderQuery>,
    MaybeJson(request): MaybeJson<RerenderRequest>,
) -> Answer<(StatusCode, Json<List<Rerendered>>)> {
    caller.check_unscoped()?;
    let RerenderRequest { environment, namespace, names, all, rate, dry_run } = request;
    if names.is_empty() != all {
        return Err(Problem::invalid("names", "either `names` or `\"all\": true` must say which releases"));
    }
    let selection = RerenderSelection { environment, namespace, names, per_minute: rate };
    let items = web.handle().rerender(selection, dry_run || query.dry_run, caller.name()).await?;
    let is_later = items.iter().any(|line| line.delivery.is_some());
    let status = if is_later { StatusCode::ACCEPTED } else { StatusCode::OK };
    Ok((status, Json(List { items })))
}

fn check_reason(reason: &str) -> Answer<()> {
    if is_plain_line(reason, REASON_CHARS_MAX) {
        Ok(())
    } else {
        let detail = "`reason` must be 1 to 500 characters without control or invisible characters";
        Err(Problem::invalid("reason", detail))
    }
}
