//! What the cluster shows of a release, and what the order add, wait, move the traffic, remove may go on with.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::{Period, Release};
use crate::names::PredictorName;

/// What is known of the cluster when something is decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observed {
    /// No cluster is configured: what is in Git counts as applied and ready this long after its commit.
    Blind { delay: Period },
    /// A cluster is watched.
    Seen(Seen),
    /// A cluster is configured and cannot be seen now, and why: nothing is known, so whatever would have to be seen waits.
    Unseen(String),
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
    /// Whether the gateway has taken over the applied routes; until then it may send by those of before.
    pub is_followed: bool,
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

/// Whether something may go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gate {
    Open,
    /// Not yet: until this moment where one is known, and why.
    Closed {
        until: Option<Timestamp>,
        reason: String,
    },
}

impl Gate {
    fn closed(reason: impl Into<String>) -> Self {
        Self::Closed { until: None, reason: reason.into() }
    }

    /// Why it is closed.
    pub fn reason(self) -> Option<String> {
        match self {
            Self::Open => None,
            Self::Closed { reason, .. } => Some(reason),
        }
    }
}

impl Observed {
    /// Open once everything of the release's present commit is live.
    pub fn live(&self, release: &Release, now: Timestamp) -> Gate {
        match self {
            Self::Blind { delay } => {
                let newest = release.staying().last().map_or("the commit", |variant| variant.predictor.as_str());
                blind(release, *delay, now, &format!("{newest} counts as live"))
            }
            Self::Seen(seen) if seen.live_since.is_some() => Gate::Open,
            Self::Seen(seen) => Gate::closed(not_live(release, seen)),
            Self::Unseen(why) => Gate::closed(why),
        }
    }

    /// Open once the applied route and own Service name none of these, whatever Git says meanwhile, and the gateway sends by that route.
    pub fn unrouted(&self, gone: &[PredictorName], release: &Release, now: Timestamp) -> Gate {
        match self {
            Self::Blind { delay } => blind(release, *delay, now, "the route counts as applied"),
            Self::Seen(seen) => match gone.iter().find(|predictor| seen.routed.contains(predictor)) {
                Some(named) => Gate::closed(format!("the applied route still names {named}")),
                None if !seen.is_followed => Gate::closed("the gateway has not looked at the applied route since"),
                None => Gate::Open,
            },
            Self::Unseen(why) => Gate::closed(why),
        }
    }

    /// Open once the cluster has taken over what Git holds.
    pub fn applied(&self, release: &Release, now: Timestamp) -> Gate {
        match self {
            Self::Blind { delay } => blind(release, *delay, now, "the commit counts as applied"),
            Self::Seen(seen) if seen.applied => Gate::Open,
            Self::Seen(_) => Gate::closed("the last commit is not applied yet"),
            Self::Unseen(why) => Gate::closed(why),
        }
    }
}

/// Without a cluster a commit counts as applied and ready once the delay is over.
fn blind(release: &Release, delay: Period, now: Timestamp, what: &str) -> Gate {
    let at = release.rollout.counts_as_live_at(delay);
    if now >= at {
        return Gate::Open;
    }
    Gate::Closed { until: Some(at), reason: format!("{what} at {at}, as no cluster is watched") }
}

fn not_live(release: &Release, seen: &Seen) -> String {
    let waits = release.spec.variants.iter().find_map(|variant| match seen.variants.get(&variant.predictor) {
        Some(Readiness::Ready) => None,
        Some(Readiness::NotReady(why)) => Some(format!("{} is not ready: {why}", variant.predictor)),
        Some(Readiness::Unknown) | None => Some(format!("it is not known whether {} is ready", variant.predictor)),
    });
    waits.unwrap_or_else(|| "the last commit is not live yet".to_owned())
}
