//! Secrets stay where they were put.

use std::path::Path;

use serde_json::json;
use tests::{Delivery, Request, Server, Signing, TestEnvironment};

use super::image;

/// Every file below a folder.
fn files(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
}

fn holds(bytes: &[u8], secret: &str) -> bool {
    bytes.windows(secret.len()).any(|window| window == secret.as_bytes())
}

/// Command lines of every process that can be seen.
fn command_lines() -> Vec<Vec<u8>> {
    let entries = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    entries.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok()).collect()
}

fn use_everything(server: &Server<'_>, made: &str) {
    server.put("production/models/fraud", &image("fraud", "7")).expect(201);
    server.deliver_and_settle(&Delivery::alias("d-1", "other", "champion", "7"));
    server.deliver(&Delivery::generic("g-1", &json!({"nonsense": 1}))).expect(400);
    drop(server.put("production/models/fraud", &json!({"model": made})).expect_problem(400));
    let answer = Request::new("GET", "/api/v1/releases").bearer(&format!("{made}x")).send(server.address());
    drop(answer.expect_problem(401));
    let checkout = server.clone_repository();
    checkout.write("notes.md", "hello\n");
    checkout.commit("Add a note");
    assert_eq!(checkout.push(&server.token(), &["--quiet", "origin", "HEAD"]).code, 0);
}

#[test]
fn no_secret_appears_in_a_log_a_process_list_the_repository_or_the_database() {
    let environment = TestEnvironment::new();
    // The first start prints the admin token once, on purpose; the second must not.
    let first = environment.server().start();
    assert!(first.printed().contains(&first.token()));
    first.kill();
    let server = environment.server().env("RUST_LOG", "trace").start();
    let made = server.api("POST", "/tokens", Some(&json!({"role": "releaser", "name": "ci"}))).expect(201).json();
    let made = made["token"].as_str().unwrap().to_owned();
    use_everything(&server, &made);
    let standard = server.secret(Signing::Standard);
    let secrets =
        [server.token(), made, server.secret(Signing::Mlflow), standard.trim_start_matches("whsec_").to_owned()];

    let printed = server.printed();
    assert!(printed.len() > 200, "the log: {printed}");
    let checkout = server.clone_repository();
    let history = checkout.ask(&["log", "--all", "--patch"]);
    let shown =
        [server.get("/deliveries").to_string(), server.get("/audit").to_string(), server.get("/tokens").to_string()]
            .concat();
    let mut kept = Vec::new();
    files(&environment.data_dir(), &mut kept);
    kept.retain(|path| {
        !path.ends_with("admin-token") && path.parent().is_none_or(|parent| !parent.ends_with("secrets"))
    });
    for secret in &secrets {
        assert!(secret.len() >= 16);
        assert!(!printed.contains(secret), "in the log");
        assert!(!history.contains(secret), "in the repository");
        assert!(!shown.contains(secret), "in an answer");
        assert!(!command_lines().iter().any(|line| holds(line, secret)), "in the process list");
        for path in &kept {
            assert!(!holds(&std::fs::read(path).unwrap_or_default(), secret), "in {}", path.display());
        }
    }
}

#[test]
fn what_holds_a_secret_is_readable_by_its_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let environment = TestEnvironment::new();
    let server = environment.server().start();
    let mut found = vec![environment.data_dir().join("admin-token")];
    files(&environment.data_dir().join("secrets"), &mut found);
    assert_eq!(found.len(), 5, "{found:?}");
    for path in &found {
        let mode = std::fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{}: {mode:o}", path.display());
    }
    drop(server);
    let open = environment.write("open-secret", "readable-by-the-world\n");
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o644)).unwrap();
    let files = format!("[{open:?}]");
    let told = environment.server().env("KMLFLOW__WEBHOOKS__MLFLOW__SECRET_FILES", &files).run();
    assert_ne!(told.code, 0);
    assert!(told.stderr.contains("Error: ") && !told.stderr.contains("readable-by-the-world"), "{}", told.stderr);
}
