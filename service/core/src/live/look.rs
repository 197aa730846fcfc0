//! The one definition of live, and what of it is missing.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::objects::{Application, Found};
use super::parts;
use super::trouble::{self, Trouble};
use crate::names::PredictorName;
use crate::release::{Readiness, Release, Seen};

/// What is known about the newest commit of a release.
#[derive(Debug, Clone, Copy, Default)]
pub struct Facts<'a> {
    /// What is there of it in its cluster.
    pub found: Option<&'a Found>,
    /// Argo CD's Application of it.
    pub application: Option<&'a Application>,
    /// Whether the commit that the Application was compared with last contains the release's newest one.
    pub is_contained: bool,
    /// Whether the Application reads another repository than ours.
    pub reads_another: bool,
    /// Whether the commit has had the time that pods take to start.
    pub is_late: bool,
    /// The last words of the pod that is in trouble: a line of its log, or what its events say.
    pub last_words: Option<&'a str>,
}

/// What the cluster shows of the newest commit of a release.
#[derive(Debug, Clone, PartialEq)]
pub struct Look {
    /// Readiness per predictor of the commit.
    pub variants: BTreeMap<PredictorName, Readiness>,
    /// Whether what Git holds is what the cluster has taken over.
    pub applied: bool,
    /// When Argo CD's last operation ended, as Argo CD says.
    pub synced_at: Option<Timestamp>,
    /// Whether the pods of every predictor are the commit's and ready.
    pub has_pods: bool,
    /// The predictors that the applied routes and the own Service name.
    pub routed: BTreeSet<PredictorName>,
    /// Whether our Gateway has looked at every applied route as it is.
    pub is_followed: bool,
    /// What is missing for it to be live, the first of it; nothing where it is.
    pub missing: Option<String>,
    /// What is in the way, where something is that does not pass by itself.
    pub trouble: Option<Trouble>,
}

impl Look {
    /// Whether the commit is live.
    pub fn is_live(&self) -> bool {
        self.missing.is_none()
    }

    /// It as the plan wants it; `live_since` is when the commit was first seen live.
    pub fn seen(&self, live_since: Option<Timestamp>) -> Seen {
        Seen {
            variants: self.variants.clone(),
            applied: self.applied,
            routed: self.routed.clone(),
            is_followed: self.is_followed,
            live_since: live_since.filter(|_| self.is_live()),
        }
    }
}

/// Looks at the newest commit of a release.
///
/// Live is: Argo CD's Application is synced at a commit that contains ours, with no operation running and reconciled after the last one; each
/// predictor has a Deployment with the very digest of pods that was rendered, whose replicas are all new and available; no other predictor's
/// Deployment is left, nor a pod that requests can reach; the SeldonDeployment says `Available`; every route is accepted by our Gateway, with its backends, at its generation.
pub fn look(release: &Release, facts: Facts<'_>) -> Look {
    let empty = Found::default();
    let found = facts.found.unwrap_or(&empty);
    let unsynced = parts::unsynced(release, facts);
    let routed = parts::routed(release, found);
    let differs = parts::differs(release, found, &routed);
    let applied = unsynced.is_none() && differs.is_none();
    let unready = parts::unready(release, found);
    let has_pods = applied && unready.is_none();
    let missing = unsynced
        .or(differs)
        .or(unready)
        .or_else(|| parts::left_over(release, found))
        .or_else(|| parts::unavailable(found))
        .or_else(|| parts::unrouted(release, found));
    let variants = release.spec.variants.iter().map(|variant| {
        let readiness = match parts::not_ready(release, found, &variant.predictor) {
            None => Readiness::Ready,
            Some(why) => Readiness::NotReady(why),
        };
        (variant.predictor.clone(), readiness)
    });
    let variants = variants.collect();
    let trouble = missing.as_ref().and_then(|_| trouble::find(release, found, facts));
    let synced_at = facts.application.and_then(|it| it.operation.as_ref()).and_then(|operation| operation.finished_at);
    let is_followed = found.routes.iter().all(|route| parts::is_followed(release, route));
    Look { variants, applied, synced_at, has_pods, routed, is_followed, missing, trouble }
}
