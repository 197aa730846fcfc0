//! MLflow's door: its pages and API through the service, under a path and on a host name of their own, with the Release button.

mod accounts;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{any, get};
use sha2::{Digest as _, Sha256};
use tower::ServiceExt as _;

use super::StartError;
use crate::access::TOKEN_PREFIX;
use crate::mlflow::Client;
use crate::mlflow::proxy::{BUTTON_FILES, Hosts, OwnSecrets, Place, Proxy, ProxyError, wants_page};
use crate::web::{self, ButtonSettings, Web};
use crate::worker::Handle;

/// Where MLflow's pages are.
pub(super) const MOUNT: &str = "/mlflow";

/// The page of an answer that there is not; its one sentence is put in.
const TROUBLE_PAGE: &str = include_str!("trouble.html");

/// On a request that came for MLflow's own host name.
#[derive(Debug, Clone, Copy)]
struct OnOwnHost;

#[derive(Clone)]
struct Door {
    handle: Handle,
    proxy: Arc<Proxy>,
    hosts: Arc<Hosts>,
}

/// The router of the mount, for the tracking server of a client.
pub(super) fn router(
    web: Web,
    handle: Handle,
    client: Client,
    hosts: Arc<Hosts>,
    is_local: bool,
) -> Result<Router, StartError> {
    let own = OwnSecrets { cookie: web::SESSION_COOKIE, token_prefix: TOKEN_PREFIX };
    let unusable = |reason: String| {
        StartError::new(format!("MLflow's pages cannot be served from `mlflow.tracking_uri`: {reason}"))
            .cure("correct the address, or set `mlflow.proxy: false`")
    };
    let proxy = Proxy::new(client.address(), own).map_err(unusable)?;
    let accounts = accounts::Accounts::beside(client).map_err(|error| unusable(error.to_string()))?;
    let button = ButtonSettings { origins: hosts.origins().to_vec(), is_local };
    let button = web::button_router(web, Arc::new(accounts), button);
    let door = Door { handle, proxy: Arc::new(proxy), hosts };
    Ok(Router::new()
        .route(MOUNT, any(to_the_mount))
        .route("/mlflow/_kmlflow/{*file}", get(file))
        .route("/mlflow/", any(pass))
        .route("/mlflow/{*rest}", any(pass))
        .with_state(door.clone())
        .nest("/mlflow/_kmlflow/api", button)
        .layer(from_fn_with_state(door, known_host)))
}

/// Everything that is asked on MLflow's own host name, led to the mount.
pub(super) fn by_host_name(router: Router, hosts: Arc<Hosts>) -> Router {
    let led = move |mut request: Request| {
        if host_of(&request).is_some_and(|host| hosts.is_own_name(&host))
            && let Some(uri) = below_the_mount(request.uri())
        {
            *request.uri_mut() = uri;
            request.extensions_mut().insert(OnOwnHost);
        }
        request
    };
    Router::new().fallback_service(router.map_request(led))
}

fn below_the_mount(uri: &Uri) -> Option<Uri> {
    let path = uri.path_and_query().map_or("/", PathAndQuery::as_str);
    path.starts_with('/').then(|| format!("{MOUNT}{path}").parse().ok()).flatten()
}

/// A relative address, so that it is right behind another proxy too.
async fn to_the_mount() -> impl IntoResponse {
    (StatusCode::PERMANENT_REDIRECT, [(header::LOCATION, "mlflow/")])
}

/// A file of the button. It is asked for anew by every page, and sent only where it is another one.
async fn file(Path(name): Path<String>, headers: HeaderMap) -> Response {
    let Some((_, kind, text)) = BUTTON_FILES.iter().find(|(known, ..)| *known == name) else {
        return web::not_found("there is nothing at this path").into_response();
    };
    let tag = format!("\"{}\"", &hex::encode(Sha256::digest(text))[..16]);
    let is_known = headers.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes());
    let about = [(header::ETAG, tag.as_str()), (header::CACHE_CONTROL, "no-cache")];
    if is_known {
        return (StatusCode::NOT_MODIFIED, about).into_response();
    }
    (about, [(header::CONTENT_TYPE, *kind), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")], *text).into_response()
}

/// Refuses what is asked under a name that the service does not have, before anything is passed on or answered.
async fn known_host(State(door): State<Door>, request: Request, next: Next) -> Response {
    let host = host_of(&request);
    if host.as_deref().is_some_and(|host| door.hosts.knows(host)) {
        return next.run(request).await;
    }
    door.handle.count_proxied("unknown-host");
    let host = crate::names::shown(host.as_deref().unwrap_or_default());
    let detail = format!("the service is not known under the host name `{host}`");
    let cure = "set `public_url`, or `mlflow.public_url`, to the address that people reach it by".to_owned();
    web::forbidden(detail, cure).into_response()
}

async fn pass(State(door): State<Door>, request: Request) -> Response {
    let is_on_own_host = request.extensions().get::<OnOwnHost>().is_some();
    let origin = request.headers().get(header::ORIGIN).and_then(|value| value.to_str().ok());
    let place = Place {
        mount: if is_on_own_host { "" } else { MOUNT },
        is_own_origin: origin.is_some_and(|origin| door.hosts.is_own_origin(origin)),
        peer: request.extensions().get::<web::Peer>().map(|peer| peer.0.ip()),
    };
    let for_a_page = wants_page(request.method(), request.headers());
    let request = if is_on_own_host { without_the_mount(request) } else { request };
    match door.proxy.pass(request, &place).await {
        Ok(passed) => {
            door.handle.count_proxied("answered");
            if let Some(page) = passed.page {
                door.handle.count_mlflow_page(page.as_str());
            }
            passed.response
        }
        Err(error) => door.failed(&error, for_a_page),
    }
}

/// The request with its path as the caller sent it.
fn without_the_mount(mut request: Request) -> Request {
    let path = request.uri().path_and_query().and_then(|path| path.as_str().strip_prefix(MOUNT)?.parse().ok());
    *request.uri_mut() = path.unwrap_or_default();
    request
}

impl Door {
    /// The answer where the tracking server gives none: a page for a person, a problem for a program.
    fn failed(&self, error: &ProxyError, for_a_page: bool) -> Response {
        let (outcome, sentence, cure) = match error {
            ProxyError::Path => ("refused", "the path has `.` or `..` in it", "leave them out"),
            ProxyError::Unreachable(_) => (
                "unreachable",
                "the tracking server cannot be reached",
                "look whether MLflow runs at `mlflow.tracking_uri`, then try again",
            ),
            ProxyError::Full => ("full", "too many requests are with the tracking server", "try again in a moment"),
            ProxyError::Idle => ("idle", "the tracking server does not answer", "look at MLflow's log, then try again"),
        };
        self.handle.count_proxied(outcome);
        match error {
            // The caller is told, and the metric counts them: under load there are thousands.
            ProxyError::Path | ProxyError::Full => tracing::debug!("refused a request for MLflow: {error}"),
            _ => tracing::warn!(error = error as &dyn std::error::Error, "MLflow's pages are not there: {error}"),
        }
        let status = error.status();
        if for_a_page {
            let page = TROUBLE_PAGE.replace("{sentence}", sentence).replace("{cure}", cure);
            let policy = HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'");
            let headers = [
                (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
                (header::CONTENT_SECURITY_POLICY, policy),
            ];
            return (status, headers, Html(page)).into_response();
        }
        let word = if status == StatusCode::BAD_REQUEST { "malformed" } else { "mlflow-unavailable" };
        web::problem(status, word, sentence, cure).into_response()
    }
}

/// The one host name that a request is for: the address's where it is written there, otherwise `Host`.
fn host_of(request: &Request<Body>) -> Option<String> {
    if let Some(authority) = request.uri().authority() {
        return Some(authority.as_str().to_owned());
    }
    let mut hosts = request.headers().get_all(HeaderName::from_static("host")).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().ok().map(ToOwned::to_owned),
        _ => None,
    }
}
