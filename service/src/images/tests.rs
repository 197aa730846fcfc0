//! Scripted registries for what a real one does not do on request; the real one is in the tier `images`.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::Response;
use tokio::net::TcpListener;

use super::*;

const MANIFEST: &str = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json"}"#;
const OCI: &str = "application/vnd.oci.image.manifest.v1+json";

/// One answer of a scripted registry.
struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: String,
}

fn answer(status: u16) -> Answer {
    Answer { status, headers: Vec::new(), body: String::new() }
}

impl Answer {
    fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    fn saying(mut self, body: impl Into<String>) -> Self {
        self.body = body.into();
        self
    }
}

fn manifest() -> Answer {
    answer(200).with("content-type", OCI).saying(MANIFEST)
}

fn digest() -> String {
    Digest::of(MANIFEST.as_bytes()).to_string()
}

#[derive(Default)]
struct Script {
    answers: VecDeque<Answer>,
    /// Method, path and `Authorization` of every request.
    seen: Vec<String>,
}

/// A registry that gives these answers, one a request.
struct Scripted {
    address: String,
    script: Arc<Mutex<Script>>,
}

async fn give(State(script): State<Arc<Mutex<Script>>>, request: Request) -> Response<Body> {
    let mut script = script.lock().unwrap();
    let authorization = request.headers().get("authorization").map_or("", |value| value.to_str().unwrap());
    script.seen.push(format!("{} {} {authorization}", request.method(), request.uri()).trim_end().to_owned());
    let Answer { status, headers, body } = script.answers.pop_front().unwrap_or_else(|| answer(599));
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(name, value);
    }
    response.body(Body::from(body)).unwrap()
}

impl Scripted {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let script = Arc::new(Mutex::new(Script::default()));
        let router = Router::new().fallback(give).with_state(Arc::clone(&script));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, script }
    }

    fn then(&self, answers: impl IntoIterator<Item = Answer>) {
        self.script.lock().unwrap().answers.extend(answers);
    }

    fn image(&self) -> String {
        format!("{}/fraud:8", self.address)
    }

    /// Resolves `fraud:8` and returns that with what was asked for; every answer must have been used.
    async fn resolve(&self, login: Option<&str>) -> (Result<Resolution, Refusal>, Vec<String>) {
        let config = login.map(|login| format!(r#"{{"auths": {{"{}": {login}}}}}"#, self.address));
        let resolver = Resolver::with_limits(
            std::slice::from_ref(&self.address),
            config.as_deref(),
            Duration::from_secs(2),
            Duration::from_secs(20),
        );
        let resolution = resolver.unwrap().resolve(&self.image()).await;
        let script = std::mem::take(&mut *self.script.lock().unwrap());
        assert_eq!(script.answers.len(), 0, "a call too few: {:?}", script.seen);
        (resolution, script.seen)
    }

    async fn reason(&self, answers: impl IntoIterator<Item = Answer>) -> String {
        self.then(answers);
        match self.resolve(None).await.0 {
            Ok(Resolution::Unpinned { reason }) => reason,
            other => panic!("{other:?}"),
        }
    }
}

const LOGIN: &str = r#"{"username": "ada", "password": "hunter2"}"#;
/// `ada:hunter2`.
const BASIC: &str = "Basic YWRhOmh1bnRlcjI=";

#[tokio::test]
async fn a_head_that_says_the_digest_is_enough() {
    let registry = Scripted::new().await;
    registry.then([answer(200).with("content-type", OCI).with("docker-content-digest", digest())]);
    let (resolution, seen) = registry.resolve(None).await;
    assert_eq!(resolution, Ok(Resolution::Pinned(format!("{}@{}", registry.image(), digest()))));
    assert_eq!(seen, ["HEAD /v2/fraud/manifests/8"]);
}

#[tokio::test]
async fn without_the_header_the_digest_is_the_manifests() {
    for head in [
        answer(200).with("content-type", OCI),
        answer(200).with("content-type", OCI).with("docker-content-digest", "sha512:0a"),
        answer(200).with("content-type", "text/html").with("docker-content-digest", digest()),
        answer(405),
        answer(404),
        answer(500),
    ] {
        let registry = Scripted::new().await;
        registry.then([head, manifest()]);
        let (resolution, seen) = registry.resolve(None).await;
        assert_eq!(resolution, Ok(Resolution::Pinned(format!("{}@{}", registry.image(), digest()))));
        assert_eq!(seen, ["HEAD /v2/fraud/manifests/8", "GET /v2/fraud/manifests/8"]);
    }
}

#[tokio::test]
async fn an_image_that_a_registry_does_not_have_is_refused() {
    let unknown = r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#;
    for missing in [
        answer(404).saying(unknown),
        answer(404).with("docker-distribution-api-version", "registry/2.0"),
        answer(404).saying(r#"{"errors":[{"code":"NAME_UNKNOWN","detail":{}}]}"#),
    ] {
        let registry = Scripted::new().await;
        registry.then([answer(404), missing]);
        let refusal = registry.resolve(None).await.0.unwrap_err();
        assert_eq!(refusal.reason, format!("the registry `{}` has no image `fraud:8`", registry.address));
        assert!(refusal.cure.unwrap().contains("push the image"));
    }
}

#[tokio::test]
async fn what_is_no_registry_or_a_lying_one_leaves_the_image_unpinned() {
    let lie = Digest::of(b"another").to_string();
    let registry = Scripted::new().await;
    for (answers, said) in [
        (vec![answer(404), answer(404).saying("<html>")], "answers like no registry"),
        (vec![answer(404), answer(404).saying(r#"{"errors":[{"code":"DENIED"}]}"#)], "answers like no registry"),
        (
            vec![answer(200).with("content-type", OCI), manifest().with("docker-content-digest", lie)],
            "not its manifest's",
        ),
        (vec![answer(200), answer(200).with("content-type", "text/html")], "no manifest"),
        (
            vec![
                answer(200),
                answer(200).with("content-type", "application/vnd.docker.distribution.manifest.v1+prettyjws"),
            ],
            "no manifest",
        ),
        (vec![answer(200), manifest().saying("x".repeat(5 * 1024 * 1024))], "more than a registry needs"),
        (vec![answer(429)], "takes no more requests"),
        (vec![answer(404), answer(429)], "takes no more requests"),
        (vec![answer(403)], "without other credentials"),
        (vec![answer(401)], "without other credentials"),
        (vec![answer(401).with("www-authenticate", "Basic realm=\"x\"")], "without other credentials"),
        (vec![answer(401).with("www-authenticate", "Negotiate")], "without other credentials"),
        (vec![answer(503), answer(503)], "answered 503"),
        (
            vec![answer(307).with("location", "https://127.0.0.1:1/v2/"), answer(307).with("location", "ftp://x/")],
            "answered 307",
        ),
    ] {
        let reason = registry.reason(answers).await;
        assert!(reason.contains(said) && reason.starts_with("the registry `127.0.0.1:"), "{reason}");
    }
}

#[tokio::test]
async fn a_token_is_fetched_with_the_login_and_sent_along() {
    let registry = Scripted::new().await;
    let challenge = |address: &str| {
        format!(r#"Bearer realm="http://{address}/token?a=b",service="reg",scope="repository:fraud:pull""#)
    };
    for field in ["token", "access_token"] {
        registry.then([
            answer(401).with("www-authenticate", challenge(&registry.address)),
            answer(200).saying(format!(r#"{{"{field}": "t0k3n", "expires_in": 300}}"#)),
            answer(200).with("content-type", OCI),
            manifest(),
        ]);
        let (resolution, seen) = registry.resolve(Some(LOGIN)).await;
        assert!(matches!(resolution, Ok(Resolution::Pinned(_))), "{resolution:?}");
        assert_eq!(
            seen,
            [
                "HEAD /v2/fraud/manifests/8".to_owned(),
                format!("GET /token?a=b&service=reg&scope=repository%3Afraud%3Apull {BASIC}"),
                "HEAD /v2/fraud/manifests/8 Bearer t0k3n".to_owned(),
                "GET /v2/fraud/manifests/8 Bearer t0k3n".to_owned(),
            ]
        );
    }
}

#[tokio::test]
async fn without_a_login_a_token_is_asked_for_as_anybody() {
    let registry = Scripted::new().await;
    registry.then([
        answer(401).with("www-authenticate", format!(r#"Bearer realm="http://{}/token""#, registry.address)),
        answer(200).saying(r#"{"token": "t0k3n"}"#),
        answer(200).with("content-type", OCI).with("docker-content-digest", digest()),
    ]);
    let (resolution, seen) = registry.resolve(None).await;
    assert!(matches!(resolution, Ok(Resolution::Pinned(_))), "{resolution:?}");
    assert_eq!(seen[1], "GET /token?scope=repository%3Afraud%3Apull");
}

#[tokio::test]
async fn a_name_and_a_password_go_to_whom_they_are_for() {
    let registry = Scripted::new().await;
    registry.then([
        answer(401).with("www-authenticate", "Basic realm=\"registry\""),
        answer(200).with("content-type", OCI).with("docker-content-digest", digest()),
    ]);
    let (_, seen) = registry.resolve(Some(LOGIN)).await;
    assert_eq!(seen[1], format!("HEAD /v2/fraud/manifests/8 {BASIC}"));

    let other = Scripted::new().await;
    let elsewhere = format!("http://{}/v2/fraud/manifests/8", other.address);
    registry.then([
        answer(401).with("www-authenticate", "Basic realm=\"registry\""),
        answer(307).with("location", elsewhere),
    ]);
    other.then([answer(200).with("content-type", OCI).with("docker-content-digest", digest())]);
    let (resolution, _) = registry.resolve(Some(LOGIN)).await;
    assert!(matches!(resolution, Ok(Resolution::Pinned(_))), "{resolution:?}");
    assert_eq!(other.script.lock().unwrap().seen, ["HEAD /v2/fraud/manifests/8"], "no credentials to another address");
}

#[tokio::test]
async fn trouble_with_a_token_never_shows_the_login() {
    for (answers, said) in [
        (vec![answer(401).saying("hunter2")], "without other credentials"),
        (vec![answer(429)], "no more requests"),
        (vec![answer(500)], "answered 500"),
        (vec![answer(200).saying("hunter2")], "no token that can be read"),
        (vec![answer(200).saying("{}")], "gave no token"),
        (vec![answer(200).saying(r#"{"token": "a\nb"}"#)], "no token that can be sent"),
        (vec![answer(200).saying("x".repeat(100_000))], "more than a registry needs"),
    ] {
        let registry = Scripted::new().await;
        let challenge = format!(r#"Bearer realm="http://{}/token""#, registry.address);
        registry.then([answer(401).with("www-authenticate", challenge)].into_iter().chain(answers));
        let (resolution, _) = registry.resolve(Some(LOGIN)).await;
        let Ok(Resolution::Unpinned { reason }) = resolution else { panic!("{resolution:?}") };
        assert!(reason.contains(said) && !reason.contains("hunter2"), "{reason}");
    }
    for realm in ["ftp://x/", "file:///etc/passwd", "nowhere", "http://127.0.0.1:1/token"] {
        let registry = Scripted::new().await;
        registry.then([answer(401).with("www-authenticate", format!("Bearer realm=\"{realm}\""))]);
        let (resolution, seen) = registry.resolve(Some(LOGIN)).await;
        assert!(matches!(resolution, Ok(Resolution::Unpinned { .. })), "{resolution:?}");
        assert_eq!(seen.len(), 1, "nothing is sent there");
    }
}

#[tokio::test]
async fn a_registry_that_is_silent_costs_its_time_limit_once() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let limit = Duration::from_millis(100);
    let resolver = Resolver::with_limits(std::slice::from_ref(&address), None, limit, limit).unwrap();
    let reason = async || match resolver.resolve(&format!("{address}/fraud:8")).await {
        Ok(Resolution::Unpinned { reason }) => reason,
        other => panic!("{other:?}"),
    };
    assert_eq!(reason().await, format!("the registry `{address}` did not answer in time"));
    drop(listener);
    assert_eq!(reason().await, format!("the registry `{address}` did not answer in time"), "it is left alone");
}

#[tokio::test]
async fn nobody_at_the_address_leaves_the_image_unpinned() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let resolver = Resolver::new(std::slice::from_ref(&address), None).unwrap();
    let resolution = resolver.resolve(&format!("{address}/fraud:8")).await;
    let reason = format!("the registry `{address}` cannot be reached");
    assert_eq!(resolution, Ok(Resolution::Unpinned { reason }));
}

#[tokio::test]
async fn an_answer_is_remembered_for_a_moment() {
    let registry = Scripted::new().await;
    registry.then([answer(200).with("content-type", OCI).with("docker-content-digest", digest())]);
    let resolver = Resolver::new(std::slice::from_ref(&registry.address), None).unwrap();
    let first = resolver.resolve(&registry.image()).await;
    assert_eq!(resolver.resolve(&registry.image()).await, first);
    assert_eq!(registry.script.lock().unwrap().seen.len(), 1);
}

#[tokio::test]
async fn a_digest_is_kept_and_what_is_no_image_refused_without_asking_anybody() {
    let resolver = Resolver::new(&[], None).unwrap();
    let pinned = format!("registry.invalid/fraud:8@sha256:{}", "0".repeat(64));
    assert_eq!(resolver.resolve(&pinned).await, Ok(Resolution::Pinned(pinned.clone())));
    let refusal = resolver.resolve("https://u:hunter2@registry.invalid/x").await.unwrap_err();
    assert!(!refusal.reason.contains("hunter2"), "{}", refusal.reason);
    assert!(Resolver::new(&[], Some("{")).unwrap_err().to_string().contains("`images.auth_file`"));
}
