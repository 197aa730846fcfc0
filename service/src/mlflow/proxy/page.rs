//! The index page, and the one line that is put into it. Where it is not what is expected it passes as it is: MLflow goes on without a button.

use axum::body::{Body, Bytes};
use axum::http::response::Parts;
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use futures_util::{StreamExt as _, stream};
use http_body_util::BodyExt as _;

/// The line; its address is relative, so that it fits every mount.
const LINE: &[u8] = b"<script defer src=\"_kmlflow/button.js\"></script>";

/// Before this it is put in, however it is written.
const ANCHOR: &[u8] = b"</head>";

/// The longest page that is looked into; MLflow's has 701 bytes.
const PAGE_BYTES_MAX: usize = 1024 * 1024;

/// What became of an index page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageOutcome {
    /// The line was put in.
    WithButton,
    /// It came compressed although nobody asked for that.
    Compressed,
    /// It came as "not modified" although nobody asked for that.
    NotModified,
    /// It has no `</head>`.
    WithoutHead,
    /// It is longer than the longest page that is looked into.
    TooLarge,
    /// The connection broke while it was read.
    Broken,
    /// It is no page: a refusal, or something else than HTML.
    NoPage,
}

impl PageOutcome {
    /// The word under which it is counted.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::WithButton => "with-button",
            Self::Compressed => "compressed",
            Self::NotModified => "not-modified",
            Self::WithoutHead => "without-head",
            Self::TooLarge => "too-large",
            Self::Broken => "broken",
            Self::NoPage => "no-page",
        }
    }
}

/// Whether an answer is a page that the line can be put into, as far as its head tells.
pub(super) fn decide(status: StatusCode, headers: &HeaderMap) -> Result<(), PageOutcome> {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok()).unwrap_or_default();
    let kind = text(header::CONTENT_TYPE).split(';').next().unwrap_or_default().trim();
    let encoding = text(header::CONTENT_ENCODING);
    if status == StatusCode::NOT_MODIFIED {
        Err(PageOutcome::NotModified)
    } else if status != StatusCode::OK || !kind.eq_ignore_ascii_case("text/html") {
        Err(PageOutcome::NoPage)
    } else if !encoding.is_empty() && !encoding.eq_ignore_ascii_case("identity") {
        Err(PageOutcome::Compressed)
    } else {
        Ok(())
    }
}

/// The page with the line, or as it came.
pub(super) async fn rewritten(mut parts: Parts, mut body: Body) -> (Response<Body>, PageOutcome) {
    let mut read: Vec<u8> = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            // Told to the caller as it was to us: by an end before the promised length.
            let broken = std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
            let passed = stream::iter([Ok(Bytes::from(read)), Err(broken)]);
            return (Response::from_parts(parts, Body::from_stream(passed)), PageOutcome::Broken);
        };
        if let Ok(data) = frame.into_data() {
            read.extend_from_slice(&data);
        }
        if read.len() > PAGE_BYTES_MAX {
            let rest = body.into_data_stream().map(|piece| piece.map_err(std::io::Error::other));
            let passed = stream::iter([Ok(Bytes::from(read))]).chain(rest);
            return (Response::from_parts(parts, Body::from_stream(passed)), PageOutcome::TooLarge);
        }
    }
    let Some(page) = with_line(&read) else {
        return (Response::from_parts(parts, Body::from(read)), PageOutcome::WithoutHead);
    };
    // A browser that compares with what it kept would keep a page with an older line, or without one.
    for stale in [header::ETAG, header::LAST_MODIFIED, header::EXPIRES, header::ACCEPT_RANGES] {
        parts.headers.remove(stale);
    }
    parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(page.len()));
    parts.headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    (Response::from_parts(parts, Body::from(page)), PageOutcome::WithButton)
}

/// A page with the line before its first `</head>`; none where there is no such place.
pub(super) fn with_line(page: &[u8]) -> Option<Vec<u8>> {
    let at = page.windows(ANCHOR.len()).position(|window| window.eq_ignore_ascii_case(ANCHOR))?;
    let mut with = Vec::with_capacity(page.len() + LINE.len());
    with.extend_from_slice(&page[..at]);
    with.extend_from_slice(LINE);
    with.extend_from_slice(&page[at..]);
    Some(with)
}
