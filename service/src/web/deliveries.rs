//! The inbox: what was delivered and what became of it.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Web;
use super::auth::{Caller, Releaser, Viewer};
use super::body::{InPath, InQuery, check_limit};
use super::error::{Answer, Problem};
use super::releases::bad;
use crate::event::{DeliveryState, Source};
use crate::names::ReleaseKey;
use crate::worker::{self, DeliveryFilter, DeliveryView, Page};

/// The most deliveries on a page, as everywhere in the API.
const PAGE_MAX: u32 = 100;

/// How many pages are read at most to fill one for a caller who sees few of them: 2,000 deliveries, a fraction of a second.
const PAGES_READ_MAX: usize = 20;

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
    let release = release.map(|text| ReleaseKey::parse(&text).map_err(bad("release"))).transpose()?;
    Ok(Json(visible(&web, &caller, DeliveryFilter { source, state, release, before: cursor, limit }).await?))
}

/// One page of the deliveries that a caller may see: read on until it is full, so that its length tells nothing of the others.
pub(super) async fn visible(web: &Web, caller: &Caller, filter: DeliveryFilter) -> Answer<Page<DeliveryView>> {
    if !caller.is_scoped() {
        return Ok(web.handle().deliveries(filter).await?);
    }
    let limit = filter.limit.unwrap_or(PAGE_MAX).clamp(1, PAGE_MAX) as usize;
    let mut before = filter.before;
    let mut items: Vec<DeliveryView> = Vec::new();
    for _ in 0..PAGES_READ_MAX {
        let read = DeliveryFilter { before, limit: Some(PAGE_MAX), ..filter.clone() };
        let page = web.handle().deliveries(read).await?;
        for view in page.items {
            if sees(web, caller, &view).await {
                items.push(view);
            }
        }
        before = page.next.and_then(|next| next.parse().ok());
        if items.len() > limit || before.is_none() {
            break;
        }
    }
    let next = if items.len() > limit {
        items.truncate(limit);
        items.last().map(|last| last.number)
    } else {
        before
    };
    Ok(Page { items, next: next.map(|number| number.to_string()) })
}

/// Reads a delivery by its sender's id or its number.
#[utoipa::path(get, path = "/deliveries/{id}", operation_id = "getDelivery", tag = "deliveries", params(("id" = String, Path)),
    responses((status = 200, body = DeliveryView), (status = "4XX", body = Problem)))]
async fn get(State(web): State<Web>, Viewer(caller): Viewer, InPath(id): InPath<String>) -> Answer<Json<DeliveryView>> {
    Ok(Json(read(&web, &caller, &id).await?))
}

/// Carries a delivery out once more, whatever became of it. What was asked of its release since it was carried out stays: then the answer is 200, `unchanged`,
/// with the reason and what helps.
#[utoipa::path(post, path = "/deliveries/{id}/redeliver", operation_id = "redeliver", tag = "deliveries", params(("id" = String, Path)),
    responses((status = 200, body = DeliveryView), (status = 202, body = DeliveryView), (status = "4XX", body = Problem), (status = 503, body = Problem)))]
async fn redeliver(
    State(web): State<Web>,
    Releaser(caller): Releaser,
    InPath(id): InPath<String>,
) -> Answer<(StatusCode, Json<DeliveryView>)> {
    caller.check_unscoped()?;
    let view = web.handle().redeliver(&id).await?;
    let status = if view.state.is_waiting() { StatusCode::ACCEPTED } else { StatusCode::OK };
    Ok((status, Json(view)))
}

async fn read(web: &Web, caller: &Caller, id: &str) -> Answer<DeliveryView> {
    let view = web.handle().delivery(id).await?;
    if sees(web, caller, &view).await {
        Ok(view)
    } else {
        Err(Problem::from(worker::no_delivery(id)).to(caller.name()))
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
