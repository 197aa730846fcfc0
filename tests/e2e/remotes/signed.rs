//! Signed commits, as Git and `ssh-keygen` judge them.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;
use tests::environment::{Run, run};
use tests::ssh_server::{make_key, public_half};

use super::*;
use crate::{by, image};

const FRAUD: &str = "production/models/fraud";

/// Git's judgement of each commit, the oldest first.
fn judged(environment: &TestEnvironment, repository: &Path, signers: &Path) -> Vec<Run> {
    let git = |arguments: &[&str]| {
        let mut command = environment.command("git");
        command.arg("-c").arg(format!("gpg.ssh.allowedSignersFile={}", signers.display())).args(arguments);
        run(command.current_dir(repository))
    };
    let commits = git(&["rev-list", "--reverse", "main"]).stdout;
    commits.lines().map(|commit| git(&["verify-commit", commit])).collect()
}

/// A file that says whose key is believed.
fn signers(environment: &TestEnvironment, key: &Path) -> PathBuf {
    let line = format!("kmlflow@localhost namespaces=\"git\" {}\n", public_half(key));
    environment.write(format!("signers-of-{}", key.file_name().unwrap().display()), line)
}

/// Each commit is believed to be the key's, and not another's.
#[track_caller]
fn assert_signed(environment: &TestEnvironment, repository: &Path, key: &Path, commits: usize) {
    let own = judged(environment, repository, &signers(environment, key));
    assert!(own.iter().all(|run| run.code == 0), "{own:#?}");
    assert!(own.iter().all(|run| run.stderr.contains("Good \"git\" signature for kmlflow@localhost")), "{own:#?}");
    assert_eq!(own.len(), commits);
    let foreign = signers(environment, &make_key(environment, "foreign"));
    let foreign = judged(environment, repository, &foreign);
    assert!(foreign.iter().all(|run| run.code == 1), "{foreign:#?}");
}

#[test]
fn git_believes_every_commit_of_a_release_elsewhere_from_its_first_to_its_rollback() {
    let environment = TestEnvironment::new();
    let repository = serve::empty(&environment, "gitops.git");
    let key = make_key(&environment, "key");
    let url = format!("file://{}", repository.display());
    let mut init = environment.kmlflow(["init", "--url", &url]);
    succeed(init.env("KMLFLOW__GIT__SIGNING_KEY_FILE", &key));
    let begin = || {
        let begin = environment.server().env("KMLFLOW__GIT__URL", &url);
        begin.env("KMLFLOW__GIT__SIGNING_KEY_FILE", &key.display().to_string()).start()
    };
    let server = begin();
    server.put(FRAUD, &image("fraud", "7")).expect(201);
    server.put(FRAUD, &by("canary", "fraud", "8", json!({}))).expect(200);
    assert_eq!(server.stop(), Some(0));
    let server = begin();
    server.act(FRAUD, "promote", None).expect(200);
    server.act(FRAUD, "rollback", None).expect(200);
    assert_eq!(server.get(&format!("/releases/{FRAUD}"))["spec"]["variants"][0]["version"], "7");
    let history = server.get(&format!("/releases/{FRAUD}/history"));
    let by_us = history["items"].as_array().unwrap().iter().filter(|item| !item["action"].is_null()).count();
    assert_eq!(server.stop(), Some(0));
    assert_signed(&environment, &repository, &key, by_us + 1);
    assert!(by_us >= 4, "{history:#}");
    // Where one byte is another, the signature is none any more.
    let git = |arguments: &[&str]| succeed(environment.command("git").args(arguments).current_dir(&repository));
    let tampered = git(&["cat-file", "commit", "main"]).replace("Version: 7", "Version: 9");
    let file = environment.write("tampered", tampered);
    let commit = git(&["hash-object", "-t", "commit", "-w", &file.display().to_string()]);
    git(&["update-ref", "refs/heads/main", commit.trim()]);
    let judged = judged(&environment, &repository, &signers(&environment, &key));
    assert_eq!(judged.iter().filter(|run| run.code != 0).count(), 1);
    assert_ne!(judged.last().unwrap().code, 0);
    // The key is nowhere but in its file.
    let secret = std::fs::read_to_string(&key).unwrap();
    let secret = secret.lines().nth(3).unwrap();
    let found = run(environment.command("grep").args(["-r", "-l", secret]).arg(environment.data_dir()));
    assert_eq!(found.stdout, "");
}

#[test]
fn git_believes_the_commits_of_an_embedded_repository() {
    let environment = TestEnvironment::new();
    let key = make_key(&environment, "key");
    let server = environment.server().env("KMLFLOW__GIT__SIGNING_KEY_FILE", &key.display().to_string()).start();
    server.put(FRAUD, &image("fraud", "7")).expect(201);
    server.put(FRAUD, &image("fraud", "8")).expect(200);
    assert_eq!(server.stop(), Some(0));
    assert_signed(&environment, &environment.data_dir().join("gitops.git"), &key, 3);
}

#[test]
fn a_key_that_cannot_sign_ends_the_start_with_what_helps() {
    let environment = TestEnvironment::new();
    let key = make_key(&environment, "key");
    let make = |name: &str, arguments: &[&str]| {
        let path = environment.path(name);
        let mut command = environment.command("ssh-keygen");
        succeed(command.args(["-q", "-C", name, "-f"]).arg(&path).args(arguments));
        path
    };
    let open = make("open", &["-t", "ed25519", "-N", ""]);
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o644)).unwrap();
    let public = PathBuf::from(format!("{}.pub", key.display()));
    std::fs::set_permissions(&public, std::fs::Permissions::from_mode(0o600)).unwrap();
    let typed = make("typed", &["-t", "ed25519", "-N", "correct-horse"]);
    let pem = make("pem", &["-t", "rsa", "-b", "2048", "-m", "PEM", "-N", ""]);
    let start = |key: &Path| environment.server().env("KMLFLOW__GIT__SIGNING_KEY_FILE", &key.display().to_string());
    for (file, sentence, hint) in [
        (&open, "can be read by everybody", format!("chmod 600 {}", open.display())),
        (&public, "is a public key", format!("`{}`", key.display())),
        (&typed, "has a passphrase", format!("`ssh-keygen -p -N '' -f {}`", typed.display())),
        (&pem, "in another format", format!("`ssh-keygen -p -N '' -f {}`", pem.display())),
        (&make("rsa", &["-t", "rsa", "-b", "2048", "-N", ""]), "`ssh-rsa`", "`ssh-keygen -t ed25519".to_owned()),
        (&environment.path("nowhere"), "there is no file", "path".to_owned()),
    ] {
        let said = start(file).run();
        assert_ne!(said.code, 0);
        assert!(said.stderr.contains(sentence) && said.stderr.contains(&hint), "{}", said.stderr);
        let text = std::fs::read_to_string(file).unwrap_or_default();
        assert!(text.lines().skip(1).take(3).all(|line| !said.stderr.contains(line)), "{}", said.stderr);
    }
    // The cure as it is printed.
    succeed(environment.command("ssh-keygen").args(["-q", "-p", "-P", "correct-horse", "-N", "", "-f"]).arg(&typed));
    assert_eq!(start(&typed).start().stop(), Some(0));
}
