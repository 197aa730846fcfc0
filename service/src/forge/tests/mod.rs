//! What is asked of a forge and what its answers mean, with a server that answers as it is told to. A real one is the tier `gitea`.

mod called_off;
mod pulls;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::{Request, Response};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::*;
use crate::names::CommitId;

/// A request that arrived: method and path with query, what mattered of its headers, and its body.
#[derive(Debug, Clone)]
struct Asked {
    line: String,
    authorization: String,
    if_none_match: Option<String>,
    body: Value,
}

/// An answer to be given: status, headers, body.
type Answer = (u16, Vec<(&'static str, String)>, Value);

#[derive(Clone, Default)]
struct Script {
    answers: Arc<Mutex<VecDeque<Answer>>>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Script {
    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().iter().map(|asked| asked.line.clone()).collect()
    }
}

async fn play(State(script): State<Script>, request: Request<Body>) -> Response<Body> {
    let (authorization, if_none_match) = {
        let header = |name: &str| request.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        (header("authorization").unwrap(), header("if-none-match"))
    };
    let line = format!("{} {}", request.method(), request.uri());
    let bytes = to_bytes(request.into_body(), 1 << 20).await.unwrap();
    let body = serde_json::from_slice(&bytes).unwrap_or_default();
    script.asked.lock().unwrap().push(Asked { line, authorization, if_none_match, body });
    let next = script.answers.lock().unwrap().pop_front();
    let (status, headers, body) = next.unwrap_or((500, Vec::new(), json!({"message": "nothing more was to be asked"})));
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(name, value);
    }
    let body = if body.is_null() { String::new() } else { body.to_string() };
    response.body(Body::from(body)).unwrap()
}

/// A forge that gives these answers, one after the other.
async fn forge(kind: Kind, answers: impl IntoIterator<Item = Answer>) -> (Forge, Script) {
    forge_as(kind, answers, token("t0ken\n")).await
}

/// The same for somebody with this token.
async fn forge_as(kind: Kind, answers: impl IntoIterator<Item = Answer>, access: TokenAccess) -> (Forge, Script) {
    let script = Script { answers: Arc::new(Mutex::new(answers.into_iter().collect())), ..Script::default() };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let api = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().fallback(play).with_state(script.clone());
    tokio::spawn(async move { axum::serve(listener, router).await });
    let address = Address::of(kind, "https://forge.example/team/gitops.git", Some(&api)).unwrap();
    let settings = Settings { kind, address, access: Access::Token(access), ca_file: None };
    (Forge::new(settings).unwrap(), script)
}

fn token(text: &str) -> TokenAccess {
    TokenAccess { token: Token::new(text), cure: "give another".to_owned(), renewal: None }
}

/// A file in which somebody may put another token.
#[derive(Debug, Default)]
struct TokenFile(Mutex<String>);

impl Renewal for TokenFile {
    fn another(&self, refused: &Token) -> Option<Token> {
        let there = Token::new(&self.0.lock().unwrap());
        Some(there).filter(|there| !there.expose().is_empty() && there != refused)
    }
}

fn ok(status: u16, body: Value) -> Answer {
    (status, Vec::new(), body)
}

fn pull(number: u64, state: &str) -> Value {
    json!({"number": number, "html_url": format!("https://forge.example/team/gitops/pulls/{number}"), "state": state,
        "merged": false, "merge_commit_sha": null, "node_id": "PR_1",
        "head": {"ref": "kmlflow/production/models/fraud", "sha": "a".repeat(40), "repo_id": 1},
        "base": {"ref": "main", "repo_id": 1}})
}

fn commit() -> CommitId {
    CommitId::parse(&"a".repeat(40)).unwrap()
}

const BRANCH: &str = "kmlflow/production/models/fraud";

fn text() -> Text {
    Text { title: "title".to_owned(), body: "body".to_owned() }
}

/// A repository at Gitea that is merged into in one way alone.
fn repository(way: &str) -> Answer {
    let mut repository = json!({"allow_merge_commits": false, "allow_squash_merge": false, "allow_rebase": false});
    let field = if way == "merge" { "allow_merge_commits".to_owned() } else { format!("allow_{way}") };
    repository[field] = json!(true);
    ok(200, repository)
}

#[tokio::test]
async fn a_wish_to_merge_by_itself_that_the_forge_does_not_grant_has_its_words() {
    let (gitea, script) = forge(
        Kind::Gitea,
        [
            repository("merge"),
            ok(201, Value::Null),
            repository("rebase"),
            ok(405, json!({"message": "Does not have enough approvals"})),
            repository("squash_merge"),
            ok(409, Value::Null),
        ],
    )
    .await;
    let pull = gitea.parse(pull(4, "open")).unwrap();
    assert_eq!(gitea.merge_when_ready(&pull).await.unwrap(), AutoMerge::Scheduled);
    let refused = AutoMerge::Refused("Does not have enough approvals".to_owned());
    assert_eq!(gitea.merge_when_ready(&pull).await.unwrap(), refused);
    assert_eq!(gitea.merge_when_ready(&pull).await.unwrap(), AutoMerge::Scheduled, "it was before");
    assert_eq!(script.asked()[..2], ["GET /repos/team/gitops", "POST /repos/team/gitops/pulls/4/merge"]);
    let ways: Vec<Value> =
        script.asked.lock().unwrap().iter().filter_map(|asked| asked.body.get("Do").cloned()).collect();
    assert_eq!(ways, ["merge", "rebase", "squash"], "in a way that the repository allows");
    let (github, script) = forge(Kind::Github, [ok(200, json!({"errors": [{"message": "not allowed"}]}))]).await;
    assert_eq!(github.merge_when_ready(&pull).await.unwrap(), AutoMerge::Refused("not allowed".to_owned()));
    let asked = script.asked.lock().unwrap()[0].clone();
    assert_eq!((asked.line.as_str(), &asked.body["variables"]["id"]), ("POST /graphql", &json!("PR_1")));
}

#[tokio::test]
async fn what_is_asked_again_is_asked_conditionally_and_costs_nothing() {
    let first = (200, vec![("etag", "\"1\"".to_owned())], pull(4, "open"));
    let (github, script) =
        forge(Kind::Github, [first, (304, Vec::new(), Value::Null), ok(200, pull(4, "closed"))]).await;
    for expected in [PullState::Open, PullState::Open, PullState::Closed] {
        assert_eq!(github.pull_request(4).await.unwrap().state, expected);
    }
    let marks: Vec<Option<String>> =
        script.asked.lock().unwrap().iter().map(|asked| asked.if_none_match.clone()).collect();
    assert_eq!(marks, [None, Some("\"1\"".to_owned()), Some("\"1\"".to_owned())]);
}

#[tokio::test]
async fn of_many_answers_the_one_not_asked_for_longest_is_forgotten() {
    let answer = |number: u64| (200, vec![("etag", format!("\"{number}\""))], pull(number, "open"));
    let unchanged = || (304, Vec::new(), Value::Null);
    let all = (0..300).map(answer).chain([unchanged(), answer(300), unchanged(), unchanged(), answer(1)]);
    let (github, script) = forge(Kind::Github, all.collect::<Vec<_>>()).await;
    for number in (0..300).chain([0, 300, 0, 2, 1]) {
        assert_eq!(github.pull_request(number).await.unwrap().number, number);
    }
    let marks: Vec<Option<String>> =
        script.asked.lock().unwrap().iter().skip(300).map(|asked| asked.if_none_match.clone()).collect();
    let mark = |number: u64| Some(format!("\"{number}\""));
    assert_eq!(marks, [mark(0), None, mark(0), mark(2), None]);
}

#[tokio::test]
async fn many_are_found_by_one_list_until_none_is_missing() {
    let of = |number: u64, branch: &str| {
        let mut pull = pull(number, "open");
        (pull["head"]["ref"], pull["updated_at"]) = (json!(branch), json!("2026-11-29T20:00:00Z"));
        pull
    };
    for (kind, query) in [
        (Kind::Gitea, "sort=recentupdate&limit=50"),
        (Kind::Github, "base=main&sort=updated&direction=desc&per_page=50"),
    ] {
        let pages = [ok(200, json!([of(3, "kmlflow/a/b/c"), of(4, "other")])), ok(200, json!([of(5, BRANCH)]))];
        let (forge, script) = forge(kind, pages).await;
        let branches = [BRANCH, "kmlflow/a/b/c"].map(ToOwned::to_owned);
        let (found, pages) = forge.open_from(branches.into(), "main").await.unwrap();
        assert_eq!(pages, 2);
        let found: Vec<_> = found.iter().map(|(branch, open)| (branch.as_str(), open.pull.number)).collect();
        assert_eq!(found, [("kmlflow/a/b/c", 3), (BRANCH, 5)]);
        let page = |page: u32| format!("GET /repos/team/gitops/pulls?state=open&{query}&page={page}");
        assert_eq!(script.asked(), [page(1), page(2)]);
    }
}

#[tokio::test]
async fn a_forge_that_wants_to_be_left_alone_is_not_asked_again() {
    let limited = (429, vec![("retry-after", "30".to_owned())], Value::Null);
    let (github, script) = forge(Kind::Github, [limited]).await;
    for _ in 0..3 {
        let error = github.pull_request(4).await.unwrap_err();
        assert!(error.is_temporary() && error.retry_after().is_some_and(|wait| wait.as_secs() >= 25), "{error:?}");
    }
    assert_eq!(script.asked().len(), 1);
}

#[tokio::test]
async fn a_read_is_repeated_twice_and_a_write_that_may_have_happened_never() {
    let busy = || ok(502, Value::Null);
    let (gitea, script) = forge(Kind::Gitea, [busy(), busy(), ok(200, pull(4, "open"))]).await;
    assert_eq!(gitea.pull_request(4).await.unwrap().number, 4);
    assert_eq!(script.asked().len(), 3);
    let (gitea, script) = forge(Kind::Gitea, [busy(), busy()]).await;
    assert!(gitea.open(BRANCH, "main", &text()).await.unwrap_err().is_temporary());
    assert_eq!(script.asked().len(), 1);
}

#[tokio::test]
async fn each_refusal_has_a_sentence_a_cure_and_no_token() {
    let said = json!({"message": "Validation Failed", "errors": [{"message": "no commits\nbetween"}]});
    for (answer, words) in [
        (ok(401, Value::Null), "does not know who asks"),
        (ok(403, json!({"message": "no"})), "does not allow open a pull request: no"),
        (ok(404, Value::Null), "has nothing to open a pull request"),
        (ok(422, said), "refused to open a pull request with 422: Validation Failed; no commits between"),
        (ok(302, Value::Null), "is no forge"),
        (ok(200, json!({"number": 4})), "is no forge"),
        (ok(200, json!("x")), "is no forge"),
    ] {
        let (gitea, _) = forge(Kind::Gitea, [answer]).await;
        let error = gitea.open(BRANCH, "main", &text()).await.unwrap_err();
        let sentence = error.to_string();
        assert!(sentence.contains(words) && !sentence.contains("t0ken") && !error.is_temporary(), "{sentence}");
    }
    let mut evil = pull(4, "open");
    evil["html_url"] = json!("javascript:alert(1)");
    let (gitea, _) = forge(Kind::Gitea, [ok(200, evil)]).await;
    assert!(matches!(gitea.pull_request(4).await, Err(ForgeError::Stranger { .. })));
}

#[tokio::test]
async fn a_status_is_set_and_one_comment_kept() {
    let comments = json!([{"id": 7, "body": "<!-- x -->\nold"}, {"id": 8, "body": "a person's"}]);
    let (gitea, script) = forge(
        Kind::Gitea,
        [
            ok(201, json!({})),
            ok(200, comments.clone()),
            ok(200, json!({})),
            ok(200, comments),
            ok(200, json!([])),
            ok(201, json!({})),
        ],
    )
    .await;
    let status = CommitStatus {
        state: CommitState::Pending,
        context: "kmlflow/fraud".to_owned(),
        description: "ä".repeat(200),
        url: None,
    };
    gitea.set_status(&commit(), &status).await.unwrap();
    gitea.keep_comment(4, "<!-- x -->", "new").await.unwrap();
    gitea.keep_comment(4, "<!-- x -->", "old").await.unwrap();
    gitea.keep_comment(4, "<!-- x -->", "first").await.unwrap();
    let lines = script.asked();
    assert_eq!(lines[0], format!("POST /repos/team/gitops/statuses/{}", "a".repeat(40)));
    assert_eq!(lines[2], "PATCH /repos/team/gitops/issues/comments/7");
    assert_eq!(lines[3..5], ["GET /repos/team/gitops/issues/4/comments"; 2], "what is said already is not said again");
    assert_eq!(lines[5], "POST /repos/team/gitops/issues/4/comments");
    let asked = script.asked.lock().unwrap();
    assert_eq!(asked[0].body["description"].as_str().unwrap().chars().count(), 140);
    assert_eq!(asked[2].body["body"], "<!-- x -->\nnew");
}

#[tokio::test]
async fn a_token_that_is_refused_is_read_again_and_asked_with_once() {
    let file = Arc::new(TokenFile::default());
    let access = TokenAccess { renewal: Some(Arc::clone(&file) as Arc<dyn Renewal>), ..token("old") };
    let (no, forbidden) = (|| ok(401, json!({"message": "Bad credentials"})), ok(403, json!({"message": "no"})));
    let good = || ok(200, pull(4, "open"));
    let (github, script) =
        forge_as(Kind::Github, [no(), no(), good(), good(), forbidden, good(), no(), no()], access).await;
    let asked_as =
        || -> Vec<String> { script.asked.lock().unwrap().drain(..).map(|asked| asked.authorization).collect() };
    let error = github.pull_request(4).await.unwrap_err();
    assert!(error.with_cure().ends_with("does not know who asks; give another"), "{error}");
    assert_eq!(github.refusal(), Some(error.with_cure()));
    assert_eq!(asked_as(), ["Bearer old"], "the same again is of no use");

    *file.0.lock().unwrap() = "new".to_owned();
    github.pull_request(4).await.unwrap();
    assert_eq!(github.refusal(), None, "it is let in");
    assert_eq!(asked_as(), ["Bearer old", "Bearer new"]);
    github.pull_request(4).await.unwrap();
    assert_eq!(asked_as(), ["Bearer new"]);

    *file.0.lock().unwrap() = "with-more-rights".to_owned();
    github.pull_request(4).await.unwrap();
    assert_eq!(asked_as(), ["Bearer new", "Bearer with-more-rights"]);
    *file.0.lock().unwrap() = "ended".to_owned();
    github.pull_request(4).await.unwrap_err();
    assert_eq!(asked_as(), ["Bearer with-more-rights", "Bearer ended"], "once, and no more");
    assert!(github.refusal().is_some());
}

#[test]
fn nothing_shows_a_token_and_one_that_cannot_be_sent_is_refused() {
    let settings = |token: &str| Settings {
        kind: Kind::Gitea,
        address: Address::of(Kind::Gitea, "https://forge.example/a/b", None).unwrap(),
        access: Access::Token(self::token(token)),
        ca_file: None,
    };
    let shown = format!("{:?} {:?}", settings("hunter2"), Forge::new(settings("hunter2")).unwrap());
    assert!(!shown.contains("hunter2"), "{shown}");
    for token in ["", "a b", "a\nHost: x"] {
        assert!(Forge::new(settings(token)).is_err(), "{token:?}");
    }
}

#[test]
fn a_key_that_does_not_sign_is_refused_at_the_start_and_not_shown() {
    let begin = concat!("-----BEGIN RSA ", "PRIVATE KEY-----");
    for key in ["hunter2", &format!("{begin}\naHVudGVyMg==\n-----END RSA PRIVATE KEY-----\n")] {
        let app = App { id: 1, installation: 2, private_key: Token::new(key), renewal: None };
        let address = Address::of(Kind::Github, "https://github.com/acme/gitops", None).unwrap();
        let settings = Settings { kind: Kind::Github, address, access: Access::App(app), ca_file: None };
        assert!(!format!("{settings:?}").contains(key));
        let error = Forge::new(settings).unwrap_err();
        let (sentence, cure) = (error.to_string(), error.cure().unwrap());
        assert!(sentence.contains("`git.credentials.github_app.private_key_file`") && !cure.is_empty(), "{sentence}");
        assert!(!sentence.contains("hunter2"));
    }
}

#[tokio::test]
async fn a_pull_request_that_nothing_keeps_from_it_is_merged_at_once_in_a_way_that_is_allowed() {
    let fault =
        |words: &str| ok(200, json!({"data": {"enablePullRequestAutoMerge": null}, "errors": [{"message": words}]}));
    let (github, script) = forge(
        Kind::Github,
        [
            fault("Merge method merge commits are not allowed on this repository"),
            fault("Pull request Pull request is in clean status"),
            ok(200, json!({"sha": "b".repeat(40), "merged": true, "message": "done"})),
        ],
    )
    .await;
    let open = github.parse(pull(4, "open")).unwrap();
    assert_eq!(github.merge_when_ready(&open).await.unwrap(), AutoMerge::Merged);
    assert_eq!(script.asked(), ["POST /graphql", "POST /graphql", "PUT /repos/team/gitops/pulls/4/merge"]);
    let body = script.asked.lock().unwrap()[2].body.clone();
    assert_eq!(body, json!({"merge_method": "squash", "sha": "a".repeat(40)}));
}

#[tokio::test]
async fn what_github_does_not_merge_by_itself_is_merged_once_the_branch_lets_it() {
    let no =
        |words: &str| ok(200, json!({"data": {"enablePullRequestAutoMerge": null}, "errors": [{"message": words}]}));
    let refused = |words: &str| ok(405, json!({"message": words}));
    let off = "Pull request Auto merge is not allowed for this repository";
    let missing = "Required status check \"ci\" is expected.";
    let other_way = || refused("Merge commits are not allowed on this repository.");
    let merged = ok(200, json!({"sha": "b".repeat(40), "merged": true, "message": "done"}));
    let other_ways =
        ["Squash merges", "Rebase merges"].map(|ways| refused(&format!("{ways} are not allowed on this repository.")));
    let first = [
        no(off),
        other_way(),
        refused(missing),
        no("Pull request is in unstable status"),
        merged,
        no(off),
        other_way(),
    ];
    let (github, script) = forge(Kind::Github, first.into_iter().chain(other_ways)).await;
    let open = github.parse(pull(4, "open")).unwrap();
    assert_eq!(github.merge_when_ready(&open).await.unwrap(), AutoMerge::NotYet(missing.to_owned()));
    assert_eq!(github.merge_when_ready(&open).await.unwrap(), AutoMerge::Merged);
    let words = "Rebase merges are not allowed on this repository.";
    assert_eq!(github.merge_when_ready(&open).await.unwrap(), AutoMerge::Refused(words.to_owned()));
    let methods: Vec<Value> = script
        .asked
        .lock()
        .unwrap()
        .iter()
        .map(|asked| asked.body["merge_method"].clone())
        .filter(Value::is_string)
        .collect();
    assert_eq!(methods, ["merge", "squash", "merge", "merge", "squash", "rebase"]);
}

#[tokio::test]
async fn what_was_closed_of_a_fork_is_none_of_ours() {
    let mut own = pull(5, "closed");
    own["title"] = json!("ours");
    own["head"]["repo"] = json!({"full_name": "team/gitops"});
    let mut forks = own.clone();
    forks["head"]["repo"] = json!({"full_name": "eve/gitops"});
    let mut gone = own.clone();
    gone["head"]["repo"] = Value::Null;
    let (github, script) = forge(Kind::Github, [ok(200, json!([forks, own, gone]))]).await;
    let closed = github.recently_closed("main").await.unwrap();
    assert_eq!(closed.len(), 1);
    assert_eq!((closed[0].branch.as_str(), closed[0].title.as_str(), closed[0].pull.number), (BRANCH, "ours", 5));
    let line = "GET /repos/team/gitops/pulls?state=closed&base=main&sort=updated&direction=desc&per_page=50";
    assert_eq!(script.asked(), [line]);
}

#[tokio::test]
async fn a_secondary_limit_without_a_time_is_a_minute_of_quiet() {
    let said = json!({"message": "You have exceeded a secondary rate limit."});
    let (github, script) = forge(Kind::Github, [ok(403, said)]).await;
    for _ in 0..2 {
        let error = github.pull_request(4).await.unwrap_err();
        assert!(error.retry_after().is_some_and(|wait| wait.as_secs() > 50), "{error:?}");
    }
    assert_eq!(script.asked().len(), 1);
}
