//! Pushes to a path: Git's own receiving side on its pipes, with hooks, rules and other people.

use super::*;

/// What a refused push was told.
fn words(pushed: Pushed) -> String {
    match pushed {
        Pushed::Refused { words } => words,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_push_moves_the_branch_and_the_same_again_finds_it_moved() {
    let bench = Bench::new();
    let new = bench.commit("second");
    let remote = bench.local().await;
    let pack = bench.pack(&new);
    assert_eq!(remote.push(Some(&bench.tip), &new, &pack).await, Pushed::Done);
    assert_eq!(bench.at(), new);
    bench.remote_git(&["fsck", "--strict"]);
    let again = remote.push(Some(&bench.tip), &new, &pack).await;
    assert_eq!(again, Pushed::Moved { words: format!("the branch is at {new}") });
}

#[tokio::test]
async fn a_file_address_is_the_same_as_its_path() {
    let bench = Bench::new();
    let new = bench.commit("second");
    let remote = remote(bench.settings(&format!("file://{}", bench.path().display()))).await;
    assert_eq!(remote.push(Some(&bench.tip), &new, &bench.pack(&new)).await, Pushed::Done);
}

#[tokio::test]
async fn a_new_branch_is_made_from_nothing_once() {
    let bench = Bench::new();
    let settings =
        Settings { branch: Branch::parse("release/x").unwrap(), ..bench.settings(bench.path().to_str().unwrap()) };
    let remote = remote(settings).await;
    let new = bench.commit("second");
    let pack = bench.pack(&new);
    assert_eq!(remote.push(None, &new, &pack).await, Pushed::Done);
    assert_eq!(id(&bench.remote_git(&["rev-parse", "refs/heads/release/x"])), new);
    assert!(matches!(remote.push(None, &new, &pack).await, Pushed::Moved { .. }));
    assert_eq!(bench.at(), bench.tip);
}

#[tokio::test]
async fn a_push_by_hand_in_between_is_found_before_anything_is_sent() {
    let bench = Bench::new();
    let ours = bench.commit("ours");
    let pack = bench.pack(&ours);
    bench.work(&["reset", "-q", "--hard", bench.tip.as_str()]);
    let theirs = bench.commit("theirs");
    bench.work(&["push", "-q", "origin", "main"]);
    let pushed = bench.local().await.push(Some(&bench.tip), &ours, &pack).await;
    assert!(matches!(&pushed, Pushed::Moved { words } if words.contains(theirs.as_str())), "{pushed:?}");
    assert_eq!(bench.at(), theirs);
}

#[tokio::test]
async fn a_push_by_hand_after_the_remote_told_its_tip_is_found_by_the_remote() {
    let bench = Bench::new();
    let ours = bench.commit("ours");
    let pack = bench.pack(&ours);
    bench.work(&["reset", "-q", "--hard", bench.tip.as_str()]);
    let theirs = bench.commit("theirs");
    bench.work(&["push", "-q", "origin", "main:aside"]);
    // Between the advertisement and the branch's lock, where a hook runs.
    let by_hand = format!("env -u GIT_QUARANTINE_PATH git update-ref refs/heads/main {theirs}");
    bench.hook("pre-receive", &by_hand);
    let pushed = bench.local().await.push(Some(&bench.tip), &ours, &pack).await;
    assert!(matches!(&pushed, Pushed::Moved { words } if words.contains("cannot lock ref")), "{pushed:?}");
    assert_eq!(bench.at(), theirs);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_commit_of_pushes_that_race_with_a_person_arrives_once() {
    let bench = std::sync::Arc::new(Bench::new());
    let remote = bench.local().await;
    let person = std::sync::Arc::clone(&bench);
    let by_hand = tokio::task::spawn_blocking(move || {
        let directory = person.directory.path();
        text(git(directory, &["clone", "-q", "remote.git", "hand"]));
        let clone = directory.join("hand");
        for n in 0..5 {
            text(git(&clone, &["commit", "-q", "--allow-empty", "-m", &format!("hand {n}")]));
            while !git(&clone, &["push", "-q", "origin", "main"]).status.success() {
                text(git(&clone, &["pull", "-q", "--rebase", "origin", "main"]));
            }
        }
    });
    let mut done = 0;
    while done < 5 {
        bench.work(&["fetch", "-q", "origin"]);
        bench.work(&["reset", "-q", "--hard", "origin/main"]);
        let old = id(&bench.work(&["rev-parse", "HEAD"]));
        bench.work(&["commit", "-q", "--allow-empty", "-m", &format!("ours {done}")]);
        let new = id(&bench.work(&["rev-parse", "HEAD"]));
        match remote.push(Some(&old), &new, &bench.pack(&new)).await {
            Pushed::Done => done += 1,
            Pushed::Moved { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    by_hand.await.unwrap();
    let subjects = bench.remote_git(&["log", "--format=%s", "main"]);
    for who in ["hand ", "ours "] {
        assert_eq!(subjects.lines().filter(|line| line.starts_with(who)).count(), 5, "{subjects}");
    }
}

#[tokio::test]
async fn a_hook_refuses_in_its_own_words() {
    let bench = Bench::new();
    let new = bench.commit("second");
    let pack = bench.pack(&new);
    let remote = bench.local().await;
    bench.hook("pre-receive", "echo 'the change window opens at \u{1b}[31m8:00\u{1b}[m' >&2; exit 1");
    let told = words(remote.push(Some(&bench.tip), &new, &pack).await);
    assert_eq!(told, "pre-receive hook declined: the change window opens at 8:00");
    fs::remove_file(bench.path().join("hooks/pre-receive")).unwrap();
    bench.hook("update", "echo \"no push to $1\"; exit 1");
    let told = words(remote.push(Some(&bench.tip), &new, &pack).await);
    assert!(told.starts_with("hook declined: no push to refs/heads/main"), "{told}");
    assert_eq!(bench.at(), bench.tip);
}

#[tokio::test]
async fn a_branch_that_is_not_to_be_rewritten_is_left() {
    let bench = Bench::new();
    bench.remote_git(&["config", "receive.denyNonFastForwards", "true"]);
    bench.work(&["checkout", "-q", "--orphan", "other"]);
    let other = bench.commit("unrelated");
    let pushed = bench.local().await.push(Some(&bench.tip), &other, &bench.pack(&other)).await;
    assert!(matches!(&pushed, Pushed::Moved { words } if words.starts_with("non-fast-forward")), "{pushed:?}");
    assert_eq!(bench.at(), bench.tip);
}

#[tokio::test]
async fn a_branch_that_is_checked_out_is_refused_with_the_remotes_reason() {
    let bench = Bench::new();
    bench.remote_git(&["config", "core.bare", "false"]);
    let new = bench.commit("second");
    let told = words(bench.local().await.push(Some(&bench.tip), &new, &bench.pack(&new)).await);
    assert!(told.starts_with("branch is currently checked out"), "{told}");
}

#[tokio::test]
async fn a_pack_that_is_too_large_or_broken_is_not_taken() {
    let bench = Bench::new();
    let new = bench.commit("second");
    let remote = bench.local().await;
    let unpack = async |pack: &[u8]| match remote.push(Some(&bench.tip), &new, pack).await {
        Pushed::Unpack { words } => words,
        other => panic!("{other:?}"),
    };
    let mut pack = bench.pack(&new);
    let last = pack.len() - 1;
    pack[last] ^= 1;
    assert!(unpack(&pack).await.contains("unpack-objects abnormal exit"));
    bench.remote_git(&["config", "receive.maxInputSize", "60"]);
    let told = unpack(&bench.pack(&new)).await;
    assert!(told.contains("pack exceeds maximum allowed size"), "{told}");
    assert_eq!(bench.at(), bench.tip);
}

#[tokio::test]
async fn options_reach_the_hooks_of_a_remote_that_takes_them() {
    let bench = Bench::new();
    bench.hook("pre-receive", "echo \"option $GIT_PUSH_OPTION_0\" >&2; exit 1");
    let new = bench.commit("second");
    let settings =
        Settings { push_options: vec!["ci.skip".to_owned()], ..bench.settings(bench.path().to_str().unwrap()) };
    let remote = remote(settings).await;
    let told = words(remote.push(Some(&bench.tip), &new, &bench.pack(&new)).await);
    assert!(told.ends_with("option"), "{told}");
    bench.remote_git(&["config", "receive.advertisePushOptions", "true"]);
    let told = words(remote.push(Some(&bench.tip), &new, &bench.pack(&new)).await);
    assert!(told.ends_with("option ci.skip"), "{told}");
}

#[tokio::test]
async fn a_hook_that_never_ends_leaves_the_outcome_unknown_and_nothing_running() {
    let bench = Bench::new();
    bench.hook(
        "pre-receive",
        &format!("echo $$ >'{}'; exec tail -f /dev/null", bench.path().join("hook.pid").display()),
    );
    let new = bench.commit("second");
    let limits = Limits { push: Duration::from_millis(600), ..Limits::default() };
    let remote = remote(Settings { limits, ..bench.settings(bench.path().to_str().unwrap()) }).await;
    let pushed = remote.push(Some(&bench.tip), &new, &bench.pack(&new)).await;
    assert!(matches!(pushed, Pushed::Unknown(RemoteError::TimedOut { .. })), "{pushed:?}");
    let pid = fs::read_to_string(bench.path().join("hook.pid")).unwrap();
    // It was killed; to be gone takes a busy machine a moment.
    let (program, begun) = (Path::new("/proc").join(pid.trim()).join("exe"), std::time::Instant::now());
    while program.exists() {
        assert!(begun.elapsed() < Duration::from_secs(20), "the hook still runs");
        tokio::task::yield_now().await;
    }
    assert_eq!(bench.at(), bench.tip);
}

#[tokio::test]
async fn a_hook_after_the_push_keeps_nobody_waiting_and_runs_to_its_end() {
    let bench = Bench::new();
    let pipe = bench.path().join("pipe");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RWXU).unwrap();
    bench.hook("post-receive", &format!("cat <'{0}' >'{0}.read'; echo done; echo end >'{0}'", pipe.display()));
    let new = bench.commit("second");
    let pushed = bench.local().await.push(Some(&bench.tip), &new, &bench.pack(&new)).await;
    assert_eq!(pushed, Pushed::Done);
    let end = tokio::task::spawn_blocking(move || {
        fs::write(&pipe, "go\n").unwrap();
        fs::read_to_string(&pipe).unwrap()
    });
    assert_eq!(end.await.unwrap(), "end\n");
}

#[tokio::test]
async fn what_is_no_repository_is_said_to_be_none() {
    let bench = Bench::new();
    let new = bench.commit("second");
    let remote = remote(bench.settings(bench.directory.path().join("nothing").to_str().unwrap())).await;
    let pushed = remote.push(Some(&bench.tip), &new, b"").await;
    assert!(matches!(pushed, Pushed::Denied(RemoteError::NotFound { .. })), "{pushed:?}");
}
