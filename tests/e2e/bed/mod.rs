//! On a real control plane with a real Argo CD and a real Envoy, which the tier `cluster` starts.

/// Parts that are away for a while.
mod absent;

/// What the API server takes.
mod accepted;

/// What goes wrong around a release.
mod cut;
mod faults;

/// Parts that die.
mod outage;

/// The bed itself: what becomes of a pod, and of whom.
mod pods;

/// The service follows what becomes of its commits.
mod followed;

/// From one state of a release to the next, while its callers go on.
mod journey;
mod transitions;
mod undone;

/// What is in the way, and that it passes.
mod stalls;

/// From a request to an answer.
mod release;

/// The operator's stand-in, or a real one.
mod operator;

/// The whole platform by `cargo bootstrap`.
mod bootstrap;

/// Katib, which carries out the searches of the examples.
mod katib;

/// What the platform has beside releases, and what it takes from elsewhere.
mod elsewhere;
mod platform;
mod releases;

/// What the service may do in the cluster, and does.
mod rights;

/// Which of several replicas leads, as the cluster sees it.
mod lease;
mod taken_over;

/// How the service and Argo CD tell each other what happened.
mod told;

/// Where Git and the cluster differ, and what is there already.
mod drift;
mod occupied;
