//! A power cut, played by putting back older copies of what was not synced.

use std::collections::BTreeSet;
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

/// A push that is not put in place.
fn push_into_the_journal(fixture: &Fixture) -> CommitId {
    let base = fixture.repository.tip().unwrap();
    let mut draft = fixture.repository.draft(&base).unwrap();
    let tip = draft.commit(files("production/models/fraud", "b"), "x", &author(), now()).unwrap().unwrap();
    assert_eq!(fixture.repository.push(&base, &tip).now_or_never().unwrap().unwrap(), Publish::Done);
    tip
}

#[test]
fn what_only_the_journal_has_stays_there_until_what_it_goes_on_from_is_back() {
    let fixture = Fixture::new();
    fixture.release("production/models/fraud", "a");
    let tip = push_into_the_journal(&fixture);
    let survivor = copy(&fixture, "lost");
    fs::remove_file(survivor.join("refs/heads/main.lock")).unwrap();
    cut(&fixture, &survivor);
    let (objects, away) = (survivor.join("objects"), survivor.join("away"));
    fs::rename(&objects, &away).unwrap();
    fs::create_dir(&objects).unwrap();
    assert!(Repository::open_or_seed(&survivor, &seed(), &author(), now(), None).is_err());
    fs::remove_dir_all(&objects).unwrap();
    fs::rename(&away, &objects).unwrap();
    check_whole(&survivor, &tip);
}

#[test]
fn a_push_that_only_the_journal_has_is_there_after_an_early_end() {
    let fixture = Fixture::new();
    fixture.release("production/models/fraud", "a");
    let tip = push_into_the_journal(&fixture);
    let survivor = copy(&fixture, "killed");
    assert!(survivor.join("refs/heads/main.lock").exists());
    // A copy has other inodes; a kill leaves the lock as it was.
    fs::remove_file(survivor.join("refs/heads/main.lock")).unwrap();
    fs::hard_link(survivor.join("main.next"), survivor.join("refs/heads/main.lock")).unwrap();
    cut(&fixture, &survivor);
    check_whole(&survivor, &tip);
}

/// The files of packs in a repository.
fn packs(at: &Path) -> BTreeSet<PathBuf> {
    let names = fs::read_dir(at.join("objects/pack")).unwrap().map(|entry| entry.unwrap().file_name());
    names.map(|name| Path::new("objects/pack").join(name)).collect()
}

/// What a file has of its content after a power cut.
fn tear(path: &Path) {
    let bytes = fs::read(path).unwrap();
    fs::remove_file(path).unwrap();
    fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
}

#[test]
fn pushes_that_are_in_place_together_are_not_put_there_one_by_one_but_where_that_pack_is_torn() {
    let fixture = Fixture::new();
    let synced = packs(fixture.repository.path());
    for key in ["production/models/fraud", "production/models/churn"] {
        let base = fixture.repository.tip().unwrap();
        let mut draft = fixture.repository.draft(&base).unwrap();
        let tip = draft.commit(files(key, "a"), "x", &author(), now()).unwrap().unwrap();
        assert_eq!(fixture.repository.push(&base, &tip).now_or_never().unwrap().unwrap(), Publish::Done);
    }
    fixture.repository.put_in_place().unwrap();
    let tip = fixture.repository.tip().unwrap();
    let [killed, torn] = ["killed", "torn-together"].map(|name| copy(&fixture, name));
    let before = packs(&killed);
    assert_eq!(before.len(), synced.len() + 2);
    cut(&fixture, &killed);
    check_whole(&killed, &tip);
    assert_eq!(packs(&killed), before, "a full disk would have no room for them");

    cut(&fixture, &torn);
    before.difference(&synced).for_each(|path| tear(&torn.join(path)));
    let repository = start(&torn);
    assert_eq!(repository.tip().unwrap(), tip);
    for name in ["fraud", "churn"] {
        let file = format!("releases/production/models/{name}/release.yaml");
        assert!(repository.read(&tip, &file).unwrap().is_some());
    }
}

#[test]
fn torn_files_are_written_again() {
    let fixture = Fixture::new();
    // The seed was synced when it was made; only what came later can be torn.
    let synced = packs(fixture.repository.path());
    fixture.release("production/models/fraud", "a");
    let tip = fixture.release("production/models/fraud", "b");
    let survivor = copy(&fixture, "torn");
    cut(&fixture, &survivor);
    fs::write(survivor.join("refs/heads/main"), "").unwrap();
    let written = packs(&survivor);
    assert_eq!(written.len(), synced.len() + 4);
    written.difference(&synced).for_each(|path| tear(&survivor.join(path)));
    check_whole(&survivor, &tip);
}

#[test]
fn a_record_that_was_written_by_half_counts_as_not_written() {
    let fixture = Fixture::new();
    let [ends_early, has_a_hole] = ["half", "hole"].map(|name| copy(&fixture, name));
    let first = fixture.release("production/models/fraud", "a");
    let at = fs::read(fixture.repository.path().join(JOURNAL)).unwrap();
    let end = |journal: &[u8]| journal.iter().rposition(|byte| *byte != 0).unwrap();
    fixture.release("production/models/fraud", "b");
    let mut journal = fs::read(fixture.repository.path().join(JOURNAL)).unwrap();
    let (before, last) = (end(&at), end(&journal));
    fs::write(ends_early.join(JOURNAL), &journal[..last]).unwrap();
    check_whole(&ends_early, &first);
    // Blocks reach the disk in any order, and the file has its length from the start.
    journal[before + (last - before) / 2..last - 100].fill(0);
    fs::write(has_a_hole.join(JOURNAL), &journal).unwrap();
    check_whole(&has_a_hole, &first);
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
