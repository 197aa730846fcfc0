//! A branch elsewhere that somebody moved and nobody told of: what is answered for good is judged on what it has by then.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::remote::{Far, newcomer, overtake_while};
use super::*;
use crate::command::Git;
use crate::event::DeliveryState;
use crate::release::RefusalKind;

/// A service whose Git notes what it is called with, and where.
async fn noting() -> (Far, std::path::PathBuf) {
    let far = with_git(|directory| format!("echo \"$*\" >>'{}'", directory.join("called").display())).await;
    let notes = far.world.dir.path().join("called");
    (far, notes)
}

/// A service whose Git does something first, which is told where.
async fn with_git(first: impl Fn(&Path) -> String) -> Far {
    let mut far = Far::without_start().await;
    let programs = far.world.dir.path().join("programs");
    fs::create_dir(&programs).unwrap();
    let places = "/usr/local/bin:/usr/bin:/bin:/opt/homebrew/bin";
    let first = first(far.world.dir.path());
    let script = format!("#!/bin/sh\nPATH={places}\nexport PATH\n{first}\nexec git \"$@\"\n");
    fs::write(programs.join("git"), script).unwrap();
    fs::set_permissions(programs.join("git"), fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{places}", programs.display());
    let begun = std::time::Instant::now();
    let git = loop {
        match Git::find(Some(&path)).await {
            // A program that another test starts at this moment has the script open until it is that program.
            Err(_) if begun.elapsed() < Duration::from_secs(20) => tokio::task::yield_now().await,
            found => break found.unwrap(),
        }
    };
    far.world.remote.as_mut().unwrap().git = git;
    far.world.start().await;
    far
}

/// How often the branch was fetched.
fn fetches(notes: &Path) -> usize {
    fs::read_to_string(notes).unwrap().lines().filter(|line| line.contains("fetch --quiet")).count()
}

#[tokio::test]
async fn what_was_reverted_by_hand_a_moment_ago_is_no_more_unchanged_and_is_done_again() {
    let mut far = Far::new().await;
    far.world.put("fraud", single("7")).await;
    far.world.put("fraud", single("8")).await;
    let theirs = far.revert();
    let done = far.world.put("fraud", single("8")).await;
    assert!(done.changed, "{:?}", done.reason);
    assert_eq!(far.world.state("fraud").await, "single settled live=8");
    assert!(far.at_remote(&["show", &format!("main:{}", path("seldon.yaml"))]).contains("fraud:8"));
    let is_there = far.at_remote(&["merge-base", &theirs, "main"]);
    assert_eq!(is_there, theirs, "it is built on");
    assert!(!far.world.put("fraud", single("8")).await.changed);
}

#[tokio::test]
async fn an_event_is_not_taken_for_answered_by_what_somebody_reverted() {
    let mut far = Far::new().await;
    for version in ["7", "8"] {
        let set = far.world.event("fraud", alias("champion", version)).await;
        assert_eq!(set.state, DeliveryState::Applied, "{set:?}");
    }
    let _theirs = far.revert();
    let view = far.world.view("fraud").await;
    assert_eq!(view.release.spec.variants[0].version.to_string(), "8", "nobody told of it");
    far.world.event("fraud", alias("champion", "8")).await;
    assert_eq!(far.world.state("fraud").await, "single settled live=7", "the person wins until the registry changes");
}

#[tokio::test]
async fn what_another_service_did_is_no_reason_to_refuse_what_goes_on_from_there() {
    let mut far = Far::new().await;
    let mut other = newcomer(&far).await;
    far.world.put("fraud", single("7")).await;
    other.put("fraud", single("8")).await;
    let from_there = json!({"version": "9", "strategy": "canary", "baseline": "8"});
    assert!(far.world.put("fraud", from_there).await.changed);
    assert_eq!(far.world.state("fraud").await, "canary running stable=8 candidate=9");
    other.handle().pushed();
    other.run().await;
    let not_so = refusal(other.ask(put("fraud", json!({"version": "9", "strategy": "canary", "baseline": "7"}))).await);
    assert_eq!(not_so.kind, RefusalKind::Conflict, "{not_so:?}");
}

#[tokio::test]
async fn an_act_on_what_another_service_did_is_no_mistake_and_one_that_is_a_mistake_costs_one_look() {
    let (mut far, notes) = noting().await;
    let mut other = newcomer(&far).await;
    far.world.put("fraud", single("7")).await;
    other.handle().pushed();
    other.run().await;
    other.put("fraud", canary("8")).await;
    let before = fetches(&notes);
    let handle = far.world.handle();
    let (fraud, none) = (key("fraud"), key("none"));
    let promote = || handle.absolute_now(&fraud, Act::Promote { variant: None });
    let (promoted, again, ()) = tokio::join!(promote(), promote(), far.world.run());
    assert!(matches!(&promoted, Ok(Intent::Promote { .. })) && again.is_ok(), "{promoted:?} {again:?}");
    let asked = handle.absolute_now(&none, Act::Pause);
    let (refused, ()) = tokio::join!(asked, far.world.run());
    assert!(matches!(&refused, Err(Fault::Refused(_))), "{refused:?}");
    assert_eq!(fetches(&notes), before + 2, "one for both, one for what is wrong");
}

#[tokio::test]
async fn an_act_waits_for_a_look_that_began_after_it_was_asked_for() {
    // Each look ends once the file is gone, and has seen what was there before.
    let mut far = with_git(|directory| {
        let (seen, hold) = (directory.join("seen"), directory.join("hold"));
        let (seen, hold) = (seen.display(), hold.display());
        format!(
            "case \"$*\" in *'fetch --quiet'*)\ngit \"$@\"\ncode=$?\nif [ -e '{hold}' ]; then : >'{seen}'; fi\nwhile [ -e '{hold}' ]; do sleep 0.02; done\nexit $code;;\nesac"
        )
    })
    .await;
    far.world.put("fraud", single("7")).await;
    let mut other = newcomer(&far).await;
    other.run().await;
    let (seen, hold) = (far.world.dir.path().join("seen"), far.world.dir.path().join("hold"));
    fs::write(&hold, "").unwrap();
    let handle = far.world.handle();
    handle.pushed();
    let fraud = key("fraud");
    let asked = async {
        until("the look has seen the branch", || seen.exists()).await;
        other.put("fraud", canary("8")).await;
        let promote = handle.absolute_now(&fraud, Act::Promote { variant: None });
        let go_on = async {
            until("the look is waited for", || handle.shared.state.looked.receiver_count() > 0).await;
            fs::remove_file(&hold).unwrap();
        };
        tokio::join!(promote, go_on).0
    };
    let (promote, ()) = tokio::join!(asked, far.world.run());
    assert!(matches!(&promote, Ok(Intent::Promote { .. })), "{promote:?}");
}

/// Waits for something that another part of the test brings about.
async fn until(what: &str, is_so: impl Fn() -> bool) {
    let begun = std::time::Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{what}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_the_remote_refuses_because_the_branch_moved_is_planned_again() {
    let mut far = Far::new().await;
    far.world.put("fraud", single("7")).await;
    // It moves while the hook runs, which says no to what is behind that.
    let overtake = overtake_while("test $(git rev-list --count --author=Ann main) = 1");
    far.hook("pre-receive", &format!("{overtake}\necho 'behind main' >&2; exit 1"));
    assert!(far.world.put("fraud", single("8")).await.changed);
    let theirs = far.at_remote(&["log", "-1", "--author=Ann", "--format=%H", "main"]);
    assert_eq!(far.at_remote(&["rev-parse", "main~1"]), theirs);
}

#[tokio::test]
async fn a_push_that_is_taken_costs_no_look_and_many_requests_for_what_is_so_cost_one() {
    let (mut far, notes) = noting().await;
    far.world.put("fraud", single("7")).await;
    let before = fetches(&notes);
    far.world.put("fraud", single("8")).await;
    assert_eq!(fetches(&notes), before, "the push says where the branch is");
    let handle = far.world.handle();
    let same = (0..20).map(|_| handle.request(put("fraud", single("8")), Duration::from_secs(60)));
    let (answers, ()) = tokio::join!(futures_util::future::join_all(same), far.world.run());
    for answer in answers {
        assert!(matches!(&answer, Ok(Answer::Done(done)) if !done.changed), "{answer:?}");
    }
    assert_eq!(fetches(&notes), before + 1);
    // One of them changes something, so the push answers for all.
    let mixed = (0..20).map(|number| put("fraud", single(if number == 0 { "9" } else { "8" })));
    let mixed = mixed.map(|requested| handle.request(requested, Duration::from_secs(60)));
    let (answers, ()) = tokio::join!(futures_util::future::join_all(mixed), far.world.run());
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert_eq!(fetches(&notes), before + 1);
}

#[tokio::test]
async fn while_the_remote_is_away_nothing_is_said_to_be_so_or_refused_by_what_it_was() {
    let mut far = Far::new().await;
    far.world.put("fraud", single("7")).await;
    far.world.put("fraud", single("8")).await;
    let _theirs = far.revert();
    far.is_there(false);
    let waits_for = far.queued(put("fraud", single("8"))).await;
    assert!(waits_for.contains("there is no Git repository"), "{waits_for}");
    far.is_there(true);
    far.world.turn_clock(10).await;
    assert_eq!(far.world.state("fraud").await, "single settled live=8");
    let before = far.subjects().len();

    let wrong = json!({"version": "9", "strategy": "canary", "baseline": "7"});
    far.is_there(false);
    far.queued(put("fraud", wrong)).await;
    far.is_there(true);
    far.world.turn_clock(10).await;
    let deliveries = far.world.handle().deliveries(super::super::DeliveryFilter::default()).await.unwrap().items;
    assert_eq!(deliveries[0].state, DeliveryState::Refused, "{deliveries:?}");
    assert_eq!(far.subjects().len(), before);
}

#[tokio::test]
async fn a_rollback_that_was_asked_for_on_a_history_that_is_rewritten_goes_to_nothing_that_is_not_in_the_new_one() {
    let mut far = Far::before_a_rewrite().await;
    far.world.put("fraud", single("9")).await;
    let gone = far.at_remote(&["rev-parse", "main~1"]);
    far.rewrite();
    far.look().await;
    let back = far.world.absolute("fraud", Act::Rollback { to: None }).await.unwrap();
    assert_eq!(back.intent, Intent::Rollback { to: CommitId::parse(&gone).unwrap() });
    assert!(far.queued(back).await.contains("rewrote the history"));

    far.world.handle().unhold(None, "seen", "ada").await.unwrap();
    far.world.run().await;
    assert_eq!(far.world.state("fraud").await, "single settled live=7");
    let told = far.world.handle().deliveries(super::super::DeliveryFilter::default()).await.unwrap().items.remove(0);
    assert_eq!(told.state, DeliveryState::Refused, "{told:?}");
    assert!(told.reason.as_deref().is_some_and(|reason| reason.contains(&gone)), "{told:?}");
    assert!(told.cure.as_deref().is_some_and(|cure| cure.contains("kmlflow history")), "{told:?}");
    far.world.put("fraud", single("8")).await;
    far.world.act("fraud", Act::Rollback { to: None }).await;
    assert_eq!(far.world.state("fraud").await, "single settled live=7", "states of the new history are gone back to");
}
