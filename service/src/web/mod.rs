//! Around the flow: doors for events, the API, the page, health. Thin: a handler receives what is already proven, asks the worker, answers.
//!
//! Sees of the rest only the worker's handle, how events are proven and read, and the words of the domain.

mod access_log;
mod accounts;
mod auth;
mod body;
mod button;
mod changes;
mod client;
mod deliveries;
mod doctor;
mod error;
mod events;
mod health;
mod hold;
mod idempotency;
mod import;
mod limits;
mod openapi;
mod pages;
mod policies;
mod query;
mod releases;
mod sessions;
mod sweep;
#[cfg(test)]
mod tests;
mod unique;
mod webhooks;
mod words;

use std::any::Any;
use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use ipnet::IpNet;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa_axum::router::OpenApiRouter;

use crate::access::{TokenHash, TokenRole};
use crate::clock::Clock;
use crate::webhook::live::LiveSecrets;
use crate::webhook::signature::Secret;
use crate::worker::{Accounts, Handle};

pub use auth::{authenticate, is_loopback_caller};
pub use button::{AccountsError, ButtonSettings, ModelAccounts, ModelPermission, ModelUser, button_router};
pub use client::Peer;
pub use error::Problem;
pub use openapi::document;
pub use sessions::COOKIE as SESSION_COOKIE;

/// What the doors and pages need of the configuration.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Every live secret of MLflow's door.
    pub mlflow_secrets: LiveSecrets,
    /// Every live secret of the generic door.
    pub generic_secrets: Vec<Secret>,
    /// Every live secret of the door for GitHub, Gitea and Forgejo.
    pub github_secrets: Vec<Secret>,
    /// Every live token of Argo CD's door.
    pub argocd_tokens: Vec<Secret>,
    /// Who may deliver; empty: anyone who can sign.
    pub allow_from: Vec<IpNet>,
    /// Whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// The address that others reach the service by, without a slash at the end.
    pub public_url: String,
    /// The hash of the code that signs in to the page, made anew by each start.
    pub sign_in_code: TokenHash,
    /// Whether health and metrics are served here; otherwise [`internal_router`] serves them on an address of their own.
    pub with_health: bool,
}

/// What every handler shares.
#[derive(Clone)]
pub struct Web(Arc<Shared>);

struct Shared {
    handle: Handle,
    accounts: Accounts,
    clock: Clock,
    settings: Settings,
    sessions: sessions::Sessions,
    failed_sign_ins: limits::RateLimit,
    doctor_visits: limits::RateLimit,
    streams: limits::Streams,
    /// Changes whenever somebody who was let in may no longer be.
    shut_out: watch::Sender<()>,
    stop: CancellationToken,
}

impl Web {
    /// Puts together what the handlers share; `stop` ends what would go on without end.
    pub fn new(handle: Handle, clock: Clock, settings: Settings, stop: CancellationToken) -> Self {
        let accounts = handle.accounts();
        Self(Arc::new(Shared {
            handle,
            accounts,
            clock,
            settings,
            sessions: sessions::Sessions::default(),
            failed_sign_ins: limits::RateLimit::per_minute(limits::FAILED_SIGN_INS_PER_MINUTE),
            doctor_visits: limits::RateLimit::per_minute(limits::DOCTOR_VISITS_PER_MINUTE),
            streams: limits::Streams::default(),
            shut_out: watch::Sender::new(()),
            stop,
        }))
    }

    fn handle(&self) -> &Handle {
        &self.0.handle
    }

    fn accounts(&self) -> &Accounts {
        &self.0.accounts
    }

    fn clock(&self) -> &Clock {
        &self.0.clock
    }

    fn settings(&self) -> &Settings {
        &self.0.settings
    }

    fn sessions(&self) -> &sessions::Sessions {
        &self.0.sessions
    }
}

/// Everything that is served on the service's address but the repository, which `extra` brings along.
pub fn router(web: Web, extra: Router) -> Router {
    let (api, document) = api().split_for_parts();
    let described = from_fn_with_state(query::Described::of(&document), query::layer);
    let audited = from_fn_with_state(web.clone(), accounts::audit_refusals);
    let mut router =
        once(api.layer(described), &web).layer(audited).merge(pages::router()).merge(openapi::docs_router(&document));
    if web.settings().with_health {
        router = router.merge(health::router());
    }
    finish(router.with_state(web.clone()).merge(extra), &web)
}

/// What is answered before there is a service: it lives, and is not ready for the reason that there is at the moment.
pub fn waiting_router(reason: tokio::sync::watch::Receiver<String>) -> Router {
    health::waiting_router(reason)
}

/// Health and metrics alone, for an address of their own.
pub fn internal_router(web: Web) -> Router {
    finish(health::router().with_state(web.clone()), &web)
}

/// Every path of the API and of the doors for events, with its description.
fn api() -> OpenApiRouter<Web> {
    let api = releases::router()
        .merge(changes::router())
        .merge(hold::router())
        .merge(policies::router())
        .merge(sweep::router())
        .merge(import::router())
        .merge(deliveries::router())
        .merge(accounts::router())
        .merge(events::router())
        .merge(doctor::router());
    openapi::base().nest("/api/v1", api).merge(webhooks::router())
}

/// Carries a request out once under its `Idempotency-Key`. After a panic the key is free again, as after every other fault of the service.
fn once(router: Router<Web>, web: &Web) -> Router<Web> {
    router.layer(CatchPanicLayer::custom(after_panic)).layer(from_fn_with_state(web.clone(), idempotency::layer))
}

/// What a caller hears where the service broke off; the panic itself is in the log.
fn after_panic(_: Box<dyn Any + Send>) -> Response {
    Problem::internal().into_response()
}

/// What every answer has in common, also those to a path or method that is not there.
fn finish(router: Router, web: &Web) -> Router {
    router
        .fallback(|| async {
            Problem::not_found("there is nothing at this path").cure("`/api/docs` lists what there is")
        })
        .method_not_allowed_fallback(|| async {
            let detail = "this path does not take this method";
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", detail)
        })
        .layer(from_fn(limits::headers))
        .layer(CatchPanicLayer::custom(after_panic))
        .layer(from_fn_with_state(web.clone(), access_log::layer))
}

/// A problem for something that is not there.
pub fn not_found(detail: &str) -> Problem {
    Problem::not_found(detail)
}

/// A problem for something that the caller may not, with what helps.
pub fn forbidden(detail: String, cure: String) -> Problem {
    Problem::forbidden(detail).cure(cure)
}

/// A problem of a sort, with its sentence and what helps.
pub fn problem(status: StatusCode, word: &str, detail: &str, cure: &str) -> Problem {
    Problem::new(status, word, detail).cure(cure)
}

/// The roles by what they may do, in the words of a refusal.
fn role_for(role: TokenRole) -> &'static str {
    match role {
        TokenRole::Viewer => "reading",
        TokenRole::Releaser => "asking for releases",
        TokenRole::Admin => "administration",
    }
}
