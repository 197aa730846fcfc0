//! Problems as callers read them: RFC 9457 `application/problem+json`, made in one place from faults and refusals.

use std::borrow::Cow;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;

use crate::release::{Refusal, RefusalKind, Violation};
use crate::worker::Fault;

/// What went wrong and what helps: one plain sentence, never a cause chain, a path of the host or a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Problem(Box<Details>);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
struct Details {
    /// Identifies the sort of problem; the last part of it is a word that programs can hold on to.
    #[serde(rename = "type")]
    kind: String,
    /// The sort of problem in words.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// One sentence about this case.
    detail: String,
    /// A command or change that helps.
    cure: String,
    /// The offending fields.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    violations: Vec<Violation>,
    /// Whether a token would help: then the answer says so in a header as well.
    #[serde(skip)]
    asks_for_token: bool,
    #[serde(skip)]
    retry_after_seconds: Option<u64>,
    /// The caller to whom it was refused, for the audit.
    #[serde(skip)]
    refused_to: Option<String>,
}

/// Put on an answer that refuses something to a caller who is known.
#[derive(Debug, Clone)]
pub(crate) struct RefusedTo {
    pub actor: String,
    pub reason: String,
}

/// The result of a handler.
pub(crate) type Answer<T> = Result<T, Problem>;

/// What every problem's `type` begins with.
const KIND_BASE: &str = "https://kmlflow.dev/problems/";

impl Problem {
    /// A problem of a sort, with its sentence.
    pub(crate) fn new(status: StatusCode, word: &str, detail: impl Into<String>) -> Self {
        Self(Box::new(Details {
            kind: format!("{KIND_BASE}{word}"),
            title: status.canonical_reason().unwrap_or("Problem"),
            status: status.as_u16(),
            detail: detail.into(),
            cure: usual_cure(status).to_owned(),
            violations: Vec::new(),
            asks_for_token: false,
            retry_after_seconds: None,
            refused_to: None,
        }))
    }

    /// Something in the request that cannot be read (400).
    pub(crate) fn malformed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed", detail)
    }

    /// The caller did not prove who they are (401).
    pub(crate) fn unauthenticated(detail: impl Into<String>) -> Self {
        let mut problem = Self::new(StatusCode::UNAUTHORIZED, "unauthenticated", detail);
        problem.0.asks_for_token = true;
        problem
    }

    /// The caller may not (403).
    pub(crate) fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", detail)
    }

    /// There is no such thing (404).
    pub(crate) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", detail)
    }

    /// A field that would not work (422).
    pub(crate) fn invalid(field: &str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", detail).about(field)
    }

    /// Too much at once (429).
    pub(crate) fn too_many(detail: impl Into<String>, retry_after_seconds: u64) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "too-many-requests", detail).retry_after(retry_after_seconds)
    }

    /// Not at the moment (503).
    pub(crate) fn unavailable(detail: impl Into<String>, retry_after_seconds: u64) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail).retry_after(retry_after_seconds)
    }

    /// A fault of the service; what exactly stands in its log (500).
    pub(crate) fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the service failed; its log says why")
    }

    /// Its HTTP status.
    pub(crate) fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// Whether it refuses a caller who is known.
    pub(crate) fn is_forbidden(&self) -> bool {
        self.status() == StatusCode::FORBIDDEN
    }

    /// The same problem with what helps.
    pub(crate) fn cure(mut self, cure: impl Into<String>) -> Self {
        self.0.cure = cure.into();
        self
    }

    /// The same problem with its one offending field; its detail there is the sentence without the field's name.
    pub(crate) fn about(self, field: &str) -> Self {
        let rest =
            self.0.detail.strip_prefix(&format!("`{field}`")).map(|rest| rest.trim_start_matches(':').trim_start());
        let detail = rest.unwrap_or(&self.0.detail).to_owned();
        self.with_violations(vec![Violation { field: field.to_owned(), detail }])
    }

    /// The same problem with the offending fields.
    pub(crate) fn with_violations(mut self, violations: Vec<Violation>) -> Self {
        self.0.violations = violations;
        self
    }

    /// The same problem with the caller to whom it was refused.
    pub(crate) fn to(mut self, caller: &str) -> Self {
        self.0.refused_to = Some(caller.to_owned());
        self
    }

    fn retry_after(mut self, seconds: u64) -> Self {
        self.0.retry_after_seconds = Some(seconds);
        self
    }
}

impl utoipa::PartialSchema for Problem {
    fn schema() -> RefOr<Schema> {
        Details::schema()
    }
}

impl ToSchema for Problem {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("Problem")
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        Details::schemas(schemas);
    }
}

impl From<Fault> for Problem {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Refused(refusal) => refusal.into(),
            Fault::Unavailable { sentence, retry_after_seconds } => {
                Self::unavailable(sentence, retry_after_seconds.into())
            }
            Fault::Unsure { sentence, cure, retry_after_seconds } => {
                Self::unavailable(sentence, retry_after_seconds.into()).cure(cure)
            }
            Fault::Internal => Self::internal(),
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let (status, word) = match refusal.kind {
            RefusalKind::Invalid => (StatusCode::UNPROCESSABLE_ENTITY, "invalid"),
            RefusalKind::Conflict => (StatusCode::CONFLICT, "conflict"),
            RefusalKind::Drifted => (StatusCode::CONFLICT, "drifted"),
            RefusalKind::TemplatesChanged => (StatusCode::CONFLICT, "templates-changed"),
            RefusalKind::RemoteRefused => (StatusCode::CONFLICT, "remote-refused"),
            RefusalKind::NotFound => (StatusCode::NOT_FOUND, "not-found"),
            RefusalKind::Precondition => (StatusCode::PRECONDITION_FAILED, "precondition"),
            RefusalKind::Forbidden => (StatusCode::FORBIDDEN, "forbidden"),
            RefusalKind::Frozen => (StatusCode::LOCKED, "frozen"),
        };
        let problem = Self::new(status, word, refusal.reason).with_violations(refusal.violations);
        match refusal.cure {
            Some(cure) => problem.cure(cure),
            None => problem,
        }
    }
}

/// What helps against a problem that says nothing better of its own.
fn usual_cure(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED => "send `Authorization: Bearer TOKEN`; `kmlflow token create` makes one",
        StatusCode::FORBIDDEN => "ask an administrator for a token that is good for it: `kmlflow token create`",
        StatusCode::NOT_FOUND => "`kmlflow list` shows what there is",
        StatusCode::METHOD_NOT_ALLOWED => "`/api/docs` lists the paths of `/api/v1` and their methods",
        StatusCode::REQUEST_TIMEOUT => "send it again at once and as a whole",
        StatusCode::CONFLICT => "read the release again with `kmlflow get` and decide anew",
        StatusCode::PRECONDITION_FAILED => "read it again and send its `ETag`",
        StatusCode::PAYLOAD_TOO_LARGE => "send at most 1 MiB",
        StatusCode::UNSUPPORTED_MEDIA_TYPE => "send `Content-Type: application/json`, and the body as it is",
        StatusCode::UNPROCESSABLE_ENTITY => "change what is named here; `/api/docs` describes every field",
        StatusCode::LOCKED => "wait until the freeze is over",
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            "try again after the seconds of `Retry-After`"
        }
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => "send fewer or shorter headers",
        status if status.is_server_error() => "look for the `X-Request-Id` of this answer in the log",
        _ => "`/api/docs` describes what the paths of `/api/v1` take",
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.status();
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (status, [(header::CONTENT_TYPE, "application/problem+json")], body).into_response();
        let headers = response.headers_mut();
        if let Some(seconds) = self.0.retry_after_seconds {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.0.asks_for_token {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(actor) = self.0.refused_to {
            response.extensions_mut().insert(RefusedTo { actor, reason: self.0.detail });
        }
        response
    }
}
