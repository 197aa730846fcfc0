//! One request and its answer: bounded, repeated only where that can help and cannot hurt, asked conditionally where the answer is known.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use reqwest::header::{ACCEPT, AUTHORIZATION, ETAG, HeaderMap, HeaderValue, IF_NONE_MATCH};
use reqwest::{Certificate, Client, Method, Response, StatusCode};
use serde_json::Value;

use super::{Address, ForgeError, Kind, Settings, Token, limits};
use crate::names::is_invisible;

/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a request may take from its first byte to the last of its answer: GitHub itself gives up after 10 s.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);

/// How long a connection is kept for the next request: nginx closes it after 75 s, and a request must not meet that.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// The largest answer that is read, in bytes: fifty pull requests with everything that a forge tells about each.
const ANSWER_BYTES_MAX: usize = 8 << 20;

/// How often something is asked again that failed on its way: a connection that was just closed needs one, a forge that is replaced two.
const REPEATS_MAX: u32 = 2;

/// How long the first repeat waits, the second twice that; up to as much again is added.
const PAUSE: Duration = Duration::from_millis(200);

/// The most answers that are remembered to be asked for conditionally: each open pull request has three, of some 20 kB.
const KNOWN_MAX: usize = 300;

/// How much of a forge's own words an error repeats, in characters.
const WORDS_CHARS_MAX: usize = 300;

/// The version of GitHub's API that all of this was written for.
const GITHUB_VERSION: &str = "2022-11-28";

/// What the calls of one forge share.
#[derive(Debug)]
pub(super) struct Api {
    client: Client,
    pub(super) kind: Kind,
    pub(super) place: Address,
    authorization: HeaderValue,
    /// Until when the forge wants to be left alone.
    quiet_until: Mutex<Option<Instant>>,
    /// Answers that may still hold, by what was asked.
    known: Mutex<HashMap<String, Known>>,
}

/// An answer that a forge gave with a mark to ask for it by.
#[derive(Debug, Clone)]
struct Known {
    etag: HeaderValue,
    body: Value,
}

/// What is asked, and how it is called in a sentence: "refused to `what`".
#[derive(Debug, Clone)]
pub(super) struct Call<'c> {
    pub(super) what: &'static str,
    pub(super) method: Method,
    /// Below the base of the API, with `/` before it.
    pub(super) path: String,
    pub(super) body: Option<&'c Value>,
    /// Whether a repetition has no further effect.
    pub(super) is_idempotent: bool,
}

impl<'c> Call<'c> {
    /// Reads something.
    pub(super) fn get(what: &'static str, path: String) -> Self {
        Self { what, method: Method::GET, path, body: None, is_idempotent: true }
    }

    /// Writes something, to the same effect however often.
    pub(super) fn write(what: &'static str, method: Method, path: String, body: &'c Value) -> Self {
        Self { what, method, path, body: Some(body), is_idempotent: true }
    }

    /// Makes something, once.
    pub(super) fn make(what: &'static str, path: String, body: &'c Value) -> Self {
        Self { what, method: Method::POST, path, body: Some(body), is_idempotent: false }
    }
}

/// An answer that was read.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Api {
    pub(super) fn new(settings: Settings) -> Result<Self, ForgeError> {
        // Fails only where one is there already, which is as good.
        drop(rustls::crypto::ring::default_provider().install_default());
        let Settings { kind, address: place, token, ca_file } = settings;
        let mut builder = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(REQUEST_TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            // As for pushes: what proxy a machine's environment names does not matter here.
            .no_proxy()
            .user_agent(concat!("kmlflow/", env!("CARGO_PKG_VERSION")));
        if let Some(path) = &ca_file {
            builder = builder.tls_certs_only(authorities(path)?);
        }
        let rule = "no connections to it can be made on this machine";
        let client = builder.build().map_err(|_| ForgeError::Settings { rule })?;
        let authorization = authorization(kind, &token)?;
        Ok(Self { client, kind, place, authorization, quiet_until: Mutex::default(), known: Mutex::default() })
    }

    pub(super) fn address(&self) -> &str {
        &self.place.api
    }

    /// The path of something of the repository.
    pub(super) fn of_repository(&self, below: &str) -> String {
        format!("/repos/{}{below}", self.place.repository)
    }

    /// Asks; nothing where the forge says that there is no such thing.
    pub(super) async fn find(&self, call: &Call<'_>) -> Result<Option<Value>, ForgeError> {
        match self.ask(call).await {
            Err(ForgeError::NotFound { .. }) => Ok(None),
            answer => answer.map(Some),
        }
    }

    /// Asks, again where that helps, and gives what a good answer says; nothing at all is `null`.
    pub(super) async fn ask(&self, call: &Call<'_>) -> Result<Value, ForgeError> {
        let mut repeats = 0;
        loop {
            let error = match self.attempt(call).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let may_repeat = match &error {
                // Nothing was sent.
                ForgeError::Unreachable { .. } => true,
                ForgeError::Broken { .. } => call.is_idempotent,
                ForgeError::Failing { status, .. } => call.is_idempotent && matches!(status, 502..=504),
                _ => false,
            };
            if !may_repeat || repeats == REPEATS_MAX {
                return Err(error);
            }
            tokio::time::sleep(pause(repeats)).await;
            repeats += 1;
        }
    }

    async fn attempt(&self, call: &Call<'_>) -> Result<Value, ForgeError> {
        if let Some(wait) = self.quiet() {
            return Err(ForgeError::Limited { address: self.address().to_owned(), wait });
        }
        let is_read = call.method == Method::GET;
        let known = if is_read { self.known().get(&call.path).cloned() } else { None };
        let answer = self.exchange(call, known.as_ref()).await?;
        if let Some(wait) = limits::wait(answer.status, &answer.headers) {
            *self.quiet_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + wait);
            tracing::info!("The forge at `{}` is left alone for {} s", self.address(), wait.as_secs());
            if !answer.status.is_success() && answer.status != StatusCode::NOT_MODIFIED {
                return Err(ForgeError::Limited { address: self.address().to_owned(), wait });
            }
        }
        match (answer.status, known) {
            (StatusCode::NOT_MODIFIED, Some(known)) => Ok(known.body),
            (status, _) if status.is_success() => self.read(call, answer, is_read),
            _ => Err(self.problem(call, &answer)),
        }
    }

    async fn exchange(&self, call: &Call<'_>, known: Option<&Known>) -> Result<Answer, ForgeError> {
        let mut request = self.client.request(call.method.clone(), format!("{}{}", self.place.api, call.path));
        request = request.header(AUTHORIZATION, self.authorization.clone());
        request = match self.kind {
            Kind::Gitea => request.header(ACCEPT, "application/json"),
            Kind::Github => {
                request.header(ACCEPT, "application/vnd.github+json").header("x-github-api-version", GITHUB_VERSION)
            }
        };
        if let Some(known) = known {
            request = request.header(IF_NONE_MATCH, known.etag.clone());
        }
        if let Some(body) = call.body {
            request = request.json(body);
        }
        let mut response = request.send().await.map_err(|error| self.no_answer(&error))?;
        let body = self.body(&mut response).await?;
        Ok(Answer { status: response.status(), headers: std::mem::take(response.headers_mut()), body })
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

    fn read(&self, call: &Call<'_>, answer: Answer, is_read: bool) -> Result<Value, ForgeError> {
        if answer.body.is_empty() {
            return Ok(Value::Null);
        }
        let body: Value = serde_json::from_slice(&answer.body).map_err(|_| self.stranger())?;
        if let Some(etag) = answer.headers.get(ETAG).filter(|_| is_read) {
            let mut known = self.known();
            // Which are still asked for is not known; they come back by themselves.
            if known.len() >= KNOWN_MAX {
                known.clear();
            }
            known.insert(call.path.clone(), Known { etag: etag.clone(), body: body.clone() });
        }
        Ok(body)
    }

    fn problem(&self, call: &Call<'_>, answer: &Answer) -> ForgeError {
        let (address, what) = (self.address().to_owned(), call.what);
        let words = words(&answer.body);
        match answer.status.as_u16() {
            401 => ForgeError::Unauthorized { address },
            403 => ForgeError::Forbidden { address, what, words },
            404 | 410 => ForgeError::NotFound { address, what },
            300..=399 => self.stranger(),
            status @ 500.. => ForgeError::Failing { address, status },
            status => ForgeError::Refused { address, what, status, words },
        }
    }

    /// What answers is another program, or speaks as no forge does.
    pub(super) fn stranger(&self) -> ForgeError {
        ForgeError::Stranger { address: self.address().to_owned() }
    }

    fn no_answer(&self, error: &reqwest::Error) -> ForgeError {
        let address = self.address().to_owned();
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

    fn known(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who asks, as each forge wants it.
fn authorization(kind: Kind, token: &Token) -> Result<HeaderValue, ForgeError> {
    let word = match kind {
        Kind::Gitea => "token",
        Kind::Github => "Bearer",
    };
    let rule = "its token cannot be sent";
    let is_sendable = !token.0.is_empty() && !token.0.contains(char::is_whitespace);
    let value = HeaderValue::from_str(&format!("{word} {}", token.0));
    let mut value = value.ok().filter(|_| is_sendable).ok_or(ForgeError::Settings { rule })?;
    value.set_sensitive(true);
    Ok(value)
}

fn authorities(path: &Path) -> Result<Vec<Certificate>, ForgeError> {
    let unusable = || ForgeError::Settings { rule: "the file of authorities in `git.ca_file` cannot be read" };
    let pem = std::fs::read(path).map_err(|_| unusable())?;
    let found = Certificate::from_pem_bundle(&pem).map_err(|_| unusable())?;
    if found.is_empty() { Err(unusable()) } else { Ok(found) }
}

/// How long to wait before a repeat.
fn pause(repeats: u32) -> Duration {
    let pause = PAUSE * 2_u32.pow(repeats);
    // Without randomness all come back at once, which is what there is.
    let share = getrandom::u32().unwrap_or_default();
    pause + pause.mul_f64(f64::from(share) / f64::from(u32::MAX))
}

/// What a forge says about a problem, on one line, every character visible, not too long.
fn words(body: &[u8]) -> String {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |field: &str| body.get(field).and_then(Value::as_str).map(str::trim).filter(|text| !text.is_empty());
    let details = body.get("errors").and_then(Value::as_array).into_iter().flatten();
    let details = details.filter_map(|detail| detail.as_str().or_else(|| detail.get("message")?.as_str()));
    let said: Vec<&str> = text("message").into_iter().chain(details).collect();
    let said = if said.is_empty() { "it says no more".to_owned() } else { said.join("; ") };
    said.chars().map(|c| if is_invisible(c) { ' ' } else { c }).take(WORDS_CHARS_MAX).collect()
}
