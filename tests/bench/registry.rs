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
use crate::counting::Counting;
use crate::machine::{median, ms, pause, range};
use crate::report::Report;

/// Aliases that are moved before the calls have their turn, and the other way round.
const CHUNK: usize = 10;

const MODEL: &str = "fraud";

/// What each version was logged with: as short as MLflow writes it, with a signature.
const ML_MODEL: &str = r#"artifact_path: model
flavors:
  python_function:
    loader_module: mlflow.sklearn
    model_path: model.pkl
    python_version: 3.11.2
  sklearn:
    pickled_model: model.pkl
    serialization_format: cloudpickle
    sklearn_version: 1.5.2
mlflow_version: 3.17.2
signature:
  inputs: '[{"type": "double", "name": "amount", "required": true}]'
  outputs: '[{"type": "long", "required": true}]'
"#;

/// What a move asks before its commit: the model itself, the versions that bear a wish, the version that the alias names, and what the new
/// and the live version take as input. `{new}` and `{live}` stand for their numbers.
const CALLS: [&str; 5] = [
    "/api/2.0/mlflow/registered-models/get?name=fraud",
    "/api/2.0/mlflow/model-versions/search?filter=name+%3D+%27fraud%27+AND+tags.%60kmlflow.release%60+LIKE+%27%25%27&max_results=1000",
    "/api/2.0/mlflow/model-versions/get?name=fraud&version={new}",
    "/model-versions/get-artifact?name=fraud&version={new}&path=MLmodel",
    "/model-versions/get-artifact?name=fraud&version={live}&path=MLmodel",
];

/// The numbers of the versions that are asked about when nothing moves.
const STILL: [usize; 2] = [1, 2];

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
    let mut calls: [Vec<f64>; CALLS.len()] = Default::default();
    for _ in 0..rounds {
        let chunk: Vec<f64> = (0..CHUNK).map(|_| mover.move_on()).collect();
        let alone = one_by_one(&mlflow);
        together.extend(as_they_are_made(&mlflow));
        beyond.push(median(&chunk) - alone.iter().map(|call| median(call)).sum::<f64>());
        moved.extend(chunk);
        for (all, some) in calls.iter_mut().zip(alone) {
            all.extend(some);
        }
    }
    let medians = calls.map(|call| median(&call));
    let needed: f64 = medians.iter().sum();
    let what =
        format!("MLflow's delivery about an alias → commit, p50, beyond the calls of the re-read {}", range(&beyond));
    report.at_most(&what, median(&moved) - needed, 15.0, " ms");
    let each = medians.map(|call| format!("{call:.1}")).join(" + ");
    let told = format!("{:.1} ms; {needed:.1} ms = {each} ms", median(&moved));
    report.beside(
        "the same whole; the calls one by one: model, wishes, version, its `MLmodel`, that of the live one",
        told,
    );
    report.beside("the calls as the service makes them, two at once", format!("{:.1} ms", median(&together)));
    report.counted(
        "calls of a move that are not among these, or among these and not made",
        unlike(bench, &mlflow) as f64,
        0.0..=0.0,
    );
    report.beside("the same with a registry that answers at once", format!("{:.1} ms", median(&own_part(bench))));
}

/// A service that asks a tracking server only when it is told something, or asked to.
pub fn asking<'a>(environment: &'a TestEnvironment, tracking_uri: &str) -> ServerBuilder<'a> {
    let builder = environment.server().env("KMLFLOW__ENVIRONMENTS__PRODUCTION__NEW_RELEASES_PER_MINUTE", "10000000");
    builder
        .env("KMLFLOW__MLFLOW__TRACKING_URI", tracking_uri)
        .env("KMLFLOW__MLFLOW__SWEEP_INTERVAL", "1h")
        .env("KMLFLOW__IMAGES__RESOLVE", "off")
}

/// Versions of one logged model, each with an image of its own.
fn create_versions(mlflow: &MlflowServer, versions: usize) {
    mlflow.create_model(MODEL);
    let run = mlflow.create_run(("of", "bench"));
    let source = mlflow.put_artifact(&run, "MLmodel", ML_MODEL);
    for number in 1..=versions {
        let tags = json!([{"key": "serving_image", "value": format!("registry.example/{MODEL}:{number}")}]);
        let body = json!({"name": MODEL, "source": source, "run_id": run, "tags": tags});
        drop(mlflow.api("POST", "/model-versions/create", Some(&body)).expect(200));
    }
}

/// What differs between what one move asks of the tracking server and the calls that are counted.
fn unlike(bench: &Bench, mlflow: &MlflowServer) -> usize {
    let [live, new] = STILL;
    mlflow.set_alias(MODEL, "champion", &live.to_string());
    let counting = Counting::before(mlflow.address());
    let environment = TestEnvironment::below(&bench.folder);
    // What is written back is asked about as well, but not before the commit.
    let server = asking(&environment, &counting.url()).env("KMLFLOW__MLFLOW__WRITE_BACK", "false").start();
    let registry = Untold(mlflow);
    let mut mover = Mover::new(&registry, &server);
    counting.take();
    mover.move_on();
    let mut asked: Vec<String> = counting.take().into_iter().map(|asked| asked.target).collect();
    let counted = CALLS.map(|call| about(call, live, new));
    let missing = counted.iter().filter(|call| {
        let found = asked.iter().position(|asked| asked == *call);
        found.map(|at| asked.swap_remove(at)).is_none()
    });
    missing.count() + asked.len()
}

/// A call with the numbers of the versions that it is about.
fn about(call: &str, live: usize, new: usize) -> String {
    call.replace("{live}", &live.to_string()).replace("{new}", &new.to_string())
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

/// A registry that nothing is written back to.
struct Untold<'a>(&'a MlflowServer);

impl Registry for Untold<'_> {
    fn point(&self, version: &str) {
        self.0.point(version);
    }

    fn has_told(&self, _version: &str) -> bool {
        true
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
fn one_by_one(mlflow: &MlflowServer) -> [Vec<f64>; CALLS.len()] {
    let [live, new] = STILL;
    let mut connection = Connection::open(mlflow.address());
    // The first one pays for the connection.
    ask(&mut connection, CALLS[0]);
    let mut took: [Vec<f64>; CALLS.len()] = Default::default();
    for turn in 0..CHUNK {
        touch(mlflow, turn);
        for (call, took) in CALLS.into_iter().zip(&mut took) {
            took.push(ask(&mut connection, &about(call, live, new)));
        }
    }
    took
}

fn as_they_are_made(mlflow: &MlflowServer) -> Vec<f64> {
    let mut connections = [(); 2].map(|()| Connection::open(mlflow.address()));
    let [live, new] = STILL;
    let [model, wishes, version, logged, logged_live] = CALLS.map(|call| about(call, live, new));
    let mut all = |turn| {
        touch(mlflow, turn);
        let began = Instant::now();
        both(&mut connections, [&model, &wishes]);
        ask(&mut connections[0], &version);
        both(&mut connections, [&logged, &logged_live]);
        ms(began.elapsed())
    };
    all(0);
    (0..CHUNK).map(all).collect()
}

fn both([one, other]: &mut [Connection; 2], calls: [&str; 2]) {
    std::thread::scope(|scope| {
        scope.spawn(|| ask(other, calls[1]));
        ask(one, calls[0]);
    });
}

fn ask(connection: &mut Connection, call: &str) -> f64 {
    let request = Request::new("GET", call);
    let began = Instant::now();
    let answer = connection.send(&request);
    let took = ms(began.elapsed());
    drop(answer.expect(200));
    took
}
