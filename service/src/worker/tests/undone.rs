//! What came by a review is taken back by a person's `git revert`: the older state is known again, however the pull request that brought it was merged,
//! and whether or not the branch takes what the service makes of it.

use super::remote::Far;
use super::rounds::reviewed;
use super::*;
use crate::event::DeliveryState;
use crate::worker::FileState;

const BRANCH: &str = "kmlflow/production/models/fraud";

/// Asks Git what the newest commit did.
const ACTION: &[&str] = &["log", "-1", "--format=%(trailers:key=Action,valueonly)"];

/// Lets nobody push to the branch what the service has made.
const NOT_OURS: &str = r#"[ "$1" != refs/heads/main ] || [ "$(git log -1 --format=%cn "$3")" != Kmlflow ]"#;

/// A service whose forge has no pull request that is open: each is merged as soon as it is there.
async fn merged_at_once() -> Far {
    let (far, _forge, says) = reviewed().await;
    says.lock().unwrap().state = "merged";
    far
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_reverts_is_taken_over_however_it_had_come() {
    for way in ["--squash", "--no-ff"] {
        let mut far = merged_at_once().await;
        let ask = async |far: &mut Far, version: &str| {
            let asked = far.world.handle().request(put("fraud", single(version)), Duration::from_millis(10)).await;
            assert!(matches!(asked, Ok(Answer::Queued { .. })), "{way}: {asked:?}");
            far.world.run().await;
        };
        for version in ["8", "9"] {
            ask(&mut far, version).await;
            far.merge(BRANCH, way);
            far.look().await;
            assert_eq!(far.world.state("fraud").await, format!("single settled live={version}"), "{way}");
        }
        let theirs = far.revert();
        far.look().await;
        assert_eq!(far.at_remote(&[ACTION, &["main"]].concat()), "adopt", "{way}");
        assert_eq!(far.at_remote(&["rev-parse", "main^"]), theirs, "{way}: the service's commit is on theirs");
        for start in ["running", "started anew"] {
            let view = far.world.view("fraud").await;
            assert_eq!((view.files.len(), view.notes), (0, Vec::<String>::new()), "{way}, {start}");
            assert_eq!(far.world.state("fraud").await, "single settled live=8", "{way}, {start}");
            far.world.start().await;
        }
        ask(&mut far, "9").await;
        assert!(!far.at_remote(&["branch", "--list", BRANCH]).is_empty(), "{way}: the next request needs no consent");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_reverts_to_is_known_again_however_much_was_released_since() {
    let mut far = merged_at_once().await;
    for version in ["8", "9"] {
        let asked = far.world.handle().request(put("fraud", single(version)), Duration::from_millis(10)).await;
        assert!(matches!(asked, Ok(Answer::Queued { .. })), "{asked:?}");
        far.world.run().await;
        far.merge(BRANCH, "--squash");
        far.look().await;
    }
    // More than a page of the history.
    far.world
        .sql(
            "WITH RECURSIVE counted (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counted WHERE n < 1001)
             INSERT INTO commits (environment, namespace, name, commit_id, action, version, strategy, phase, at, release_id, subject)
             SELECT environment, namespace, name, printf('%040x', n), action, version, strategy, phase, at, 'r', subject
             FROM counted JOIN (SELECT * FROM commits WHERE name = 'fraud' ORDER BY position DESC LIMIT 1)",
        )
        .await;
    far.revert();
    far.look().await;
    assert_eq!(far.at_remote(&[ACTION, &["main"]].concat()), "adopt");
    assert_eq!(far.world.state("fraud").await, "single settled live=8");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_changed_is_adopted_by_a_pull_request_where_the_branch_takes_no_push() {
    let mut far = merged_at_once().await;
    far.hook("update", NOT_OURS);
    let seldon = far.at_remote(&["show", &format!("main:{}", path("seldon.yaml"))]);
    far.push(&path("seldon.yaml"), &format!("{}\n", seldon.replace("replicas: 1", "replicas: 4")));
    far.look().await;
    assert_eq!(far.world.view("fraud").await.files, [FileState::Drifted]);
    let adopting = Requested { guard: Guard { adopt: true, ..Guard::default() }, ..put("fraud", single("7")) };
    let asked = far.world.handle().request(adopting, Duration::from_millis(10)).await;
    let Ok(Answer::Queued { delivery, .. }) = asked else { panic!("{asked:?}") };
    far.world.run().await;
    assert!(far.at_remote(&["show", &format!("{BRANCH}:{}", path("release.yaml"))]).contains("replicas: 4"));
    far.merge(BRANCH, "--no-ff");
    far.look().await;
    let (view, told) = (far.world.view("fraud").await, far.world.handle().delivery(&delivery).await.unwrap());
    assert_eq!((view.files.len(), view.release.spec.serving.replicas), (0, Some(4)));
    assert_eq!(told.state, DeliveryState::Applied, "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_reverts_is_taken_over_by_a_pull_request_where_the_branch_takes_no_push() {
    let mut far = merged_at_once().await;
    let asked = far.world.handle().request(put("fraud", single("8")), Duration::from_millis(10)).await;
    assert!(matches!(asked, Ok(Answer::Queued { .. })), "{asked:?}");
    far.world.run().await;
    far.merge(BRANCH, "--squash");
    far.look().await;
    far.hook("update", NOT_OURS);
    far.world.turn_clock(1).await;
    far.revert();
    far.look().await;
    let view = far.world.view("fraud").await;
    assert!(view.notes.iter().any(|note| note.contains("is not taken over yet")), "{:?}", view.notes);
    assert_eq!(far.at_remote(&[ACTION, &[BRANCH]].concat()), "adopt");
    far.merge(BRANCH, "--squash");
    far.look().await;
    let view = far.world.view("fraud").await;
    assert_eq!((view.files.len(), view.notes), (0, Vec::<String>::new()));
    assert_eq!(far.world.state("fraud").await, "single settled live=7");
}
