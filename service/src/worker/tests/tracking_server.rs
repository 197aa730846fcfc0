//! A tracking server in memory that answers as MLflow 3.17.2 was recorded to; the tier `mlflow` runs the same on the real one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use tokio::sync::Barrier;

use super::super::{RegistrySettings, SweepReport};
use super::*;
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
    /// Answers 503 to one kind of question.
    pub(super) busy: Option<&'static str>,
    /// Refuses to write.
    pub(super) is_read_only: bool,
    /// What was asked, in order.
    pub(super) asked: Vec<String>,
    /// Lets questions for a location wait for each other until there are so many.
    pub(super) together: Option<Arc<Barrier>>,
    /// How many of them are waiting, and the most that ever were.
    waiting: usize,
    pub(super) waiting_max: usize,
}

#[derive(Default)]
pub(super) struct Model {
    pub(super) aliases: BTreeMap<String, String>,
    pub(super) versions: BTreeMap<u32, Tags>,
    /// Where the files are, and those of each version.
    location: Option<String>,
    files: BTreeMap<(u32, String), String>,
    /// The tags of the run that logged a version, which is named after it.
    pub(super) runs: BTreeMap<u32, Tags>,
    /// What that run measured.
    metrics: BTreeMap<u32, BTreeMap<String, f64>>,
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
            .route("/api/2.0/mlflow/runs/get", get(run))
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
    pub(super) fn register(&self, model: &str, count: u32) {
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

    /// Gives the run that logged a version a tag.
    pub(super) fn set_run_tag(&self, model: &str, version: u32, key: &str, value: &str) {
        let mut content = self.content();
        let runs = &mut content.models.get_mut(model).unwrap().runs;
        runs.entry(version).or_default().insert(key.into(), value.into());
    }

    /// Has the run that logged a version have measured something.
    pub(super) fn measure(&self, model: &str, version: u32, metric: &str, value: f64) {
        let mut content = self.content();
        let model = content.models.get_mut(model).unwrap();
        model.runs.entry(version).or_default();
        model.metrics.entry(version).or_default().insert(metric.into(), value);
    }

    /// Says where the files of a model are.
    pub(super) fn locate(&self, model: &str, location: &str) {
        self.content().models.get_mut(model).unwrap().location = Some(location.to_owned());
    }

    pub(super) fn alias(&self, model: &str, alias: &str, version: Option<u32>) {
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

    pub(super) fn tags(&self, model: &str, version: u32) -> Tags {
        self.content().models[model].versions[&version].clone()
    }

    /// A tag of a version.
    pub(super) fn tag(&self, model: &str, version: u32, key: &str) -> Option<String> {
        self.tags(model, version).remove(key)
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

fn version_json(name: &str, model: &Model, version: u32, tags: &Tags) -> Value {
    let run = if model.runs.contains_key(&version) { format!("{name}/{version}") } else { String::new() };
    let mut value = json!({"name": name, "version": version.to_string(), "source": format!("s3://models/{name}/{version}"), "run_id": run, "status": "READY"});
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
    (content.is_down || content.busy == Some(what)).then(|| StatusCode::SERVICE_UNAVAILABLE.into_response())
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
    let model = content.models.get(&query["name"]);
    match model.and_then(|model| Some((model, model.versions.get(&number)?))) {
        Some((model, tags)) => {
            Json(json!({"model_version": version_json(&query["name"], model, number, tags)})).into_response()
        }
        None => missing("version"),
    }
}

async fn run(State(shared): State<Shared>, Query(query): Query<Tags>) -> Response {
    if let Some(answer) = asked(&shared, "run") {
        return answer;
    }
    let content = lock(&shared);
    let (name, version) = query["run_id"].split_once('/').unwrap();
    let version = version.parse().unwrap();
    let model = content.models.get(name);
    match model.and_then(|model| model.runs.get(&version)) {
        Some(tags) => {
            let metrics = model.and_then(|model| model.metrics.get(&version)).into_iter().flatten();
            let metrics: Value = metrics.map(|(key, value)| json!({"key": key, "value": value, "step": 0})).collect();
            Json(json!({"run": {"data": {"tags": tags_json(tags), "metrics": metrics}}})).into_response()
        }
        None => missing("run"),
    }
}

async fn location(State(shared): State<Shared>, Query(query): Query<Tags>) -> Response {
    if let Some(answer) = asked(&shared, "location") {
        return answer;
    }
    let together = lock(&shared).together.clone();
    if let Some(barrier) = together {
        {
            let mut content = lock(&shared);
            content.waiting += 1;
            content.waiting_max = content.waiting_max.max(content.waiting);
        }
        barrier.wait().await;
        lock(&shared).waiting -= 1;
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
    let all =
        models.flat_map(|(name, model)| model.versions.iter().rev().map(move |(v, tags)| (name, model, *v, tags)));
    let found: Vec<Value> = all
        .filter(|(.., tags)| tag.as_ref().is_none_or(|tag| tags.contains_key(tag)))
        .map(|(name, model, version, tags)| version_json(name, model, version, tags))
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
pub(super) async fn world() -> World {
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

    pub(super) async fn sweep(&mut self, dry_run: bool) -> SweepReport {
        let report = self.handle().sweep(dry_run).await.unwrap();
        self.run().await;
        report
    }
}
