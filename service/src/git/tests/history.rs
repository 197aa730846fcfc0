use super::beside::settings;
use super::*;
use crate::command;
use crate::git::remote::History;

#[test]
fn the_history_comes_oldest_first_with_the_releases_of_each_commit() {
    let fixture = Fixture::new();
    let seeded = fixture.repository.tip().unwrap();
    let first = fixture.release("production/models/fraud", "a");
    let second = fixture.release("staging/models/churn", "b");
    let repository = &fixture.repository;
    let mut draft = repository.draft(&second).unwrap();
    let edits = vec![
        remove("releases/production"),
        put("releases/staging/models/churn/seldon.yaml", "c"),
        put("releases/staging/other/new/release.yaml", "d"),
        put("policies/default.yaml", "e"),
    ];
    let third = draft.commit(edits, "Several\n\nat once", &author(), now()).unwrap().unwrap();
    assert_eq!(repository.push_now(&second, &third).unwrap(), Publish::Done);
    let log = repository.log(None, &third).unwrap();
    let commits: Vec<&CommitId> = log.iter().map(|entry| &entry.commit).collect();
    assert_eq!(commits, [&seeded, &first, &second, &third]);
    let changed: Vec<Vec<String>> = log.iter().map(|entry| entry.changed.clone()).collect();
    assert_eq!(changed[0], [""; 0]);
    assert_eq!(changed[1], ["releases/production/models/fraud"]);
    assert_eq!(changed[2], ["releases/staging/models/churn"]);
    assert_eq!(
        changed[3],
        ["releases/production/models/fraud", "releases/staging/models/churn", "releases/staging/other/new"]
    );
    assert_eq!(log[1].trailers.last(), Some(&("Action".to_owned(), "step".to_owned())));
    assert_eq!((log[3].at, &log[3].author), (now(), &author()));
    assert_eq!(repository.log(Some(&first), &third).unwrap(), log[2..]);
    assert_eq!(repository.log(Some(&third), &third).unwrap(), []);
}

#[test]
fn a_merge_changes_only_what_no_side_had() {
    let fixture = Fixture::new();
    let base = fixture.release("production/models/fraud", "a");
    let repository = &fixture.repository;
    let side = |key: &str| {
        let mut draft = repository.draft(&base).unwrap();
        let commit = draft.commit(files(key, "side"), key, &author(), now()).unwrap().unwrap();
        assert_eq!(repository.push_now(&base, &commit).unwrap(), Publish::Done);
        fixture.git(&["update-ref", "refs/heads/main", base.as_str()]);
        commit
    };
    let (left, right) = (side("production/models/left"), side("production/models/right"));
    let tree = fixture.git(&["merge-tree", "--write-tree", left.as_str(), right.as_str()]);
    let merge = fixture.git(&["commit-tree", "-m", "Merge", "-p", left.as_str(), "-p", right.as_str(), tree.trim()]);
    let merge = CommitId::parse(merge.trim()).unwrap();
    let log = repository.log(Some(&base), &merge).unwrap();
    assert_eq!(log.len(), 3);
    assert_eq!(log[2].changed, [""; 0]);
    assert!(repository.is_ancestor(&left, &merge).unwrap() && repository.is_ancestor(&merge, &merge).unwrap());
    assert!(!repository.is_ancestor(&left, &right).unwrap());
    let nowhere = CommitId::parse(&"a".repeat(40)).unwrap();
    assert_eq!(repository.is_known_ancestor(&left, &right).unwrap(), Some(false));
    assert_eq!(repository.is_known_ancestor(&left, &nowhere).unwrap(), None);
}

/// A commit of a release on some commit, that is on no branch.
fn aside(fixture: &Fixture, on: &CommitId, key: &str) -> CommitId {
    let main = fixture.repository.tip().unwrap();
    fixture.git(&["update-ref", "refs/heads/main", on.as_str()]);
    let mut draft = fixture.repository.draft(on).unwrap();
    let commit = draft.commit(files(key, "aside"), key, &author(), now()).unwrap().unwrap();
    assert_eq!(fixture.repository.push_now(on, &commit).unwrap(), Publish::Done);
    fixture.git(&["update-ref", "refs/heads/main", main.as_str()]);
    commit
}

fn merge(fixture: &Fixture, message: &str, parents: [&CommitId; 2]) -> CommitId {
    let [one, other] = parents.map(CommitId::as_str);
    let tree = fixture.git(&["merge-tree", "--write-tree", one, other]);
    let merge = fixture.git(&["commit-tree", "-m", message, "-p", one, "-p", other, tree.trim()]);
    CommitId::parse(merge.trim()).unwrap()
}

#[test]
fn the_line_of_a_branch_has_a_merge_and_not_what_it_brought() {
    let fixture = Fixture::new();
    let base = fixture.release("production/models/fraud", "a");
    let proposed = aside(&fixture, &base, "production/models/churn");
    let meanwhile = fixture.release("production/models/cards", "c");
    let merge = merge(&fixture, "Merge pull request #1", [&meanwhile, &proposed]);
    let repository = &fixture.repository;
    for from in [Some(&base), None] {
        let line = repository.line(from, &merge).unwrap();
        let [before, last] = &line[line.len() - 2..] else { panic!("{line:?}") };
        assert_eq!((&before.commit, &last.commit), (&meanwhile, &merge));
        assert_eq!((last.before.as_ref(), last.is_merge), (Some(&meanwhile), true));
        assert_eq!(last.changed, ["releases/production/models/churn"]);
        assert!(line.iter().all(|entry| entry.commit != proposed));
    }
    assert_eq!(repository.commits(&merge).unwrap().len(), 4);
    assert_eq!(repository.line(Some(&merge), &merge).unwrap(), []);
}

#[test]
fn the_line_stays_on_the_branch_where_somebody_took_it_into_a_history_of_their_own() {
    let fixture = Fixture::new();
    let base = fixture.release("production/models/fraud", "a");
    let theirs = aside(&fixture, &base, "production/models/churn");
    let ours = fixture.release("production/models/cards", "c");
    let line = |from: Option<&CommitId>, merge: &CommitId| -> Vec<CommitId> {
        let line = fixture.repository.line(from, merge).unwrap();
        line.into_iter().map(|entry| entry.commit).filter(|commit| [&theirs, &ours, merge].contains(&commit)).collect()
    };
    for message in
        ["Merge branch 'main' of git.example:team/gitops", "Join `main` into kmlflow/x", "Words of their own"]
    {
        let merge = merge(&fixture, message, [&theirs, &ours]);
        // What is known of where the branch was says more than any word.
        assert_eq!(line(Some(&ours), &merge), std::slice::from_ref(&merge), "{message}");
        let side = if message.starts_with("Words") { &theirs } else { &ours };
        assert_eq!(line(None, &merge), [side.clone(), merge.clone()], "{message}");
        assert_eq!(line(Some(&base), &merge), [side.clone(), merge.clone()], "{message}");
    }
    assert!(!says_join("Merge branch 'maintenance'", "main") && !says_join("Merge branch 'x' into main", "main"));
}

#[test]
fn changed_names_every_file_that_differs() {
    let fixture = Fixture::new();
    let first = fixture.release("production/models/fraud", "a");
    let mut draft = fixture.repository.draft(&first).unwrap();
    let edits =
        vec![remove("README.md"), put("releases/production/models/fraud/release.yaml", "x"), put("new/file", "y")];
    let second = draft.commit(edits, "x", &author(), now()).unwrap().unwrap();
    assert_eq!(fixture.repository.push_now(&first, &second).unwrap(), Publish::Done);
    let changed = fixture.repository.changed(&first, &second).unwrap();
    assert_eq!(changed, ["README.md", "new/file", "releases/production/models/fraud/release.yaml"]);
    assert_eq!(fixture.repository.changed(&second, &second).unwrap(), [""; 0]);
}

#[tokio::test]
async fn what_the_older_history_would_say_is_not_known_before_it_is_fetched() {
    let directory = tempfile::tempdir().unwrap();
    let run = |place: &str, arguments: &[&str]| text(git(&directory.path().join(place), arguments)).trim().to_owned();
    run("", &["init", "-q", "--bare", "--initial-branch=main", "remote.git"]);
    run("", &["clone", "-q", "remote.git", "person"]);
    let push = |message: &str| {
        run("person", &["commit", "-q", "--allow-empty", "-m", message]);
        run("person", &["push", "-q", "origin", "HEAD:main"]);
        CommitId::parse(&run("person", &["rev-parse", "HEAD"])).unwrap()
    };
    let (first, second) = (push("first"), push("second"));
    let program = command::Git::find(None).await.unwrap();
    let at = directory.path().join("clone.git");
    let clone = Repository::open_clone(&at, settings(directory.path()), &program, History::Tip).await.unwrap();
    let third = push("third");
    clone.look().await.unwrap();
    let known = |ancestor: &CommitId, commit: &CommitId| clone.is_known_ancestor(ancestor, commit).unwrap();
    assert_eq!([known(&second, &third), known(&second, &second)], [Some(true); 2]);
    assert_eq!([known(&first, &third), known(&third, &second)], [None; 2], "the clone begins at the second");
    clone.complete().await.unwrap();
    assert_eq!([known(&first, &third), known(&third, &second)], [Some(true), Some(false)]);
}
