//! Everything that is asked of a cluster: the verbs and resources that the service's role needs, and nothing beyond them.

use crate::live::Kind;

/// What is done with a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    /// Empty: the core group.
    pub group: &'static str,
    pub resource: &'static str,
    pub verbs: &'static [&'static str],
    pub place: Place,
}

/// Where something is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In every namespace.
    Cluster,
    /// In Argo CD's namespace alone, so that a Role there is enough.
    ArgoCd,
    /// In the service's own namespace alone, and by replicas alone.
    Replicas,
}

/// Everything that is asked of a cluster.
pub const ACCESS: [Access; 12] = [
    of_argocd("applications", &["get", "list", "watch", "patch"]),
    of_argocd("applicationsets", &["list", "patch"]),
    of_releases("machinelearning.seldon.io", "seldondeployments", &["get", "list", "watch"]),
    of_releases("apps", "deployments", &["list", "watch"]),
    of_releases("", "pods", &["list", "watch"]),
    of_releases("", "pods/log", &["get"]),
    of_releases("", "events", &["list"]),
    of_releases("", "services", &["get", "list", "watch"]),
    of_releases("gateway.networking.k8s.io", "httproutes", &["get", "list", "watch"]),
    of_releases("gateway.networking.k8s.io", "grpcroutes", &["get", "list", "watch"]),
    // Who makes one cannot be held to its name.
    of_replicas("coordination.k8s.io", "leases", &["create"]),
    of_replicas("coordination.k8s.io", "leases", &["get", "update"]),
];

/// Leases as a role names them.
pub(super) const LEASES: &str = "leases.coordination.k8s.io";

const fn of_argocd(resource: &'static str, verbs: &'static [&'static str]) -> Access {
    Access { group: "argoproj.io", resource, verbs, place: Place::ArgoCd }
}

const fn of_releases(group: &'static str, resource: &'static str, verbs: &'static [&'static str]) -> Access {
    Access { group, resource, verbs, place: Place::Cluster }
}

const fn of_replicas(group: &'static str, resource: &'static str, verbs: &'static [&'static str]) -> Access {
    Access { group, resource, verbs, place: Place::Replicas }
}

/// A kind as the API server names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Resource {
    pub(super) group: &'static str,
    pub(super) version: &'static str,
    pub(super) plural: &'static str,
    /// Only objects with this label are asked for.
    pub(super) selector: Option<&'static str>,
}

/// How a kind is asked for.
pub(super) const fn resource(kind: Kind) -> Resource {
    const SELDON: Option<&str> = Some("seldon-deployment-id");
    const OURS: Option<&str> = Some("app.kubernetes.io/managed-by=kmlflow");
    let (group, version, plural, selector) = match kind {
        Kind::Application => ("argoproj.io", "v1alpha1", "applications", None),
        Kind::Seldon => ("machinelearning.seldon.io", "v1", "seldondeployments", None),
        Kind::Deployment => ("apps", "v1", "deployments", SELDON),
        Kind::Pod => ("", "v1", "pods", SELDON),
        Kind::Service => ("", "v1", "services", OURS),
        Kind::HttpRoute => ("gateway.networking.k8s.io", "v1", "httproutes", OURS),
        Kind::GrpcRoute => ("gateway.networking.k8s.io", "v1", "grpcroutes", OURS),
    };
    Resource { group, version, plural, selector }
}
