//! Branches of reviews that people rewrite: rebased, amended, reset, or theirs from the beginning.

use super::held_reviews::Scene;
use super::*;
use crate::release::RefusalKind;

const BRANCH: &str = "kmlflow/production/models/fraud";
const DOCUMENT: &str = "releases/production/models/fraud/release.yaml";

impl Scene {
    /// One that waits for people alone.
    async fn of_people() -> Self {
        let scene = Self::new().await;
        {
            let mut says = scene.says.lock().unwrap();
            (says.is_to_merge, says.merges) = (false, Some("Auto merge is not enabled"));
        }
        scene
    }

    /// Ann takes the branch of the review out.
    fn takes_out(&self) {
        self.far.person(&["fetch", "-q"]);
        self.far.person(&["checkout", "-q", "-B", "work", &format!("origin/{BRANCH}")]);
    }

    /// Ann writes the document anew, with three replicas.
    fn edits(&self) {
        let directory = self.far.person(&["rev-parse", "--show-toplevel"]);
        let file = std::path::Path::new(&directory).join(DOCUMENT);
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.contains("replicas: 1"), "{text}");
        std::fs::write(&file, text.replace("replicas: 1", "replicas: 3")).unwrap();
    }

    /// Ann pushes what she has, whatever was there; the service sees it.
    async fn pushes(&mut self) -> String {
        self.far.person(&["push", "-q", "--force", "origin", &format!("HEAD:refs/heads/{BRANCH}")]);
        let head = self.far.person(&["rev-parse", "HEAD"]);
        self.far.look().await;
        assert_eq!(self.branch_at(), head);
        head
    }

    fn branch_at(&self) -> String {
        self.far.at_remote(&["rev-parse", BRANCH])
    }

    async fn asks(&mut self, release: &str, requested: Requested) -> Result<Answer, Fault> {
        let requested = Requested { key: key(release), ..requested };
        let handle = self.far.world.handle();
        let asked = tokio::spawn(async move { handle.request(requested, Duration::from_secs(60)).await });
        while !asked.is_finished() {
            self.far.world.run().await;
            self.ask().await;
            super::pause().await;
        }
        asked.await.unwrap()
    }

    /// Ann's commit is not written over by what is newer, nor by a restart.
    async fn keeps(&mut self, head: &str, did: &str) {
        let refused = refusal(self.asks("fraud", put("fraud", single("9"))).await);
        assert_eq!(refused.kind, RefusalKind::Conflict, "{refused:?}");
        let expected =
            format!("Ann {did} the commit {} {} the branch", &head[..12], if did == "added" { "to" } else { "on" });
        assert!(refused.reason.starts_with(&expected), "{refused:?}");
        self.far.world.kill();
        self.far.world.start().await;
        self.far.world.run().await;
        assert_eq!(self.branch_at(), head, "not at a start either");
        assert!(refused.cure.unwrap().contains("force"));
        let mut forced = put("fraud", single("9"));
        forced.guard.force = true;
        let asked = self.far.world.handle().request(forced, Duration::from_millis(10)).await;
        assert!(matches!(asked, Ok(Answer::Queued { .. })), "{asked:?}");
        self.far.world.run().await;
        assert_ne!(self.branch_at(), head);
        self.far.at_remote(&["merge-base", "--is-ancestor", head, BRANCH]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_added_and_rebased_is_not_written_over() {
    let mut scene = Scene::of_people().await;
    scene.takes_out();
    scene.edits();
    scene.far.person(&["commit", "-q", "-a", "-m", "Three replicas, as agreed"]);
    scene.far.person(&["checkout", "-q", "main"]);
    scene.far.push("README.md", "somebody else");
    scene.far.person(&["checkout", "-q", "work"]);
    scene.far.person(&["rebase", "-q", "origin/main"]);
    let head = scene.pushes().await;
    scene.keeps(&head, "added").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_made_of_the_services_own_commit_is_not_written_over() {
    let mut scene = Scene::of_people().await;
    scene.takes_out();
    scene.edits();
    scene.far.person(&["commit", "-q", "-a", "--amend", "--no-edit"]);
    let head = scene.pushes().await;
    scene.keeps(&head, "rewrote").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_only_rebased_is_still_the_services_and_gone_on_from() {
    let mut scene = Scene::of_people().await;
    scene.far.push("README.md", "somebody else");
    scene.takes_out();
    scene.far.person(&["rebase", "-q", "origin/main"]);
    let head = scene.pushes().await;
    let asked = scene.far.world.handle().request(put("fraud", single("9")), Duration::from_millis(10)).await;
    assert!(matches!(asked, Ok(Answer::Queued { .. })), "{asked:?}");
    scene.far.world.run().await;
    assert_ne!(scene.branch_at(), head);
    scene.far.at_remote(&["merge-base", "--is-ancestor", &head, BRANCH]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_branch_that_is_somebodys_from_the_beginning_is_left_to_them() {
    let mut scene = Scene::of_people().await;
    scene.far.pull();
    scene.far.commit("mine.txt", "a day of work");
    let theirs = "kmlflow/production/models/other";
    scene.far.person(&["push", "-q", "origin", &format!("HEAD:refs/heads/{theirs}")]);
    let mine = scene.far.person(&["rev-parse", "HEAD"]);
    scene.far.look().await;
    let refused = refusal(scene.asks("other", put("other", single("7"))).await);
    assert!(
        refused.reason.contains(&format!("Ann added the commit {} to the branch `{theirs}`", &mine[..12])),
        "{refused:?}"
    );
    assert_eq!(scene.far.at_remote(&["rev-parse", theirs]), mine);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_took_off_the_branch_altogether_is_put_there_again() {
    let mut scene = Scene::of_people().await;
    let before = scene.branch_at();
    scene.far.at_remote(&["update-ref", &format!("refs/heads/{BRANCH}"), "main"]);
    scene.is_at_the_forge();
    scene.ask().await;
    scene.far.world.run().await;
    let after = scene.branch_at();
    assert!(after != before && after != scene.far.at_remote(&["rev-parse", "main"]));
    scene.is_at_the_forge();
    scene.ask().await;
    assert_eq!(scene.review().await, ("awaiting-review", Some(4)));
}
