//! The command line: what it prints where, and with which code it ends.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::Stdio;

use tests::environment::{Run, run, signal};
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
            2,
        ),
        ("release fraud --model fraud --version abc", 2),
        ("release fraud --model fraud --version 8 --strategy shadow --percent 101", 2),
        ("release fraud --model fraud --version 8 --strategy canery", 2),
        ("release fraud --model fraud --version 8 --strategy ab --match x-group=beta:z", 2),
        ("release fraud --model fraud --version 8 --image a\tb", 2),
        ("release fraud -f /nonexistent", 2),
        ("render -f /nonexistent", 2),
        ("promote fraud --variant z", 2),
        ("pause fraud --idempotency-key a\nb", 2),
        ("list --limit 1000", 2),
        ("list --limit x", 2),
        ("list --phase foo", 2),
        ("deliveries list --state foo", 2),
        ("deliveries list --source foo", 2),
        ("token create --role viewer --expires never", 2),
        ("token create --role viewer --scope foo", 2),
        ("token revoke nonsense", 4),
        ("retract nope", 4),
        ("list --url nonsense", 2),
        ("serve --listen foo", 2),
        ("doctor webhook --headers /nonexistent --body /nonexistent --at yesterday", 2),
        ("backup /nonexistent/x.tar", 1),
        ("restore /nonexistent", 2),
        ("mlflow connect", 2),
        ("mlflow connect --tracking-uri mlflow:5000", 2),
        ("approve fraud", 1),
    ];
    for (line, code) in table {
        let ran = kmlflow(&server, line);
        assert_eq!(ran.code, code, "{line}\n{}{}", ran.stdout, ran.stderr);
        assert!(ran.stdout.is_empty(), "{line}: {}", ran.stdout);
        assert!(ran.stderr.contains("Error: ") && ran.stderr.contains("\nHint: "), "{line}: {}", ran.stderr);
        for raw in ["entity not found", "invalid digit", "parse", "socket address"] {
            assert!(!ran.stderr.contains(raw), "{line}: {}", ran.stderr);
        }
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
    let port = server.address().port();
    let other_name = format!("http://localhost:{port}");
    assert_eq!(client(&["list", "--url", &other_name]).code, 0);
    let another = TestEnvironment::new();
    let stranger = another.server().start();
    let refused = client(&["list", "--url", &format!("http://localhost:{}", stranger.address().port())]);
    assert!(refused.code == 3 && refused.stderr.contains("no token was given"), "{}", refused.stderr);
    assert_eq!(server.stop(), Some(0));
    assert!(!environment.data_dir().join("address").exists());
}

#[test]
fn a_release_changed_by_hand_is_rolled_back_and_retracted_on_purpose() {
    let environment = TestEnvironment::new();
    let server = environment.server().start();
    let done = |line: &str| {
        let ran = kmlflow(&server, line);
        assert_eq!(ran.code, 0, "{line}\n{}{}", ran.stdout, ran.stderr);
        ran.stdout
    };
    let release = |version: &str| {
        done(&format!("release fraud --model fraud --version {version} --image registry.example/fraud:{version}"))
    };
    release("7");
    release("8");
    let change_by_hand = || {
        let checkout = server.clone_repository();
        let file = "releases/production/models/fraud/seldon.yaml";
        let text = checkout.read(file).unwrap();
        checkout.write(file, &text.replace("progressDeadlineSeconds: 600", "progressDeadlineSeconds: 601"));
        checkout.commit("A quick change by hand");
        assert_eq!(checkout.push(&server.token(), &["--quiet", "origin", "HEAD"]).code, 0);
        server.until("the drift is seen", || {
            let files = server.get("/releases/production/models/fraud")["files"].clone();
            files.as_array().unwrap().contains(&serde_json::json!("drifted")).then_some(())
        });
    };
    change_by_hand();
    let refused = kmlflow(&server, "rollback fraud");
    assert!(refused.code == 5 && refused.stderr.contains("`--force`"), "{}", refused.stderr);
    assert!(!refused.stderr.contains("force=true"), "an option alone: {}", refused.stderr);
    assert_eq!(kmlflow(&server, "rollback fraud --force --adopt").code, 2);
    assert!(done("rollback fraud --force").contains("v7"));
    change_by_hand();
    assert_eq!(kmlflow(&server, "retract fraud").code, 5);
    done("retract fraud --force");
    for act in ["advance", "promote", "rollback", "pause", "resume", "abort", "weights", "retract"] {
        let help = kmlflow(&server, &format!("{act} --help")).stdout;
        assert!(help.contains("--force") && help.contains("--adopt"), "{act}: {help}");
    }
}

#[test]
fn what_is_held_and_what_is_queued_shows_where_one_wonders() {
    let environment = TestEnvironment::new();
    let server = environment.server().start();
    let release = |version: &str, more: &str| {
        let image = format!("--image registry.example/fraud:{version}");
        kmlflow(&server, format!("release fraud --model fraud --version {version} {image} {more}").trim())
    };
    assert_eq!(release("7", "").code, 0);
    assert!(release("7", "").stdout.contains("because: "), "an unchanged answer says why");
    assert!(kmlflow(&server, "hold").stdout.contains("nothing is held"));
    assert_eq!(kmlflow(&server, "hold -e production").code, 2);
    assert_eq!(kmlflow(&server, "hold --reason incident").code, 0);
    let second = kmlflow(&server, "hold --reason maintenance");
    assert!(second.stderr.contains("replaces") && second.stderr.contains("incident"), "{}", second.stderr);
    assert!(kmlflow(&server, "hold").stdout.contains("maintenance"));
    let listed = kmlflow(&server, "list");
    assert!(
        listed.stderr.contains("everything is held by admin") && listed.stderr.contains("maintenance"),
        "{listed:?}"
    );
    assert!(kmlflow(&server, "list -o json").stderr.is_empty());
    assert_eq!(release("8", "--strategy canary").code, 6);
    let refused = kmlflow(&server, "abort fraud");
    assert_eq!(refused.code, 5, "{}", refused.stderr);
    assert!(refused.stderr.contains("(canary of version 8) is queued and waits for: "), "{}", refused.stderr);
}

#[test]
fn what_was_retracted_is_told_from_what_never_was() {
    let environment = TestEnvironment::new();
    let server = environment.server().start();
    assert_eq!(kmlflow(&server, "release fraud --model fraud --version 7 --image registry.example/fraud:7").code, 0);
    assert_eq!(kmlflow(&server, "retract fraud").code, 0);
    let again = kmlflow(&server, "retract fraud");
    assert!(again.code == 0 && again.stdout.contains("because: "), "{again:?}");
    let never = kmlflow(&server, "retract fraud -n elsewhere");
    assert!(never.code == 4 && never.stderr.contains("is or was deployed"), "{}", never.stderr);
    for line in ["get fraud", "rollback fraud"] {
        let ran = kmlflow(&server, line);
        assert!(ran.code == 4 && ran.stderr.contains("kmlflow history fraud`"), "{line}: {}", ran.stderr);
        assert!(ran.stderr.contains("kmlflow release fraud --model"), "{line}: {}", ran.stderr);
    }
}

#[test]
fn a_token_is_revoked_by_the_beginning_of_its_id() {
    let environment = TestEnvironment::new();
    let server = environment.server().start();
    let made: serde_json::Value =
        serde_json::from_str(&kmlflow(&server, "token create --role viewer --name v -o json").stdout).unwrap();
    let id = made["id"].as_str().unwrap();
    let beginning = &id[..id.len() - 4];
    let revoked = kmlflow(&server, &format!("token revoke {beginning}"));
    assert!(revoked.code == 0 && revoked.stdout.contains(id), "{revoked:?}");
}

#[test]
fn the_last_token_of_an_administrator_stays_until_there_is_another_one() {
    let environment = TestEnvironment::new();
    let server = environment.server().start();
    let tokens: serde_json::Value = serde_json::from_str(&kmlflow(&server, "token list -o json").stdout).unwrap();
    let first = tokens["items"][0]["id"].as_str().unwrap().to_owned();
    let kept = kmlflow(&server, &format!("token revoke {first}"));
    assert!(kept.code == 5 && kept.stderr.contains("Hint: make the next one first"), "{kept:?}");
    assert_eq!(kmlflow(&server, "token create --role admin --name next").code, 0);
    assert_eq!(kmlflow(&server, &format!("token revoke {first}")).code, 0);
}

#[test]
fn deliveries_and_rendering_again_are_of_one_release_where_that_is_said() {
    let environment = TestEnvironment::new();
    let server = environment.server().start();
    for name in ["fraud", "churn"] {
        server.put(&format!("production/models/{name}"), &super::image(name, "7")).expect(201);
    }
    let listed = kmlflow(&server, "deliveries list --release fraud");
    assert!(listed.code == 0 && listed.stdout.contains("fraud") && !listed.stdout.contains("churn"), "{listed:?}");
    assert_eq!(kmlflow(&server, "deliveries list --release fraud -n elsewhere").stdout, "");
    assert_eq!(kmlflow(&server, "deliveries list -n models").code, 2, "it is a release's");
    let help = kmlflow(&server, "deliveries list --help").stdout;
    assert!(help.contains("taken back by a newer request for the release"), "{help}");

    assert_eq!(kmlflow(&server, "rerender fraud -n models --dry-run").code, 0);
    let elsewhere = kmlflow(&server, "rerender fraud -n elsewhere --dry-run");
    assert!(elsewhere.code == 4 && elsewhere.stderr.contains("in namespace `elsewhere`"), "{elsewhere:?}");
    let all = kmlflow(&server, "rerender --all -n elsewhere");
    assert!(all.code == 0 && all.stdout.contains("nothing is outdated"), "{all:?}");
}

#[test]
fn whoever_waits_is_told_that_it_is_accepted_and_a_restart_is_waited_out() {
    let environment = TestEnvironment::new();
    let server = environment.server().start();
    assert_eq!(kmlflow(&server, "hold --reason maintenance").code, 0);
    let line = "release fraud --model fraud --version 7 --image registry.example/fraud:7 --wait committed";
    let wait = |server: &Server<'_>, word: &str| {
        let mut command = server.client(&line.split(' ').collect::<Vec<_>>());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap());
        let mut text = String::new();
        while !text.contains(word) {
            assert_ne!(said.read_line(&mut text).unwrap(), 0, "{text}");
        }
        (child, said)
    };
    let (mut child, mut said) = wait(&server, "waiting: ");
    signal("-INT", &child.id().to_string());
    let mut rest = String::new();
    said.read_to_string(&mut rest).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{rest}");
    assert!(rest.contains("it is accepted as delivery ") && rest.contains("done later"), "{rest}");

    let (child, mut said) = wait(&server, "waiting: ");
    let address = server.address().to_string();
    assert_eq!(server.stop(), Some(0));
    let mut text = String::new();
    while !text.contains("looking again") {
        assert_ne!(said.read_line(&mut text).unwrap(), 0, "{text}");
    }
    let server = environment.server().listen(&address).start();
    assert_eq!(kmlflow(&server, "unhold").code, 0);
    let ended = child.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(0), "{}", String::from_utf8_lossy(&ended.stdout));
}

#[test]
fn the_curl_of_the_doctor_works_as_it_is_printed() {
    let environment = TestEnvironment::new();
    let server = environment.server().start();
    let secret = server.secret(Signing::Mlflow);
    let long = tests::Delivery::mlflow("d-2", format!("{{\"entity\": \"x\", \"pad\": \"{}\"}}", "x".repeat(5000)));
    for (name, delivery) in [("short", tests::Delivery::alias("d-1", "fraud", "champion", "7")), ("long", long)] {
        let request = delivery.sent(-4000).sign(&secret);
        let headers = environment.write(format!("{name}-headers"), request.header_text());
        let body = environment.write(format!("{name}-body"), request.body_bytes());
        let mut doctor = environment.kmlflow(["doctor", "webhook", "--at", "2026-11-23T10:00:00Z", "-o", "json"]);
        doctor.env("KMLFLOW__DATA_DIR", environment.data_dir()).arg("--headers").arg(headers).arg("--body").arg(body);
        let diagnosis: serde_json::Value = serde_json::from_str(&run(&mut doctor).stdout).unwrap();
        let curl = diagnosis["curl"].as_str().unwrap();
        let script = format!("{curl} --fail-with-body");
        let answered = run(environment.command("bash").args(["-c", &script]).current_dir(environment.path("home")));
        assert!(answered.code == 0 && answered.stdout.contains("\"delivery\""), "{name}: {curl}\n{answered:?}");
    }
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

#[test]
fn whoever_asks_for_an_end_as_soon_as_it_listens_is_heard() {
    for _ in 0..5 {
        let environment = TestEnvironment::new();
        assert_eq!(environment.server().start().stop(), Some(0));
    }
}
