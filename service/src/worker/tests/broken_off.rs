//! A remote that breaks off without a report at one of many, and a clone that a killed program left locked.

use std::fs;

use super::remote::Far;
use super::*;
use crate::event::DeliveryState;

/// Ends a push without a report where it brings this release.
const BREAKS_OFF: &str = "[ $1 = prepared ] || exit 0; while read old new ref; do \
    [ $ref = refs/heads/main ] && git diff --name-only $old $new | grep -q /bad && echo 'bad is not allowed here' >&2 && exit 1; done; exit 0";

#[tokio::test]
async fn what_a_remote_breaks_off_at_is_put_off_alone_in_its_words_and_refused_by_nobody() {
    let mut far = Far::new().await;
    far.hook("reference-transaction", BREAKS_OFF);
    let (bad, good) = (far.world.handle(), far.world.handle());
    let ask = |handle: Handle, name: &'static str| async move {
        handle.request(put(name, single("7")), Duration::from_millis(10)).await
    };
    let (bad, good) = tokio::join!(ask(bad, "bad"), ask(good, "good"));
    let id = |answer| match answer {
        Ok(Answer::Queued { delivery, .. }) => delivery,
        other => panic!("{other:?}"),
    };
    let (bad, good) = (id(bad), id(good));
    for _ in 0..4 {
        far.world.turn_clock(300).await;
    }
    let handle = far.world.handle();
    assert_eq!(handle.delivery(&good).await.unwrap().state, DeliveryState::Applied);
    let newer = id(handle.request(put("bad", single("8")), Duration::from_millis(10)).await);
    let good = id(handle.request(put("good", single("8")), Duration::from_millis(10)).await);
    for _ in 0..6 {
        far.world.turn_clock(300).await;
    }
    let state = async |id: &str| handle.delivery(id).await.unwrap();
    assert_eq!(state(&good).await.state, DeliveryState::Applied);
    let waiting = state(&bad).await;
    let reason = waiting.waits_for.as_deref().or(waiting.reason.as_deref()).unwrap();
    assert!(waiting.state == DeliveryState::Failed && reason.contains("bad is not allowed here"), "{waiting:?}");
    far.without_hook("reference-transaction");
    far.world.turn_clock(300).await;
    for id in [&bad, &newer] {
        assert_eq!(state(id).await.state, DeliveryState::Applied, "{:?}", state(id).await);
    }
    let subjects = far.subjects().join("\n");
    assert_eq!(far.subjects().len(), 4, "{subjects}");
    assert_eq!(far.world.state("bad").await, "single settled live=8", "in the order in which it was asked for");
}

#[tokio::test]
async fn what_was_asked_for_behind_several_of_those_goes_and_what_is_asked_of_them_later_waits_behind_them() {
    let mut far = Far::new().await;
    far.world.put("bad-two", single("7")).await;
    far.world.put("bad-two", canary("8")).await;
    let pause = far.world.absolute("bad-two", Act::Pause).await.unwrap();
    far.hook("reference-transaction", BREAKS_OFF);
    let handle = far.world.handle();
    let ask = async |requested: Requested| match handle.request(requested, Duration::from_millis(10)).await {
        Ok(Answer::Queued { delivery, .. }) => delivery,
        other => panic!("{other:?}"),
    };
    let bad = [ask(put("bad-one", single("8"))).await, ask(put("bad-two", canary("9"))).await];
    let good = ask(put("good", single("7"))).await;
    for _ in 0..4 {
        far.world.turn_clock(300).await;
    }
    let state = async |id: &str| handle.delivery(id).await.unwrap().state;
    assert_eq!(state(&good).await, DeliveryState::Applied);
    let pause = ask(pause).await;
    far.world.turn_clock(300).await;
    for id in bad.iter().chain([&pause]) {
        assert!(
            matches!(state(id).await, DeliveryState::Accepted | DeliveryState::Failed),
            "{id}: {:?}",
            state(id).await
        );
    }
    far.without_hook("reference-transaction");
    for _ in 0..3 {
        far.world.turn_clock(300).await;
    }
    for id in bad.iter().chain([&pause]) {
        assert_eq!(state(id).await, DeliveryState::Applied, "{id}");
    }
    let release = handle.release(&key("bad-two")).await.unwrap().release;
    assert!(
        release.rollout.paused.is_some() && release.staying().last().unwrap().version.as_str() == "9",
        "{release:?}"
    );
}

#[tokio::test]
async fn a_lock_that_a_kill_left_in_the_clone_keeps_nothing_from_going_on() {
    let mut far = Far::new().await;
    far.world.put("fraud", single("7")).await;
    let clone = far.world.handle().shared.repository.path().to_owned();
    far.world.kill();
    let lock = clone.join("refs/kmlflow/remote/main.lock");
    fs::write(&lock, "").unwrap();
    fs::write(clone.join("packed-refs.lock"), "").unwrap();
    // Its remote has gone on meanwhile.
    far.pull();
    far.push("README.md", "somebody else");
    far.world.start().await;
    assert!(!lock.exists());
    far.world.put("fraud", single("8")).await;
    assert_eq!(far.world.state("fraud").await, "single settled live=8");
}
