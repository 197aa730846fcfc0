//! Clients that note what they were told, somebody else who pushes to the same branch all the time, and what must be so in the end whatever
//! happened to the services meanwhile: what was acknowledged is found once, nobody's commit is lost, and the order of the commits explains the state.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, mpsc};
use std::time::Duration;

use serde_json::json;
use tests::environment::succeed;
use tests::{Checkout, Commit, Request, Server, TestEnvironment};

/// Clients, each with a release of its own.
pub(super) const CLIENTS: usize = 8;

/// The storm guard is not what these tests are about.
pub(super) const UNGUARDED: (&str, &str) = ("KMLFLOW__ENVIRONMENTS__PRODUCTION__NEW_RELEASES_PER_MINUTE", "100000");

/// What the clients were told, over all lives of the services.
#[derive(Default)]
pub(super) struct Told {
    /// Of each client, the commits of what was done, in the order of the answers.
    commits: [Mutex<Vec<String>>; CLIENTS],
    /// Deliveries that were answered as queued.
    queued: Mutex<Vec<String>>,
    /// Where each client is.
    at: [AtomicUsize; CLIENTS],
    /// What each client heard last, to say why nothing is done any more.
    last: [Mutex<String>; CLIENTS],
}

/// Between two acknowledged requests there is less than this, also when a replica dies and another one takes over; this only ends a test in which
/// nothing is done any more.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(120);

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// With its commit.
    Acknowledged,
    /// Refused, queued, or so already.
    Uncommitted,
    /// There was no answer.
    Lost,
}

impl Told {
    /// How many requests were acknowledged with their commit.
    pub(super) fn count(&self) -> usize {
        self.commits.iter().map(|commits| commits.lock().unwrap().len()).sum()
    }

    /// Asks the next thing that a client wants.
    pub(super) fn ask(&self, client: usize, (address, token): (SocketAddr, &str)) -> Asked {
        let request = step(client, self.at[client].fetch_add(1, Ordering::Relaxed)).bearer(token);
        let answer = request.try_send(address);
        *self.last[client].lock().unwrap() = match &answer {
            Ok(answer) => format!("{address} {}: {}", answer.status, answer.text()),
            Err(error) => format!("{address}: {error}"),
        };
        let Ok(answer) = answer else { return Asked::Lost };
        match answer.status {
            200 | 201 if answer.json()["changed"] == true => {
                let commit = answer.json()["commit"].as_str().expect("a commit").to_owned();
                self.commits[client].lock().unwrap().push(commit);
                return Asked::Acknowledged;
            }
            202 => self.queued.lock().unwrap().push(answer.json()["delivery"].as_str().expect("its id").to_owned()),
            // What was asked before may have been lost before its answer, and then this changes nothing or makes no sense; or nothing is
            // accepted at this moment.
            200 | 404 | 409 | 422 | 503 => {}
            other => panic!("{other}: {}", answer.text()),
        }
        Asked::Uncommitted
    }

    /// Checks everything that must be so at the end.
    pub(super) fn check(&self, server: &Server<'_>, checkout: &Checkout<'_>, by_hand: &[ByHand]) {
        let mut applied = Vec::new();
        for delivery in self.queued.lock().unwrap().iter() {
            let settled = server.settle(delivery);
            match settled["state"].as_str().unwrap() {
                "applied" => applied.push((delivery.clone(), settled["commit"].as_str().expect("a commit").to_owned())),
                "unchanged" | "refused" => {}
                state => panic!("{delivery}: {state}"),
            }
        }
        server.until("an empty inbox", || {
            let count = |state: &str| {
                server.get(&format!("/deliveries?state={state}"))["items"].as_array().expect("a list").len()
            };
            (count("accepted") + count("failed") == 0).then_some(())
        });
        checkout.update();
        let mut commits = checkout.log("");
        commits.reverse();
        self.check_commits(&commits);
        self.check_trailers(&commits, &checkout.ask(&["log", "--format=%(trailers:key=Release-Id,valueonly)"]));
        for (delivery, commit) in &applied {
            let of_it = |it: &&Commit| it.trailer("Delivery-Id") == Some(delivery.as_str());
            let own: Vec<&str> = commits.iter().filter(of_it).map(|it| it.id.as_str()).collect();
            assert!(own.contains(&commit.as_str()), "{delivery} is said to be done by {commit}, and has {own:?}");
        }
        let ids: BTreeSet<&str> = commits.iter().map(|commit| commit.id.as_str()).collect();
        for ByHand { commit, path, text } in by_hand {
            assert!(ids.contains(commit.as_str()), "a commit by hand is lost: {commit}");
            assert_eq!(checkout.read(path).as_ref(), Some(text), "a file by hand is lost: {path}");
        }
        checkout.ask(&["fsck", "--full", "--strict"]);
        for client in 0..CLIENTS {
            check_end(server, checkout, client);
        }
        check_no_step_was_done_twice(&checkout.log(""));
    }

    /// Each acknowledged commit is there, is the only one of its intent that anybody was told of, and those of a client are in their order.
    fn check_commits(&self, commits: &[Commit]) {
        let places: HashMap<&str, usize> =
            commits.iter().enumerate().map(|(place, commit)| (commit.id.as_str(), place)).collect();
        let mut intents = BTreeSet::new();
        for told in &self.commits {
            let told = told.lock().unwrap();
            let lost: Vec<&String> = told.iter().filter(|commit| !places.contains_key(commit.as_str())).collect();
            assert!(lost.is_empty(), "lost: {lost:?}");
            let of_client: Vec<usize> = told.iter().map(|commit| places[commit.as_str()]).collect();
            assert!(of_client.is_sorted_by(|a, b| a < b), "out of order");
            for place in of_client {
                let intent = commits[place].trailer("Release-Id").expect("the intent of a request");
                assert!(intents.insert(intent), "two answers for one intent: {:?}", commits[place]);
            }
        }
    }

    /// Each acknowledged request is found once among the `Release-Id` trailers of `git log`: its commits follow one another, so what was carried out twice
    /// stands in two places.
    fn check_trailers(&self, commits: &[Commit], log: &str) {
        let mut ids: Vec<&str> = log.lines().filter(|line| !line.is_empty()).collect();
        ids.dedup();
        let mut found: HashMap<&str, usize> = HashMap::new();
        ids.into_iter().for_each(|id| *found.entry(id).or_default() += 1);
        let acknowledged: BTreeSet<String> =
            self.commits.iter().flat_map(|told| told.lock().unwrap().clone()).collect();
        for commit in commits.iter().filter(|commit| acknowledged.contains(&commit.id)) {
            let id = commit.trailer("Release-Id").expect("the intent of a request");
            assert_eq!(found.get(id), Some(&1), "not once in the log: {commit:?}");
        }
    }
}

/// The request of a client at one of its steps: a release's life, again and again with newer versions.
fn step(client: usize, at: usize) -> Request {
    const STEPS: usize = 7;
    let (name, version) = (format!("c{client}"), at / STEPS * 3 + 1);
    let put = |version: usize, strategy: &str| {
        let image = format!("registry.example/{name}:{version}");
        let body = json!({"model": name, "version": version.to_string(), "strategy": strategy, "image": image});
        Request::new("PUT", &format!("/api/v1/releases/production/models/{name}")).json(&body)
    };
    let act = |act: &str| Request::new("POST", &format!("/api/v1/releases/production/models/{name}/{act}"));
    match at % STEPS {
        0 => put(version, "single"),
        1 => put(version + 1, "canary"),
        2 | 5 => act("promote"),
        3 => put(version + 2, "blue-green"),
        4 => act("advance"),
        _ => act("rollback"),
    }
}

/// One intent per delivery, and no step of it twice.
fn check_no_step_was_done_twice(commits: &[Commit]) {
    let (mut intents, mut seen) = (BTreeMap::new(), BTreeSet::new());
    for commit in commits {
        let Some(delivery) = commit.trailer("Delivery-Id") else { continue };
        let intent = commit.trailer("Release-Id").expect("the intent of a delivery");
        assert_eq!(*intents.entry(delivery).or_insert(intent), intent, "carried out twice: {commit:?}");
        assert!(seen.insert((delivery, commit.subject.as_str())), "the same step twice: {commit:?}");
    }
}

/// What the service says of a release is what its last commit left there, and that is the service's own. What comes next by itself may still come.
fn check_end(server: &Server<'_>, checkout: &Checkout<'_>, client: usize) {
    let directory = format!("releases/production/models/c{client}");
    let path = format!("/releases/production/models/c{client}");
    let (last, release) = server.until("the last commit", || {
        let release = server.get(&path);
        checkout.update();
        let last = checkout.log(&directory).swap_remove(0);
        (release["commit"] == last.id.as_str()).then_some((last, release))
    });
    let versions: Vec<&str> =
        release["spec"]["variants"].as_array().unwrap().iter().filter_map(|v| v["version"].as_str()).collect();
    assert!(versions.contains(&last.trailer("Version").unwrap()), "{versions:?} {last:?}");
    assert_eq!(release["spec"]["strategy"], last.trailer("Strategy").unwrap());
    let manifests = server.get(&format!("{path}/manifests"));
    for (file, text) in manifests["manifests"].as_object().unwrap_or_else(|| panic!("{manifests}")) {
        assert_eq!(text.as_str(), checkout.read(&format!("{directory}/{file}")).as_deref(), "{file}");
    }
    assert_eq!(release["files"], json!([]), "nothing is taken for a person's change");
}

/// Waits for so many acknowledged requests. A person hears of every second one: to push after each takes as long as all that is tested.
///
/// # Panics
/// When no more come, with what each client heard last and what the services printed.
pub(super) fn acknowledge(
    (count, acknowledged): (usize, &mpsc::Receiver<()>),
    to_person: &mpsc::Sender<()>,
    (told, printed): (&Told, impl Fn() -> String),
) {
    for number in 0..count {
        let heard = acknowledged.recv_timeout(ACKNOWLEDGED_WITHIN);
        assert_eq!(heard, Ok(()), "after {number} of {count}, the clients heard {:#?} from\n{}", told.last, printed());
        if number.is_multiple_of(2) {
            to_person.send(()).expect("a person listens");
        }
    }
}

/// Has a remote leave its objects as they come: what Git packs after a push takes longer than the push.
pub(super) fn without_gc(environment: &TestEnvironment, repository: &Path) {
    let mut git = environment.command("git");
    succeed(git.args(["config", "receive.autogc", "false"]).current_dir(repository));
}

/// What a person pushed, and what arrived.
pub(super) struct ByHand {
    commit: String,
    /// The file that it added, and what is in it.
    path: String,
    text: String,
}

/// Pushes a commit of a person's with a new file after each word that it hears, or after several where it was too slow, and tells which arrived. As Git
/// has people do it, on what was there a moment ago, so it loses races and wins some.
pub(super) fn push_by_hand(checkout: &Checkout<'_>, heard: &mpsc::Receiver<()>) -> Vec<ByHand> {
    let mut pushed = Vec::new();
    while heard.recv().is_ok() {
        while heard.try_recv().is_ok() {}
        checkout.ask(&["fetch", "-q", "origin"]);
        checkout.ask(&["checkout", "-q", "--detach", "origin/main"]);
        let number = pushed.len();
        let (path, text) = (format!("notes/{number}.txt"), format!("By hand {number}\n"));
        checkout.write(&path, &text);
        checkout.commit(&format!("By hand {number}"));
        let commit = checkout.ask(&["rev-parse", "HEAD"]).trim().to_owned();
        if checkout.git(&["push", "-q", "origin", "HEAD:main"]).code == 0 {
            pushed.push(ByHand { commit, path, text });
        }
    }
    pushed
}
