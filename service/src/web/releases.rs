//! Releases, read.

use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Web;
use super::auth::{Caller, Viewer};
use super::body::{InPath, InQuery, check_limit, damaged_cursor};
use super::error::{Answer, Problem};
use crate::access::TokenRole;
use crate::names::{CommitId, EnvironmentName, InvalidName, ModelName, Namespace, ReleaseKey, ReleaseName, TreeId};
use crate::release::{Phase, Strategy};
use crate::worker::{
    self, ClusterDiff, EnvironmentView, HistoryEntry, LogView, Page, ReleaseFilter, ReleaseView, TimelineEntry,
};

/// The most releases on a page, as everywhere in the API.
const PAGE_MAX: u32 = 100;

pub(super) fn router() -> OpenApiRouter<Web> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(get))
        .routes(routes!(history))
        .routes(routes!(manifests))
        .routes(routes!(diff))
        .routes(routes!(timeline))
        .routes(routes!(logs))
        .routes(routes!(environments))
}

/// The words of the `status` filter: what the cluster makes of a release, and what is to be said about its files.
const STATUS_WORDS: [&str; 9] =
    ["syncing", "live", "degraded", "stalled", "retracting", "unknown", "outdated", "drifted", "invalid"];

/// The release that a path names, in an environment that there is.
#[derive(Debug, Clone)]
pub(super) struct ReleaseAt(pub ReleaseKey);

/// The release's name in a path.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct PathParams {
    #[param(value_type = String)]
    environment: String,
    #[param(value_type = String)]
    namespace: String,
    #[param(value_type = String)]
    name: String,
}

/// A list that fits one page.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct List<T> {
    pub items: Vec<T>,
}

/// Which releases to list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    #[param(value_type = Option<String>)]
    environment: Option<EnvironmentName>,
    #[param(value_type = Option<String>)]
    namespace: Option<Namespace>,
    #[param(value_type = Option<String>)]
    model: Option<ModelName>,
    strategy: Option<Strategy>,
    phase: Option<Phase>,
    /// `syncing`, `live`, `degraded`, `stalled`, `unknown`, `outdated`, `drifted` or `invalid`.
    status: Option<String>,
    /// Part of a name.
    q: Option<String>,
    /// At most 100.
    limit: Option<u32>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// Which commits to list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct HistoryQuery {
    /// `next` of the page before.
    #[param(value_type = Option<String>)]
    cursor: Option<CommitId>,
    /// At most 100.
    limit: Option<u32>,
}

/// As of which commit.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ManifestsQuery {
    #[param(value_type = Option<String>)]
    commit: Option<CommitId>,
}

/// The files of a release.
#[derive(Debug, Serialize, ToSchema)]
struct Manifests {
    /// Text by file name.
    #[schema(value_type = std::collections::BTreeMap<String, String>)]
    manifests: IndexMap<String, String>,
}

/// Lists releases.
#[utoipa::path(get, path = "/releases", operation_id = "listReleases", tag = "releases", params(ListQuery),
    responses((status = 200, body = Page<ReleaseView>), (status = "4XX", body = Problem)))]
async fn list(
    State(web): State<Web>,
    Viewer(caller): Viewer,
    InQuery(query): InQuery<ListQuery>,
) -> Answer<Json<Page<ReleaseView>>> {
    query.check(&web)?;
    let ListQuery { environment, namespace, model, strategy, phase, status, q, limit, cursor } = query;
    let filter = ReleaseFilter { environment, namespace, model, strategy, phase, status, q, limit, cursor };
    Ok(Json(visible(&web, &caller, &filter)))
}

impl ListQuery {
    /// Refuses what would silently find nothing, or begin at another place.
    fn check(&self, web: &Web) -> Answer<()> {
        web.handle().check_environment(self.environment.as_ref())?;
        check_limit(self.limit)?;
        if let Some(status) = self.status.as_deref().filter(|status| !STATUS_WORDS.contains(status)) {
            let shown = crate::names::shown(status);
            return Err(Problem::malformed(format!(
                "`status` must be one of {}, not `{shown}`",
                STATUS_WORDS.join(", ")
            )));
        }
        match self.cursor.as_deref().map(ReleaseKey::parse) {
            Some(Err(_)) => Err(damaged_cursor()),
            _ => Ok(()),
        }
    }
}

/// One page of the releases that a caller may see: read on until it is full, so that its length tells nothing of the others.
pub(super) fn visible(web: &Web, caller: &Caller, filter: &ReleaseFilter) -> Page<ReleaseView> {
    if !caller.is_scoped() {
        return web.handle().releases(filter);
    }
    let limit = filter.limit.unwrap_or(PAGE_MAX).clamp(1, PAGE_MAX) as usize;
    let mut from = ReleaseFilter { limit: Some(PAGE_MAX), ..filter.clone() };
    let mut items: Vec<ReleaseView> = Vec::new();
    loop {
        let page = web.handle().releases(&from);
        let sees = |view: &ReleaseView| caller.sees(&view.release.key(), Some(&view.release.spec.model));
        items.extend(page.items.into_iter().filter(sees));
        from.cursor = page.next;
        if items.len() > limit || from.cursor.is_none() {
            break;
        }
    }
    let next = if items.len() > limit {
        items.truncate(limit);
        items.last().map(|last| last.release.key().to_string())
    } else {
        None
    };
    Page { items, next }
}

/// Reads a release. Its entity tag is the tree of its directory.
#[utoipa::path(get, path = "/releases/{environment}/{namespace}/{name}", operation_id = "getRelease", tag = "releases", params(PathParams),
    responses((status = 200, body = ReleaseView), (status = 304), (status = "4XX", body = Problem)))]
async fn get(
    State(web): State<Web>,
    Viewer(caller): Viewer,
    ReleaseAt(key): ReleaseAt,
    headers: HeaderMap,
) -> Answer<Response> {
    let view = read(&web, &caller, &key).await?;
    let tag = etag(&view.etag);
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    if known.is_some_and(|known| known.split(',').any(|one| one.trim().trim_start_matches("W/") == tag.1)) {
        return Ok((StatusCode::NOT_MODIFIED, [tag]).into_response());
    }
    Ok(([tag], Json(view)).into_response())
}

/// Lists the commits of a release, newest first.
#[utoipa::path(get, path = "/releases/{environment}/{namespace}/{name}/history", operation_id = "getReleaseHistory", tag = "releases", params(PathParams, HistoryQuery),
    responses((status = 200, body = Page<HistoryEntry>), (status = "4XX", body = Problem)))]
async fn history(
    State(web): State<Web>,
    Viewer(caller): Viewer,
    ReleaseAt(key): ReleaseAt,
    InQuery(query): InQuery<HistoryQuery>,
) -> Answer<Json<Page<HistoryEntry>>> {
    check_reader(&web, &caller, &key).await?;
    check_limit(query.limit)?;
    let goes_on = query.cursor.is_some();
    let page = web.handle().history(&key, query.cursor, query.limit).await?;
    // A page names the next one only where there is one.
    if goes_on && page.items.is_empty() { Err(damaged_cursor()) } else { Ok(Json(page)) }
}

/// Reads the files of a release, now or as of a commit.
#[utoipa::path(get, path = "/releases/{environment}/{namespace}/{name}/manifests", operation_id = "getReleaseManifests", tag = "releases", params(PathParams, ManifestsQuery),
    responses((status = 200, body = Manifests), (status = "4XX", body = Problem)))]
async fn manifests(
    State(web): State<Web>,
    Viewer(caller): Viewer,
    ReleaseAt(key): ReleaseAt,
    InQuery(query): InQuery<ManifestsQuery>,
) -> Answer<Json<Manifests>> {
    check_reader(&web, &caller, &key).await?;
    Ok(Json(Manifests { manifests: web.handle().manifests(&key, query.commit).await? }))
}

/// Compares Git with the cluster.
#[utoipa::path(get, path = "/releases/{environment}/{namespace}/{name}/diff", operation_id = "getReleaseDiff", tag = "releases", params(PathParams),
    responses((status = 200, body = ClusterDiff), (status = "4XX", body = Problem)))]
async fn diff(State(web): State<Web>, Viewer(caller): Viewer, ReleaseAt(key): ReleaseAt) -> Answer<Json<ClusterDiff>> {
    check_reader(&web, &caller, &key).await?;
    Ok(Json(web.handle().diff(&key).await?))
}

/// Lists what happened to a release, newest first.
#[utoipa::path(get, path = "/releases/{environment}/{namespace}/{name}/events", operation_id = "getReleaseEvents", tag = "releases", params(PathParams),
    responses((status = 200, body = Page<TimelineEntry>), (status = "4XX", body = Problem)))]
async fn timeline(
    State(web): State<Web>,
    Viewer(caller): Viewer,
    ReleaseAt(key): ReleaseAt,
) -> Answer<Json<Page<TimelineEntry>>> {
    check_reader(&web, &caller, &key).await?;
    Ok(Json(web.handle().timeline(&key).await?))
}

/// Reads the end of the log of the release's pod that is in trouble; empty where none is.
#[utoipa::path(get, path = "/releases/{environment}/{namespace}/{name}/logs", operation_id = "getReleaseLogs", tag = "releases", params(PathParams),
    responses((status = 200, body = Page<LogView>), (status = "4XX", body = Problem)))]
async fn logs(
    State(web): State<Web>,
    Viewer(caller): Viewer,
    ReleaseAt(key): ReleaseAt,
) -> Answer<Json<Page<LogView>>> {
    check_reader(&web, &caller, &key).await?;
    Ok(Json(web.handle().logs(&key).await?))
}

/// Lists the environments.
#[utoipa::path(get, path = "/environments", operation_id = "listEnvironments", tag = "releases",
    responses((status = 200, body = List<EnvironmentView>), (status = "4XX", body = Problem)))]
async fn environments(State(web): State<Web>, Viewer(caller): Viewer) -> Json<List<EnvironmentView>> {
    Json(List { items: web.handle().environments(|key, model| caller.sees(key, Some(model))) })
}

/// Reads a release that the caller may see.
pub(super) async fn read(web: &Web, caller: &Caller, key: &ReleaseKey) -> Answer<ReleaseView> {
    check_reader(web, caller, key).await?;
    Ok(web.handle().release(key).await?)
}

/// Refuses a caller who may not read about a release, also where it is gone: outside of the token's places as what it is, and inside of
/// them as if there were no such release.
async fn check_reader(web: &Web, caller: &Caller, key: &ReleaseKey) -> Answer<()> {
    caller.check(TokenRole::Viewer, key, None)?;
    if caller.sees_release(web, key).await { Ok(()) } else { Err(hidden(key)) }
}

/// The answer about a release of a model that is hidden from the caller: the same as where none is.
pub(super) fn hidden(key: &ReleaseKey) -> Problem {
    worker::not_deployed(key).into()
}

/// The refusal of a name, as the field that it stands in.
pub(super) fn bad(field: &'static str) -> impl Fn(InvalidName) -> Problem {
    move |invalid| Problem::invalid(field, invalid.to_string())
}

/// The header with a release's entity tag.
pub(super) fn etag(tree: &TreeId) -> (HeaderName, String) {
    (header::ETAG, format!("\"{tree}\""))
}

impl FromRequestParts<Web> for ReleaseAt {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, web: &Web) -> Answer<Self> {
        let InPath(PathParams { environment, namespace, name }) = InPath::from_request_parts(parts, web).await?;
        let environment = EnvironmentName::parse(&environment).map_err(bad("environment"))?;
        let namespace = Namespace::parse(&namespace).map_err(bad("namespace"))?;
        let name = ReleaseName::parse(&name).map_err(bad("name"))?;
        web.handle().check_environment(Some(&environment))?;
        Ok(Self(ReleaseKey { environment, namespace, name }))
    }
}
