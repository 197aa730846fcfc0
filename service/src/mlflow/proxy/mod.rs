//! MLflow's own pages and API, passed on as they are: bytes both ways, and one line put into the index page.
//!
//! Knows nothing of releases. Whose host name and whose page asks is decided by [`Hosts`] before anything is passed on.

mod headers;
mod hosts;
mod page;
mod stream;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use axum::http::{HeaderMap, Method, Request, Response, StatusCode, header};
use futures_util::StreamExt as _;
use reqwest::Url;
use tokio::sync::Semaphore;

pub use headers::OwnSecrets;
pub use hosts::{Hosts, origin_of};
pub use page::PageOutcome;
use stream::{Download, Progress};

const SCRIPT: &str = "text/javascript; charset=utf-8";

/// What the button is made of: name, type and text of each file. `button.js` is the one that the line in the page names; it loads the rest
/// when it is pressed.
pub const BUTTON_FILES: [(&str, &str, &str); 7] = [
    ("button.js", SCRIPT, include_str!("button/button.js")),
    ("dialog.js", SCRIPT, include_str!("button/dialog.js")),
    ("parts.js", SCRIPT, include_str!("button/parts.js")),
    ("form.js", SCRIPT, include_str!("button/form.js")),
    ("signature.js", SCRIPT, include_str!("button/signature.js")),
    ("versions.js", SCRIPT, include_str!("button/versions.js")),
    ("dialog.css", "text/css; charset=utf-8", include_str!("button/dialog.css")),
];

/// How long nothing may move in either direction: as long as the slowest search of a tracking server is worth waiting for. There is no
/// limit of the whole time, because an artifact may have any size.
pub const IDLE_MAX: Duration = Duration::from_secs(300);

/// How long a connection to the tracking server may take; it is in the same network.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// How long an unused connection is kept: below the 2 s and 5 s after which gunicorn and uvicorn close theirs, so that hardly a request
/// meets a connection that is closed just then (<https://docs.gunicorn.org/en/stable/settings.html#keepalive>,
/// <https://www.uvicorn.org/settings/#timeouts>).
const POOL_IDLE: Duration = Duration::from_millis(1500);

/// Unused connections that are kept: what the browsers of some ten people open at once, six each.
const POOL_IDLE_MAX: usize = 64;

/// Requests that are with the tracking server at once, up to the end of their answers: half of the connections that the service takes, so
/// that deliveries, health and its own pages always find one.
const PASSED_MAX: usize = 512;

/// A tracking server, as seen through this service.
#[derive(Debug)]
pub struct Proxy {
    http: reqwest::Client,
    upstream: Url,
    own: OwnSecrets,
    idle_max: Duration,
    places: Arc<Semaphore>,
}

/// Where the caller sees the tracking server, and who the caller is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// What stands before the tracking server's own paths: empty on a host name of its own.
    pub mount: &'static str,
    /// Whether one of the service's own pages asks: then the tracking server need not know its origin.
    pub is_own_origin: bool,
    pub peer: Option<IpAddr>,
}

/// An answer of the tracking server.
#[derive(Debug)]
pub struct Passed {
    pub response: Response<Body>,
    /// What became of the index page, where it was asked for.
    pub page: Option<PageOutcome>,
}

/// Why there is no answer of the tracking server.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    #[error("the path of the request cannot be passed on")]
    Path,
    #[error("the tracking server cannot be reached")]
    Unreachable(#[source] reqwest::Error),
    #[error("{PASSED_MAX} requests are with the tracking server, the most at once")]
    Full,
    #[error("nothing moved for {} s", IDLE_MAX.as_secs())]
    Idle,
}

impl Proxy {
    /// Passes on to the tracking server at an address (`http://mlflow:5000`). Connections are kept, without delay of small packets, and
    /// speak HTTP/1.1, whose single stream is the fastest for large artifacts.
    ///
    /// # Errors
    /// The address is none, or the machine's certificates cannot be read.
    pub fn new(tracking_uri: &str, own: OwnSecrets) -> Result<Self, String> {
        Self::with_idle_max(tracking_uri, own, IDLE_MAX)
    }

    fn with_idle_max(tracking_uri: &str, own: OwnSecrets, idle_max: Duration) -> Result<Self, String> {
        // An error means that it was chosen already.
        let _chosen = rustls::crypto::ring::default_provider().install_default();
        let upstream = Url::parse(tracking_uri).map_err(|error| error.to_string())?;
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .http1_only()
            .tcp_nodelay(true)
            .connect_timeout(CONNECT_MAX)
            .pool_idle_timeout(POOL_IDLE)
            .pool_max_idle_per_host(POOL_IDLE_MAX)
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Self { http, upstream, own, idle_max, places: Arc::new(Semaphore::new(PASSED_MAX)) })
    }

    /// Passes a request on. Its path is still the caller's, with the mount.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn pass(&self, request: Request<Body>, place: &Place) -> Result<Passed, ProxyError> {
        let held = Arc::clone(&self.places).try_acquire_owned().map_err(|_| ProxyError::Full)?;
        let (parts, body) = request.into_parts();
        let target = self.target(&parts.uri, place.mount).ok_or(ProxyError::Path)?;
        let is_page = parts.method == Method::GET && is_page_path(&parts.uri, place.mount);
        let is_artifact = is_artifact_path(parts.uri.path());
        let headers = headers::to_upstream(&parts.headers, place, is_page, &self.own);
        let progress = Progress::new();
        let answered = self.ask(parts.method, target, headers, body, &progress).await?;
        let (mut parts, body) = answered.into_parts();
        headers::from_upstream(&mut parts.headers, place.mount, &self.upstream, &self.own);
        if is_artifact {
            headers::confine(&mut parts.headers);
        }
        let body = Body::new(Download::new(body, self.idle_max, held));
        let (response, page) = match is_page.then(|| page::decide(parts.status, &parts.headers)) {
            None => (Response::from_parts(parts, body), None),
            Some(Err(outcome)) => (Response::from_parts(parts, body), Some(outcome)),
            Some(Ok(())) => {
                let (response, outcome) = page::rewritten(parts, body).await;
                (response, Some(outcome))
            }
        };
        Ok(Passed { response, page })
    }

    /// The address at the tracking server; none where the path would lead out of it.
    fn target(&self, uri: &axum::http::Uri, mount: &str) -> Option<Url> {
        let below = uri.path().strip_prefix(mount).filter(|path| path.starts_with('/'))?;
        if decoded(below).split(['/', '\\']).any(|segment| matches!(segment, "." | "..")) {
            return None;
        }
        let mut target = self.upstream.clone();
        target.set_path(&format!("{}{below}", self.upstream.path().trim_end_matches('/')));
        target.set_query(uri.query());
        Some(target)
    }

    async fn ask(
        &self,
        method: Method,
        target: Url,
        headers: HeaderMap,
        body: Body,
        progress: &Progress,
    ) -> Result<Response<reqwest::Body>, ProxyError> {
        let request = self.http.request(method.clone(), target.clone()).headers(headers.clone());
        let is_empty = body.is_end_stream();
        let first = if is_empty { request } else { request.body(upload(body, progress.clone())) };
        let answered = self.in_time(first.send(), progress).await?;
        let is_repeatable = is_empty && matches!(method, Method::GET | Method::HEAD);
        let answered = match answered {
            // The tracking server closed a connection that was kept just as it was used again.
            Err(error) if is_repeatable && !error.is_connect() => {
                self.in_time(self.http.request(method, target).headers(headers).send(), progress).await?
            }
            answered => answered,
        };
        answered.map(Response::from).map_err(|error| ProxyError::Unreachable(error.without_url()))
    }

    /// Waits for an answer as long as the upload goes on, and then so long as nothing may move.
    async fn in_time<T>(&self, answer: impl Future<Output = T>, progress: &Progress) -> Result<T, ProxyError> {
        let mut answer = std::pin::pin!(answer);
        loop {
            let until = progress.last() + self.idle_max;
            match tokio::time::timeout_at(until, answer.as_mut()).await {
                Ok(answered) => return Ok(answered),
                Err(_) if progress.last() + self.idle_max > until => {}
                Err(_) => return Err(ProxyError::Idle),
            }
        }
    }
}

impl ProxyError {
    /// The status of the answer that tells of it.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Path => StatusCode::BAD_REQUEST,
            Self::Unreachable(_) => StatusCode::BAD_GATEWAY,
            Self::Full => StatusCode::SERVICE_UNAVAILABLE,
            Self::Idle => StatusCode::GATEWAY_TIMEOUT,
        }
    }
}

/// Whether a path is the index page's: every page of MLflow is made of it (the routes stand after `#`).
fn is_page_path(uri: &axum::http::Uri, mount: &str) -> bool {
    matches!(uri.path().strip_prefix(mount), Some("/" | "/index.html"))
}

/// A path as a server would read it.
fn decoded(path: &str) -> std::borrow::Cow<'_, str> {
    percent_encoding::percent_decode_str(path).decode_utf8_lossy()
}

/// Whether what a path gives is what somebody has logged, and not MLflow's own.
fn is_artifact_path(path: &str) -> bool {
    let path = decoded(path);
    path.contains("get-artifact") || path.contains("get-trace-artifact") || path.contains("/mlflow-artifacts/")
}

/// Whether somebody wants a page to look at rather than an answer for a program.
pub fn wants_page(method: &Method, headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    *method == Method::GET && accept.contains("text/html")
}

/// A request's body as it arrives, without trailers.
fn upload(body: Body, progress: Progress) -> reqwest::Body {
    reqwest::Body::wrap_stream(body.into_data_stream().inspect(move |_| progress.note()))
}
