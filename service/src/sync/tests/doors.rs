//! What Argo CD's doors are sent, and what is made of their answers.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use crate::sync::{DoorSettings, Doors, PushTold};

/// What was asked: the headers that matter, and the body.
type Asked = Arc<Mutex<Vec<(Option<String>, Option<String>, Value)>>>;

fn settings(urls: Vec<String>, repository: &str) -> DoorSettings {
    let sign = Arc::new(|body: &[u8]| ("x-hub-signature-256", format!("of {} bytes", body.len())));
    DoorSettings { urls, repository: repository.to_owned(), branch: "main".to_owned(), sign }
}

fn push(files: impl IntoIterator<Item = String>) -> PushTold {
    PushTold { before: "a".repeat(40), after: "b".repeat(40), files: files.into_iter().collect() }
}

/// A door that answers so.
async fn door(status: u16) -> (String, Asked) {
    let asked = Asked::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/api/webhook", listener.local_addr().unwrap());
    let answer = move |State(asked): State<Asked>, headers: HeaderMap, body: String| async move {
        let header = |name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        let told = (header("x-github-event"), header("x-hub-signature-256"), serde_json::from_str(&body).unwrap());
        asked.lock().unwrap().push(told);
        StatusCode::from_u16(status).unwrap()
    };
    let router = Router::new().fallback(answer).with_state(Arc::clone(&asked));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, asked)
}

#[tokio::test]
async fn a_push_is_told_in_the_words_of_github_and_signed() {
    let (url, asked) = door(200).await;
    let doors = Doors::new(settings(vec![url], "https://git.example:8443/team/gitops.git")).unwrap();
    doors.tell(0, &push(["releases/production/models/fraud/release.yaml".to_owned()])).await.unwrap();
    let (event, signature, body) = asked.lock().unwrap().remove(0);
    assert_eq!(event.as_deref(), Some("push"));
    assert_eq!(signature, Some(format!("of {} bytes", body.to_string().len())));
    let files = ["releases/production/models/fraud/release.yaml"];
    let expected = json!({
        "ref": "refs/heads/main", "before": "a".repeat(40), "after": "b".repeat(40),
        "commits": [{"id": "b".repeat(40), "added": [], "modified": files, "removed": []}],
        "repository": {"html_url": "https://git.example/team/gitops", "default_branch": "main"},
    });
    assert_eq!(body, expected);
}

#[tokio::test]
async fn a_door_that_refuses_or_is_away_is_named_by_what_it_does() {
    let (refusing, _) = door(400).await;
    let gone = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        format!("http://{}/api/webhook", listener.local_addr().unwrap())
    };
    let doors = Doors::new(settings(vec![refusing, gone], "http://localhost/git/gitops.git")).unwrap();
    assert_eq!(doors.tell(0, &push([])).await, Err("answers 400".to_owned()));
    assert_eq!(doors.tell(1, &push([])).await, Err("cannot be reached".to_owned()));
}

#[tokio::test]
async fn a_push_of_very_many_files_names_none_so_that_all_are_looked_at() {
    let (url, asked) = door(200).await;
    let doors = Doors::new(settings(vec![url], "git@git.example:team/gitops.git")).unwrap();
    let files = |count: usize| (0..count).map(|number| format!("releases/production/models/m{number}/release.yaml"));
    doors.tell(0, &push(files(2_000))).await.unwrap();
    doors.tell(0, &push(files(2_001))).await.unwrap();
    let asked = asked.lock().unwrap();
    let commits: Vec<usize> = asked.iter().map(|(_, _, body)| body["commits"].as_array().unwrap().len()).collect();
    assert_eq!(commits, [1, 0]);
    assert_eq!(asked[0].2["repository"]["html_url"], "https://git.example/team/gitops");
}

#[test]
fn a_repository_without_a_host_cannot_be_told_of() {
    for repository in ["/srv/git/gitops.git", "file:///srv/git/gitops.git", "embedded", "https://git.example"] {
        assert!(Doors::new(settings(Vec::new(), repository)).is_err(), "{repository}");
    }
}

#[test]
fn what_was_not_told_goes_with_what_comes_after_it() {
    let mut first = push(["one".to_owned()]);
    let later = PushTold { before: "b".repeat(40), after: "c".repeat(40), files: ["two".to_owned()].into() };
    first.followed_by(later);
    let files = ["one", "two"].map(str::to_owned).into();
    assert_eq!(first, PushTold { before: "a".repeat(40), after: "c".repeat(40), files });
}
