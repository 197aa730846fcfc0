//! One request and its answer: bounded, repeated only where that can help and cannot hurt, every failure an [`Error`].

use std::io::ErrorKind;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{Method, RequestBuilder, Response, Url};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::wire::Problem;
use super::{Client, Error};
use crate::chance::share_of;
use crate::names::readable;
use crate::retry_after::retry_after;

/// The largest answer of the registry: a page of 1,000 versions with a dozen tags of 5,000 characters each.
pub(super) const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The largest answer that is no success: MLflow's have a few hundred bytes, a proxy's page a few thousand.
const PROBLEM_BYTES_MAX: usize = 64 * 1024;

/// How often a request is made again: a connection that was just closed needs one, a server that is being replaced two.
const REPEATS_MAX: u32 = 2;

/// How long the first repeat waits, the second twice that; up to as much again is added, so that callers do not come back all at once.
const PAUSE: Duration = Duration::from_millis(100);

/// The longest wait that a server may ask for and get here; whoever called waits better for longer ones.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(5);

/// How much of a server's own words an error repeats, in characters: the longest that says what to set has 160.
const MESSAGE_CHARS_MAX: usize = 300;

/// What MLflow answers for what it does not have.
const ABSENT: &str = "RESOURCE_DOES_NOT_EXIST";

/// What a server answers to a name in `Host` that it does not go by, since MLflow 3.5.
const HOST_REFUSED: &[u8] = b"Invalid Host header";

/// A request to be.
#[derive(Debug, Clone)]
pub(super) struct Call {
    method: Method,
    path: &'static str,
    query: Vec<(&'static str, String)>,
    body: Option<Value>,
    authorization: Option<HeaderValue>,
    bytes_max: usize,
    is_idempotent: bool,
    below: Vec<String>,
    within: Option<Duration>,
}

impl Call {
    /// A request for something, by its path below the address.
    pub(super) fn get(path: &'static str) -> Self {
        Self {
            method: Method::GET,
            path,
            query: Vec::new(),
            body: None,
            authorization: None,
            bytes_max: ANSWER_BYTES_MAX,
            is_idempotent: true,
            below: Vec::new(),
            within: None,
        }
    }

    /// A write whose repetition has the same effect.
    pub(super) fn write(method: Method, path: &'static str, body: Value) -> Self {
        Self { method, body: Some(body), ..Self::get(path) }
    }

    /// The same with a parameter.
    pub(super) fn query(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.query.push((name, value.into()));
        self
    }

    /// The same for what is below the path, by its names.
    pub(super) fn below(mut self, names: &[&str]) -> Self {
        self.below = names.iter().map(|name| (*name).to_owned()).collect();
        self
    }

    /// The same where a repetition would be a second effect.
    pub(super) fn once(mut self) -> Self {
        self.is_idempotent = false;
        self
    }

    /// The same with a time limit of its own.
    pub(super) fn within(mut self, limit: Duration) -> Self {
        self.within = Some(limit);
        self
    }

    /// The same as somebody else.
    pub(super) fn authorization(mut self, value: HeaderValue) -> Self {
        self.authorization = Some(value);
        self
    }

    /// The same with a bound of its own.
    pub(super) fn bytes_max(mut self, bytes_max: usize) -> Self {
        self.bytes_max = bytes_max;
        self
    }
}

impl Client {
    /// Makes a request and reads its answer as JSON.
    pub(super) async fn json<T: DeserializeOwned>(&self, call: Call) -> Result<T, Error> {
        let body = self.bytes(call).await?;
        serde_json::from_slice(&body).map_err(|_| self.stranger(200))
    }

    /// The same; none where MLflow says that there is no such thing.
    pub(super) async fn find<T: DeserializeOwned>(&self, call: Call) -> Result<Option<T>, Error> {
        present(self.json(call).await)
    }

    /// Makes a request, again where that helps, and gives the body of a good answer.
    pub(super) async fn bytes(&self, call: Call) -> Result<Vec<u8>, Error> {
        let mut repeats = 0;
        loop {
            let error = match self.attempt(&call).await {
                Ok(body) => return Ok(body),
                Err(error) => error,
            };
            if repeats == REPEATS_MAX || !is_worth_repeating(&error, call.is_idempotent) {
                return Err(error);
            }
            tokio::time::sleep(error.retry_after().unwrap_or_else(|| pause(repeats))).await;
            repeats += 1;
        }
    }

    async fn attempt(&self, call: &Call) -> Result<Vec<u8>, Error> {
        // The semaphore is never closed.
        let _slot = self.slots.acquire().await.ok();
        let mut response = self.request(call).send().await.map_err(|error| self.no_answer(&error))?;
        let status = response.status().as_u16();
        if response.status().is_success() {
            return self.read(&mut response, call.bytes_max).await;
        }
        let retry_after = retry_after(response.headers());
        // What is wrong counts, not that the text about it breaks off.
        let body = self.read(&mut response, PROBLEM_BYTES_MAX).await.unwrap_or_default();
        Err(self.problem(status, retry_after, &body))
    }

    fn request(&self, call: &Call) -> RequestBuilder {
        let request = self.http.request(call.method.clone(), self.url(call));
        let request = match call.authorization.as_ref().or(self.authorization.as_ref()) {
            Some(authorization) => request.header(AUTHORIZATION, authorization.clone()),
            None => request,
        };
        let request = match call.within {
            Some(limit) => request.timeout(limit),
            None => request,
        };
        match &call.body {
            Some(body) => request.json(body),
            None => request,
        }
    }

    fn url(&self, call: &Call) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(call.path.split('/')).extend(&call.below);
        }
        if !call.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&call.query);
        }
        url
    }

    async fn read(&self, response: &mut Response, bytes_max: usize) -> Result<Vec<u8>, Error> {
        let too_large = || Error::TooLarge { address: self.address.clone(), bytes_max };
        if response.content_length().is_some_and(|length| length > bytes_max as u64) {
            return Err(too_large());
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.no_answer(&error))? {
            if body.len() + chunk.len() > bytes_max {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    fn no_answer(&self, error: &reqwest::Error) -> Error {
        let address = self.address.clone();
        if error.is_connect() {
            return Error::Unreachable { address, reason: reason(error) };
        }
        if error.is_timeout() {
            return Error::TimedOut { address, limit: self.request_timeout };
        }
        Error::Broken { address }
    }

    fn problem(&self, status: u16, retry_after: Option<Duration>, body: &[u8]) -> Error {
        let address = self.address.clone();
        match status {
            401 => return Error::Unauthorized { address },
            403 if body.starts_with(HOST_REFUSED) => return Error::HostRefused { address },
            403 => return Error::Forbidden { address },
            429 => return Error::Busy { address, retry_after },
            500.. => return Error::Server { address, status, retry_after },
            _ => {}
        }
        match serde_json::from_slice(body) {
            Ok(Problem { error_code, message }) => {
                let said = |text: &str| readable(text, MESSAGE_CHARS_MAX);
                Error::Refused { code: said(&error_code), message: said(&message) }
            }
            Err(_) => self.stranger(status),
        }
    }

    /// What answers is another program, or speaks as no MLflow does.
    pub(super) fn stranger(&self, status: u16) -> Error {
        Error::NotMlflow { address: self.address.clone(), status }
    }
}

/// None where MLflow says that there is no such thing.
pub(super) fn present<T>(answer: Result<T, Error>) -> Result<Option<T>, Error> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(Error::Refused { code, .. }) if code == ABSENT => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether the same request again may fare better at once, and does no harm.
fn is_worth_repeating(error: &Error, is_idempotent: bool) -> bool {
    let is_soon = error.retry_after().is_none_or(|wait| wait <= RETRY_AFTER_MAX);
    match error {
        // Nothing was sent, or nothing was done.
        Error::Unreachable { .. } => true,
        Error::Busy { .. } => is_soon,
        Error::Broken { .. } => is_idempotent,
        Error::Server { status, .. } => is_idempotent && is_soon && matches!(status, 502..=504),
        // Whoever waited this long decides.
        _ => false,
    }
}

/// How long to wait before a repeat.
fn pause(repeats: u32) -> Duration {
    let pause = PAUSE * 2_u32.pow(repeats);
    pause + share_of(pause)
}

/// Why there is no connection, in a few words and without the address.
fn reason(error: &reqwest::Error) -> String {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<rustls::Error>() {
            return format!("its certificate or TLS is not right ({error})");
        }
        let io = error.downcast_ref::<std::io::Error>();
        match io.map(std::io::Error::kind) {
            Some(kind @ (ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset)) => return kind.to_string(),
            Some(kind @ (ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable)) => return kind.to_string(),
            _ => {}
        }
        // What an I/O error was made from is not its source.
        let inside = io.and_then(std::io::Error::get_ref).map(|inside| inside as &(dyn std::error::Error + 'static));
        cause = inside.or_else(|| error.source());
    }
    let is_slow = error.is_timeout();
    if is_slow { "it does not answer in time" } else { "its name is not known, or it is not reached" }.to_owned()
}
