//! `kmlflow mlflow connect` against real servers: set up rightly, as installed, with accounts.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use tests::environment::{Run, run};
use tests::mlflow::{ADMIN, MlflowServer};
use tests::{Delivery, Server, Signing, TestEnvironment};

use super::{ACCOUNTS, MLFLOW};

/// Runs `kmlflow mlflow connect` where the service is.
fn connect(environment: &TestEnvironment, tracking_uri: &str, more: &[&str]) -> Run {
    let data_dir = environment.data_dir();
    let mut command = environment.kmlflow(["mlflow", "connect", "--tracking-uri", tracking_uri]);
    run(command.arg("--data-dir").arg(data_dir).args(more))
}

/// The same, which must succeed; what it says for machines.
#[track_caller]
fn connected(environment: &TestEnvironment, more: &[&str]) -> Value {
    let ran = connect(environment, &MLFLOW.url(), &[&["-o", "json"], more].concat());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    serde_json::from_str(&ran.stdout).unwrap()
}

/// The same, which must fail with this exit code, these words, and this as its cure.
#[track_caller]
fn refused(ran: &Run, code: i32, sentence: &str, cure: &str) {
    assert_eq!(ran.code, code, "{}{}", ran.stdout, ran.stderr);
    let (error, hint) = ran.stderr.split_once("Hint: ").unwrap_or_else(|| panic!("no cure: {}", ran.stderr));
    assert!(error.contains(sentence), "{error}");
    assert!(hint.contains(cure), "{hint}");
    assert!(ran.stdout.is_empty(), "{}", ran.stdout);
}

fn door(server: &Server) -> String {
    format!("{}/webhooks/mlflow", server.url())
}

/// The deliveries of MLflow that the service has kept.
fn deliveries(server: &Server) -> Vec<Value> {
    let list = server.get("/deliveries?limit=100");
    let items = list["items"].as_array().unwrap().clone();
    items.into_iter().filter(|delivery| delivery["source"] == "mlflow").collect()
}

/// Where nothing ever listens: a port that was free a moment ago may be another test's by now.
const NOBODY: &str = "http://127.0.0.1:1";

#[test]
fn a_webhook_is_made_found_again_and_put_right() {
    let environment = TestEnvironment::new();
    let server = environment.server().start();
    let made = connected(&environment, &[]);
    assert_eq!((&made["outcome"], &made["mlflow"]), (&json!("created"), &json!("3.17.2")));
    assert_eq!(made["webhook"]["url"], door(&server));
    assert_eq!(made["delivery"]["status"], 202, "the example arrived, signed");
    assert_eq!(deliveries(&server).len(), 1);
    let webhooks = MLFLOW.webhooks_to(&door(&server));
    assert_eq!((webhooks.len(), webhooks[0]["events"].as_array().unwrap().len()), (1, 6));

    let again = connect(&environment, &MLFLOW.url(), &[]);
    assert_eq!(again.code, 0, "{}", again.stderr);
    assert!(again.stdout.contains("already so") && again.stdout.contains("answered 20"), "{}", again.stdout);
    assert_eq!(MLFLOW.webhooks_to(&door(&server)), webhooks, "nothing was changed");

    let id = made["webhook"]["id"].as_str().unwrap();
    let change =
        json!({"status": "DISABLED", "secret": "another", "events": [{"entity": "PROMPT", "action": "CREATED"}]});
    drop(MLFLOW.api("PATCH", &format!("/webhooks/{id}"), Some(&change)).expect(200));
    let changed = connected(&environment, &["--rotate-secret"]);
    assert_eq!(changed["changed"], json!(["events", "status", "secret"]));
    assert_eq!(changed["webhook"]["id"], id, "it is the same one");
    let events = MLFLOW.webhooks_to(&door(&server))[0]["events"].as_array().unwrap().len();
    assert_eq!(events, 6);
}

#[test]
fn a_webhook_that_signs_with_another_secret_is_given_ours() {
    let environment = TestEnvironment::new();
    let _server = environment.server().start();
    let id = connected(&environment, &[])["webhook"]["id"].as_str().unwrap().to_owned();
    drop(MLFLOW.api("PATCH", &format!("/webhooks/{id}"), Some(&json!({"secret": "another"}))).expect(200));
    let changed = connected(&environment, &[]);
    assert_eq!((&changed["outcome"], &changed["changed"]), (&json!("changed"), &json!(["secret"])));
}

#[test]
fn doubles_are_removed_and_said_so() {
    let environment = TestEnvironment::new();
    let server = environment.server().start();
    let kept = connected(&environment, &[])["webhook"]["id"].as_str().unwrap().to_owned();
    let double =
        json!({"name": "copy", "url": door(&server), "events": [{"entity": "MODEL_VERSION", "action": "CREATED"}]});
    let double = MLFLOW.api("POST", "/webhooks", Some(&double)).expect(200).json();
    let double = double["webhook"]["webhook_id"].as_str().unwrap();
    let ran = connect(&environment, &MLFLOW.url(), &[]);
    assert!(ran.stdout.contains(&format!("Removed the webhook {double}")), "{}{}", ran.stdout, ran.stderr);
    let left = MLFLOW.webhooks_to(&door(&server));
    assert_eq!((left.len(), &left[0]["webhook_id"]), (1, &json!(kept)));
}

#[test]
fn what_happens_in_the_registry_arrives_signed() {
    let environment = TestEnvironment::new();
    let server = environment.server().start();
    drop(connected(&environment, &[]));
    let model = "Größe 模型 50% off";
    MLFLOW.create_model(model);
    let version = MLFLOW.create_version(model, "s3://b/m", &[("validated", "no")]);
    MLFLOW.set_tag(model, &version, "note", "ä");
    MLFLOW.delete_tag(model, &version, "note");
    MLFLOW.set_alias(model, "observed", &version);
    MLFLOW.delete_alias(model, "observed");
    assert_eq!(MLFLOW.tag(model, &version, "validated").as_deref(), Some("no"));
    // The example and six events; other tests' events come here as well, because every webhook is told of everything.
    server.until("six events of the model", || {
        let mine = deliveries(&server).into_iter().filter(|delivery| delivery.to_string().contains(model));
        (mine.count() >= 6).then_some(())
    });
    MLFLOW.delete_version(model, &version);
    assert_eq!(MLFLOW.version(model, &version), None);
}

#[test]
fn a_secret_is_rotated_with_both_live_and_without_a_restart() {
    let environment = TestEnvironment::new();
    let server = environment.server().start();
    drop(connected(&environment, &[]));
    let old = server.secret(Signing::Mlflow);
    let rotated = connected(&environment, &["--rotate-secret"]);
    assert_eq!((&rotated["changed"], &rotated["liveSecrets"]), (&json!(["secret"]), &json!(2)));
    assert_eq!(rotated["delivery"]["status"], 202);
    let new = server.secret(Signing::Mlflow);
    assert_ne!(old, new);
    for (id, secret) in [("with-old", &old), ("with-new", &new)] {
        drop(Delivery::version_created(id, "rotated", "1").sign(secret).send(server.address()).expect(202));
    }

    refused(
        &connect(&environment, &MLFLOW.url(), &["--finish-rotation"]),
        5,
        "may sign with the secret before",
        "both are live",
    );
    let file = std::fs::File::options().write(true).open(environment.data_dir().join("secrets/mlflow")).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(200)).unwrap();
    let finished = connected(&environment, &["--finish-rotation"]);
    assert_eq!((&finished["liveSecrets"], &finished["delivery"]["status"]), (&json!(1), &json!(202)));
    drop(Delivery::version_created("late", "rotated", "1").sign(&old).send(server.address()).expect(401));
    drop(Delivery::version_created("timely", "rotated", "1").sign(&new).send(server.address()).expect(202));
    // The secret is shown nowhere.
    let again = connect(&environment, &MLFLOW.url(), &[]);
    let all = format!("{}{}{}{rotated}{finished}", server.printed(), again.stdout, again.stderr);
    assert!(!all.contains(&new) && !all.contains(&old), "a secret was shown");
}

#[test]
fn a_rotation_that_mlflow_does_not_know_of_is_not_finished() {
    let environment = TestEnvironment::new();
    let server = environment.server().start();
    let id = connected(&environment, &["--rotate-secret"])["webhook"]["id"].as_str().unwrap().to_owned();
    drop(connected(&environment, &["--rotate-secret"]));
    let path = environment.data_dir().join("secrets/mlflow");
    let both = std::fs::read_to_string(&path).unwrap();
    let old = both.lines().nth(1).unwrap();
    drop(MLFLOW.api("PATCH", &format!("/webhooks/{id}"), Some(&json!({"secret": old}))).expect(200));
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(200)).unwrap();
    refused(
        &connect(&environment, &MLFLOW.url(), &["--finish-rotation"]),
        1,
        "does not know the secret",
        "data directory",
    );
    assert_eq!(std::fs::read_to_string(&path).unwrap(), both, "both are live as before");
    drop(Delivery::version_created("still", "rotated", "1").sign(old).send(server.address()).expect(202));
}

#[test]
fn a_service_that_does_not_answer_is_said_so() {
    let environment = TestEnvironment::new();
    assert_eq!(environment.server().start().stop(), Some(0));
    refused(&connect(&environment, &MLFLOW.url(), &[]), 2, "no service of this data directory runs", "--url");
    let ran = connect(&environment, &MLFLOW.url(), &["--url", NOBODY]);
    refused(&ran, 1, "the connection is refused", "kmlflow serve");
    let ran = connect(&environment, &MLFLOW.url(), &["--url", "http://no-such-name.invalid:8080"]);
    refused(&ran, 1, "is not known where MLflow runs", "--url");
}

#[test]
fn what_is_no_tracking_server_and_what_is_not_there_is_said_so() {
    let environment = TestEnvironment::new();
    let server = environment.server().start();
    refused(&connect(&environment, &server.url(), &[]), 1, "is no tracking server", "--tracking-uri");
    refused(&connect(&environment, NOBODY, &[]), 1, "connection refused", "MLflow runs there");
    let elsewhere = TestEnvironment::new();
    refused(&connect(&elsewhere, &MLFLOW.url(), &["--url", &server.url()]), 2, "has made a secret", "kmlflow serve");
}

#[test]
fn each_setting_that_is_missing_is_named_with_the_line_to_set() {
    let environment = TestEnvironment::new();
    let server = environment.server().start();
    let mut mlflow = MlflowServer::builder().as_installed().start();
    let ran = connect(&environment, &mlflow.url(), &[]);
    refused(&ran, 3, "takes no webhook with an address like", "MLFLOW_WEBHOOK_ALLOWED_SCHEMES=http,https");
    let https = server.url().replace("http://", "https://");
    let ran = connect(&environment, &mlflow.url(), &["--url", &https]);
    refused(&ran, 3, "private network", "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS=true");
    let ran = connect(&environment, &mlflow.url(), &["--url", "https://no-such-name.invalid"]);
    refused(&ran, 1, "is not known where MLflow runs", "--url");

    // Without a key one process reads what it wrote itself; after a restart it does not.
    mlflow.restart(|how| {
        how.env("MLFLOW_WEBHOOK_ALLOWED_SCHEMES", "http,https").env("MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS", "true")
    });
    assert_eq!(connect(&environment, &mlflow.url(), &[]).code, 0);
    mlflow.restart(|how| how);
    let ran = connect(&environment, &mlflow.url(), &[]);
    refused(&ran, 3, "cannot read the secrets", "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY=$(python -c");
}

#[test]
fn with_accounts_only_an_administrator_connects() {
    let environment = TestEnvironment::new();
    let _server = environment.server().start();
    let mlflow = &*ACCOUNTS;
    refused(&connect(&environment, &mlflow.url(), &[]), 3, "does not know who asks", "--password-file");

    mlflow.create_user("ann", "a-password-of-ann");
    let as_user = |name: &str, password: &str| {
        let file = environment.write("password", format!("{password}\n"));
        let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&file, permissions).unwrap();
        connect(&environment, &mlflow.url(), &["--username", name, "--password-file", "password"])
    };
    refused(&as_user("ann", "a-password-of-ann"), 3, "only an administrator", "is_admin");
    refused(&as_user("ann", "a-wrong-password"), 3, "does not know who asks", "--password-file");
    let ran = as_user(ADMIN.0, ADMIN.1);
    assert!(ran.code == 0 && ran.stdout.contains("created"), "{}{}", ran.stdout, ran.stderr);
    let ran = connect(&environment, &mlflow.url(), &["--username", "ann"]);
    refused(&ran, 2, "a password are needed together", "mlflow.password_file");
}
