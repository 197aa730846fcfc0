//! What came by a review is taken back by a person's `git revert`: the older state is known again, however the pull request that brought it was merged.

use super::rounds::reviewed;
use super::*;

const BRANCH: &str = "kmlflow/production/models/fraud";

#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_reverts_is_taken_over_however_it_had_come() {
    for way in ["--squash", "--no-ff"] {
        let (mut far, _forge, _says) = reviewed().await;
        let ask = async |far: &mut remote::Far, version: &str| {
            let asked = far.world.handle().request(put("fraud", single(version)), Duration::from_millis(10)).await;
            assert!(matches!(asked, Ok(Answer::Queued { .. })), "{way}: {asked:?}");
            far.world.run().await;
        };
        for version in ["8", "9"] {
            ask(&mut far, version).await;
            far.merge(BRANCH, way);
            far.look().await;
            assert_eq!(far.world.state("fraud").await, format!("single settled live={version}"), "{way}");
        }
        let theirs = far.revert();
        far.look().await;
        assert_eq!(far.world.actions().last().map(String::as_str), Some("adopt"), "{way}");
        assert_eq!(far.at_remote(&["rev-parse", "main^"]), theirs, "{way}: the service's commit is on theirs");
        for start in ["running", "started anew"] {
            let view = far.world.view("fraud").await;
            assert_eq!((view.files.len(), view.notes), (0, Vec::<String>::new()), "{way}, {start}");
            assert_eq!(far.world.state("fraud").await, "single settled live=8", "{way}, {start}");
            far.world.start().await;
        }
        ask(&mut far, "9").await;
        assert!(!far.at_remote(&["branch", "--list", BRANCH]).is_empty(), "{way}: the next request needs no consent");
    }
}
