//! What is under review while everything is held, and what the service closed itself.

use std::sync::{Arc, Mutex};

use super::remote::Far;
use super::rounds::{Says, reviewed};
use super::*;
use crate::event::DeliveryState;
use crate::forge::Forge;
use crate::worker::conclusion::{Concluded, Conclusion, Keep};
use crate::worker::review::rounds::Rounds;
use crate::worker::told::conclude_all;

const BRANCH: &str = "kmlflow/production/models/fraud";

/// A release, version 8 of which is under review, and how the forge is asked.
pub(super) struct Scene {
    pub(super) far: Far,
    forge: Arc<Forge>,
    pub(super) says: Arc<Mutex<Says>>,
    rounds: Rounds,
    delivery: String,
}

impl Scene {
    pub(super) async fn new() -> Self {
        let (mut far, forge, says) = reviewed().await;
        let asked = far.world.handle().request(put("fraud", single("8")), Duration::from_millis(10)).await;
        let Ok(Answer::Queued { delivery, .. }) = asked else { panic!("{asked:?}") };
        far.world.run().await;
        let mut rounds = Rounds::of_who_leads(&far.world.handle().shared, &forge);
        (rounds.grace, rounds.retry) = (Duration::ZERO, Duration::ZERO);
        let mut scene = Self { far, forge, says, rounds, delivery };
        scene.is_at_the_forge();
        scene.ask().await;
        assert_eq!(scene.review().await, ("awaiting-review", Some(4)));
        scene
    }

    /// The forge sees where the branch is.
    pub(super) fn is_at_the_forge(&self) {
        let commit = self.far.at_remote(&["rev-parse", BRANCH]);
        let mut says = self.says.lock().unwrap();
        (says.head, says.listed) = (commit.clone(), commit);
    }

    /// Asks the forge whatever there is to be asked.
    pub(super) async fn ask(&mut self) {
        let shared = self.far.world.handle().shared;
        shared.reviews.look(&key("fraud"));
        self.rounds.turn(&shared, &self.forge).await;
    }

    /// The time of the release comes, as by what is seen of its pods.
    pub(super) async fn wake(&mut self) {
        self.far.world.handle().shared.inbox.note_review(&key("fraud"));
        self.far.world.run().await;
        self.ask().await;
    }

    pub(super) async fn review(&self) -> (&'static str, Option<u64>) {
        let review = self.far.world.view("fraud").await.review.unwrap();
        (review.state.as_str(), review.number)
    }

    pub(super) async fn delivery(&self) -> DeliveryView {
        self.far.world.handle().delivery(&self.delivery).await.unwrap()
    }

    /// Nobody wants the review any more, as after something that was decided since, and the service closes it.
    pub(super) async fn withdraw(&mut self, number: u64) {
        self.far.world.handle().shared.reviews.keep(|_, _| false);
        self.ask().await;
        assert_eq!(self.says.lock().unwrap().state, "closed");
        assert_eq!(self.review().await, ("closed", Some(number)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_leaves_what_is_under_review_as_it_is() {
    let mut scene = Scene::new().await;
    scene.far.world.handle().hold(None, "incident 42", "ada").await.unwrap();
    scene.wake().await;
    assert_eq!(scene.review().await, ("awaiting-review", Some(4)));
    let waits_for = scene.delivery().await.waits_for.unwrap();
    assert!(waits_for.contains("incident 42"), "{waits_for}");
    scene.far.world.handle().redeliver(&scene.delivery).await.unwrap();
    scene.wake().await;
    assert_eq!(scene.says.lock().unwrap().state, "open", "it is not closed");
    scene.far.world.handle().unhold(None, "it is over", "ada").await.unwrap();
    scene.far.world.run().await;
    let delivery = scene.delivery().await;
    assert_eq!(delivery.state, DeliveryState::Accepted, "{delivery:?}");
    let waits_for = delivery.waits_for.unwrap();
    assert_eq!(waits_for, "the review of https://forge.example/team/gitops/pull/4");
    assert_eq!(scene.review().await, ("awaiting-review", Some(4)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_people_merge_or_close_during_a_hold_is_taken_in() {
    let mut scene = Scene::new().await;
    scene.far.world.handle().hold(None, "incident 42", "ada").await.unwrap();
    scene.wake().await;
    scene.far.at_remote(&["update-ref", "refs/heads/main", BRANCH]);
    scene.says.lock().unwrap().state = "merged";
    scene.far.look().await;
    assert_eq!(scene.far.world.state("fraud").await, "single settled live=8");
    assert_eq!(scene.delivery().await.state, DeliveryState::Applied);

    let mut scene = Scene::new().await;
    scene.far.world.handle().hold(None, "incident 42", "ada").await.unwrap();
    scene.wake().await;
    scene.says.lock().unwrap().state = "closed";
    scene.ask().await;
    scene.far.world.handle().unhold(None, "it is over", "ada").await.unwrap();
    scene.far.world.run().await;
    let delivery = scene.delivery().await;
    assert_eq!(delivery.state, DeliveryState::Refused);
    assert!(delivery.reason.unwrap().contains("was closed without being merged"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_service_closed_itself_is_nobodys_no() {
    for stays in [false, true] {
        let mut scene = Scene::new().await;
        if stays {
            // The branch of the pull request that is closed is still where it was.
            scene.far.hook("update", "case $3 in *[!0]*) exit 0;; *) exit 1;; esac");
        }
        scene.withdraw(4).await;
        scene.wake().await;
        let delivery = scene.delivery().await;
        assert_eq!(delivery.state, DeliveryState::Accepted, "{stays}: {delivery:?}");
        scene.is_at_the_forge();
        scene.ask().await;
        assert_eq!(scene.review().await, ("awaiting-review", Some(5)), "{stays}: another one is opened");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_no_is_one_to_what_was_shown_and_not_to_what_was_asked_for_before_it_was_seen() {
    let mut scene = Scene::new().await;
    // Closed, which nobody has seen yet.
    scene.says.lock().unwrap().state = "closed";
    let older = scene.delivery.clone();
    let asked = scene.far.world.handle().request(put("fraud", single("9")), Duration::from_millis(10)).await;
    let Ok(Answer::Queued { delivery, .. }) = asked else { panic!("{asked:?}") };
    scene.far.world.run().await;
    scene.ask().await;
    scene.delivery = delivery;
    let waits = scene.delivery().await;
    assert_eq!(waits.state, DeliveryState::Accepted, "{waits:?}");
    assert_eq!(scene.review().await, ("awaiting-review", Some(5)));
    let older = scene.far.world.handle().delivery(&older).await.unwrap();
    assert!(older.reason.unwrap().contains("replaced by the newer delivery"));
    let said = scene.says.lock().unwrap().comments.clone();
    let said: Vec<_> = said.iter().filter(|(number, _)| *number == 4).map(|(_, said)| said.as_str()).collect();
    let page = "https://forge.example/team/gitops/pull/5";
    assert_eq!(said, [format!("<!-- kmlflow -->\n**Closed**, so nothing changes by this. The review is {page} now.")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_forge_heard_of_while_that_was_written_down_is_written_down_by_another_turn() {
    let mut scene = Scene::new().await;
    scene.far.world.run().await;
    let shared = scene.far.world.handle().shared;
    let delivery = shared.store.delivery(None, &scene.delivery).await.unwrap().unwrap();
    assert!(shared.inbox.take(0).reviewed.is_empty());
    let waits_for = format!("a review of the branch `{BRANCH}`");
    let concluded = Concluded::waits(Some(key("fraud")), waits_for, None);
    let conclusion = Conclusion { delivery, concluded, keep: Keep::Parked(key("fraud")) };
    conclude_all(&shared, vec![conclusion], shared.clock.now());
    assert_eq!(shared.inbox.take(0).reviewed, [key("fraud")].into());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_seen_closed_after_a_round_began_is_not_open_again_by_its_list() {
    // The round has begun, and listed it as open.
    let mut scene = Scene::new().await;
    scene.says.lock().unwrap().state = "closed";
    scene.ask().await;
    assert_eq!(scene.review().await, ("closed", Some(4)));
    scene.far.world.run().await;
    assert_eq!(scene.delivery().await.state, DeliveryState::Refused);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_people_open_again_is_open_by_the_next_round() {
    let mut scene = Scene::new().await;
    scene.says.lock().unwrap().state = "closed";
    scene.ask().await;
    scene.says.lock().unwrap().state = "open";
    let shared = scene.far.world.handle().shared;
    let mut rounds = Rounds::of_who_leads(&shared, &scene.forge);
    // The round begins, then asks about it.
    for _ in 0..2 {
        rounds.turn(&shared, &scene.forge).await;
    }
    assert_eq!(scene.review().await, ("awaiting-review", Some(4)));
}
