use git2::ObjectType;

use super::*;
use crate::git::objects::{Data, Object};
use crate::git::repository::oid;

fn commit(draft: &mut Draft<'_>, edits: Vec<Edit>) -> Option<CommitId> {
    draft.commit(edits, "x", &author(), now()).unwrap()
}

#[test]
fn equal_tree_makes_no_commit() {
    let fixture = Fixture::new();
    let tip = fixture.release("production/models/fraud", "a");
    let mut draft = fixture.repository.draft(&tip).unwrap();
    assert_eq!(commit(&mut draft, files("production/models/fraud", "a")), None);
    assert_eq!(commit(&mut draft, vec![remove("releases/production/nowhere"), remove("nothing.yaml")]), None);
    assert_eq!(commit(&mut draft, Vec::new()), None);
    assert_eq!(draft.tip(), &tip);
}

#[test]
fn the_second_commit_of_a_draft_sees_the_first() {
    let fixture = Fixture::new();
    let base = fixture.repository.tip().unwrap();
    let mut draft = fixture.repository.draft(&base).unwrap();
    let first = commit(&mut draft, files("production/models/fraud", "a")).unwrap();
    let second = commit(&mut draft, files("production/models/fraud", "b")).unwrap();
    let path = "releases/production/models/fraud/release.yaml";
    assert!(draft.read(path).unwrap().unwrap().ends_with(b"b\n"));
    assert!(fixture.repository.read(&first, path).unwrap().unwrap().ends_with(b"a\n"));
    assert_eq!(fixture.repository.tip().unwrap(), base, "a draft moves no branch");
    assert_eq!(draft.tip(), &second);
}

#[test]
fn only_files_that_changed_become_objects_and_they_are_deflated() {
    let fixture = Fixture::new();
    let tip = fixture.release("production/models/fraud", "a");
    let directory = "releases/production/models/fraud";
    let text = |line: &str| line.repeat(1_000);
    let edits = |first: &str, other: &str| {
        vec![put(&format!("{directory}/one.yaml"), &text(first)), put(&format!("{directory}/other.yaml"), &text(other))]
    };
    let mut draft = fixture.repository.draft(&tip).unwrap();
    commit(&mut draft, edits("a\n", "b\n")).unwrap();
    let commit = commit(&mut draft, edits("a\n", "c\n")).unwrap();
    let line = fixture.repository.made().line_to(oid(&commit).unwrap());
    let files: Vec<&Object> = line.iter().map(|(_, object)| object).filter(|o| o.kind == ObjectType::Blob).collect();
    assert_eq!(files.len(), 3, "two of the first commit, one of the second");
    for file in files {
        assert!(matches!(&file.data, Data::Deflated(bytes) if bytes.len() < file.size));
    }
}

#[test]
fn commits_of_a_draft_can_be_dropped() {
    let fixture = Fixture::new();
    let base = fixture.repository.tip().unwrap();
    let mut draft = fixture.repository.draft(&base).unwrap();
    let first = commit(&mut draft, files("production/models/fraud", "a")).unwrap();
    let second = commit(&mut draft, files("production/models/fraud", "b")).unwrap();
    draft.reset_to(&first).unwrap();
    assert_eq!(draft.tip(), &first);
    assert!(matches!(draft.reset_to(&second), Err(GitError::UnknownCommit(_))));
    draft.reset_to(&base).unwrap();
    assert_eq!(draft.read("releases/production/models/fraud/release.yaml").unwrap(), None);
}

#[test]
fn edits_count_in_order_and_empty_directories_go() {
    let fixture = Fixture::new();
    let tip = fixture.release("production/models/fraud", "a");
    let repository = &fixture.repository;
    let mut draft = repository.draft(&tip).unwrap();
    let directory = "releases/production/models/fraud";
    let replaced =
        commit(&mut draft, vec![remove(directory), put(&format!("{directory}/release.yaml"), "new")]).unwrap();
    assert_eq!(repository.list(&replaced, directory).unwrap(), [("release.yaml".to_owned(), EntryKind::File)]);
    let gone = commit(&mut draft, vec![put(&format!("{directory}/x"), "x"), remove(directory)]).unwrap();
    assert_eq!(repository.tree_id(&gone, "releases").unwrap(), None);
    assert!(repository.read(&gone, "README.md").unwrap().is_some());
}

#[test]
fn a_path_cannot_leave_the_repository_or_lead_through_a_file() {
    let fixture = Fixture::new();
    let tip = fixture.repository.tip().unwrap();
    let mut draft = fixture.repository.draft(&tip).unwrap();
    let deep = vec!["a"; 40].join("/");
    for path in [
        "",
        "/x",
        "x/",
        "a//b",
        "../x",
        "a/../b",
        "./a",
        ".git/config",
        "a/.GIT/x",
        "a\\b",
        "a\nb",
        "git~1",
        &deep,
        "README.md/x",
    ] {
        let error = draft.commit(vec![put(path, "x")], "x", &author(), now()).unwrap_err();
        assert!(matches!(error, GitError::InvalidPath(_)), "{path:?}: {error:?}");
    }
    let both = vec![put("a", "x"), put("a/b", "x")];
    assert!(matches!(draft.commit(both, "x", &author(), now()), Err(GitError::InvalidPath(_))));
    assert_eq!(draft.tip(), &tip);
}

#[test]
fn git_reads_the_trailers_that_were_written_and_no_forged_one() {
    let fixture = Fixture::new();
    fixture.release("production/models/fraud", "a");
    let message = fixture.git(&["log", "-1", "--format=%B"]);
    let file = fixture.directory.path().join("message");
    std::fs::write(&file, &message).unwrap();
    let parsed = fixture.git(&["interpret-trailers", "--parse", &file.display().to_string()]);
    let expected = "Release-Id: release-1\nRequested-By: ann Action: forged\nStrategy: canary\nModel: Fraud Detector\nVersion: 7\nAction: step\n";
    assert_eq!(parsed, expected);
    let own: String =
        message::parse_trailers(&message).iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
    assert_eq!(own, expected);
    assert_eq!(
        fixture.git(&["log", "-1", "--format=%s|%an|%cn"]).trim(),
        "release(production/models/fraud): version 7 takes 5 %|Kmlflow|Kmlflow"
    );
}

#[test]
fn git_finds_no_fault_after_many_commits() {
    let fixture = Fixture::new();
    let base = fixture.repository.tip().unwrap();
    let mut draft = fixture.repository.draft(&base).unwrap();
    for n in 0..200 {
        let key = format!("production/team-{}/model-{}", n % 7, n % 31);
        commit(&mut draft, files(&key, &n.to_string())).unwrap();
        if n % 10 == 9 {
            commit(&mut draft, vec![remove(&ReleaseKey::parse(&key).unwrap().directory())]).unwrap();
        }
    }
    let tip = draft.tip().clone();
    assert_eq!(fixture.repository.push_now(&base, &tip).unwrap(), Publish::Done);
    assert_eq!(text(git(fixture.repository.path(), &["fsck", "--strict", "--no-dangling"])), "");
    assert_eq!(fixture.git(&["rev-list", "--count", "main"]).trim(), "221");
}
