//! The registry: what a tracking server knows of models and versions, re-read, and tags written back.
//!
//! A client of MLflow's REST API (<https://mlflow.org/docs/latest/api_reference/rest-api.html>, measured with 3.17.2). An event is a hint;
//! what stands here is the truth. Ends where a policy or a plan decides: nothing here wants anything of a release.

mod accounts;
mod artifact;
mod call;
mod connect;
mod error;
mod filter;
mod pages;
pub mod proxy;
mod read;
mod tags;
mod webhooks;
mod wire;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use reqwest::Url;
use reqwest::header::HeaderValue;
use tokio::sync::Semaphore;

pub use accounts::{Permission, User};
pub use connect::{Connected, GiveSecret, Obstacle, Outcome};
pub use error::Error;
pub use pages::{ModelRow, Page, VersionRow};

/// How long a connection may take: a server in the same cluster or data centre takes a thousandth.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a request may take from its first byte to the last of its answer: the slowest seen, a page of 10,000 versions, took 1 s.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// How many requests are on their way at once: one worker of MLflow answers a handful at a time, and people use the same server.
const REQUESTS_MAX: usize = 8;

/// How long a connection is kept for the next request: uvicorn closes it after 5 s, and a request must not meet that.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);

/// A client of one tracking server; its clones share connections and bounds.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base: Url,
    /// The base as errors show it.
    address: String,
    authorization: Option<HeaderValue>,
    slots: Arc<Semaphore>,
    request_timeout: Duration,
}

/// Which tracking server, and as whom.
#[derive(Clone, PartialEq, Eq)]
pub struct Settings {
    /// Its address, `http` or `https`, without a user.
    pub tracking_uri: String,
    pub username: Option<String>,
    pub password: Option<Password>,
}

/// A password, which neither a log nor an error ever shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// Wraps a password.
    pub fn new(text: String) -> Self {
        Self(text)
    }
}

impl Client {
    /// A client of a server; nothing is asked yet.
    ///
    /// # Errors
    /// The address is none, or has a user in it; a user or a password is without the other.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        Self::within(settings, REQUEST_TIMEOUT)
    }

    fn within(settings: Settings, request_timeout: Duration) -> Result<Self, Error> {
        // Fails only where one is there already, which is as good.
        drop(rustls::crypto::ring::default_provider().install_default());
        let Settings { tracking_uri, username, password } = settings;
        let base = parse_address(&tracking_uri)?;
        let authorization = match (username, password) {
            (Some(username), Some(password)) => Some(basic(&username, &password)?),
            (None, None) => None,
            _ => {
                return Err(Error::Settings { setting: "mlflow.username", rule: "and a password are needed together" });
            }
        };
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(request_timeout)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("kmlflow/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|_| Error::Settings {
                setting: "mlflow.tracking_uri",
                rule: "has no HTTP client to be reached with",
            })?;
        let address = base.as_str().trim_end_matches('/').to_owned();
        Ok(Self { http, base, address, authorization, slots: Arc::new(Semaphore::new(REQUESTS_MAX)), request_timeout })
    }

    /// The server's address, without a slash at the end.
    pub fn address(&self) -> &str {
        &self.address
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Client").field(&self.address).finish()
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tracking_uri, username, password } = self;
        // What stands before an `@` may be a password that was written into the address.
        let shown = tracking_uri.rsplit('@').next().unwrap_or_default();
        f.debug_struct("Settings")
            .field("tracking_uri", &shown)
            .field("username", username)
            .field("password", password)
            .finish()
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

fn parse_address(text: &str) -> Result<Url, Error> {
    let wrong = |rule| Error::Settings { setting: "mlflow.tracking_uri", rule };
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let mut url = url.ok_or_else(|| wrong("must be an address that begins with http:// or https://"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("must not have a user or a password in it"));
    }
    url.set_query(None);
    url.set_fragment(None);
    Ok(url)
}

fn basic(username: &str, password: &Password) -> Result<HeaderValue, Error> {
    let wrong = |rule| Error::Settings { setting: "mlflow.username", rule };
    if username.contains(':') {
        return Err(wrong("must not contain `:`"));
    }
    let text = format!("Basic {}", BASE64.encode(format!("{username}:{}", password.0)));
    let mut value = HeaderValue::from_str(&text).map_err(|_| wrong("cannot be sent"))?;
    value.set_sensitive(true);
    Ok(value)
}
