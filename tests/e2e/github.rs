//! What GitHub, Gitea and Forgejo tell: a push has the repository looked at, a dispatch asks for a release.

use serde_json::{Value, json};
use tests::environment::run;
use tests::{Checkout, Delivery, Server, Signing, TestEnvironment};

use super::image;

const FRAUD: &str = "production/models/fraud";
const DIRECTORY: &str = "releases/production/models/fraud";

fn push(id: &str, reference: &str) -> Delivery {
    let body = json!({"ref": reference, "before": "0".repeat(40), "after": "1".repeat(40), "pusher": {"name": "ann"},
        "repository": {"full_name": "models/gitops", "default_branch": "main"}});
    Delivery::github(id, "push", &body)
}

fn dispatch(id: &str, payload: &Value) -> Delivery {
    let body = json!({"action": "mlflow-model-update", "branch": "main", "client_payload": payload,
        "repository": {"full_name": "models/gitops"}, "sender": {"login": "octocat", "type": "User"}});
    Delivery::github(id, "repository_dispatch", &body)
}

/// Commits to the repository behind the service's back, which nothing tells it of.
fn push_past(environment: &TestEnvironment, change: impl FnOnce(&Checkout<'_>)) {
    let repository = environment.data_dir().join("gitops.git");
    let checkout = Checkout::of(environment, repository.to_str().unwrap());
    change(&checkout);
    checkout.commit("Change it by hand");
    checkout.ask(&["push", "--quiet", "origin", "HEAD:main"]);
}

#[test]
fn a_signed_push_has_what_somebody_else_pushed_taken_in_at_once() {
    let environment = TestEnvironment::new();
    let server = environment.server().start();
    server.put(FRAUD, &image("fraud", "7")).expect(201);
    push_past(&environment, |checkout| {
        let text = checkout.read(&format!("{DIRECTORY}/release.yaml")).unwrap();
        let changed = text.replace("registry.example/fraud:7", "registry.example/fraud:7-fixed");
        assert_ne!(text, changed);
        checkout.write(&format!("{DIRECTORY}/release.yaml"), &changed);
    });
    let told = server.deliver_and_settle(&push("p-1", "refs/heads/main"));
    assert!(told["state"] == "unchanged" && told["source"] == "github", "{told}");
    let release = server.get(&format!("/releases/{FRAUD}"));
    assert_eq!(release["spec"]["variants"][0]["image"], "registry.example/fraud:7-fixed", "{release}");
    let newest = server.clone_repository().log(DIRECTORY)[0].clone();
    assert_eq!((newest.trailer("Action"), newest.trailer("Requested-By")), (Some("render"), Some("A person")));
    assert_eq!(server.deliver(&push("p-1", "refs/heads/main")).expect(200).json()["delivery"], "p-1");
}

#[test]
fn a_push_to_another_branch_is_kept_with_the_reason() {
    let environment = TestEnvironment::new();
    let server = environment.server().start();
    for (id, reference, because) in [("p-1", "refs/heads/topic", "`topic`"), ("p-2", "refs/tags/v1", "no branch")] {
        let told = server.deliver_and_settle(&push(id, reference));
        assert!(told["state"] == "ignored" && told["reason"].as_str().unwrap().contains(because), "{told}");
    }
}

#[test]
fn a_dispatch_becomes_a_commit_and_its_repeat_does_not() {
    let environment = TestEnvironment::new();
    let server = environment.server().start();
    let delivery = dispatch("r-1", &json!({"image_uri": "registry.example/fraud:8"}));
    let told = server.deliver_and_settle(&delivery);
    assert!(told["state"] == "applied" && told["release"] == FRAUD, "{told}");
    let commits = server.clone_repository().log(DIRECTORY);
    let first = commits.last().unwrap();
    for (name, value) in [
        ("Delivery-Id", "r-1"),
        ("Requested-By", "octocat"),
        ("Model", "fraud"),
        ("Version", "8"),
        ("Action", "create"),
    ] {
        assert_eq!(first.trailer(name), Some(value), "{}", first.message);
    }
    assert_eq!(server.deliver(&delivery).expect(200).json()["delivery"], "r-1");
    let same = server.deliver_and_settle(&dispatch("r-2", &json!({"image_uri": "registry.example/fraud:8"})));
    assert_eq!(same["state"], "unchanged", "{same}");
    assert_eq!(server.clone_repository().log(DIRECTORY).len(), commits.len());
    let canary = json!({"image_uri": "registry.example/fraud:9", "strategy": "canary", "requestedBy": "ann"});
    let told = server.deliver_and_settle(&dispatch("r-3", &canary));
    assert_eq!(told["state"], "applied", "{told}");
    let commits = server.clone_repository().log(DIRECTORY);
    let asked = commits.iter().rfind(|commit| commit.trailer("Delivery-Id") == Some("r-3")).unwrap();
    assert_eq!(asked.trailer("Requested-By"), Some("octocat (for ann)"), "{}", asked.message);
}

#[test]
fn what_a_dispatch_says_is_never_interpreted() {
    let environment = TestEnvironment::new();
    let server = environment.server().start();
    let before = server.clone_repository().log("").len();
    for (number, image) in
        ["$(touch pwned):8", "a;reboot:8", "{{ 7 * 7 }}:8", "../../x:8", "fraud:8\nAction: retract", "fraud:latest", ""]
            .into_iter()
            .enumerate()
    {
        let answer = server.deliver(&dispatch(&format!("r-{number}"), &json!({"image_uri": image})));
        assert!([400, 422].contains(&answer.status), "{image}: {}", answer.text());
    }
    let elsewhere = json!({"image_uri": "registry.example/fraud:8", "environment": "nowhere"});
    let told = server.deliver_and_settle(&dispatch("r-elsewhere", &elsewhere));
    assert!(told["state"] == "refused" && told["reason"].as_str().unwrap().contains("`nowhere`"), "{told}");
    assert_eq!(server.clone_repository().log("").len(), before);
}

#[test]
fn what_github_did_not_sign_is_401_with_the_fixed_body() {
    let environment = TestEnvironment::new();
    let server = environment.server().start();
    let secret = server.secret(Signing::Github);
    let unknown = tests::Request::new("POST", "/webhooks/nobody").json(&json!({})).send(server.address()).expect(401);
    let good = push("p-1", "refs/heads/main").sign(&secret);
    let table = [
        ("unsigned", good.clone().without("X-Hub-Signature-256")),
        ("by SHA-1 alone", good.clone().without("X-Hub-Signature-256").header("X-Hub-Signature", "sha1=0123")),
        ("of nothing, as Gitea signs without a secret", good.clone().header("X-Hub-Signature-256", "sha256=")),
        ("another secret", push("p-1", "refs/heads/main").sign("another")),
        ("another door's secret", push("p-1", "refs/heads/main").sign(&server.secret(Signing::Mlflow))),
        ("another body", good.clone().body(b"{}".to_vec())),
        ("no id", good.clone().without("X-GitHub-Delivery")),
    ];
    for (what, request) in table {
        let answer = request.send(server.address());
        assert_eq!((answer.status, answer.text()), (401, unknown.text()), "{what}");
    }
    assert_eq!(server.get("/deliveries")["items"], json!([]));
    let ping = Delivery::github("ping-1", "ping", &json!({"zen": "Design for failure.", "hook_id": 1}));
    assert_eq!(server.deliver(&ping).expect(200).json()["delivery"], "ping-1");
    let form = good.header("Content-Type", "application/x-www-form-urlencoded").send(server.address());
    assert!(form.expect_problem(415)["cure"].as_str().unwrap().contains("`application/json`"));
}

#[test]
fn a_gitea_delivery_with_all_its_headers_is_one_of_github() {
    let environment = TestEnvironment::new();
    let server = environment.server().start();
    let request = push("2e7a0b1c-6a1f-4f7e-9f1c-5d1f2c3b4a59", "refs/heads/main").sign(&server.secret(Signing::Github));
    let digits = request.header_value("X-Hub-Signature-256").unwrap().trim_start_matches("sha256=").to_owned();
    let request = ["Gitea", "Gogs", "Forgejo"].iter().fold(request, |request, name| {
        request
            .header(&format!("X-{name}-Delivery"), "2e7a0b1c-6a1f-4f7e-9f1c-5d1f2c3b4a59")
            .header(&format!("X-{name}-Event"), "push")
            .header(&format!("X-{name}-Event-Type"), "push")
            .header(&format!("X-{name}-Signature"), digits.clone())
    });
    drop(request.header("X-GitHub-Event-Type", "push").send(server.address()).expect(202));
    assert_eq!(server.settle("2e7a0b1c-6a1f-4f7e-9f1c-5d1f2c3b4a59")["state"], "unchanged");
}

#[test]
fn every_configured_secret_of_github_is_live_and_the_first_starts_is_not() {
    let environment = TestEnvironment::new();
    let first = environment.server().start();
    let made = first.secret(Signing::Github);
    drop(first);
    let old = environment.write("old", "It's a Secret to Everybody\n");
    std::fs::set_permissions(&old, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let server = environment
        .server()
        .env("KMLFLOW__WEBHOOKS__GITHUB__SECRET_FILES", &format!("[{old:?}]"))
        .env("KMLFLOW__WEBHOOKS__GITHUB__SECRET", "the-new-one")
        .start();
    for (id, secret, status) in
        [("p-1", "It's a Secret to Everybody", 202), ("p-2", "the-new-one", 202), ("p-3", made.as_str(), 401)]
    {
        let answer = push(id, "refs/heads/main").sign(secret).send(server.address());
        assert_eq!(answer.status, status, "{id}: {}", answer.text());
    }
}

#[test]
fn the_doctor_knows_what_is_wrong_with_a_delivery_of_github() {
    let environment = TestEnvironment::new();
    let server = environment.server().start();
    let secret = server.secret(Signing::Github);
    let good = push("p-1", "refs/heads/main").sign(&secret);
    let respaced = String::from_utf8(good.body_bytes().to_vec()).unwrap().replace("\":", "\": ");
    let table = [
        ("fine", good.clone()),
        ("wrong-secret", push("p-1", "refs/heads/main").sign("another")),
        ("github-sha1", good.clone().without("X-Hub-Signature-256")),
        ("body-reserialised", good.clone().body(respaced)),
        ("form-encoded", good.clone().header("Content-Type", "application/x-www-form-urlencoded")),
    ];
    for (code, request) in table {
        let diagnosis = diagnose(&environment, &request);
        assert_eq!(diagnosis["code"], code, "{diagnosis}");
        assert!(!diagnosis.to_string().contains(&secret), "{code}: the secret is shown");
        believed(&environment, &server, diagnosis["curl"].as_str().unwrap());
    }
}

fn diagnose(environment: &TestEnvironment, request: &tests::Request) -> Value {
    let headers = environment.write("headers", request.header_text());
    let body = environment.write("body", request.body_bytes());
    let mut doctor = environment.kmlflow(["doctor", "webhook", "-o", "json"]);
    doctor.env("KMLFLOW__DATA_DIR", environment.data_dir()).arg("--headers").arg(headers).arg("--body").arg(body);
    serde_json::from_str(&run(&mut doctor).stdout).unwrap()
}

/// Runs the doctor's command, which must be taken or known.
fn believed(environment: &TestEnvironment, server: &Server<'_>, curl: &str) {
    assert!(curl.contains(&format!("{}/webhooks/github", server.url())), "{curl}");
    let script = format!("{curl} --fail-with-body");
    let answered = run(environment.command("bash").args(["-c", &script]).current_dir(environment.path("home")));
    assert!(answered.code == 0 && answered.stdout.contains("\"delivery\""), "{curl}\n{answered:?}");
}
