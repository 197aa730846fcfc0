//! Who calls: a bearer token, or the session of the page. A handler receives a caller who has the role that it names.

use std::net::IpAddr;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, header};

use super::error::{Answer, Problem};
use super::sessions::SignedIn;
use super::{Web, client, role_for};
use crate::access::{Token, TokenRole};
use crate::names::{ModelName, ReleaseKey};

/// Somebody who proved who they are.
#[derive(Debug, Clone)]
pub(crate) struct Caller(pub Token);

/// A caller who may read.
#[derive(Debug, Clone)]
pub(crate) struct Viewer(pub Caller);

/// A caller who may ask for releases.
#[derive(Debug, Clone)]
pub(crate) struct Releaser(pub Caller);

/// A caller who may do everything, everywhere.
#[derive(Debug, Clone)]
pub(crate) struct Admin(pub Caller);

impl Caller {
    /// Whom a release's history names.
    pub(crate) fn name(&self) -> &str {
        self.0.name.as_deref().unwrap_or(&self.0.id)
    }

    /// Refuses what the token does not allow for a release and its model.
    pub(crate) fn check(&self, role: TokenRole, key: &ReleaseKey, model: Option<&ModelName>) -> Answer<()> {
        if self.0.allows(role, key, model) { Ok(()) } else { Err(self.refused(role, key, model)) }
    }

    /// The refusal of what the token does not allow.
    pub(crate) fn refused(&self, role: TokenRole, key: &ReleaseKey, model: Option<&ModelName>) -> Problem {
        let about = model.map_or_else(String::new, |model| format!(" and the model `{model}`"));
        let detail = format!("the token is not good for {} at `{key}`{about}", role_for(role));
        Problem::forbidden(detail).to(self.name()).cure(format!(
            "ask an administrator for a token: `kmlflow token create --role {role} --scope {}/{}/MODEL`",
            key.environment, key.namespace
        ))
    }

    /// Whether the token may read about a release; without a model only its place counts.
    pub(crate) fn sees(&self, key: &ReleaseKey, model: Option<&ModelName>) -> bool {
        self.0.allows(TokenRole::Viewer, key, model)
    }

    /// Whether the token may read about what happened to a release: by its model while it is there, and once it is gone only if the token
    /// is good for every model of its place.
    pub(crate) async fn sees_release(&self, web: &Web, key: &ReleaseKey) -> bool {
        if !self.is_scoped() {
            return true;
        }
        match web.handle().release(key).await {
            Ok(view) => self.sees(key, Some(&view.release.spec.model)),
            Err(_) => self.0.allows_any_model(TokenRole::Viewer, key),
        }
    }

    /// Whether the token lets a release be changed whatever model it is of.
    pub(crate) fn covers_any_model(&self, key: &ReleaseKey) -> bool {
        self.0.allows_any_model(TokenRole::Releaser, key)
    }

    /// Whether the token is restricted to some releases.
    pub(crate) fn is_scoped(&self) -> bool {
        !self.0.is_unscoped()
    }

    /// Refuses a token that is good for some releases only, where something is asked that concerns all of them.
    pub(crate) fn check_unscoped(&self) -> Answer<()> {
        if !self.is_scoped() {
            return Ok(());
        }
        let detail = "this concerns all releases, and the token is good for some only";
        Err(Problem::forbidden(detail).to(self.name()).cure("use a token without a scope"))
    }

    fn with_role(self, role: TokenRole) -> Answer<Self> {
        if self.0.role >= role {
            return Ok(self);
        }
        let detail = format!("the token has the role {}, and this is {}", self.0.role, role_for(role));
        let problem = Problem::forbidden(detail).to(self.name());
        Err(problem.cure(format!("ask an administrator: `kmlflow token create --role {role}`")))
    }
}

impl FromRequestParts<Web> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, web: &Web) -> Answer<Self> {
        if let Some(caller) = parts.extensions.get::<Self>() {
            return Ok(caller.clone());
        }
        let address = client::address(&parts.extensions, &parts.headers, &web.settings().trusted_proxies);
        let caller = if parts.headers.contains_key(header::AUTHORIZATION) {
            Self(authenticate(web, &parts.headers, address).await?)
        } else {
            by_session(web, parts).await?
        };
        parts.extensions.insert(caller.clone());
        Ok(caller)
    }
}

impl FromRequestParts<Web> for Viewer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, web: &Web) -> Answer<Self> {
        Caller::from_request_parts(parts, web).await?.with_role(TokenRole::Viewer).map(Self)
    }
}

impl FromRequestParts<Web> for Releaser {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, web: &Web) -> Answer<Self> {
        Caller::from_request_parts(parts, web).await?.with_role(TokenRole::Releaser).map(Self)
    }
}

impl FromRequestParts<Web> for Admin {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, web: &Web) -> Answer<Self> {
        let caller = Caller::from_request_parts(parts, web).await?.with_role(TokenRole::Admin)?;
        caller.check_unscoped()?;
        Ok(Self(caller))
    }
}

/// Finds the token that a request's `Authorization` header carries: as bearer, or as the password of basic authentication, which Git uses.
///
/// # Errors
/// There is none, it is not live, or this address failed too often.
pub async fn authenticate(web: &Web, headers: &HeaderMap, address: IpAddr) -> Result<Token, Problem> {
    let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if let Some(clear) = credential(value)
        && let Some(token) = web.accounts().authenticate(&clear).await?
    {
        return Ok(token);
    }
    match web.0.failed_sign_ins.count(address, web.clock().now()) {
        Ok(()) => Err(Problem::unauthenticated("the token is not known, or no longer good")),
        Err(seconds) => Err(Problem::too_many("too many failed sign-ins from this address", seconds)),
    }
}

/// Whether a request comes from this machine itself: over loopback, not through a proxy, and to a loopback name, so that no web page
/// elsewhere can make a browser on this machine ask for it.
pub fn is_loopback_caller(parts: &Parts) -> bool {
    let peer = parts.extensions.get::<client::Peer>().is_some_and(|peer| peer.0.ip().to_canonical().is_loopback());
    const OF_PROXIES: [&str; 6] =
        ["x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "forwarded", "x-real-ip", "via"];
    let proxied = OF_PROXIES.iter().any(|name| parts.headers.contains_key(*name));
    let host = parts.headers.get(header::HOST).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let name = host
        .rsplit_once(':')
        .filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()))
        .map_or(host, |(name, _)| name);
    let is_local_name =
        matches!(name, "localhost" | "[::1]") || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    peer && !proxied && is_local_name
}

/// Whether whoever made a request would still be let in: the token is live, or the session goes on. For what lasts longer than a request;
/// a store that does not answer lets nobody in.
pub(crate) async fn is_still_let_in(web: &Web, headers: &HeaderMap) -> bool {
    let clear = match headers.get(header::AUTHORIZATION).map(|value| value.to_str().unwrap_or_default()) {
        Some(value) => credential(value),
        None => match web.sessions().of(headers, web.clock().now()) {
            Some(SignedIn::ByCode) => return true,
            Some(SignedIn::ByToken(clear)) => Some(clear.reveal().to_owned()),
            None => None,
        },
    };
    let Some(clear) = clear else { return false };
    web.accounts().authenticate(&clear).await.is_ok_and(|token| token.is_some())
}

fn credential(value: &str) -> Option<String> {
    use base64::Engine as _;
    let (scheme, rest) = value.split_once(' ')?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.to_owned());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = base64::engine::general_purpose::STANDARD.decode(rest).ok()?;
    let (_, password) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
    Some(password.to_owned())
}

/// Finds the caller whose session a request carries.
pub(crate) async fn by_session(web: &Web, parts: &Parts) -> Answer<Caller> {
    let now = web.clock().now();
    let Some(signed_in) = web.sessions().of(&parts.headers, now) else {
        return Err(Problem::unauthenticated("this needs a token"));
    };
    // A cookie is sent along by the browser whoever made it ask: only our own pages may change something with it.
    if !matches!(parts.method, Method::GET | Method::HEAD) {
        check_same_origin(&parts.headers)?;
    }
    match signed_in {
        SignedIn::ByCode => Ok(Caller(administrator(now))),
        SignedIn::ByToken(clear) => {
            let token = web.accounts().authenticate(clear.reveal()).await?;
            token.map(Caller).ok_or_else(|| Problem::unauthenticated("the token of this session is no longer good"))
        }
    }
}

/// Refuses a request that a browser made for a page of somebody else.
pub(crate) fn check_same_origin(headers: &HeaderMap) -> Answer<()> {
    let text = |name: header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let site = text(header::HeaderName::from_static("sec-fetch-site"));
    let origin = text(header::ORIGIN).and_then(|origin| origin.split_once("://")).map(|(_, host)| host);
    let same_origin = match (site, origin) {
        (Some(site), _) => site == "same-origin",
        (None, origin) => origin.is_some() && origin == text(header::HOST),
    };
    if same_origin { Ok(()) } else { Err(Problem::forbidden("a session may be used by the service's own pages only")) }
}

/// Whoever signed in by the code of the start, which stands on the terminal of the person who started the service.
fn administrator(now: jiff::Timestamp) -> Token {
    Token {
        id: "page".to_owned(),
        name: Some("page".to_owned()),
        role: TokenRole::Admin,
        scopes: Vec::new(),
        created_at: now,
        expires_at: None,
        revoked_at: None,
    }
}
