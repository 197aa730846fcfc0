//! What a pod says of itself, and what keeps it from being ready.

use serde::Deserialize;

use super::objects::{PodFault, PodFaultKind, PodView};
use super::wire::{Meta, WireCondition, plain};

/// What the name of the container ends with that fetches a model; Seldon's is `<container>-model-initializer`.
const INITIALIZER_SUFFIX: &str = "model-initializer";

/// The part of a pod's `spec` that is read.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct PodSpec {
    containers: Vec<Container>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Container {
    name: String,
    image: String,
}

/// The part of a pod's `status` that is read.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct PodStatus {
    conditions: Vec<WireCondition>,
    container_statuses: Vec<ContainerStatus>,
    init_container_statuses: Vec<ContainerStatus>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ContainerStatus {
    name: String,
    image: String,
    ready: bool,
    restart_count: u32,
    state: State,
    last_state: State,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct State {
    waiting: Option<Waiting>,
    running: Option<serde::de::IgnoredAny>,
    terminated: Option<Terminated>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Waiting {
    reason: String,
    message: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Terminated {
    reason: String,
    message: String,
    exit_code: i32,
}

/// What is kept of a pod.
pub(super) fn view(meta: &Meta, predictor: Box<str>, spec: &PodSpec, status: &PodStatus) -> PodView {
    let is_ready = status.conditions.iter().any(|it| *it.kept().kind == *"Ready" && it.kept().is_true);
    PodView {
        name: meta.name.as_str().into(),
        predictor,
        is_ready,
        is_deleting: meta.deletion_timestamp.is_some(),
        fault: if is_ready { None } else { Some(Box::new(fault(spec, status))) },
    }
}

fn fault(spec: &PodSpec, status: &PodStatus) -> PodFault {
    if let Some(condition) = status.conditions.iter().find(|it| it.is_false("PodScheduled")) {
        let message = condition.kept().message;
        return PodFault { kind: PodFaultKind::Unschedulable, container: "".into(), image: "".into(), message };
    }
    let init = status.init_container_statuses.iter().map(|it| (it, true));
    let all = init.chain(status.container_statuses.iter().map(|it| (it, false)));
    let starting = PodFault {
        kind: PodFaultKind::Starting,
        container: "".into(),
        image: spec.containers.first().map_or("", |container| &container.image).into(),
        message: "".into(),
    };
    let mut faults: Vec<PodFault> = all.filter_map(|(it, is_init)| of_container(spec, it, is_init)).collect();
    // What says why comes before what is merely not ready, and what keeps others waiting before those.
    faults.sort_by_key(|fault| match fault.kind {
        PodFaultKind::Starting => 2,
        PodFaultKind::Unready => 1,
        _ => 0,
    });
    faults.into_iter().next().unwrap_or(starting)
}

/// What is wrong with a container, where something is.
fn of_container(spec: &PodSpec, status: &ContainerStatus, is_init: bool) -> Option<PodFault> {
    let wished = spec.containers.iter().find(|container| container.name == status.name);
    let image = wished.map_or(status.image.as_str(), |container| &container.image);
    let fault = |kind: PodFaultKind, message: &str| PodFault {
        kind,
        container: status.name.as_str().into(),
        image: image.into(),
        message: plain(message),
    };
    let is_initializer = is_init && status.name.ends_with(INITIALIZER_SUFFIX);
    let died = if is_initializer { PodFaultKind::Initializer } else { PodFaultKind::CrashLoop };
    if let Some(Waiting { reason, message }) = &status.state.waiting {
        return Some(match reason.as_str() {
            "ErrImagePull" | "ImagePullBackOff" | "InvalidImageName" | "ErrImageNeverPull" | "RegistryUnavailable" => {
                fault(PodFaultKind::ImagePull, if message.is_empty() { reason } else { message })
            }
            "CreateContainerConfigError" | "CreateContainerError" => fault(PodFaultKind::Configuration, message),
            "CrashLoopBackOff" => fault(died, &last_words(status)),
            _ => fault(PodFaultKind::Starting, reason),
        });
    }
    match &status.state.terminated {
        Some(ended) if ended.exit_code != 0 => return Some(fault(died, &words(ended))),
        Some(_) if is_init => return None,
        Some(ended) => return Some(fault(died, &words(ended))),
        None => {}
    }
    if is_init || status.ready {
        return None;
    }
    let kind = match status.state.running {
        Some(_) if status.restart_count > 0 && status.last_state.terminated.is_some() => died,
        Some(_) => PodFaultKind::Unready,
        None => PodFaultKind::Starting,
    };
    let message = if kind == died { last_words(status) } else { String::new() };
    Some(fault(kind, &message))
}

/// How a container ended last.
fn last_words(status: &ContainerStatus) -> String {
    status.last_state.terminated.as_ref().map_or_else(String::new, words)
}

fn words(Terminated { reason, message, exit_code }: &Terminated) -> String {
    match (message.trim(), reason.as_str()) {
        ("", "OOMKilled") => "it was killed because it used more memory than its limit".to_owned(),
        ("", _) => format!("it ended with code {exit_code}"),
        (message, _) => message.lines().next_back().unwrap_or(message).to_owned(),
    }
}
