//! The little that is kept of each object: five thousand releases with their pods are held at once.

use jiff::Timestamp;

use super::index::Place;
use crate::names::ReleaseKey;

/// An object that was seen.
#[derive(Debug, Clone, PartialEq)]
pub enum Object {
    Application(Application),
    Seldon(Place, SeldonDeployment),
    Deployment(Place, Deployment),
    Pod(Place, PodView),
    Route(Place, Route),
    Service(Place, Service),
}

/// Everything that is there of one release.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Found {
    pub seldon: Option<SeldonDeployment>,
    pub deployments: Vec<Deployment>,
    pub pods: Vec<PodView>,
    pub routes: Vec<Route>,
    pub service: Option<Service>,
}

impl Found {
    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        let Self { seldon, deployments, pods, routes, service } = self;
        seldon.is_none() && deployments.is_empty() && pods.is_empty() && routes.is_empty() && service.is_none()
    }
}

/// Argo CD's Application of a release.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Application {
    /// `<environment>.<namespace>.<release>`.
    pub name: Box<str>,
    /// The API server's number of this state of it, which grows; 0 where it is no number.
    pub version: u64,
    /// The repository that it reads.
    pub repository: Box<str>,
    /// The folder that it reads.
    pub path: Box<str>,
    /// It reads several sources, of which neither of these is one.
    pub has_sources: bool,
    /// Where it applies what it reads: the namespace, and the cluster by its name or its address; empty where it does not say.
    pub destination: Destination,
    pub is_synced: bool,
    /// The commit that it was compared with last.
    pub revision: Option<Box<str>>,
    pub reconciled_at: Option<Timestamp>,
    /// An operation is asked for and has not begun.
    pub is_requested: bool,
    pub operation: Option<Operation>,
    /// Errors and warnings that Argo CD says of it.
    pub conditions: Box<[Condition]>,
    pub is_deleting: bool,
}

/// Where an Application applies what it reads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Destination {
    pub namespace: Box<str>,
    pub cluster: Box<str>,
}

/// The name of Argo CD's Application of a release.
pub fn application_name(key: &ReleaseKey) -> String {
    format!("{}.{}.{}", key.environment, key.namespace, key.name)
}

/// The release that an Application of that name is of.
pub fn application_key(name: &str) -> Option<ReleaseKey> {
    // No part of a key has a dot in it.
    ReleaseKey::parse(&name.replace('.', "/")).ok().filter(|key| application_name(key) == name)
}

/// The last operation of an Application.
#[derive(Debug, Clone, PartialEq)]
pub struct Operation {
    pub phase: OperationPhase,
    /// The commit that it applies.
    pub revision: Option<Box<str>>,
    pub finished_at: Option<Timestamp>,
    pub message: Box<str>,
}

/// How far an operation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OperationPhase {
    Running,
    /// It was told to end, and has not yet.
    Ending,
    Succeeded,
    Failed,
}

impl OperationPhase {
    /// Whether it is still at work.
    pub const fn is_running(self) -> bool {
        matches!(self, Self::Running | Self::Ending)
    }
}

/// A condition that an object has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    pub kind: Box<str>,
    pub is_true: bool,
    pub reason: Box<str>,
    pub message: Box<str>,
}

/// A SeldonDeployment as it is applied.
#[derive(Debug, Clone, PartialEq)]
pub struct SeldonDeployment {
    pub state: SeldonState,
    /// What the operator says of a failure.
    pub description: Box<str>,
    pub predictors: Box<[Predictor]>,
    /// The release that it says it belongs to, written `environment/namespace/name`; empty where it says none.
    pub release: Box<str>,
    /// It is to be deleted, and these finalizers hold it, with commas between them; none may.
    pub held_by: Option<Box<str>>,
}

/// A predictor of a SeldonDeployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Predictor {
    pub name: Box<str>,
    /// The digest of what restarts its pods.
    pub pod_hash: Box<str>,
    /// The image of the model's container; empty where the operator chooses it.
    pub image: Box<str>,
    /// The artifact that is fetched; empty where none is.
    pub model_uri: Box<str>,
    /// Pods, where nothing scales them.
    pub replicas: Option<u32>,
}

/// What the operator says. It writes no generation, so this alone proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SeldonState {
    /// It says nothing yet.
    #[default]
    Silent,
    Creating,
    Available,
    Failed,
}

/// A Deployment of a predictor.
#[derive(Debug, Clone, PartialEq)]
pub struct Deployment {
    pub name: Box<str>,
    pub predictor: Box<str>,
    pub pod_hash: Box<str>,
    /// The image of the model's container.
    pub image: Box<str>,
    /// What the controller has seen is what is wanted.
    pub is_observed: bool,
    pub wanted: u32,
    pub replicas: u32,
    pub updated: u32,
    pub available: u32,
    /// Why no pod can be made, where none can.
    pub failure: Option<Box<str>>,
    pub is_deleting: bool,
}

/// A pod of a predictor.
#[derive(Debug, Clone, PartialEq)]
pub struct PodView {
    pub name: Box<str>,
    pub predictor: Box<str>,
    pub is_ready: bool,
    pub is_deleting: bool,
    pub fault: Option<Box<PodFault>>,
}

/// What keeps a pod from being ready.
#[derive(Debug, Clone, PartialEq)]
pub struct PodFault {
    pub kind: PodFaultKind,
    pub container: Box<str>,
    pub image: Box<str>,
    pub message: Box<str>,
    /// How the container ended last, where it did.
    pub ended: Box<str>,
}

/// The ways in which a pod is not ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PodFaultKind {
    ImagePull,
    Unschedulable,
    CrashLoop,
    /// The container that fetches the model fails.
    Initializer,
    /// A Secret or a ConfigMap that it names is not there.
    Configuration,
    /// It runs and does not answer its probe.
    Unready,
    /// It is on its way.
    Starting,
    /// The node gave it up, and another one takes its place.
    GivenUp,
}

/// A route of a release.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    pub name: Box<str>,
    pub kind: RouteKind,
    pub generation: i64,
    pub backends: Backends,
    /// The shares of the last rule, which takes what no rule before it does.
    pub shares: Shares,
    /// What that rule mirrors, in percent.
    pub mirrors: Shares,
    pub parents: Box<[Parent]>,
    /// The release that it says it belongs to.
    pub release: Box<str>,
}

/// The kinds of routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouteKind {
    Http,
    Grpc,
}

/// The Services that a route names, mirrors too.
pub type Backends = Box<[Box<str>]>;

/// Services, and how much each is given.
pub type Shares = Box<[(Box<str>, u32)]>;

/// What a Gateway says of a route.
#[derive(Debug, Clone, PartialEq)]
pub struct Parent {
    pub namespace: Box<str>,
    pub name: Box<str>,
    pub conditions: Box<[RouteCondition]>,
}

/// A condition of a route, and the generation that it is about.
#[derive(Debug, Clone, PartialEq)]
pub struct RouteCondition {
    pub condition: Condition,
    pub generation: i64,
}

/// The release's own Service.
#[derive(Debug, Clone, PartialEq)]
pub struct Service {
    pub own: Own,
    /// The release that it says it belongs to.
    pub release: Box<str>,
}

/// Whom an own Service reaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Own {
    /// Every pod of the release.
    All,
    One(Box<str>),
    /// What no release of ours selects.
    Other,
}
