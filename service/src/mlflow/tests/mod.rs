//! The client against a scripted tracking server: a call too few fails as well as one too many.

mod answers;
mod connect;
mod failures;
mod reading;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::Url;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::names::{ModelName, Version};

/// What a scripted server answers to one request.
#[derive(Clone)]
enum Reply {
    /// Bytes as they are, and the end of the connection.
    Bytes(Vec<u8>),
    /// Nothing, until whoever asked goes away.
    Silence,
}

/// A server that expects some requests, each once, in any order.
struct Script {
    address: String,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    expected: Vec<(String, Reply)>,
    unexpected: Vec<String>,
    authorizations: Vec<String>,
    open: usize,
    open_max: usize,
}

impl Script {
    /// Starts one. A request is written `GET registered-models/get name=fraud`, with its body at the end where it has one.
    async fn of(expected: impl IntoIterator<Item = (&str, Reply)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let expected = expected.into_iter().map(|(request, reply)| (request.to_owned(), reply)).collect();
        let state = Arc::new(Mutex::new(State { expected, ..State::default() }));
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, Arc::clone(&shared)));
            }
        });
        Self { address, state }
    }

    /// A client of it.
    fn client(&self) -> Client {
        client_of(&self.address)
    }

    /// Insists that every expected request came, and no other.
    fn done(&self) {
        let state = self.state.lock().unwrap();
        assert_eq!(state.unexpected, Vec::<String>::new(), "one too many");
        let left: Vec<&String> = state.expected.iter().map(|(request, _)| request).collect();
        assert!(left.is_empty(), "one too few: {left:?}");
    }

    fn authorizations(&self) -> Vec<String> {
        self.state.lock().unwrap().authorizations.clone()
    }
}

fn client_of(address: &str) -> Client {
    let settings = Settings { tracking_uri: address.to_owned(), username: None, password: None };
    Client::new(settings).unwrap()
}

async fn answer(mut stream: TcpStream, state: Arc<Mutex<State>>) {
    let Some((request, authorization)) = read_request(&mut stream).await else { return };
    let reply = {
        let mut state = state.lock().unwrap();
        state.open += 1;
        state.open_max = state.open_max.max(state.open);
        state.authorizations.extend(authorization);
        match state.expected.iter().position(|(expected, _)| *expected == request) {
            Some(at) => state.expected.remove(at).1,
            None => {
                state.unexpected.push(request);
                html(418, "not in the script")
            }
        }
    };
    match reply {
        Reply::Bytes(bytes) => {
            // Others that wait for a slot come first where there is one.
            tokio::task::yield_now().await;
            state.lock().unwrap().open -= 1;
            let _written = stream.write_all(&bytes).await;
        }
        Reply::Silence => {
            let _closed = stream.read(&mut [0; 1]).await;
        }
    }
}

async fn read_request(stream: &mut TcpStream) -> Option<(String, Option<String>)> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let read = stream.read(&mut buffer).await.ok().filter(|read| *read > 0)?;
        bytes.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let header = |name: &str| {
            let found = head.lines().filter_map(|line| line.split_once(": "));
            found.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned()).next()
        };
        if body.len() < header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0) {
            continue;
        }
        let mut words = head.split(' ');
        let (method, target) = (words.next()?, words.next()?);
        let url = Url::parse(&format!("http://x{target}")).ok()?;
        let path = url.path().trim_start_matches('/').trim_start_matches("api/2.0/mlflow/");
        let pairs: Vec<String> = url.query_pairs().map(|(name, value)| format!("{name}={value}")).collect();
        let body: Option<Value> = serde_json::from_str(body).ok();
        let parts = [format!("{method} {path}"), pairs.join("&"), body.map(|b| b.to_string()).unwrap_or_default()];
        let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        return Some((parts.join(" "), header("authorization")));
    }
}

fn with_head(status: u16, headers: &str, body: impl AsRef<[u8]>) -> Reply {
    let body = body.as_ref();
    let head = format!("HTTP/1.1 {status} X\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    Reply::Bytes([head.as_bytes(), body].concat())
}

fn ok(body: Value) -> Reply {
    with_head(200, "Content-Type: application/json\r\n", body.to_string())
}

fn html(status: u16, text: &str) -> Reply {
    with_head(status, "Content-Type: text/html\r\n", format!("<!doctype html><title>{text}</title>"))
}

fn refused(status: u16, code: &str, message: &str) -> Reply {
    with_head(status, "Content-Type: application/json\r\n", json!({"error_code": code, "message": message}).to_string())
}

fn absent() -> Reply {
    refused(404, "RESOURCE_DOES_NOT_EXIST", "Registered Model with name=fraud not found")
}

fn fraud() -> ModelName {
    ModelName::parse("fraud").unwrap()
}

fn version(number: u32) -> Version {
    Version::parse(&number.to_string()).unwrap()
}

fn wishes() -> Vec<String> {
    vec!["kmlflow.release".to_owned()]
}
