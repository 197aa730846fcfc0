//! A power cut, played by putting back older copies of what was not synced.

use std::fs;
use std::path::{Path, PathBuf};

use futures_util::FutureExt as _;

use super::*;
use crate::git::journal::has_records;

const JOURNAL: &str = "kmlflow-journal";

/// A copy of the repository as it is on the disk now, all but its journal.
fn copy(fixture: &Fixture, name: &str) -> PathBuf {
    let to = fixture.directory.path().join(name);
    fn tree(from: &Path, to: &Path) {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
            let (from, to) = (entry.path(), to.join(entry.file_name()));
            if entry.file_type().unwrap().is_dir() { tree(&from, &to) } else { assert!(fs::copy(&from, &to).is_ok()) }
        }
    }
    tree(fixture.repository.path(), &to);
    drop(fs::remove_file(to.join(JOURNAL)));
    to
}

/// What the power cut left: an older state of everything but the journal, which is as it is now.
fn cut(fixture: &Fixture, survivor: &Path) {
    fs::copy(fixture.repository.path().join(JOURNAL), survivor.join(JOURNAL)).unwrap();
}

fn start(path: &Path) -> Repository {
    Repository::open_or_seed(path, &seed(), &author(), now(), None).unwrap().0
}

fn check_whole(path: &Path, tip: &CommitId) {
    let repository = start(path);
    assert_eq!(repository.tip().unwrap(), *tip);
    assert!(!has_records(path), "what is done again is done once");
    assert_eq!(text(git(path, &["fsck", "--strict", "--no-dangling"])), "");
    assert_eq!(text(git(path, &["rev-parse", "main"])).trim(), tip.as_str());
}

#[test]
fn what_was_published_is_there_again_after_a_power_cut_that_took_all_but_the_journal() {
    let fixture = Fixture::new();
    fixture.release("production/models/fraud", "a");
    let survivors = [copy(&fixture, "long-ago"), copy(&fixture, "in-between")];
    fixture.release("production/models/fraud", "b");
    let between = copy(&fixture, "b");
    let tip = fixture.release("production/models/churn", "c");
    for survivor in survivors.iter().chain([&between]) {
        cut(&fixture, survivor);
        check_whole(survivor, &tip);
    }
}

#[test]
fn a_push_that_only_the_journal_has_is_there_after_an_early_end() {
    let fixture = Fixture::new();
    fixture.release("production/models/fraud", "a");
    let base = fixture.repository.tip().unwrap();
    let mut draft = fixture.repository.draft(&base).unwrap();
    let tip = draft.commit(files("production/models/fraud", "b"), "x", &author(), now()).unwrap().unwrap();
    assert_eq!(fixture.repository.push(&base, &tip).now_or_never().unwrap().unwrap(), Publish::Done);
    let survivor = copy(&fixture, "killed");
    assert!(survivor.join("refs/heads/main.lock").exists());
    // A copy has other inodes; a kill leaves the lock as it was.
    fs::remove_file(survivor.join("refs/heads/main.lock")).unwrap();
    fs::hard_link(survivor.join("main.next"), survivor.join("refs/heads/main.lock")).unwrap();
    cut(&fixture, &survivor);
    check_whole(&survivor, &tip);
}

#[test]
fn torn_files_are_written_again() {
    let fixture = Fixture::new();
    let packs = |at: &Path| fs::read_dir(at.join("objects/pack")).unwrap().map(|entry| entry.unwrap().file_name());
    // The seed was synced when it was made; only what came later can be torn.
    let synced: Vec<_> = packs(fixture.repository.path()).collect();
    fixture.release("production/models/fraud", "a");
    let tip = fixture.release("production/models/fraud", "b");
    let survivor = copy(&fixture, "torn");
    cut(&fixture, &survivor);
    fs::write(survivor.join("refs/heads/main"), "").unwrap();
    let torn: Vec<_> = packs(&survivor).filter(|name| !synced.contains(name)).collect();
    assert_eq!(torn.len(), 4);
    for path in torn.iter().map(|name| survivor.join("objects/pack").join(name)) {
        let bytes = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    }
    check_whole(&survivor, &tip);
}

#[test]
fn a_record_that_was_written_by_half_counts_as_not_written() {
    let fixture = Fixture::new();
    let survivor = copy(&fixture, "half");
    let first = fixture.release("production/models/fraud", "a");
    fixture.release("production/models/fraud", "b");
    let journal = fs::read(fixture.repository.path().join(JOURNAL)).unwrap();
    let last = journal.iter().rposition(|byte| *byte != 0).unwrap();
    fs::write(survivor.join(JOURNAL), &journal[..last]).unwrap();
    check_whole(&survivor, &first);
}

#[test]
fn a_branch_that_somebody_else_moved_on_stays_where_it_is() {
    let fixture = Fixture::new();
    let ours = fixture.release("production/models/fraud", "a");
    let theirs = fixture.foreign_commit(&ours);
    fixture.git(&["update-ref", "refs/heads/main", theirs.as_str()]);
    let survivor = copy(&fixture, "beyond");
    cut(&fixture, &survivor);
    check_whole(&survivor, &theirs);
}

#[test]
fn after_a_checkpoint_only_what_came_later_is_done_again() {
    let fixture = Fixture::new();
    for n in 0..3 {
        fixture.release("production/models/fraud", &format!("{n}{}", "x".repeat(4_000)));
    }
    fixture.repository.checkpoint().unwrap();
    assert!(!has_records(fixture.repository.path()));
    let survivor = copy(&fixture, "later");
    // Shorter than the records that lie there still.
    let tip = fixture.release("production/models/churn", "short");
    cut(&fixture, &survivor);
    check_whole(&survivor, &tip);
}

#[test]
fn an_orderly_end_leaves_nothing_to_do_again() {
    let fixture = Fixture::new();
    fixture.release("production/models/fraud", "a");
    let Fixture { directory, repository } = fixture;
    let path = repository.path().to_owned();
    assert!(has_records(&path));
    drop(repository);
    assert!(!has_records(&path));
    drop(directory);
}
