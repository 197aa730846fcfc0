//! From MLflow's delivery about an alias to the commit, against the calls that re-reading the model needs: a real server, and both in turns.

use std::time::{Duration, Instant};

use serde_json::Value;
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
        let [one, two, three] = CALLS.map(|call| one_by_one(&mlflow, call));
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
    mlflow: &'a MlflowServer,
    connection: Connection,
    events: Events,
    secret: String,
    at: usize,
}

impl<'a> Mover<'a> {
    /// Begins with version 1 released, which the sweep at the start sees to.
    fn new(mlflow: &'a MlflowServer, server: &Server<'_>) -> Self {
        let released = || server.api("GET", &format!("/releases/production/models/{MODEL}"), None).status == 200;
        server.until("the first release", || released().then_some(()));
        let (events, connection) = (server.events(), Connection::open(server.address()));
        Self { mlflow, connection, events, secret: server.secret(Signing::Mlflow), at: 1 }
    }

    /// From the moment before the delivery to the commit, in milliseconds.
    fn move_on(&mut self) -> f64 {
        let before = self.at.to_string();
        self.at += 1;
        let version = self.at.to_string();
        self.mlflow.set_alias(MODEL, "champion", &version);
        let delivery = Delivery::alias(&format!("move-{version}"), MODEL, "champion", &version).sign(&self.secret);
        let began = Instant::now();
        drop(self.connection.send(&delivery).expect(202));
        self.events.until("the commit", |event| event.kind == "release" && is_of(&event.data, &version));
        let took = ms(began.elapsed());
        // The versions are told how they fare afterwards, the one that went last: it must not disturb what is measured next.
        while self.mlflow.tag(MODEL, &before, "kmlflow.status.state").as_deref() != Some("retired") {
            pause(Duration::from_millis(5));
        }
        took
    }
}

fn is_of(release: &Value, version: &str) -> bool {
    release["version"] == version
}

fn one_by_one(mlflow: &MlflowServer, call: &str) -> Vec<f64> {
    let mut connection = Connection::open(mlflow.address());
    // The first one pays for the connection.
    ask(&mut connection, call);
    (0..CHUNK).map(|_| ask(&mut connection, call)).collect()
}

fn as_they_are_made(mlflow: &MlflowServer) -> Vec<f64> {
    let mut connections = [(); 2].map(|()| Connection::open(mlflow.address()));
    let [model, wishes, version] = CALLS;
    let mut both = || {
        let began = Instant::now();
        let [one, other] = &mut connections;
        std::thread::scope(|scope| {
            scope.spawn(|| ask(other, wishes));
            ask(one, model);
        });
        ask(one, version);
        ms(began.elapsed())
    };
    both();
    (0..CHUNK).map(|_| both()).collect()
}

fn ask(connection: &mut Connection, call: &str) -> f64 {
    let request = Request::new("GET", &format!("/api/2.0/mlflow{call}"));
    let began = Instant::now();
    let answer = connection.send(&request);
    let took = ms(began.elapsed());
    drop(answer.expect(200));
    took
}
