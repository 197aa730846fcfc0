//! The button's API: who may what, what it shows, and that it does what the API does.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use std::time::Duration;
use tower::ServiceExt as _;

use super::super::{AccountsError, ButtonSettings, ModelAccounts, ModelPermission, ModelUser, Peer, button_router};
use super::{FRAUD, Reply, Service, single};
use crate::access::TokenRole;
use crate::names::{ModelName, Version};

/// The origin of the service's own pages.
const ORIGIN: &str = "http://kmlflow.test";

/// The accounts of a tracking server: the user's name says what they may, and the password is `secret`.
struct Scripted {
    has_accounts: bool,
    asked: AtomicUsize,
    /// How often it was asked whether there is a version.
    looked_up: AtomicUsize,
}

impl ModelAccounts for Scripted {
    fn who<'a>(&'a self, authorization: &'a str) -> BoxFuture<'a, Result<Option<ModelUser>, AccountsError>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        async move {
            if !self.has_accounts {
                return Ok(None);
            }
            if authorization == basic("down") {
                return Err(AccountsError::Unavailable("it is down".to_owned()));
            }
            let known = ["nothing", "reader", "editor", "manager", "admin"];
            let name = known.into_iter().find(|name| authorization == basic(name)).ok_or(AccountsError::Unknown)?;
            Ok(Some(ModelUser { name: name.to_owned(), is_admin: name == "admin" }))
        }
        .boxed()
    }

    fn permission<'a>(
        &'a self,
        _authorization: &'a str,
        user: &'a str,
        model: &'a ModelName,
    ) -> BoxFuture<'a, Result<ModelPermission, AccountsError>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        async move {
            Ok(match user {
                _ if model.as_str() != "fraud" => ModelPermission::None,
                "reader" => ModelPermission::Read,
                "editor" => ModelPermission::Edit,
                "manager" => ModelPermission::Manage,
                _ => ModelPermission::None,
            })
        }
        .boxed()
    }

    /// Version 99 is not there, and of version 98 nobody knows; the caller's own name is asked with, where there is one.
    fn has_version<'a>(
        &'a self,
        authorization: Option<&'a str>,
        _model: &'a ModelName,
        version: &'a Version,
    ) -> BoxFuture<'a, Result<bool, AccountsError>> {
        self.looked_up.fetch_add(1, Ordering::Relaxed);
        assert!(authorization.is_none_or(|given| given.starts_with("Basic ")), "{authorization:?}");
        async move {
            match version.as_str() {
                "98" => Err(AccountsError::Unavailable("it is down".to_owned())),
                version => Ok(version != "99"),
            }
        }
        .boxed()
    }
}

fn basic(name: &str) -> String {
    use base64::Engine as _;
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{name}:secret")))
}

/// The button's API beside a service.
struct Scene {
    service: Service,
    accounts: Arc<Scripted>,
    button: Router,
}

impl Scene {
    async fn start(has_accounts: bool, is_local: bool) -> Self {
        let service = Service::start().await;
        let accounts = Arc::new(Scripted { has_accounts, asked: AtomicUsize::new(0), looked_up: AtomicUsize::new(0) });
        let settings = ButtonSettings { origins: vec![ORIGIN.to_owned()], is_local };
        let button = button_router(service.web.clone(), accounts.clone(), settings);
        Self { service, accounts, button }
    }

    async fn send(&self, request: Request<Body>) -> Reply {
        let response = self.button.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Reply { status: parts.status, headers: parts.headers, text: String::from_utf8(bytes.to_vec()).unwrap() }
    }

    async fn look(&self, who: &str, path: &str) -> Reply {
        let request = Request::builder().uri(path).header("authorization", basic(who));
        self.send(request.body(Body::empty()).unwrap()).await
    }

    async fn post(&self, who: &str, path: &str, body: Value) -> Reply {
        let request = Request::builder().method("POST").uri(path).header("authorization", basic(who));
        let request = request.header("origin", ORIGIN).header("content-type", "application/json");
        self.send(request.body(Body::from(body.to_string())).unwrap()).await
    }
}

const STATE: &str = "/models/fraud/versions/8";

fn asked(version: &str, more: Value) -> Value {
    let mut body = single("fraud", version);
    body["release"] = json!({"environment": "production", "namespace": "models", "name": "fraud"});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

#[tokio::test]
async fn what_an_account_of_mlflow_may_follows_its_permission_for_the_model() {
    let scene = Scene::start(true, false).await;
    scene.service.released(FRAUD, "fraud", "7").await;
    for (who, look, try_it) in [
        ("nobody", 401, 401),
        ("nothing", 403, 403),
        ("reader", 200, 403),
        ("editor", 200, 200),
        ("manager", 200, 200),
        ("admin", 200, 200),
        ("down", 503, 503),
    ] {
        assert_eq!(scene.look(who, STATE).await.status.as_u16(), look, "{who}");
        let put = scene.post(who, "/releases", asked("8", json!({"dryRun": true}))).await;
        assert_eq!(put.status.as_u16(), try_it, "{who}: {}", put.text);
        let act = scene.post(who, "/releases/production/models/fraud/retract", json!({"dryRun": true})).await;
        // Whoever may not read the model does not learn that it is released.
        let expected = if who == "nothing" { 404 } else { try_it };
        assert_eq!(act.status.as_u16(), expected, "{who}: {}", act.text);
    }
    let mine = asked("1", json!({"model": "other", "dryRun": true}));
    scene.post("manager", "/releases", mine).await.problem(403);
    let refusal = scene.look("nobody", STATE).await;
    assert_eq!(refusal.headers["www-authenticate"], "Bearer", "a browser would ask for a password");
}

#[tokio::test]
async fn only_who_may_manage_the_model_may_let_a_release_break_its_callers() {
    let scene = Scene::start(true, false).await;
    scene.service.released(FRAUD, "fraud", "7").await;
    for (who, may_release, may_break) in
        [("reader", false, false), ("editor", true, false), ("manager", true, true), ("admin", true, true)]
    {
        let user = scene.look(who, STATE).await.json()["user"].clone();
        assert_eq!(user, json!({"name": who, "mayRelease": may_release, "mayBreakCallers": may_break}));
        let breaking = asked("8", json!({"dryRun": true, "allowBreakingSignature": true}));
        let reply = scene.post(who, "/releases", breaking).await;
        if may_break {
            assert_eq!(reply.status.as_u16(), 200, "{who}: {}", reply.text);
            continue;
        }
        let problem = reply.problem(403);
        let permission = if may_release { "MANAGE" } else { "EDIT" };
        assert!(problem["cure"].as_str().unwrap().contains(permission), "{who}: {problem}");
        // What is not asked for needs no such permission.
        let plain = asked("8", json!({"dryRun": true, "allowBreakingSignature": false}));
        let status = if may_release { 200 } else { 403 };
        assert_eq!(scene.post(who, "/releases", plain).await.status.as_u16(), status, "{who}");
    }
}

#[tokio::test]
async fn a_version_that_the_registry_does_not_have_is_not_found_and_one_it_cannot_tell_of_is_shown() {
    let scene = Scene::start(true, false).await;
    let count = || scene.accounts.looked_up.load(Ordering::Relaxed);
    for _ in 0..2 {
        let problem = scene.look("reader", "/models/fraud/versions/99").await.problem(404);
        assert!(problem["detail"].as_str().unwrap().contains("no version 99 of the model `fraud`"), "{problem}");
        assert!(problem["cure"].as_str().unwrap().contains("open a version that is there"), "{problem}");
    }
    assert_eq!(count(), 2, "one that is not there may be made at any moment");
    assert_eq!(scene.look("reader", "/models/fraud/versions/98").await.status.as_u16(), 200);
    assert_eq!(count(), 3);
    for _ in 0..3 {
        assert_eq!(scene.look("reader", STATE).await.status.as_u16(), 200);
    }
    assert_eq!(count(), 4, "one that is there is there for a while");
    // Whoever may not read the model does not learn which versions it has.
    scene.look("nothing", "/models/fraud/versions/99").await.problem(403);
    assert_eq!(count(), 4);
}

#[tokio::test]
async fn an_answer_of_mlflow_holds_for_half_a_minute_and_a_refusal_does_not() {
    let scene = Scene::start(true, false).await;
    let count = || scene.accounts.asked.load(Ordering::Relaxed);
    for _ in 0..3 {
        scene.look("reader", STATE).await;
    }
    assert_eq!(count(), 2, "who, and the permission");
    scene.service.clock.advance(Duration::from_secs(30));
    scene.look("reader", STATE).await;
    assert_eq!(count(), 4);
    for _ in 0..2 {
        scene.look("nobody", STATE).await;
    }
    assert_eq!(count(), 6);
}

#[tokio::test]
async fn a_session_of_the_service_counts_before_everything_else() {
    let scene = Scene::start(true, false).await;
    let sign_in = Request::post("/session").header("content-type", "application/json");
    let code = json!({"code": scene.service.code}).to_string();
    let reply = scene.service.send(sign_in.body(Body::from(code)).unwrap()).await;
    let cookie = reply.headers["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    let request = Request::get(STATE).header("cookie", &cookie).body(Body::empty()).unwrap();
    let state = scene.send(request).await.json();
    assert_eq!(state["user"], json!({"name": "page", "mayRelease": true, "mayBreakCallers": true}));
    let put = Request::post("/releases").header("cookie", &cookie).header("content-type", "application/json");
    let put = put.header("origin", ORIGIN).header("host", "kmlflow.test");
    let reply = scene.send(put.body(Body::from(asked("8", json!({})).to_string())).unwrap()).await;
    assert_eq!(reply.status.as_u16(), 201, "{}", reply.text);
    let token = scene.service.token(TokenRole::Viewer, &["*/*/other"]).await;
    let by_token = Request::get(STATE).header("authorization", format!("Bearer {token}")).body(Body::empty()).unwrap();
    let state = scene.send(by_token).await.json();
    assert_eq!((&state["release"], &state["user"]["mayRelease"]), (&Value::Null, &json!(false)));
    assert_eq!(scene.accounts.asked.load(Ordering::Relaxed), 0);
}

/// What the calls of the button are answered without credentials that prove something: a look, a release and an act, by a loopback caller.
async fn over_loopback(scene: &Scene, headers: &[(&str, &str)]) -> Vec<Reply> {
    let act = "/releases/production/models/fraud/retract";
    let mut replies = Vec::new();
    for (method, path, body) in [
        ("GET", STATE, String::new()),
        ("POST", "/releases", asked("8", json!({})).to_string()),
        ("POST", "/releases", asked("8", json!({"dryRun": true})).to_string()),
        ("POST", act, "{}".to_owned()),
    ] {
        let mut request = Request::builder().method(method).uri(path).header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(Body::from(body)).unwrap();
        request.extensions_mut().insert(Peer("127.0.0.1:1".parse().unwrap()));
        replies.push(scene.send(request).await);
    }
    replies
}

#[tokio::test]
async fn over_loopback_too_nobody_sees_or_changes_a_release_without_signing_in() {
    // A proxy that was told nothing to the service calls over loopback, under a loopback name, for anybody.
    let (host, origin) = (("host", "localhost:8080"), ("origin", "http://localhost:8080"));
    let basic = basic("anybody");
    for has_accounts in [false, true] {
        let scene = Scene::start(has_accounts, true).await;
        scene.service.released(FRAUD, "fraud", "7").await;
        let before = scene.service.ask("GET", FRAUD, None).await.text;
        let mut all = over_loopback(&scene, &[host, origin]).await;
        all.extend(over_loopback(&scene, &[host, origin, ("authorization", &basic)]).await);
        all.extend(over_loopback(&scene, &[host, origin, ("cookie", "kmlflow_session=made-up")]).await);
        for reply in all {
            assert_eq!(reply.status.as_u16(), 401, "{}", reply.text);
            assert!(!reply.text.contains("production"), "{}", reply.text);
        }
        assert_eq!(scene.service.ask("GET", FRAUD, None).await.text, before);
    }
}

#[tokio::test]
async fn who_is_not_signed_in_is_told_in_one_sentence_what_to_do_at_this_host() {
    let scene = Scene::start(false, true).await;
    let cure = async |host: &str| {
        let request = Request::get(STATE).header("host", host).body(Body::empty()).unwrap();
        scene.send(request).await.problem(401)["cure"].as_str().unwrap().to_owned()
    };
    let here = cure("kmlflow.test").await;
    assert!(here.starts_with("open the sign-in link that `kmlflow serve` printed"), "{here}");
    assert!(here.contains("each start prints a new one") && here.contains("or sign in at MLflow"), "{here}");
    for elsewhere in ["mlflow.kmlflow.test", "127.0.0.1:8080"] {
        let cure = cure(elsewhere).await;
        assert!(cure.starts_with("sign in at MLflow") && cure.contains("the sign-in link"), "{cure}");
        assert!(cure.contains("`http://kmlflow.test/mlflow/`: that session counts at no other host"), "{cure}");
    }
}

#[tokio::test]
async fn a_page_of_somebody_else_changes_nothing() {
    let scene = Scene::start(true, false).await;
    let body = asked("7", json!({})).to_string();
    for (origin, kind) in [
        (Some("https://evil.example"), "application/json"),
        (Some("null"), "application/json"),
        (None, "application/json"),
        (Some(ORIGIN), "text/plain"),
        (Some(ORIGIN), "application/x-www-form-urlencoded"),
    ] {
        for path in ["/releases", "/releases/production/models/fraud/retract", "/anchors"] {
            let mut request = Request::post(path).header("authorization", basic("admin")).header("content-type", kind);
            if let Some(origin) = origin {
                request = request.header("origin", origin);
            }
            let reply = scene.send(request.body(Body::from(body.clone())).unwrap()).await;
            assert!([403, 415].contains(&reply.status.as_u16()), "{origin:?} {kind} {path}: {}", reply.text);
        }
    }
    assert_eq!(scene.look("admin", STATE).await.json()["release"], Value::Null);
}

#[tokio::test]
async fn a_blue_green_release_goes_its_way_by_the_buttons_acts() {
    let scene = Scene::start(true, false).await;
    let acts = async || {
        let state = scene.look("editor", STATE).await.json();
        let acts: Vec<String> =
            state["acts"].as_array().unwrap().iter().map(|act| act["act"].as_str().unwrap().to_owned()).collect();
        (state, acts)
    };
    let (state, none) = acts().await;
    assert_eq!((none.len(), &state["release"], &state["key"]["name"]), (0, &Value::Null, &json!("fraud")));
    assert_eq!(state["environments"][0]["name"], "production");
    let created = scene.post("editor", "/releases", asked("7", json!({}))).await;
    assert_eq!(created.status.as_u16(), 201, "{}", created.text);
    assert_eq!(acts().await.1, ["retract"]);

    let preview =
        scene.post("editor", "/releases", asked("8", json!({"strategy": "blue-green", "dryRun": true}))).await;
    assert!(preview.json()["diff"].as_str().unwrap().contains("blue-green"), "{}", preview.text);
    let put = scene.post("editor", "/releases", asked("8", json!({"strategy": "blue-green"}))).await;
    assert_eq!(put.status.as_u16(), 200, "{}", put.text);
    let (state, running) = acts().await;
    assert_eq!(running, ["advance", "promote", "rollback", "abort", "pause", "retract"], "{state}");
    assert_eq!(state["release"]["spec"]["blueGreen"]["active"], "blue");
    assert_eq!(state["release"]["origin"]["requestedBy"], "editor");

    let flipped = scene.post("editor", "/releases/production/models/fraud/advance", json!({})).await;
    assert_eq!(flipped.json()["release"]["spec"]["blueGreen"]["active"], "green", "{}", flipped.text);
    let back = scene.post("editor", "/releases/production/models/fraud/rollback", json!({})).await;
    assert_eq!(back.json()["changed"], true, "{}", back.text);
    let (state, _) = acts().await;
    assert_eq!(state["release"]["spec"]["variants"][0]["version"], "7", "{state}");
    scene.post("editor", "/releases/production/models/fraud/explode", json!({})).await.problem(404);
    scene.post("editor", "/releases/production/models/nothing/advance", json!({})).await.problem(404);
}

#[tokio::test]
async fn an_ab_release_names_its_arms_and_a_change_since_it_was_read_is_refused() {
    let scene = Scene::start(true, false).await;
    scene.post("editor", "/releases", asked("7", json!({}))).await;
    scene.post("editor", "/releases", asked("8", json!({"strategy": "ab"}))).await;
    let state = scene.look("editor", STATE).await.json();
    let promote = state["acts"].as_array().unwrap().iter().find(|act| act["act"] == "promote").unwrap();
    assert_eq!(promote["variants"], json!(["a", "b"]), "{state}");
    let stale = Request::post("/releases/production/models/fraud/promote").header("authorization", basic("editor"));
    let stale = stale.header("origin", ORIGIN).header("content-type", "application/json");
    let stale = stale.header("if-match", format!("\"{}\"", "0".repeat(40)));
    let reply = scene.send(stale.body(Body::from(json!({"variant": "b"}).to_string())).unwrap()).await;
    reply.problem(412);
    let won = scene.post("editor", "/releases/production/models/fraud/promote", json!({"variant": "b"})).await;
    assert_eq!(won.json()["release"]["spec"]["variants"][0]["version"], "8", "{}", won.text);
}

#[tokio::test]
async fn a_refusal_comes_with_its_cure_and_a_missing_anchor_is_counted() {
    let scene = Scene::start(true, false).await;
    let problem = scene.post("editor", "/releases", asked("8", json!({"strategy": "canary"}))).await.problem(409);
    assert!(problem["cure"].as_str().unwrap().contains("single"), "{problem}");
    scene.post("editor", "/releases", asked("8", json!({"colour": "red"}))).await.problem(400);
    scene.post("editor", "/releases", json!({"model": "fraud", "version": "8"})).await.problem(400);
    let known = scene.post("nobody", "/anchors", json!({"page": "version"})).await;
    assert_eq!(known.status.as_u16(), 202);
    scene.post("nobody", "/anchors", json!({"page": "elsewhere"})).await.problem(422);
    let metrics = scene.service.handle.metrics().await;
    assert!(metrics.contains("kmlflow_button_anchors_missing_total{page=\"version\"} 1"), "{metrics}");
}
