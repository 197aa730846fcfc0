//! Applications as Argo CD writes them, and what is kept of them.

use jiff::Timestamp;
use serde::Deserialize;

use super::index::Kind;
use super::objects::{Application, Destination, Object, Operation, OperationPhase};
use super::wire::{Meta, Watched, WireCondition, plain};

/// An Application.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct WireApplication {
    metadata: Meta,
    spec: ApplicationSpec,
    operation: Option<serde::de::IgnoredAny>,
    status: ApplicationStatus,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct ApplicationSpec {
    source: Option<Source>,
    sources: Vec<serde::de::IgnoredAny>,
    destination: WireDestination,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct WireDestination {
    namespace: String,
    name: String,
    server: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Source {
    #[serde(rename = "repoURL")]
    repository: String,
    path: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ApplicationStatus {
    sync: SyncStatus,
    reconciled_at: Option<Timestamp>,
    operation_state: Option<OperationState>,
    conditions: Vec<WireCondition>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct SyncStatus {
    status: String,
    revision: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct OperationState {
    phase: String,
    message: String,
    finished_at: Option<Timestamp>,
    operation: OperationWish,
    sync_result: Option<SyncResult>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct OperationWish {
    sync: Option<SyncResult>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct SyncResult {
    revision: Option<String>,
    resources: Vec<SyncedResource>,
}

/// What became of one object of a commit.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct SyncedResource {
    kind: String,
    name: String,
    status: String,
    message: String,
}

impl Watched for WireApplication {
    fn meta(&self) -> &Meta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut Meta {
        &mut self.metadata
    }

    fn kept(&self, _kind: Kind) -> Option<Object> {
        let meta = &self.metadata;
        let ApplicationStatus { sync, reconciled_at, operation_state, conditions } = &self.status;
        Some(Object::Application(Application {
            name: meta.name.as_str().into(),
            version: meta.resource_version.as_deref().and_then(|version| version.parse().ok()).unwrap_or_default(),
            repository: self.spec.source.as_ref().map_or("", |source| &source.repository).into(),
            path: self.spec.source.as_ref().map_or("", |source| &source.path).into(),
            has_sources: !self.spec.sources.is_empty(),
            destination: self.spec.destination.kept(),
            is_synced: sync.status == "Synced",
            revision: boxed(sync.revision.as_deref()),
            reconciled_at: *reconciled_at,
            is_requested: self.operation.is_some(),
            operation: operation_state.as_ref().and_then(operation),
            conditions: conditions.iter().map(WireCondition::kept).collect(),
            is_deleting: meta.deletion_timestamp.is_some(),
        }))
    }
}

/// An operation; while one begins its phase is absent for a moment, which says nothing.
fn operation(state: &OperationState) -> Option<Operation> {
    let phase = match state.phase.as_str() {
        "" => return None,
        "Succeeded" => OperationPhase::Succeeded,
        "Failed" | "Error" => OperationPhase::Failed,
        "Terminating" => OperationPhase::Ending,
        _ => OperationPhase::Running,
    };
    let of = |result: &Option<SyncResult>| result.as_ref().and_then(|result| boxed(result.revision.as_deref()));
    Some(Operation {
        phase,
        revision: of(&state.sync_result).or_else(|| of(&state.operation.sync)),
        finished_at: state.finished_at,
        message: plain(&words(state)),
    })
}

/// What Argo CD says of an operation. Its own words may only say that some object failed; then those of the first one that did come with them.
fn words(state: &OperationState) -> String {
    let resources = state.sync_result.iter().flat_map(|result| &result.resources);
    let failed = resources.filter(|it| it.status == "SyncFailed" && !it.message.is_empty());
    match failed.into_iter().next() {
        Some(it) if !state.message.contains(&it.message) => {
            format!("{}: {} `{}`: {}", state.message, it.kind, it.name, it.message)
        }
        _ => state.message.clone(),
    }
}

impl WireDestination {
    fn kept(&self) -> Destination {
        let Self { namespace, name, server } = self;
        let cluster = if name.is_empty() { server } else { name };
        Destination { namespace: namespace.as_str().into(), cluster: cluster.as_str().into() }
    }
}

fn boxed(text: Option<&str>) -> Option<Box<str>> {
    text.filter(|text| !text.is_empty()).map(Into::into)
}
