//! A push over HTTP: one `POST …/git-receive-pack` on a connection that is kept, with the credentials in it.
//!
//! By <https://git-scm.com/docs/http-protocol>. The specification wants `info/refs` to be asked first; all it would tell us is the tip, which
//! the command names anyway, so it is asked only of servers that insist.

use std::path::Path;
use std::sync::{OnceLock, PoisonError, RwLock};
use std::time::Duration;

use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, LOCATION};
use reqwest::{Certificate, RequestBuilder, Response, StatusCode, Url};

use super::advertisement::{Advertisement, AdvertisementReader, Capabilities};
use super::answer::{no_answer, problem, words_of};
use super::credentials::Credentials;
use super::error::RemoteError;
use super::report::{Report, ReportReader};
use super::request::Request;
use super::{Limits, Pushed, outcome, pipe};

/// How long a connection is kept for the next push: nginx closes it after 75 s, and a push must not meet that.
const IDLE: Duration = Duration::from_secs(60);

/// How long a push that is reported on waits for the end of its answer, so that the connection can be used again. A server that runs
/// its hooks or cleans up meanwhile is left to it.
const LINGER: Duration = Duration::from_millis(100);

/// How much is read of an answer after the report, in bytes; what says more loses its connection.
const REST_BYTES_MAX: usize = 8 << 20;

const SERVICE: &str = "git-receive-pack";
const RESULT: &str = "application/x-git-receive-pack-result";
const ADVERTISEMENT: &str = "application/x-git-receive-pack-advertisement";

/// How servers answer a POST that they did not expect yet: there is no such page without a session, or it is not allowed like this.
const INSISTING: [StatusCode; 8] = [
    StatusCode::BAD_REQUEST,
    StatusCode::NOT_FOUND,
    StatusCode::METHOD_NOT_ALLOWED,
    StatusCode::NOT_ACCEPTABLE,
    StatusCode::CONFLICT,
    StatusCode::PRECONDITION_FAILED,
    StatusCode::PRECONDITION_REQUIRED,
    StatusCode::NOT_IMPLEMENTED,
];

/// A remote over HTTP.
#[derive(Debug)]
pub(super) struct Http {
    client: reqwest::Client,
    url: Url,
    authorization: RwLock<Option<HeaderValue>>,
    limits: Limits,
    /// What the server can do, once it was asked.
    capabilities: OnceLock<Capabilities>,
    /// Whether it takes no push without being asked first.
    insists: OnceLock<()>,
}

/// What came of a POST.
enum Posted {
    Pushed(Pushed),
    /// The server may want to be asked first; this is what it means if it does not.
    Insisting(RemoteError),
}

impl Http {
    pub(super) fn new(
        url: Url,
        credentials: Option<&Credentials>,
        ca_file: Option<&Path>,
        limits: Limits,
    ) -> Result<Self, RemoteError> {
        // Fails only where one is there already, which is as good.
        drop(rustls::crypto::ring::default_provider().install_default());
        let mut builder = reqwest::Client::builder()
            .connect_timeout(limits.connect)
            .tcp_nodelay(true)
            .pool_idle_timeout(IDLE)
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            // As for the fetch: what proxy a machine's environment names does not matter here.
            .no_proxy()
            .user_agent(concat!("git/kmlflow-", env!("CARGO_PKG_VERSION")));
        if let Some(path) = ca_file {
            builder = builder.tls_certs_only(authorities(path)?);
        }
        let rule = "no connections to the remote can be made on this machine";
        let client = builder.build().map_err(|_| RemoteError::Settings { rule })?;
        let http = Self {
            client,
            url,
            authorization: RwLock::default(),
            limits,
            capabilities: OnceLock::new(),
            insists: OnceLock::new(),
        };
        http.set_credentials(credentials)?;
        Ok(http)
    }

    /// Goes on with other credentials.
    pub(super) fn set_credentials(&self, credentials: Option<&Credentials>) -> Result<(), RemoteError> {
        let header = credentials.map(Credentials::header).transpose()?;
        *self.authorization.write().unwrap_or_else(PoisonError::into_inner) = header;
        Ok(())
    }

    /// The header `Authorization` as it is now.
    pub(super) fn authorization(&self) -> Option<HeaderValue> {
        self.authorization.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Pushes, and asks first where the server insists or where it must be known whether it takes options.
    pub(super) async fn push(&self, request: &Request<'_>, address: &str) -> Pushed {
        let is_unknown = !request.options.is_empty() && self.capabilities.get().is_none();
        if is_unknown || self.insists.get().is_some() {
            return self.push_after_asking(request, address).await;
        }
        let assumed = Capabilities::assumed();
        match self.post(request, self.capabilities.get().unwrap_or(&assumed), address).await {
            Posted::Pushed(pushed) => pushed,
            Posted::Insisting(_) => {
                let pushed = self.push_after_asking(request, address).await;
                if matches!(pushed, Pushed::Done) {
                    let _known = self.insists.set(());
                }
                pushed
            }
        }
    }

    async fn push_after_asking(&self, request: &Request<'_>, address: &str) -> Pushed {
        let asked = tokio::time::timeout(self.limits.push, self.ask(request.reference, address)).await;
        let late = RemoteError::TimedOut { address: address.to_owned(), limit: self.limits.push };
        let advertisement = match asked.unwrap_or(Err(late)) {
            Ok(advertisement) => advertisement,
            Err(error) => return Pushed::before(error),
        };
        if advertisement.tip.as_ref() != request.old {
            return Pushed::Moved { words: pipe::elsewhere(&advertisement) };
        }
        let capabilities = self.capabilities.get_or_init(|| advertisement.capabilities);
        match self.post(request, capabilities, address).await {
            Posted::Pushed(pushed) => pushed,
            Posted::Insisting(error) => Pushed::before(error),
        }
    }

    /// What the server advertises.
    pub(super) async fn ask(&self, reference: &str, address: &str) -> Result<Advertisement, RemoteError> {
        let url = format!("{}/info/refs?service={SERVICE}", self.base());
        let request = self.authorized(self.client.get(url)).header("git-protocol", "version=0");
        let mut response = request.send().await.map_err(|error| no_answer(&error, address))?;
        self.check(&response, address)?;
        if response.status() != StatusCode::OK || !is_of(&response, ADVERTISEMENT) {
            return Err(problem(response, address).await);
        }
        let mut reader = AdvertisementReader::new(reference);
        let broken =
            |error: &reqwest::Error| RemoteError::Broken { address: address.to_owned(), words: words_of(error) };
        while let Some(chunk) = response.chunk().await.map_err(|error| broken(&error))? {
            if let Some(found) = reader.feed(&chunk).map_err(|garbage| garbage.into_error(address))? {
                return Ok(found);
            }
        }
        Err(super::Garbage::CutOff.into_error(address))
    }

    /// Why the server gives nothing for the moment, where it says so.
    pub(super) async fn refusal(&self, address: &str) -> Option<RemoteError> {
        let asked = self.authorized(self.client.get(format!("{}/info/refs?service=git-upload-pack", self.base())));
        let response = tokio::time::timeout(self.limits.connect, asked.send()).await.ok()?.ok()?;
        let error = match response.status() {
            status if status.is_success() || status.is_redirection() => return None,
            _ => problem(response, address).await,
        };
        (error.retry_after().is_some() || matches!(error, RemoteError::Busy { .. })).then_some(error)
    }

    async fn post(&self, request: &Request<'_>, capabilities: &Capabilities, address: &str) -> Posted {
        let limit = self.limits.push;
        match tokio::time::timeout(limit, self.exchange(request, capabilities, address)).await {
            Ok(posted) => posted,
            // A connection has a shorter limit of its own, so it was made, and something was sent.
            Err(_) => Posted::Pushed(Pushed::Unknown(RemoteError::TimedOut { address: address.to_owned(), limit })),
        }
    }

    async fn exchange(&self, request: &Request<'_>, capabilities: &Capabilities, address: &str) -> Posted {
        let sent = self.authorized(self.client.post(format!("{}/{SERVICE}", self.base())));
        let sent = sent.header(CONTENT_TYPE, "application/x-git-receive-pack-request").header(ACCEPT, RESULT);
        let response = match sent.body(request.encode(capabilities)).send().await {
            Ok(response) => response,
            // Nothing is sent without a connection.
            Err(error) if error.is_connect() => return Posted::Pushed(Pushed::before(no_answer(&error, address))),
            Err(error) => return Posted::Pushed(Pushed::Unknown(no_answer(&error, address))),
        };
        if let Err(error) = self.check(&response, address) {
            return Posted::Pushed(Pushed::Denied(error));
        }
        match response.status() {
            StatusCode::OK if is_of(&response, RESULT) => {
                Posted::Pushed(match self.report(response, request.reference, address).await {
                    Ok(report) => outcome::of(report, address),
                    Err(error) => Pushed::Unknown(error),
                })
            }
            StatusCode::PAYLOAD_TOO_LARGE => {
                let words = "413: the pack is larger than the server in front of the remote lets through".to_owned();
                Posted::Pushed(Pushed::Unpack { words })
            }
            status if INSISTING.contains(&status) => Posted::Insisting(problem(response, address).await),
            status => {
                let error = problem(response, address).await;
                // A gateway that fails may have passed the push on, and a server may fail after it moved the branch.
                let is_unknown = status.is_server_error() && status != StatusCode::SERVICE_UNAVAILABLE;
                Posted::Pushed(if is_unknown { Pushed::Unknown(error) } else { Pushed::before(error) })
            }
        }
    }

    /// A redirect is an error: whoever answers there is somebody else, and gets neither credentials nor a push.
    fn check(&self, response: &Response, address: &str) -> Result<(), RemoteError> {
        if !response.status().is_redirection() {
            return Ok(());
        }
        let location = response.headers().get(LOCATION).and_then(|location| location.to_str().ok());
        let to = location.and_then(|location| self.url.join(location).ok());
        Err(RemoteError::Redirected { address: address.to_owned(), to: to.map(without_service) })
    }

    async fn report(&self, mut response: Response, reference: &str, address: &str) -> Result<Report, RemoteError> {
        let mut reader = ReportReader::new(reference);
        let report = loop {
            let chunk = response.chunk().await.ok().flatten().ok_or_else(|| {
                let words = reader.words();
                let words = if words.is_empty() { words } else { format!(": {words}") };
                RemoteError::Broken { address: address.to_owned(), words }
            })?;
            if let Some(report) = reader.feed(&chunk).map_err(|garbage| garbage.into_error(address))? {
                break report;
            }
        };
        linger(response, self.limits.push).await;
        Ok(report)
    }

    fn authorized(&self, request: RequestBuilder) -> RequestBuilder {
        match self.authorization() {
            Some(value) => request.header(AUTHORIZATION, value),
            None => request,
        }
    }

    fn base(&self) -> &str {
        self.url.as_str().trim_end_matches('/')
    }
}

/// Reads an answer to its end, so that its connection serves the next push; what takes long is read in the background, because a server
/// that nobody listens to ends its hooks.
async fn linger(mut response: Response, limit: Duration) {
    let mut rest = tokio::spawn(async move {
        let read = async {
            let mut bytes = 0;
            while let Ok(Some(chunk)) = response.chunk().await {
                bytes += chunk.len();
                if bytes > REST_BYTES_MAX {
                    break;
                }
            }
        };
        let _in_time = tokio::time::timeout(limit, read).await;
    });
    let _ended = tokio::time::timeout(LINGER, &mut rest).await;
}

fn is_of(response: &Response, kind: &str) -> bool {
    let header = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    header.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(kind)
}

/// The address that a redirect leads to, without what belongs to the request or could be a secret.
fn without_service(mut url: Url) -> String {
    let _removed = url.set_username("").and_then(|()| url.set_password(None));
    url.set_query(None);
    url.set_fragment(None);
    let text = url.as_str();
    let text = [SERVICE, "info/refs"].iter().find_map(|end| text.strip_suffix(end)).unwrap_or(text);
    super::words::harmless(text.trim_end_matches('/'))
}

fn authorities(path: &Path) -> Result<Vec<Certificate>, RemoteError> {
    let unusable = || RemoteError::File { what: "CA", path: path.display().to_string() };
    let pem = std::fs::read(path).map_err(|_| unusable())?;
    let found = Certificate::from_pem_bundle(&pem).map_err(|_| unusable())?;
    // Git takes a file without any for a file with none that matter.
    if found.is_empty() { Err(unusable()) } else { Ok(found) }
}
