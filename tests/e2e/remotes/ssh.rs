//! Pushes and fetches over ssh: Debian's `sshd`, the system's `ssh`, and keys of our own.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use kmlflow::git::remote::History;
use tests::ssh_server::{SshServer, free_port, make_key, public_half};

use super::*;

/// The remote with a key and what is known of its host.
fn remote(environment: &TestEnvironment, url: &str, key: &Path, known_hosts: &str) -> Remote {
    let settings = Settings {
        endpoint: Endpoint::parse(url).unwrap(),
        branch: Branch::parse("main").unwrap(),
        credentials: None,
        renewal: None,
        ca_file: None,
        allow_plain_http: false,
        ssh: Some(SshSettings { key: key.to_owned(), known_hosts: environment.write("known_hosts", known_hosts) }),
        push_options: Vec::new(),
        directory: environment.path("home"),
        limits: Limits { connect: Duration::from_secs(2), ..Limits::default() },
    };
    let path = std::env::var("PATH").ok();
    Remote::new(settings, wait(Git::find(path.as_deref())).unwrap()).unwrap()
}

/// The errors of a push and of a fetch that are not let through.
fn refusals(repository: &Repository<'_>, remote: &Remote) -> [RemoteError; 2] {
    let new = repository.commit("next");
    let push = match wait(remote.push(Some(&repository.tip), &new, &repository.pack())) {
        Pushed::Denied(error) | Pushed::Transient(error) => error,
        other => panic!("{other:?}"),
    };
    assert_eq!(repository.at(), repository.tip);
    [push, wait(remote.fetch(&repository.ours(), History::Tip)).unwrap_err()]
}

#[test]
fn a_host_that_is_known_is_pushed_to_and_fetched_from() {
    let environment = TestEnvironment::new();
    let repository = Repository::new(&environment);
    let server = SshServer::start(&environment);
    let known = server.known_as(&server.host_key);
    let remote = remote(&environment, &server.url(&repository.path), &server.key, &known);
    let new = repository.commit("second");
    let pack = repository.pack();
    assert_eq!(wait(remote.push(Some(&repository.tip), &new, &pack)), Pushed::Done);
    assert_eq!(repository.at(), new);
    let stale = wait(remote.push(Some(&repository.tip), &new, &pack));
    assert_eq!(stale, Pushed::Moved { words: format!("the branch is at {new}") });
    assert_eq!(wait(remote.fetch(&repository.ours(), History::Tip)), Ok(new));
    assert_eq!(wait(remote.heads()).unwrap().default, Some(Branch::parse("main").unwrap()));
}

#[test]
fn a_hook_behind_ssh_refuses_in_its_own_words() {
    let environment = TestEnvironment::new();
    let repository = Repository::new(&environment);
    let hook = environment.write("remote.git/hooks/pre-receive", "#!/bin/sh\necho 'not on Fridays' >&2\nexit 1\n");
    std::fs::set_permissions(hook, std::fs::Permissions::from_mode(0o755)).unwrap();
    let server = SshServer::start(&environment);
    let known = server.known_as(&server.host_key);
    let remote = remote(&environment, &server.url(&repository.path), &server.key, &known);
    let new = repository.commit("second");
    let pushed = wait(remote.push(Some(&repository.tip), &new, &repository.pack()));
    assert_eq!(pushed, Pushed::Refused { words: "pre-receive hook declined: not on Fridays".to_owned() });
}

#[test]
fn a_host_that_is_not_known_is_not_believed() {
    let environment = TestEnvironment::new();
    let repository = Repository::new(&environment);
    let server = SshServer::start(&environment);
    let remote = remote(&environment, &server.url(&repository.path), &server.key, "");
    for error in refusals(&repository, &remote) {
        assert!(matches!(error, RemoteError::HostKeyUnknown { .. }), "{error:?}");
        assert!(error.cure().unwrap().contains("`ssh-keyscan -p "), "{error:?}");
    }
}

#[test]
fn a_host_whose_key_has_changed_is_told_from_one_that_is_not_known() {
    let environment = TestEnvironment::new();
    let repository = Repository::new(&environment);
    let server = SshServer::start(&environment);
    let other = public_half(&make_key(&environment, "other"));
    let remote = remote(&environment, &server.url(&repository.path), &server.key, &server.known_as(&other));
    for error in refusals(&repository, &remote) {
        assert!(matches!(error, RemoteError::HostKeyChanged { .. }), "{error:?}");
    }
}

#[test]
fn a_key_that_is_not_let_in_is_told_from_one_that_cannot_be_used() {
    let environment = TestEnvironment::new();
    let repository = Repository::new(&environment);
    let server = SshServer::start(&environment);
    let known = server.known_as(&server.host_key);
    let url = server.url(&repository.path);
    let stranger = make_key(&environment, "stranger");
    for error in refusals(&repository, &remote(&environment, &url, &stranger, &known)) {
        assert!(matches!(error, RemoteError::KeyRefused { .. }), "{error:?}");
    }
    let locked = environment.path("locked");
    std::fs::copy(&server.key, &locked).unwrap();
    let mut lock = environment.command("ssh-keygen");
    succeed(lock.args(["-q", "-p", "-N", "open-sesame", "-f"]).arg(&locked));
    for error in refusals(&repository, &remote(&environment, &url, &locked, &known)) {
        assert!(matches!(error, RemoteError::KeyLocked { .. }), "{error:?}");
        assert!(error.cure().unwrap().contains("`git.credentials.ssh_key_file`"), "{error:?}");
    }
    std::fs::set_permissions(&server.key, std::fs::Permissions::from_mode(0o644)).unwrap();
    for error in refusals(&repository, &remote(&environment, &url, &server.key, &known)) {
        assert!(matches!(error, RemoteError::KeyUnusable { .. }), "{error:?}");
    }
}

#[test]
fn what_is_not_there_is_told_from_a_host_that_does_not_answer() {
    let environment = TestEnvironment::new();
    let repository = Repository::new(&environment);
    let server = SshServer::start(&environment);
    let known = server.known_as(&server.host_key);
    let gone = server.url(&environment.path("gone.git"));
    for error in refusals(&repository, &remote(&environment, &gone, &server.key, &known)) {
        assert!(matches!(error, RemoteError::NotFound { .. }), "{error:?}");
    }
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    for port in [free_port(), silent.local_addr().unwrap().port()] {
        let url = format!("ssh://127.0.0.1:{port}/x");
        for error in refusals(&repository, &remote(&environment, &url, &server.key, &known)) {
            assert!(matches!(error, RemoteError::Unreachable { .. }), "{error:?}");
        }
    }
}
