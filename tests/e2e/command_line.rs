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
