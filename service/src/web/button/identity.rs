//! Who presses the button: somebody with a session or a token of this service, or with an account of MLflow.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

use axum::http::header;
use axum::http::request::Parts;
use axum::http::uri::{Authority, Uri};
use futures_util::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};

use super::super::auth::{self, Caller};
use super::super::client;
use super::super::error::{Answer, Problem};
use super::Button;
use crate::access::{Scope, Token, TokenHash, TokenRole};
use crate::bounds::RETRY_AFTER_SECONDS;
use crate::names::{ModelName, Version, is_plain_line, shown};

/// How long an answer of MLflow about an account holds: a page that is worked with asks once, and what is taken from somebody is soon gone.
const KNOWN_FOR: SignedDuration = SignedDuration::from_secs(30);

/// The most answers kept of each sort; with one more, those that are over go, or else all.
const KNOWN_MAX: usize = 256;

/// The longest name of an account that a commit repeats as it is, as of any requester.
const NAME_CHARS_MAX: usize = 100;

/// An account of MLflow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelUser {
    pub name: String,
    pub is_admin: bool,
}

/// What an account may do with a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ModelPermission {
    None,
    Read,
    Edit,
    Manage,
}

/// Why MLflow does not say who somebody is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccountsError {
    #[error("MLflow does not know these credentials")]
    Unknown,
    #[error("MLflow does not say who somebody is: {0}")]
    Unavailable(String),
}

/// The accounts of the tracking server, asked with the caller's own credentials.
pub trait ModelAccounts: Send + Sync + 'static {
    /// Who an `Authorization` belongs to; none where the server has no accounts.
    fn who<'a>(&'a self, authorization: &'a str) -> BoxFuture<'a, Result<Option<ModelUser>, AccountsError>>;

    /// What a user may do with a model.
    fn permission<'a>(
        &'a self,
        authorization: &'a str,
        user: &'a str,
        model: &'a ModelName,
    ) -> BoxFuture<'a, Result<ModelPermission, AccountsError>>;

    /// Whether the registry has a version; without an `Authorization` the service asks for itself.
    fn has_version<'a>(
        &'a self,
        authorization: Option<&'a str>,
        model: &'a ModelName,
        version: &'a Version,
    ) -> BoxFuture<'a, Result<bool, AccountsError>>;
}

/// What MLflow said a moment ago, by the hash of the credentials.
#[derive(Debug, Default)]
pub(super) struct Known {
    users: Kept<TokenHash, Option<ModelUser>>,
    permissions: Kept<(TokenHash, ModelName), ModelPermission>,
    /// Those that are there; one that is not may be made at any moment.
    versions: Kept<(ModelName, Version), ()>,
}

/// Somebody who proved who they are.
#[derive(Debug, Clone)]
pub(super) enum Identity {
    /// By a session or a token of this service: what it allows does not depend on the model's accounts at MLflow.
    OfService(Caller),
    /// By an account of MLflow.
    OfMlflow { user: ModelUser, authorization: String },
}

/// What somebody is with respect to one model.
pub(super) struct Rights {
    pub caller: Caller,
    /// Whether a release may break the callers of the live version.
    pub may_break_callers: bool,
}

/// Finds out who asks.
pub(super) async fn identify(button: &Button, parts: &Parts) -> Answer<Identity> {
    let web = &button.web;
    if web.sessions().of(&parts.headers, web.clock().now()).is_some() {
        return auth::by_session(web, parts).await.map(Identity::OfService);
    }
    let given = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    match given {
        Some(authorization) if is_basic(authorization) => match button.who(authorization).await? {
            Some(user) => Ok(Identity::OfMlflow { user, authorization: authorization.to_owned() }),
            // A server without accounts lets everybody in, so what it was shown proves nothing.
            None => return Err(button.nobody(parts)),
        },
        Some(_) => {
            let address = client::address(&parts.extensions, &parts.headers, &web.settings().trusted_proxies);
            Ok(Identity::OfService(Caller(auth::authenticate(web, &parts.headers, address).await?)))
        }
        None => return Err(button.nobody(parts)),
    }
    .map_err(|problem| button.counted(parts, problem))
}

impl Identity {
    /// The credentials that the tracking server knows.
    pub(super) fn authorization(&self) -> Option<&str> {
        match self {
            Self::OfMlflow { authorization, .. } => Some(authorization),
            Self::OfService(_) => None,
        }
    }

    /// What somebody may do with a model.
    pub(super) async fn rights(self, button: &Button, model: &ModelName) -> Answer<Rights> {
        let now = button.web.clock().now();
        let (user, authorization) = match self {
            Self::OfService(caller) => return Ok(Rights { caller, may_break_callers: true }),
            Self::OfMlflow { user, authorization } => (user, authorization),
        };
        let name = if is_plain_line(&user.name, NAME_CHARS_MAX) { user.name.clone() } else { shown(&user.name) };
        if user.is_admin {
            let caller = Caller(token("mlflow", name, TokenRole::Admin, now));
            return Ok(Rights { caller, may_break_callers: true });
        }
        let permission = button.permission(&authorization, &user.name, model).await?;
        let role = match permission {
            ModelPermission::None => {
                let problem = Problem::forbidden(format!("your account at MLflow may not read the model `{model}`"));
                return Err(problem.to(&name).cure("ask whoever manages the model in MLflow for a permission"));
            }
            ModelPermission::Read => TokenRole::Viewer,
            ModelPermission::Edit | ModelPermission::Manage => TokenRole::Releaser,
        };
        let token = Token { scopes: vec![Scope::of_model(model)], ..token("mlflow", name, role, now) };
        Ok(Rights { caller: Caller(token), may_break_callers: permission == ModelPermission::Manage })
    }
}

impl Rights {
    /// Refuses who may only look.
    pub(super) fn check_releaser(&self) -> Answer<()> {
        if self.caller.0.role >= TokenRole::Releaser {
            return Ok(());
        }
        let problem = Problem::forbidden("you may look at this model's releases, and not change them");
        Err(problem
            .to(self.caller.name())
            .cure("ask for EDIT on the model in MLflow, or for a token with the role releaser"))
    }
}

impl Button {
    async fn who(&self, authorization: &str) -> Answer<Option<ModelUser>> {
        let (hash, now) = (TokenHash::of(authorization), self.web.clock().now());
        if let Some(user) = self.known.users.get(&hash, now) {
            return Ok(user);
        }
        let user = self.accounts.who(authorization).await.map_err(problem)?;
        self.known.users.keep(hash, user.clone(), now);
        Ok(user)
    }

    async fn permission(&self, authorization: &str, user: &str, model: &ModelName) -> Answer<ModelPermission> {
        let (key, now) = ((TokenHash::of(authorization), model.clone()), self.web.clock().now());
        if let Some(permission) = self.known.permissions.get(&key, now) {
            return Ok(permission);
        }
        let permission = self.accounts.permission(authorization, user, model).await.map_err(problem)?;
        self.known.permissions.keep(key, permission, now);
        Ok(permission)
    }

    /// Refuses a version that the registry does not have. While it says neither, what is released can be seen and changed all the same.
    pub(super) async fn check_version(
        &self,
        authorization: Option<&str>,
        model: &ModelName,
        version: &Version,
    ) -> Answer<()> {
        let (key, now) = ((model.clone(), version.clone()), self.web.clock().now());
        if self.known.versions.get(&key, now).is_some() {
            return Ok(());
        }
        match self.accounts.has_version(authorization, model, version).await {
            Ok(true) => self.known.versions.keep(key, (), now),
            Ok(false) => {
                let problem = Problem::not_found(format!("MLflow has no version {version} of the model `{model}`"));
                return Err(problem.cure("reload MLflow's page, and open a version that is there"));
            }
            Err(error) => tracing::debug!("whether there is a version {version} of `{model}` is not known: {error}"),
        }
        Ok(())
    }

    /// What somebody is told who has not proved who they are, wherever they call from: a proxy before the service calls over loopback too.
    fn nobody(&self, parts: &Parts) -> Problem {
        let page = &self.web.settings().public_url;
        let host = parts.headers.get(header::HOST).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let by_link = "open the sign-in link that `kmlflow serve` printed (each start prints a new one)";
        let cure = if is_at_host(page, host) {
            format!("{by_link}, or sign in at MLflow where it has accounts, then try again")
        } else {
            // A browser sends the cookie of a session to the host that gave it and to no other; MLflow's own one never gives any.
            format!(
                "sign in at MLflow where it has accounts, or {by_link} and then MLflow's pages at `{page}/mlflow/`: that session counts \
                 at no other host"
            )
        };
        Problem::unauthenticated("you are not signed in").cure(cure)
    }

    /// Counts a failed sign-in of an address; with too many, that is the answer.
    fn counted(&self, parts: &Parts, problem: Problem) -> Problem {
        if problem.status() != axum::http::StatusCode::UNAUTHORIZED
            || !parts.headers.contains_key(header::AUTHORIZATION)
        {
            return problem;
        }
        let address = client::address(&parts.extensions, &parts.headers, &self.web.settings().trusted_proxies);
        match self.web.0.failed_sign_ins.count(address, self.web.clock().now()) {
            Ok(()) => problem,
            Err(seconds) => Problem::too_many("too many failed sign-ins from this address", seconds),
        }
    }
}

fn problem(error: AccountsError) -> Problem {
    match error {
        AccountsError::Unknown => Problem::unauthenticated("MLflow does not know these credentials")
            .cure("sign in to MLflow anew: close the browser's windows of it, or change the name in the address bar"),
        AccountsError::Unavailable(_) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "{error}");
            Problem::unavailable("MLflow does not say who you are", RETRY_AFTER_SECONDS.into())
        }
    }
}

/// Whether an address has the name of a `Host`; the port is none of a cookie's business.
fn is_at_host(url: &str, host: &str) -> bool {
    let name = url.parse::<Uri>().ok().and_then(|url| url.host().map(str::to_lowercase));
    name.is_some() && name == host.parse::<Authority>().ok().map(|host| host.host().to_lowercase())
}

fn is_basic(authorization: &str) -> bool {
    authorization.split(' ').next().is_some_and(|scheme| scheme.eq_ignore_ascii_case("basic"))
}

/// What stands for somebody who has no token.
fn token(id: &str, name: String, role: TokenRole, now: Timestamp) -> Token {
    let id = format!("{id}:{name}");
    Token { id, name: Some(name), role, scopes: Vec::new(), created_at: now, expires_at: None, revoked_at: None }
}

/// Answers that hold for a while.
#[derive(Debug)]
struct Kept<K, V>(Mutex<HashMap<K, (V, Timestamp)>>);

impl<K, V> Default for Kept<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash, V: Clone> Kept<K, V> {
    fn get(&self, key: &K, now: Timestamp) -> Option<V> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get(key).filter(|(_, at)| now.duration_since(*at).abs() < KNOWN_FOR).map(|(value, _)| value.clone())
    }

    fn keep(&self, key: K, value: V, now: Timestamp) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KNOWN_MAX {
            kept.retain(|_, (_, at)| now.duration_since(*at).abs() < KNOWN_FOR);
        }
        if kept.len() >= KNOWN_MAX {
            kept.clear();
        }
        kept.insert(key, (value, now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_counts_at_the_host_that_gave_it_whatever_the_port() {
        for (url, host, counts) in [
            ("http://localhost:8080", "localhost:8080", true),
            ("http://localhost:8080", "LOCALHOST:9", true),
            ("https://k.example", "k.example", true),
            ("http://[::1]:8080", "[::1]:8080", true),
            ("http://localhost:8080", "127.0.0.1:8080", false),
            ("https://k.example", "mlflow.k.example", false),
            ("https://k.example", "", false),
            ("", "", false),
        ] {
            assert_eq!(is_at_host(url, host), counts, "{url} {host}");
        }
    }

    #[test]
    fn an_answer_holds_for_its_time_and_ever_new_ones_fill_no_memory() {
        let kept = Kept::default();
        let at = |second| Timestamp::from_second(second).unwrap();
        kept.keep(0, 'a', at(0));
        assert_eq!((kept.get(&0, at(29)), kept.get(&0, at(30)), kept.get(&1, at(0))), (Some('a'), None, None));
        for n in 0..3 * KNOWN_MAX {
            kept.keep(n, 'b', at(40));
        }
        assert!(kept.0.lock().unwrap().len() <= KNOWN_MAX);
    }
}
