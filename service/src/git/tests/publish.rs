use std::fs;

use futures_util::FutureExt as _;

use super::*;
use crate::command::Git;

#[test]
fn a_branch_that_moved_is_an_outcome_and_stays() {
    let fixture = Fixture::new();
    let base = fixture.repository.tip().unwrap();
    let mut draft = fixture.repository.draft(&base).unwrap();
    let ours = draft.commit(files("production/models/fraud", "a"), "x", &author(), now()).unwrap().unwrap();
    let theirs = fixture.foreign_commit(&base);
    fixture.git(&["update-ref", "refs/heads/main", theirs.as_str()]);
    assert_eq!(fixture.repository.push_now(&base, &ours).unwrap(), Publish::Moved(theirs.clone()));
    assert_eq!(fixture.repository.tip().unwrap(), theirs);
}

#[test]
fn a_lock_of_another_program_is_respected_and_told() {
    let fixture = Fixture::new();
    let base = fixture.repository.tip().unwrap();
    let theirs = fixture.foreign_commit(&base);
    let lock = fixture.repository.path().join("refs/heads/main.lock");
    fs::write(&lock, "").unwrap();
    let error = fixture.repository.push_now(&base, &theirs).unwrap_err();
    assert!(matches!(error, GitError::Locked), "{error:?}");
    assert_eq!(fixture.repository.tip().unwrap(), base);
    fixture.open().unwrap();
    assert!(lock.exists(), "opening must not take another program's lock away");
    fs::remove_file(&lock).unwrap();
    assert_eq!(fixture.repository.push_now(&base, &theirs).unwrap(), Publish::Done);
}

#[test]
fn a_lock_that_the_service_left_when_killed_is_taken_away_at_the_next_start() {
    let fixture = Fixture::new();
    let base = fixture.repository.tip().unwrap();
    let path = fixture.repository.path();
    let lock = path.join("refs/heads/main.lock");
    fs::write(path.join("main.next"), format!("{base}\n")).unwrap();
    fs::hard_link(path.join("main.next"), &lock).unwrap();
    let (repository, _) = fixture.open().unwrap();
    assert!(!lock.exists());
    let theirs = fixture.foreign_commit(&base);
    assert_eq!(repository.push_now(&base, &theirs).unwrap(), Publish::Done);
}

#[test]
fn publishing_leaves_no_lock_and_a_branch_that_git_reads() {
    let fixture = Fixture::new();
    let commit = fixture.release("production/models/fraud", "a");
    assert!(!fixture.repository.path().join("refs/heads/main.lock").exists());
    assert_eq!(fixture.git(&["rev-parse", "main"]).trim(), commit.as_str());
    fixture.git(&["pack-refs", "--all"]);
    assert_eq!(fixture.repository.tip().unwrap(), commit);
    let next = fixture.release("production/models/fraud", "b");
    assert_eq!(fixture.git(&["rev-parse", "main"]).trim(), next.as_str());
}

#[test]
fn an_unknown_commit_is_not_published() {
    let fixture = Fixture::new();
    let base = fixture.repository.tip().unwrap();
    let unknown = CommitId::parse(&"1".repeat(40)).unwrap();
    assert!(matches!(fixture.repository.push_now(&base, &unknown), Err(GitError::UnknownCommit(_))));
    assert_eq!(fixture.repository.tip().unwrap(), base);
}

#[test]
fn what_a_draft_did_not_publish_is_forgotten() {
    let fixture = Fixture::new();
    let base = fixture.repository.tip().unwrap();
    let repository = &fixture.repository;
    let mut dropped = repository.draft(&base).unwrap();
    let refused = dropped.commit(files("production/models/fraud", "a"), "x", &author(), now()).unwrap().unwrap();
    assert!(repository.tree_id(&refused, "releases").unwrap().is_some());
    fixture.release("production/models/churn", "b");
    assert!(matches!(repository.tree_id(&refused, "releases"), Err(GitError::UnknownCommit(_))));
    assert_eq!(fixture.git(&["count-objects"]).split(' ').next(), Some("0"), "objects come in packs");
}

#[test]
fn a_publish_that_failed_can_be_tried_again() {
    let fixture = Fixture::new();
    let base = fixture.repository.tip().unwrap();
    let mut draft = fixture.repository.draft(&base).unwrap();
    let ours = draft.commit(files("production/models/fraud", "a"), "x", &author(), now()).unwrap().unwrap();
    let lock = fixture.repository.path().join("refs/heads/main.lock");
    fs::write(&lock, "").unwrap();
    fixture.repository.push_now(&base, &ours).unwrap_err();
    fs::remove_file(&lock).unwrap();
    assert_eq!(fixture.repository.push_now(&base, &ours).unwrap(), Publish::Done);
    assert_eq!(fixture.git(&["fsck", "--strict", "--no-dangling"]), "");
}

#[tokio::test]
async fn maintenance_keeps_everything_even_what_nothing_names() {
    let fixture = Fixture::new();
    for name in ["spam", "wine", "churn"] {
        fixture.release(&format!("production/models/{name}"), "a");
    }
    let commit = fixture.release("production/models/fraud", "a");
    let dropped = fixture.foreign_commit(&commit);
    let repository = &fixture.repository;
    let mut draft = repository.draft(&commit).unwrap();
    let first = draft.commit(files("production/models/fraud", "b"), "x", &author(), now()).unwrap().unwrap();
    let git = Git::find(None).await.unwrap();
    assert_eq!(repository.maintain(&git).await.unwrap(), Maintained::NotDue);
    repository.repack(&git).await.unwrap();
    let counted = fixture.git(&["count-objects", "-v"]);
    // Git leaves a pack alone that is more than twice as large as all newer ones together, as the seed's is beside a few releases.
    let packs = counted.lines().find_map(|line| line.strip_prefix("packs: ")?.parse::<u32>().ok()).unwrap();
    assert!(counted.starts_with("count: 0\n") && packs <= 2, "{counted}");
    for commit in [&commit, &dropped] {
        assert_eq!(fixture.git(&["cat-file", "-t", commit.as_str()]).trim(), "commit");
    }
    let second = draft.commit(files("production/models/fraud", "c"), "x", &author(), now()).unwrap().unwrap();
    assert_eq!(repository.push_now(&commit, &second).unwrap(), Publish::Done);
    assert_eq!(fixture.git(&["rev-parse", "main~1"]).trim(), first.as_str());
    assert_eq!(fixture.git(&["fsck", "--strict", "--no-dangling"]), "");
}

/// Commits a release and pushes it, and no more.
fn push_only(fixture: &Fixture, key: &str) -> [CommitId; 2] {
    let base = fixture.repository.tip().unwrap();
    let mut draft = fixture.repository.draft(&base).unwrap();
    let ours = draft.commit(files(key, "a"), "x", &author(), now()).unwrap().unwrap();
    assert_eq!(fixture.repository.push(&base, &ours).now_or_never().unwrap().unwrap(), Publish::Done);
    [base, ours]
}

#[test]
fn whoever_reads_after_a_push_reads_what_was_pushed() {
    let fixture = Fixture::new();
    let [base, ours] = push_only(&fixture, "production/models/fraud");
    assert_eq!(fixture.git(&["rev-parse", "main"]).trim(), base.as_str(), "only the journal has it");
    assert!(fixture.repository.is_ancestor(&base, &ours).unwrap());
    assert_eq!(fixture.git(&["rev-parse", "main"]).trim(), ours.as_str());
    let [base, ours] = push_only(&fixture, "production/models/churn");
    assert!(fixture.repository.read(&ours, "releases/production/models/churn/seldon.yaml").unwrap().is_some());
    assert_eq!(fixture.repository.log(Some(&base), &ours).unwrap().len(), 1);
    let [base, ours] = push_only(&fixture, "production/models/fraud-2");
    assert_eq!(fixture.repository.log(Some(&base), &ours).unwrap().len(), 1);
    assert_eq!(fixture.git(&["fsck", "--strict", "--no-dangling"]), "");
}

#[test]
fn a_lock_that_was_removed_by_hand_while_a_push_is_owed_is_taken_again() {
    let fixture = Fixture::new();
    let [_, ours] = push_only(&fixture, "production/models/fraud");
    let lock = fixture.repository.path().join("refs/heads/main.lock");
    fs::remove_file(&lock).unwrap();
    // Another program has it meanwhile, and nothing is written into its file.
    fs::write(&lock, "").unwrap();
    assert!(matches!(fixture.repository.put_in_place(), Err(GitError::Locked)));
    assert_eq!(fs::read(&lock).unwrap(), b"");
    fs::remove_file(&lock).unwrap();
    fixture.repository.put_in_place().unwrap();
    assert_eq!(fixture.git(&["rev-parse", "main"]).trim(), ours.as_str());
    assert!(!lock.exists() && !fixture.repository.is_owing());
}

#[test]
fn a_branch_that_was_moved_after_its_lock_was_removed_by_hand_is_not_written_over() {
    let fixture = Fixture::new();
    let [base, ours] = push_only(&fixture, "production/models/fraud");
    let lock = fixture.repository.path().join("refs/heads/main.lock");
    fs::remove_file(&lock).unwrap();
    let theirs = fixture.foreign_commit(&base);
    fixture.git(&["update-ref", "refs/heads/main", theirs.as_str()]);
    for _ in 0..2 {
        let error = fixture.repository.put_in_place().unwrap_err();
        assert!(matches!(error, GitError::MovedByHand) && error.to_string().contains("start the service again"));
        assert!(!lock.exists());
    }
    assert_eq!(fixture.git(&["rev-parse", "main"]).trim(), theirs.as_str());
    // The next start goes on from theirs, and has ours for whoever merges it.
    let (repository, _) = fixture.open().unwrap();
    assert_eq!(repository.tip().unwrap(), theirs);
    assert_eq!(fixture.git(&["cat-file", "-t", ours.as_str()]).trim(), "commit");
}

#[test]
fn the_branch_is_locked_until_a_push_is_in_place() {
    let fixture = Fixture::new();
    let [base, ours] = push_only(&fixture, "production/models/fraud");
    let by_hand = git(fixture.repository.path(), &["update-ref", "refs/heads/main", base.as_str()]);
    assert!(!by_hand.status.success());
    assert_eq!(fixture.repository.tip().unwrap(), ours);
    fixture.repository.put_in_place().unwrap();
    assert!(!fixture.repository.path().join("refs/heads/main.lock").exists());
}

#[test]
fn what_cannot_be_put_in_place_is_tried_again() {
    let fixture = Fixture::new();
    let [_, ours] = push_only(&fixture, "production/models/fraud");
    let packs = fixture.repository.path().join("objects/pack");
    fs::rename(&packs, packs.with_extension("away")).unwrap();
    fs::write(&packs, "no directory").unwrap();
    fixture.repository.put_in_place().unwrap_err();
    fixture.repository.log(None, &ours).unwrap_err();
    fixture.repository.checkpoint().unwrap_err();
    fs::remove_file(&packs).unwrap();
    fs::rename(packs.with_extension("away"), &packs).unwrap();
    assert_eq!(fixture.repository.tip().unwrap(), ours);
    let [base, _] = push_only(&fixture, "production/models/churn");
    assert_eq!(base, ours);
    fixture.repository.checkpoint().unwrap();
    assert_eq!(fixture.git(&["fsck", "--strict", "--no-dangling"]), "");
}

/// The packs of a repository.
fn packs(fixture: &Fixture) -> usize {
    let files = fs::read_dir(fixture.repository.path().join("objects/pack")).unwrap();
    files.filter(|file| file.as_ref().unwrap().path().extension().is_some_and(|suffix| suffix == "pack")).count()
}

#[test]
fn pushes_that_follow_each_other_are_put_in_place_together() {
    let fixture = Fixture::new();
    let before = packs(&fixture);
    let first = push_only(&fixture, "production/models/fraud");
    let second = push_only(&fixture, "production/models/churn");
    // What the first made is gone again and made once more, so an object is in two pushes.
    let mut draft = fixture.repository.draft(&second[1]).unwrap();
    draft.commit(vec![remove("releases/production/models/fraud")], "x", &author(), now()).unwrap().unwrap();
    let last = draft.commit(files("production/models/fraud", "a"), "y", &author(), now()).unwrap().unwrap();
    assert_eq!(fixture.repository.push(&second[1], &last).now_or_never().unwrap().unwrap(), Publish::Done);
    assert_eq!(second[0], first[1]);
    assert_eq!(fixture.repository.tip().unwrap(), last, "who asks the service is told of all of them");
    let read = fixture.repository.read(&first[1], "releases/production/models/fraud/seldon.yaml").unwrap();
    assert_eq!(String::from_utf8(read.unwrap()).unwrap(), "# seldon.yaml of production/models/fraud\na\n");
    assert_eq!((packs(&fixture), fixture.git(&["rev-parse", "main"]).trim()), (before, first[0].as_str()));
    fixture.repository.put_in_place().unwrap();
    assert_eq!((packs(&fixture), fixture.git(&["rev-parse", "main"]).trim()), (before + 1, last.as_str()));
    assert_eq!(fixture.git(&["fsck", "--strict", "--no-dangling"]), "");
}

#[test]
fn a_push_from_where_the_branch_was_is_told_where_it_is_though_nothing_shows_it() {
    let fixture = Fixture::new();
    let [base, ours] = push_only(&fixture, "production/models/fraud");
    let mut draft = fixture.repository.draft(&base).unwrap();
    let late = draft.commit(files("production/models/churn", "a"), "x", &author(), now()).unwrap().unwrap();
    let published = fixture.repository.push(&base, &late).now_or_never().unwrap().unwrap();
    assert_eq!(published, Publish::Moved(ours.clone()));
    assert_eq!(fixture.repository.tip().unwrap(), ours);
}

#[test]
fn pushes_that_are_not_in_place_are_there_after_a_crash() {
    let fixture = Fixture::new();
    push_only(&fixture, "production/models/fraud");
    let [_, ours] = push_only(&fixture, "production/models/churn");
    // What a crash leaves: all files as they are now, and no orderly end.
    let (repository, _) = fixture.open().unwrap();
    assert_eq!(repository.tip().unwrap(), ours);
    assert_eq!(fixture.git(&["rev-parse", "main"]).trim(), ours.as_str());
    assert!(!repository.path().join("refs/heads/main.lock").exists());
    assert_eq!(fixture.git(&["fsck", "--strict", "--no-dangling"]), "");
}

#[test]
fn many_pushes_are_due_and_so_is_one_where_somebody_else_pushes() {
    let fixture = Fixture::new();
    let repository = &fixture.repository;
    assert!(!repository.is_placing_due());
    let visit = repository.expect_push();
    assert!(!repository.is_placing_due(), "nothing is owed");
    push_only(&fixture, "production/models/fraud");
    assert!(repository.is_placing_due());
    drop(visit);
    repository.put_in_place().unwrap();
    for n in 0..100 {
        push_only(&fixture, &format!("production/models/m{n}"));
        if repository.is_placing_due() {
            return;
        }
    }
    panic!("a hundred pushes are owed");
}

#[test]
fn what_the_disk_does_not_take_is_not_owed_without_end() {
    let fixture = Fixture::new();
    let packs = fixture.repository.path().join("objects/pack");
    fs::rename(&packs, packs.with_extension("away")).unwrap();
    fs::write(&packs, "no directory").unwrap();
    let mut base = fixture.repository.tip().unwrap();
    let noise =
        |seed: u32| (0..1_u32 << 18).map(move |n| (n ^ seed).wrapping_mul(2_654_435_761)).map(|n| format!("{n:x}"));
    let pushed = (0..100).take_while(|seed| {
        let mut draft = fixture.repository.draft(&base).unwrap();
        let edit = put("releases/production/models/fraud/release.yaml", &noise(*seed).collect::<String>());
        let ours = draft.commit(vec![edit], "x", &author(), now()).unwrap().unwrap();
        let published = fixture.repository.push(&base, &ours).now_or_never().unwrap();
        base = ours;
        published.is_ok()
    });
    let pushed = pushed.count();
    assert!((2..50).contains(&pushed), "{pushed}");
    fs::remove_file(&packs).unwrap();
    fs::rename(packs.with_extension("away"), &packs).unwrap();
    fixture.repository.put_in_place().unwrap();
    assert_eq!(fixture.git(&["rev-parse", "main"]).trim(), fixture.repository.tip().unwrap().as_str());
}
