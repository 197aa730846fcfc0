//! The scripted GitHub as a server: Git on one side, the two APIs on the other.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::State as Extract;
use axum::http::{HeaderMap, Method, Request, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{Call, Limit, REPOSITORY, Shared, TOKEN, answers, git};
use crate::openapi::Asked;

/// No request of the service is larger.
const BODY_BYTES_MAX: usize = 64 << 20;

/// What every request of the API has to say besides who asks.
const HEADERS: [(&str, &str); 2] = [("accept", "application/vnd.github+json"), ("x-github-api-version", "2022-11-28")];

/// An answer: status, headers, body; `null` for none.
type Answer = (u16, Vec<(&'static str, String)>, Value);

/// Serves from a thread of its own until the sender is dropped.
pub(super) fn start(shared: Arc<Shared>) -> (SocketAddr, tokio::sync::oneshot::Sender<()>) {
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.set_nonblocking(true).expect("a socket option");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        runtime.expect("a runtime").block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
            let router = Router::new().fallback(take).with_state(shared);
            let serving = axum::serve(listener, router).into_future();
            tokio::select! { _ = serving => {}, _ = stopped => {} }
        });
    });
    (address, stop)
}

async fn take(Extract(shared): Extract<Arc<Shared>>, request: Request<Body>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, BODY_BYTES_MAX).await.expect("a body").to_vec();
    // What follows starts programs and waits for them.
    let answered = tokio::task::spawn_blocking(move || {
        let target = parts.uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
        if target.starts_with(&format!("/{REPOSITORY}.git/")) {
            return of_git(&shared, &parts.method, &target, &parts.headers, &body);
        }
        of_api(&shared, &parts.method, &target, &parts.headers, &body)
    });
    answered.await.expect("an answer")
}

impl Shared {
    /// Ann comes with her own token, whoever else there is.
    fn is_good(&self, token: &str) -> bool {
        let state = self.state();
        token == TOKEN || state.tokens.iter().chain(&state.personal_tokens).any(|good| good == token)
    }
}

fn of_git(shared: &Shared, method: &Method, target: &str, headers: &HeaderMap, body: &[u8]) -> Response<Body> {
    let login = headers.get("authorization").and_then(|value| value.to_str().ok()?.strip_prefix("Basic "));
    let login = login.and_then(|login| String::from_utf8(STANDARD.decode(login).ok()?).ok()).unwrap_or_default();
    let token = login.split_once(':').map_or("", |(_, password)| password);
    if !shared.is_good(token) {
        let response = Response::builder().status(401).header("www-authenticate", "Basic realm=\"GitHub\"");
        return response.body(Body::from("Bad credentials")).expect("an answer");
    }
    let kind = headers.get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    git::backend(&shared.directory, method, (path, query), kind, body)
}

fn of_api(shared: &Shared, method: &Method, target: &str, headers: &HeaderMap, body: &[u8]) -> Response<Body> {
    let (status, more, said) = answer(shared, method, target, headers, body);
    let mut response = Response::builder().status(status).header("content-type", "application/json; charset=utf-8");
    for (name, value) in more {
        response = response.header(name, value);
    }
    let body = if said.is_null() { String::new() } else { said.to_string() };
    response.body(Body::from(body)).expect("an answer")
}

fn answer(shared: &Shared, method: &Method, target: &str, headers: &HeaderMap, body: &[u8]) -> Answer {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let line = format!("{method} {target}");
    let mut faults: Vec<String> = HEADERS
        .iter()
        .filter(|(name, value)| text(name) != *value)
        .map(|(name, value)| format!("`{name}` is {:?}, not {value:?}", text(name)))
        .collect();
    if text("user-agent").is_empty() {
        faults.push("`user-agent` is missing, without which GitHub answers 403".to_owned());
    }
    let is_other = target == "/api/graphql";
    let asked = Asked { method: method.as_str(), target: target.strip_prefix("/api/v3").unwrap_or(target), body };
    let operation = if is_other { answers::mutation(body) } else { shared.description.check(&asked) };
    let operation = operation.map_err(|found| faults.extend(found)).ok();
    shared.state().faults.extend(faults.iter().map(|fault| format!("{line}: {fault}")));
    let Some(operation) = operation else { return (422, Vec::new(), json!({"message": faults.join("; ")})) };
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let authorization = text("authorization");
    if operation.id == "apps/create-installation-access-token" {
        let (status, said) = shared.mint(&operation.arguments[0], authorization, &body);
        shared.note(&operation.id, &body, status);
        return (status, Vec::new(), said);
    }
    if !authorization.strip_prefix("Bearer ").is_some_and(|token| shared.is_good(token)) {
        return (401, Vec::new(), json!({"message": "Bad credentials"}));
    }
    if let Some(limited) = limited(shared, &line) {
        return limited;
    }
    let (status, said) = answers::answer(shared, &operation, target, &body);
    shared.note(&operation.id, &body, status);
    if !is_other {
        let wrong = shared.description.faults_of_answer((method.as_str(), &operation.id), status, &said);
        shared.state().faults.extend(wrong.into_iter().map(|fault| format!("the answer to {line}: {fault}")));
    }
    if method != Method::GET || status != 200 {
        return (status, Vec::new(), said);
    }
    let etag = format!("\"{}\"", STANDARD.encode(Sha256::digest(said.to_string())));
    if text("if-none-match") == etag {
        shared.state().unchanged += 1;
        return (304, vec![("etag", etag)], Value::Null);
    }
    (200, vec![("etag", etag)], said)
}

/// The answer of a limit, where one is due; who asks during one has not listened.
fn limited(shared: &Shared, line: &str) -> Option<Answer> {
    let mut state = shared.state();
    if state.quiet_until.is_some_and(|until| until > Instant::now()) {
        state.faults.push(format!("{line}: asked although a limit was told"));
    }
    let limit = state.limits.pop_front()?;
    let (Limit::Primary(seconds) | Limit::Secondary(seconds)) = limit;
    // A moment less: the service counts from when it reads the answer.
    state.quiet_until = Some(Instant::now() + Duration::from_secs(seconds) - Duration::from_millis(50));
    let now = jiff::Timestamp::now();
    Some(match limit {
        Limit::Primary(seconds) => {
            let reset = now.as_second() + i64::try_from(seconds).unwrap_or_default();
            let date = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&now).expect("a date");
            let more = vec![
                ("x-ratelimit-remaining", "0".to_owned()),
                ("x-ratelimit-reset", reset.to_string()),
                ("date", date),
            ];
            (403, more, json!({"message": "API rate limit exceeded for installation."}))
        }
        Limit::Secondary(seconds) => {
            let said = json!({"message": "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."});
            (403, vec![("retry-after", seconds.to_string())], said)
        }
    })
}

impl Shared {
    fn note(&self, operation: &str, body: &Value, status: u16) {
        self.state().calls.push(Call { operation: operation.to_owned(), body: body.clone(), status });
    }
}
