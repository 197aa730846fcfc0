//! A pull request that a person has merged into another branch is not the review any more.

use super::held_reviews::Scene;
use crate::event::DeliveryState;

const BRANCH: &str = "kmlflow/production/models/fraud";

impl Scene {
    /// A person has the pull request merged into `next`; it is in this state by when the service looks.
    fn is_sent_elsewhere(&self, state: &'static str) {
        self.says.lock().unwrap().elsewhere = Some((4, state));
    }

    /// What was said of a pull request since the first comment of its review.
    fn said_of(&self, number: u64) -> Vec<String> {
        let says = self.says.lock().unwrap();
        says.comments.iter().filter(|(of, _)| *of == number).map(|(_, said)| said.clone()).collect()
    }

    fn branch(&self) -> String {
        self.far.at_remote(&["for-each-ref", "--format=%(objectname)", &format!("refs/heads/{BRANCH}")])
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_sends_elsewhere_or_merges_there_is_proposed_anew_and_says_so_once() {
    for state in ["open", "merged"] {
        let mut scene = Scene::new().await;
        let before = scene.branch();
        scene.is_sent_elsewhere(state);
        scene.ask().await;
        scene.ask().await;
        assert_eq!(scene.review().await, ("awaiting-review", Some(5)), "{state}");
        let said = scene.said_of(4);
        assert!(said.len() == 1 && said[0].contains("**Not the review any more**: this goes into next"), "{said:?}");
        assert!(said[0].ends_with("The review is https://forge.example/team/gitops/pull/5 now."), "{said:?}");
        assert_eq!(scene.branch(), before, "{state}: it is the same proposal");
        assert_eq!(scene.delivery().await.state, DeliveryState::Accepted);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_branch_that_went_with_a_merge_elsewhere_is_put_there_again() {
    let mut scene = Scene::new().await;
    scene.is_sent_elsewhere("merged");
    scene.far.at_remote(&["branch", "-q", "-D", BRANCH]);
    scene.ask().await;
    scene.far.world.run().await;
    scene.is_at_the_forge();
    scene.ask().await;
    assert_eq!(scene.review().await, ("awaiting-review", Some(5)));
    assert!(!scene.branch().is_empty());
    assert_eq!(scene.delivery().await.state, DeliveryState::Accepted);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_branch_of_a_review_that_is_over_stays_for_what_goes_elsewhere_from_it_and_that_is_not_closed() {
    let mut scene = Scene::new().await;
    scene.is_sent_elsewhere("open");
    scene.ask().await;
    scene.withdraw(5).await;
    assert!(!scene.branch().is_empty());
    assert_eq!(scene.says.lock().unwrap().elsewhere, Some((4, "open")));
}
