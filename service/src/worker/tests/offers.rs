//! What waits for a review beside what is pushed, and a remote that goes away in between.

use std::fs;

use super::remote::Far;
use super::rounds::reviewed;
use super::*;

/// Asks for something that is not carried out yet.
async fn hand_in(far: &Far, requested: Requested) -> String {
    match far.world.handle().request(requested, Duration::from_millis(10)).await {
        Ok(Answer::Queued { delivery, .. }) => delivery,
        other => panic!("not queued: {other:?}"),
    }
}

fn branches(far: &Far) -> Vec<String> {
    let listed = far.at_remote(&["for-each-ref", "--format=%(refname:lstrip=5)", "refs/heads/kmlflow"]);
    listed.lines().map(ToOwned::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn after_one_branch_fails_by_the_remote_the_others_wait_with_it_and_go_first() {
    let (mut far, _forge, _says) = reviewed().await;
    far.is_there(false);
    let mut asked = Vec::new();
    for name in ["a", "b"] {
        asked.push(hand_in(&far, put(name, single("8"))).await);
    }
    far.world.run().await;
    for delivery in asked {
        let waits_for = far.world.handle().delivery(&delivery).await.unwrap().waits_for.unwrap();
        let words =
            "a branch for its review: there is no Git repository at its address, or the account does not see it";
        assert_eq!(waits_for, words);
    }
    far.is_there(true);
    far.world.clock.advance(Duration::from_secs(3));
    far.world.run().await;
    assert_eq!(branches(&far), ["b"], "the pause is short at first, and what failed comes after the others");
    far.world.clock.advance(Duration::from_secs(5));
    far.world.run().await;
    assert_eq!(branches(&far), ["a", "b"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_pushed_is_told_before_what_waits_for_a_review_is_on_its_branch() {
    let (mut far, _forge, _says) = reviewed().await;
    far.world.is_reviewed = false;
    far.world.start().await;
    for version in ["6", "7"] {
        far.world.put("other", single(version)).await;
    }
    far.world.is_reviewed = true;
    far.world.start().await;
    let go = far.world.dir.path().join("go");
    let wait = format!("for _ in $(seq 300); do test -e {} && exit 0; sleep 0.1; done; exit 1", go.display());
    far.hook("update", &format!("case $1 in refs/heads/kmlflow/*) {wait};; esac"));
    let delivery = hand_in(&far, put("fraud", single("8"))).await;
    let rollback = far.world.absolute("other", Act::Rollback { to: None }).await.unwrap();
    let handle = far.world.handle();
    let mut asked = std::pin::pin!(handle.request(rollback, Duration::from_secs(60)));
    let has_arrived = async {
        while handle.shared.inbox.waited_for().is_empty() {
            super::pause().await;
        }
    };
    tokio::select! {
        biased;
        answer = &mut asked => panic!("nothing is done yet: {answer:?}"),
        () = has_arrived => {}
    }
    let told = async {
        let told = tokio::time::timeout(Duration::from_secs(20), asked).await;
        fs::write(&go, "").unwrap();
        told
    };
    let ((), told) = tokio::join!(far.world.run(), told);
    assert!(matches!(told, Ok(Ok(Answer::Done(_)))), "{told:?}");
    assert_eq!(branches(&far), ["fraud"]);
    let waiting = far.world.handle().delivery(&delivery).await.unwrap();
    assert_eq!(waiting.waits_for.unwrap(), "a review of the branch `kmlflow/production/models/fraud`");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_people_are_to_see_waits_until_a_merge_was_called_off_and_says_whether_that_went_well() {
    let (mut far, _forge, says) = reviewed().await;
    hand_in(&far, put("fraud", single("8"))).await;
    far.world.run().await;
    let at = |far: &Far| far.at_remote(&["rev-parse", "kmlflow/production/models/fraud"]);
    let before = at(&far);
    says.lock().unwrap().merges = Some("You do not have permission");
    let asked = hand_in(&far, put("fraud", single("9"))).await;
    let page = "https://forge.example/team/gitops/pull/4";
    for (merges, words, then) in [
        (Some("You do not have permission"), "does not let that be called off: You do not have permission", "closed"),
        (None, "merges itself was called off", "a moment later"),
    ] {
        says.lock().unwrap().merges = merges;
        far.world.turn_clock(10).await;
        let waits_for = far.world.handle().delivery(&asked).await.unwrap().waits_for.unwrap();
        assert!([page, words, then].iter().all(|part| waits_for.contains(part)), "{waits_for}");
        assert_eq!(at(&far), before);
    }
}
