//! A store that refuses what Git has already.

use std::sync::atomic::Ordering;

use futures_util::FutureExt as _;

use super::*;
use crate::worker::storing::{Storing, TURNS_BEHIND_MAX};

#[tokio::test]
async fn while_the_store_refuses_a_way_back_is_taken_and_nothing_else() {
    let mut world = with_fraud().await;
    world.put("fraud", single("8")).await;
    let shared = world.handle().shared.clone();
    let is_behind = &shared.state.is_store_behind;
    is_behind.store(true, Ordering::Relaxed);
    match world.ask(put("fraud", single("9"))).await {
        Err(Fault::Unavailable { sentence, .. }) => assert!(sentence.contains("look at its disk"), "{sentence}"),
        other => panic!("not refused: {other:?}"),
    }
    let back = world.act("fraud", Act::Rollback { to: None }).await;
    assert_eq!(back.release.unwrap().release.stable().unwrap().version.as_str(), "7");
    assert!(!is_behind.load(Ordering::Relaxed), "it has taken that");
}

#[tokio::test]
async fn turns_go_on_behind_a_store_that_refuses_up_to_a_bound() {
    let world = World::immediate().await;
    let shared = world.handle().shared.clone();
    let mut storing = Storing { newest: Some(tokio::spawn(std::future::pending())), turns: 1 };
    assert!(storing.is_durable(&shared).now_or_never().is_none(), "it may take it yet");
    shared.state.is_store_behind.store(true, Ordering::Relaxed);
    assert!(!storing.is_durable(&shared).await);
    storing.turns = TURNS_BEHIND_MAX;
    assert!(storing.is_durable(&shared).now_or_never().is_none(), "too many wait");
    if let Some(newest) = &storing.newest {
        newest.abort();
    }
    assert!(storing.is_durable(&shared).await, "what is lost is not waited for");
    assert_eq!(storing.turns, 0);
}
