//! A full disk. Needs a small file system of its own, which takes root: the tier `disk` makes one and names it.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::json;
use tests::environment::succeed;
use tests::{Checkout, Connection, Delivery, Request, TestEnvironment};

use crate::{by, image};

/// Names the small file system that the tier `disk` has made.
const SMALL_DISK: &str = "KMLFLOW_TEST_SMALL_DISK";

/// One test fills it at a time.
static TURN: Mutex<()> = Mutex::new(());

fn small_disk() -> (PathBuf, MutexGuard<'static, ()>) {
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    (PathBuf::from(std::env::var(SMALL_DISK).expect("`tests/run disk` names a small file system")), turn)
}

/// Fills the file system to the last byte; the file is what has to be removed again.
fn fill(disk: &Path) -> PathBuf {
    let path = disk.join("filler");
    let mut file = std::fs::File::create(&path).unwrap();
    for size in [1 << 16, 1 << 12, 1] {
        let block = vec![0; size];
        while file.write_all(&block).is_ok() {}
    }
    path
}

#[test]
fn a_full_disk_is_503_and_loses_nothing_that_was_acknowledged() {
    let environment = TestEnvironment::new();
    let (disk, _turn) = small_disk();
    let data = disk.join("data");
    std::fs::create_dir(&data).unwrap();
    std::os::unix::fs::symlink(&data, environment.data_dir()).unwrap();
    let server = environment.server().start();
    let request = |number: usize| {
        let name = format!("m{number}");
        let body = json!({"name": name, "namespace": "models", "environment": "production", "model": name, "version": "1", "image": "registry.example/m:1"});
        Delivery::generic(&format!("ci-{number}"), &body)
    };
    server.api("POST", "/hold", Some(&json!({"reason": "the disk fills up"}))).expect(200);
    server.deliver(&request(1)).expect(202);
    let filler = fill(&disk);
    // The store may still have room in a page it owns: then the answer is an honest 202.
    let answers: Vec<u16> = (2..40).map(|number| server.deliver(&request(number)).status).collect();
    assert!(answers.iter().all(|status| [202, 503].contains(status)), "{answers:?}");
    assert!(answers.contains(&503), "{answers:?}");
    let refused = server.deliver(&request(40));
    assert!(refused.header("Retry-After").is_some(), "{}", refused.text());
    drop(refused.expect_problem(503));
    let ready = |server: &tests::Server<'_>| Request::new("GET", "/readyz").send(server.address());
    drop(ready(&server).expect_problem(503));
    // What only helps the command line is no reason not to start.
    assert_eq!(server.stop(), Some(0));
    let server = environment.server().start();
    drop(ready(&server).expect_problem(503));

    std::fs::remove_file(filler).unwrap();
    server.deliver(&request(41)).expect(202);
    server.api("DELETE", "/hold", None).expect(200);
    let acknowledged = (2..40).zip(answers).filter(|(_, status)| *status == 202).map(|(number, _)| number);
    for number in [1, 41].into_iter().chain(acknowledged) {
        assert_eq!(server.settle(&format!("ci-{number}"))["state"], "applied", "{number}");
    }
    // Not sooner: what the store did not take while the disk was full is tried again after a moment.
    ready(&server).expect(200);
    server.clone_repository().ask(&["fsck", "--full"]);
    drop(server);
    std::fs::remove_dir_all(data).unwrap();
}

#[test]
fn killed_on_a_full_disk_it_starts_there_again_and_shows_what_was_acknowledged() {
    const FRAUD: &str = "production/models/fraud";
    let environment = TestEnvironment::new();
    let (disk, _turn) = small_disk();
    let data = disk.join("killed");
    std::fs::create_dir(&data).unwrap();
    std::os::unix::fs::symlink(&data, environment.data_dir()).unwrap();
    let server = environment.server().start();
    let repository = data.join("gitops.git");
    let packs = || {
        let files = std::fs::read_dir(repository.join("objects/pack")).unwrap();
        files.filter(|file| file.as_ref().unwrap().path().extension().is_some_and(|kind| kind == "pack")).count()
    };
    // One after the other without a pause, until some were put in place together: then the journal has packs that are there by no name.
    let (before, mut connection, mut pushes) = (packs(), Connection::open(server.address()), 0);
    let put = |version: usize| {
        let body = image("fraud", &version.to_string());
        Request::new("PUT", &format!("/api/v1/releases/{FRAUD}")).bearer(&server.token()).json(&body)
    };
    while pushes < 10 || packs() - before >= pushes {
        pushes += 1;
        assert!([200, 201].contains(&connection.send(&put(pushes)).status));
        assert!(pushes < 200, "each push was put in place before the next one");
    }
    server.until("what is owed is in place", || (!repository.join("refs/heads/main.lock").exists()).then_some(()));
    let filler = fill(&disk);
    server.kill();

    let server = environment.server().start();
    let release = server.get(&format!("/releases/{FRAUD}"));
    assert_eq!(release["spec"]["variants"][0]["version"], pushes.to_string(), "{release}");
    drop(Request::new("GET", "/readyz").send(server.address()).expect_problem(503));
    server.clone_repository().ask(&["fsck", "--full"]);
    // The journal has room of its own, so as long as that lasts it is done; what it does not take is refused for now.
    let answer = server.put(FRAUD, &image("fraud", "1000"));
    assert!([200, 503].contains(&answer.status), "{}", answer.text());
    std::fs::remove_file(filler).unwrap();
    server.until("it releases again", || (server.put(FRAUD, &image("fraud", "1001")).status == 200).then_some(()));
    drop(server);
    std::fs::remove_dir_all(data).unwrap();
}

#[test]
fn a_release_goes_back_while_the_disk_of_the_store_is_full() {
    const FRAUD: &str = "production/models/fraud";
    let environment = TestEnvironment::new();
    let (disk, _turn) = small_disk();
    // The store alone lies there: Git has room.
    let store = disk.join("store");
    std::fs::create_dir(&store).unwrap();
    std::fs::create_dir(environment.data_dir()).unwrap();
    std::os::unix::fs::symlink(store.join("kmlflow.db"), environment.data_dir().join("kmlflow.db")).unwrap();
    let server = environment.server().start();
    server.put(FRAUD, &image("fraud", "7")).expect(201);
    server.put(FRAUD, &by("canary", "fraud", "8", json!({"steps": [5, 50]}))).expect(200);
    let filler = fill(&disk);
    // Sooner or later the store has no room in a page that it owns.
    let mut steps = 0;
    while server.put(FRAUD, &by("canary", "fraud", "8", json!({"steps": [5, 50 + steps]}))).status != 503 {
        steps += 1;
        assert!(steps < 40, "the store takes everything");
    }
    let back = server.act(FRAUD, "rollback", None).expect(200).json();
    assert_eq!(back["release"]["rollout"]["phase"], "settled", "{back}");
    let commits = server.clone_repository().log(&format!("releases/{FRAUD}"));
    assert_eq!(commits[0].trailer("Action"), Some("settle"), "{:?}", commits[0]);
    let release = server.get(&format!("/releases/{FRAUD}"));
    assert_eq!(release["spec"]["variants"][0]["version"], "7", "{release}");

    std::fs::remove_file(filler).unwrap();
    server.until("the store has taken in what was done", || {
        (Request::new("GET", "/readyz").send(server.address()).status == 200).then_some(())
    });
    let history = server.get(&format!("/releases/{FRAUD}/history"));
    assert_eq!(history["items"][0]["commit"], commits[0].id.as_str(), "{history:#}");
    drop(server);
    std::fs::remove_dir_all(store).unwrap();
}

#[test]
fn what_a_full_disk_did_not_keep_is_not_released_once_there_is_room_and_the_remote_is_back() {
    const FRAUD: &str = "production/models/fraud";
    let environment = TestEnvironment::new();
    let (disk, _turn) = small_disk();
    // The store alone lies there: Git has room, and is away.
    let store = disk.join("kept");
    std::fs::create_dir(&store).unwrap();
    std::fs::create_dir(environment.data_dir()).unwrap();
    std::os::unix::fs::symlink(store.join("kmlflow.db"), environment.data_dir().join("kmlflow.db")).unwrap();
    let (remote, away) = (environment.path("gitops.git"), environment.path("away.git"));
    let url = format!("file://{}", remote.display());
    succeed(environment.command("git").args(["init", "-q", "--bare", "--initial-branch=main"]).arg(&remote));
    succeed(&mut environment.kmlflow(["init", "--url", &url]));
    let server = environment.server().env("KMLFLOW__GIT__URL", &url).start();
    server.put(FRAUD, &image("fraud", "1")).expect(201);
    std::fs::rename(&remote, &away).unwrap();
    let filler = fill(&disk);
    // Deliveries take what room the store has in pages of its own.
    let other = |number: usize| {
        let name = format!("m{number}");
        let body = json!({"name": name, "namespace": "models", "environment": "production", "model": name, "version": "1", "image": "registry.example/m:1"});
        server.deliver(&Delivery::generic(&format!("ci-{number}"), &body)).status
    };
    assert!((0..100).any(|number| other(number) == 503), "the store takes everything");
    let (mut acknowledged, mut version) = (vec!["1".to_owned()], 1);
    let refused = loop {
        version += 1;
        let answer = server.put(FRAUD, &image("fraud", &version.to_string()));
        match answer.status {
            202 => acknowledged.push(version.to_string()),
            _ => break answer,
        }
        assert!(version < 60, "the store takes everything");
    };
    assert!(refused.header("Retry-After").is_some(), "{}", refused.text());
    drop(refused.expect_problem(503));

    std::fs::remove_file(filler).unwrap();
    std::fs::rename(&away, &remote).unwrap();
    server.until("the store takes what is done", || {
        (Request::new("GET", "/readyz").send(server.address()).status == 200).then_some(())
    });
    let other = server.put("production/models/other", &image("other", "1"));
    assert!([201, 202].contains(&other.status), "{}", other.text());
    let told = |state: &str| server.get(&format!("/deliveries?state={state}"))["items"].as_array().unwrap().len();
    server.until("nothing waits", || (told("accepted") + told("failed") == 0).then_some(()));
    let commits = Checkout::of(&environment, &url).log(&format!("releases/{FRAUD}"));
    let released: Vec<&str> = commits.iter().rev().filter_map(|commit| commit.trailer("Version")).collect();
    assert_eq!(released, acknowledged, "version {version} was refused");
    drop(server);
    std::fs::remove_dir_all(store).unwrap();
}
