//! The pull request of a candidate compares it with what serves, by what a real server holds of the runs that made them.

use std::collections::BTreeMap;

use serde_json::json;
use tests::TestEnvironment;
use tests::github::Way;
use tests::mlflow::MlflowServer;

use crate::github_forge::Forge;
use crate::reviewed::{review_is, review_of, serves};
use crate::{by, image};

const FRAUD: &str = "production/models/fraud";

/// A version that a run made in which this was measured, one step after the other; gives the run.
#[track_caller]
fn measured(mlflow: &MlflowServer, metrics: &[(&str, f64)]) -> String {
    let run = mlflow.create_run(("of", "tests"));
    for (step, (name, value)) in (0..).zip(metrics) {
        mlflow.log_metric(&run, name, *value, step);
    }
    mlflow.create_version_of(Some(&run), "fraud", "s3://models/fraud", &[]);
    run
}

/// The table of a pull request's body: of each measurement what it was for each version, in the order of the columns.
#[track_caller]
fn table(body: &str) -> (Vec<String>, BTreeMap<String, Vec<String>>) {
    let (_, rest) = body.split_once("### Measurements in MLflow\n\n").unwrap_or_else(|| panic!("no table: {body}"));
    let (table, _) = rest.split_once("\n\n").unwrap();
    let cells = |line: &str| -> Vec<String> {
        let line = line.strip_prefix("| ").and_then(|line| line.strip_suffix('|')).unwrap();
        // Nothing in a name is markup.
        line.split('|').map(|cell| cell.trim().replace('\\', "")).collect()
    };
    let mut lines = table.lines().map(cells);
    let (head, _rule) = (lines.next().unwrap(), lines.next().unwrap());
    (head[1..].to_vec(), lines.map(|line| (line[0].clone(), line[1..].to_vec())).collect())
}

/// What MLflow holds of some runs, as the rows of such a table.
fn held(mlflow: &MlflowServer, runs: &[&str]) -> BTreeMap<String, Vec<String>> {
    let runs: Vec<BTreeMap<String, f64>> = runs.iter().map(|run| mlflow.metrics(run)).collect();
    let names = runs.iter().flat_map(BTreeMap::keys).cloned();
    let cell = |name: &str, run: &BTreeMap<String, f64>| run.get(name).map_or_else(String::new, f64::to_string);
    names.map(|name| (name.clone(), runs.iter().map(|run| cell(&name, run)).collect())).collect()
}

#[test]
fn the_pull_request_of_a_candidate_has_the_figures_that_mlflow_holds_of_it_and_of_what_serves() {
    let environment = TestEnvironment::new();
    let forge = Forge::with_token(&environment);
    let mlflow = MlflowServer::builder().start();
    mlflow.create_model("fraud");
    // The last of what was measured counts.
    let live = measured(&mlflow, &[("auc", 0.5), ("auc", 0.9125), ("rows", 250_000.0), ("drift_ratio", 1.5e-7)]);
    let candidate = measured(&mlflow, &[("auc", 0.934_217_65), ("rows", 251_000.0), ("loss", -0.25)]);
    let server = forge
        .reviewed()
        .env("KMLFLOW__MLFLOW__TRACKING_URI", &mlflow.url())
        .env("KMLFLOW__MLFLOW__SWEEP_INTERVAL", "1h")
        .start();
    drop(review_of(&server, &server.put(FRAUD, &image("fraud", "1")).expect(202).json()));
    assert_eq!(table(&forge.github.pull(1).body), (vec!["version 1".to_owned()], held(&mlflow, &[&live])));
    forge.github.merge(1, Way::Squash);
    serves(&server, "1");
    review_is(&server, "merged");
    let canary = by("canary", "fraud", "2", json!({"steps": [5, 50]}));
    drop(review_of(&server, &server.put(FRAUD, &canary).expect(202).json()));
    let (versions, rows) = table(&forge.github.pull(2).body);
    assert_eq!(versions, ["version 1", "version 2"]);
    assert_eq!(rows, held(&mlflow, &[&live, &candidate]));
    assert_eq!(
        (rows["auc"].join(" "), rows["drift_ratio"].join(" ")),
        ("0.9125 0.93421765".into(), "0.00000015 ".into())
    );
    // What is measured while people look is in it a moment later.
    mlflow.log_metric(&candidate, "auc", 0.95, 9);
    server.until("the new figure is there", || (table(&forge.github.pull(2).body).1["auc"][1] == "0.95").then_some(()));
    assert_eq!(table(&forge.github.pull(2).body).1, held(&mlflow, &[&live, &candidate]));
}
