//! The inbox: what was delivered and what became of it.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Web;
use super::auth::{Caller, Releaser, Viewer};
use super::body::{InPath, InQuery, check_limit};
use super::error::{Answer, Problem};
use crate::event::{DeliveryState, Source};
use crate::names::ReleaseKey;
use crate::worker::{DeliveryFilter, DeliveryView, Page};

pub(super) fn router() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(get)).routes(routes!(redeliver))
}

/// Which deliveries to list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    source: Option<Source>,
    state: Option<DeliveryState>,
    /// Written `environment/namespace/name`.
    release: Option<String>,
    /// At most 100.
    limit: Option<u32>,
    /// `next` of the page before.
    cursor: Option<i64>,
}

/// Lists deliveries, newest first.
#[utoipa::path(get, path = "/deliveries", operation_id = "listDeliveries", tag = "deliveries", params(ListQuery),
    responses((status = 200, body = Page<DeliveryView>), (status = "4XX", body = Problem)))]
async fn list(
    State(web): State<Web>,
    Viewer(caller): Viewer,
    InQuery(query): InQuery<ListQuery>,
) -> Answer<Json<Page<DeliveryView>>> {
    let ListQuery { source, state, release, limit, cursor } = query;
    check_limit(limit)?;
    let release = release.map(|text| ReleaseKey::parse(&text)).transpose()?;
    Ok(Json(visible(&web, &caller, DeliveryFilter { source, state, release, before: cursor, limit }).await?))
}

/// One page of the deliveries that a caller may see.
pub(super) async fn visible(web: &Web, caller: &Caller, filter: DeliveryFilter) -> Answer<Page<DeliveryView>> {
    let mut page = web.handle().deliveries(filter).await?;
    let mut items = Vec::with_capacity(page.items.len());
    for view in page.items {
        if sees(web, caller, &view).await {
            items.push(view);
        }
    }
    page.items = items;
    Ok(page)
}

/// Reads a delivery by its sender's id or its number.
#[utoipa::path(get, path = "/deliveries/{id}", operation_id = "getDelivery", tag = "deliveries", params(("id" = String, Path)),
    responses((status = 200, body = DeliveryView), (status = "4XX", body = Problem)))]
async fn get(State(web): State<Web>, Viewer(caller): Viewer, InPath(id): InPath<String>) -> Answer<Json<DeliveryView>> {
    Ok(Json(read(&web, &caller, &id).await?))
}

/// Carries a delivery out once more, whatever became of it.
#[utoipa::path(post, path = "/deliveries/{id}/redeliver", operation_id = "redeliver", tag = "deliveries", params(("id" = String, Path)),
    responses((status = 202, body = DeliveryView), (status = "4XX", body = Problem), (status = 503, body = Problem)))]
async fn redeliver(
    State(web): State<Web>,
    Releaser(caller): Releaser,
    InPath(id): InPath<String>,
) -> Answer<(axum::http::StatusCode, Json<DeliveryView>)> {
    caller.check_unscoped()?;
    Ok((axum::http::StatusCode::ACCEPTED, Json(web.handle().redeliver(&id).await?)))
}

async fn read(web: &Web, caller: &Caller, id: &str) -> Answer<DeliveryView> {
    let view = web.handle().delivery(id).await?;
    if sees(web, caller, &view).await {
        Ok(view)
    } else {
        Err(Problem::forbidden("the token is not good for this delivery"))
    }
}

/// Whether a caller may see a delivery; one that led to no release only concerns who may see all of them.
async fn sees(web: &Web, caller: &Caller, view: &DeliveryView) -> bool {
    let key = view.release.as_deref().and_then(|key| ReleaseKey::parse(key).ok());
    match key {
        _ if !caller.is_scoped() => true,
        Some(key) => caller.sees_release(web, &key).await,
        None => false,
    }
}
