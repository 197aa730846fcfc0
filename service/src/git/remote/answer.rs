//! What an answer over HTTP means that is none of Git's, or none at all.

use std::io::ErrorKind;

use reqwest::header::CONTENT_TYPE;
use reqwest::{Response, StatusCode};

use super::error::RemoteError;
use super::failure::by_status;
use super::words::{WORDS_BYTES_MAX, Words};
use crate::retry_after::retry_after;

/// The header in which GitHub says how many requests are left.
const REMAINING: &str = "x-ratelimit-remaining";

/// What an answer means that is no success.
pub(super) async fn problem(response: Response, address: &str) -> RemoteError {
    let status = response.status();
    let retry_after = retry_after(response.headers());
    let is_limited = retry_after.is_some() || response.headers().get(REMAINING).is_some_and(|left| left == "0");
    let address = address.to_owned();
    match status {
        StatusCode::FORBIDDEN if is_limited => RemoteError::Busy { address, status: status.as_u16(), retry_after },
        StatusCode::TOO_MANY_REQUESTS => RemoteError::Busy { address, status: status.as_u16(), retry_after },
        StatusCode::FORBIDDEN => RemoteError::Forbidden { address, words: words(response).await },
        status if status.is_server_error() => RemoteError::Failing { address, status: status.as_u16(), retry_after },
        StatusCode::OK => RemoteError::NotGit { address, words: String::new() },
        status => by_status(status.as_u16(), address),
    }
}

/// Why there was no answer.
pub(super) fn no_answer(error: &reqwest::Error, address: &str) -> RemoteError {
    let address = address.to_owned();
    if let Some(words) = tls_words(error) {
        return RemoteError::Certificate { address, words };
    }
    let words = words_of(error);
    if error.is_connect() {
        RemoteError::Unreachable { address, words }
    } else {
        RemoteError::Broken { address, words }
    }
}

/// Said of a certificate that a server shows as its own.
pub(super) const AUTHORITY_AS_SERVER: &str = "it is that of an authority, and no server's";

/// What the system says about a connection, in a few words.
pub(super) fn words_of(error: &reqwest::Error) -> String {
    let kind = causes(error, |cause| {
        let kind = cause.downcast_ref::<std::io::Error>()?.kind();
        (kind != ErrorKind::Other).then(|| kind.to_string())
    });
    match kind {
        Some(kind) => format!(": {kind}"),
        None if error.is_timeout() => ": it does not answer in time".to_owned(),
        None if error.is_connect() => ": its name is not known".to_owned(),
        None => String::new(),
    }
}

fn tls_words(error: &reqwest::Error) -> Option<String> {
    causes(error, |cause| match cause.downcast_ref::<rustls::Error>()? {
        // A server's own certificate may be named as the authority, but not where it says that it is that of one. rustls gives it no name.
        rustls::Error::InvalidCertificate(why) if format!("{why:?}").contains("CaUsedAsEndEntity") => {
            Some(format!(": {AUTHORITY_AS_SERVER}"))
        }
        rustls::Error::InvalidCertificate(why) => Some(format!(": {why}")),
        _ => None,
    })
}

/// The first cause of which something can be said.
fn causes<T>(
    error: &reqwest::Error,
    mut tell: impl FnMut(&(dyn std::error::Error + 'static)) -> Option<T>,
) -> Option<T> {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if let Some(told) = tell(error) {
            return Some(told);
        }
        // What an I/O error was made from is not its source.
        let io = error.downcast_ref::<std::io::Error>();
        let inside = io.and_then(std::io::Error::get_ref).map(|inside| inside as &(dyn std::error::Error + 'static));
        cause = inside.or_else(|| error.source());
    }
    None
}

/// A plain text that a server sends with a refusal; a page for a browser says nothing to anybody here.
async fn words(mut response: Response) -> String {
    let kind = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !kind.starts_with("text/plain") {
        return String::new();
    }
    let mut words = Words::default();
    let mut bytes = 0;
    while let Ok(Some(chunk)) = response.chunk().await {
        words.take(&chunk);
        bytes += chunk.len();
        if bytes > WORDS_BYTES_MAX {
            break;
        }
    }
    let shown = words.shown();
    if shown.is_empty() { shown } else { format!(": {shown}") }
}
