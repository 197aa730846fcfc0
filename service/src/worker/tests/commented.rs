//! The one comment of a review, from the merge on: it follows what the cluster shows, and goes on over a restart.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::{Method, Request, Response};
use tokio::net::TcpListener;

use super::cluster::{Cluster, Scene};
use super::remote::Far;
use super::*;
use crate::forge::{Access, Address, Forge, Kind, Settings as ForgeSettings, Token, TokenAccess};
use crate::worker::StatusState;
use crate::worker::review::comment::{recall, tell_comment};
use crate::worker::review::rounds::Rounds;
use crate::worker::shared::Shared;
use crate::worker::statuses::Refusals;

/// A forge with one merged pull request, what its comments say, and how many requests it had about them.
#[derive(Clone, Default)]
struct Talk(Arc<Mutex<(Vec<String>, usize)>>);

impl Talk {
    async fn start(&self) -> Arc<Forge> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let api = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(answer).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        let address = Address::of(Kind::Gitea, "https://forge.example/team/gitops.git", Some(&api)).unwrap();
        let token = TokenAccess { token: Token::new("t0ken"), cure: String::new(), renewal: None };
        let settings = ForgeSettings { kind: Kind::Gitea, address, access: Access::Token(token), ca_file: None };
        Arc::new(Forge::new(settings).unwrap())
    }

    /// Its only comment, and how many requests there were.
    fn said(&self) -> (String, usize) {
        let (comments, requests) = self.0.lock().unwrap().clone();
        assert_eq!(comments.len(), 1, "{comments:?}");
        (comments[0].clone(), requests)
    }

    #[track_caller]
    fn says(&self, expected: &str, requests: usize) {
        let (said, asked) = self.said();
        assert!(said.starts_with(&format!("<!-- kmlflow -->\n{expected}")), "{said}");
        assert_eq!(asked, requests, "{said}");
    }
}

async fn answer(State(talk): State<Talk>, request: Request<Body>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, 1 << 20).await.unwrap();
    let body = serde_json::from_slice::<Value>(&body).unwrap_or_default();
    let (path, query) = (parts.uri.path(), parts.uri.query().unwrap_or_default());
    let (commit, repo) = ("a".repeat(40), json!({"id": 1, "full_name": "team/gitops"}));
    let mut talk = talk.0.lock().unwrap();
    talk.1 += usize::from(path.contains("/comments"));
    let said = body["body"].as_str().map(ToOwned::to_owned);
    let answer = match (parts.method, path) {
        (Method::GET, path) if path.ends_with("/issues/4/comments") => {
            talk.0.iter().enumerate().map(|(id, said)| json!({"id": id, "body": said})).collect()
        }
        (Method::POST, path) if path.ends_with("/issues/4/comments") => {
            talk.0.extend(said);
            json!({})
        }
        (Method::PATCH, path) if path.ends_with("/issues/comments/0") => {
            talk.0[0] = said.unwrap();
            json!({})
        }
        (Method::GET, _) if query.contains("state=closed") => json!([{
            "number": 4, "html_url": "https://forge.example/team/gitops/pulls/4", "title": "release(a): update",
            "state": "closed", "merged": true, "merge_commit_sha": commit,
            "head": {"ref": "kmlflow/production/models/fraud", "sha": commit, "repo": repo}, "base": {"ref": "main", "repo": repo},
        }]),
        _ => json!([]),
    };
    Response::builder().status(200).body(Body::from(answer.to_string())).unwrap()
}

/// Takes from the forge what was merged.
async fn looks_on(shared: &Shared, forge: &Forge) {
    Rounds::of_who_follows(shared, forge).look_on(shared, forge, shared.reviews.forgotten()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_comment_of_a_merged_review_is_changed_with_what_the_cluster_shows_and_only_then() {
    let talk = Talk::default();
    let forge = talk.start().await;
    let mut far = Far::without_start().await;
    far.world.remote.as_mut().unwrap().forge = Some(Arc::clone(&forge));
    let world = std::mem::replace(&mut far.world, World::new(Period::ZERO, 1_000));
    let mut scene = Scene::of(world).await;
    scene.world.put("fraud", single("7")).await;
    scene.world.is_reviewed = true;
    scene.start().await;
    let shared = scene.world.handle().shared;
    let mut refusals = Refusals::default();
    // What was merged is taken from the forge.
    looks_on(&shared, &forge).await;
    recall(&shared).await;
    assert_eq!(tell_comment(&shared, &forge, &mut refusals).await, Some(Ok(())));
    talk.says("**Merged, going live** (version 7, alone).", 2);
    recall(&shared).await;
    assert_eq!(tell_comment(&shared, &forge, &mut refusals).await, None, "it says so already");
    talk.says("**Merged, going live**", 2);

    scene.comes(Cluster::Ready).await;
    scene.until("v7 is live", |view| view.status.state == StatusState::Live).await;
    assert_eq!(tell_comment(&shared, &forge, &mut refusals).await, Some(Ok(())));
    talk.says("**Merged, and live** since 2026-11-23T10:00:00Z (version 7, alone).", 4);
    let live = talk.said().0;

    // Over a restart the same is found again, and not said anew.
    drop(shared);
    scene.start().await;
    scene.until("v7 is live again", |view| view.status.state == StatusState::Live).await;
    let shared = scene.world.handle().shared;
    looks_on(&shared, &forge).await;
    recall(&shared).await;
    assert_eq!(tell_comment(&shared, &forge, &mut refusals).await, Some(Ok(())));
    assert_eq!(talk.said(), (live, 5));
    scene.comes(Cluster::NewestIsUnready).await;
    scene.until("it fails", |view| view.status.state == StatusState::Degraded).await;
    assert_eq!(tell_comment(&shared, &forge, &mut refusals).await, Some(Ok(())));
    talk.says("**Merged, and degraded** since", 7);
    scene.comes(Cluster::Ready).await;
    scene.until("it is well again", |view| view.status.state == StatusState::Live).await;
    assert_eq!(tell_comment(&shared, &forge, &mut refusals).await, Some(Ok(())));

    // What happened longer ago is not looked at again at a start.
    scene.world.clock.advance(Duration::from_secs(25 * 3_600));
    drop(shared);
    scene.start().await;
    scene.until("v7 is live as before", |view| view.status.state == StatusState::Live).await;
    let shared = scene.world.handle().shared;
    looks_on(&shared, &forge).await;
    recall(&shared).await;
    assert_eq!(tell_comment(&shared, &forge, &mut refusals).await, None);
}
