//! Signing in to the page and out of it.

use axum::extract::State;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use serde::Deserialize;

use super::super::auth::check_same_origin;
use super::super::body::Json;
use super::super::error::{Answer, Problem};
use super::super::sessions::SignedIn;
use super::super::{Web, client};
use crate::access::{ClearToken, TokenHash};

/// What signs in: the code that the start printed, or a token.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum SignIn {
    Code(String),
    Token(String),
}

/// Begins a session.
pub(super) async fn begin(
    State(web): State<Web>,
    parts: Parts,
    Json(sign_in): Json<SignIn>,
) -> Answer<(StatusCode, [(HeaderName, String); 1])> {
    // A program sends neither header; a browser always says for whose page it asks.
    if ["sec-fetch-site", "origin"].iter().any(|name| parts.headers.contains_key(*name)) {
        check_same_origin(&parts.headers)?;
    }
    let now = web.clock().now();
    let Some(signed_in) = sign_in.check(&web).await? else {
        let address = client::address(&parts.extensions, &parts.headers, &web.settings().trusted_proxies);
        let waited = web.0.failed_sign_ins.count(address, now);
        waited.map_err(|seconds| Problem::too_many("too many failed sign-ins from this address", seconds))?;
        return Err(Problem::unauthenticated("this is not what signs in")
            .cure("use the link that the start printed, or a token"));
    };
    let is_https = web.settings().public_url.starts_with("https://");
    let cookie = web.sessions().begin(signed_in, now, is_https).ok_or_else(Problem::internal)?;
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]))
}

/// Ends the session.
pub(super) async fn end(State(web): State<Web>, headers: HeaderMap) -> Answer<(StatusCode, [(HeaderName, String); 1])> {
    check_same_origin(&headers)?;
    let cookie = web.sessions().end(&headers);
    web.0.shut_out.send_replace(());
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]))
}

impl SignIn {
    async fn check(self, web: &Web) -> Answer<Option<SignedIn>> {
        match self {
            // Hashes are compared, so the time it takes says nothing about the code.
            Self::Code(code) => Ok((TokenHash::of(&code) == web.settings().sign_in_code).then_some(SignedIn::ByCode)),
            Self::Token(clear) => {
                let known = web.accounts().authenticate(&clear).await?;
                Ok(known.map(|_| SignedIn::ByToken(ClearToken::presented(&clear))))
            }
        }
    }
}
