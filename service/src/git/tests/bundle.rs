//! What a clone knows in one file, and out of it again.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::beside::settings;
use super::*;
use crate::command;
use crate::git::remote::History;

#[tokio::test]
async fn a_clone_that_has_the_tip_alone_comes_back_as_it_was_and_is_completed_later() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let run = |place: &str, arguments: &[&str]| drop(text(git(&at(place), arguments)));
    run("", &["init", "-q", "--bare", "--initial-branch=main", "remote.git"]);
    run("", &["clone", "-q", "remote.git", "person"]);
    for message in ["first", "second"] {
        run("person", &["commit", "-q", "--allow-empty", "-m", message]);
    }
    run("person", &["push", "-q", "origin", "HEAD:main"]);
    let program = command::Git::find(None).await.unwrap();
    let open = async |place: &str, first: History| {
        Repository::open_clone(&at(place), settings(directory.path()), &program, first).await.unwrap()
    };
    let clone = open("clone.git", History::Tip).await;
    let tip = clone.tip().unwrap();
    assert!(!clone.is_complete());
    let parts = bundle_clone(&program, clone.path(), &at("bundle")).await.unwrap();
    assert!(parts.shallow.is_some() && parts.of.ends_with(" main"), "{parts:?}");

    fs::rename(at("remote.git"), at("away.git")).unwrap();
    unbundle_clone(&program, &at("bundle"), &parts, &at("back/clone.git")).await.unwrap();
    let back = open("back/clone.git", History::Since).await;
    assert_eq!(back.tip().unwrap(), tip);
    assert!(back.missed().is_some() && back.is_unsure() && !back.is_complete());
    fs::rename(at("away.git"), at("remote.git")).unwrap();
    back.complete().await.unwrap();
    assert!(back.is_complete());
    assert_eq!(back.line(None, &tip).unwrap().len(), 2);
}

#[tokio::test]
async fn a_bundle_is_made_although_the_branch_moves_all_the_time() {
    let fixture = Fixture::new();
    let one = fixture.repository.tip().unwrap();
    let other = fixture.foreign_commit(&one);
    let path = fixture.repository.path().to_owned();
    let program = command::Git::find(None).await.unwrap();
    let is_over = Arc::new(AtomicBool::new(false));
    let moving = std::thread::spawn({
        let (path, is_over, tips) = (path.clone(), Arc::clone(&is_over), [one, other.clone()]);
        move || {
            for tip in tips.iter().cycle() {
                fs::write(path.join("moved"), format!("{tip}\n")).unwrap();
                fs::rename(path.join("moved"), path.join("refs/heads/main")).unwrap();
                if is_over.load(Ordering::Relaxed) {
                    return;
                }
            }
        }
    });
    let mut made = Vec::new();
    for n in 0..10 {
        made.push(bundle(&program, &path, &fixture.directory.path().join(format!("{n}.bundle"))).await);
    }
    is_over.store(true, Ordering::Relaxed);
    moving.join().unwrap();
    assert!(made.iter().all(Result::is_ok), "{made:?}");
    assert_eq!(fs::read_dir(fixture.directory.path()).unwrap().count(), 10 + 1, "nothing is left beside");
}
