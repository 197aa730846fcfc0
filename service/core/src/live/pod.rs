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
    phase: String,
    reason: String,
    message: String,
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
    let of_pod = |kind: PodFaultKind, message: Box<str>| PodFault {
        kind,
        container: "".into(),
        image: spec.containers.first().map_or("", |container| &container.image).into(),
        message,
        ended: "".into(),
    };
    // Its containers are started again for as long as its node has it.
    if matches!(status.phase.as_str(), "Failed" | "Succeeded") {
        let words = [status.reason.as_str(), status.message.as_str()].into_iter().filter(|it| !it.is_empty());
        return of_pod(PodFaultKind::GivenUp, plain(&words.collect::<Vec<_>>().join(": ")));
    }
    if let Some(condition) = status.conditions.iter().find(|it| it.is_false("PodScheduled")) {
        let message = condition.kept().message;
        return of_pod(PodFaultKind::Unschedulable, message);
    }
    let init = status.init_container_statuses.iter().map(|it| (it, true));
    let all = init.chain(status.container_statuses.iter().map(|it| (it, false)));
    let starting = of_pod(PodFaultKind::Starting, "".into());
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
        ended: "".into(),
    };
    let is_initializer = is_init && status.name.ends_with(INITIALIZER_SUFFIX);
    let died = if is_initializer { PodFaultKind::Initializer } else { PodFaultKind::CrashLoop };
    let dead = |ended: Option<&Terminated>| PodFault {
        ended: ended.map(|it| plain(&how(it))).unwrap_or_default(),
        ..fault(died, ended.map_or("", |it| words(&it.message)))
    };
    if let Some(Waiting { reason, message }) = &status.state.waiting {
        return Some(match reason.as_str() {
            "ErrImagePull" | "ImagePullBackOff" | "InvalidImageName" | "ErrImageNeverPull" | "RegistryUnavailable" => {
                fault(PodFaultKind::ImagePull, if message.is_empty() { reason } else { message })
            }
            "CreateContainerConfigError" | "CreateContainerError" => fault(PodFaultKind::Configuration, message),
            "CrashLoopBackOff" => dead(status.last_state.terminated.as_ref()),
            _ => fault(PodFaultKind::Starting, reason),
        });
    }
    match &status.state.terminated {
        Some(ended) if is_init && ended.exit_code == 0 => return None,
        Some(ended) => return Some(dead(Some(ended))),
        None => {}
    }
    if is_init {
        // The others wait for it.
        let is_at_work = status.state.running.is_some() && !status.ready;
        return is_at_work.then(|| fault(PodFaultKind::Starting, ""));
    }
    if status.ready {
        return None;
    }
    Some(match (&status.state.running, &status.last_state.terminated) {
        (Some(_), Some(ended)) if status.restart_count > 0 => dead(Some(ended)),
        (Some(_), _) => fault(PodFaultKind::Unready, ""),
        (None, _) => fault(PodFaultKind::Starting, ""),
    })
}

/// How a container ended.
fn how(Terminated { reason, exit_code, .. }: &Terminated) -> String {
    match reason.as_str() {
        "OOMKilled" => "it was killed because it used more memory than its limit".to_owned(),
        _ => format!("it ended with code {exit_code}"),
    }
}

/// What a container left behind when it ended.
fn words(message: &str) -> &str {
    message.trim().lines().next_back().unwrap_or_default()
}
