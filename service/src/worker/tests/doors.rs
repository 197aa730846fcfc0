//! Argo CD's doors are told of pushes where no cluster is watched.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;

use super::*;
use crate::sync::{DoorSettings, Doors};
use crate::worker::observe::tell_doors;

/// A door that refuses the first calls, and what it was told.
#[derive(Clone, Default)]
struct Door {
    refused: Arc<AtomicU32>,
    told: Arc<Mutex<Vec<Value>>>,
}

impl Door {
    async fn open(refusals: u32) -> (Self, String) {
        let door = Self { refused: Arc::new(AtomicU32::new(refusals)), told: Arc::default() };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/api/webhook", listener.local_addr().unwrap());
        let router = Router::new().fallback(answer).with_state(door.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (door, url)
    }

    /// Waits until it was told of the tip, and says which files were named on the way there.
    async fn files_until(&self, tip: &str) -> Vec<String> {
        let told = async {
            loop {
                let told = self.told.lock().unwrap().clone();
                if told.last().is_some_and(|push| push["after"] == tip) {
                    return told;
                }
                tokio::task::yield_now().await;
            }
        };
        let told = tokio::time::timeout(Duration::from_secs(30), told).await.expect("the door is told");
        let files = told.iter().flat_map(|push| push["commits"][0]["modified"].as_array().unwrap());
        files.map(|file| file.as_str().unwrap().to_owned()).collect()
    }
}

async fn answer(State(door): State<Door>, body: String) -> StatusCode {
    if door.refused.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    door.told.lock().unwrap().push(serde_json::from_str(&body).unwrap());
    StatusCode::OK
}

/// A service that tells these doors.
async fn telling(urls: Vec<String>) -> World {
    let sign = Arc::new(|_: &[u8]| ("x-hub-signature-256", "sha256=of-the-tests".to_owned()));
    let repository = "http://kmlflow.test/git/gitops.git".to_owned();
    let settings = DoorSettings { urls, repository, branch: "main".to_owned(), sign };
    let mut world = World::new(Period::ZERO, 1_000);
    world.doors = Some(Doors::new(settings).unwrap());
    world.start().await;
    tokio::spawn(tell_doors(Arc::clone(&world.handle().shared)));
    world
}

fn file(name: &str) -> String {
    format!("releases/production/models/{name}/release.yaml")
}

#[tokio::test(flavor = "multi_thread")]
async fn each_door_is_told_of_a_push_and_a_door_that_is_away_again() {
    let ((well, one), (away, other)) = (Door::open(0).await, Door::open(1).await);
    let mut world = telling(vec![one, other]).await;
    world.put("fraud", single("7")).await;
    let tip = |world: &World| world.handle().shared.repository.tip().unwrap().to_string();
    assert_eq!(well.files_until(&tip(&world)).await, [file("fraud")]);
    world.put("churn", single("1")).await;
    let tip = tip(&world);
    assert_eq!(well.files_until(&tip).await, [file("fraud"), file("churn")]);
    let mut files = away.files_until(&tip).await;
    files.sort();
    assert_eq!(files, [file("churn"), file("fraud")], "what it missed goes with what came after");
    let metrics = world.handle().metrics().await;
    assert!(metrics.contains("kmlflow_argocd_pushes_total{outcome=\"retried\"} 1"), "{metrics}");
    assert!(metrics.contains("kmlflow_argocd_pushes_total{outcome=\"failed\"} 0"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_door_that_never_answers_holds_nothing_back() {
    // It takes connections and says nothing.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut world = telling(vec![format!("http://{}/api/webhook", listener.local_addr().unwrap())]).await;
    for version in ["7", "8", "9"] {
        let done = world.put("fraud", single(version)).await;
        assert_eq!(done.release.unwrap().release.stable().unwrap().version.as_str(), version);
    }
}
