//! Pull requests: which is the one that is asked for, and what people think of it.

use super::*;

#[tokio::test]
async fn a_pull_request_is_found_by_its_branch_as_each_forge_wants_it() {
    let (gitea, script) = forge(Kind::Gitea, [ok(200, json!([pull(3, "open")]))]).await;
    let found = gitea.find(BRANCH, "main").await.unwrap().open.unwrap();
    assert_eq!((found.number, &found.state, &found.head), (3, &PullState::Open, &Some(commit())));
    assert_eq!(script.asked(), ["GET /repos/team/gitops/pulls?state=open&sort=recentupdate&limit=50&page=1"]);
    assert_eq!(script.asked.lock().unwrap()[0].authorization, "token t0ken");

    let (github, script) = forge(Kind::Github, [ok(200, json!([pull(3, "open")]))]).await;
    assert_eq!(github.find(BRANCH, "main").await.unwrap().open.unwrap().number, 3);
    let line = "GET /repos/team/gitops/pulls?state=open&head=team:kmlflow%2Fproduction%2Fmodels%2Ffraud";
    assert_eq!(script.asked(), [line]);
    assert_eq!(script.asked.lock().unwrap()[0].authorization, "Bearer t0ken");
}

#[tokio::test]
async fn the_open_one_is_found_on_a_later_page_and_a_forks_branch_of_its_name_is_not() {
    let mut forked = pull(1, "open");
    forked["head"]["repo_id"] = json!(2);
    let mut elsewhere = pull(2, "open");
    elsewhere["base"]["ref"] = json!("next");
    let answers = [ok(200, json!([forked, elsewhere])), ok(200, json!([pull(3, "open")]))];
    let (gitea, script) = forge(Kind::Gitea, answers).await;
    assert_eq!(gitea.find(BRANCH, "main").await.unwrap().open.unwrap().number, 3);
    assert!(script.asked()[1].ends_with("&page=2"));
}

#[tokio::test]
async fn where_none_is_open_those_of_the_branch_that_ended_are_found_with_where_they_did() {
    let ended = |number: u64, sha: &str| {
        let mut pull = pull(number, "closed");
        pull["head"]["sha"] = json!(sha.repeat(40));
        pull
    };
    let mut merged = ended(2, "a");
    merged["merged"] = json!(true);
    merged["merge_commit_sha"] = json!("c".repeat(40));
    let mut another = ended(3, "a");
    another["head"]["ref"] = json!("kmlflow/production/models/other");
    let answers = [ok(200, json!([])), ok(200, json!([another, merged, ended(1, "b")]))];
    let (gitea, _) = forge(Kind::Gitea, answers).await;
    let found = gitea.find(BRANCH, "main").await.unwrap();
    let closed: Vec<_> = found.closed.iter().map(|pull| (pull.number, pull.state.clone(), pull.head.clone())).collect();
    let commit = |sha: &str| CommitId::parse(&sha.repeat(40)).ok();
    let expected = [(2, PullState::Merged(commit("c")), commit("a")), (1, PullState::Closed, commit("b"))];
    assert_eq!((found.open, closed), (None, expected.to_vec()));
}

#[tokio::test]
async fn one_that_ended_has_the_commit_that_it_ended_at_whatever_its_branch_has_since() {
    let end = json!([{"ref": "refs/pull/4/head", "object": {"type": "commit", "sha": "b".repeat(40)}}]);
    let answers = [ok(200, pull(4, "closed")), ok(200, end), ok(200, pull(4, "open"))];
    let (gitea, script) = forge(Kind::Gitea, answers).await;
    assert_eq!(gitea.pull_request(4).await.unwrap().head, CommitId::parse(&"b".repeat(40)).ok());
    assert_eq!(script.asked()[1], "GET /repos/team/gitops/git/refs/pull/4/head");
    assert_eq!(gitea.pull_request(4).await.unwrap().head, Some(commit()));
}

#[tokio::test]
async fn one_that_goes_into_another_branch_is_not_the_one_that_is_asked_for_open_or_closed() {
    let elsewhere = |number: u64, state: &str| {
        let mut pull = pull(number, state);
        pull["base"]["ref"] = json!("next");
        pull
    };
    for kind in [Kind::Gitea, Kind::Github] {
        let lists = [vec![elsewhere(3, "open")], vec![], vec![elsewhere(2, "closed")]];
        let answers = lists.into_iter().filter(|list| kind == Kind::Gitea || !list.is_empty());
        let (forge, script) = forge(kind, answers.map(|list| ok(200, json!(list)))).await;
        let found = forge.find(BRANCH, "main").await.unwrap();
        let others: Vec<_> = found.elsewhere.iter().map(|other| (other.number, other.base.as_str())).collect();
        assert_eq!((found.open, others), (None, vec![(3, "next")]), "{:?}", script.asked());
        assert_eq!(found.closed, []);
    }
    let closed = json!([elsewhere(2, "closed")]);
    let (gitea, _) = forge(Kind::Gitea, [ok(200, closed)]).await;
    assert_eq!(gitea.recently_closed("main").await.unwrap(), []);
}

#[tokio::test]
async fn what_was_merged_as_a_commit_is_told_with_its_branch() {
    let merged = |number: u64, sha: &str, base: &str| {
        let mut pull = pull(number, "closed");
        pull["merged_at"] = json!("2026-11-28T12:00:00Z");
        pull["merge_commit_sha"] = json!(sha.repeat(40));
        pull["head"]["repo"] = json!({"full_name": "team/gitops"});
        pull["base"]["ref"] = json!(base);
        pull
    };
    let commit = commit();
    let others = [merged(2, "b", "main"), merged(3, "a", "next"), pull(4, "open")];
    let one = merged(5, "a", "main");
    let mut all = others.to_vec();
    all.push(one.clone());
    let (github, asked_github) = forge(Kind::Github, [ok(200, json!(all)), ok(200, json!(others))]).await;
    let (gitea, asked_gitea) = forge(Kind::Gitea, [ok(200, one), ok(404, json!({"message": "not found"}))]).await;
    for forge in [github, gitea] {
        let found = forge.merged_as(&commit, "main").await.unwrap().expect("one");
        assert_eq!((found.pull.number, found.branch.as_str()), (5, BRANCH));
        assert_eq!(forge.merged_as(&commit, "main").await.unwrap(), None);
    }
    assert_eq!(asked_github.asked()[0], format!("GET /repos/team/gitops/commits/{commit}/pulls"));
    assert_eq!(asked_gitea.asked()[0], format!("GET /repos/team/gitops/commits/{commit}/pull"));
}

#[tokio::test]
async fn a_pull_request_is_opened_updated_and_closed() {
    let mut open = pull(4, "open");
    open["title"] = json!("WIP: title");
    let answers = [ok(201, open.clone()), ok(200, open.clone()), ok(201, open.clone()), ok(200, open)];
    let (gitea, script) = forge(Kind::Gitea, answers.into_iter().chain([ok(201, pull(4, "closed"))])).await;
    assert_eq!(gitea.open(BRANCH, "main", &text()).await.unwrap().number, 4);
    let with = |body: &'static str| move |now: &Text| Text { title: now.title.clone(), body: body.to_owned() };
    gitea.revise(4, with("body")).await.unwrap();
    gitea.revise(4, with("")).await.unwrap();
    assert_eq!(gitea.close(4).await.unwrap().state, PullState::Closed);
    let (read, change) = ("GET /repos/team/gitops/pulls/4", "PATCH /repos/team/gitops/pulls/4");
    assert_eq!(
        script.asked(),
        ["POST /repos/team/gitops/pulls", read, change, read, change],
        "the same is not said again"
    );
    let bodies: Vec<Value> = script.asked.lock().unwrap().iter().map(|asked| asked.body.clone()).collect();
    assert_eq!(bodies[0], json!({"head": BRANCH, "base": "main", "title": "title", "body": "body"}));
    assert_eq!(bodies[2], json!({"title": "WIP: title", "body": "body"}));
    assert_eq!(bodies[4], json!({"state": "closed"}));
}

#[tokio::test]
async fn the_last_word_of_each_reviewer_counts_and_a_comment_is_none() {
    let review = |login: &str, state: &str| {
        let commit = "a".repeat(40);
        json!({"user": {"login": login}, "state": state, "stale": false, "dismissed": false, "commit_id": commit})
    };
    let mut stale = review("eve", "APPROVED");
    stale["stale"] = json!(true);
    let mut older = review("dan", "APPROVED");
    older["commit_id"] = json!("b".repeat(40));
    let mut forgotten = review("fay", "APPROVED");
    forgotten["commit_id"] = Value::Null;
    let reviews = json!([
        review("ann", "REQUEST_CHANGES"), review("bob", "APPROVED"), review("ann", "APPROVED"), review("ann", "COMMENT"),
        review("bob", "REQUEST_CHANGES"), stale, older, forgotten, {"state": "APPROVED", "user": null},
    ]);
    let (gitea, _) = forge(Kind::Gitea, [ok(200, reviews)]).await;
    let open = gitea.parse(pull(4, "open")).unwrap();
    let Opinions { approved_by, changes_requested_by } = gitea.opinions(&open).await.unwrap();
    assert_eq!((approved_by, changes_requested_by), (vec!["ann".to_owned()], vec!["bob".to_owned()]));
}

#[tokio::test]
async fn what_is_said_after_the_first_hundred_counts_too() {
    let review =
        |login: &str, state: &str| json!({"user": {"login": login}, "state": state, "commit_id": "a".repeat(40)});
    let first: Vec<Value> = (0..100).map(|_| review("ann", "CHANGES_REQUESTED")).collect();
    let pages = || [ok(200, json!(first)), ok(200, json!([review("ann", "APPROVED")]))];
    let (github, script) = forge(Kind::Github, pages()).await;
    let open = github.parse(pull(4, "open")).unwrap();
    let opinions = github.opinions(&open).await.unwrap();
    assert_eq!((opinions.approved_by, opinions.changes_requested_by), (vec!["ann".to_owned()], Vec::new()));
    let page = |page: u32| format!("GET /repos/team/gitops/pulls/4/reviews?per_page=100&page={page}");
    assert_eq!(script.asked(), [page(1), page(2)]);

    let theirs: Vec<Value> = (0..100).map(|id| json!({"id": id, "body": "a person's"})).collect();
    let ours = json!([{"id": 100, "body": "<!-- x -->\nold"}]);
    let (github, script) =
        forge(Kind::Github, [ok(200, json!(theirs)), ok(200, ours), ok(200, json!({"id": 100}))]).await;
    github.keep_comment(4, "<!-- x -->", "new").await.unwrap();
    assert_eq!(script.asked()[2], "PATCH /repos/team/gitops/issues/comments/100");
}
