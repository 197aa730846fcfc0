//! The registry of a real server leads to releases: aliases, wishes, lost events, a server that dies, a version that was rolled back.

use serde_json::{Value, json};
use tests::environment::{run, succeed};
use tests::mlflow::MlflowServer;
use tests::{Server, TestEnvironment};

/// A service that asks the tracking server and is told what happens there. Each has a tracking server of its own, because services that
/// share one would all release its models, and each would tell the versions what it made of them.
fn connected<'a>(environment: &'a TestEnvironment, mlflow: &MlflowServer) -> Server<'a> {
    let server = asking(environment, mlflow, "1h");
    let data_dir = environment.data_dir();
    let mut connect = environment.kmlflow(["mlflow", "connect", "--tracking-uri", &mlflow.url()]);
    drop(succeed(connect.arg("--data-dir").arg(data_dir)));
    server
}

/// A service that asks a tracking server, and that nobody tells anything.
fn asking<'a>(environment: &'a TestEnvironment, mlflow: &MlflowServer, sweep_interval: &str) -> Server<'a> {
    environment
        .server()
        .env("KMLFLOW__MLFLOW__TRACKING_URI", &mlflow.url())
        .env("KMLFLOW__MLFLOW__SWEEP_INTERVAL", sweep_interval)
        .start()
}

/// A model with so many versions that say which image serves them.
pub(super) fn model(mlflow: &MlflowServer, name: &str, versions: u32) {
    mlflow.create_model(name);
    for number in 1..=versions {
        let image = format!("registry.example/{name}:{number}");
        mlflow.create_version(name, "s3://models/x", &[("serving_image", &image)]);
    }
}

fn release(server: &Server<'_>, name: &str) -> Option<Value> {
    let response = server.api("GET", &format!("/releases/production/models/{name}"), None);
    (response.status == 200).then(|| response.json())
}

/// Waits until a release is in this state: strategy, phase, versions in their order.
#[track_caller]
pub(super) fn becomes(server: &Server<'_>, name: &str, expected: &str) {
    server.until(expected, || (state(server, name) == expected).then_some(()));
}

fn state(server: &Server<'_>, name: &str) -> String {
    let Some(release) = release(server, name) else { return "not there".to_owned() };
    let variants = release["spec"]["variants"].as_array().unwrap();
    let versions: Vec<&str> = variants.iter().map(|variant| variant["version"].as_str().unwrap()).collect();
    let word = |value: &Value| value.as_str().unwrap().to_owned();
    format!("{} {} {}", word(&release["spec"]["strategy"]), word(&release["rollout"]["phase"]), versions.join(" "))
}

/// Waits until MLflow shows how a version fares.
#[track_caller]
pub(super) fn is_told((server, mlflow): (&Server<'_>, &MlflowServer), model: &str, version: &str, expected: &str) {
    let key = "kmlflow.status.state";
    server.until(expected, || (mlflow.tag(model, version, key).as_deref() == Some(expected)).then_some(()));
}

#[test]
fn aliases_lead_to_a_release_a_canary_and_its_promotion_and_versions_are_told() {
    let environment = TestEnvironment::new();
    let mlflow = MlflowServer::builder().start();
    let server = connected(&environment, &mlflow);
    model(&mlflow, "journey", 3);
    mlflow.set_alias("journey", "champion", "1");
    becomes(&server, "journey", "single settled 1");
    is_told((&server, &mlflow), "journey", "1", "serving");
    mlflow.set_alias("journey", "challenger", "2");
    becomes(&server, "journey", "canary running 1 2");
    is_told((&server, &mlflow), "journey", "2", "running");
    mlflow.set_alias("journey", "champion", "2");
    becomes(&server, "journey", "single settled 2");
    is_told((&server, &mlflow), "journey", "2", "serving");
    is_told((&server, &mlflow), "journey", "1", "retired");
    let release = release(&server, "journey").unwrap();
    assert_eq!(release["rollout"]["outcome"], "promoted", "{release}");
    let tag = |name: &str| mlflow.tag("journey", "2", &format!("kmlflow.status.{name}"));
    assert_eq!(tag("commit").as_deref(), release["commit"].as_str());
    assert_eq!(tag("release").as_deref(), Some("production/models/journey"));
    assert_eq!(tag("url").as_deref(), release["endpoint"].as_str());
    mlflow.set_alias("journey", "challenger", "3");
    becomes(&server, "journey", "canary running 2 3");
    mlflow.delete_alias("journey", "challenger");
    becomes(&server, "journey", "single settled 2");
    is_told((&server, &mlflow), "journey", "3", "rejected");
}

#[test]
fn a_wish_by_tag_is_answered_once_and_deleted() {
    let environment = TestEnvironment::new();
    let mlflow = MlflowServer::builder().start();
    let server = connected(&environment, &mlflow);
    model(&mlflow, "wishes", 2);
    mlflow.set_alias("wishes", "champion", "1");
    becomes(&server, "wishes", "single settled 1");
    mlflow.set_tag("wishes", "2", "kmlflow.release", "blue-green");
    becomes(&server, "wishes", "blue-green running 1 2");
    server.until("the tag is gone", || mlflow.tag("wishes", "2", "kmlflow.release").is_none().then_some(()));
    server.act("production/models/wishes", "abort", None).expect(200);
    drop(server.api("POST", "/sweep", None).expect(200));
    assert_eq!(state(&server, "wishes"), "single settled 1");
    mlflow.set_tag("wishes", "2", "kmlflow.release", "sideways");
    is_told((&server, &mlflow), "wishes", "2", "refused");
    let reason = mlflow.tag("wishes", "2", "kmlflow.status.reason").unwrap();
    assert!(reason.contains("sideways") && reason.contains("blue-green"), "{reason}");
}

#[test]
fn what_happened_while_nobody_listened_is_found_at_the_start() {
    let environment = TestEnvironment::new();
    let mlflow = MlflowServer::builder().start();
    model(&mlflow, "silence", 2);
    mlflow.set_alias("silence", "champion", "1");
    let server = asking(&environment, &mlflow, "1h");
    becomes(&server, "silence", "single settled 1");
    mlflow.set_alias("silence", "champion", "2");
    let looked = succeed(&mut server.client(&["sweep", "--dry-run"]));
    assert!(looked.contains("would be repaired"), "{looked}");
    assert_eq!(state(&server, "silence"), "single settled 1");
    assert_eq!(run(&mut server.client(&["sweep"])).code, 0);
    becomes(&server, "silence", "single settled 2");
    let deliveries = server.get("/deliveries?source=sweep");
    assert_eq!(deliveries["items"][0]["state"], "applied", "{deliveries}");
}

#[test]
fn what_was_rolled_back_stays_away_through_ten_sweeps_and_a_deleted_version_is_told() {
    let environment = TestEnvironment::new();
    let mlflow = MlflowServer::builder().start();
    let server = connected(&environment, &mlflow);
    model(&mlflow, "rollback", 3);
    mlflow.set_alias("rollback", "champion", "1");
    becomes(&server, "rollback", "single settled 1");
    mlflow.set_alias("rollback", "champion", "2");
    becomes(&server, "rollback", "single settled 2");
    server.act("production/models/rollback", "rollback", None).expect(200);
    let commits = server.clone_repository().log("releases/production/models/rollback").len();
    let mine = |report: &Value| {
        let all = report["differences"].as_array().unwrap().clone();
        all.into_iter().filter(|one| one["model"] == "rollback").collect::<Vec<_>>()
    };
    for _ in 0..10 {
        let report = server.api("POST", "/sweep", None).expect(200).json();
        assert_eq!(mine(&report)[0]["kind"], "stands", "{report}");
    }
    assert_eq!(state(&server, "rollback"), "single settled 1");
    assert_eq!(server.clone_repository().log("releases/production/models/rollback").len(), commits);
    mlflow.delete_version("rollback", "1");
    let report = server.api("POST", "/sweep", None).expect(200).json();
    assert!(mine(&report).iter().any(|one| one["kind"] == "deleted" && one["cure"].is_string()), "{report}");
    assert_eq!(server.get("/sweep")["differences"], report["differences"]);
    // The alias set on it anew is a new decision.
    mlflow.set_alias("rollback", "champion", "3");
    becomes(&server, "rollback", "single settled 3");
}

#[test]
fn a_version_that_mlflow_does_not_have_is_refused_also_where_an_image_is_named() {
    let environment = TestEnvironment::new();
    let mlflow = MlflowServer::builder().start();
    let server = asking(&environment, &mlflow, "1h");
    model(&mlflow, "known", 2);
    mlflow.delete_version("known", "2");
    for (model, version) in [("known", "2"), ("known", "99"), ("unknown", "1")] {
        let body = json!({"model": model, "version": version, "image": "registry.example/x:1"});
        let problem = server.put("production/models/known", &body).expect_problem(422);
        let detail = problem["detail"].as_str().unwrap();
        assert_eq!(detail, format!("MLflow has no version {version} of the model `{model}`"));
        assert!(problem["cure"].as_str().unwrap().contains("register it in MLflow first"), "{problem}");
    }
    assert_eq!(state(&server, "known"), "not there");
    let body = json!({"model": "known", "version": "1", "image": "registry.example/x:1"});
    server.put("production/models/known", &body).expect(201);
    // One that serves may be asked for again once MLflow has lost it: nothing new comes of that.
    mlflow.delete_version("known", "1");
    server.put("production/models/known", &body).expect(200);
}

#[test]
fn a_server_that_dies_in_the_middle_of_a_change_delays_it_and_no_more() {
    let mut mlflow = MlflowServer::builder().start();
    let environment = TestEnvironment::new();
    let server = asking(&environment, &mlflow, "1s");
    model(&mlflow, "restart", 2);
    mlflow.set_alias("restart", "champion", "1");
    becomes(&server, "restart", "single settled 1");
    mlflow.set_alias("restart", "champion", "2");
    mlflow.kill();
    // An event whose server is gone: it is kept, and tried again.
    let event = tests::Delivery::alias("d-1", "restart", "champion", "2");
    drop(server.deliver(&event).expect(202));
    server.until("it could not be asked", || {
        let delivery = server.get("/deliveries/d-1");
        (delivery["state"] != "accepted").then_some(())
    });
    // What people ask for goes on meanwhile.
    let body = json!({"model": "other", "version": "1", "image": "registry.example/other:1"});
    server.put("production/models/other", &body).expect(201);
    mlflow.restart(|builder| builder);
    becomes(&server, "restart", "single settled 2");
    let told = || mlflow.tag("restart", "2", "kmlflow.status.state").as_deref() == Some("serving");
    server.until("the version is told", || told().then_some(()));
}

#[test]
fn a_test_delivery_and_a_foreign_model_are_ignored() {
    let environment = TestEnvironment::new();
    let mlflow = MlflowServer::builder().start();
    let server = connected(&environment, &mlflow);
    server.until("the example of the connection", || {
        let deliveries = server.get("/deliveries?state=ignored");
        let items = deliveries["items"].as_array().unwrap().clone();
        items.iter().any(|one| one["reason"].as_str().unwrap().contains("has no model `example_model`")).then_some(())
    });
    assert_eq!(server.get("/releases")["items"].as_array().unwrap().len(), releases_of_others(&server));
}

/// Releases of models that other tests here have: the start looked at the whole registry.
fn releases_of_others(server: &Server<'_>) -> usize {
    let items = server.get("/releases")["items"].as_array().unwrap().clone();
    items.iter().filter(|release| release["spec"]["model"] != "example_model").count()
}
