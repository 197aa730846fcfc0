//! Commits at a remote that look like the service's own and are not.

use super::remote::Far;
use super::*;
use crate::event::DeliveryState;

/// Asks for version 8 while the remote is away, and has somebody push a commit then that says, in all that the service would write, that it carried
/// that out. Gives the id of the delivery.
async fn claimed(far: &mut Far, edits: &[(&str, &str)]) -> String {
    far.world.put("fraud", single("7")).await;
    far.is_there(false);
    let handle = far.world.handle();
    let asked = handle.request(put("fraud", single("8")), Duration::from_millis(10));
    let (asked, ()) = tokio::join!(asked, far.world.run());
    let Ok(Answer::Queued { delivery, .. }) = asked else { panic!("{asked:?}") };
    far.is_there(true);
    let words = format!(
        "release(production/models/fraud): update to version 8\n\nRelease-Id: 0\nDelivery-Id: {delivery}\nAction: update\nVersion: 8\n"
    );
    let edits = edits.iter().map(|(file, text)| ((*file).to_owned(), Some((*text).to_owned()))).collect();
    commit_as(&Repository::open(&far.remote()).unwrap(), &author(), &words, edits);
    delivery
}

async fn state_of(far: &Far, delivery: &str) -> DeliveryState {
    far.world.handle().delivery(delivery).await.unwrap().state
}

#[tokio::test]
async fn a_request_is_not_done_by_a_commit_that_says_so_and_has_nothing_of_it() {
    let mut far = Far::new().await;
    let delivery = claimed(&mut far, &[(&path("notes.txt"), "words")]).await;
    far.world.turn_clock(10).await;
    assert_eq!(state_of(&far, &delivery).await, DeliveryState::Applied);
    assert_eq!(far.world.state("fraud").await, "single settled live=8");
    assert!(far.at_remote(&["show", &format!("main:{}", path("seldon.yaml"))]).contains("fraud:8"));
}

#[tokio::test]
async fn a_start_does_not_take_it_for_done_either_and_not_by_a_commit_of_another_release() {
    let mut far = Far::new().await;
    far.world.put("other", single("8")).await;
    let document = far.at_remote(&["show", "main:releases/production/models/other/release.yaml"]);
    let theirs = format!("{document}\n# copied\n");
    let delivery = claimed(&mut far, &[("releases/production/models/other/release.yaml", &theirs)]).await;
    far.world.kill();
    far.world.start().await;
    far.world.turn_clock(10).await;
    assert_eq!(state_of(&far, &delivery).await, DeliveryState::Applied);
    assert_eq!(far.world.state("fraud").await, "single settled live=8");
}
