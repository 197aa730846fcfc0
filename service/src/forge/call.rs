//! One request and its answer: bounded, repeated only where that can help and cannot hurt, asked conditionally where the answer is known.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use indexmap::IndexMap;
use reqwest::header::{AUTHORIZATION, ETAG, HeaderValue, IF_NONE_MATCH};
use reqwest::{Method, StatusCode};
use serde_json::Value;

use super::installation::Installation;
use super::line::{Answer, Line};
use super::{Access, Address, ForgeError, Kind, Settings, Token, TokenAccess, counted};
use crate::chance::share_of;
use crate::names::readable;

/// How often something is asked again that failed on its way: a connection that was just closed needs one, a forge that is replaced two.
const REPEATS_MAX: u32 = 2;

/// How long the first repeat waits, the second twice that; up to as much again is added.
const PAUSE: Duration = Duration::from_millis(200);

/// The most answers that are remembered to be asked for conditionally: each open pull request has two, of some 20 kB, beside the pages of their list.
const KNOWN_MAX: usize = 300;

/// The most that they take together, in bytes: so many answers of that size.
const KNOWN_BYTES_MAX: usize = 8 << 20;

/// How much of a forge's own words an error repeats, in characters.
const WORDS_CHARS_MAX: usize = 300;

/// What the calls of one forge share.
#[derive(Debug)]
pub(super) struct Api {
    line: Line,
    pub(super) kind: Kind,
    pub(super) place: Address,
    who: Who,
    /// Why whoever asks was let in to nothing the last time.
    refusal: Mutex<Option<ForgeError>>,
    /// Answers that may still hold, by what was asked.
    known: Mutex<IndexMap<String, Known>>,
}

/// Who asks.
#[derive(Debug)]
enum Who {
    /// Somebody with a token that lasts, and the one that was good last.
    Token(TokenAccess, Mutex<Token>),
    /// A GitHub App, whose tokens end.
    App(Box<Installation>),
}

/// An answer that a forge gave with a mark to ask for it by.
#[derive(Debug, Clone)]
struct Known {
    etag: HeaderValue,
    /// As it came: taken apart it is some times larger.
    body: Bytes,
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

impl Who {
    /// What a person does where the forge does not know who asks.
    fn cure(&self) -> &str {
        match self {
            Self::Token(access, _) => &access.cure,
            Self::App(_) => {
                "its token was just made, so look at the forge whether the App is still installed for the repository"
            }
        }
    }
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

impl Api {
    pub(super) fn new(settings: Settings) -> Result<Self, ForgeError> {
        let Settings { kind, address: place, access, ca_file } = settings;
        let line = Line::new(&place.api, ca_file.as_deref())?;
        let who = match access {
            Access::Token(access) => {
                authorization(kind, &access.token)?;
                let token = Mutex::new(access.token.clone());
                Who::Token(access, token)
            }
            Access::App(app) => Who::App(Box::new(Installation::new(line.for_another(), &place, &app)?)),
        };
        Ok(Self { line, kind, place, who, refusal: Mutex::default(), known: Mutex::default() })
    }

    pub(super) fn address(&self) -> &str {
        self.line.address()
    }

    /// The path of something of the repository.
    pub(super) fn of_repository(&self, below: &str) -> String {
        format!("/repos/{}{below}", self.place.repository)
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

    /// The token of the App that asks, another one than this where that was refused; nothing where it is no App.
    pub(super) async fn token(&self, refused: Option<&Token>) -> Option<Result<Token, ForgeError>> {
        match &self.who {
            Who::Token(..) => None,
            Who::App(installation) => Some(installation.token(refused).await),
        }
    }

    /// Why the forge takes nothing from whoever asks, with the cure; nothing since it took something.
    pub(super) fn refusal(&self) -> Option<String> {
        self.refusal.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(ForgeError::with_cure)
    }

    /// Asks once, and notes whether whoever asks is let in.
    async fn attempt(&self, call: &Call<'_>) -> Result<Value, ForgeError> {
        let answer = self.ask_as_any(call).await;
        let refusal = match &answer {
            Ok(_) => None,
            Err(error @ (ForgeError::Unauthorized { .. } | ForgeError::App { .. })) => Some(error.clone()),
            // Of who asks it says nothing, or not of all that is asked.
            Err(_) => return answer,
        };
        *self.refusal.lock().unwrap_or_else(PoisonError::into_inner) = refusal;
        answer
    }

    /// Asks once; with another token as well, where there is one instead of one that is refused.
    async fn ask_as_any(&self, call: &Call<'_>) -> Result<Value, ForgeError> {
        let token = match &self.who {
            Who::Token(_, token) => token.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            Who::App(installation) => installation.token(None).await?,
        };
        let answer = self.ask_as(call, authorization(self.kind, &token)?).await;
        let token = match (&answer, &self.who) {
            (Err(ForgeError::Unauthorized { .. } | ForgeError::Forbidden { .. }), Who::Token(access, current)) => {
                let another = access.renewal.as_ref().and_then(|renewal| renewal.another(&token));
                // One that cannot be sent helps no more than what was refused.
                let Some(another) = another.filter(|token| authorization(self.kind, token).is_ok()) else {
                    return answer;
                };
                current.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&another);
                another
            }
            (Err(ForgeError::Unauthorized { .. }), Who::App(installation)) => installation.token(Some(&token)).await?,
            _ => return answer,
        };
        self.ask_as(call, authorization(self.kind, &token)?).await
    }

    async fn ask_as(&self, call: &Call<'_>, authorization: HeaderValue) -> Result<Value, ForgeError> {
        let is_read = call.method == Method::GET;
        let known = if is_read { self.known().get(&call.path).cloned() } else { None };
        let mut request = self.line.request(call.method.clone(), &call.path).header(AUTHORIZATION, authorization);
        request = self.kind.headers().iter().fold(request, |request, (name, value)| request.header(*name, *value));
        if let Some(known) = &known {
            request = request.header(IF_NONE_MATCH, known.etag.clone());
        }
        if let Some(body) = call.body {
            request = request.json(body);
        }
        counted::note();
        let answer = self.line.exchange(request).await?;
        match (answer.status, known) {
            (StatusCode::NOT_MODIFIED, Some(known)) => self.read(call, known),
            (status, _) if status.is_success() => match answer.headers.get(ETAG).filter(|_| is_read) {
                Some(etag) => self.read(call, Known { etag: etag.clone(), body: answer.body.into() }),
                None => self.parsed(&answer.body),
            },
            _ => Err(self.problem(call, &answer)),
        }
    }

    /// Reads an answer that may be asked for again, and remembers it as the newest; what was not asked for longest is forgotten for it.
    fn read(&self, call: &Call<'_>, answer: Known) -> Result<Value, ForgeError> {
        let parsed = self.parsed(&answer.body)?;
        let mut known = self.known();
        known.shift_remove(&call.path);
        known.insert(call.path.clone(), answer);
        let mut bytes: usize = known.values().map(|known| known.body.len()).sum();
        while known.len() > KNOWN_MAX || bytes > KNOWN_BYTES_MAX {
            let Some((_, oldest)) = known.shift_remove_index(0) else { break };
            bytes -= oldest.body.len();
        }
        Ok(parsed)
    }

    /// What an answer says; nothing at all is `null`.
    fn parsed(&self, body: &[u8]) -> Result<Value, ForgeError> {
        if body.is_empty() { Ok(Value::Null) } else { serde_json::from_slice(body).map_err(|_| self.stranger()) }
    }

    fn problem(&self, call: &Call<'_>, answer: &Answer) -> ForgeError {
        let (address, what) = (self.address().to_owned(), call.what);
        let words = words(&answer.body);
        match answer.status.as_u16() {
            401 => ForgeError::Unauthorized { address, cure: self.who.cure().to_owned() },
            403 => ForgeError::Forbidden { address, what, words },
            404 | 410 => ForgeError::NotFound { address, what },
            300..=399 => self.stranger(),
            status @ 500.. => ForgeError::Failing { address, status },
            status => ForgeError::Refused { address, what, status, words },
        }
    }

    /// What answers is another program, or speaks as no forge does.
    pub(super) fn stranger(&self) -> ForgeError {
        self.line.stranger()
    }

    fn known(&self) -> MutexGuard<'_, IndexMap<String, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who asks, as each forge wants it.
fn authorization(kind: Kind, token: &Token) -> Result<HeaderValue, ForgeError> {
    let rule = "its token cannot be sent";
    let is_sendable = !token.0.is_empty() && !token.0.contains(char::is_whitespace);
    let value = HeaderValue::from_str(&format!("{} {}", kind.scheme(), token.0));
    let mut value = value.ok().filter(|_| is_sendable).ok_or(ForgeError::Settings { rule })?;
    value.set_sensitive(true);
    Ok(value)
}

/// How long to wait before a repeat.
fn pause(repeats: u32) -> Duration {
    let pause = PAUSE * 2_u32.pow(repeats);
    pause + share_of(pause)
}

/// What a forge says about a problem, on one line, every character visible, not too long.
pub(super) fn words(body: &[u8]) -> String {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |field: &str| body.get(field).and_then(Value::as_str).map(str::trim).filter(|text| !text.is_empty());
    let details = body.get("errors").and_then(Value::as_array).into_iter().flatten();
    let details = details.filter_map(|detail| detail.as_str().or_else(|| detail.get("message")?.as_str()));
    let said: Vec<&str> = text("message").into_iter().chain(details).collect();
    let said = if said.is_empty() { "it says no more".to_owned() } else { said.join("; ") };
    readable(&said, WORDS_CHARS_MAX)
}
