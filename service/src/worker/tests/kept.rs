//! What the store did not keep, and what whoever asked for it is told.

use std::fs;

use futures_util::poll;

use super::remote::Far;
use super::*;

/// Has the store keep nothing that arrives, as on a full disk, or keep it again.
async fn keeps(world: &World, keeps: bool) {
    let broken = "CREATE TRIGGER broken BEFORE INSERT ON deliveries BEGIN SELECT RAISE(ABORT, 'broken'); END";
    world.sql(if keeps { "DROP TRIGGER broken" } else { broken }).await;
}

fn sentence(answer: Result<Answer, Fault>) -> String {
    match answer {
        Err(Fault::Unavailable { sentence, .. }) => sentence,
        other => panic!("not unavailable: {other:?}"),
    }
}

#[tokio::test]
async fn what_is_answered_as_not_kept_is_not_carried_out_once_the_remote_is_back() {
    for is_tried in [true, false] {
        let mut far = Far::new().await;
        far.world.put("fraud", single("7")).await;
        far.is_there(false);
        far.queued(put("other", single("1"))).await;
        keeps(&far.world, false).await;
        let refused = match is_tried {
            true => far.world.ask_within(put("fraud", single("8")), SOON).await,
            false => far.world.handle().request(put("fraud", single("8")), Duration::from_millis(10)).await,
        };
        assert!(sentence(refused).contains("the store cannot be reached"));
        keeps(&far.world, true).await;
        far.is_there(true);
        far.world.turn_clock(10).await;
        assert_eq!(far.world.state("fraud").await, "single settled live=7", "it was tried: {is_tried}");
        assert_eq!(far.world.state("other").await, "single settled live=1", "and nothing else is lost");
        assert_eq!(far.subjects().len(), 2);
        far.world.put("fraud", single("8")).await;
    }
}

#[tokio::test]
async fn what_waits_for_its_release_and_was_not_kept_is_not_carried_out_when_its_time_comes() {
    let mut world = World::blind().await;
    world.put("fraud", single("7")).await;
    keeps(&world, false).await;
    assert!(sentence(world.ask(put("fraud", canary("8"))).await).contains("the store cannot be reached"));
    keeps(&world, true).await;
    for _ in 0..3 {
        world.turn_clock(5).await;
    }
    assert_eq!(world.state("fraud").await, "single settled live=7");
    assert_eq!(world.actions().len(), 1);
}

#[tokio::test]
async fn of_what_is_being_pushed_nobody_is_told_that_nothing_was_done() {
    let mut far = Far::new().await;
    let [begun, go] = far.hang();
    keeps(&far.world, false).await;
    let handle = far.world.handle();
    let mut asked = Box::pin(handle.request(put("fraud", single("7")), Duration::from_secs(1)));
    while handle.shared.inbox.waited_for().is_empty() {
        assert!(poll!(&mut asked).is_pending());
        super::pause().await;
    }
    let answered = async {
        while !begun.exists() {
            super::pause().await;
        }
        let answer = asked.await;
        fs::write(go, "").unwrap();
        answer
    };
    let (answer, ()) = tokio::join!(answered, far.world.run());
    let Err(Fault::Unsure { sentence, cure, .. }) = answer else { panic!("{answer:?}") };
    assert!(sentence.contains("is being carried out at this moment"), "{sentence}");
    assert!(cure.contains("look at the release"), "{cure}");
    assert_eq!(far.world.state("fraud").await, "single settled live=7");
}
