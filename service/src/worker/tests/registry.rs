//! With a tracking server: what it says wins over what events say, wishes are answered once, versions are told, and the sweep finds the rest.
//!
//! The server here is a stand-in that answers as MLflow 3.17.2 was recorded to; the tier `mlflow` runs the same on the real one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};

use super::super::{DifferenceKind, RegistrySettings, SweepReport};
use super::*;
use crate::event::DeliveryState;
use crate::mlflow::{Client, Settings as ClientSettings};

type Tags = BTreeMap<String, String>;

/// A tracking server in memory, on a port of its own; gone with the test.
pub(super) struct Registry {
    state: Arc<Mutex<Content>>,
    address: String,
    serving: tokio::task::JoinHandle<()>,
}

#[derive(Default)]
pub(super) struct Content {
    pub(super) models: BTreeMap<String, Model>,
    /// Answers 503 to everything.
    pub(super) is_down: bool,
    /// Refuses to write.
    is_read_only: bool,
    /// What was asked, in order.
    asked: Vec<String>,
}

#[derive(Default)]
pub(super) struct Model {
    pub(super) aliases: BTreeMap<String, String>,
    versions: BTreeMap<u32, Tags>,
    /// Where the files are, and those of each version.
    location: Option<String>,
    files: BTreeMap<(u32, String), String>,
}

type Shared = Arc<Mutex<Content>>;

impl Registry {
    pub(super) async fn start() -> Self {
        let state = Shared::default();
        let app = Router::new()
            .route("/api/2.0/mlflow/registered-models/get", get(model))
            .route("/api/2.0/mlflow/registered-models/search", get(models))
            .route("/api/2.0/mlflow/model-versions/get", get(version))
            .route("/api/2.0/mlflow/model-versions/search", get(versions))
            .route("/api/2.0/mlflow/model-versions/get-download-uri", get(location))
            .route("/model-versions/get-artifact", get(file))
            .route("/api/2.0/mlflow/model-versions/set-tag", post(set_tag))
            .route("/api/2.0/mlflow/model-versions/delete-tag", delete(delete_tag))
            .with_state(Arc::clone(&state));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let serving = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { state, address, serving }
    }

    pub(super) fn settings(&self) -> RegistrySettings {
        let settings = ClientSettings { tracking_uri: self.address.clone(), username: None, password: None };
        RegistrySettings {
            client: Client::new(settings).unwrap(),
            sweep_interval: Period::from_minutes(1),
            write_back: true,
            artifacts_destination: None,
        }
    }

    pub(super) fn content(&self) -> MutexGuard<'_, Content> {
        lock(&self.state)
    }

    /// Registers versions 1 to `count` of a model, each with the image that serves it.
    fn register(&self, model: &str, count: u32) {
        for version in 1..=count {
            let image = format!("registry.example/{model}:{version}");
            self.register_one(model, version, &[("serving_image", &image)]);
        }
    }

    /// Registers one version with tags.
    pub(super) fn register_one(&self, model: &str, version: u32, tags: &[(&str, &str)]) {
        let mut content = self.content();
        let model = content.models.entry(model.to_owned()).or_default();
        model.versions.insert(version, tags.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect());
    }

    /// Says where the files of a model are.
    pub(super) fn locate(&self, model: &str, location: &str) {
        self.content().models.get_mut(model).unwrap().location = Some(location.to_owned());
    }

    fn alias(&self, model: &str, alias: &str, version: Option<u32>) {
        let mut content = self.content();
        let aliases = &mut content.models.get_mut(model).unwrap().aliases;
        match version {
            Some(version) => aliases.insert(alias.to_owned(), version.to_string()),
            None => aliases.remove(alias),
        };
    }

    pub(super) fn set_tag(&self, model: &str, version: u32, key: &str, value: &str) {
        self.content()
            .models
            .get_mut(model)
            .unwrap()
            .versions
            .get_mut(&version)
            .unwrap()
            .insert(key.into(), value.into());
    }

    fn tags(&self, model: &str, version: u32) -> Tags {
        self.content().models[model].versions[&version].clone()
    }

    /// Gives a version a file.
    pub(super) fn file(&self, model: &str, version: u32, path: &str, text: &str) {
        self.content().models.get_mut(model).unwrap().files.insert((version, path.to_owned()), text.to_owned());
    }

    /// One of the tags that tell how a version fares.
    pub(super) fn status(&self, model: &str, version: u32, name: &str) -> Option<String> {
        self.tags(model, version).get(&format!("kmlflow.status.{name}")).cloned()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn lock(shared: &Shared) -> MutexGuard<'_, Content> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn tags_json(tags: &Tags) -> Value {
    tags.iter().map(|(key, value)| json!({"key": key, "value": value})).collect()
}

fn version_json(name: &str, version: u32, tags: &Tags) -> Value {
    let mut value = json!({"name": name, "version": version.to_string(), "source": format!("s3://models/{name}/{version}"), "run_id": "", "status": "READY"});
    // MLflow leaves out what is empty.
    if !tags.is_empty() {
        value["tags"] = tags_json(tags);
    }
    value
}

fn model_json(name: &str, model: &Model) -> Value {
    let aliases: Value =
        model.aliases.iter().map(|(alias, version)| json!({"alias": alias, "version": version})).collect();
    let mut value = json!({"name": name});
    if !model.aliases.is_empty() {
        value["aliases"] = aliases;
    }
    value
}

fn missing(what: &str) -> Response {
    let body = json!({"error_code": "RESOURCE_DOES_NOT_EXIST", "message": format!("{what} not found")});
    (StatusCode::NOT_FOUND, Json(body)).into_response()
}

/// Notes what was asked; an answer where the server is down.
fn asked(shared: &Shared, what: &str) -> Option<Response> {
    let mut content = lock(shared);
    content.asked.push(what.to_owned());
    content.is_down.then(|| StatusCode::SERVICE_UNAVAILABLE.into_response())
}

async fn model(State(shared): State<Shared>, Query(query): Query<Tags>) -> Response {
    if let Some(answer) = asked(&shared, "model") {
        return answer;
    }
    match lock(&shared).models.get(&query["name"]) {
        Some(model) => Json(json!({"registered_model": model_json(&query["name"], model)})).into_response(),
        None => missing("model"),
    }
}

async fn models(State(shared): State<Shared>) -> Response {
    if let Some(answer) = asked(&shared, "models") {
        return answer;
    }
    let all: Vec<Value> = lock(&shared).models.iter().map(|(name, model)| model_json(name, model)).collect();
    Json(if all.is_empty() { json!({}) } else { json!({"registered_models": all}) }).into_response()
}

async fn version(State(shared): State<Shared>, Query(query): Query<Tags>) -> Response {
    if let Some(answer) = asked(&shared, "version") {
        return answer;
    }
    let number = query["version"].parse().unwrap();
    let content = lock(&shared);
    let tags = content.models.get(&query["name"]).and_then(|model| model.versions.get(&number));
    match tags {
        Some(tags) => Json(json!({"model_version": version_json(&query["name"], number, tags)})).into_response(),
        None => missing("version"),
    }
}

async fn location(State(shared): State<Shared>, Query(query): Query<Tags>) -> Response {
    if let Some(answer) = asked(&shared, "location") {
        return answer;
    }
    let content = lock(&shared);
    let location = content.models.get(&query["name"]).and_then(|model| model.location.clone());
    Json(json!({"artifact_uri": location.unwrap_or_else(|| format!("s3://models/{}", query["version"]))}))
        .into_response()
}

async fn file(State(shared): State<Shared>, Query(query): Query<Tags>) -> Response {
    if let Some(answer) = asked(&shared, "file") {
        return answer;
    }
    let content = lock(&shared);
    let wanted = (query["version"].parse().unwrap(), query["path"].clone());
    match content.models.get(&query["name"]).and_then(|model| model.files.get(&wanted)) {
        Some(text) => text.clone().into_response(),
        None => missing("file"),
    }
}

/// Understands of filters what the client uses: a name, and a tag that must be there.
async fn versions(State(shared): State<Shared>, Query(query): Query<Tags>) -> Response {
    if let Some(answer) = asked(&shared, "versions") {
        return answer;
    }
    let filter = query.get("filter").cloned().unwrap_or_default();
    let between = |from: &str, to: &str| Some(filter.split_once(from)?.1.split_once(to)?.0.to_owned());
    let (name, tag) = (between("name='", "'"), between("tags.`", "`"));
    let content = lock(&shared);
    let models = content.models.iter().filter(|(model, _)| name.as_ref().is_none_or(|name| name == *model));
    let all = models.flat_map(|(name, model)| model.versions.iter().rev().map(move |(v, tags)| (name, *v, tags)));
    let found: Vec<Value> = all
        .filter(|(_, _, tags)| tag.as_ref().is_none_or(|tag| tags.contains_key(tag)))
        .map(|(name, version, tags)| version_json(name, version, tags))
        .collect();
    Json(if found.is_empty() { json!({}) } else { json!({"model_versions": found}) }).into_response()
}

async fn set_tag(State(shared): State<Shared>, Json(body): Json<Tags>) -> Response {
    write_tag(&shared, &body, Some(body["value"].clone()))
}

async fn delete_tag(State(shared): State<Shared>, Json(body): Json<Tags>) -> Response {
    write_tag(&shared, &body, None)
}

fn write_tag(shared: &Shared, body: &Tags, value: Option<String>) -> Response {
    if let Some(answer) = asked(shared, "write") {
        return answer;
    }
    let mut content = lock(shared);
    if content.is_read_only {
        return (StatusCode::FORBIDDEN, "Permission denied").into_response();
    }
    let tags =
        content.models.get_mut(&body["name"]).and_then(|m| m.versions.get_mut(&body["version"].parse().unwrap()));
    match (tags, value) {
        (None, _) => return missing("version"),
        (Some(tags), Some(value)) => tags.insert(body["key"].clone(), value),
        (Some(tags), None) => tags.remove(&body["key"]),
    };
    Json(json!({})).into_response()
}

/// A service with a tracking server that has versions 1 to 5 of `fraud`.
async fn world() -> World {
    let registry = Registry::start().await;
    registry.register("fraud", 5);
    World::tracking(registry).await
}

impl World {
    /// A service with a tracking server, whose phases follow at once.
    pub(super) async fn tracking(registry: Registry) -> Self {
        let mut world = Self { registry: Some(registry), ..Self::new(Period::ZERO, 1_000) };
        world.start().await;
        world
    }

    pub(super) fn registry(&self) -> &Registry {
        self.registry.as_ref().unwrap()
    }

    /// Sets an alias there and delivers the event of it.
    pub(super) async fn set_alias(&mut self, name: &str, version: u32) -> DeliveryView {
        self.registry().alias("fraud", name, Some(version));
        self.event("fraud", alias(name, &version.to_string())).await
    }

    async fn sweep(&mut self, dry_run: bool) -> SweepReport {
        let report = self.handle().sweep(dry_run).await.unwrap();
        self.run().await;
        report
    }
}

#[tokio::test]
async fn what_the_registry_says_wins_over_what_an_event_says() {
    let mut world = world().await;
    world.registry().alias("fraud", "champion", Some(2));
    // Out of order: the event of before arrives last.
    let late = world.event("fraud", alias("champion", "1")).await;
    assert_eq!(late.state, DeliveryState::Applied, "{late:?}");
    assert_eq!(world.state("fraud").await, "single settled live=2");
    let again = world.event("fraud", alias("champion", "1")).await;
    assert_eq!(again.state, DeliveryState::Unchanged);
    assert_eq!(world.state("fraud").await, "single settled live=2");
}

#[tokio::test]
async fn a_model_that_the_registry_does_not_have_is_ignored() {
    let mut world = world().await;
    let test = world.event("example_model", alias("example_alias", "1")).await;
    assert_eq!(test.state, DeliveryState::Ignored);
    assert!(test.reason.unwrap().contains("has no model `example_model`"));
    assert!(world.actions().is_empty());
}

#[tokio::test]
async fn an_alias_of_a_version_that_is_not_there_counts_as_not_set() {
    let mut world = world().await;
    let event = world.set_alias("champion", 9).await;
    assert_eq!(event.state, DeliveryState::Ignored, "{event:?}");
    assert!(world.actions().is_empty());
}

#[tokio::test]
async fn a_burst_about_one_model_is_read_once_or_twice() {
    let mut world = world().await;
    world.registry().alias("fraud", "champion", Some(1));
    let at = world.clock.now_exact();
    for n in 0..40 {
        world.deliver(&format!("burst-{n}"), "fraud", alias("champion", "1"), at).await;
    }
    world.run().await;
    assert_eq!(world.actions(), ["create"]);
    let reads = world.registry().content().asked.iter().filter(|asked| *asked == "model").count();
    assert!(reads <= 2, "{reads} reads for 40 deliveries");
    for n in 0..40 {
        let state = world.handle().delivery(&format!("burst-{n}")).await.unwrap().state;
        assert!(!state.is_waiting(), "{n}: {state}");
    }
}

#[tokio::test]
async fn while_the_registry_is_down_a_delivery_waits_and_is_carried_out_afterwards() {
    let mut world = world().await;
    world.registry().content().is_down = true;
    let waiting = world.set_alias("champion", 1).await;
    assert_eq!(waiting.state, DeliveryState::Failed);
    assert!(waiting.reason.as_ref().unwrap().contains("the registry could not be asked about `fraud`"), "{waiting:?}");
    assert!(waiting.next_attempt_at.is_some());
    world.registry().content().is_down = false;
    world.turn_clock(10).await;
    assert_eq!(world.handle().delivery(&waiting.id).await.unwrap().state, DeliveryState::Applied);
    assert_eq!(world.state("fraud").await, "single settled live=1");
}

#[tokio::test]
async fn a_restart_reads_again_what_was_accepted_before() {
    let mut world = world().await;
    let at = world.clock.now_exact();
    world.deliver("one", "fraud", alias("champion", "1"), at).await;
    world.kill();
    world.registry().alias("fraud", "champion", Some(3));
    world.start().await;
    world.run().await;
    assert_eq!(world.state("fraud").await, "single settled live=3");
}

#[tokio::test]
async fn a_wish_is_answered_once_and_its_tag_deleted() {
    let mut world = world().await;
    world.set_alias("champion", 1).await;
    world.registry().set_tag("fraud", 2, "kmlflow.release", "canary");
    let wish = json!({"kind": "tagSet", "version": "2", "key": "kmlflow.release", "value": "canary"});
    let answered = world.event("fraud", wish).await;
    assert_eq!(answered.state, DeliveryState::Applied, "{answered:?}");
    assert_eq!(world.state("fraud").await, "canary running stable=1 candidate=2");
    assert!(!world.registry().tags("fraud", 2).contains_key("kmlflow.release"));
    world.act("fraud", Act::Abort).await;
    let commits = world.log().len();
    for _ in 0..3 {
        world.sweep(false).await;
    }
    assert_eq!(world.log().len(), commits, "it was answered");
}

#[tokio::test]
async fn a_wish_whose_tag_cannot_be_deleted_is_answered_once_all_the_same_and_again_when_set_anew() {
    let mut world = world().await;
    world.set_alias("champion", 1).await;
    world.registry().content().is_read_only = true;
    world.registry().set_tag("fraud", 2, "kmlflow.release", "single");
    let wish = || json!({"kind": "tagSet", "version": "2", "key": "kmlflow.release", "value": "single"});
    world.event("fraud", wish()).await;
    assert_eq!(world.state("fraud").await, "single settled live=2");
    world.act("fraud", Act::Rollback { to: None }).await;
    world.start().await;
    world.sweep(false).await;
    world.event("fraud", json!({"kind": "tagSet", "version": "1", "key": "note", "value": "x"})).await;
    assert_eq!(world.state("fraud").await, "single settled live=1", "the tag is still there, and was answered");
    world.clock.advance(Duration::from_secs(60));
    world.event("fraud", wish()).await;
    assert_eq!(world.state("fraud").await, "single settled live=2", "it was set anew");
}

#[tokio::test]
async fn a_lost_event_costs_no_more_than_the_time_to_the_next_sweep() {
    let mut world = world().await;
    world.registry().alias("fraud", "champion", Some(1));
    let looked = world.sweep(true).await;
    assert_eq!(looked.differences[0].kind, DifferenceKind::Repaired, "{looked:?}");
    assert!(looked.dry_run && world.actions().is_empty());
    let report = world.sweep(false).await;
    assert!(report.differences[0].delivery.is_some(), "{report:?}");
    assert_eq!(world.state("fraud").await, "single settled live=1");
    let delivery = world.handle().delivery(report.differences[0].delivery.as_ref().unwrap()).await.unwrap();
    assert_eq!((delivery.source, delivery.state), (Source::Sweep, DeliveryState::Applied));
    // Moved, added, gone: all of it while nobody listened.
    world.registry().alias("fraud", "challenger", Some(2));
    world.sweep(false).await;
    assert_eq!(world.state("fraud").await, "canary running stable=1 candidate=2");
    world.registry().alias("fraud", "champion", Some(2));
    world.sweep(false).await;
    assert_eq!(world.state("fraud").await, "single settled live=2");
    assert_eq!(world.sweep(false).await.differences, []);
}

#[tokio::test]
async fn what_was_rolled_back_stays_away_through_ten_sweeps_and_a_lost_store() {
    let mut world = world().await;
    world.set_alias("champion", 1).await;
    world.set_alias("champion", 2).await;
    world.act("fraud", Act::Rollback { to: None }).await;
    for _ in 0..10 {
        let report = world.sweep(false).await;
        assert_eq!(report.differences[0].kind, DifferenceKind::Stands, "{report:?}");
        assert_eq!(world.state("fraud").await, "single settled live=1");
    }
    world.kill();
    for file in ["kmlflow.db", "kmlflow.db-wal", "kmlflow.db-shm"] {
        drop(std::fs::remove_file(world.dir.path().join(file)));
    }
    world.start().await;
    world.sweep(false).await;
    assert_eq!(world.state("fraud").await, "single settled live=1");
    // Away and back again is a new decision.
    world.set_alias("champion", 1).await;
    world.clock.advance(Duration::from_secs(5));
    world.set_alias("champion", 2).await;
    assert_eq!(world.state("fraud").await, "single settled live=2");
}

#[tokio::test]
async fn what_a_person_released_stands_until_the_registry_changes() {
    let mut world = world().await;
    world.set_alias("champion", 1).await;
    world.put("fraud", single("4")).await;
    let report = world.sweep(false).await;
    let [difference] = report.differences.as_slice() else { panic!("{report:?}") };
    assert_eq!(difference.kind, DifferenceKind::Stands);
    assert!(difference.reason.contains("ada decided otherwise"), "{difference:?}");
    assert_eq!(world.state("fraud").await, "single settled live=4");
    world.registry().alias("fraud", "champion", Some(5));
    world.sweep(false).await;
    assert_eq!(world.state("fraud").await, "single settled live=5");
}

#[tokio::test]
async fn a_version_that_was_deleted_while_it_serves_is_told_and_stays() {
    let mut world = world().await;
    world.set_alias("champion", 3).await;
    world.registry().content().models.get_mut("fraud").unwrap().versions.remove(&3);
    world.registry().alias("fraud", "champion", None);
    let report = world.sweep(false).await;
    let deleted =
        report.differences.iter().find(|d| d.kind == DifferenceKind::Deleted).unwrap_or_else(|| panic!("{report:?}"));
    assert!(deleted.cure.as_ref().unwrap().contains("kmlflow retract fraud -n models"), "{deleted:?}");
    assert_eq!(world.state("fraud").await, "single settled live=3");
    let metrics = world.handle().metrics().await;
    assert!(metrics.contains("kmlflow_sweep_differences{kind=\"deleted\"} 1"), "{metrics}");
}

#[tokio::test]
async fn versions_are_told_how_they_fare() {
    let mut world = world().await;
    let first = world.set_alias("champion", 1).await;
    let status = |world: &World, version: u32, name: &str| world.registry().status("fraud", version, name);
    assert_eq!(status(&world, 1, "state").as_deref(), Some("serving"));
    assert_eq!(status(&world, 1, "release").as_deref(), Some("production/models/fraud"));
    assert_eq!(status(&world, 1, "commit"), first.commit.map(|commit| commit.to_string()));
    assert_eq!(status(&world, 1, "url").as_deref(), Some("http://fraud-models.k5w.localhost/v2/models/fraud/infer"));
    world.set_alias("challenger", 2).await;
    assert_eq!(status(&world, 2, "state").as_deref(), Some("running"));
    world.act("fraud", Act::Abort).await;
    assert_eq!(status(&world, 2, "state").as_deref(), Some("rejected"));
    assert_eq!(status(&world, 2, "reason").as_deref(), Some("aborted by ada"));
    assert_eq!(status(&world, 2, "url"), None, "it answers no more");
    world.set_alias("champion", 3).await;
    assert_eq!(
        (status(&world, 1, "state"), status(&world, 3, "state")),
        (Some("retired".into()), Some("serving".into()))
    );
}

#[tokio::test]
async fn a_refused_version_is_told_why() {
    let mut world = world().await;
    world.registry().set_tag("fraud", 2, "kmlflow.release", "blue");
    let wish = json!({"kind": "tagSet", "version": "2", "key": "kmlflow.release", "value": "blue"});
    let refused = world.event("fraud", wish).await;
    assert_eq!(refused.state, DeliveryState::Refused);
    let registry = world.registry();
    assert_eq!(registry.status("fraud", 2, "state").as_deref(), Some("refused"));
    let reason = registry.status("fraud", 2, "reason").unwrap();
    assert!(reason.contains("blue-green"), "it names the known ones: {reason}");
}

#[tokio::test]
async fn tags_that_could_not_be_written_hold_up_nothing_and_the_sweep_writes_them() {
    let mut world = world().await;
    world.registry().alias("fraud", "champion", Some(1));
    world.registry().content().is_read_only = true;
    let event = world.event("fraud", alias("champion", "1")).await;
    assert_eq!(event.state, DeliveryState::Applied);
    assert_eq!(world.registry().status("fraud", 1, "state"), None);
    world.registry().content().is_read_only = false;
    world.sweep(false).await;
    assert_eq!(world.registry().status("fraud", 1, "state").as_deref(), Some("serving"));
    let writes = |world: &World| world.registry().content().asked.iter().filter(|asked| *asked == "write").count();
    let before = writes(&world);
    world.sweep(false).await;
    assert_eq!(writes(&world), before, "what is written is not written again");
}

#[tokio::test]
async fn without_a_tracking_server_there_is_nothing_to_sweep() {
    let world = World::immediate().await;
    let Err(Fault::Refused(refusal)) = world.handle().sweep(true).await else { panic!("it swept") };
    assert!(refusal.cure.unwrap().contains("mlflow.tracking_uri"));
}
