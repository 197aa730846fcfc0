//! Two releases that would own the same object in a cluster: refused, whichever comes second.

use crate::names::ReleaseKey;
use crate::release::{Refusal, Target};

/// What a release owns in its cluster, as far as another could own it too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner<'a> {
    pub key: &'a ReleaseKey,
    pub target: &'a Target,
}

/// Says why `new` and `other` cannot both be; none where they can.
///
/// The names of what a release `r` owns are `r`, `r-preview`, `r-grpc`, `r-dashboard`, and for each predictor `r-<predictor>` and
/// `r-<predictor>-…`, so a release called `fraud-v7` would own a Service of the release `fraud`.
pub fn collision(new: Owner<'_>, other: Owner<'_>) -> Option<Refusal> {
    if new.key == other.key || new.target.cluster != other.target.cluster {
        return None;
    }
    let hosts = |target: &Target| [target.host.clone(), target.preview_host.clone(), target.grpc_host.clone()];
    let same_host = hosts(new.target).iter().any(|host| hosts(other.target).contains(host));
    let same_namespace = new.target.namespace == other.target.namespace;
    let (a, b) = (new.key.name.as_str(), other.key.name.as_str());
    let same_object = same_namespace && (a == b || owns(a, b) || owns(b, a));
    if !same_host && !same_object {
        return None;
    }
    let what = if same_object { "the same object" } else { "the same host name" };
    Some(Refusal::conflict(
        format!("`{}` and `{}` would own {what}", new.key, other.key),
        "choose another name or namespace",
    ))
}

/// Whether a release called `owner` may own an object with the name of the release `name`.
fn owns(owner: &str, name: &str) -> bool {
    let Some(rest) = name.strip_prefix(owner).and_then(|rest| rest.strip_prefix('-')) else { return false };
    let predictor = rest.split('-').next().unwrap_or_default();
    matches!(rest, "preview" | "grpc" | "dashboard") || crate::names::PredictorName::parse(predictor).is_ok()
}
