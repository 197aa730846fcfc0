//! A start at a remote that says no, is away, or has moved on.

use super::remote::Far;
use super::*;
use crate::git::remote;

#[tokio::test]
async fn a_start_bears_what_running_bears_and_goes_on_once_it_is_mended() {
    let mut far = Far::new().await;
    far.world.put("fraud", single("7")).await;
    let renamed = |far: &Far, from, to| drop(far.at_remote(&["branch", "-m", from, to]));
    let was_at = far.at_remote(&["rev-parse", "main"]);
    let no_branch = format!(
        "the remote has no branch `main`; its default branch is `trunk`; it was deleted there, or renamed, after commit {was_at}; put it back with `git push origin {was_at}:refs/heads/main` in a clone that has this commit (`clone.git` in the service's data directory has it, there with the remote's address for `origin`), or name the other one in `git.branch`; `kmlflow init` would lose its history"
    );
    let no_remote = "there is no Git repository at its address, or the account does not see it; check the address, and that the account may read the repository";
    for (version, waits_for) in [("8", no_branch.as_str()), ("9", no_remote)] {
        if version == "8" {
            renamed(&far, "main", "trunk");
        } else {
            far.is_there(false);
        }
        far.world.start().await;
        assert_eq!(far.world.handle().ready().await, Ok(Some(waits_for.to_owned())));
        assert!(far.world.state("fraud").await.starts_with("single settled live="), "what it has is read");
        assert_eq!(far.queued(put("fraud", single(version))).await, waits_for);
        if version == "8" {
            renamed(&far, "trunk", "main");
        } else {
            far.is_there(true);
        }
        far.world.turn_clock(10).await;
        assert_eq!(far.world.state("fraud").await, format!("single settled live={version}"));
        assert_eq!(far.world.handle().ready().await, Ok(None));
    }
    let subjects = far.subjects();
    assert_eq!(subjects.len(), 3, "{subjects:?}");
}

#[tokio::test]
async fn while_a_push_hangs_it_is_said_for_how_long_the_remote_has_not_answered() {
    let mut far = Far::new().await;
    let [_begun, go] = far.hang();
    let handle = far.world.handle();
    let watched = async {
        let asked = handle.request(put("fraud", single("7")), Duration::from_millis(10)).await;
        assert!(matches!(asked, Ok(Answer::Queued { .. })), "{asked:?}");
        let begun = std::time::Instant::now();
        let mut said = None;
        while said.is_none() && begun.elapsed() < Duration::from_secs(20) {
            said = handle.ready().await.unwrap();
        }
        std::fs::write(go, "").unwrap();
        said
    };
    let (said, ()) = tokio::join!(watched, far.world.run());
    let said = said.expect("what nothing is released for");
    assert!(said.starts_with("the remote has not answered for ") && said.ends_with(" s"), "{said}");
    assert_eq!(handle.ready().await, Ok(None));
}

#[tokio::test]
async fn what_was_pushed_while_a_start_could_not_look_is_taken_in_without_being_told_of() {
    let mut far = Far::new().await;
    far.world.put("fraud", single("7")).await;
    far.world.kill();
    far.push("README.md", "A person's");
    far.is_there(false);
    far.world.start().await;
    far.world.run().await;
    far.is_there(true);
    far.world.turn_clock(10).await;
    far.world.put("fraud", single("8")).await;
    assert_eq!(far.world.handle().ready().await, Ok(None));
    assert!(far.at_remote(&["log", "-2", "--format=%s", "main"]).ends_with("By hand"));
}

#[tokio::test]
async fn a_clone_that_cannot_be_made_leaves_the_one_that_is_there() {
    let mut far = Far::new().await;
    far.world.put("fraud", single("7")).await;
    far.world.kill();
    let clone = far.world.dir.path().join("clone.git");
    let of_main = far.world.remote.clone();
    let other = remote::Branch::parse("release").unwrap();
    far.world.remote = of_main
        .clone()
        .map(|settings| RemoteSettings { remote: remote::Settings { branch: other, ..settings.remote }, ..settings });
    let error = open(far.world.settings(), far.world.clock.clone()).await.map(drop).unwrap_err();
    assert_eq!(error.waits_for(), Some("the remote of its repository"));
    assert!(error.for_callers().contains("no branch `release`"), "{error}");
    far.world.remote = of_main;
    far.is_there(false);
    assert!(clone.is_dir());
    far.world.start().await;
    assert_eq!(far.world.state("fraud").await, "single settled live=7");
}
