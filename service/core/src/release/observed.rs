//! What the cluster shows of a release.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::Period;
use crate::names::PredictorName;

/// What is known of the cluster when something is decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observed {
    /// No cluster is configured: what is in Git counts as applied and ready this long after its commit.
    Blind { delay: Period },
    /// A cluster is watched.
    Seen(Seen),
}

/// What a watched cluster shows of a release.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Seen {
    /// Readiness per predictor; one that is missing here is unknown.
    pub variants: BTreeMap<PredictorName, Readiness>,
    /// Whether what Git holds is what the cluster has taken over: SeldonDeployment, own Service and routes.
    pub applied: bool,
    /// The predictors that the applied route and own Service name, whatever Git says meanwhile.
    pub routed: BTreeSet<PredictorName>,
    /// Since when the present commit is live, where it is.
    pub live_since: Option<Timestamp>,
}

/// Whether a predictor's pods answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    Ready,
    /// Not ready, and what is in the way.
    NotReady(String),
    /// Nothing is known, so nothing is done.
    Unknown,
}
