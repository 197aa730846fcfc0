//! The way to a forge: connections, limits of time and size, and how long it wants to be left alone.

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use reqwest::header::HeaderMap;
use reqwest::{Certificate, Client, Method, RequestBuilder, Response, StatusCode};

use super::{ForgeError, limits};

/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a request may take from its first byte to the last of its answer: GitHub itself gives up after 10 s.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);

/// How long a connection is kept for the next request: nginx closes it after 75 s, and a request must not meet that.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// The largest answer that is read, in bytes: fifty pull requests with everything that a forge tells about each.
const ANSWER_BYTES_MAX: usize = 8 << 20;

/// The path of GitHub's other API.
pub(super) const GRAPHQL: &str = "/graphql";

/// The way to one forge for one who asks.
#[derive(Debug)]
pub(super) struct Line {
    client: Client,
    /// The base of the API, without a slash at the end.
    address: String,
    /// Until when the forge wants to be left alone.
    quiet_until: Mutex<Option<Instant>>,
}

/// An answer that was read.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Line {
    pub(super) fn new(address: &str, ca_file: Option<&Path>) -> Result<Self, ForgeError> {
        // Fails only where one is there already, which is as good.
        drop(rustls::crypto::ring::default_provider().install_default());
        let mut builder = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(REQUEST_TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            // As for pushes: what proxy a machine's environment names does not matter here.
            .no_proxy()
            .user_agent(concat!("kmlflow/", env!("CARGO_PKG_VERSION")));
        if let Some(path) = ca_file {
            builder = builder.tls_certs_only(authorities(path)?);
        }
        let rule = "no connections to it can be made on this machine";
        let client = builder.build().map_err(|_| ForgeError::Settings { rule })?;
        Ok(Self { client, address: address.to_owned(), quiet_until: Mutex::default() })
    }

    /// The same for somebody else, whose limit is another: an App is counted apart from its installations.
    pub(super) fn for_another(&self) -> Self {
        Self { client: self.client.clone(), address: self.address.clone(), quiet_until: Mutex::default() }
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// A request about something below the base of the API; `path` begins with `/`.
    pub(super) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        // A server of one's own has its other API beside the first: `/api/v3` and `/api/graphql`.
        let base = if path == GRAPHQL { self.address.trim_end_matches("/v3") } else { &self.address };
        self.client.request(method, format!("{base}{path}"))
    }

    /// Sends a request and reads its answer, whatever it says; unless the forge wants to be left alone, before or from now on.
    ///
    /// # Errors
    /// There is no answer, it is larger than any bound allows, or the forge wants to be left alone.
    pub(super) async fn exchange(&self, request: RequestBuilder) -> Result<Answer, ForgeError> {
        if let Some(wait) = self.quiet() {
            return Err(self.limited(wait));
        }
        let mut response = request.send().await.map_err(|error| self.no_answer(&error))?;
        let body = self.body(&mut response).await?;
        let answer = Answer { status: response.status(), headers: std::mem::take(response.headers_mut()), body };
        if let Some(wait) = limits::wait(answer.status, &answer.headers, &answer.body) {
            *self.quiet_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + wait);
            tracing::info!("The forge at `{}` is left alone for {} s", self.address, wait.as_secs());
            if !answer.status.is_success() && answer.status != StatusCode::NOT_MODIFIED {
                return Err(self.limited(wait));
            }
        }
        Ok(answer)
    }

    async fn body(&self, response: &mut Response) -> Result<Vec<u8>, ForgeError> {
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.no_answer(&error))? {
            if body.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(self.stranger());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    /// What answers is another program, or speaks as no forge does.
    pub(super) fn stranger(&self) -> ForgeError {
        ForgeError::Stranger { address: self.address.clone() }
    }

    fn limited(&self, wait: Duration) -> ForgeError {
        ForgeError::Limited { address: self.address.clone(), wait }
    }

    fn no_answer(&self, error: &reqwest::Error) -> ForgeError {
        let address = self.address.clone();
        match (error.is_connect(), error.is_timeout()) {
            (true, true) => ForgeError::Unreachable { address, words: "it does not answer in time" },
            (true, false) => {
                ForgeError::Unreachable { address, words: "there is no connection, or none that is believed" }
            }
            (false, _) => ForgeError::Broken { address },
        }
    }

    /// How long the forge still wants to be left alone.
    fn quiet(&self) -> Option<Duration> {
        let until = *self.quiet_until.lock().unwrap_or_else(PoisonError::into_inner);
        until?.checked_duration_since(Instant::now()).filter(|wait| !wait.is_zero())
    }
}

fn authorities(path: &Path) -> Result<Vec<Certificate>, ForgeError> {
    let unusable = || ForgeError::Settings { rule: "the file of authorities in `git.ca_file` cannot be read" };
    let pem = std::fs::read(path).map_err(|_| unusable())?;
    let found = Certificate::from_pem_bundle(&pem).map_err(|_| unusable())?;
    if found.is_empty() { Err(unusable()) } else { Ok(found) }
}
