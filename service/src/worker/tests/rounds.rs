//! What is known of reviews by what the forge lists: where they are followed, and at a replica that looks on.

use axum::extract::State;
use axum::http::{Method, StatusCode, Uri};
use axum::{Json, Router};
use std::sync::{Arc, Mutex};
use std::time::Instant;
use tokio::net::TcpListener;

use super::remote::Far;
use super::*;
use crate::forge::{Access, Address, Forge, Kind, Settings as ForgeSettings, Token, TokenAccess};
use crate::worker::review::rounds::Rounds;

/// Something that changes what the forge says.
type Happens = Box<dyn Fn(&mut Says) + Send>;

/// What the forge says of its one pull request, which is of `fraud`.
pub(super) struct Says {
    pub(super) number: u64,
    pub(super) state: &'static str,
    /// The commit that its branch is at, and the one that lists have, which may be older.
    pub(super) head: String,
    pub(super) listed: String,
    /// One from the same branch that a person has merged into `next`, and its state.
    pub(super) elsewhere: Option<(u64, &'static str)>,
    /// What it was last told to say.
    pub(super) body: String,
    /// The comments, by the number of what they are about.
    pub(super) comments: Vec<(u64, String)>,
    /// Whether it is to merge itself.
    pub(super) is_to_merge: bool,
    /// With which words it refuses whatever is asked of merging.
    pub(super) merges: Option<&'static str>,
    /// What happens once it has listed, before anything else is asked.
    meanwhile: Option<Happens>,
    /// How much was asked.
    asked: usize,
}

/// Who approved of it did so when it was at this commit.
fn approved() -> String {
    "a".repeat(40)
}

/// A forge with one pull request, open at first, and what it says of it.
async fn forge() -> (Arc<Forge>, Arc<Mutex<Says>>) {
    let says = Says {
        number: 4,
        state: "open",
        head: approved(),
        listed: approved(),
        elsewhere: None,
        body: String::new(),
        comments: Vec::new(),
        is_to_merge: true,
        merges: None,
        meanwhile: None,
        asked: 0,
    };
    let says = Arc::new(Mutex::new(says));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let api = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().fallback(answer).with_state(Arc::clone(&says));
    tokio::spawn(async move { axum::serve(listener, router).await });
    let address = Address::of(Kind::Github, "https://forge.example/team/gitops.git", Some(&api)).unwrap();
    let token = TokenAccess { token: Token::new("t0ken"), cure: String::new(), renewal: None };
    let settings = ForgeSettings { kind: Kind::Github, address, access: Access::Token(token), ca_file: None };
    (Arc::new(Forge::new(settings).unwrap()), says)
}

impl Says {
    fn pull(&self, (number, state): (u64, &str), base: &str, commit: &str) -> Value {
        let repo = json!({"id": 1, "full_name": "team/gitops"});
        let merged_at = (state == "merged").then_some("2026-11-29T20:00:00Z");
        json!({
            "number": number, "html_url": format!("https://forge.example/team/gitops/pull/{number}"), "title": "release(a): update",
            "state": if state == "open" { "open" } else { "closed" }, "merged_at": merged_at, "merge_commit_sha": commit,
            "updated_at": state, "auto_merge": self.is_to_merge.then(|| json!({"merge_method": "merge"})),
            "head": {"ref": "kmlflow/production/models/fraud", "sha": commit, "repo": repo}, "base": {"ref": base, "repo": repo},
        })
    }
}

/// Fails for every release but `fraud`.
async fn answer(
    State(says): State<Arc<Mutex<Says>>>,
    method: Method,
    uri: Uri,
    body: String,
) -> (StatusCode, Json<Value>) {
    let mut says = says.lock().unwrap();
    says.asked += 1;
    if let Some(path) = uri.path().strip_suffix("/comments") {
        if method == Method::POST {
            let said: Value = serde_json::from_str(&body).unwrap();
            let number = path.rsplit('/').next().unwrap().parse().unwrap();
            says.comments.push((number, said["body"].as_str().unwrap().to_owned()));
        }
        return (StatusCode::OK, Json(if method == Method::GET { json!([]) } else { json!({"id": 1}) }));
    }
    if let Some(words) = says.merges {
        let said = json!({"message": words});
        match uri.path() {
            "/graphql" => return (StatusCode::OK, Json(json!({"errors": [said]}))),
            path if path.ends_with("/merge") => return (StatusCode::METHOD_NOT_ALLOWED, Json(said)),
            _ => {}
        }
    }
    let query = uri.query().unwrap_or_default();
    if query.contains("head=") && !query.contains("fraud") {
        return (StatusCode::INTERNAL_SERVER_ERROR, Json(Value::Null));
    }
    if let Some(text) =
        serde_json::from_str::<Value>(&body).ok().and_then(|told| told["body"].as_str().map(ToOwned::to_owned))
    {
        says.body = text;
    }
    if method == Method::PATCH && body.contains("closed") {
        says.state = "closed";
    } else if method == Method::POST && uri.path().ends_with("/pulls") {
        (says.number, says.state) = (says.number + 1, "open");
    }
    let is_list = uri.path().ends_with("/pulls") && method == Method::GET;
    let is_asked = |state: &str| query.contains("state=open") == (state == "open") && !query.contains("page=2");
    let answer = if uri.path().ends_with("/reviews") {
        json!([{"user": {"login": "ann"}, "state": "APPROVED", "commit_id": approved()}])
    } else if let Some(other) = says.elsewhere.filter(|(number, _)| uri.path().ends_with(&format!("/pulls/{number}"))) {
        says.pull(other, "next", &says.head)
    } else if !is_list {
        says.pull((says.number, says.state), "main", &says.head)
    } else {
        let own = Some((says.number, says.state)).filter(|(number, _)| says.elsewhere.is_none_or(|it| it.0 != *number));
        let own = own.filter(|(_, state)| is_asked(state)).map(|own| says.pull(own, "main", &says.listed));
        let other = says.elsewhere.filter(|(_, state)| is_asked(state) && !query.contains("base="));
        own.into_iter().chain(other.map(|other| says.pull(other, "next", &says.listed))).collect()
    };
    if is_list && let Some(happens) = says.meanwhile.take() {
        happens(&mut says);
    }
    (StatusCode::OK, Json(answer))
}

/// A service whose changes are reviewed at a forge, and what that says.
pub(super) async fn reviewed() -> (Far, Arc<Forge>, Arc<Mutex<Says>>) {
    let mut far = Far::without_start().await;
    far.world.start().await;
    far.world.put("fraud", single("7")).await;
    let (forge, says) = forge().await;
    far.world.remote.as_mut().unwrap().forge = Some(Arc::clone(&forge));
    far.world.is_reviewed = true;
    far.world.start().await;
    (far, forge, says)
}

#[tokio::test(flavor = "multi_thread")]
async fn who_follows_shows_the_review_of_a_release_as_the_forge_tells_it() {
    let (far, forge, says) = reviewed().await;
    let shared = far.world.handle().shared;
    let mut rounds = Rounds::of_who_follows(&shared, &forge);
    assert_eq!(far.world.view("fraud").await.review, None);
    for (now, expected) in [("open", "awaiting-review"), ("merged", "merged"), ("closed", "closed")] {
        says.lock().unwrap().state = now;
        rounds.look_on(&shared, &forge, shared.reviews.forgotten()).await.unwrap();
        let review = far.world.view("fraud").await.review.unwrap();
        assert_eq!((review.state.as_str(), review.number), (expected, Some(4)));
        assert_eq!(
            (review.summary.as_str(), review.branch.as_str()),
            ("release(a): update", "kmlflow/production/models/fraud")
        );
        if now == "open" {
            assert_eq!((review.approved_by, review.merges_itself), (vec!["ann".to_owned()], true));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_follows_shows_as_closed_what_was_closed_since_the_list_of_what_is_open() {
    let (far, forge, says) = reviewed().await;
    let shared = far.world.handle().shared;
    let mut rounds = Rounds::of_who_follows(&shared, &forge);
    for now in ["closed", "merged"] {
        says.lock().unwrap().state = "open";
        says.lock().unwrap().meanwhile = Some(Box::new(move |says| says.state = now));
        rounds.look_on(&shared, &forge, shared.reviews.forgotten()).await.unwrap();
        let review = far.world.view("fraud").await.review.unwrap();
        assert_eq!((review.state.as_str(), review.number), (now, Some(4)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_listed_before_this_service_came_to_lead_is_not_shown_after_that() {
    let (far, forge, says) = reviewed().await;
    let shared = far.world.handle().shared;
    let reviews = Arc::clone(&shared);
    says.lock().unwrap().meanwhile = Some(Box::new(move |_| reviews.reviews.forget()));
    let mut rounds = Rounds::of_who_follows(&shared, &forge);
    rounds.look_on(&shared, &forge, shared.reviews.forgotten()).await.unwrap();
    assert_eq!(far.world.view("fraud").await.review, None);
    rounds.look_on(&shared, &forge, shared.reviews.forgotten()).await.unwrap();
    assert!(far.world.view("fraud").await.review.is_some(), "what is asked since then is");
}

/// Proposes another version of some releases.
async fn propose(far: &mut Far, names: &[&str]) {
    for name in names {
        let asked = far.world.handle().request(put(name, single("8")), Duration::from_millis(10)).await;
        assert!(matches!(asked, Ok(Answer::Queued { .. })), "{asked:?}");
    }
    far.world.run().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_is_older_than_a_review_says_nothing_of_it() {
    let (mut far, forge, says) = reviewed().await;
    propose(&mut far, &["fraud"]).await;
    let commit = far.at_remote(&["rev-parse", "kmlflow/production/models/fraud"]);
    says.lock().unwrap().head.clone_from(&commit);
    let shared = far.world.handle().shared;
    let mut rounds = Rounds::of_who_leads(&shared, &forge);
    // It is asked about at once; then the list is asked for, and then about each by that.
    for _ in 0..3 {
        rounds.turn(&shared, &forge).await;
        let review = far.world.view("fraud").await.review.unwrap();
        assert_eq!((review.number, review.trouble), (Some(4), None));
        assert_eq!(review.approved_by, [""; 0], "of what is there nobody approved");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reviews_that_fail_again_and_again_keep_no_round_from_beginning() {
    let (mut far, forge, says) = reviewed().await;
    propose(&mut far, &["fraud", "other"]).await;
    says.lock().unwrap().head = far.at_remote(&["rev-parse", "kmlflow/production/models/fraud"]);
    let shared = far.world.handle().shared;
    let mut rounds = Rounds::of_who_leads(&shared, &forge);
    rounds.retry = Duration::ZERO;
    rounds.turn(&shared, &forge).await;
    let state = async |name: &str| far.world.view(name).await.review.unwrap().state.as_str();
    assert_eq!(state("fraud").await, "awaiting-review");
    // Nobody tells of it.
    says.lock().unwrap().state = "merged";
    for _ in 0..4 {
        rounds.turn(&shared, &forge).await;
    }
    assert_eq!(state("fraud").await, "merged");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forge_that_counts_is_asked_no_more_than_a_share_now_and_then_and_at_once_where_something_became_of_a_review()
{
    let (mut far, forge, says) = reviewed().await;
    propose(&mut far, &["fraud", "other"]).await;
    let shared = far.world.handle().shared;
    let mut rounds = Rounds::of_who_leads(&shared, &forge);
    rounds.retry = Duration::ZERO;
    let mut next = Instant::now();
    for _ in 0..500 {
        next = rounds.turn(&shared, &forge).await;
    }
    let asked = says.lock().unwrap().asked;
    assert!((10..150).contains(&asked), "{asked} requests");
    assert!(next > Instant::now(), "it waits until it has earned another one");
    shared.reviews.look(&key("fraud"));
    rounds.turn(&shared, &forge).await;
    assert!(says.lock().unwrap().asked > asked);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_merge_costs_that_the_forge_does_not_make_yet_is_counted_each_time() {
    let (mut far, forge, says) = reviewed().await;
    far.world.is_reviewed = false;
    far.world.start().await;
    far.world.put("fraud", single("8")).await;
    far.world.is_reviewed = true;
    far.world.start().await;
    // What nobody is to see first goes by a pull request that merges itself, where the branch takes no push.
    far.hook("update", r#"[ "$1" != refs/heads/main ]"#);
    let back = far.world.absolute("fraud", Act::Rollback { to: None }).await.unwrap();
    let asked = far.world.handle().request(back, Duration::from_millis(10)).await;
    assert!(matches!(asked, Ok(Answer::Queued { .. })), "{asked:?}");
    far.world.run().await;
    let commit = far.at_remote(&["rev-parse", "kmlflow/production/models/fraud"]);
    {
        let mut says = says.lock().unwrap();
        (says.head, says.listed) = (commit.clone(), commit);
        says.merges = Some("Pull request is in clean status");
    }
    let shared = far.world.handle().shared;
    let mut rounds = Rounds::of_who_leads(&shared, &forge);
    rounds.period = Duration::ZERO;
    for _ in 0..500 {
        rounds.turn(&shared, &forge).await;
    }
    let review = far.world.view("fraud").await.review.unwrap();
    assert!(review.trouble.is_some_and(|trouble| trouble.contains("once the rules of the branch let it")));
    let asked = says.lock().unwrap().asked;
    assert!((50..130).contains(&asked), "{asked} requests, of which 104 may be made at once");
}
