//! The embedded repository as Git sees it, and what a person's push does.

use serde_json::json;
use tests::environment::{run, succeed};
use tests::{Delivery, Request, TestEnvironment};

use super::{by, image};

const FRAUD: &str = "production/models/fraud";
const DIRECTORY: &str = "releases/production/models/fraud";
const RELEASE: &str = "releases/production/models/fraud/release.yaml";

#[test]
fn a_clone_shows_the_seed_and_the_commits_with_their_trailers() {
    let environment = TestEnvironment::new();
    let server = environment.server().start();
    let body = json!({"name": "fraud", "namespace": "models", "environment": "production", "model": "fraud", "version": "7", "image": "registry.example/fraud:7", "requestedBy": "ada@example.com"});
    server.deliver_and_settle(&Delivery::generic("ci-1", &body));
    let checkout = server.clone_repository();
    assert!(checkout.read("README.md").is_some() && checkout.read("policies/default.yaml").is_some());
    let commit = checkout.log(DIRECTORY)[0].clone();
    assert!(commit.subject.starts_with("release(production/models/fraud): "), "{}", commit.subject);
    let what = commit.subject.rsplit("): ").next().unwrap();
    assert!((1..=50).contains(&what.chars().count()), "{what}");
    for (name, value) in [
        ("Delivery-Id", "ci-1"),
        ("Requested-By", "ada@example.com"),
        ("Model", "fraud"),
        ("Version", "7"),
        ("Strategy", "single"),
        ("Action", "create"),
    ] {
        assert_eq!(commit.trailer(name), Some(value), "{}", commit.message);
    }
    assert!(commit.trailer("Release-Id").is_some_and(|id| !id.is_empty()));
    assert_eq!(server.get(&format!("/releases/{FRAUD}"))["commit"], commit.id);
    checkout.ask(&["fsck", "--full", "--strict"]);
}

#[test]
fn what_a_caller_says_cannot_forge_a_trailer() {
    let environment = TestEnvironment::new();
    let server = environment.server().start();
    let forged = "eve\n\nAction: retract\nRelease-Id: 0000\u{7}\u{2028}Model: other";
    let answer = server.put(FRAUD, &by("single", "fraud", "7", json!({"requestedBy": forged})));
    if answer.status == 201 {
        let commit = server.clone_repository().log(DIRECTORY)[0].clone();
        assert_eq!(commit.trailers.iter().filter(|(name, _)| name == "Action").count(), 1, "{}", commit.message);
        assert_eq!(commit.trailer("Action"), Some("create"), "{}", commit.message);
        assert!(!commit.message.chars().any(|c| c.is_control() && c != '\n'), "{:?}", commit.message);
    } else {
        drop(answer.expect_problem(422));
    }
}

#[test]
fn render_in_another_clone_and_without_configuration_gives_the_bytes_of_the_repository() {
    let environment = TestEnvironment::new();
    let server = environment.server().start();
    let stories = [
        ("canary", json!({"steps": [5, 50]})),
        ("ab", json!({"weights": {"a": 70, "b": 30}})),
        ("blue-green", json!({})),
        ("shadow", json!({"percent": 20})),
    ];
    server.put("production/models/single", &image("single", "7")).expect(201);
    for (strategy, more) in &stories {
        let path = format!("production/models/{strategy}");
        server.put(&path, &image(strategy, "7")).expect(201);
        server.put(&path, &by(strategy, strategy, "8", more.clone())).expect(200);
    }
    let url = format!("{}/git/gitops.git", server.url());
    let elsewhere = TestEnvironment::new();
    let checkout = tests::Checkout::of(&elsewhere, &url);
    drop(server);
    for name in ["single", "canary", "ab", "blue-green", "shadow"] {
        let directory = checkout.directory().join("releases/production/models").join(name);
        let printed =
            succeed(elsewhere.kmlflow(["render", "-f"]).arg(directory.join("release.yaml")).args(["-o", "json"]));
        let printed: serde_json::Value = serde_json::from_str(&printed).unwrap();
        let files = printed["manifests"].as_object().unwrap();
        let mut names: Vec<&str> = files.keys().map(String::as_str).filter(|name| *name != "release.yaml").collect();
        names.sort_unstable();
        assert_eq!(
            names,
            ["dashboard.yaml", "kustomization.yaml", "monitoring.yaml", "route.yaml", "seldon.yaml"],
            "{name}"
        );
        for file in names {
            assert_eq!(
                files[file].as_str().unwrap(),
                std::fs::read_to_string(directory.join(file)).unwrap(),
                "{name}/{file}"
            );
        }
    }
}

#[test]
fn reading_is_open_on_the_loopback_and_pushing_needs_an_admin_token() {
    let environment = TestEnvironment::new();
    let server = environment.server().start();
    let checkout = server.clone_repository();
    checkout.write("notes.md", "hello\n");
    checkout.commit("Add a note");
    assert_ne!(checkout.git(&["push", "--quiet", "origin", "HEAD"]).code, 0);
    assert_ne!(checkout.push("nonsense", &["--quiet", "origin", "HEAD"]).code, 0);
    let asked = json!({"role": "releaser", "name": "ci"});
    let releaser = server.api("POST", "/tokens", Some(&asked)).expect(201).json();
    assert_ne!(checkout.push(releaser["token"].as_str().unwrap(), &["--quiet", "origin", "HEAD"]).code, 0);
    assert_eq!(checkout.push(&server.token(), &["--quiet", "origin", "HEAD"]).code, 0);
    assert_eq!(server.clone_repository().read("notes.md").as_deref(), Some("hello\n"));
}

#[test]
fn history_is_never_rewritten_and_no_branch_deleted_by_a_push() {
    let environment = TestEnvironment::new();
    let server = environment.server().start();
    server.put(FRAUD, &image("fraud", "7")).expect(201);
    let checkout = server.clone_repository();
    let tip = checkout.ask(&["rev-parse", "HEAD"]);
    checkout.ask(&["commit", "--amend", "--quiet", "--message", "Another past"]);
    assert_ne!(checkout.push(&server.token(), &["--force", "origin", "HEAD:main"]).code, 0);
    assert_ne!(checkout.push(&server.token(), &["origin", "--delete", "main"]).code, 0);
    assert_eq!(server.clone_repository().ask(&["rev-parse", "HEAD"]), tip);
    server.put(FRAUD, &image("fraud", "8")).expect(200);
}

#[test]
fn a_release_changed_by_a_push_is_rendered_and_committed() {
    let environment = TestEnvironment::new();
    let server = environment.server().start();
    server.put(FRAUD, &image("fraud", "7")).expect(201);
    let checkout = server.clone_repository();
    let text = checkout.read(RELEASE).unwrap();
    checkout.write(RELEASE, &text.replace("registry.example/fraud:7", "registry.example/fraud:7-fixed"));
    checkout.commit("Fix the image");
    assert_eq!(checkout.push(&server.token(), &["--quiet", "origin", "HEAD"]).code, 0);
    server.until("the render is committed", || {
        checkout.update();
        let seldon = checkout.read(&format!("{DIRECTORY}/seldon.yaml"))?;
        seldon.contains("registry.example/fraud:7-fixed").then_some(())
    });
    assert_eq!(checkout.log(DIRECTORY)[0].trailer("Action"), Some("render"));
}

#[test]
fn a_rendered_file_changed_by_hand_is_drift_and_is_overwritten_only_on_purpose() {
    let environment = TestEnvironment::new();
    let server = environment.server().start();
    server.put(FRAUD, &image("fraud", "7")).expect(201);
    let checkout = server.clone_repository();
    let file = format!("{DIRECTORY}/seldon.yaml");
    let text = checkout.read(&file).unwrap();
    let by_hand = text.replace("progressDeadlineSeconds: 600", "progressDeadlineSeconds: 601");
    assert_ne!(text, by_hand);
    checkout.write(&file, &by_hand);
    checkout.commit("A quick change by hand");
    assert_eq!(checkout.push(&server.token(), &["--quiet", "origin", "HEAD"]).code, 0);
    server.until("the drift is seen", || {
        let files = server.get(&format!("/releases/{FRAUD}"))["files"].clone();
        files.as_array().unwrap().contains(&json!("drifted")).then_some(())
    });
    let problem = server.put(FRAUD, &image("fraud", "8")).expect_problem(409);
    assert!(problem["cure"].as_str().is_some_and(|cure| cure.contains("force") && cure.contains("adopt")), "{problem}");
    checkout.update();
    assert_eq!(checkout.read(&file).as_deref(), Some(by_hand.as_str()));
    let adopted = server.api("PUT", &format!("/releases/{FRAUD}?adopt"), Some(&image("fraud", "8")));
    assert!([200, 409].contains(&adopted.status), "{}", adopted.text());
    server.api("PUT", &format!("/releases/{FRAUD}?force"), Some(&image("fraud", "8"))).expect(200);
    checkout.update();
    assert!(checkout.read(&file).unwrap().contains("progressDeadlineSeconds: 600"));
}

#[test]
fn a_commit_with_the_words_and_the_author_of_the_services_is_a_persons() {
    let environment = TestEnvironment::new();
    let server = environment.server().start();
    server.put(FRAUD, &image("fraud", "7")).expect(201);
    let created = server.get(&format!("/releases/{FRAUD}"))["commit"].as_str().unwrap().to_owned();
    server.api("DELETE", &format!("/releases/{FRAUD}"), None).expect(200);
    let checkout = server.clone_repository();
    let retracted = checkout.ask(&["rev-parse", "HEAD"]).trim().to_owned();
    checkout.ask(&["restore", &format!("--source={created}"), "--", DIRECTORY]);
    checkout.commit("Bring it back");
    assert_eq!(checkout.push(&server.token(), &["--quiet", "origin", "HEAD"]).code, 0);
    server.until("it is back", || (server.api("GET", &format!("/releases/{FRAUD}"), None).status == 200).then_some(()));
    checkout.update();
    checkout.ask(&["rm", "-r", "--quiet", DIRECTORY]);
    checkout.ask(&["commit", "--quiet", "-C", &retracted]);
    assert_eq!(checkout.push(&server.token(), &["--quiet", "origin", "HEAD"]).code, 0);
    server.until("it is gone", || (server.api("GET", &format!("/releases/{FRAUD}"), None).status == 404).then_some(()));
}

#[test]
fn a_copied_directory_is_in_the_way_until_somebody_decides() {
    let environment = TestEnvironment::new();
    let server = environment.server().start();
    server.put(FRAUD, &image("fraud", "7")).expect(201);
    let checkout = server.clone_repository();
    let copy = "releases/production/models/copy";
    for file in ["release.yaml", "seldon.yaml"] {
        checkout.write(&format!("{copy}/{file}"), &checkout.read(&format!("{DIRECTORY}/{file}")).unwrap());
    }
    checkout.commit("Copy it");
    assert_eq!(checkout.push(&server.token(), &["--quiet", "origin", "HEAD"]).code, 0);
    let problem = server.put("production/models/copy", &image("fraud", "8")).expect_problem(409);
    assert!(problem["cure"].as_str().unwrap().contains("`force=true`"), "{problem}");
    let shown = server.api("GET", "/releases/production/models/copy", None).expect_problem(404);
    assert!(shown["detail"].as_str().unwrap().contains("its metadata name the release"), "{shown}");
    checkout.update();
    assert_eq!(checkout.read(&format!("{copy}/seldon.yaml")), checkout.read(&format!("{DIRECTORY}/seldon.yaml")));
    server.api("PUT", "/releases/production/models/copy?force", Some(&image("fraud", "8"))).expect(201);
}

#[test]
fn a_push_to_a_misspelled_branch_does_not_look_like_success() {
    let environment = TestEnvironment::new();
    let server = environment.server().start();
    let checkout = server.clone_repository();
    checkout.write("notes.md", "hello\n");
    checkout.commit("Add a note");
    assert_ne!(checkout.push(&server.token(), &["origin", "HEAD:mian"]).code, 0);
    assert_eq!(checkout.ask(&["ls-remote", "--quiet", "origin", "refs/heads/*"]).lines().count(), 1);
    assert_eq!(checkout.push(&server.token(), &["origin", "HEAD:main"]).code, 0);
}

#[test]
fn an_invalid_release_file_leaves_the_rendered_files_in_force() {
    let environment = TestEnvironment::new();
    let server = environment.server().start();
    server.put(FRAUD, &image("fraud", "7")).expect(201);
    let checkout = server.clone_repository();
    let seldon = checkout.read(&format!("{DIRECTORY}/seldon.yaml"));
    checkout.write(RELEASE, "apiVersion: kmlflow.dev/v1\nkind: Release\nmetadata: [oops\n");
    checkout.commit("Break it");
    assert_eq!(checkout.push(&server.token(), &["--quiet", "origin", "HEAD"]).code, 0);
    server.until("the fault is seen", || {
        let answer = server.api("GET", &format!("/releases/{FRAUD}"), None);
        (answer.status == 200 && answer.json()["files"].as_array().unwrap().contains(&json!("invalid"))).then_some(())
    });
    checkout.update();
    assert_eq!(checkout.read(&format!("{DIRECTORY}/seldon.yaml")), seldon);
    // The others are not concerned.
    server.put("production/models/other", &image("other", "1")).expect(201);
}

#[test]
fn a_policy_that_does_not_parse_is_reported_and_the_last_that_did_stays_in_force() {
    let environment = TestEnvironment::new();
    let server = environment.server().start();
    let checkout = server.clone_repository();
    checkout.write("policies/default.yaml", "spec: {models: [\n");
    checkout.commit("Break the policy");
    assert_eq!(checkout.push(&server.token(), &["--quiet", "origin", "HEAD"]).code, 0);
    let asked = json!({"model": "fraud", "aliases": {"champion": "7"}, "tags": {"validation_status": "approved"}});
    let said = server.until("the fault is reported", || {
        let said = server.api("POST", "/policies/test", Some(&asked)).expect(200).json();
        (!said["warnings"].as_array().unwrap().is_empty()).then_some(said)
    });
    assert_eq!(said["stable"], "7", "{said}");
    server.kill();
    let server = environment.server().start();
    let said = server.api("POST", "/policies/test", Some(&asked)).expect(200).json();
    assert_eq!(said["stable"], "7", "after a restart: {said}");
}

#[test]
fn a_template_that_fails_refuses_the_request_and_writes_nothing() {
    let environment = TestEnvironment::new();
    environment.write("templates/route.yaml.j2", "{{ nobody.knows.this }}\n");
    let templates = environment.path("templates");
    let server = environment.server().env("KMLFLOW__TEMPLATES_DIR", templates.to_str().unwrap()).start();
    let before = server.clone_repository().log("").len();
    let answer = server.put(FRAUD, &image("fraud", "7"));
    assert_eq!(answer.status, 422, "{}", answer.text());
    let problem = answer.expect_problem(422);
    assert!(problem["detail"].as_str().unwrap().contains("route.yaml"), "{problem}");
    assert_eq!(server.clone_repository().log("").len(), before);
}

#[test]
fn backup_and_restore_bring_everything_back() {
    let environment = TestEnvironment::new();
    let server = environment.server().start();
    server.deliver_and_settle(&Delivery::alias("d-1", "fraud", "champion", "7"));
    server.put("production/models/other", &image("other", "3")).expect(201);
    let tip = server.clone_repository().ask(&["rev-parse", "HEAD"]);
    let file = environment.path("backup.tar");
    let data = environment.data_dir();
    succeed(environment.kmlflow(["backup", "--data-dir"]).arg(&data).arg(&file));
    drop(server);

    let elsewhere = TestEnvironment::new();
    let restored = run(elsewhere.kmlflow(["restore", "--data-dir"]).arg(elsewhere.data_dir()).arg(&file));
    assert_eq!(restored.code, 0, "{}", restored.stderr);
    let server = elsewhere.server().start();
    assert_eq!(server.clone_repository().ask(&["rev-parse", "HEAD"]), tip);
    assert_eq!(server.get("/releases/production/models/other")["spec"]["variants"][0]["version"], "3");
    assert_eq!(server.get("/deliveries/d-1")["id"], "d-1");
}

/// Backs a service up and brings it back elsewhere, by these settings of both.
fn backed_up_and_restored(old: &TestEnvironment, new: &TestEnvironment, url: Option<&str>) -> (String, String) {
    let file = old.path("backup.tar");
    // What is there from a time before is no reason to fail.
    drop(std::fs::remove_file(&file));
    let settings = url.map(|url| ("KMLFLOW__GIT__URL", url));
    let backup = succeed(old.kmlflow(["backup", "--data-dir"]).arg(old.data_dir()).arg(&file).envs(settings));
    let mut restore = new.kmlflow(["restore", "--data-dir"]);
    (backup, succeed(restore.arg(new.data_dir()).arg(&file).envs(settings)))
}

#[test]
fn a_backup_of_a_service_whose_branch_is_elsewhere_has_what_it_needs_to_go_on() {
    let environment = TestEnvironment::new();
    let remote = environment.path("remote.git");
    succeed(environment.command("git").args(["init", "-q", "--bare", "--initial-branch=main"]).arg(&remote));
    let url = remote.display().to_string();
    succeed(&mut environment.kmlflow(["init", "--url", &url]));
    let server = environment.server().env("KMLFLOW__GIT__URL", &url).start();
    server.put("production/models/other", &image("other", "3")).expect(201);
    let token = server.token();
    let elsewhere = TestEnvironment::new();
    let (backup, _) = backed_up_and_restored(&environment, &elsewhere, Some(&url));
    assert!(backup.contains(&format!("what is known here of `main` of `{url}`")), "{backup}");
    drop(server);

    // The remote is away, and what is known of it is there.
    let away = environment.path("away.git");
    std::fs::rename(&remote, &away).unwrap();
    let server = elsewhere.server().env("KMLFLOW__GIT__URL", &url).start();
    assert_eq!(server.token(), token);
    assert_eq!(server.get("/releases/production/models/other")["spec"]["variants"][0]["version"], "3");
    server.put("production/models/other", &image("other", "4")).expect(202);
    std::fs::rename(&away, &remote).unwrap();
    server.until("it is released", || {
        let release = server.get("/releases/production/models/other");
        (release["spec"]["variants"][0]["version"] == "4").then_some(())
    });
}

#[test]
fn the_next_command_after_init_names_the_settings_that_were_named() {
    let environment = TestEnvironment::new();
    let remote = environment.path("remote.git");
    succeed(environment.command("git").args(["init", "-q", "--bare", "--initial-branch=main"]).arg(&remote));
    let url = remote.display().to_string();
    let config = environment.write("k.yaml", format!("git:\n  url: {url}\n")).display().to_string();
    let data = environment.data_dir().display().to_string();
    let next = |arguments: &[&str]| {
        let mut init = environment.kmlflow(["init"].iter().chain(arguments));
        let said = run(&mut init);
        assert_eq!(said.code, 0, "{}", said.stderr);
        said.stderr.lines().last().unwrap().to_owned()
    };
    assert_eq!(next(&["--config", &config]), format!("Start the service: kmlflow serve --config {config}"));
    assert_eq!(
        next(&["--config", &config, "--data-dir", &data]),
        format!("Start the service: kmlflow serve --config {config} --data-dir {data}")
    );
    assert_eq!(
        next(&["--url", &url]),
        format!("Set `git.url` to `{url}` and start the service: KMLFLOW__GIT__URL={url} kmlflow serve")
    );
    let other = environment.write("other.yaml", "listen: 127.0.0.1:0\n").display().to_string();
    assert_eq!(
        next(&["--url", &url, "--config", &other]),
        format!("Set `git.url` to `{url}` in that file and start the service: kmlflow serve --config {other}")
    );
}

#[test]
fn a_backup_after_the_repository_was_moved_is_not_of_the_old_one() {
    let environment = TestEnvironment::new();
    let remote = environment.path("remote.git");
    succeed(environment.command("git").args(["init", "-q", "--bare", "--initial-branch=main"]).arg(&remote));
    let url = remote.display().to_string();
    let server = environment.server().start();
    server.put("production/models/other", &image("other", "3")).expect(201);
    assert_eq!(server.stop(), Some(0));
    let moved =
        |to: &str| run(environment.kmlflow(["repo", "move", "--to", to, "--data-dir"]).arg(environment.data_dir()));
    let hook = remote.join("hooks/pre-receive");
    std::fs::write(&hook, "#!/bin/sh\necho 'no new repositories, ask ops' >&2; exit 1\n").unwrap();
    std::fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let refused = moved(&url);
    assert!(refused.code == 1 && refused.stderr.contains("no new repositories, ask ops"), "{refused:?}");
    std::fs::remove_file(&hook).unwrap();
    let of_sha256 = environment.path("sha256.git");
    succeed(environment.command("git").args(["init", "-q", "--bare", "--object-format=sha256"]).arg(&of_sha256));
    let refused = moved(&of_sha256.display().to_string());
    assert!(refused.code != 0 && refused.stderr.contains("a format other than sha1"), "{refused:?}");
    for _ in 0..2 {
        assert_eq!(moved(&url).code, 0);
    }
    // Who forgets to say where it is now would release to a branch that nobody reads.
    let forgotten = run(environment.kmlflow(["serve", "--data-dir"]).arg(environment.data_dir()));
    assert_eq!(forgotten.code, 1, "{forgotten:?}");
    assert!(forgotten.stderr.contains(&format!("was moved to {url}")), "{forgotten:?}");
    assert!(forgotten.stderr.contains(&format!("set `git.url` to {url}")), "{forgotten:?}");
    let server = environment.server().env("KMLFLOW__GIT__URL", &url).start();
    server.put("production/models/other", &image("other", "4")).expect(200);
    assert_eq!(server.stop(), Some(0));
    std::fs::rename(&remote, environment.path("away.git")).unwrap();
    // The second time somebody forgets to say where the branch is.
    for (with, held) in [(Some(url.as_str()), "holds what is known"), (None, "holds the repository, what is known")] {
        let elsewhere = TestEnvironment::new();
        let (backup, _) = backed_up_and_restored(&environment, &elsewhere, with);
        assert!(backup.contains(held), "{backup}");
        let server = elsewhere.server().env("KMLFLOW__GIT__URL", &url).start();
        let release = server.get("/releases/production/models/other");
        assert_eq!(release["spec"]["variants"][0]["version"], "4", "{release}");
    }
    let nothing = TestEnvironment::new();
    let mut backup = nothing.kmlflow(["backup", "--data-dir"]);
    let backup = run(backup.arg(nothing.data_dir()).arg(nothing.path("x")).env("KMLFLOW__GIT__URL", &url));
    assert!(backup.code == 1 && backup.stderr.contains("no service has begun"), "{backup:?}");
}

#[test]
fn a_request_for_what_is_not_there_is_404_in_the_git_door() {
    let environment = TestEnvironment::new();
    let server = environment.server().start();
    for path in [
        "/git/other.git/info/refs?service=git-upload-pack",
        "/git/gitops.git/config",
        "/git/gitops.git/../../admin-token",
        "/git/gitops.git/objects/info/packs",
    ] {
        let answer = Request::new("GET", path).send(server.address());
        assert!([400, 403, 404].contains(&answer.status), "{path}: {}", answer.status);
    }
}
