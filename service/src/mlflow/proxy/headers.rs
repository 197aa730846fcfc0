//! What headers become on their way to the tracking server and back.

use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Url;

use super::Place;

/// How the service's own secrets are told from those of the tracking server: they are never passed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnSecrets {
    /// The name of the session's cookie.
    pub cookie: &'static str,
    /// What every token begins with.
    pub token_prefix: &'static str,
}

/// Headers that are about one connection and end there (<https://www.rfc-editor.org/rfc/rfc9110#section-7.6.1>).
const OF_ONE_CONNECTION: [HeaderName; 9] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Headers by which a browser would get a page without the line, or a part of it.
const OF_A_KEPT_PAGE: [HeaderName; 5] =
    [header::IF_NONE_MATCH, header::IF_MODIFIED_SINCE, header::IF_RANGE, header::RANGE, header::ACCEPT_ENCODING];

/// Headers by which an answer would change what a browser does with the whole host, where the service's own pages are too.
const OF_A_WHOLE_HOST: [HeaderName; 2] =
    [HeaderName::from_static("clear-site-data"), HeaderName::from_static("service-worker-allowed")];

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// A request's headers for the tracking server, whose own host name is put in by the client.
pub(super) fn to_upstream(given: &HeaderMap, place: &Place, is_page: bool, own: &OwnSecrets) -> HeaderMap {
    let mut headers = given.clone();
    drop_of_one_connection(&mut headers);
    headers.remove(header::HOST);
    // This side has answered it itself.
    headers.remove(header::EXPECT);
    if place.is_own_origin {
        headers.remove(header::ORIGIN);
    }
    if is_page {
        for name in OF_A_KEPT_PAGE {
            headers.remove(name);
        }
    }
    if headers.get_all(header::AUTHORIZATION).iter().any(|value| has_own_token(value, own)) {
        headers.remove(header::AUTHORIZATION);
    }
    drop_own_cookie(&mut headers, own);
    if let Some(peer) = place.peer
        && let Ok(peer) = HeaderValue::try_from(peer.to_canonical().to_string())
    {
        headers.append(X_FORWARDED_FOR, peer);
    }
    headers
}

/// Makes an answer's headers fit the place where the caller sees the tracking server.
pub(super) fn from_upstream(headers: &mut HeaderMap, mount: &str, upstream: &Url, own: &OwnSecrets) {
    drop_of_one_connection(headers);
    for name in OF_A_WHOLE_HOST {
        headers.remove(name);
    }
    for name in [header::LOCATION, header::CONTENT_LOCATION] {
        let moved = headers.get(&name).and_then(|value| moved(value.to_str().ok()?, mount, upstream));
        if let Some(moved) = moved.and_then(|moved| HeaderValue::try_from(moved).ok()) {
            headers.insert(name, moved);
        }
    }
    let cookies: Vec<HeaderValue> = headers.get_all(header::SET_COOKIE).iter().cloned().collect();
    if !cookies.is_empty() {
        headers.remove(header::SET_COOKIE);
        for cookie in cookies.iter().filter_map(|cookie| kept_cookie(cookie, mount, upstream, own)) {
            headers.append(header::SET_COOKIE, cookie);
        }
    }
}

/// Keeps what somebody has logged from acting as a page of the service, whose sessions count on the same host name: a browser that opens it
/// runs nothing of it.
pub(super) fn confine(headers: &mut HeaderMap) {
    headers.append(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
}

fn drop_of_one_connection(headers: &mut HeaderMap) {
    let lines = headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let named: Vec<HeaderName> =
        lines.flat_map(|line| line.split(',')).filter_map(|name| name.trim().parse().ok()).collect();
    for name in named.iter().chain(&OF_ONE_CONNECTION) {
        headers.remove(name);
    }
}

/// Whether an `Authorization` has one of the service's tokens anywhere in it, also as the name or the password of HTTP's Basic scheme.
fn has_own_token(value: &HeaderValue, own: &OwnSecrets) -> bool {
    let text = String::from_utf8_lossy(value.as_bytes());
    let decoded = |word: &str| STANDARD.decode(word).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let is_inside = |word: &str| decoded(word).is_ok_and(|pair| pair.contains(own.token_prefix));
    text.contains(own.token_prefix) || text.split_ascii_whitespace().any(is_inside)
}

fn drop_own_cookie(headers: &mut HeaderMap, own: &OwnSecrets) {
    let is_own = |pair: &&str| pair.split('=').next().unwrap_or_default().trim() == own.cookie;
    let lines: Vec<HeaderValue> = headers.get_all(header::COOKIE).iter().cloned().collect();
    let has_own = |line: &HeaderValue| String::from_utf8_lossy(line.as_bytes()).split(';').any(|pair| is_own(&pair));
    if !lines.iter().any(has_own) {
        return;
    }
    headers.remove(header::COOKIE);
    for line in lines {
        let text = String::from_utf8_lossy(line.as_bytes());
        let others: Vec<&str> = text.split(';').filter(|pair| !is_own(pair)).map(str::trim).collect();
        if let Ok(kept) = HeaderValue::try_from(others.join("; "))
            && !kept.is_empty()
        {
            headers.append(header::COOKIE, kept);
        }
    }
}

/// Where a redirect leads for the caller; none where it may stay as it is, because it leads elsewhere or is relative.
fn moved(location: &str, mount: &str, upstream: &Url) -> Option<String> {
    let path = if location.starts_with('/') && !location.starts_with("//") {
        location.to_owned()
    } else {
        let url = Url::parse(location).ok().filter(|url| url.origin() == upstream.origin())?;
        url.as_str().strip_prefix(&url.origin().ascii_serialization())?.to_owned()
    };
    let base = upstream.path().trim_end_matches('/');
    let below = path.strip_prefix(base).filter(|rest| rest.is_empty() || rest.starts_with(['/', '?', '#']));
    Some(format!("{mount}{}", below?))
}

/// A cookie of the tracking server as the caller may keep it: for the mount alone and for this host, and never under the session's name.
fn kept_cookie(cookie: &HeaderValue, mount: &str, upstream: &Url, own: &OwnSecrets) -> Option<HeaderValue> {
    let text = cookie.to_str().ok()?;
    let mut parts = text.split(';').map(str::trim);
    let pair = parts.next()?;
    if pair.split('=').next().unwrap_or_default().trim() == own.cookie {
        return None;
    }
    let mut kept = vec![pair.to_owned()];
    for part in parts {
        match part.split_once('=') {
            Some((name, _)) if name.eq_ignore_ascii_case("domain") => {}
            Some((name, path)) if name.eq_ignore_ascii_case("path") => {
                let path = moved(path, mount, upstream).unwrap_or_else(|| format!("{mount}/"));
                kept.push(format!("Path={path}"));
            }
            _ => kept.push(part.to_owned()),
        }
    }
    HeaderValue::try_from(kept.join("; ")).ok()
}
