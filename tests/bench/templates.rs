//! Templates of one release: MiniJinja here against jinja2 there, the same texts and the same context.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

use kmlflow::release::Release;
use kmlflow::render::unchecked::{Unchecked, texts};
use kmlflow::render::{Templates, render};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tests::TestEnvironment;

use crate::Bench;
use crate::commits::service;
use crate::machine::{median, ms, range};
use crate::report::Report;

/// jinja2 as a process that renders as often as it is told; ends when it is dropped.
struct Contender {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Contender {
    fn start(bench: &Bench, given: &std::path::Path) -> Self {
        let program = tests::environment::repository_root().join("tests/bench/jinja.py");
        let mut command = Command::new(&bench.python);
        let spawned = command.arg(program).arg(given).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = spawned.expect("the contender");
        let input = child.stdin.take().expect("its input");
        let output = BufReader::new(child.stdout.take().expect("its output"));
        Self { child, input, output }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("an answer of the contender");
        line.trim().to_owned()
    }

    /// Milliseconds for this many renders of the set.
    fn render(&mut self, times: usize) -> f64 {
        writeln!(self.input, "{times}").expect("the contender");
        self.line().parse::<f64>().expect("seconds") * 1000.0
    }
}

impl Drop for Contender {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A canary with everything, as the service wrote it.
fn release(bench: &Bench) -> Release {
    let environment = TestEnvironment::below(&bench.folder);
    let server = service(&environment);
    let body = |version: &str, more: serde_json::Value| {
        let mut body =
            json!({"model": "fraud", "version": version, "image": format!("registry.example/fraud:{version}")});
        body.as_object_mut().expect("an object").extend(more.as_object().cloned().expect("an object"));
        body
    };
    server.put("production/models/fraud", &body("7", json!({}))).expect(201);
    server.put("production/models/fraud", &body("8", json!({"strategy": "canary"}))).expect(200);
    let text = server.clone_repository().read("releases/production/models/fraud/release.yaml").expect("release.yaml");
    Release::parse(&text).expect("a release")
}

pub fn measure(bench: &Bench, report: &mut Report) {
    let release = release(bench);
    let templates = Templates::built_in();
    let alone = Unchecked::new(&release, &templates).expect("a context");
    let texts: serde_json::Map<String, serde_json::Value> =
        texts().iter().map(|(name, text)| ((*name).to_owned(), (*text).into())).collect();
    let given = bench.folder.join("jinja.json");
    let content = json!({"templates": texts, "names": alone.names, "context": alone.to_json()});
    std::fs::write(&given, content.to_string()).expect("a file for the contender");
    let mut contender = Contender::start(bench, &given);
    let rendered = alone.render(&templates).expect("a render").concat();
    assert_eq!(contender.line(), hex(&Sha256::digest(&rendered)), "the two engines render different bytes");

    let renders = bench.sizes.renders;
    contender.render(renders);
    let (mut ratios, mut ours, mut checked) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..bench.sizes.rounds {
        let began = Instant::now();
        for _ in 0..renders {
            std::hint::black_box(alone.render(&templates).expect("a render"));
        }
        let mine = ms(began.elapsed());
        ratios.push(mine / contender.render(renders));
        ours.push(mine / renders as f64);
        let began = Instant::now();
        for _ in 0..renders {
            std::hint::black_box(render(&release, &templates).expect("a render"));
        }
        checked.push(ms(began.elapsed()) / renders as f64);
    }
    report.at_most(&format!("templates of one release, against jinja2 {}", range(&ratios)), median(&ratios), 0.25, "x");
    report.at_most(&format!("one release rendered and validated {}", range(&checked)), median(&checked), 2.0, " ms");
    report.beside(
        "its templates alone",
        format!("{:.3} ms for {} bytes, the same bytes from both", median(&ours), rendered.len()),
    );
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
