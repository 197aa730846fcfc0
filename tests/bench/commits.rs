//! From a request to its commit: idle, with a backlog, and with many releases present.

use std::time::{Duration, Instant};

use serde_json::json;
use tests::{Connection, Delivery, Request, Server, Signing, TestEnvironment};

use crate::machine::{Journal, median, ms, pause, processor_seconds, range};
use crate::receiver::post_all;
use crate::report::Report;
use crate::{Bench, Sizes};

/// Requests of one contender before the next has its turn.
const CHUNK: usize = 20;

/// How long an idle service is left alone before each request: by then the store has what the request before came to. The disk is left alone as
/// long before each `fdatasync`.
const REST: Duration = Duration::from_millis(3);

pub fn measure(bench: &Bench, report: &mut Report) {
    idle(bench, report);
    backlog(bench, report);
    many_present(bench, report);
}

/// A service for the bench: no storm guard, phases at once.
pub fn service<'a>(environment: &'a TestEnvironment) -> Server<'a> {
    environment.server().env("KMLFLOW__ENVIRONMENTS__PRODUCTION__NEW_RELEASES_PER_MINUTE", "10000000").start()
}

/// Puts ever newer versions of releases, one after the other, on one connection.
pub struct Caller {
    connection: Connection,
    token: String,
    version: u32,
}

impl Caller {
    /// One who begins.
    pub fn new(server: &Server<'_>) -> Self {
        Self { connection: Connection::open(server.address()), token: server.token(), version: 100 }
    }

    /// Goes on with a new connection: a server closes one that rests for long.
    pub fn connect_again(&mut self, server: &Server<'_>) {
        self.connection = Connection::open(server.address());
    }

    /// One request to its commit, in milliseconds.
    pub fn put(&mut self, namespace: &str, name: &str) -> f64 {
        self.version += 1;
        let body = json!({"model": name, "version": self.version, "image": format!("registry.example/{name}:{}", self.version)});
        let path = format!("/api/v1/releases/production/{namespace}/{name}");
        let request = Request::new("PUT", &path).bearer(&self.token).json(&body);
        let began = Instant::now();
        let answer = self.connection.send(&request);
        let took = ms(began.elapsed());
        assert!([200, 201].contains(&answer.status), "{}", answer.text());
        took
    }
}

/// A generic delivery that asks for a release.
pub fn wish(namespace: &str, name: &str) -> Delivery {
    let body = json!({"name": name, "namespace": namespace, "environment": "production", "model": name, "version": "1", "image": format!("registry.example/{name}:1")});
    Delivery::generic(&format!("{namespace}-{name}"), &body)
}

/// Where the release of this number is.
pub fn namespace_of(number: usize, namespaces: usize) -> String {
    format!("ns{}", number % namespaces)
}

/// Makes this many releases and waits until all are committed.
pub fn fill(server: &Server<'_>, releases: usize, namespaces: usize) {
    fill_with(server, 0..releases, namespaces);
}

/// Makes the releases of these numbers and waits until all are committed.
pub fn fill_with(server: &Server<'_>, numbers: std::ops::Range<usize>, namespaces: usize) {
    let secret = server.secret(Signing::Standard);
    let wishes: Vec<Request> =
        numbers.map(|number| wish(&namespace_of(number, namespaces), &format!("m{number}")).sign(&secret)).collect();
    post_all(server.address(), &wishes, 202);
    drained(server);
}

/// Waits until nothing waits in the inbox.
pub fn drained(server: &Server<'_>) {
    let ask =
        |state: &str| Request::new("GET", &format!("/api/v1/deliveries?state={state}&limit=1")).bearer(&server.token());
    // What failed is tried again, and is no more done than what waits.
    let [accepted, failed] = ["accepted", "failed"].map(ask);
    let mut connection = Connection::open(server.address());
    let mut is_empty =
        |request: &Request| connection.send(request).json()["items"].as_array().expect("a list").is_empty();
    while !(is_empty(&accepted) && is_empty(&failed)) {
        pause(Duration::from_millis(2));
    }
}

fn idle(bench: &Bench, report: &mut Report) {
    let rounds = bench.sizes.rounds;
    let environment = TestEnvironment::below(&bench.folder);
    let server = service(&environment);
    let mut caller = Caller::new(&server);
    let mut growing = Journal::growing(&environment.path(""));
    let mut allocated = Journal::allocated(&environment.path(""), rounds * CHUNK);
    caller.put("models", "fraud");
    let mut rested = Against::default();
    let mut at_once = Against::default();
    let mut writes = Vec::new();
    for _ in 0..rounds {
        for (rest, against) in [(REST, &mut rested), (Duration::ZERO, &mut at_once)] {
            let chunk = |work: &mut dyn FnMut() -> f64| -> Vec<f64> {
                let one = |_| {
                    pause(rest);
                    work()
                };
                (0..CHUNK).map(one).collect()
            };
            let committed = chunk(&mut || caller.put("models", "fraud"));
            pause(REST);
            against.add(committed, chunk(&mut || ms(growing.write())));
        }
        writes.extend((0..CHUNK).map(|_| ms(allocated.write())));
    }
    let what = format!("request → committed, idle, p50, in fdatasyncs of the same run {}", range(&rested.ratios));
    report.at_most(&what, median(&rested.ratios), 8.0, "x");
    report.beside("request → committed, idle, p50; one fdatasync of 4 KiB, appended", rested.shown());
    report.beside(
        &format!("the same, each right behind the one before {}", range(&at_once.ratios)),
        format!("{:.2}x: {}", median(&at_once.ratios), at_once.shown()),
    );
    report.beside("one fdatasync into blocks that are there, p50", format!("{:.3} ms", median(&writes)));
}

/// Times of requests and of an `fdatasync`, and what the first are in terms of the second in each round.
#[derive(Default)]
struct Against {
    requests: Vec<f64>,
    syncs: Vec<f64>,
    ratios: Vec<f64>,
}

impl Against {
    fn add(&mut self, requests: Vec<f64>, syncs: Vec<f64>) {
        self.ratios.push(median(&requests) / median(&syncs));
        self.requests.extend(requests);
        self.syncs.extend(syncs);
    }

    fn shown(&self) -> String {
        format!("{:.2} ms; {:.3} ms", median(&self.requests), median(&self.syncs))
    }
}

fn backlog(bench: &Bench, report: &mut Report) {
    let waiting = bench.sizes.backlog;
    let environment = TestEnvironment::below(&bench.folder);
    let server = service(&environment);
    server.api("POST", "/hold", Some(&json!({"reason": "bench"}))).expect(200);
    let secret = server.secret(Signing::Standard);
    let wishes: Vec<Request> = (0..waiting).map(|number| wish("models", &format!("m{number}")).sign(&secret)).collect();
    post_all(server.address(), &wishes, 202);
    let before = processor_seconds(server.pid());
    let began = Instant::now();
    server.api("DELETE", "/hold", None).expect(200);
    drained(&server);
    let seconds = began.elapsed().as_secs_f64();
    let cpu = processor_seconds(server.pid()) - before;
    report.at_least(&format!("{waiting} queued requests, releases per second"), waiting as f64 / seconds, 500.0, "/s");
    report.beside("the same, processor time per release", format!("{:.2} ms", cpu * 1000.0 / waiting as f64));
    report.beside(
        "commits of the backlog",
        server.clone_repository().ask(&["rev-list", "--count", "HEAD"]).trim().to_owned(),
    );
}

fn many_present(bench: &Bench, report: &mut Report) {
    let Sizes { rounds, present: [few, many], namespaces, .. } = bench.sizes;
    let environments = [(); 3].map(|()| TestEnvironment::below(&bench.folder));
    let shapes = [(few, 1), (many, namespaces), (many, 1)];
    let servers: Vec<Server<'_>> = environments.iter().map(service).collect();
    for (server, (releases, namespaces)) in servers.iter().zip(shapes) {
        fill(server, releases, namespaces);
    }
    let mut callers: Vec<Caller> = servers.iter().map(Caller::new).collect();
    let mut took: [Vec<f64>; 3] = Default::default();
    let mut ratios: [Vec<f64>; 3] = Default::default();
    for round in 0..rounds {
        let mut medians = [0.0; 3];
        for (place, caller) in callers.iter_mut().enumerate() {
            let (releases, namespaces) = shapes[place];
            // Spread over all of them, so that no cache of one release makes it cheap.
            let numbers = (0..CHUNK).map(|turn| (round * CHUNK + turn) * 7919 % releases);
            let chunk: Vec<f64> =
                numbers.map(|number| caller.put(&namespace_of(number, namespaces), &format!("m{number}"))).collect();
            medians[place] = median(&chunk);
            took[place].extend(chunk);
        }
        for place in 0..3 {
            ratios[place].push(medians[place] / medians[0]);
        }
    }
    let what =
        format!("cost per release with {many} present in {namespaces} namespaces, against {few} {}", range(&ratios[1]));
    report.at_most(&what, median(&ratios[1]), 1.5, "x");
    report.beside(
        &format!("the same with {many} in one flat namespace {}", range(&ratios[2])),
        format!("{:.2}x", median(&ratios[2])),
    );
    for ((releases, namespaces), (took, server)) in shapes.iter().zip(took.iter().zip(&servers)) {
        let memory = crate::machine::resident_mib_max(server.pid());
        report.beside(
            &format!("request → committed with {releases} in {namespaces}, p50; memory"),
            format!("{:.2} ms; {memory:.0} MiB", median(took)),
        );
    }
}
