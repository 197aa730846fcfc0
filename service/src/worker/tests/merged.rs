//! What the history has of a review that was merged, in each of the ways in which forges and people do that.

use super::*;
use crate::git::Edit;
use crate::git::tests::{git, text};
use crate::worker::deliveries::DoneBefore;
use crate::worker::history::{says_ours, walk};
use crate::worker::review::merged_as;

const BRANCH: &str = "kmlflow/production/models/fraud";

/// A repository with one release, and what is proposed for it.
struct Scene {
    dir: TempDir,
    repository: Repository,
    base: CommitId,
}

/// What a walk found: of each commit that changed the release the commit, by which intent, and which version.
type Rows = Vec<(CommitId, String, String)>;

impl Scene {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let repository = open_repository(dir.path());
        let seeded = repository.tip().unwrap();
        let mut scene = Self { dir, repository, base: seeded.clone() };
        scene.base = scene.proposal(&seeded, ("r0", "d0"), "7", None);
        scene.move_to(&scene.base);
        scene
    }

    fn git(&self, arguments: &[&str]) -> String {
        text(git(&self.dir.path().join("gitops.git"), arguments)).trim().to_owned()
    }

    fn move_to(&self, commit: &CommitId) {
        self.git(&["update-ref", "refs/heads/main", commit.as_str()]);
    }

    /// A commit by somebody that is on no branch.
    fn commit(&self, on: &CommitId, who: &Author, message: &str, edits: Vec<Edit>) -> CommitId {
        let main = self.repository.tip().unwrap();
        self.move_to(on);
        let mut draft = self.repository.draft(on).unwrap();
        let commit = draft.commit(edits, message, who, NOW.parse().unwrap()).unwrap().unwrap();
        assert_eq!(self.repository.push_now(on, &commit).unwrap(), crate::git::Publish::Done);
        self.move_to(&main);
        commit
    }

    /// The service's commit that proposes a version.
    fn proposal(
        &self,
        on: &CommitId,
        (id, delivery): (&str, &str),
        version: &str,
        supersedes: Option<&str>,
    ) -> CommitId {
        self.commit(on, &author(), &words((id, delivery), supersedes), release(version))
    }

    /// A person's commit.
    fn by_hand(&self, on: &CommitId, edits: Vec<Edit>) -> CommitId {
        self.commit(on, &ann(), "By hand\n", edits)
    }

    fn merge(&self, into: &CommitId, other: &CommitId) -> CommitId {
        let tree = self.git(&["merge-tree", "--write-tree", into.as_str(), other.as_str()]);
        let merge = ["commit-tree", "-m", "Merge pull request #1", "-p", into.as_str(), "-p", other.as_str(), &tree];
        CommitId::parse(&self.git(&merge)).unwrap()
    }

    /// Where the branch of the review was seen.
    fn stands_at(&self, commit: &CommitId) {
        self.git(&["update-ref", &format!("refs/kmlflow/beside/{BRANCH}"), commit.as_str()]);
    }

    fn walked(&self, from: Option<&CommitId>, to: &CommitId) -> (Rows, DoneBefore) {
        let line = self.repository.line(from, to).unwrap().into_iter();
        let came: Vec<_> =
            line.flat_map(|entry| merged_as(&self.repository, &author(), from, entry).unwrap()).collect();
        let walked = walk(&self.repository, &came, |entry| says_ours(entry, &author())).unwrap();
        let rows = walked.rows.into_iter().filter(|row| row.key == key("fraud"));
        let rows = rows.map(|row| (row.commit, row.release_id, row.version.to_string()));
        (rows.collect(), walked.done)
    }

    /// Checks what is known after the base: at once, and by a walk of the whole history where that can know.
    #[track_caller]
    fn check(&self, to: &CommitId, rows: &[(&CommitId, &str, &str)], done: &[(&str, &CommitId)], by_whole: bool) {
        let rows: Rows =
            rows.iter().map(|(commit, id, version)| ((*commit).clone(), (*id).into(), (*version).into())).collect();
        let found = self.walked(Some(&self.base), to);
        assert_eq!(found.0, rows);
        for (delivery, commit) in done {
            assert_eq!(found.1.get(*delivery), Some(&(key("fraud"), (*commit).clone())), "{delivery}");
        }
        assert_eq!(found.1.len(), done.len(), "{:?}", found.1);
        if by_whole {
            let whole = self.walked(None, to);
            assert_eq!(whole.0[1..], rows);
            assert_eq!(whole.1.len(), done.len() + 1, "{:?}", whole.1);
        }
    }
}

fn ann() -> Author {
    Author { name: "Ann".into(), email: "ann@example.org".into() }
}

fn words((id, delivery): (&str, &str), supersedes: Option<&str>) -> String {
    let supersedes = supersedes.map(|id| format!("Supersedes: {id}\n")).unwrap_or_default();
    format!(
        "release(production/models/fraud): update\n\nRelease-Id: {id}\nDelivery-Id: {delivery}\nAction: update\n{supersedes}"
    )
}

fn release(version: &str) -> Vec<Edit> {
    let text = include_str!("../testdata/release.yaml").replace("version: '8'", &format!("version: '{version}'"));
    vec![Edit { path: path("release.yaml"), content: Some(text.into_bytes()) }]
}

fn other(text: &str) -> Vec<Edit> {
    vec![Edit { path: path("notes.txt"), content: Some(text.to_owned().into_bytes()) }]
}

#[test]
fn a_merge_has_the_state_that_it_put_in_force_and_none_that_never_was() {
    let scene = Scene::new();
    let first = scene.proposal(&scene.base, ("r1", "d1"), "8", None);
    let second = scene.proposal(&first, ("r2", "d2"), "9", Some("r1"));
    let meanwhile = scene.by_hand(&scene.base, vec![Edit { path: "README.md".into(), content: Some(b"x".to_vec()) }]);
    let merge = scene.merge(&meanwhile, &second);
    scene.check(&merge, &[(&second, "r2", "9")], &[("d2", &second)], true);
}

#[test]
fn of_what_one_intent_proposed_twice_the_last_counts() {
    let scene = Scene::new();
    let named = |proposal: &str, supersedes| format!("{}Proposal-Id: {proposal}\n", words(("r1", "d1"), supersedes));
    let propose = |at: &CommitId, version: &str, text: &str| scene.commit(at, &author(), text, release(version));
    let first = propose(&scene.base, "8", &named("p1", None));
    let second = propose(&first, "9", &named("p2", Some("p1")));
    let meanwhile = scene.by_hand(&scene.base, vec![Edit { path: "README.md".into(), content: Some(b"x".to_vec()) }]);
    let merge = scene.merge(&meanwhile, &second);
    scene.check(&merge, &[(&second, "r1", "9")], &[("d1", &second)], true);
}

#[test]
fn what_a_reviewer_changed_before_the_merge_is_theirs_and_what_was_asked_for_is_done() {
    let scene = Scene::new();
    let proposed = scene.proposal(&scene.base, ("r1", "d1"), "8", None);
    let reviewed = scene.by_hand(&proposed, release("9"));
    let merge = scene.merge(&scene.base, &reviewed);
    scene.check(&merge, &[(&merge, "", "9")], &[("d1", &proposed)], true);
}

#[test]
fn a_retraction_that_was_merged_is_in_the_history_and_what_was_asked_for_is_done() {
    let gone = || vec![Edit { path: path("release.yaml"), content: None }];
    let scene = Scene::new();
    let proposed = scene.commit(&scene.base, &author(), &words(("r1", "d1"), None), gone());
    let meanwhile = scene.by_hand(&scene.base, vec![Edit { path: "README.md".into(), content: Some(b"x".to_vec()) }]);
    let merge = scene.merge(&meanwhile, &proposed);
    scene.check(&merge, &[(&proposed, "r1", "7")], &[("d1", &proposed)], true);

    let by_hand = scene.by_hand(&scene.base, gone());
    scene.check(&by_hand, &[(&by_hand, "", "7")], &[], true);
}

#[test]
fn two_changes_of_one_release_that_meet_in_a_merge_are_nobodys_proposal_and_it_is_done() {
    let scene = Scene::new();
    let proposed = scene.proposal(&scene.base, ("r1", "d1"), "8", None);
    let meanwhile = scene.by_hand(&scene.base, other("theirs"));
    let merge = scene.merge(&meanwhile, &proposed);
    scene.check(&merge, &[(&meanwhile, "", "7"), (&merge, "", "8")], &[("d1", &proposed)], true);
}

#[test]
fn a_squash_speaks_as_the_proposal_whose_files_it_has() {
    let scene = Scene::new();
    let first = scene.proposal(&scene.base, ("r1", "d1"), "8", None);
    let second = scene.proposal(&first, ("r2", "d2"), "9", Some("r1"));
    scene.stands_at(&second);
    let squashed = scene.by_hand(&scene.base, release("9"));
    scene.check(&squashed, &[(&squashed, "r2", "9")], &[("d2", &squashed)], false);
}

#[test]
fn a_squash_with_a_reviewers_change_is_theirs_and_what_was_asked_for_is_done() {
    let scene = Scene::new();
    let first = scene.proposal(&scene.base, ("r1", "d1"), "8", None);
    let second = scene.proposal(&first, ("r2", "d2"), "10", Some("r1"));
    scene.stands_at(&scene.by_hand(&second, release("9")));
    let squashed = scene.by_hand(&scene.base, release("9"));
    scene.check(&squashed, &[(&squashed, "", "9")], &[("d2", &squashed)], false);
}

#[test]
fn what_is_like_no_state_of_the_branch_is_somebodys_alone() {
    let scene = Scene::new();
    let proposed = scene.proposal(&scene.base, ("r1", "d1"), "8", None);
    scene.stands_at(&scene.by_hand(&proposed, release("9")));
    let by_hand = scene.by_hand(&scene.base, release("10"));
    scene.check(&by_hand, &[(&by_hand, "", "10")], &[], true);
}

#[test]
fn a_rebase_speaks_as_each_proposal_but_for_what_never_was_in_force() {
    let scene = Scene::new();
    let first = scene.proposal(&scene.base, ("r1", "d1"), "8", None);
    let second = scene.proposal(&first, ("r2", "d2"), "9", Some("r1"));
    scene.stands_at(&second);
    let meanwhile = scene.by_hand(&scene.base, vec![Edit { path: "README.md".into(), content: Some(b"x".to_vec()) }]);
    let again = scene.commit(&meanwhile, &ann(), &words(("r1", "d1"), None), release("8"));
    let last = scene.commit(&again, &ann(), &words(("r2", "d2"), Some("r1")), release("9"));
    scene.check(&last, &[(&last, "r2", "9")], &[("d2", &last)], false);
}

#[test]
fn a_fast_forward_over_a_join_stays_on_the_branch() {
    let scene = Scene::new();
    let first = scene.proposal(&scene.base, ("r1", "d1"), "8", None);
    let meanwhile = scene.by_hand(&scene.base, other("theirs"));
    scene.move_to(&first);
    let mut draft = scene.repository.draft(&first).unwrap();
    let message = crate::git::join_message("main", BRANCH);
    draft.join(&meanwhile, &message, &author(), NOW.parse().unwrap()).unwrap();
    let second = draft.commit(release("9"), &words(("r2", "d2"), Some("r1")), &author(), NOW.parse().unwrap());
    let second = second.unwrap().unwrap();
    assert_eq!(scene.repository.push_now(&first, &second).unwrap(), crate::git::Publish::Done);
    scene.check(&second, &[(&meanwhile, "", "7"), (&second, "r2", "9")], &[("d2", &second)], true);
}

#[test]
fn what_the_service_released_stays_where_somebody_pulled_and_pushed_their_merge() {
    let scene = Scene::new();
    let theirs = scene.by_hand(&scene.base, vec![Edit { path: "README.md".into(), content: Some(b"x".to_vec()) }]);
    let ours = scene.proposal(&scene.base, ("r1", "d1"), "8", None);
    let tree = scene.git(&["merge-tree", "--write-tree", theirs.as_str(), ours.as_str()]);
    let pull = |message: &str| {
        let merge = ["commit-tree", "-m", message, "-p", theirs.as_str(), "-p", ours.as_str(), &tree];
        CommitId::parse(&scene.git(&merge)).unwrap()
    };
    // However it says so: who looks only now finds it by its files.
    for message in ["Merge branch 'main' of git.example:team/gitops", "Words of their own"] {
        scene.check(&pull(message), &[(&ours, "r1", "8")], &[("d1", &ours)], true);
    }
}
