//! Fetches from a path, and what is said where there is nothing to fetch.

use super::*;

#[tokio::test]
async fn a_first_fetch_has_the_tip_with_all_its_files_and_later_ones_the_history() {
    let bench = Bench::new();
    let tips = ["second", "third", "fourth"].map(|name| bench.commit(name));
    bench.work(&["push", "-q", "origin", "main"]);
    let remote = bench.local().await;
    let into = ours(bench.directory.path());
    let count = || text(git(&into, &["rev-list", "--count", &remote.kept_as()])).trim().to_owned();
    assert_eq!(remote.kept_as(), "refs/kmlflow/remote/main");
    assert_eq!(remote.fetch(&into, History::Tip).await, Ok(tips[2].clone()));
    assert_eq!(count(), "1");
    assert_eq!(text(git(&into, &["show", &format!("{}:first", tips[2])])), "first");
    let fifth = bench.commit("fifth");
    bench.work(&["push", "-q", "origin", "main"]);
    assert_eq!(remote.fetch(&into, History::Since).await, Ok(fifth.clone()));
    assert_eq!(count(), "2");
    bench.commit("sixth");
    bench.work(&["push", "-q", "origin", "main"]);
    for _ in 0..2 {
        assert_eq!(remote.complete(&into).await, Ok(()));
        assert_eq!(count(), "5", "what is newer is left to the next look");
    }
}

#[tokio::test]
async fn a_history_that_was_rewritten_is_fetched_as_it_is_now() {
    let bench = Bench::new();
    let remote = bench.local().await;
    let into = ours(bench.directory.path());
    remote.fetch(&into, History::Tip).await.unwrap();
    bench.work(&["commit", "-q", "--amend", "-m", "Rewritten"]);
    bench.work(&["push", "-q", "--force", "origin", "main"]);
    assert_eq!(remote.fetch(&into, History::Since).await, Ok(bench.at()));
    assert_ne!(bench.at(), bench.tip);
}

#[tokio::test]
async fn an_empty_repository_is_told_from_one_without_the_branch() {
    let bench = Bench::new();
    let into = ours(bench.directory.path());
    bench.remote_git(&["branch", "-m", "main", "trunk"]);
    let error = bench.local().await.fetch(&into, History::Tip).await.unwrap_err();
    let RemoteError::BranchMissing { branch, default, .. } = &error else { panic!("{error:?}") };
    assert_eq!((branch.as_str(), default.as_deref()), ("main", Some("trunk")));
    let heads = bench.local().await.heads().await.unwrap();
    assert_eq!(heads.branches, [(Branch::parse("trunk").unwrap(), bench.tip.clone())]);
    bench.remote_git(&["update-ref", "-d", "refs/heads/trunk"]);
    let error = bench.local().await.fetch(&into, History::Tip).await.unwrap_err();
    assert!(matches!(error, RemoteError::Empty { .. }), "{error:?}");
    // An empty one that keeps its objects otherwise does not say so to whoever fetches.
    std::fs::remove_dir_all(bench.path()).unwrap();
    git(bench.directory.path(), &["init", "-q", "--bare", "--object-format=sha256", bench.path().to_str().unwrap()]);
    let error = bench.local().await.fetch(&into, History::Tip).await.unwrap_err();
    assert!(matches!(error, RemoteError::ObjectFormat { .. }), "{error:?}");
}

#[tokio::test]
async fn the_only_branch_that_was_seen_and_is_gone_does_not_make_a_repository_empty() {
    let bench = Bench::new();
    let (into, remote) = (ours(bench.directory.path()), bench.local().await);
    remote.fetch(&into, History::Since).await.unwrap();
    bench.remote_git(&["update-ref", "-d", "refs/heads/main"]);
    let gone = |default: Option<&str>| {
        let (address, branch) = (remote.address().to_owned(), "main".to_owned());
        let default = default.map(ToOwned::to_owned);
        Err(RemoteError::BranchGone { address, branch, was_at: bench.tip.clone(), default })
    };
    assert_eq!(remote.fetch(&into, History::Since).await, gone(None));
    bench.remote_git(&["update-ref", "refs/heads/trunk", bench.tip.as_str()]);
    bench.remote_git(&["symbolic-ref", "HEAD", "refs/heads/trunk"]);
    assert_eq!(remote.fetch(&into, History::Since).await, gone(Some("trunk")));
}

#[tokio::test]
async fn what_is_no_repository_is_said_to_be_none() {
    let bench = Bench::new();
    let into = ours(bench.directory.path());
    let remote = remote(bench.settings(bench.directory.path().join("nothing").to_str().unwrap())).await;
    let error = remote.fetch(&into, History::Tip).await.unwrap_err();
    assert!(matches!(error, RemoteError::NotFound { .. }), "{error:?}");
}

#[tokio::test]
async fn a_fetch_that_takes_too_long_is_ended() {
    let bench = Bench::new();
    let into = ours(bench.directory.path());
    let limits = Limits { fetch: Duration::from_nanos(1), ..Limits::default() };
    let remote = remote(Settings { limits, ..bench.settings(bench.path().to_str().unwrap()) }).await;
    let error = remote.fetch(&into, History::Tip).await.unwrap_err();
    assert!(matches!(error, RemoteError::TimedOut { .. }), "{error:?}");
}

#[tokio::test]
async fn trees_that_are_strange_are_fetched_as_they_are() {
    let bench = Bench::new();
    let work = bench.directory.path().join("work");
    std::os::unix::fs::symlink("../../outside", work.join("link")).unwrap();
    fs::write(work.join("model.bin"), "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n").unwrap();
    fs::write(work.join(".gitmodules"), "[submodule \"x\"]\n\tpath = x\n\turl = /nowhere\n").unwrap();
    let submodule = format!("160000,{},x", bench.tip);
    bench.work(&["update-index", "--add", "--cacheinfo", &submodule]);
    let tip = bench.commit("strange");
    bench.work(&["push", "-q", "origin", "main"]);
    let into = ours(bench.directory.path());
    assert_eq!(bench.local().await.fetch(&into, History::Tip).await, Ok(tip));
}
