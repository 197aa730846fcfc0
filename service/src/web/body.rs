//! Bodies and other parts of a request, read within their bounds, with errors that name the offending field.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use http_body_util::BodyExt as _;
use serde::de::{Deserialize as _, DeserializeOwned, Deserializer};

use super::error::{Answer, Problem};
use super::unique::Unique;
use super::words::{Said, said};
use crate::bounds::{BODY_BYTES_MAX, PAGE_MAX};

/// How long a body may take to arrive: 1 MiB at 100 KiB/s, which any link in use has.
pub(crate) const BODY_SECONDS_MAX: u64 = 10;

/// How much of a body that is too long is still taken in, in bytes: a client that is cut off while it sends never reads the answer.
const DISCARDED_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Reads a body within its bounds of size and time.
pub(crate) async fn read(body: Body) -> Answer<Bytes> {
    match tokio::time::timeout(Duration::from_secs(BODY_SECONDS_MAX), collect(body)).await {
        Ok(read) => read,
        Err(_) => Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "timeout", "the body did not arrive within 10 s")),
    }
}

async fn collect(mut body: Body) -> Answer<Bytes> {
    let mut read = Vec::new();
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Problem::malformed("the body ended too early"))?;
        let Ok(data) = frame.into_data() else { continue };
        length += data.len();
        if length <= BODY_BYTES_MAX {
            read.extend_from_slice(&data);
        }
        if length > DISCARDED_BYTES_MAX {
            break;
        }
    }
    if length <= BODY_BYTES_MAX { Ok(read.into()) } else { Err(too_large()) }
}

fn too_large() -> Problem {
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "the body is longer than 1 MiB")
}

/// Refuses a body that does not say it is JSON, or that is packed.
pub(crate) fn check_content_type(headers: &HeaderMap) -> Answer<()> {
    let refused = |detail| Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", detail);
    if headers.get(header::CONTENT_ENCODING).is_some_and(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(
            refused("the body must not be packed").cure("leave `Content-Encoding` out and send the JSON itself")
        );
    }
    let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = given.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json")) {
        return Ok(());
    }
    Err(refused("the body must be JSON").cure("send `Content-Type: application/json`"))
}

/// A JSON body.
#[derive(Debug)]
pub(crate) struct Json<T>(pub T);

/// A JSON body that may be left out: then it is `{}`.
#[derive(Debug)]
pub(crate) struct MaybeJson<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _state: &S) -> Answer<Self> {
        check_content_type(request.headers())?;
        parse(&read(request.into_body()).await?).map(Self)
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for MaybeJson<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _state: &S) -> Answer<Self> {
        let (parts, body) = request.into_parts();
        let body = read(body).await?;
        if body.is_empty() {
            return parse(b"{}").map(Self);
        }
        check_content_type(&parts.headers)?;
        parse(&body).map(Self)
    }
}

/// Parses JSON; an error names the field. What is no JSON, has a field too many or too few, or another type where one is due is 400; a
/// value that would not work is 422.
pub(crate) fn parse<T: DeserializeOwned>(body: &[u8]) -> Answer<T> {
    let Ok(text) = std::str::from_utf8(body) else {
        return Err(Problem::malformed("the body is not UTF-8"));
    };
    let _unique: Unique = parse_text(text)?;
    parse_text(text)
}

fn parse_text<T: DeserializeOwned>(text: &str) -> Answer<T> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let field = named(error.path());
        of_json(error.into_inner(), &field)
    })?;
    deserializer.end().map_err(|error| of_json(error, ""))?;
    Ok(value)
}

/// Reads a JSON value as what it should be, with errors like [`parse`]'s.
pub(crate) fn parse_value<T: DeserializeOwned>(value: serde_json::Value) -> Answer<T> {
    serde_path_to_error::deserialize(value).map_err(|error: serde_path_to_error::Error<serde_json::Error>| {
        let field = named(error.path());
        of_json(error.into_inner(), &field)
    })
}

/// The field at a path, as far as it is known; empty where it is the whole.
fn named(path: &serde_path_to_error::Path) -> String {
    let known = path.iter().take_while(|segment| !matches!(segment, serde_path_to_error::Segment::Unknown));
    let mut field = String::new();
    for segment in known {
        if !field.is_empty() && !matches!(segment, serde_path_to_error::Segment::Seq { .. }) {
            field.push('.');
        }
        field.push_str(&segment.to_string());
    }
    field
}

fn of_json(error: serde_json::Error, field: &str) -> Problem {
    let sentence = without_position(&error);
    if !error.is_data() {
        return Problem::malformed(format!(
            "the body is not JSON: {sentence} at line {} column {}",
            error.line(),
            error.column()
        ));
    }
    let shape = ["unknown field", "missing field", "duplicate field", "invalid type", "data did not match"];
    // A fraction where a whole number is due is a number that would not work, as one out of bounds is.
    let is_number = sentence.starts_with("invalid type: floating point");
    let is_shape = !is_number && shape.iter().any(|start| sentence.starts_with(start));
    let Said { field, sentence: detail, cure } = said(field, &sentence);
    let problem = if is_shape {
        Problem::malformed(detail)
    } else {
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", detail)
    };
    let problem = if field.is_empty() { problem } else { problem.about(&field) };
    match cure {
        Some(cure) => problem.cure(cure),
        None => problem,
    }
}

/// The error's text without `at line … column …`, shortened and without control characters: it repeats what the caller sent.
fn without_position(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let text = text.split(" at line ").next().unwrap_or_default();
    // The parser quotes as programs do; sentences of the service quote with a backtick, which needs no escaping.
    let text = text.replace("\\\"", "\"").replace('"', "`");
    text.chars().filter(|c| !c.is_control()).take(400).collect()
}

/// The parts of the path, parsed.
#[derive(Debug)]
pub(crate) struct InPath<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for InPath<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Answer<Self> {
        match Path::<T>::from_request_parts(parts, state).await {
            Ok(Path(value)) => Ok(Self(value)),
            Err(rejection) => Err(Problem::invalid("path", plain(&rejection.body_text()))),
        }
    }
}

/// The query, parsed; an unknown key is refused where the type says so.
#[derive(Debug)]
pub(crate) struct InQuery<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for InQuery<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Answer<Self> {
        match Query::<T>::from_request_parts(parts, state).await {
            Ok(Query(value)) => Ok(Self(value)),
            Err(rejection) => Err(of_query(&plain(&rejection.body_text()))),
        }
    }
}

/// Reads a query's flag: there without a value, or `true`, is yes.
pub(crate) fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    match String::deserialize(deserializer)?.as_str() {
        "" | "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(serde::de::Error::custom("must be `true` or `false`")),
    }
}

/// The problem of a parameter; the text begins with its name where that is known.
fn of_query(text: &str) -> Problem {
    let is_name = |name: &str| name.bytes().all(|b| b.is_ascii_alphanumeric());
    let (name, text) = text.split_once(": ").filter(|(name, _)| is_name(name)).unwrap_or(("", text));
    // `unknown field` is about the query, whatever stands before it.
    let Said { field: _, sentence, cure } = said(if text.starts_with("unknown field") { "" } else { name }, text);
    let problem = Problem::malformed(sentence.replace("there is no field", "there is no parameter"));
    match cure {
        Some(cure) => problem.cure(cure),
        None => problem,
    }
}

/// The most entries of a page, 100 unless told; a number beyond the bounds is refused rather than changed.
pub(crate) fn check_limit(limit: Option<u32>) -> Answer<()> {
    match limit {
        Some(limit) if !(1..=PAGE_MAX).contains(&limit) => {
            Err(Problem::malformed(format!("`limit` must be from 1 to {PAGE_MAX}, not {limit}")))
        }
        _ => Ok(()),
    }
}

/// The refusal of a cursor that no page gave.
pub(crate) fn damaged_cursor() -> Problem {
    Problem::malformed("`cursor` is not one that a page has given").cure("give back `next` of the page before, whole")
}

/// The end of a rejection's text, which is what it is about; what stands before is for programmers.
fn plain(text: &str) -> String {
    let text = text.rsplit("deserialize query string: ").next().unwrap_or_default();
    let text = text.strip_prefix("Invalid URL: ").unwrap_or(text);
    text.chars().filter(|c| !c.is_control()).take(400).collect()
}
