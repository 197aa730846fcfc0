//! A branch that lives elsewhere, others who push to it, and remotes that say no, go away or break off.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use super::*;
use crate::command::Git;
use crate::event::DeliveryState;
use crate::git::remote;
use crate::git::tests::{git, text};
use crate::release::RefusalKind;

/// A bare repository that is the remote, a person's clone of it, and a service.
pub(super) struct Far {
    directory: TempDir,
    pub(super) world: World,
}

impl Far {
    /// A remote with the seed, and a service that has begun.
    pub(super) async fn new() -> Self {
        let mut far = Self::without_start().await;
        far.world.start().await;
        far
    }

    pub(super) async fn without_start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut world = World::new(Period::ZERO, 1_000);
        let run = |arguments: &[&str]| text(git(directory.path(), arguments));
        run(&["init", "-q", "--bare", "--initial-branch=main", "remote.git"]);
        run(&["clone", "-q", "remote.git", "person"]);
        let address = directory.path().join("remote.git");
        world.remote = Some(RemoteSettings {
            remote: remote::Settings {
                endpoint: remote::Endpoint::parse(address.to_str().unwrap()).unwrap(),
                branch: remote::Branch::parse("main").unwrap(),
                credentials: None,
                renewal: None,
                ca_file: None,
                allow_plain_http: false,
                ssh: None,
                push_options: Vec::new(),
                directory: world.dir.path().to_owned(),
                limits: remote::Limits::default(),
            },
            git: Git::find(None).await.unwrap(),
            poll_interval: Period::from_minutes(1),
            forge: None,
        });
        let far = Self { directory, world };
        far.commit("policies/default.yaml", &seeded_default_policy());
        far.person(&["push", "-q", "origin", "main"]);
        far
    }

    /// With a release that the person's clone has an older state of.
    pub(super) async fn before_a_rewrite() -> Self {
        let mut far = Self::new().await;
        far.world.put("fraud", single("7")).await;
        far.pull();
        far.world.put("fraud", single("8")).await;
        far
    }

    pub(super) fn remote(&self) -> PathBuf {
        self.directory.path().join("remote.git")
    }

    /// What Git says in the person's clone.
    pub(super) fn person(&self, arguments: &[&str]) -> String {
        text(git(&self.directory.path().join("person"), arguments)).trim().to_owned()
    }

    /// A person's commit, not pushed.
    pub(super) fn commit(&self, path: &str, content: &str) {
        let file = self.directory.path().join("person").join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, content).unwrap();
        self.person(&["add", "."]);
        self.person(&["commit", "-q", "-m", "By hand"]);
    }

    /// A person's commit on what the remote has, pushed.
    pub(super) fn push(&self, path: &str, content: &str) -> String {
        self.person(&["fetch", "-q"]);
        self.person(&["reset", "-q", "--hard", "origin/main"]);
        self.commit(path, content);
        self.person(&["push", "-q", "origin", "main"]);
        self.person(&["rev-parse", "HEAD"])
    }

    /// Brings the person's clone to where the remote is.
    pub(super) fn pull(&self) {
        self.person(&["fetch", "-q"]);
        self.person(&["reset", "-q", "--hard", "origin/main"]);
    }

    /// Rewrites the history from where the person's clone is.
    pub(super) fn rewrite(&self) {
        let head = self.person(&["rev-parse", "HEAD"]);
        self.commit("README.md", &format!("rewritten from {head}"));
        self.person(&["push", "-q", "--force", "origin", "main"]);
    }

    /// Reverts the newest commit by hand, pushed.
    pub(super) fn revert(&self) -> String {
        self.pull();
        // Of what was merged, what was there before.
        self.person(&["revert", "--no-edit", "-m", "1", "HEAD"]);
        self.person(&["push", "-q", "origin", "main"]);
        self.person(&["rev-parse", "HEAD"])
    }

    /// Merges a branch as a forge does, in a way of Git's, and deletes it.
    pub(super) fn merge(&self, branch: &str, way: &str) {
        self.pull();
        self.person(&["merge", "-q", way, "--no-commit", &format!("origin/{branch}")]);
        self.person(&["commit", "-q", "-m", "A pull request"]);
        self.person(&["push", "-q", "origin", "main", &format!(":{branch}")]);
    }

    /// What Git says of the remote.
    pub(super) fn at_remote(&self, arguments: &[&str]) -> String {
        text(git(&self.remote(), arguments)).trim().to_owned()
    }

    /// The subjects at the remote, oldest first, without what a person did.
    pub(super) fn subjects(&self) -> Vec<String> {
        let log = self.at_remote(&["log", "--reverse", "--author=Kmlflow", "--format=%s", "main"]);
        log.lines().map(ToOwned::to_owned).collect()
    }

    pub(super) fn hook(&self, name: &str, script: &str) {
        let path = self.remote().join("hooks").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Has pushes hang: gives the file that is there once one does, and the one that lets them go on.
    pub(super) fn hang(&self) -> [PathBuf; 2] {
        let [begun, go] = ["begun", "go"].map(|name| self.directory.path().join(name));
        let script = format!("touch '{}'; while ! test -e '{}'; do sleep 0.01; done", begun.display(), go.display());
        self.hook("pre-receive", &script);
        [begun, go]
    }

    pub(super) fn without_hook(&self, name: &str) {
        fs::remove_file(self.remote().join("hooks").join(name)).unwrap();
    }

    /// Takes the remote away, or brings it back.
    pub(super) fn is_there(&self, is_there: bool) {
        let away = self.directory.path().join("away.git");
        let (from, to) = if is_there { (away, self.remote()) } else { (self.remote(), away) };
        fs::rename(from, to).unwrap();
    }

    /// A look at the branch, as after a push that was told of.
    pub(super) async fn look(&mut self) {
        self.world.handle().pushed();
        self.world.run().await;
    }

    pub(super) async fn queued(&mut self, requested: Requested) -> String {
        match self.world.ask_within(requested, SOON).await {
            Ok(Answer::Queued { waits_for, .. }) => waits_for,
            other => panic!("not queued: {other:?}"),
        }
    }

    /// Asks for eight releases together and gives the answers in their order.
    async fn eight_at_once(&mut self) -> Vec<Result<Answer, Fault>> {
        let handle = self.world.handle();
        let asked = (0..8).map(|number| {
            let (handle, requested) = (handle.clone(), put(&format!("m{number}"), single("7")));
            tokio::spawn(async move { handle.request(requested, Duration::from_secs(60)).await })
        });
        let asked: Vec<_> = asked.collect();
        while !asked.iter().all(tokio::task::JoinHandle::is_finished) {
            self.world.run().await;
            super::pause().await;
        }
        futures_util::future::join_all(asked).await.into_iter().map(Result::unwrap).collect()
    }
}

#[tokio::test]
async fn a_release_becomes_a_commit_at_the_remote_and_nothing_is_kept_here_alone() {
    let mut far = Far::new().await;
    let done = far.world.put("fraud", single("7")).await;
    assert_eq!(far.at_remote(&["rev-parse", "main"]), done.commit.unwrap().as_str());
    assert!(far.at_remote(&["show", "main:releases/production/models/fraud/seldon.yaml"]).contains("fraud:7"));
    assert!(!far.world.dir.path().join("gitops.git").exists());
    let before = far.subjects();
    fs::remove_dir_all(far.world.dir.path().join("clone.git")).unwrap();
    far.world.start().await;
    assert_eq!(far.world.state("fraud").await, "single settled live=7");
    assert!(!far.world.put("fraud", single("7")).await.changed);
    assert_eq!(far.subjects(), before);
}

#[tokio::test]
async fn what_somebody_else_pushed_meanwhile_is_built_on() {
    let mut far = Far::new().await;
    far.world.put("fraud", single("7")).await;
    let theirs = far.push("README.md", "words");
    far.world.put("fraud", single("8")).await;
    let log = far.at_remote(&["log", "--first-parent", "--format=%H", "main"]);
    assert_eq!(log.lines().nth(1), Some(theirs.as_str()));
    assert_eq!(far.world.state("fraud").await, "single settled live=8");
}

#[tokio::test]
async fn a_persons_change_of_a_release_is_seen_by_a_look_and_rendered() {
    let mut far = Far::new().await;
    far.world.put("fraud", single("7")).await;
    let document = far.at_remote(&["show", &format!("main:{}", path("release.yaml"))]);
    far.push(&path("release.yaml"), &document.replace("replicas: 1", "replicas: 3"));
    far.look().await;
    assert!(far.at_remote(&["show", &format!("main:{}", path("seldon.yaml"))]).contains("replicas: 3"));
    assert!(far.subjects().last().unwrap().contains("render"));
}

#[tokio::test]
async fn only_the_culprit_of_a_refused_batch_is_refused() {
    let mut far = Far::new().await;
    far.hook(
        "pre-receive",
        "while read old new ref; do git diff --name-only $old $new | grep -q /m3/ && echo 'm3 is frozen' >&2 && exit 1; done; exit 0",
    );
    for (number, answer) in far.eight_at_once().await.into_iter().enumerate() {
        if number == 3 {
            let refused = refusal(answer);
            assert_eq!(refused.kind, RefusalKind::RemoteRefused);
            assert!(refused.reason.contains("m3 is frozen"), "{}", refused.reason);
        } else {
            assert!(matches!(answer, Ok(Answer::Done(_))), "{number}: {answer:?}");
        }
    }
    assert_eq!(far.subjects().len(), 7);
}

/// Pushes something else in the middle of a push, as often as a condition of the shell on `$releases` holds: how many are in the push.
pub(super) fn overtake_while(condition: &str) -> String {
    format!(
        r#"read old new ref
releases=$(git log --format=%s $old..$new | grep -c '^release')
{condition} || exit 0
unset GIT_QUARANTINE_PATH GIT_OBJECT_DIRECTORY GIT_ALTERNATE_OBJECT_DIRECTORIES
theirs=$(git -c user.name=Ann -c user.email=ann@example.org commit-tree -p $old -m 'By hand' $old^{{tree}})
git update-ref refs/heads/main $theirs $old"#
    )
}

#[tokio::test]
async fn who_is_overtaken_again_and_again_pushes_less_at_once_until_it_gets_through() {
    let mut far = Far::new().await;
    // They are faster than anything but a single release.
    far.hook("pre-receive", &overtake_while("test $releases -gt 1"));
    for answer in far.eight_at_once().await {
        assert!(matches!(answer, Ok(Answer::Done(_))));
    }
    assert_eq!(far.subjects().len(), 8);
    let theirs = far.at_remote(&["rev-list", "--count", "--author=Ann", "main"]);
    assert!(theirs.parse::<usize>().unwrap() > 3, "{theirs}");
}

#[tokio::test]
async fn who_is_overtaken_every_time_says_so_keeps_it_and_gets_through_once_they_pause() {
    let mut far = Far::new().await;
    far.hook("pre-receive", &overtake_while("true"));
    let waits_for = far.queued(put("fraud", single("7"))).await;
    assert!(waits_for.contains("moved by others 16 times in a row"), "{waits_for}");
    far.without_hook("pre-receive");
    far.world.turn_clock(1).await;
    assert_eq!(far.world.state("fraud").await, "single settled live=7");
    assert_eq!(far.subjects().len(), 1);
}

#[tokio::test]
async fn a_step_by_itself_that_is_refused_waits_and_says_why() {
    let mut far = Far::new().await;
    far.world.put("fraud", single("7")).await;
    let steps = json!({"version": "8", "strategy": "canary", "steps": [{"weight": 5, "pause": "10m"}, {"weight": 50}]});
    far.world.put("fraud", steps).await;
    far.hook("update", "echo 'no steps on Friday'; exit 1");
    far.world.turn_clock(10).await;
    let waits = far.world.view("fraud").await.waits_for.unwrap_or_default();
    assert!(waits.contains("no steps on Friday"), "{waits}");
    far.without_hook("update");
    far.world.turn_clock(6).await;
    assert!(far.subjects().last().unwrap().contains("50"), "{:?}", far.subjects());
}

#[tokio::test]
async fn a_rewritten_history_stops_everything_until_a_person_goes_on_from_there() {
    let mut far = Far::new().await;
    far.world.put("fraud", single("7")).await;
    far.person(&["fetch", "-q"]);
    far.person(&["reset", "-q", "--hard", "origin/main"]);
    far.world.put("fraud", single("8")).await;
    far.world.put("other", single("1")).await;
    far.commit("README.md", "rewritten");
    far.person(&["push", "-q", "--force", "origin", "main"]);
    let head = far.at_remote(&["rev-parse", "main"]);

    let waits = far.queued(put("fraud", single("9"))).await;
    assert!(waits.contains("rewrote the history"), "{waits}");
    assert_eq!(far.at_remote(&["rev-parse", "main"]), head, "nothing is pushed");
    assert_eq!(far.world.state("fraud").await, "single settled live=8");

    far.world.handle().unhold(None, "seen", "ada").await.unwrap();
    far.world.run().await;
    assert_eq!(far.world.state("fraud").await, "single settled live=9");
    assert!(far.world.handle().release(&key("other")).await.is_err(), "it is not in the new history");
    let versions: Vec<_> = far.world.handle().history(&key("fraud"), None, None).await.unwrap().items;
    assert_eq!(versions.len(), 2, "{versions:?}");
    assert_eq!(far.at_remote(&["rev-parse", "main~1"]), head);
    far.world.act("fraud", Act::Rollback { to: None }).await;
    assert_eq!(far.world.state("fraud").await, "single settled live=7", "it knows its own commits in that history");
}

#[tokio::test]
async fn a_history_that_was_rewritten_while_nobody_looked_stops_the_next_start_as_well() {
    let mut far = Far::new().await;
    far.world.put("fraud", single("7")).await;
    far.world.kill();
    far.commit("README.md", "rewritten");
    far.person(&["push", "-q", "--force", "origin", "main"]);
    far.world.start().await;
    let waits = far.queued(put("fraud", single("9"))).await;
    assert!(waits.contains("rewrote the history"), "{waits}");
    far.world.handle().unhold(None, "seen", "ada").await.unwrap();
    far.world.run().await;
    assert_eq!(far.world.state("fraud").await, "single settled live=9");
    assert_eq!(far.subjects().len(), 1);
}

#[tokio::test]
async fn while_the_remote_is_away_requests_wait_and_are_pushed_in_order_once() {
    let mut far = Far::new().await;
    far.world.put("fraud", single("7")).await;
    far.is_there(false);
    let waits = far.queued(put("fraud", single("8"))).await;
    assert!(waits.contains("there is no Git repository"), "{waits}");
    for name in ["a", "b"] {
        let answer = far.world.handle().request(put(name, single("1")), Duration::from_millis(10)).await;
        let Ok(Answer::Queued { waits_for, .. }) = answer else { panic!("{answer:?}") };
        assert!(waits_for.contains("there is no Git repository"), "{waits_for}");
    }
    let waiting = far.world.view("fraud").await.waiting.expect("a request that is tried again");
    assert!(
        waiting.waits_for.starts_with("another try at 2026-") && waiting.waits_for.contains(", because "),
        "{waiting:?}"
    );
    let of_it = super::super::DeliveryFilter { release: Some(key("fraud")), ..super::super::DeliveryFilter::default() };
    let states: Vec<_> =
        far.world.handle().deliveries(of_it).await.unwrap().items.into_iter().map(|it| it.state).collect();
    assert_eq!(states, [DeliveryState::Failed, DeliveryState::Applied]);
    far.world.kill();
    far.is_there(true);
    far.world.start().await;
    far.world.turn_clock(10).await;
    let names: Vec<String> =
        far.subjects().iter().map(|subject| subject.split([')', '/']).nth(2).unwrap().to_owned()).collect();
    assert_eq!(names, ["fraud", "fraud", "a", "b"]);
}

#[tokio::test]
async fn nothing_newer_of_a_release_overtakes_what_failed_before_it() {
    for is_started_anew in [false, true] {
        let mut far = Far::new().await;
        far.world.put("fraud", single("7")).await;
        far.is_there(false);
        far.queued(put("fraud", single("8"))).await;
        // The next try moves further away with each that fails.
        for _ in 0..10 {
            far.world.turn_clock(10).await;
        }
        if is_started_anew {
            far.world.kill();
            far.is_there(true);
            far.world.start().await;
        } else {
            far.is_there(true);
            far.world.clock.advance(Duration::from_secs(6));
        }
        far.world.put("fraud", single("9")).await;
        far.world.turn_clock(10).await;
        assert_eq!(far.world.state("fraud").await, "single settled live=9", "started anew: {is_started_anew}");
        let actions =
            far.at_remote(&["log", "--reverse", "--format=%(trailers:key=Version,valueonly,separator=)", "main"]);
        assert_eq!(actions.split_whitespace().collect::<Vec<_>>(), ["7", "8", "9"]);
    }
}

#[tokio::test]
async fn a_push_that_arrived_and_was_not_reported_is_found_and_not_done_again() {
    let mut far = Far::new().await;
    far.hook("reference-transaction", "[ $1 != committed ] || kill -9 $PPID");
    let done = far.world.put("fraud", single("7")).await;
    assert_eq!(far.at_remote(&["rev-parse", "main"]), done.commit.unwrap().as_str());
    assert_eq!(far.subjects().len(), 1);
}

#[tokio::test]
async fn a_push_that_arrived_while_the_remote_went_away_is_found_when_it_is_back() {
    let mut far = Far::new().await;
    let away = far.directory.path().join("away.git");
    let script =
        format!("[ $1 != committed ] || {{ mv {} {}; kill -9 $PPID; }}", far.remote().display(), away.display());
    far.hook("reference-transaction", &script);
    far.queued(put("fraud", single("7"))).await;
    far.is_there(true);
    far.without_hook("reference-transaction");
    far.push("README.md", "somebody builds on it");
    far.world.turn_clock(10).await;
    assert_eq!(far.subjects().len(), 1);
    assert_eq!(far.world.state("fraud").await, "single settled live=7");
    let deliveries = far.world.handle().deliveries(super::super::DeliveryFilter::default()).await.unwrap().items;
    assert_eq!(deliveries[0].state, DeliveryState::Applied, "{deliveries:?}");
    assert_eq!(far.world.view("fraud").await.files, []);
}

#[tokio::test]
async fn what_is_found_under_the_commits_of_others_has_its_own_commit() {
    let mut far = Far::new().await;
    far.world.put("fraud", single("7")).await;
    // It arrives, nobody hears of it, and somebody builds on it before anybody looks.
    let away = far.directory.path().join("away.git");
    let script =
        format!("[ $1 != committed ] || {{ mv {} {}; kill -9 $PPID; }}", far.remote().display(), away.display());
    far.hook("reference-transaction", &script);
    far.queued(put("fraud", single("8"))).await;
    far.is_there(true);
    far.without_hook("reference-transaction");
    far.push("README.md", "somebody builds on it");
    far.world.turn_clock(10).await;
    let last = far.at_remote(&["log", "-1", "--format=%H", "main", "--", "releases/production/models/fraud"]);
    assert_eq!(far.world.view("fraud").await.commit.as_str(), last);
    far.world.act("fraud", Act::Rollback { to: None }).await;
    assert_eq!(far.world.state("fraud").await, "single settled live=7");
    assert_eq!(far.world.view("fraud").await.commit.as_str(), far.at_remote(&["rev-parse", "main"]));
}

#[tokio::test]
async fn two_services_on_one_branch_build_on_each_other_without_sharing_anything_else() {
    let mut far = Far::new().await;
    let mut other = newcomer(&far).await;

    far.world.put("fraud", single("7")).await;
    other.handle().pushed();
    other.run().await;
    other.put("fraud", canary("8")).await;
    far.look().await;
    assert_eq!(far.world.state("fraud").await, "canary running stable=7 candidate=8");
    far.world.act("fraud", Act::Advance).await;
    // Neither has heard of the other's when it asks.
    far.world.put("mine", single("1")).await;
    other.put("theirs", single("1")).await;
    far.world.act("fraud", Act::Promote { variant: None }).await;
    other.handle().pushed();
    other.run().await;
    for world in [&far.world, &other] {
        assert_eq!(world.state("fraud").await, "single settled live=8");
        assert_eq!(world.view("fraud").await.notes, [] as [String; 0]);
        assert_eq!(world.state("theirs").await, world.state("mine").await);
    }
    let actions = far.at_remote(&["log", "--reverse", "--format=%(trailers:key=Action,valueonly,separator=)", "main"]);
    let actions: Vec<&str> = actions.lines().filter(|action| !action.is_empty()).collect();
    assert!(!actions.contains(&"render") && !actions.contains(&"adopt"), "{actions:?}");
}

#[tokio::test]
async fn a_branch_that_is_gone_is_said_to_be_and_nothing_is_lost() {
    let mut far = Far::new().await;
    far.world.put("fraud", single("7")).await;
    far.at_remote(&["branch", "-m", "main", "trunk"]);
    let waits = far.queued(put("fraud", single("8"))).await;
    assert!(waits.contains("no branch `main`; its default branch is `trunk`"), "{waits}");
    far.at_remote(&["branch", "-m", "trunk", "main"]);
    far.world.turn_clock(10).await;
    assert_eq!(far.world.state("fraud").await, "single settled live=8");
}

#[tokio::test]
async fn an_empty_remote_is_no_beginning_and_the_cure_is_said() {
    let mut far = Far::without_start().await;
    far.at_remote(&["update-ref", "-d", "refs/heads/main"]);
    let error = open(far.world.settings(), far.world.clock.clone()).await.map(drop).unwrap_err();
    assert!(error.to_string().contains("is empty"), "{error}");
    assert!(error.cure().unwrap().contains("kmlflow init"));
    far.world.kill();
}

#[tokio::test]
async fn a_start_without_the_remote_goes_on_with_what_is_known_and_a_damaged_clone_is_made_anew() {
    let mut far = Far::new().await;
    far.world.put("fraud", single("7")).await;
    let clone = far.world.dir.path().join("clone.git");
    for entry in fs::read_dir(clone.join("objects/pack")).unwrap() {
        let file = entry.unwrap().path();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(file, "").unwrap();
    }
    far.world.start().await;
    assert_eq!(far.world.state("fraud").await, "single settled live=7");
    far.world.put("fraud", single("8")).await;
}

/// A new service on the same branch, before it has done anything.
pub(super) async fn newcomer(far: &Far) -> World {
    let mut other = World::new(Period::ZERO, 1_000);
    let mut settings = far.world.remote.clone().unwrap();
    settings.remote.directory = other.dir.path().to_owned();
    other.remote = Some(settings);
    other.start().await;
    other
}

/// The first turn of a service, which does this and nothing else.
async fn first_turn(world: &mut World, requested: Requested) {
    let handle = world.handle();
    let turn = world.parts.as_mut().unwrap().1.run_one_turn();
    let (done, ()) = tokio::join!(handle.request(requested, Duration::from_secs(60)), turn);
    assert!(matches!(done, Ok(Answer::Done(_))), "{done:?}");
}

fn count_in(world: &World, arguments: &[&str]) -> String {
    text(git(&world.dir.path().join("clone.git"), arguments)).trim().to_owned()
}

const REMOTE_MAIN: &str = "refs/kmlflow/remote/main";

#[tokio::test]
async fn a_service_that_begins_with_nothing_releases_before_it_has_the_history() {
    let mut far = Far::new().await;
    far.world.put("fraud", single("7")).await;
    far.world.put("other", single("1")).await;
    far.world.put("fraud", single("8")).await;
    let before = far.at_remote(&["rev-list", "--count", "main"]);
    let mut other = newcomer(&far).await;
    assert_eq!(count_in(&other, &["rev-list", "--count", REMOTE_MAIN]), "1");
    assert_eq!(other.state("fraud").await, "single settled live=8");
    first_turn(&mut other, put("new", single("1"))).await;
    assert_eq!(count_in(&other, &["rev-list", "--count", REMOTE_MAIN]), "2");

    // Now the history comes, and is what it would have been from the start.
    other.run().await;
    let whole = count_in(&other, &["rev-list", "--count", REMOTE_MAIN]);
    assert_eq!(whole.parse::<u32>().unwrap(), before.parse::<u32>().unwrap() + 1);
    far.look().await;
    for name in ["fraud", "other", "new"] {
        let [theirs, ours] = [&far.world, &other].map(|world| world.handle());
        let of = async |handle: Handle| handle.history(&key(name), None, None).await.unwrap().items;
        let (theirs, ours) = (of(theirs).await, of(ours).await);
        assert_eq!(
            theirs.iter().map(|row| &row.commit).collect::<Vec<_>>(),
            ours.iter().map(|row| &row.commit).collect::<Vec<_>>()
        );
        let views =
            [far.world.view(name).await, other.view(name).await].map(|view| (view.commit, view.changed_at, view.files));
        assert_eq!(views[0], views[1], "{name}");
    }
    other.act("fraud", Act::Rollback { to: None }).await;
    assert_eq!(other.state("fraud").await, "single settled live=7");
}

#[tokio::test]
async fn a_turn_that_needs_an_older_commit_fetches_it() {
    let mut far = Far::new().await;
    far.world.put("fraud", single("7")).await;
    let first = far.world.view("fraud").await.commit;
    far.world.put("fraud", single("8")).await;
    let mut other = newcomer(&far).await;
    // As it lies in the inbox where it was made absolute by another service.
    let rollback = request("fraud", Intent::Rollback { to: first });
    first_turn(&mut other, rollback).await;
    assert_eq!(other.state("fraud").await, "single settled live=7");
}

#[tokio::test]
async fn a_start_that_ends_before_it_has_the_history_is_made_up_for_by_the_next_one() {
    let mut far = Far::new().await;
    far.world.put("fraud", single("7")).await;
    far.world.put("fraud", single("8")).await;
    let mut other = newcomer(&far).await;
    first_turn(&mut other, put("new", single("1"))).await;
    other.kill();
    other.start().await;
    let older = other.handle().manifests(&key("fraud"), Some(id_of(&far, "main~2"))).await.map(drop);
    assert!(format!("{older:?}").contains("still being fetched"), "{older:?}");
    other.run().await;
    let history = other.handle().history(&key("fraud"), None, None).await.unwrap().items;
    assert_eq!(history.len(), 2);
    assert_eq!(other.view("fraud").await.commit, history[0].commit);
    assert_eq!(other.view("fraud").await.files, []);
}

#[tokio::test]
async fn a_history_rewritten_before_it_was_whole_counts_once_a_person_says_so() {
    let mut far = Far::new().await;
    far.world.put("fraud", single("7")).await;
    far.person(&["fetch", "-q"]);
    far.person(&["reset", "-q", "--hard", "origin/main"]);
    far.world.put("fraud", single("8")).await;
    let mut other = newcomer(&far).await;
    far.commit("README.md", "rewritten");
    far.person(&["push", "-q", "--force", "origin", "main"]);
    other.handle().pushed();
    other.parts.as_mut().unwrap().1.run_one_turn().await;
    other.handle().unhold(None, "seen", "ada").await.unwrap();
    other.parts.as_mut().unwrap().1.run_one_turn().await;
    other.run().await;
    assert_eq!(other.state("fraud").await, "single settled live=7");
    assert_eq!(other.handle().history(&key("fraud"), None, None).await.unwrap().items.len(), 1);
}

fn id_of(far: &Far, revision: &str) -> CommitId {
    CommitId::parse(&far.at_remote(&["rev-parse", revision])).unwrap()
}

#[tokio::test]
async fn a_pack_that_is_over_the_quota_goes_in_parts_or_waits_with_the_remotes_words() {
    let mut far = Far::new().await;
    // More than two releases at once do not fit, and one does.
    far.at_remote(&["config", "receive.maxInputSize", "24000"]);
    for answer in far.eight_at_once().await {
        assert!(matches!(answer, Ok(Answer::Done(_))), "{answer:?}");
    }
    assert_eq!(far.subjects().len(), 8);
    far.at_remote(&["config", "receive.maxInputSize", "60"]);
    let waits_for = far.queued(put("fraud", single("7"))).await;
    assert!(waits_for.contains("cannot keep what is pushed: ") && waits_for.contains("maximum"), "{waits_for}");
    far.at_remote(&["config", "receive.maxInputSize", "0"]);
    far.world.turn_clock(10).await;
    assert_eq!(far.world.state("fraud").await, "single settled live=7");
    assert_eq!(far.subjects().len(), 9);
}

#[tokio::test]
async fn what_waits_for_the_remote_does_not_say_where_that_is() {
    let mut far = Far::new().await;
    far.is_there(false);
    let waits_for = far.queued(put("fraud", single("7"))).await;
    let expected = "there is no Git repository at its address, or the account does not see it; check the address, and that the account may read the repository";
    assert_eq!(waits_for, expected);
    far.is_there(true);
}

#[tokio::test]
async fn what_the_remote_refuses_stands_at_the_release_until_it_is_another_one() {
    let mut far = Far::new().await;
    far.world.put("fraud", single("7")).await;
    far.hook("update", "echo 'not in this week'; exit 1");
    let refused = refusal(far.world.ask(put("fraud", single("8"))).await);
    assert_eq!(refused.kind, RefusalKind::RemoteRefused);
    let notes = far.world.view("fraud").await.notes;
    assert!(notes.len() == 1 && notes[0].contains("not in this week"), "{notes:?}");
    far.without_hook("update");
    far.world.put("fraud", single("8")).await;
    assert_eq!(far.world.view("fraud").await.notes, [] as [String; 0]);
}

#[tokio::test]
async fn strange_things_in_the_tree_are_nobodys_release_and_stay_as_they_are() {
    let mut far = Far::new().await;
    far.world.put("fraud", single("7")).await;
    far.person(&["fetch", "-q"]);
    far.person(&["reset", "-q", "--hard", "origin/main"]);
    let models = far.directory.path().join("person/releases/production/models");
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n";
    fs::create_dir_all(models.join("lfs")).unwrap();
    fs::write(models.join("lfs/release.yaml"), pointer).unwrap();
    fs::create_dir_all(models.join("linked")).unwrap();
    std::os::unix::fs::symlink("../fraud/release.yaml", models.join("linked/release.yaml")).unwrap();
    std::os::unix::fs::symlink("../../../..", models.join("link")).unwrap();
    far.person(&["add", "-A"]);
    let submodule = format!("160000,{},releases/production/models/submodule", far.person(&["rev-parse", "HEAD"]));
    far.person(&["update-index", "--add", "--cacheinfo", &submodule]);
    far.person(&["commit", "-q", "-m", "Strange"]);
    // A directory `..` that no Git makes: beside the others in the tree of the namespace.
    let tree = far.person(&["rev-parse", "HEAD^{tree}"]);
    let blob = far.person(&["rev-parse", "HEAD:policies/default.yaml"]);
    let listing = far.directory.path().join("listing");
    let text = far.person(&["ls-tree", &tree]);
    fs::write(&listing, format!("{text}\n100644 blob {blob}\t..\n")).unwrap();
    let made = far.person(&["-c", &format!("alias.make=!git mktree <'{}'", listing.display()), "make"]);
    let commit = far.person(&["commit-tree", "-p", "HEAD", "-m", "Dots", &made]);
    far.person(&["push", "-q", "origin", &format!("{commit}:main")]);

    far.look().await;
    far.world.put("fraud", single("8")).await;
    let mut other = newcomer(&far).await;
    other.put("fraud", single("9")).await;
    for name in ["lfs", "linked", "link", "submodule"] {
        assert!(other.handle().release(&key(name)).await.is_err(), "{name}");
        let taken = refusal(other.ask(put(name, single("1"))).await);
        assert!(taken.reason.contains("in its place") || taken.reason.contains("no path"), "{name}: {}", taken.reason);
        assert_eq!(taken.reason.contains("a pointer of Git LFS"), name == "lfs", "{}", taken.reason);
        assert_eq!(taken.reason.contains("`git lfs untrack '*.yaml'`"), name == "lfs", "{}", taken.reason);
    }
    let entries = far.at_remote(&["ls-tree", "--name-only", "main"]);
    assert!(entries.lines().any(|name| name == ".."), "{entries}");
    let kept = far.at_remote(&["ls-tree", "main", "releases/production/models/"]);
    assert!(kept.contains("160000") && kept.contains("120000"), "{kept}");
    assert_eq!(far.at_remote(&["show", "main:releases/production/models/lfs/release.yaml"]), pointer.trim());
}

#[tokio::test]
async fn ten_thousand_files_of_others_are_kept_and_not_read() {
    let mut far = Far::new().await;
    far.world.put("fraud", single("7")).await;
    far.person(&["fetch", "-q"]);
    let mut stream = "commit refs/heads/many\ncommitter Ann <ann@example.org> 0 +0000\ndata 4\nmany\nfrom refs/remotes/origin/main^0\n".to_owned();
    for number in 0..10_000 {
        stream += &format!("M 100644 inline others/{}/{number}.txt\ndata 2\nx\n", number % 10);
    }
    let import = far.directory.path().join("import");
    fs::write(&import, stream).unwrap();
    far.person(&["-c", &format!("alias.import=!git fast-import --quiet <'{}'", import.display()), "import"]);
    far.person(&["push", "-q", "origin", "many:main"]);
    far.look().await;
    far.world.put("fraud", single("8")).await;
    let files = far.at_remote(&["ls-tree", "-r", "--name-only", "main", "others"]);
    assert_eq!(files.lines().count(), 10_000);
    let changed = far.at_remote(&["diff", "--name-only", "main~1", "main"]);
    assert!(changed.lines().all(|path| path.starts_with("releases/")), "{changed}");
}

#[tokio::test]
async fn a_rollback_goes_first_once_a_remote_is_back_that_was_away_for_minutes() {
    let mut far = Far::new().await;
    far.world.limits = Limits { turn: 2, ..Limits::far() };
    far.world.start().await;
    far.world.put("fraud", single("7")).await;
    far.world.put("fraud", single("8")).await;
    let back = far.world.absolute("fraud", Act::Rollback { to: None }).await.unwrap();
    let before = far.subjects().len();
    far.is_there(false);
    let wait = Duration::from_millis(10);
    for number in 0..8 {
        let asked = far.world.handle().request(put(&format!("m{number}"), single("1")), wait).await;
        assert!(matches!(asked, Ok(Answer::Queued { .. })), "{asked:?}");
        far.world.run().await;
    }
    let asked = far.world.handle().request(back, wait).await;
    assert!(matches!(asked, Ok(Answer::Queued { .. })), "{asked:?}");
    for _ in 0..5 {
        far.world.turn_clock(1).await;
    }
    far.is_there(true);
    for _ in 0..10 {
        far.world.turn_clock(1).await;
    }
    let subjects = far.subjects();
    assert_eq!(subjects.len(), before + 9, "each once: {subjects:?}");
    let place = subjects[before..].iter().position(|subject| subject.contains("/fraud)")).unwrap();
    assert!(place < 2, "it is in the first push: {subjects:?}");
    assert_eq!(far.world.state("fraud").await, "single settled live=7");
}

#[tokio::test]
async fn a_version_that_the_remote_refuses_is_told_why() {
    let mut far = Far::without_start().await;
    let registry = Registry::start().await;
    registry.register("fraud", 2);
    far.world.registry = Some(registry);
    far.world.start().await;
    far.world.set_alias("champion", 1).await;
    far.hook("update", "echo 'closed for the fair'; exit 1");
    let refused = far.world.set_alias("champion", 2).await;
    assert_eq!(refused.state, DeliveryState::Refused, "{refused:?}");
    let status = |version: u32, name: &str| far.world.registry().status("fraud", version, name);
    assert_eq!((status(1, "state").as_deref(), status(2, "state").as_deref()), (Some("serving"), Some("refused")));
    assert!(
        status(2, "reason").is_some_and(|reason| reason.contains("closed for the fair")),
        "{:?}",
        status(2, "reason")
    );
}

#[tokio::test]
async fn a_clock_that_is_set_back_holds_nothing_up_and_one_that_jumps_ahead_skips_no_step() {
    let mut far = Far::new().await;
    far.world.put("fraud", single("7")).await;
    far.is_there(false);
    far.queued(put("fraud", single("8"))).await;
    far.is_there(true);
    let now = far.world.clock.now_exact();
    far.world.clock.set(now - jiff::SignedDuration::from_hours(3));
    far.world.run().await;
    assert_eq!(far.world.state("fraud").await, "single settled live=8");

    let steps = [5, 25].map(|weight| json!({"weight": weight, "pause": "10m"}));
    far.world.put("fraud", json!({"version": "9", "strategy": "canary", "steps": steps})).await;
    let count = far.subjects().len();
    far.world.clock.set(now - jiff::SignedDuration::from_hours(30));
    far.world.run().await;
    assert_eq!(far.subjects().len(), count, "no pause is over");
    far.world.clock.set(now + jiff::SignedDuration::from_hours(300));
    far.world.run().await;
    let done = far.subjects().split_off(count);
    assert!(done.len() == 1 && done[0].contains("25"), "{done:?}");
    far.world.turn_clock(11).await;
    assert_eq!(far.world.state("fraud").await, "single settled live=9");
}
