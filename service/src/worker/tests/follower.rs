//! A replica that follows: what it sees of what the leader did.

use super::remote::Far;
use super::*;
use crate::store::Batch;
use crate::worker::replica::{catch_up, step_down};

#[tokio::test]
async fn who_follows_sees_what_was_done_while_its_clone_has_the_tip_alone() {
    let mut far = Far::without_start().await;
    far.push("README.md", "words");
    far.world.start().await;
    let shared = far.world.handle().shared;
    step_down(&shared, shared.repository.tip().unwrap()).await;
    assert!(!shared.repository.is_complete());
    assert_eq!(shared.policy_set().problems, [""; 0]);
    // Another one leads, and has taken that in.
    let done = far.push("policies/broken.yaml", "nonsense");
    let indexed_tip = Some(CommitId::parse(&done).unwrap());
    shared.store.commit(Batch { indexed_tip, ..Batch::default() }).await.unwrap();
    catch_up(&shared).await.unwrap();
    assert_eq!(shared.policy_set().problems.len(), 1);
    assert!(!shared.repository.is_complete(), "nothing more was fetched for it");
}
