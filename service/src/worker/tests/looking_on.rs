//! What a replica that follows shows of reviews.

use axum::extract::State;
use axum::http::Uri;
use axum::{Json, Router};
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;

use super::remote::Far;
use super::*;
use crate::forge::{Access, Address, Forge, Kind, Settings as ForgeSettings, Token, TokenAccess};
use crate::worker::review::rounds::Rounds;

/// A forge with one pull request in this state.
async fn forge(state: Arc<Mutex<&'static str>>) -> Arc<Forge> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let api = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().fallback(answer).with_state(state);
    tokio::spawn(async move { axum::serve(listener, router).await });
    let address = Address::of(Kind::Github, "https://forge.example/team/gitops.git", Some(&api)).unwrap();
    let token = TokenAccess { token: Token::new("t0ken"), cure: String::new(), renewal: None };
    let settings = ForgeSettings { kind: Kind::Github, address, access: Access::Token(token), ca_file: None };
    Arc::new(Forge::new(settings).unwrap())
}

async fn answer(State(state): State<Arc<Mutex<&'static str>>>, uri: Uri) -> Json<Value> {
    let state = *state.lock().unwrap();
    let (commit, repo) = ("a".repeat(40), json!({"id": 1, "full_name": "team/gitops"}));
    let merged_at = (state == "merged").then_some("2026-11-29T20:00:00Z");
    let pull = json!({
        "number": 4, "html_url": "https://forge.example/team/gitops/pull/4", "title": "release(a): update",
        "state": if state == "open" { "open" } else { "closed" }, "merged_at": merged_at, "merge_commit_sha": commit,
        "updated_at": state, "auto_merge": {"merge_method": "merge"},
        "head": {"ref": "kmlflow/production/models/fraud", "sha": commit, "repo": repo}, "base": {"ref": "main", "repo": repo},
    });
    let query = uri.query().unwrap_or_default();
    Json(if uri.path().ends_with("/reviews") {
        json!([{"user": {"login": "ann"}, "state": "APPROVED", "commit_id": commit}])
    } else if query.contains("state=open") == (state == "open") && !query.contains("page=2") {
        json!([pull])
    } else {
        json!([])
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn who_follows_shows_the_review_of_a_release_as_the_forge_tells_it() {
    let mut far = Far::without_start().await;
    far.world.start().await;
    far.world.put("fraud", single("7")).await;
    let state = Arc::new(Mutex::new("open"));
    let forge = forge(Arc::clone(&state)).await;
    far.world.remote.as_mut().unwrap().forge = Some(Arc::clone(&forge));
    far.world.is_reviewed = true;
    far.world.start().await;
    let shared = far.world.handle().shared;
    let mut rounds = Rounds::new(Duration::from_secs(60));
    assert_eq!(far.world.view("fraud").await.review, None);
    for (now, expected) in [("open", "awaiting-review"), ("merged", "merged"), ("closed", "closed")] {
        *state.lock().unwrap() = now;
        rounds.look_on(&shared, &forge).await.unwrap();
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
