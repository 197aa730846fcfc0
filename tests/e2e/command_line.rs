//! The command line: what it prints where, and with which code it ends.

use tests::environment::{Run, run};
use tests::{Server, Signing, TestEnvironment};

fn kmlflow(server: &Server<'_>, line: &str) -> Run {
    run(&mut server.client(&line.split(' ').collect::<Vec<_>>()))
}

#[test]
fn the_five_strategies_by_command() {
    let environment = TestEnvironment::new();
    let server = environment.server().start();
    let ok = |line: &str| {
        let ran = kmlflow(&server, line);
        assert_eq!(ran.code, 0, "{line}\n{}{}", ran.stdout, ran.stderr);
        ran.stdout
    };
    ok("release fraud --model fraud --version 7 -n models --image registry.example/fraud:7");
    ok(
        "release fraud --model fraud --version 8 --strategy canary --steps 5,25,50 -n models --image registry.example/fraud:8",
    );
    ok("advance fraud -n models");
    ok("promote fraud -n models");
    ok(
        "release fraud --model fraud --version 9 --strategy ab --weights a=70,b=30 --match x-group=beta:b -n models --image registry.example/fraud:9",
    );
    ok("weights fraud a=50,b=50 -n models");
    ok("promote fraud --variant b -n models");
    ok(
        "release fraud --model fraud --version 10 --strategy blue-green --scale-down-delay 1h -n models --image registry.example/fraud:10",
    );
    ok("advance fraud -n models");
    ok("promote fraud -n models");
    ok(
        "release fraud --model fraud --version 11 --strategy shadow --percent 20 -n models --image registry.example/fraud:11",
    );
    ok("abort fraud -n models");
    ok("rollback fraud -n models");
    let listed = ok("list");
    assert!(listed.contains("fraud") && listed.contains("settled"), "{listed}");
    let history = ok("history fraud -n models -o json");
    let history: serde_json::Value = serde_json::from_str(&history).unwrap();
    assert!(history["items"].as_array().unwrap().len() > 10, "{history}");
    ok("get fraud -n models -o yaml");
    ok("manifests fraud -n models");
    ok("deliveries list");
    ok("hold --reason maintenance");
    ok("unhold --reason done");
    ok("policy test --model fraud --alias champion=7 --tag validation_status=approved");
    ok("token create --role viewer --name v");
    ok("token list");
    ok("retract fraud -n models");
}

#[test]
fn the_exit_code_says_what_kind_of_answer_it_was() {
    let environment = TestEnvironment::new();
    let server = environment.server().start();
    let release = "release fraud --model fraud -n models --image registry.example/fraud:7";
    let table = [
        ("list --nonsense", 2),
        ("get nobody -n models", 4),
        ("list -e staging", 4),
        ("list --status foo", 2),
        ("list --limit 0", 2),
        ("watch nobody", 4),
        ("watch -e staging", 4),
        ("token create --role viewer --scope staging/models/*", 4),
        ("release fraud --model fraud --version 8 --strategy canary -n models --image registry.example/fraud:8", 5),
        (
            "release fraud --model fraud --version 8 --strategy canary --steps 25,5 -n models --image registry.example/fraud:8",
            3,
        ),
    ];
    for (line, code) in table {
        let ran = kmlflow(&server, line);
        assert_eq!(ran.code, code, "{line}\n{}{}", ran.stdout, ran.stderr);
        assert!(ran.stdout.is_empty(), "{line}: {}", ran.stdout);
        assert!(code == 2 || ran.stderr.contains("Error: "), "{line}: {}", ran.stderr);
    }
    assert_eq!(kmlflow(&server, &format!("{release} --version 7")).code, 0);
    let again = kmlflow(&server, &format!("{release} --version 7"));
    assert_eq!(again.code, 0, "nothing had to change: {}", again.stderr);
    let mut stranger = server.client(&["list"]);
    assert_eq!(run(stranger.env("KMLFLOW_TOKEN", "nonsense")).code, 3);
    let mut nowhere = server.client(&["list"]);
    let ran = run(nowhere.env("KMLFLOW_URL", "http://127.0.0.1:1"));
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    assert!(ran.stderr.contains("Hint: "), "{}", ran.stderr);
    server.api("POST", "/hold", Some(&serde_json::json!({"reason": "maintenance"}))).expect(200);
    assert_eq!(kmlflow(&server, &format!("{release} --version 8")).code, 6);
}

#[test]
fn a_queued_request_shows_where_one_looks_for_it() {
    let environment = TestEnvironment::new();
    let server = environment.server().start();
    let release = |version: &str| {
        kmlflow(
            &server,
            &format!(
                "release fraud --model fraud -n models --image registry.example/fraud:{version} --version {version}"
            ),
        )
    };
    let first = release("7");
    assert!(first.stdout.contains("serves v7 registry.example/fraud:7"), "{}", first.stdout);
    assert_eq!(kmlflow(&server, "hold --reason maintenance").code, 0);
    let queued = release("8");
    assert!(queued.code == 6 && queued.stderr.contains("kmlflow deliveries list"), "{}", queued.stderr);
    let shown = kmlflow(&server, "get fraud").stdout;
    assert!(shown.contains("delivery #") && shown.contains("maintenance"), "{shown}");
    let new = kmlflow(&server, "release wine --model wine --version 1 --image registry.example/wine:1");
    assert_eq!(new.code, 6, "{}", new.stderr);
    let missing = kmlflow(&server, "get wine");
    assert!(missing.code == 4 && missing.stderr.contains("maintenance"), "{}", missing.stderr);
}

#[test]
fn what_a_table_shows_is_understood_where_it_is_asked_for() {
    let environment = TestEnvironment::new();
    let server = environment.server().start();
    for version in ["7", "8"] {
        let line = format!("release fraud --model fraud --image registry.example/fraud:{version} --version {version}");
        assert_eq!(kmlflow(&server, &line).code, 0);
    }
    let history = kmlflow(&server, "history fraud").stdout;
    let oldest = history.lines().last().unwrap().split_whitespace().next().unwrap().to_owned();
    let then = kmlflow(&server, &format!("manifests fraud --commit {oldest}"));
    assert!(then.stdout.contains("registry.example/fraud:7"), "{}{}", then.stdout, then.stderr);
    assert_eq!(kmlflow(&server, "manifests fraud --commit 0000000").code, 4);
    let back = kmlflow(&server, &format!("rollback fraud --to {oldest}"));
    assert!(back.stdout.contains("v7"), "{}{}", back.stdout, back.stderr);
}

#[test]
fn a_release_as_rendered_is_unchanged_whether_one_asks_or_does() {
    let environment = TestEnvironment::new();
    let server = environment.server().start();
    assert_eq!(kmlflow(&server, "release fraud --model fraud --image registry.example/fraud:7 --version 7").code, 0);
    for line in ["rerender fraud --dry-run", "rerender fraud"] {
        let ran = kmlflow(&server, line);
        assert!(ran.code == 0 && ran.stdout.contains("unchanged"), "{line}: {}{}", ran.stdout, ran.stderr);
    }
}

#[test]
fn the_token_of_the_data_directory_goes_to_its_own_service_alone() {
    let environment = TestEnvironment::new();
    let server = environment.server().start();
    let client = |arguments: &[&str]| {
        let mut command = environment.kmlflow(arguments);
        run(command.env("KMLFLOW__DATA_DIR", environment.data_dir()))
    };
    assert_eq!(client(&["list"]).code, 0, "{}", client(&["list"]).stderr);
    let other_name = format!("http://localhost:{}", server.address().port());
    let refused = client(&["list", "--url", &other_name]);
    assert!(refused.code == 3 && refused.stderr.contains("no token was given"), "{}", refused.stderr);
    assert_eq!(server.stop(), Some(0));
    assert!(!environment.data_dir().join("address").exists());
}

#[test]
fn the_doctor_tells_the_known_mistakes_apart() {
    let environment = TestEnvironment::new();
    let server = environment.server().start();
    let secret = server.secret(Signing::Mlflow);
    let secret_file = environment.data_dir().join("secrets/mlflow");
    let good = tests::Delivery::alias("d-1", "fraud", "champion", "7");
    let table = [
        ("good", good.sign(&secret), 0, ""),
        ("wrong secret", good.sign("another"), 1, "secret"),
        ("stale", good.clone().sent(-4000).sign(&secret), 1, "clock"),
        ("no signature", good.sign(&secret).without("X-MLflow-Signature"), 1, "X-MLflow-Signature"),
    ];
    for (what, request, code, word) in table {
        let headers = environment.write("headers", request.header_text());
        let body = environment.write("body", request.body_bytes());
        let mut command = environment.kmlflow(["doctor", "webhook", "--headers"]);
        let ran = run(command.arg(headers).arg("--body").arg(body).arg("--secret-file").arg(&secret_file));
        assert_eq!(ran.code, code, "{what}: {}{}", ran.stdout, ran.stderr);
        let said = format!("{}{}", ran.stdout, ran.stderr);
        assert!(said.to_lowercase().contains(&word.to_lowercase()), "{what}: {said}");
        assert!(!said.contains(&secret), "{what}: the secret is shown");
    }
}

#[test]
fn completions_help_and_version_need_no_service() {
    let environment = TestEnvironment::new();
    for line in [
        &["completion", "bash"][..],
        &["completion", "zsh"],
        &["completion", "fish"],
        &["--help"],
        &["--version"],
        &["release", "--help"],
    ] {
        let ran = run(&mut environment.kmlflow(line));
        assert_eq!(ran.code, 0, "{line:?}: {}", ran.stderr);
        assert!(!ran.stdout.is_empty(), "{line:?}");
    }
}
