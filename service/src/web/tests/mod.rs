//! The doors, the API and the page, asked through the router, with the real worker behind them.

mod access;
mod button;
mod changes;
mod description;
mod doors;
mod filters;
mod live;
mod pages;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::{Settings, Web, router};
use crate::access::{ClearToken, Scope, TokenRole};
use crate::clock::Clock;
use crate::git::{self, Author};
use crate::plan::EnvironmentTarget;
use crate::release::{GatewayRef, Links, MonitoringMode, MonitoringTarget, Period, Serving};
use crate::render::Templates;
use crate::webhook::live::LiveSecrets;
use crate::webhook::signature::Secret;
use crate::worker::{self, EnvironmentSettings, Handle, WantedToken};

/// The live secret of MLflow's door.
pub(super) const SECRET: &str = "a-secret-of-the-registry";

/// The live secret of the generic door.
pub(super) const STANDARD_SECRET: &str = "whsec_YS1zZWNyZXQtb2YtdGhlLWRvb3I=";

/// The live secret of GitHub's door: the one of GitHub's documentation.
pub(super) const GITHUB_SECRET: &str = "It's a Secret to Everybody";

/// A live token of Argo CD's door.
pub(super) const ARGOCD_TOKEN: &str = "a-token-of-argo-cd";

/// Where most of the tests release.
pub(super) const FRAUD: &str = "/api/v1/releases/production/models/fraud";

/// A service in a directory of its own, at a standing clock.
pub(super) struct Service {
    pub router: Router,
    pub web: Web,
    pub handle: Handle,
    pub clock: Clock,
    pub admin: String,
    pub code: String,
    stop: CancellationToken,
    dir: tempfile::TempDir,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(super) struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

impl Service {
    pub(super) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    pub(super) async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Clock::manual("2026-11-23T10:00:00Z".parse::<Timestamp>().unwrap());
        let (handle, worker) = worker::open(of_worker(&dir), clock.clone()).await.unwrap();
        let stop = CancellationToken::new();
        tokio::spawn(worker.run(stop.clone().cancelled_owned()));
        let code = ClearToken::generate().unwrap();
        let mut settings = Settings {
            mlflow_secrets: LiveSecrets::fixed(Secret::parse_lines(&format!("{SECRET}\nanother")).unwrap()),
            generic_secrets: vec![Secret::parse_standard(STANDARD_SECRET).unwrap()],
            github_secrets: vec![Secret::parse(GITHUB_SECRET).unwrap(), Secret::parse("another").unwrap()],
            argocd_tokens: vec![Secret::parse(ARGOCD_TOKEN).unwrap(), Secret::parse("another").unwrap()],
            allow_from: Vec::new(),
            trusted_proxies: Vec::new(),
            public_url: "http://kmlflow.test".to_owned(),
            sign_in_code: code.hash(),
            with_health: true,
        };
        change(&mut settings);
        let web = Web::new(handle.clone(), clock.clone(), settings, stop.clone());
        let router = router(web.clone(), Router::new());
        let mut service =
            Self { router, web, handle, clock, admin: String::new(), code: code.reveal().to_owned(), stop, dir };
        service.admin = service.token(TokenRole::Admin, &[]).await;
        service
    }

    /// Makes a token.
    pub(super) async fn token(&self, role: TokenRole, scopes: &[&str]) -> String {
        let scopes = scopes.iter().map(|scope| Scope::parse(scope).unwrap()).collect();
        let wanted = WantedToken { name: Some(format!("a-{role}")), role, scopes, expires_at: None };
        self.handle.accounts().create_token(wanted).await.unwrap().1.reveal().to_owned()
    }

    /// Does something to the store behind the service's back.
    pub(super) async fn sql(&self, statement: &'static str) {
        use sqlx::{ConnectOptions as _, Connection as _};
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(self.dir.path().join("kmlflow.db"));
        let mut store = options.connect().await.unwrap();
        sqlx::query(statement).execute(&mut store).await.unwrap();
        store.close().await.unwrap();
    }

    /// Sends a request as it is.
    pub(super) async fn send(&self, request: Request<Body>) -> Reply {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Reply { status: parts.status, headers: parts.headers, text: String::from_utf8(bytes.to_vec()).unwrap() }
    }

    /// Asks as the administrator.
    pub(super) async fn ask(&self, method: &str, path: &str, body: Option<Value>) -> Reply {
        self.ask_as(&self.admin, method, path, body).await
    }

    /// Asks with a token.
    pub(super) async fn ask_as(&self, token: &str, method: &str, path: &str, body: Option<Value>) -> Reply {
        let request = Request::builder().method(method).uri(path).header("authorization", format!("Bearer {token}"));
        let request = match body {
            Some(body) => request.header("content-type", "application/json").body(Body::from(body.to_string())),
            None => request.body(Body::empty()),
        };
        self.send(request.unwrap()).await
    }

    /// Puts a single release of a version, and expects it to be carried out.
    pub(super) async fn released(&self, path: &str, model: &str, version: &str) -> Value {
        let reply = self.ask("PUT", path, Some(single(model, version))).await;
        assert!(reply.status.is_success(), "{reply:?}");
        reply.json()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Reply {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The problem that it must be: one sentence under this status.
    #[track_caller]
    pub(super) fn problem(&self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        assert_eq!(self.headers["content-type"], "application/problem+json");
        let problem = self.json();
        assert_eq!(problem["status"], status, "{problem}");
        let detail = problem["detail"].as_str().unwrap();
        assert!(!detail.is_empty() && !detail.contains('\n'), "{problem}");
        assert!(problem["cure"].as_str().is_some_and(|cure| !cure.is_empty()), "nothing helps: {problem}");
        for violation in problem["violations"].as_array().into_iter().flatten() {
            let (field, detail) = (violation["field"].as_str().unwrap(), violation["detail"].as_str().unwrap());
            let is_named = !field.is_empty() && !field.starts_with('.') && !field.contains(['?', ' ']);
            assert!(is_named && !detail.starts_with(&format!("`{field}`")), "{problem}");
        }
        let programmers = ["u8", "u16", "struct ", "invalid type", "invalid value"];
        assert!(!programmers.iter().any(|word| self.text.contains(word)), "a programmer's words: {problem}");
        problem
    }
}

/// The request for a single release.
pub(super) fn single(model: &str, version: &str) -> Value {
    json!({"model": model, "version": version, "image": format!("registry.example/{model}:{version}")})
}

fn of_worker(dir: &tempfile::TempDir) -> worker::Settings {
    let target = EnvironmentTarget {
        cluster: "in-cluster".to_owned(),
        namespace_prefix: String::new(),
        host_suffix: "k5w.localhost".to_owned(),
        gateway: GatewayRef { namespace: "gateway".to_owned(), name: "models".to_owned() },
        monitoring: MonitoringTarget { mode: MonitoringMode::Operator, labels: std::collections::BTreeMap::new() },
        links: Links::default(),
    };
    let production = EnvironmentSettings {
        target,
        blind_delay: Period::ZERO,
        new_releases_per_minute: 60,
        require_digest: false,
        auto_rollback: true,
        is_reviewed: false,
    };
    worker::Settings {
        data_dir: dir.path().to_owned(),
        remote: None,
        store: "sqlite:".into(),
        seed: git::seed(),
        signing_key: None,
        author: Author { name: "Kmlflow".to_owned(), email: "kmlflow@localhost".to_owned() },
        environments: [("production".parse().unwrap(), production)].into(),
        templates: Templates::built_in(),
        serving: Serving::defaults(),
        runtimes: Default::default(),
        images: None,
        registry: None,
        clusters: None,
        lease: None,
        doors: None,
    }
}
