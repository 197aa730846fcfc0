//! From MLflow's delivery about an alias to the commit, against the calls that re-reading the model needs: a real server, and both in turns.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::http::Uri;
use axum::serve::ListenerExt as _;
use axum::{Json, Router};
use serde_json::{Value, json};
use tests::events::Events;
use tests::mlflow::MlflowServer;
use tests::{Connection, Delivery, Request, Server, ServerBuilder, Signing, TestEnvironment};

use crate::Bench;
use crate::machine::{median, ms, pause, range};
use crate::report::Report;

/// Aliases that are moved before the calls have their turn, and the other way round.
const CHUNK: usize = 10;

const MODEL: &str = "fraud";

/// What is asked to re-read a model: itself and the versions that bear a wish at once, then the version that the alias names.
const CALLS: [&str; 3] = [
    "/registered-models/get?name=fraud",
    "/model-versions/search?filter=name+%3D+%27fraud%27+AND+tags.%60kmlflow.release%60+LIKE+%27%25%27&max_results=1000",
    "/model-versions/get?name=fraud&version=1",
];

pub fn measure(bench: &Bench, report: &mut Report) {
    let rounds = bench.sizes.rounds;
    let mlflow = MlflowServer::builder().below(&bench.folder).start();
    create_versions(&mlflow, rounds * CHUNK + 2);
    mlflow.set_alias(MODEL, "champion", "1");
    let environment = TestEnvironment::below(&bench.folder);
    let server = asking(&environment, &mlflow.url()).start();
    let mut mover = Mover::new(&mlflow, &server);
    // The first one pays for what is made once.
    mover.move_on();
    let (mut moved, mut beyond, mut together) = (Vec::new(), Vec::new(), Vec::new());
    let mut calls: [Vec<f64>; 3] = Default::default();
    for _ in 0..rounds {
        let chunk: Vec<f64> = (0..CHUNK).map(|_| mover.move_on()).collect();
        let [one, two, three] = one_by_one(&mlflow);
        together.extend(as_they_are_made(&mlflow));
        beyond.push(median(&chunk) - median(&one) - median(&two) - median(&three));
        moved.extend(chunk);
        for (all, some) in calls.iter_mut().zip([one, two, three]) {
            all.extend(some);
        }
    }
    let medians = calls.map(|call| median(&call));
    let needed: f64 = medians.iter().sum();
    let what =
        format!("MLflow's delivery about an alias → commit, p50, beyond the calls of the re-read {}", range(&beyond));
    report.at_most(&what, median(&moved) - needed, 15.0, " ms");
    let [model, wishes, version] = medians;
    let each = format!("{:.1} ms; {needed:.1} ms = {model:.1} + {wishes:.1} + {version:.1} ms", median(&moved));
    report.beside("the same whole; the calls one by one: model, wishes, version", each);
    report.beside("the calls as the service makes them, two at once", format!("{:.1} ms", median(&together)));
    report.beside("the same with a registry that answers at once", format!("{:.1} ms", median(&own_part(bench))));
}

/// A service that asks a tracking server only when it is told something, or asked to.
pub fn asking<'a>(environment: &'a TestEnvironment, tracking_uri: &str) -> ServerBuilder<'a> {
    let builder = environment.server().env("KMLFLOW__ENVIRONMENTS__PRODUCTION__NEW_RELEASES_PER_MINUTE", "10000000");
    builder.env("KMLFLOW__MLFLOW__TRACKING_URI", tracking_uri).env("KMLFLOW__MLFLOW__SWEEP_INTERVAL", "1h")
}

fn create_versions(mlflow: &MlflowServer, versions: usize) {
    mlflow.create_model(MODEL);
    for number in 1..=versions {
        let image = format!("registry.example/{MODEL}:{number}");
        mlflow.create_version(MODEL, "s3://models/x", &[("serving_image", &image)]);
    }
}

/// Moves the alias from version to version and says so as MLflow would: no webhook is registered, so that the moment is known.
struct Mover<'a> {
    registry: &'a dyn Registry,
    connection: Connection,
    events: Events,
    secret: String,
    at: usize,
}

/// Where the alias is.
trait Registry {
    /// Points it at a version.
    fn point(&self, version: &str);

    /// Whether a version that went has been told so, the last that comes of a move: it must not disturb what is measured next.
    fn has_told(&self, version: &str) -> bool;
}

impl Registry for MlflowServer {
    fn point(&self, version: &str) {
        self.set_alias(MODEL, "champion", version);
    }

    fn has_told(&self, version: &str) -> bool {
        self.tag(MODEL, version, "kmlflow.status.state").as_deref() == Some("retired")
    }
}

impl<'a> Mover<'a> {
    /// Begins with version 1 released, which the sweep at the start sees to.
    fn new(registry: &'a dyn Registry, server: &Server<'_>) -> Self {
        let released = || server.api("GET", &format!("/releases/production/models/{MODEL}"), None).status == 200;
        server.until("the first release", || released().then_some(()));
        let (events, connection) = (server.events(), Connection::open(server.address()));
        Self { registry, connection, events, secret: server.secret(Signing::Mlflow), at: 1 }
    }

    /// From the moment before the delivery to the commit, in milliseconds.
    fn move_on(&mut self) -> f64 {
        let before = self.at.to_string();
        self.at += 1;
        let version = self.at.to_string();
        self.registry.point(&version);
        let delivery = Delivery::alias(&format!("move-{version}"), MODEL, "champion", &version).sign(&self.secret);
        let began = Instant::now();
        drop(self.connection.send(&delivery).expect(202));
        self.events.until("the commit", |event| event.kind == "release" && is_of(&event.data, &version));
        let took = ms(began.elapsed());
        while !self.registry.has_told(&before) {
            pause(Duration::from_millis(5));
        }
        took
    }
}

/// A registry that answers at once, with one model and the version that its alias names.
#[derive(Clone, Default)]
struct Instantly(Arc<Mutex<String>>);

impl Registry for Instantly {
    fn point(&self, version: &str) {
        version.clone_into(&mut self.0.lock().expect("the version"));
    }

    fn has_told(&self, _version: &str) -> bool {
        true
    }
}

impl Instantly {
    /// Begins to answer on a free port of the loopback, with a thread of its own; it ends with the process.
    fn start(&self) -> SocketAddr {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("a socket option");
        let address = listener.local_addr().expect("an address");
        let registry = self.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
                let answer = move |uri: Uri| std::future::ready(Json(registry.answer(uri.path())));
                let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
                axum::serve(listener, Router::new().fallback(answer)).await.expect("a registry");
            });
        });
        address
    }

    fn answer(&self, path: &str) -> Value {
        let version = self.0.lock().expect("the version").clone();
        let tags = json!([{"key": "serving_image", "value": format!("registry.example/{MODEL}:{version}")}]);
        let named = json!({"name": MODEL, "version": version, "source": "s3://models/x", "tags": tags});
        let model = json!({"name": MODEL, "aliases": [{"alias": "champion", "version": version}]});
        match path.rsplit_once("/mlflow/").map(|(_, call)| call) {
            Some("registered-models/search") => json!({"registered_models": [model]}),
            Some("registered-models/get") => json!({"registered_model": model}),
            Some("model-versions/get") => json!({"model_version": named}),
            _ => json!({}),
        }
    }
}

/// The service's own part of the way: the same deliveries with a registry that costs nothing.
fn own_part(bench: &Bench) -> Vec<f64> {
    let registry = Instantly::default();
    registry.point("1");
    let environment = TestEnvironment::below(&bench.folder);
    let url = format!("http://{}", registry.start());
    let server = asking(&environment, &url).env("KMLFLOW__MLFLOW__WRITE_BACK", "false").start();
    let mut mover = Mover::new(&registry, &server);
    mover.move_on();
    (0..bench.sizes.rounds * CHUNK).map(|_| mover.move_on()).collect()
}

fn is_of(release: &Value, version: &str) -> bool {
    release["version"] == version
}

/// Moves an alias that no policy knows: whatever is asked next is asked of a registry that has just been written to, as after a real move.
fn touch(mlflow: &MlflowServer, turn: usize) {
    mlflow.set_alias(MODEL, "beside", if turn.is_multiple_of(2) { "1" } else { "2" });
}

/// The calls of a re-read one after the other on one connection, how long each takes.
fn one_by_one(mlflow: &MlflowServer) -> [Vec<f64>; 3] {
    let mut connection = Connection::open(mlflow.address());
    // The first one pays for the connection.
    ask(&mut connection, CALLS[0]);
    let mut took: [Vec<f64>; 3] = Default::default();
    for turn in 0..CHUNK {
        touch(mlflow, turn);
        for (call, took) in CALLS.into_iter().zip(&mut took) {
            took.push(ask(&mut connection, call));
        }
    }
    took
}

fn as_they_are_made(mlflow: &MlflowServer) -> Vec<f64> {
    let mut connections = [(); 2].map(|()| Connection::open(mlflow.address()));
    let [model, wishes, version] = CALLS;
    let mut both = |turn| {
        touch(mlflow, turn);
        let began = Instant::now();
        let [one, other] = &mut connections;
        std::thread::scope(|scope| {
            scope.spawn(|| ask(other, wishes));
            ask(one, model);
        });
        ask(one, version);
        ms(began.elapsed())
    };
    both(0);
    (0..CHUNK).map(both).collect()
}

fn ask(connection: &mut Connection, call: &str) -> f64 {
    let request = Request::new("GET", &format!("/api/2.0/mlflow{call}"));
    let began = Instant::now();
    let answer = connection.send(&request);
    let took = ms(began.elapsed());
    drop(answer.expect(200));
    took
}
