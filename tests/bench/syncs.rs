//! How often the disk is waited for, counted by strace: free of noise.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::json;
use tests::environment::signal;
use tests::{Delivery, Request, Server, Signing, TestEnvironment};

use crate::Bench;
use crate::commits::{drained, service};
use crate::receiver::post_all;
use crate::report::Report;

/// Requests that are made one at a time, so that each is a batch.
const ONE_BY_ONE: usize = 20;

/// Requests that are let through at once.
const AT_ONCE: usize = 200;

/// strace at a running service.
struct Trace {
    strace: Child,
    file: std::path::PathBuf,
}

impl Trace {
    fn of(server: &Server<'_>, environment: &TestEnvironment) -> Self {
        let file = environment.path("trace");
        let mut command = Command::new("strace");
        command.args([
            "-f",
            "-y",
            "-e",
            "trace=fsync,fdatasync,syncfs,sync,msync,sync_file_range",
            "-p",
            &server.pid().to_string(),
            "-o",
        ]);
        let mut strace = command.arg(&file).stderr(Stdio::piped()).spawn().expect("strace");
        let mut said = BufReader::new(strace.stderr.take().expect("its messages"));
        let mut line = String::new();
        said.read_line(&mut line).expect("its first message");
        assert!(line.contains("attached"), "strace: {line}");
        // Whatever else it says is read to its end, so that it never waits for us.
        std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
        Self { strace, file }
    }

    /// Ends it and counts the calls by what they were about: `repository`, `store`, `other`.
    fn end(mut self) -> BTreeMap<&'static str, usize> {
        let id = self.strace.id().to_string();
        signal("-INT", &id);
        self.strace.wait().expect("the end of strace");
        let text = std::fs::read_to_string(&self.file).expect("the trace");
        let mut counts = BTreeMap::from([("repository", 0), ("store", 0), ("other", 0)]);
        let calls =
            text.lines().filter(|line| line.contains("sync") && line.contains('(') && !line.contains(" resumed>"));
        for line in calls {
            let about = if line.contains("gitops.git") {
                "repository"
            } else if line.contains("kmlflow.db") {
                "store"
            } else {
                "other"
            };
            *counts.entry(about).or_default() += 1;
        }
        counts
    }
}

pub fn measure(bench: &Bench, report: &mut Report) {
    let environment = TestEnvironment::below(&bench.folder);
    let server = service(&environment);
    put(&server, 1);
    let trace = Trace::of(&server, &environment);
    for version in 2..2 + ONE_BY_ONE {
        put(&server, version);
    }
    let counts = trace.end();
    let per_batch = |about: &str| counts[about] as f64 / ONE_BY_ONE as f64;
    // None at all would be fast, and lose what was acknowledged with the power.
    report.counted("syncs per batch in the repository, by strace", per_batch("repository"), 1.0..=3.0);
    // Git has what is answered, so the store may take the outcome of one batch together with the next.
    report.counted("syncs per batch in the store, by strace", per_batch("store"), 0.5..=2.0);
    report.counted("syncs per batch elsewhere", per_batch("other"), 0.0..=0.0);

    at_once(&server, &environment, report);
    receiving(bench, &server, &environment, report);
}

fn put(server: &Server<'_>, version: usize) {
    let body = json!({"model": "fraud", "version": version, "image": format!("registry.example/fraud:{version}")});
    let answer = server.put("production/models/fraud", &body);
    assert!([200, 201].contains(&answer.status), "{}", answer.text());
}

fn at_once(server: &Server<'_>, environment: &TestEnvironment, report: &mut Report) {
    server.api("POST", "/hold", Some(&json!({"reason": "bench"}))).expect(200);
    let secret = server.secret(Signing::Standard);
    let wish = |number: usize| {
        let name = format!("m{number}");
        let body = json!({"name": name, "namespace": "models", "environment": "production", "model": name, "version": "1", "image": "registry.example/m:1"});
        Delivery::generic(&format!("batch-{number}"), &body).sign(&secret)
    };
    let wishes: Vec<Request> = (0..AT_ONCE).map(wish).collect();
    post_all(server.address(), &wishes, 202);
    let trace = Trace::of(server, environment);
    server.api("DELETE", "/hold", None).expect(200);
    drained(server);
    let counts = trace.end();
    let told = format!("{} and {}", counts["repository"], counts["store"]);
    report.beside(&format!("syncs of repository and store for {AT_ONCE} releases at once"), told);
}

fn receiving(bench: &Bench, server: &Server<'_>, environment: &TestEnvironment, report: &mut Report) {
    let secret = server.secret(Signing::Mlflow);
    let deliveries = bench.sizes.deliveries;
    let tag = |number: usize| {
        Delivery::tag(&format!("traced-{number}"), "fraud", "7", "note", &format!("run {number}")).sign(&secret)
    };
    let signed: Vec<Request> = (0..deliveries).map(tag).collect();
    server.api("POST", "/hold", Some(&json!({"reason": "bench"}))).expect(200);
    let trace = Trace::of(server, environment);
    post_all(server.address(), &signed, 202);
    let counts = trace.end();
    server.api("DELETE", "/hold", None).expect(200);
    let per_sync = deliveries as f64 / counts["store"].max(1) as f64;
    report.beside(
        "deliveries made durable per sync of the store, 32 connections, under strace",
        format!("{per_sync:.1}"),
    );
}
