//! A sweep over a large registry on a real server: how long, and what it asks for.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant};

use axum::http::Method;
use tests::mlflow::MlflowServer;
use tests::{Server, TestEnvironment};

use crate::Bench;
use crate::commits::drained;
use crate::counting::{Asked, Counting};
use crate::machine::{median, pause, range, resident_mib_max};
use crate::registry::asking;
use crate::report::Report;

/// Models whose alias moves before each sweep, so that each has something to repair.
const CHANGED: usize = 10;

/// Sweeps that are measured: a registry has a version for each besides the first.
const SWEEPS: usize = 3;

/// What a page may have.
const PAGE_ITEMS: usize = 1_000;

const MODELS: &str = "/api/2.0/mlflow/registered-models/search";
const VERSIONS: &str = "/api/2.0/mlflow/model-versions/search";

pub fn measure(bench: &Bench, report: &mut Report) {
    let [models, each] = bench.sizes.registry;
    let changed = CHANGED.min(models);
    let files = TestEnvironment::below(&bench.folder);
    let mlflow = filled(&files, models, each);
    let counting = Counting::before(mlflow.address());
    let environment = TestEnvironment::below(&bench.folder);
    // Each of the first releases would be told to MLflow in four requests, for minutes.
    let server = asking(&environment, &counting.url()).env("KMLFLOW__MLFLOW__WRITE_BACK", "false").start();
    let first = first_sweep(&server);
    let (mut took, mut asked) = (Vec::new(), Vec::new());
    for number in 0..SWEEPS {
        for model in 0..changed {
            mlflow.set_alias(&format!("m{model}"), "champion", &(number + 2).to_string());
        }
        counting.take();
        let began = Instant::now();
        let found = server.api("POST", "/sweep", None).expect(200).json();
        took.push(began.elapsed().as_secs_f64());
        drained(&server);
        asked.push(counting.take());
        assert_eq!(found["models"], models, "{found}");
        assert_eq!(found["differences"].as_array().map(Vec::len), Some(changed), "{found}");
    }
    let versions = models * each;
    let what =
        format!("a sweep over {versions} versions in {models} models, {changed} of them changed {}", range(&took));
    report.at_most(&what, median(&took), 10.0, " s");
    report.beside("the first sweep, with a release for each model to come; memory", first_told(first, &server));
    count(report, (models, versions, changed), &asked);
}

/// A server with so many models of so many versions.
fn filled(files: &TestEnvironment, models: usize, each: usize) -> MlflowServer {
    let file = files.path("registry.db");
    let python = MlflowServer::program().with_file_name("python");
    let program = tests::environment::repository_root().join("tests/bench/registry_fill.py");
    let mut fill = Command::new(python);
    fill.arg(program).arg(&file).args([models, each].map(|number| number.to_string()));
    assert!(fill.status().expect("Python").success(), "the registry was not filled");
    let store = format!("sqlite:///{}", file.display());
    MlflowServer::builder().args(&["--backend-store-uri", &store]).start()
}

/// Waits for the sweep at the start, and all that comes of it; how long it took by its own account.
fn first_sweep(server: &Server<'_>) -> f64 {
    loop {
        let last = server.api("GET", "/sweep", None);
        if last.status == 200 {
            drained(server);
            return last.json()["tookMs"].as_f64().unwrap_or(f64::NAN);
        }
        pause(Duration::from_millis(20));
    }
}

fn first_told(took_ms: f64, server: &Server<'_>) -> String {
    format!("{:.2} s; {:.0} MiB", took_ms / 1000.0, resident_mib_max(server.pid()))
}

/// What was asked, which no machine changes.
fn count(report: &mut Report, (models, versions, changed): (usize, usize, usize), asked: &[Vec<Asked>]) {
    let pages = models.div_ceil(PAGE_ITEMS) + versions.div_ceil(PAGE_ITEMS);
    let most = asked.iter().map(Vec::len).max().unwrap_or_default();
    let what = format!("requests of a sweep: {pages} pages, and four for each changed model at most");
    // The model's run, where its files are, its `MLmodel`, and that of the version that serves.
    report.counted(&what, most as f64, pages as f64..=(pages + 4 * changed) as f64);
    let of = |path: &str| asked.iter().flatten().filter(|asked| asked.target.starts_with(path)).count() / asked.len();
    let told = format!("{} and {}", of(MODELS), of(VERSIONS));
    report.beside("of these pages of models, and pages of versions", told);
    let fetched_twice: usize = asked.iter().map(|sweep| twice(sweep)).sum();
    report.counted("versions that a sweep fetched twice", fetched_twice as f64, 0.0..=0.0);
    let written = asked.iter().flatten().filter(|asked| asked.method != Method::GET).count();
    report.counted("requests of a sweep that change something", written as f64, 0.0..=0.0);
}

fn twice(sweep: &[Asked]) -> usize {
    let mut fetched = BTreeMap::new();
    for version in sweep.iter().flat_map(|asked| &asked.versions) {
        *fetched.entry(version).or_insert(0) += 1;
    }
    fetched.values().filter(|times| **times > 1).count()
}
