//! The embedded repository's door: who may read and write it; what is said there is Git's own.

use std::net::IpAddr;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use futures_util::TryStreamExt as _;
use tokio_util::io::{ReaderStream, StreamReader};

use crate::access::TokenRole;
use crate::git::Visit;
use crate::git::serve::{Access, SmartRequest, SmartResponse, SmartServer};
use crate::web::{self, Problem, Web};
use crate::worker::Handle;

/// The path of the repository.
pub(super) const MOUNT: &str = "/git/gitops.git";

#[derive(Clone)]
struct Door {
    web: Web,
    handle: Handle,
    server: SmartServer,
    /// Whether only this machine can reach the service: then reading needs no token.
    is_local: bool,
}

/// The repository's router.
pub(super) fn router(web: Web, handle: Handle, server: SmartServer, is_local: bool) -> Router {
    let path = format!("{MOUNT}/{{*rest}}");
    Router::new().route(&path, any(serve)).with_state(Door { web, handle, server, is_local })
}

/// The router where the repository lives elsewhere. Where that is, is not for everybody: it may be a path of this machine.
pub(super) fn elsewhere() -> Router {
    let path = format!("{MOUNT}/{{*rest}}");
    Router::new()
        .route(&path, any(async || web::not_found("the repository is not served here: `git.url` says where it is")))
}

async fn serve(State(door): State<Door>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().strip_prefix(MOUNT).unwrap_or_default().to_owned();
    let query = parts.uri.query().unwrap_or_default().to_owned();
    let Some(access) = SmartServer::access(parts.method.as_str(), &path, &query) else {
        return web::not_found("this is not a path of a Git repository").into_response();
    };
    if let Err(refused) = door.check(access, &parts).await {
        return refused;
    }
    let visit = (access == Access::Write).then(|| door.handle.expect_push());
    if let Err(fault) = door.handle.put_in_place().await {
        return Problem::from(fault).into_response();
    }
    let text = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).map(ToOwned::to_owned);
    let smart = SmartRequest {
        method: parts.method.to_string(),
        path,
        query,
        content_type: text("content-type"),
        content_encoding: text("content-encoding"),
        git_protocol: text("git-protocol"),
        body: Box::new(StreamReader::new(body.into_data_stream().map_err(std::io::Error::other))),
    };
    let answer = door.server.serve(smart).await;
    door.answer(visit, answer)
}

impl Door {
    /// Anybody on this machine may read where nobody else can reach the service; all others need a token, and only an administrator pushes.
    async fn check(&self, access: Access, parts: &Parts) -> Result<(), Response> {
        let has_token = parts.headers.contains_key(header::AUTHORIZATION);
        if access == Access::Read && self.is_local && !has_token && web::is_loopback_caller(parts) {
            return Ok(());
        }
        let address = parts.extensions.get::<web::Peer>().map_or(IpAddr::from([0, 0, 0, 0]), |peer| peer.0.ip());
        let token = web::authenticate(&self.web, &parts.headers, address).await.map_err(asking)?;
        let role = if access == Access::Write { TokenRole::Admin } else { TokenRole::Viewer };
        if token.role >= role && token.is_unscoped() {
            return Ok(());
        }
        let detail =
            format!("the repository holds every release: this needs a token with the role {role} and without a scope");
        Err(web::forbidden(detail, format!("ask an administrator: `kmlflow token create --role {role}`"))
            .into_response())
    }

    fn answer(&self, push: Option<Visit>, answer: SmartResponse) -> Response {
        let SmartResponse { status, headers, body, ended } = answer;
        if let Some(visit) = push {
            let handle = self.handle.clone();
            tokio::spawn(async move {
                // An error means that Git has ended as well.
                let _ended = ended.await;
                drop(visit);
                handle.pushed();
            });
        }
        let mut response = Response::new(Body::from_stream(ReaderStream::new(body)));
        *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        for (name, value) in headers {
            if let Ok(value) = HeaderValue::try_from(value) {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }
}

/// Lets Git's client ask its user for a token: it knows basic authentication only.
fn asking(problem: Problem) -> Response {
    let mut response = problem.into_response();
    if response.status() == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"kmlflow\""));
    }
    response
}
