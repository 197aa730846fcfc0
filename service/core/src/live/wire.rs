//! The objects as the API server writes them, of which only what is read is named here, and what becomes of them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;

use super::index::{Kind, Place};
use super::objects::{Condition, Deployment, Object, Own, Predictor, SeldonDeployment, SeldonState, Service};
use super::pod;

/// The label by which the operator marks what belongs to a SeldonDeployment.
pub(super) const SELDON_LABEL: &str = "seldon-deployment-id";
/// Its label of a predictor's pods: `<release>-<predictor>`.
const PREDICTOR_LABEL: &str = "seldon-app";
/// The annotation by which what we render says which release it belongs to.
const RELEASE_ANNOTATION: &str = "kmlflow.dev/release";
/// The annotation with the digest of all that restarts a predictor's pods.
const POD_HASH: &str = "kmlflow.dev/pod-hash";
/// What we call the container of the model in each pod.
const MODEL_CONTAINER: &str = "model";
/// The longest message that is kept of an object: some say the same once per node.
const MESSAGE_CHARS_MAX: usize = 600;

/// What is read of an object's `metadata`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Meta {
    pub name: String,
    pub namespace: String,
    pub generation: i64,
    pub resource_version: Option<String>,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    pub deletion_timestamp: Option<Timestamp>,
    pub finalizers: Vec<String>,
}

/// An object of a kind that is watched.
pub trait Watched {
    fn meta(&self) -> &Meta;

    fn meta_mut(&mut self) -> &mut Meta;

    /// What is kept of it; nothing where it is none of ours.
    fn kept(&self, kind: Kind) -> Option<Object>;
}

/// A condition as every kind writes it; Argo CD's have a type and a message only.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct WireCondition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
    reason: String,
    message: String,
    pub(super) observed_generation: i64,
}

/// A SeldonDeployment.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct WireSeldon {
    metadata: Meta,
    spec: SeldonSpec,
    status: SeldonStatus,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct SeldonSpec {
    predictors: Vec<WirePredictor>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct WirePredictor {
    name: String,
    annotations: BTreeMap<String, String>,
    replicas: Option<i64>,
    graph: Graph,
    #[serde(rename = "componentSpecs")]
    component_specs: Vec<ComponentSpec>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Graph {
    model_uri: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ComponentSpec {
    spec: Containers,
    hpa_spec: Option<serde::de::IgnoredAny>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Containers {
    containers: Vec<Image>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Image {
    name: String,
    image: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct SeldonStatus {
    state: String,
    description: String,
}

/// A Deployment.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct WireDeployment {
    metadata: Meta,
    spec: DeploymentSpec,
    status: DeploymentStatus,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct DeploymentSpec {
    replicas: Option<u32>,
    selector: Selector,
    template: PodTemplate,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct PodTemplate {
    spec: Containers,
}

impl Containers {
    /// The image of the model's container.
    fn of_model(&self) -> Box<str> {
        let model = self.containers.iter().find(|container| container.name == MODEL_CONTAINER);
        model.map_or("", |container| &container.image).into()
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Selector {
    match_labels: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct DeploymentStatus {
    observed_generation: i64,
    replicas: u32,
    updated_replicas: u32,
    available_replicas: u32,
    conditions: Vec<WireCondition>,
}

/// A Pod.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct WirePod {
    metadata: Meta,
    spec: pod::PodSpec,
    status: pod::PodStatus,
}

/// A Service.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct WireService {
    metadata: Meta,
    spec: ServiceSpec,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct ServiceSpec {
    selector: BTreeMap<String, String>,
}

impl WireCondition {
    pub(super) fn kept(&self) -> Condition {
        Condition {
            kind: self.kind.as_str().into(),
            is_true: self.status == "True",
            reason: plain(&self.reason),
            message: plain(&self.message),
        }
    }

    /// Whether it is the one of that type and does not hold.
    pub(super) fn is_false(&self, kind: &str) -> bool {
        self.kind == kind && self.status == "False"
    }
}

impl WirePredictor {
    fn kept(&self) -> Predictor {
        let component = self.component_specs.first();
        let image = component.and_then(|component| component.spec.containers.first());
        let is_scaled = component.is_some_and(|component| component.hpa_spec.is_some());
        Predictor {
            name: self.name.as_str().into(),
            pod_hash: self.annotations.get(POD_HASH).map_or("", String::as_str).into(),
            image: image.map_or("", |container| &container.image).into(),
            model_uri: self.graph.model_uri.as_str().into(),
            // Less than nothing is refused by the API server of some versions only.
            replicas: self.replicas.filter(|_| !is_scaled).map(|number| u32::try_from(number).unwrap_or_default()),
        }
    }
}

impl Meta {
    /// The release that it says it belongs to.
    pub(super) fn release(&self) -> Box<str> {
        self.annotations.get(RELEASE_ANNOTATION).map_or("", String::as_str).into()
    }
}

impl Watched for WireSeldon {
    fn meta(&self) -> &Meta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut Meta {
        &mut self.metadata
    }

    fn kept(&self, _kind: Kind) -> Option<Object> {
        let meta = &self.metadata;
        let seldon = SeldonDeployment {
            state: match self.status.state.as_str() {
                "Available" => SeldonState::Available,
                "Failed" => SeldonState::Failed,
                "" => SeldonState::Silent,
                _ => SeldonState::Creating,
            },
            description: plain(&self.status.description),
            predictors: self.spec.predictors.iter().map(WirePredictor::kept).collect(),
            release: meta.release(),
            held_by: meta.deletion_timestamp.map(|_| plain(&meta.finalizers.join(", "))),
        };
        Some(Object::Seldon(place(&meta.namespace, &meta.name), seldon))
    }
}

impl Watched for WireDeployment {
    fn meta(&self) -> &Meta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut Meta {
        &mut self.metadata
    }

    fn kept(&self, _kind: Kind) -> Option<Object> {
        let meta = &self.metadata;
        let labels = &self.spec.selector.match_labels;
        let (place, predictor) = of_predictor(meta, labels).or_else(|| of_predictor(meta, &meta.labels))?;
        let status = &self.status;
        let failure = status.conditions.iter().find(|it| it.kind == "ReplicaFailure" && it.status == "True");
        let deployment = Deployment {
            name: meta.name.as_str().into(),
            predictor,
            pod_hash: meta.annotations.get(POD_HASH).map_or("", String::as_str).into(),
            image: self.spec.template.spec.of_model(),
            is_observed: status.observed_generation >= meta.generation,
            wanted: self.spec.replicas.unwrap_or(1),
            replicas: status.replicas,
            updated: status.updated_replicas,
            available: status.available_replicas,
            failure: failure.map(|it| plain(&it.message)),
            is_deleting: meta.deletion_timestamp.is_some(),
        };
        Some(Object::Deployment(place, deployment))
    }
}

impl Watched for WirePod {
    fn meta(&self) -> &Meta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut Meta {
        &mut self.metadata
    }

    fn kept(&self, _kind: Kind) -> Option<Object> {
        let meta = &self.metadata;
        let (place, predictor) = of_predictor(meta, &meta.labels)?;
        Some(Object::Pod(place, pod::view(meta, predictor, &self.spec, &self.status)))
    }
}

impl Watched for WireService {
    fn meta(&self) -> &Meta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut Meta {
        &mut self.metadata
    }

    fn kept(&self, _kind: Kind) -> Option<Object> {
        let meta = &self.metadata;
        let place = of_release(meta)?;
        if *place.name != meta.name {
            return None;
        }
        let of_predictor = |label: &String| predictor_of(&place.name, label);
        let own = match self.spec.selector.get(PREDICTOR_LABEL).and_then(of_predictor) {
            Some(predictor) => Own::One(predictor),
            None if self.spec.selector.get(SELDON_LABEL).is_some_and(|name| **name == *place.name) => Own::All,
            None => Own::Other,
        };
        Some(Object::Service(place, Service { own, release: meta.release() }))
    }
}

fn place(namespace: &str, name: &str) -> Place {
    Place { namespace: namespace.into(), name: name.into() }
}

/// The release that our annotation names, in the object's own namespace.
pub(super) fn of_release(meta: &Meta) -> Option<Place> {
    let (_, name) = meta.annotations.get(RELEASE_ANNOTATION)?.rsplit_once('/')?;
    Some(place(&meta.namespace, name))
}

/// The release and the predictor that the operator's labels name.
fn of_predictor(meta: &Meta, labels: &BTreeMap<String, String>) -> Option<(Place, Box<str>)> {
    let release = labels.get(SELDON_LABEL)?;
    let predictor = predictor_of(release, labels.get(PREDICTOR_LABEL)?)?;
    Some((place(&meta.namespace, release), predictor))
}

/// The predictor in the name of its Service; that of its container, which only a documentation page is reached by, names none.
pub(super) fn predictor_of(release: &str, service: &str) -> Option<Box<str>> {
    let predictor = service.strip_prefix(release)?.strip_prefix('-')?;
    (!predictor.is_empty() && !predictor.contains('-')).then(|| predictor.into())
}

/// A foreign text on one line and of a size that can be shown.
pub fn plain(text: &str) -> Box<str> {
    let one_line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let shown: String = one_line.chars().filter(|c| !crate::names::is_invisible(*c)).collect();
    match shown.char_indices().nth(MESSAGE_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &shown[..end]).into(),
        None => shown.into(),
    }
}
