//! Stands between the service and a tracking server, passes everything on and keeps what was asked and which versions were answered.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Method, Request, Response, header};
use serde_json::Value;

/// One request to the tracking server.
#[derive(Clone)]
pub struct Asked {
    pub method: Method,
    /// Path and query.
    pub target: String,
    /// Model and number of each version in the answer.
    pub versions: Vec<(String, String)>,
}

/// A pass-through on a free port of the loopback, with a thread of its own; it ends with the process.
pub struct Counting {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
}

#[derive(Clone)]
struct Upstream {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Counting {
    /// Begins to pass on to a tracking server.
    pub fn before(upstream: SocketAddr) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("a socket option");
        let address = listener.local_addr().expect("an address");
        let asked = Arc::default();
        let upstream = Upstream { address: upstream, asked: Arc::clone(&asked) };
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
                let router = Router::new().fallback(pass).with_state(upstream);
                axum::serve(listener, router).await.expect("a pass-through");
            });
        });
        Self { address, asked }
    }

    /// Its address as a client writes it.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Takes what was asked since.
    pub fn take(&self) -> Vec<Asked> {
        std::mem::take(&mut self.asked.lock().expect("what was asked"))
    }
}

async fn pass(State(upstream): State<Upstream>, request: Request<Body>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let target = parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
    let mut asked = tests::Request::new(parts.method.as_str(), &target).body(body);
    if let Some(kind) = parts.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()) {
        asked = asked.header("Content-Type", kind);
    }
    let address = upstream.address;
    let answer = tokio::task::spawn_blocking(move || asked.try_send(address)).await.expect("a thread");
    let (status, body) = answer.map_or((502, Vec::new()), |answer| (answer.status, answer.body));
    let asked = Asked { method: parts.method, target, versions: versions_in(&body) };
    upstream.asked.lock().expect("what was asked").push(asked);
    let answer = Response::builder().status(status).header(header::CONTENT_TYPE, "application/json");
    answer.body(Body::from(body)).expect("an answer")
}

fn versions_in(body: &[u8]) -> Vec<(String, String)> {
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    let many = answer["model_versions"].as_array().into_iter().flatten();
    let one = answer.get("model_version").into_iter();
    let text = |version: &Value, field: &str| version[field].as_str().unwrap_or_default().to_owned();
    many.chain(one).map(|version| (text(version, "name"), text(version, "version"))).collect()
}
