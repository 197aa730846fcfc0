//! An API server in miniature: lists and watches what a test puts into it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tokio_stream::wrappers::UnboundedReceiverStream;

/// How one resource is answered.
#[derive(Clone)]
pub(crate) enum Answer {
    Objects(Vec<Value>),
    Fails(u16),
    /// Something that no API server says.
    Says(&'static str),
}

#[derive(Default)]
struct Inner {
    /// By the plural name.
    resources: HashMap<String, Answer>,
    watches: HashMap<String, Vec<tokio::sync::mpsc::UnboundedSender<String>>>,
    lists: HashMap<String, u32>,
    /// How often the watches of a resource were ended. It is part of the version that a list has: who watches from an older one is told at once.
    expired: HashMap<String, u32>,
    /// Every other request: method, path with query, body.
    asked: Vec<(String, String, String)>,
    texts: HashMap<String, (u16, String)>,
}

impl Inner {
    /// The version that a list of a resource has now.
    fn version(&self, plural: &str) -> String {
        (5 + self.expired.get(plural).copied().unwrap_or_default()).to_string()
    }
}

/// The server.
#[derive(Clone, Default)]
pub(crate) struct ApiServer(Arc<Mutex<Inner>>);

impl ApiServer {
    /// Starts it and writes a kubeconfig for it.
    pub(crate) async fn start(kubeconfig: &std::path::Path) -> Self {
        let server = Self::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().fallback(answer).with_state(server.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        let file = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{"name": "test", "cluster": {"server": format!("http://{address}")}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
            "users": [{"name": "test", "user": {"token": "of-the-tests"}}],
        });
        std::fs::write(kubeconfig, file.to_string()).unwrap();
        server
    }

    pub(crate) fn put(&self, plural: &str, answer: Answer) {
        self.0.lock().unwrap().resources.insert(plural.to_owned(), answer);
    }

    /// Changes the objects of a resource by hand; whoever watches lists them anew.
    pub(crate) fn edit(&self, plural: &str, change: impl FnOnce(&mut Vec<Value>)) {
        if let Some(Answer::Objects(items)) = self.0.lock().unwrap().resources.get_mut(plural) {
            change(items);
        }
        self.expire(plural);
    }

    /// Answers a path that is no list with this.
    pub(crate) fn say(&self, path: &str, code: u16, text: &str) {
        self.0.lock().unwrap().texts.insert(path.to_owned(), (code, text.to_owned()));
    }

    /// Tells every watch of a resource.
    pub(crate) fn tell(&self, plural: &str, kind: &str, object: Value) {
        let line = format!("{}\n", json!({"type": kind, "object": object}));
        for watch in self.0.lock().unwrap().watches.entry(plural.to_owned()).or_default() {
            let _gone = watch.send(line.clone());
        }
    }

    /// Breaks every watch of a resource off in the middle of a line.
    pub(crate) fn break_off(&self, plural: &str) {
        for watch in self.0.lock().unwrap().watches.remove(plural).unwrap_or_default() {
            let _gone = watch.send("{\"type\": \"ADD".to_owned());
        }
    }

    /// Ends every watch of a resource because its version is too old, so that it is listed anew.
    pub(crate) fn expire(&self, plural: &str) {
        let line = format!("{}\n", json!({"type": "ERROR", "object": too_old()}));
        let mut inner = self.0.lock().unwrap();
        *inner.expired.entry(plural.to_owned()).or_default() += 1;
        for watch in inner.watches.remove(plural).unwrap_or_default() {
            let _gone = watch.send(line.clone());
        }
    }

    /// How often a resource was listed.
    pub(crate) fn lists(&self, plural: &str) -> u32 {
        self.0.lock().unwrap().lists.get(plural).copied().unwrap_or_default()
    }

    pub(crate) fn has_watch(&self, plural: &str) -> bool {
        self.0.lock().unwrap().watches.get(plural).is_some_and(|watches| !watches.is_empty())
    }

    /// The requests other than lists and watches: method, path, body.
    pub(crate) fn asked(&self) -> Vec<(String, String, String)> {
        self.0.lock().unwrap().asked.clone()
    }
}

async fn answer(State(server): State<ApiServer>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let query = request.uri().query().unwrap_or_default().to_owned();
    let plural = path.rsplit('/').next().unwrap_or_default().to_owned();
    let method = request.method().to_string();
    let (resource, version) = {
        let inner = server.0.lock().unwrap();
        (inner.resources.get(&plural).cloned(), inner.version(&plural))
    };
    if method == "GET"
        && let Some(resource) = resource
    {
        return match resource {
            Answer::Fails(code) => failed(code),
            Answer::Says(text) => text.into_response(),
            Answer::Objects(_) if query.contains("watch=true") => server.watch(&plural, &query),
            Answer::Objects(items) => {
                *server.0.lock().unwrap().lists.entry(plural).or_default() += 1;
                let (items, next) = page(items, &query);
                let metadata = json!({"resourceVersion": version, "continue": next});
                let list = json!({"apiVersion": "v1", "kind": "List", "metadata": metadata, "items": items});
                axum::Json(list).into_response()
            }
        };
    }
    let is_said = server.0.lock().unwrap().texts.contains_key(&path);
    if method == "GET"
        && !is_said
        && let Some(answer) = server.one(&path)
    {
        server.0.lock().unwrap().asked.push((method, path, String::new()));
        return answer;
    }
    let body = axum::body::to_bytes(request.into_body(), 1 << 20).await.unwrap();
    let whole = if query.is_empty() { path.clone() } else { format!("{path}?{query}") };
    let text = {
        let mut inner = server.0.lock().unwrap();
        inner.asked.push((method, whole.clone(), String::from_utf8_lossy(&body).into_owned()));
        let exact = inner.texts.get(&whole).or_else(|| inner.texts.get(&path));
        exact.cloned()
    };
    match text {
        Some((200, text)) => text.into_response(),
        Some((code, _)) => failed(code),
        None => failed(404),
    }
}

impl ApiServer {
    /// One of the objects of a list that was put, by its path.
    fn one(&self, path: &str) -> Option<Response> {
        let mut parts = path.rsplit('/');
        let (name, plural, namespace) = (parts.next()?, parts.next()?, parts.next()?);
        let inner = self.0.lock().unwrap();
        match inner.resources.get(plural)? {
            Answer::Fails(code) => Some(failed(*code)),
            Answer::Says(text) => Some(text.into_response()),
            Answer::Objects(items) => {
                let meta = |item: &Value, field: &str| item["metadata"][field].as_str().unwrap_or_default().to_owned();
                let is_it = |item: &&Value| meta(item, "name") == name && meta(item, "namespace") == namespace;
                Some(match items.iter().find(is_it) {
                    Some(item) => axum::Json(item).into_response(),
                    None => {
                        let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404, "reason": "NotFound"});
                        (StatusCode::NOT_FOUND, axum::Json(status)).into_response()
                    }
                })
            }
        }
    }

    fn watch(&self, plural: &str, query: &str) -> Response {
        let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
        let mut inner = self.0.lock().unwrap();
        if query.contains(&format!("resourceVersion={}", inner.version(plural))) {
            inner.watches.entry(plural.to_owned()).or_default().push(sender);
        } else {
            let _gone = sender.send(format!("{}\n", json!({"type": "ERROR", "object": too_old()})));
        }
        let stream = UnboundedReceiverStream::new(receiver).map(Ok::<_, std::convert::Infallible>);
        Body::from_stream(stream).into_response()
    }
}

/// So many of a list as are asked for, from where it went on, and where the next ones begin.
fn page(items: Vec<Value>, query: &str) -> (Vec<Value>, String) {
    let asked = |name: &str| query.split('&').find_map(|it| it.strip_prefix(name)?.parse::<usize>().ok());
    let (from, limit) = (asked("continue=").unwrap_or_default(), asked("limit=").unwrap_or(usize::MAX));
    let end = from.saturating_add(limit).min(items.len());
    let next = if end < items.len() { end.to_string() } else { String::new() };
    (items[from.min(end)..end].to_vec(), next)
}

fn too_old() -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": 410, "reason": "Expired", "message": "too old"})
}

fn failed(code: u16) -> Response {
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": "Test", "message": "as the test wants"});
    (StatusCode::from_u16(code).unwrap(), axum::Json(status)).into_response()
}
