//! Whether the service says that it is ready while nothing can be released.

use super::remote::Far;
use super::*;
use crate::event::DeliveryState;
use crate::store::DeliveryQuery;
use crate::worker::conclusion::{Concluded, Conclusion, Keep};
use crate::worker::conveyor::{Conveyor, Work};

/// How long a delivery is left alone yet that failed.
async fn left_alone(far: &Far, delivery: &str) -> Duration {
    let next = far.world.handle().delivery(delivery).await.unwrap().next_attempt_at.expect("it failed");
    Duration::try_from(next.duration_since(far.world.clock.now_exact())).unwrap_or_default()
}

#[tokio::test]
async fn while_the_remote_is_away_what_has_nothing_to_do_with_it_does_not_say_that_it_is_back() {
    let mut far = Far::new().await;
    far.world.put("fraud", single("7")).await;
    far.is_there(false);
    let asked = far.world.handle().request(put("fraud", single("8")), Duration::from_millis(10)).await;
    let Ok(Answer::Queued { delivery, .. }) = asked else { panic!("{asked:?}") };
    far.world.run().await;
    // It is left alone for longer each time, by chance.
    while left_alone(&far, &delivery).await < Duration::from_secs(10) {
        far.world.clock.advance(Duration::from_secs(10));
        far.world.run().await;
    }
    let away = far.world.handle().ready().await.unwrap();
    assert!(away.as_ref().is_some_and(|away| away.contains("there is no Git repository at its address")), "{away:?}");
    let before = far.world.handle().delivery(&delivery).await.unwrap();
    // Something new ends the pause early, and concerns nothing here.
    far.world.clock.advance(Duration::from_secs(6));
    assert_eq!(far.world.event("nobody", alias("other", "1")).await.state, DeliveryState::Ignored);
    assert_eq!(far.world.handle().ready().await.unwrap(), away);
    assert_eq!(far.world.handle().delivery(&delivery).await.unwrap(), before, "it is not tried before its time");
    far.is_there(true);
    far.world.turn_clock(10).await;
    assert_eq!(far.world.state("fraud").await, "single settled live=8");
    assert_eq!(far.world.handle().ready().await, Ok(None));
}

#[tokio::test]
async fn a_turn_that_only_tells_what_was_concluded_shows_nothing_of_the_branch() {
    let mut far = Far::new().await;
    far.world.put("fraud", single("7")).await;
    let shared = far.world.handle().shared;
    let newest = DeliveryQuery { limit: 1, ..DeliveryQuery::default() };
    let delivery = shared.store.deliveries(newest).await.unwrap().remove(0);
    let concluded = Concluded::unchanged(key("fraud"), "it is already so".to_owned());
    let told = Conclusion { delivery, concluded, keep: Keep::No };
    let embedded = with_fraud().await;
    let far_away = (shared, Work { concluded: vec![told.clone()], ..Work::default() });
    let here = (embedded.handle().shared, Work { concluded: vec![told], ..Work::default() });
    for (shared, mut work) in [far_away, here] {
        let mut conveyor = Conveyor::new(shared.repository.tip().unwrap());
        assert!(!conveyor.turn(&shared, &mut work).await.unwrap().is_proof);
        let mut look = Work { look_at_repository: true, ..work };
        assert!(conveyor.turn(&shared, &mut look).await.unwrap().is_proof);
    }
}
