use super::*;

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
