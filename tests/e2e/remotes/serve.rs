//! The whole program against repositories elsewhere: laid out, served, pushed to by others, and moved to.

use serde_json::{Value, json};
use tests::Request;
use tests::cut::Line;
use tests::environment::run;
use tests::git_site::{GitSite, LOGIN};
use tests::ssh_server::SshServer;

use super::*;
use crate::of_readme;

/// An empty bare repository.
pub(super) fn empty(environment: &TestEnvironment, name: &str) -> PathBuf {
    let path = environment.path(name);
    succeed(environment.command("git").args(["init", "-q", "--bare", "--initial-branch=main"]).arg(&path));
    succeed(environment.command("git").args(["config", "http.receivepack", "true"]).current_dir(&path));
    path
}

fn log(environment: &TestEnvironment, repository: &Path) -> Vec<String> {
    let mut command = environment.command("git");
    let log = succeed(command.args(["log", "--reverse", "--format=%s", "main"]).current_dir(repository));
    log.lines().map(ToOwned::to_owned).collect()
}

/// What all of them must do: begin in an empty repository, release there, take in what a person pushed, and start again.
fn begins_and_releases(environment: &TestEnvironment, repository: &Path, config: &str) {
    let init = |more: &[&str]| {
        let arguments = ["init", "--config", config, "-o", "json"].into_iter().chain(more.iter().copied());
        serde_json::from_str::<Value>(&succeed(&mut environment.kmlflow(arguments))).unwrap()
    };
    let dry = init(&["--dry-run"]);
    assert_eq!((dry["wasEmpty"].clone(), dry["commit"].clone()), (json!(true), Value::Null));
    let added = init(&[])["added"].clone();
    assert_eq!(added, dry["added"]);
    assert!(added.as_array().unwrap().contains(&json!("policies/default.yaml")));
    assert_eq!(init(&[])["added"], json!([]), "the second time there is nothing to add");

    let begin = || environment.server().arg("--config").arg(config);
    let server = begin().start();
    let single = |version: &str| json!({"model": "fraud", "version": version, "image": format!("registry.example/fraud:{version}")});
    server.put("production/models/fraud", &single("7")).expect(201);
    let mut person = environment.command("git");
    succeed(person.args(["clone", "-q"]).arg(repository).arg(environment.path("person")));
    let person = |arguments: &[&str]| {
        let mut command = environment.command("git");
        command.args(["-c", "user.name=Ann", "-c", "user.email=ann@example.org"]).args(arguments);
        succeed(command.current_dir(environment.path("person")))
    };
    person(&["commit", "-q", "--allow-empty", "-m", "A person's"]);
    person(&["push", "-q", "origin", "main"]);
    server.put("production/models/fraud", &single("8")).expect(200);
    assert_eq!(server.get("/releases/production/models/fraud")["spec"]["variants"][0]["version"], "8");
    let door = Request::new("GET", "/git/gitops.git/info/refs?service=git-upload-pack").send(server.address());
    let told = door.expect(404).text();
    assert!(told.contains("not served here") && !told.contains(environment.path("").to_str().unwrap()), "{told}");
    assert_eq!(server.stop(), Some(0));

    let server = begin().start();
    server.act("production/models/fraud", "rollback", None).expect(200);
    drop(server);
    let subjects = log(environment, repository);
    assert_eq!(subjects.len(), 5, "{subjects:?}");
    assert_eq!(subjects[2], "A person's");
    assert!(subjects[4].starts_with("release(production/models/fraud): "), "{subjects:?}");
}

/// README's settings for a remote over https, with what is here in its place.
fn over_https(environment: &TestEnvironment, site: &GitSite, password: &Path) -> String {
    let (url, login) = (site.url("gitops.git"), format!("username: {}", LOGIN.0));
    let here = [
        ("https://git.example.com/team/gitops.git", url.as_str()),
        ("username: kmlflow", &login),
        ("/etc/kmlflow/git-token", password.to_str().unwrap()),
    ];
    let more = format!("\n  ca_file: {}", site.ca_file.display());
    of_readme(environment, "https", &here, &more)
}

fn password_file(environment: &TestEnvironment, password: &str) -> PathBuf {
    let path = environment.write("password", password);
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    path
}

#[test]
fn a_service_begins_and_releases_over_https_with_a_password_file() {
    let environment = TestEnvironment::new();
    let repository = empty(&environment, "gitops.git");
    let site = GitSite::start(&environment);
    let config = over_https(&environment, &site, &password_file(&environment, LOGIN.1));
    begins_and_releases(&environment, &repository, &config);
    // Neither in what was logged nor in what was kept.
    let mut search = environment.command("grep");
    let found = run(search.args(["-r", "-l", LOGIN.1]).arg(environment.data_dir()));
    assert_eq!(found.stdout, "", "{}", found.stdout);
}

#[test]
fn a_password_that_is_changed_at_both_ends_needs_no_restart() {
    let environment = TestEnvironment::new();
    empty(&environment, "gitops.git");
    let site = GitSite::start(&environment);
    let config = over_https(&environment, &site, &password_file(&environment, LOGIN.1));
    succeed(&mut environment.kmlflow(["init", "--config", &config]));
    let server = environment.server().arg("--config").arg(&config).start();
    let single = |version: &str| json!({"model": "fraud", "version": version, "image": format!("registry.example/fraud:{version}")});
    server.put("production/models/fraud", &single("7")).expect(201);

    site.let_in(&environment, "another-password");
    server.put("production/models/fraud", &single("8")).expect(202);
    password_file(&environment, "another-password");
    server.until("version 8 serves", || {
        let release = server.get("/releases/production/models/fraud");
        (release["spec"]["variants"][0]["version"] == "8").then_some(())
    });
    server.put("production/models/fraud", &single("9")).expect(200);
}

#[test]
fn a_service_begins_and_releases_over_ssh_with_a_key() {
    let environment = TestEnvironment::new();
    let repository = empty(&environment, "gitops.git");
    let server = SshServer::start(&environment);
    let known = environment.write("known_hosts", server.known_as(&server.host_key));
    let url = server.url(&repository);
    let here = [
        ("ssh://git@git.example.com/team/gitops.git", url.as_str()),
        ("/etc/kmlflow/git-key", server.key.to_str().unwrap()),
        ("/etc/kmlflow/known-hosts", known.to_str().unwrap()),
    ];
    begins_and_releases(&environment, &repository, &of_readme(&environment, "ssh", &here, ""));
}

#[test]
fn a_service_begins_and_releases_at_a_path() {
    let environment = TestEnvironment::new();
    let repository = empty(&environment, "gitops.git");
    let here = [("/srv/git/gitops.git", repository.to_str().unwrap())];
    begins_and_releases(&environment, &repository, &of_readme(&environment, "file", &here, ""));
}

#[test]
fn an_embedded_repository_is_moved_with_its_history_and_the_service_goes_on_there() {
    let environment = TestEnvironment::new();
    let repository = empty(&environment, "gitops.git");
    let url = format!("file://{}", repository.display());
    let body = json!({"model": "fraud", "version": "7", "image": "registry.example/fraud:7"});
    let server = environment.server().start();
    server.put("production/models/fraud", &body).expect(201);
    let relocate = |to: &str| {
        let data_dir = environment.data_dir().display().to_string();
        run(&mut environment.kmlflow(["repo", "move", "--to", to, "--data-dir", &data_dir]))
    };
    let refused = relocate(&url);
    assert!(refused.stderr.contains("another kmlflow uses the data directory"), "{}", refused.stderr);
    assert_eq!(server.stop(), Some(0));
    for _ in 0..2 {
        let moved = relocate(&url);
        assert!(moved.stdout.contains("has the repository, up to commit"), "{}{}", moved.stdout, moved.stderr);
    }
    let server = environment.server().env("KMLFLOW__GIT__URL", &url).start();
    let history = server.get("/releases/production/models/fraud/history");
    assert_eq!(history["items"].as_array().unwrap().len(), 1);
    server.api("DELETE", "/releases/production/models/fraud", None).expect(200);
    assert_eq!(log(&environment, &repository).len(), 3);
    drop(server);
    let other = empty(&environment, "other.git");
    let mut command = environment.command("git");
    succeed(command.args(["push", "-q"]).arg(&other).arg("main").current_dir(&repository));
    let refused = relocate(&format!("file://{}", other.display()));
    assert!(refused.stderr.contains("has a history of its own"), "{}", refused.stderr);
}

#[test]
fn a_repository_with_content_gets_no_policy_unasked() {
    let environment = TestEnvironment::new();
    let repository = Repository::new(&environment);
    let url = format!("file://{}", repository.path.display());
    let init = |more: &[&str]| {
        let arguments = ["init", "--url", &url].into_iter().chain(more.iter().copied());
        succeed(&mut environment.kmlflow(arguments))
    };
    let said = init(&[]);
    assert!(said.contains("+ README.md") && !said.contains("policies"), "{said}");
    let of_platform = |said: &str| said.lines().filter(|line| line.contains("+ platform/")).count();
    assert!(said.contains("+ platform/releases/production.yaml") && of_platform(&said) == 5, "{said}");
    let said = init(&["--with-default-policy"]);
    assert!(said.contains("+ policies/default.yaml") && !said.contains("README"), "{said}");
    assert_eq!(of_platform(&said), 0);
    let said = init(&["--with-platform"]);
    assert!(said.contains("+ platform/catalogue.yaml") && !said.contains("releases/production.yaml"), "{said}");
    assert_eq!(log(&environment, &repository.path).len(), 4);
}

#[test]
fn a_start_that_the_remote_does_not_let_in_says_why_and_what_helps_and_goes_on_once_it_does() {
    let environment = TestEnvironment::new();
    empty(&environment, "gitops.git");
    let site = GitSite::start(&environment);
    let config = over_https(&environment, &site, &password_file(&environment, "s3cr3t-marked"));
    let begin = || environment.server().arg("--config").arg(&config);

    let server = begin().begin();
    let answer = server.until_it_answers("/readyz", "does not take the credentials; give a user");
    assert_eq!(answer.status, 503, "{}", answer.text());
    server.until_it_answers("/healthz", "ok");
    server.until_it_answers("/api/v1/releases", "waits for the remote of its repository");
    assert!(server.printed().contains(&site.url("gitops.git")) && !server.printed().contains("s3cr3t-marked"));
    password_file(&environment, LOGIN.1);
    server.until_it_answers("/readyz", "is empty: it has no branch; give it a first commit with `kmlflow init`");
    succeed(&mut environment.kmlflow(["init", "--config", &config]));
    server.until_it_answers("/readyz", "ready\n");
    server.put("production/models/fraud", &crate::image("fraud", "7")).expect(201);
    assert_eq!(server.stop(), Some(0));

    // With a clone, it accepts and reads.
    site.let_in(&environment, "another-password");
    let server = begin().start();
    let answer =
        server.until_it_answers("/readyz", "nothing is released yet: the remote does not take the credentials");
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(server.get("/releases/production/models/fraud")["spec"]["variants"][0]["version"], "7");
    let queued = server.put("production/models/fraud", &crate::image("fraud", "8")).expect(202).json();
    assert!(queued["waitsFor"].as_str().unwrap().contains("credentials; give a user"), "{queued}");
    password_file(&environment, "another-password");
    crate::reviewed::serves(&server, "8");
}

#[test]
fn a_certificate_that_is_not_believed_is_said_at_the_start_with_the_setting_that_helps() {
    let environment = TestEnvironment::new();
    empty(&environment, "gitops.git");
    let site = GitSite::start(&environment);
    let begin = environment.server().env("KMLFLOW__GIT__URL", &site.url("gitops.git"));
    let server = begin.begin();
    server.until_it_answers("/readyz", "is not believed");
    let answer = server.until_it_answers("/readyz", "git.ca_file");
    assert_eq!(answer.status, 503, "{}", answer.text());
}

/// What a service is told of a repository behind a line.
fn over(site: &GitSite, line: &Line) -> [(&'static str, String); 3] {
    [
        ("KMLFLOW__GIT__URL", site.plain_url("gitops.git", Some(line.address()))),
        ("KMLFLOW__GIT__CREDENTIALS__USERNAME", LOGIN.0.to_owned()),
        ("KMLFLOW__GIT__CREDENTIALS__PASSWORD", LOGIN.1.to_owned()),
    ]
}

#[test]
fn a_start_at_a_remote_that_takes_connections_and_never_answers_is_there_within_seconds() {
    let environment = TestEnvironment::new();
    empty(&environment, "gitops.git");
    let site = GitSite::start(&environment);
    let line = Line::to(site.plain_address());
    let settings = over(&site, &line);
    succeed(environment.kmlflow(["init"]).envs(settings.clone()));
    let begin = || settings.iter().fold(environment.server(), |begin, (name, value)| begin.env(name, value));
    let server = begin().start();
    server.put("production/models/fraud", &crate::image("fraud", "7")).expect(201);
    assert_eq!(server.stop(), Some(0));

    line.silence();
    let begun = std::time::Instant::now();
    let server = begin().start();
    assert!(begun.elapsed() < std::time::Duration::from_secs(30), "{:?}", begun.elapsed());
    server.until_it_answers("/readyz", "the remote did not answer within 4 s");
    assert_eq!(server.get("/releases/production/models/fraud")["spec"]["variants"][0]["version"], "7");
    server.put("production/models/fraud", &crate::image("fraud", "8")).expect(202);
    line.mend();
    crate::reviewed::serves(&server, "8");
}

#[test]
fn a_remote_that_falls_silent_is_what_is_waited_for() {
    let environment = TestEnvironment::new();
    empty(&environment, "gitops.git");
    let site = GitSite::start(&environment);
    let line = Line::to(site.plain_address());
    let settings = over(&site, &line);
    succeed(environment.kmlflow(["init"]).envs(settings.clone()));
    let server = settings.iter().fold(environment.server(), |begin, (name, value)| begin.env(name, value)).start();
    server.put("production/models/fraud", &crate::image("fraud", "7")).expect(201);
    line.silence();
    let queued = server.put("production/models/fraud", &crate::image("fraud", "8")).expect(202).json();
    let waits_for = queued["waitsFor"].as_str().unwrap();
    assert!(waits_for.starts_with("the remote, which has not answered for "), "{queued}");
    line.cut();
    line.mend();
    crate::reviewed::serves(&server, "8");
}

#[test]
fn a_token_that_has_expired_is_said_and_what_was_asked_is_pushed_once_there_is_a_live_one() {
    let environment = TestEnvironment::new();
    empty(&environment, "gitops.git");
    let site = GitSite::start(&environment);
    let (url, ca) = (site.url("gitops.git"), site.ca_file.display().to_string());
    let settings = [
        ("URL", url.as_str()),
        ("CA_FILE", ca.as_str()),
        ("CREDENTIALS__USERNAME", LOGIN.0),
        ("CREDENTIALS__PASSWORD", LOGIN.1),
    ];
    let (mut init, mut begin) = (environment.kmlflow(["init"]), environment.server());
    for (name, value) in settings {
        let name = format!("KMLFLOW__GIT__{name}");
        init.env(&name, value);
        begin = begin.env(&name, value);
    }
    succeed(&mut init);
    let server = begin.start();
    let single = |version: &str| crate::image("fraud", version);
    server.put("production/models/fraud", &single("7")).expect(201);
    let live = std::fs::read_to_string(environment.path("site/users")).unwrap();
    environment.write("site/users", format!("{}:another\n", LOGIN.0));
    let queued = server.put("production/models/fraud", &single("8")).expect(202).json();
    let waits_for = queued["waitsFor"].as_str().unwrap();
    assert!(waits_for.starts_with("the remote does not take the credentials; give a user"), "{queued}");
    assert_eq!(Request::new("GET", "/readyz").send(server.address()).status, 200, "it accepts and keeps");
    let delivery = format!("/deliveries/{}", queued["delivery"].as_str().unwrap());
    let shown = server.get(&delivery);
    assert!(shown["cure"].as_str().is_some_and(|cure| cure.contains("token that are live")), "{shown}");
    environment.write("site/users", live);
    server.until("the push", || (server.get(&delivery)["state"] == "applied").then_some(()));
    assert!(!server.printed().contains(LOGIN.1));
}
