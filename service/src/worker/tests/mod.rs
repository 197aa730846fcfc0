//! The conveyor from the outside: deliveries and requests go in, commits of a real repository come out.

mod argocd;
mod beside;
mod bounds;
mod broken_off;
mod claims;
mod cluster;
mod commented;
mod crash;
mod doors;
mod drift;
mod follower;
mod foreign;
mod forge;
mod frozen;
mod given_again;
mod held_reviews;
mod holds;
mod hostile;
mod import;
mod kept;
mod measured;
mod merged;
mod offers;
mod order;
mod policy;
mod ready;
mod registry;
mod remote;
mod requests;
mod retargeted;
mod rewritten;
mod rounds;
mod servable;
mod stale;
mod starts;
mod storing;
mod told;
mod tracking_server;
mod undone;
mod unmoved;
mod waiting;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use tempfile::TempDir;

use self::tracking_server::Registry;
use super::settings::Limits;
use super::start::open_with;
use super::{
    Answer, DeliveryView, Done, EnvironmentSettings, Fault, Handle, LockError, OpenError, Received, ReleaseView,
    RemoteSettings, Settings, Worker, open,
};
use crate::clock::Clock;
use crate::event::{Event, Guard, NewDelivery, RegistryChange, RegistryFact, Requested, Source};
use crate::git::{Author, LogEntry, Repository, seed};
use crate::names::{CommitId, DeliveryId, EnvironmentName, ReleaseKey};
use crate::plan::EnvironmentTarget;
use crate::policy::seeded_default_policy;
use crate::release::{
    Act, GatewayRef, Intent, Links, MonitoringMode, MonitoringTarget, Period, ReleaseRequest, Serving,
};
use crate::render::Templates;
use crate::servable::Runtimes;
use crate::sync::{Clusters, Doors};

/// A service without doors over a temporary directory.
struct World {
    dir: TempDir,
    clock: Clock,
    delay: Period,
    per_minute: u32,
    require_digest: bool,
    is_reviewed: bool,
    templates: Templates,
    limits: Limits,
    parts: Option<(Handle, Worker)>,
    events: u32,
    /// A tracking server, where there is one.
    registry: Option<Registry>,
    /// The clusters that are watched, if any.
    clusters: Option<Clusters>,
    /// Argo CD's doors, if any.
    doors: Option<Doors>,
    /// Where the branch lives, if elsewhere.
    remote: Option<RemoteSettings>,
}

/// Between two looks at what others bring about: a loop that only yields takes the processor from those it waits for.
const PAUSE: Duration = Duration::from_millis(1);

/// Somebody who will be told that it waits waits this long for that.
const SOON: Duration = Duration::from_secs(5);

/// Lets others go on for a moment.
async fn pause() {
    let nothing = std::future::pending::<()>();
    assert!(tokio::time::timeout(PAUSE, nothing).await.is_err());
}

const NOW: &str = "2026-11-23T10:00:00Z";

/// The image that serves artifacts here.
const RUNTIME: &str = "registry.example/mlserver:1.7.1";

/// A runtime that does not read models stored by skops.
fn runtimes() -> Runtimes {
    let runtime = json!({"python": "3.11", "mlflow": "2.19.0", "formats": ["pickle", "cloudpickle"], "default": true});
    serde_json::from_value(json!({RUNTIME: runtime})).unwrap()
}

fn author() -> Author {
    Author { name: "Kmlflow".into(), email: "kmlflow@localhost".into() }
}

/// A file of the release `fraud` in the repository.
fn path(file: &str) -> String {
    format!("releases/production/models/fraud/{file}")
}

/// A service with one settled release.
async fn with_fraud() -> World {
    let mut world = World::immediate().await;
    world.put("fraud", single("7")).await;
    world
}

fn key(name: &str) -> ReleaseKey {
    ReleaseKey::parse(&format!("production/models/{name}")).unwrap()
}

impl World {
    /// A service whose phases follow at once.
    async fn immediate() -> Self {
        Self::with(Period::ZERO, 1_000).await
    }

    /// A service that waits five minutes after each phase.
    async fn blind() -> Self {
        Self::with(Period::from_minutes(5), 1_000).await
    }

    async fn with(delay: Period, per_minute: u32) -> Self {
        let mut world = Self::new(delay, per_minute);
        world.start().await;
        world
    }

    /// One that was not started yet.
    fn new(delay: Period, per_minute: u32) -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            clock: Clock::manual(NOW.parse().unwrap()),
            delay,
            per_minute,
            require_digest: false,
            is_reviewed: false,
            templates: Templates::built_in(),
            limits: Limits::default(),
            parts: None,
            events: 0,
            registry: None,
            clusters: None,
            doors: None,
            remote: None,
        }
    }

    fn settings(&self) -> Settings {
        let mut files = seed();
        if self.registry.is_none() {
            files.retain(|(path, _)| path != "policies/default.yaml");
            files.push(("policies/default.yaml".into(), seeded_default_policy().into_bytes()));
        }
        let target = EnvironmentTarget {
            cluster: "in-cluster".into(),
            namespace_prefix: String::new(),
            host_suffix: "k5w.localhost".into(),
            gateway: GatewayRef { namespace: "gateway".into(), name: "gateway".into() },
            monitoring: MonitoringTarget { mode: MonitoringMode::Operator, labels: BTreeMap::new() },
            links: Links::default(),
        };
        let environment = EnvironmentSettings {
            target,
            blind_delay: self.delay,
            new_releases_per_minute: self.per_minute,
            require_digest: self.require_digest,
            auto_rollback: true,
            is_reviewed: self.is_reviewed,
        };
        Settings {
            data_dir: self.dir.path().to_owned(),
            remote: self.remote.clone(),
            store: "sqlite:".into(),
            seed: files,
            signing_key: None,
            author: author(),
            environments: BTreeMap::from([(EnvironmentName::parse("production").unwrap(), environment)]),
            templates: self.templates.clone(),
            serving: Serving { runtime: Some(RUNTIME.to_owned()), ..Serving::default() },
            runtimes: runtimes(),
            images: None,
            registry: self.registry.as_ref().map(Registry::settings),
            clusters: self.clusters.clone(),
            lease: None,
            doors: self.doors.clone(),
        }
    }

    /// Starts the service, or starts it again.
    async fn start(&mut self) {
        self.parts = None;
        let begun = std::time::Instant::now();
        self.parts = Some(loop {
            match open_with(self.settings(), self.clock.clone(), self.limits).await {
                // Git that another test starts at this moment has the lock until it is Git.
                Err(OpenError::Lock(LockError::Taken)) if begun.elapsed() < Duration::from_secs(20) => {
                    pause().await;
                }
                opened => break opened.unwrap(),
            }
        });
    }

    /// Ends the service as a power cut would: nothing that is under way is ended.
    fn kill(&mut self) {
        self.parts = None;
    }

    fn handle(&self) -> Handle {
        self.parts.as_ref().unwrap().0.clone()
    }

    /// Lets the writer do all it can do now.
    async fn run(&mut self) {
        self.parts.as_mut().unwrap().1.run_until_idle().await;
    }

    async fn turn_clock(&mut self, minutes: u64) {
        self.clock.advance(Duration::from_secs(minutes * 60));
        self.run().await;
    }

    async fn ask(&mut self, requested: Requested) -> Result<Answer, Fault> {
        self.ask_within(requested, Duration::from_secs(60)).await
    }

    /// The same of somebody who waits for the end no longer than this.
    async fn ask_within(&mut self, requested: Requested, wait: Duration) -> Result<Answer, Fault> {
        let handle = self.handle();
        let asked = tokio::spawn(async move { handle.request(requested, wait).await });
        while !asked.is_finished() {
            self.run().await;
            pause().await;
        }
        asked.await.unwrap()
    }

    async fn done(&mut self, requested: Requested) -> Done {
        match self.ask(requested).await {
            Ok(Answer::Done(done)) => *done,
            other => panic!("not done: {other:?}"),
        }
    }

    async fn put(&mut self, name: &str, body: Value) -> Done {
        self.done(put(name, body)).await
    }

    async fn act(&mut self, name: &str, act: Act) -> Done {
        let requested = self.absolute(name, act).await.unwrap();
        self.done(requested).await
    }

    async fn absolute(&self, name: &str, act: Act) -> Result<Requested, Fault> {
        let intent = self.handle().absolute(&key(name), act).await?;
        Ok(request(name, intent))
    }

    /// Delivers an event of the registry and lets the writer work.
    async fn event(&mut self, model: &str, fact: Value) -> DeliveryView {
        self.events += 1;
        let id = format!("event-{}", self.events);
        let at =
            self.clock.now_exact().saturating_add(jiff::SignedDuration::from_millis(i64::from(self.events))).unwrap();
        self.deliver(&id, model, fact, at).await;
        self.run().await;
        self.handle().delivery(&id).await.unwrap()
    }

    async fn deliver(&self, id: &str, model: &str, fact: Value, at: Timestamp) -> Received {
        let fact: RegistryFact = serde_json::from_value(fact).unwrap();
        let event = Event::RegistryChanged(RegistryChange { model: model.parse().unwrap(), at, fact });
        let id = DeliveryId::parse(id).unwrap();
        let received_at = self.clock.now_exact();
        self.handle()
            .deliver(NewDelivery { source: Source::Mlflow, id, received_at, body: "{}".into(), event })
            .await
            .unwrap()
    }

    async fn view(&self, name: &str) -> ReleaseView {
        self.handle().release(&key(name)).await.unwrap()
    }

    /// Strategy, phase and versions by role, for short comparisons.
    async fn state(&self, name: &str) -> String {
        let view = self.view(name).await;
        let variants: Vec<String> =
            view.release.spec.variants.iter().map(|v| format!("{}={}", v.role, v.version)).collect();
        format!("{} {} {}", view.release.spec.strategy, view.release.rollout.phase.as_str(), variants.join(" "))
    }

    fn repository(&self) -> Repository {
        open_repository(self.dir.path())
    }

    /// The commits after the seed, oldest first.
    fn log(&self) -> Vec<LogEntry> {
        let repository = self.repository();
        let tip = repository.tip().unwrap();
        repository.log(None, &tip).unwrap().into_iter().skip(1).collect()
    }

    /// The `Action` trailers of the commits after the seed.
    fn actions(&self) -> Vec<String> {
        self.log().iter().map(|entry| trailer(entry, "Action").unwrap_or_else(|| "by hand".to_owned())).collect()
    }

    fn read(&self, name: &str, file: &str) -> Option<String> {
        let repository = self.repository();
        let tip = repository.tip().unwrap();
        let bytes = repository.read(&tip, &format!("releases/production/models/{name}/{file}")).unwrap();
        bytes.map(|bytes| String::from_utf8(bytes).unwrap())
    }

    /// Does something to the store behind the service's back.
    async fn sql(&self, statement: &'static str) {
        use sqlx::{ConnectOptions as _, Connection as _};
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(self.dir.path().join("kmlflow.db"));
        let mut store = options.connect().await.unwrap();
        sqlx::query(statement).execute(&mut store).await.unwrap();
        store.close().await.unwrap();
    }

    /// A person's commit, pushed.
    async fn push(&mut self, edits: Vec<(String, Option<String>)>) -> CommitId {
        let commit = commit_by_hand(&self.repository(), edits);
        self.handle().pushed();
        self.run().await;
        commit
    }
}

fn open_repository(data_dir: &Path) -> Repository {
    Repository::open_or_seed(&data_dir.join("gitops.git"), &[], &author(), NOW.parse().unwrap(), None).unwrap().0
}

fn commit_by_hand(repository: &Repository, edits: Vec<(String, Option<String>)>) -> CommitId {
    let person = Author { name: "Ada".into(), email: "ada@example.com".into() };
    commit_as(repository, &person, "by hand\n", edits)
}

/// Commits as somebody, with words of choice.
fn commit_as(
    repository: &Repository,
    author: &Author,
    message: &str,
    edits: Vec<(String, Option<String>)>,
) -> CommitId {
    let base = repository.tip().unwrap();
    let mut draft = repository.draft(&base).unwrap();
    let edits = edits
        .into_iter()
        .map(|(path, text)| crate::git::Edit { path, content: text.map(String::into_bytes) })
        .collect();
    let commit = draft.commit(edits, message, author, NOW.parse().unwrap()).unwrap().unwrap();
    assert_eq!(repository.push_now(&base, &commit).unwrap(), crate::git::Publish::Done);
    commit
}

fn trailer(entry: &LogEntry, name: &str) -> Option<String> {
    entry.trailers.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone())
}

fn request(name: &str, intent: Intent) -> Requested {
    Requested { key: key(name), intent, guard: Guard::default(), requested_by: Some("ada".into()) }
}

fn put(name: &str, mut body: Value) -> Requested {
    body["model"] = body.get("model").cloned().unwrap_or_else(|| json!("fraud"));
    if body.get("image").is_none() {
        body["image"] = json!(format!("registry.example/fraud:{}", body["version"].as_str().unwrap()));
    }
    let wanted = serde_json::from_value::<ReleaseRequest>(body).unwrap().wanted().unwrap();
    request(name, Intent::Put(Box::new(wanted)))
}

fn single(version: &str) -> Value {
    json!({"version": version})
}

fn canary(version: &str) -> Value {
    json!({"version": version, "strategy": "canary", "steps": [5, 25, 50]})
}

fn alias(alias: &str, version: &str) -> Value {
    json!({"kind": "aliasSet", "alias": alias, "version": version})
}

fn refusal(answer: Result<Answer, Fault>) -> crate::release::Refusal {
    match answer {
        Err(Fault::Refused(refusal)) => refusal,
        other => panic!("not refused: {other:?}"),
    }
}
