//! A remote that does not move the branch although nobody else did: that is its trouble, not somebody's push.

use std::fs;

use super::remote::Far;
use super::*;

#[tokio::test]
async fn a_branch_that_nobody_moved_is_no_sign_of_others_and_each_turn_tries_once() {
    let mut far = Far::new().await;
    let pushes = far.remote().join("pushes");
    far.hook("pre-receive", &format!("echo one >> {}", pushes.display()));
    let lock = far.remote().join("refs/heads/main.lock");
    fs::write(&lock, "").unwrap();
    let waits_for = far.queued(put("fraud", single("7"))).await;
    assert!(waits_for.contains("does not move the branch, though nobody else did"), "{waits_for}");
    let tried = |far: &Far| fs::read_to_string(far.remote().join("pushes")).unwrap().lines().count();
    assert_eq!(tried(&far), 1);

    fs::remove_file(lock).unwrap();
    // Not for everything that comes, but soon, and what waited goes along.
    assert!(far.queued(put("other", single("1"))).await.contains("does not move"));
    assert_eq!(tried(&far), 1);
    far.world.clock.advance(Duration::from_secs(5));
    far.world.put("third", single("1")).await;
    assert_eq!(far.subjects().len(), 3);
    assert_eq!(far.world.state("fraud").await, "single settled live=7");
}
