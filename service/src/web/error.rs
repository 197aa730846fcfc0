//! Problems as callers read them: RFC 9457 `application/problem+json`, made in one place from faults and refusals.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::names::InvalidName;
use crate::release::{Refusal, RefusalKind, Violation};
use crate::worker::Fault;

/// What went wrong and what helps: one plain sentence, never a cause chain, a path of the host or a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Problem {
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
    #[serde(skip_serializing_if = "Option::is_none")]
    cure: Option<String>,
    /// The offending fields.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    violations: Vec<Violation>,
    #[serde(skip)]
    retry_after_seconds: Option<u64>,
}

/// The result of a handler.
pub(crate) type Answer<T> = Result<T, Problem>;

/// What every problem's `type` begins with.
const KIND_BASE: &str = "https://kmlflow.dev/problems/";

impl Problem {
    /// A problem of a sort, with its sentence.
    pub(crate) fn new(status: StatusCode, word: &str, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("{KIND_BASE}{word}"),
            title: status.canonical_reason().unwrap_or("Problem"),
            status: status.as_u16(),
            detail: detail.into(),
            cure: None,
            violations: Vec::new(),
            retry_after_seconds: None,
        }
    }

    /// Something in the request that cannot be read (400).
    pub(crate) fn malformed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed", detail)
    }

    /// The caller did not prove who they are (401).
    pub(crate) fn unauthenticated(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthenticated", detail)
            .cure("send `Authorization: Bearer TOKEN`; `kmlflow token create` makes one")
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
        let detail = detail.into();
        let mut problem = Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", detail.clone());
        problem.violations = vec![Violation { field: field.to_owned(), detail }];
        problem
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
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// The same problem with what helps.
    pub(crate) fn cure(mut self, cure: impl Into<String>) -> Self {
        self.cure = Some(cure.into());
        self
    }

    /// The same problem with the offending fields.
    pub(crate) fn with_violations(mut self, violations: Vec<Violation>) -> Self {
        self.violations = violations;
        self
    }

    fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after_seconds = Some(seconds);
        self
    }
}

impl From<Fault> for Problem {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Refused(refusal) => refusal.into(),
            Fault::Unavailable { sentence, retry_after_seconds } => Self::unavailable(sentence, retry_after_seconds.into()),
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
        let mut problem = Self::new(status, word, refusal.reason).with_violations(refusal.violations);
        problem.cure = refusal.cure;
        problem
    }
}

impl From<InvalidName> for Problem {
    fn from(invalid: InvalidName) -> Self {
        Self::invalid(invalid.what, invalid.to_string())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.status();
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (status, [(header::CONTENT_TYPE, "application/problem+json")], body).into_response();
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after_seconds {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
