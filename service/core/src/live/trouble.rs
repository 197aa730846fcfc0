//! What is in the way of a release, in the words that a person needs, with what helps.

use super::argocd::{of_sync, quota, right};
use super::index::Place;
use super::look::Facts;
use super::objects::{Application, Deployment, Found, PodFault, PodFaultKind, PodView, SeldonDeployment, SeldonState};
use super::parts;
use crate::names::PredictorName;
use crate::release::Release;

/// What is in the way.
#[derive(Debug, Clone, PartialEq)]
pub struct Trouble {
    pub kind: TroubleKind,
    /// One sentence without its capital and its full stop.
    pub reason: String,
    pub cure: String,
    /// The predictor that it is about, where it is about one.
    pub predictor: Option<PredictorName>,
    /// The pod whose log says more.
    pub pod: Option<PodName>,
}

/// A pod, and the container in it that fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodName {
    pub namespace: String,
    pub name: String,
    /// Empty: its only one.
    pub container: String,
}

/// The kinds of what may be in the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TroubleKind {
    ImagePull,
    Unschedulable,
    CrashLoop,
    Initializer,
    Configuration,
    Unready,
    /// A pod has not started for long.
    Starting,
    /// The node gave a pod up.
    GivenUp,
    Quota,
    /// The API server or an admission webhook does not take it.
    Refused,
    SyncFailed,
    /// Whoever applies it may not.
    Right,
    /// Argo CD cannot make the manifests.
    Comparison,
    NoApplication,
    /// An Application of that name is not the release's: it reads something else, or applies it elsewhere.
    ForeignApplication,
    /// Another Application has the same objects.
    SharedObjects,
    /// Argo CD has not looked at the commit.
    Unnoticed,
    /// The namespace is being deleted.
    Terminating,
    SeldonFailed,
    OperatorAbsent,
    RouteRefused,
    /// Something that goes is still there.
    Lingering,
}

impl TroubleKind {
    /// Whether what was committed is at fault, so that the state before it would be well.
    pub const fn is_of_the_commit(self) -> bool {
        match self {
            Self::ImagePull
            | Self::Unschedulable
            | Self::CrashLoop
            | Self::Initializer
            | Self::Configuration
            | Self::Unready
            | Self::Quota
            | Self::Refused
            | Self::SeldonFailed => true,
            Self::SyncFailed
            | Self::Right
            | Self::Starting
            | Self::GivenUp
            | Self::Comparison
            | Self::NoApplication
            | Self::ForeignApplication
            | Self::SharedObjects
            | Self::Unnoticed
            | Self::Terminating
            | Self::OperatorAbsent
            | Self::RouteRefused
            | Self::Lingering => false,
        }
    }
}

/// What helps where the Seldon operator does nothing.
pub(super) const OPERATOR_CURE: &str = "see whether the operator runs: `kubectl get pods -n seldon-system`";

/// Finds what is in the way of a release that is not live, from the commit on to the traffic.
pub(super) fn find(release: &Release, found: &Found, facts: Facts<'_>) -> Option<Trouble> {
    of_sync(release, facts)
        .or_else(|| of_deployments(release, found))
        .or_else(|| of_pods(release, found, facts))
        .or_else(|| found.seldon.as_ref().and_then(|seldon| of_seldon(release, found, seldon)))
        .or_else(|| of_what_goes(release, found))
        .or_else(|| of_routes(release, found))
}

pub(super) fn trouble(kind: TroubleKind, reason: String, cure: impl Into<String>) -> Trouble {
    Trouble { kind, reason, cure: cure.into(), predictor: None, pod: None }
}

/// Pods that cannot even be made.
fn of_deployments(release: &Release, found: &Found) -> Option<Trouble> {
    let (predictor, failure) = found.deployments.iter().find_map(|it| {
        let failure = it.failure.as_deref().filter(|_| it.available < it.wanted)?;
        Some((wanted(release, &it.predictor)?, failure))
    })?;
    let refused = || {
        let reason = format!("no pod of {predictor} can be made: {failure}");
        trouble(
            TroubleKind::Refused,
            reason,
            "correct what it names in the release, or roll back: `kmlflow rollback NAME`",
        )
    };
    let found = quota(failure).or_else(|| right(failure)).unwrap_or_else(refused);
    Some(Trouble { predictor: Some(predictor), ..found })
}

/// The predictor of the commit that has that name.
fn wanted(release: &Release, name: &str) -> Option<PredictorName> {
    release.spec.variants.iter().map(|variant| &variant.predictor).find(|it| it.as_str() == name).cloned()
}

/// What the pods of the commit's predictors say.
fn of_pods(release: &Release, found: &Found, facts: Facts<'_>) -> Option<Trouble> {
    let faults = found.pods.iter().filter(|pod| !pod.is_deleting).filter_map(|pod| {
        let fault = pod.fault.as_deref()?;
        Some((wanted(release, &pod.predictor)?, pod, fault))
    });
    // Where several pods are in trouble, one that says why comes before one that is merely not ready; the name decides among equals.
    // One that starts, or that lies about after its node gave it up, is in the way of nothing until that takes long.
    let (predictor, pod, fault) = faults
        .filter(|(_, _, fault)| facts.is_late || !matches!(fault.kind, PodFaultKind::Starting | PodFaultKind::GivenUp))
        .min_by_key(|(_, pod, fault)| (rank(fault.kind), pod.name.clone()))?;
    Some(of_pod(release, predictor, (pod, fault), facts.last_words))
}

/// What says more has less.
fn rank(kind: PodFaultKind) -> u8 {
    match kind {
        PodFaultKind::ImagePull
        | PodFaultKind::Unschedulable
        | PodFaultKind::CrashLoop
        | PodFaultKind::Initializer
        | PodFaultKind::Configuration => 0,
        PodFaultKind::Unready => 1,
        PodFaultKind::Starting => 2,
        PodFaultKind::GivenUp => 3,
    }
}

fn of_pod(
    release: &Release,
    predictor: PredictorName,
    (pod, fault): (&PodView, &PodFault),
    last_words: Option<&str>,
) -> Trouble {
    let PodFault { kind, container, image, message, ended } = fault;
    let words = last_words.filter(|words| !words.is_empty()).unwrap_or(message);
    let with = |what: String, words: &str| if words.is_empty() { what } else { format!("{what}: {words}") };
    // How it ended and what it said last are two things: who is killed says nothing of it.
    let dead = |what: String| match (&**ended, words) {
        ("", words) => with(what, words),
        (ended, "") => with(what, ended),
        (ended, words) => format!("{what}: {ended}; its last words: {words}"),
    };
    let (kind, reason, cure) = match kind {
        PodFaultKind::ImagePull => (
            TroubleKind::ImagePull,
            with(format!("{predictor} cannot pull its image `{image}`"), message),
            "push that image or correct its name, or name a pull secret in `serving.pod.imagePullSecrets`; then release again",
        ),
        PodFaultKind::Unschedulable => (
            TroubleKind::Unschedulable,
            with(format!("no node takes the pod of {predictor}"), message),
            "ask for less in `serving.resources`, correct `serving.pod.nodeSelector` or `tolerations`, or add a node",
        ),
        PodFaultKind::CrashLoop => (
            TroubleKind::CrashLoop,
            dead(format!("the container `{container}` of {predictor} ends again and again")),
            "`kmlflow logs NAME` shows what it says",
        ),
        PodFaultKind::Initializer => (
            TroubleKind::Initializer,
            dead(format!("the model of {predictor} cannot be fetched")),
            "check the model's address and the storage secret; `kmlflow logs NAME` shows what the initializer says",
        ),
        PodFaultKind::Configuration => (
            TroubleKind::Configuration,
            with(format!("the container `{container}` of {predictor} cannot be made"), message),
            "make the Secret or ConfigMap that it names in that namespace, or take it out of `serving.env`",
        ),
        PodFaultKind::Unready => (
            TroubleKind::Unready,
            with(
                format!("the container `{container}` of {predictor} runs and does not answer its readiness probe"),
                words,
            ),
            "`kmlflow logs NAME` shows what it says; `serving.probe` says how it is asked",
        ),
        PodFaultKind::Starting => (
            TroubleKind::Starting,
            with(format!("the pod `{}` of {predictor} does not get beyond its start", pod.name), words),
            "`kubectl describe pod` shows what it waits for: a volume, a Secret, the network of its node, or a container that comes before the model's",
        ),
        PodFaultKind::GivenUp => (
            TroubleKind::GivenUp,
            with(format!("the pod `{}` of {predictor} was given up", pod.name), message),
            "another one takes its place by itself where a node has room: `kubectl describe nodes`",
        ),
    };
    let pod = PodName {
        namespace: release.spec.target.namespace.clone(),
        name: pod.name.to_string(),
        container: container.to_string(),
    };
    Trouble { predictor: Some(predictor), pod: Some(pod), ..trouble(kind, reason, cure) }
}

/// What the operator says, or that it says nothing.
fn of_seldon(release: &Release, found: &Found, seldon: &SeldonDeployment) -> Option<Trouble> {
    if seldon.state == SeldonState::Failed {
        return right(&seldon.description).or_else(|| {
            Some(trouble(
                TroubleKind::SeldonFailed,
                format!("the Seldon operator failed: {}", seldon.description),
                "correct what it names in the release, or roll back: `kmlflow rollback NAME`",
            ))
        });
    }
    let is_there = |predictor: &PredictorName| {
        let is_it =
            |it: &Deployment| *it.predictor == *predictor.as_str() && *it.pod_hash == *parts::hash(release, predictor);
        found.deployments.iter().any(is_it)
    };
    let applied = |predictor: &PredictorName| seldon.predictors.iter().any(|it| *it.name == *predictor.as_str());
    let missing = release.spec.variants.iter().find(|it| applied(&it.predictor) && !is_there(&it.predictor))?;
    Some(trouble(
        TroubleKind::OperatorAbsent,
        format!(
            "the Seldon operator does not take up the SeldonDeployment: there is no Deployment of {}",
            missing.predictor
        ),
        OPERATOR_CURE,
    ))
}

/// What should be gone.
fn of_what_goes(release: &Release, found: &Found) -> Option<Trouble> {
    if found.seldon.as_ref().is_some_and(|it| it.held_by.is_some()) || found.deployments.iter().any(|it| it.is_deleting)
    {
        return remains(&Place::of(release), Some(found), None);
    }
    let left = parts::left_over(release, found)?;
    parts::unready(release, found).is_none().then(|| trouble(TroubleKind::Lingering, left, OPERATOR_CURE))
}

/// What of a release that goes is still there, and what holds it; nothing where nothing is left.
pub fn remains(place: &Place, found: Option<&Found>, application: Option<&Application>) -> Option<Trouble> {
    let Place { namespace, name } = place;
    let lingering = |reason: String, cure: String| Some(trouble(TroubleKind::Lingering, reason, cure));
    let held = found.and_then(|found| found.seldon.as_ref()).and_then(|seldon| seldon.held_by.as_deref());
    if let Some(held_by) = held.filter(|held_by| !held_by.is_empty()) {
        return lingering(
            format!("the SeldonDeployment `{name}` is being deleted, and its finalizer `{held_by}` holds it"),
            format!(
                "start what ends that finalizer, or take it out: `kubectl edit seldondeployment {name} -n {namespace}`"
            ),
        );
    }
    if let Some(application) = application {
        let error = application.conditions.iter().find(|it| *it.kind == *"DeletionError");
        let name = &application.name;
        return lingering(
            match error {
                Some(error) => format!("Argo CD cannot delete what the Application `{name}` made: {}", error.message),
                None if application.is_deleting => format!("the Application `{name}` is being deleted"),
                None => format!("Argo CD still has the Application `{name}`"),
            },
            format!("`kubectl describe application {name} -A` shows what it waits for, and whether Argo CD runs"),
        );
    }
    let found = found.filter(|found| !found.is_empty())?;
    let kind = match found {
        Found { seldon: Some(_), .. } => "SeldonDeployment",
        found if !found.deployments.is_empty() => "Deployment",
        found if !found.pods.is_empty() => "Pod",
        found if !found.routes.is_empty() => "route",
        _ => "Service",
    };
    lingering(
        format!("a {kind} of `{namespace}/{name}` is still in the cluster"),
        format!(
            "`kubectl get seldondeployments,deployments,pods,httproutes,services -n {namespace}` shows what is left"
        ),
    )
}

fn of_routes(release: &Release, found: &Found) -> Option<Trouble> {
    let reason = parts::unrouted(release, found)?;
    let gateway = &release.spec.target.gateway;
    let cure = format!(
        "see whether the Gateway takes routes of that namespace (`allowedRoutes`), and whether its controller runs: \
         `kubectl describe gateway {} -n {}`",
        gateway.name, gateway.namespace
    );
    Some(trouble(TroubleKind::RouteRefused, reason, cure))
}
