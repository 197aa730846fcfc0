//! What a clone knows in one file, and out of it again.

use std::fs;

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
