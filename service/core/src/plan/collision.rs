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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{EnvironmentTarget, target};
    use crate::release::{GatewayRef, Links, MonitoringMode, MonitoringTarget};

    fn place(key: &str, prefix: &str) -> Result<(ReleaseKey, Target), Refusal> {
        let key = ReleaseKey::parse(key).unwrap();
        let environment = EnvironmentTarget {
            cluster: "in-cluster".to_owned(),
            namespace_prefix: prefix.to_owned(),
            host_suffix: format!("{}.k5w.localhost", key.environment),
            gateway: GatewayRef { namespace: "gateway".to_owned(), name: "models".to_owned() },
            monitoring: MonitoringTarget { mode: MonitoringMode::Operator, labels: Default::default() },
            links: Links::default(),
        };
        let target = target(&key, &environment)?;
        Ok((key, target))
    }

    fn collides(one: &str, prefix_one: &str, other: &str, prefix_other: &str) -> bool {
        let (one, other) = (place(one, prefix_one).unwrap(), place(other, prefix_other).unwrap());
        let owner = |(key, target): &(ReleaseKey, Target)| {
            collision(Owner { key, target }, Owner { key: &other.0, target: &other.1 }).is_some()
        };
        owner(&one)
    }

    #[test]
    fn releases_that_would_own_the_same_object_collide() {
        assert!(collides("production/models/fraud-v7", "", "production/models/fraud", ""));
        assert!(collides("production/models/fraud", "", "production/models/fraud-v7-model", ""));
        assert!(collides("production/models/fraud-preview", "", "production/models/fraud", ""));
        assert!(collides("staging/models/fraud", "", "production/models/fraud", ""), "two environments, one namespace");
        assert!(collides("production/c/a-b", "", "production/b-c/a", ""), "one host name");
    }

    #[test]
    fn neighbours_do_not_collide() {
        assert!(!collides("production/models/fraud", "", "production/models/fraud", ""), "itself");
        assert!(!collides("production/models/fraud-value", "", "production/models/fraud", ""));
        assert!(!collides("production/other/fraud", "", "production/models/fraud", ""));
        assert!(!collides("staging/models/fraud", "staging-", "production/models/fraud", ""));
    }

    #[test]
    fn a_host_name_that_would_be_too_long_is_cut_and_stays_its_own() {
        let of = |namespace: &str, name: &str| place(&format!("production/{namespace}/{name}"), "").unwrap().1;
        let longest = "r".repeat(40);
        assert_eq!(
            of(&"n".repeat(14), &longest).host,
            format!("{longest}-{}.production.k5w.localhost", "n".repeat(14))
        );
        for namespace in ["n".repeat(15), "n".repeat(63), format!("{}-{}", "n".repeat(8), "n".repeat(40))] {
            let target = of(&namespace, &longest);
            for host in [&target.host, &target.preview_host, &target.grpc_host] {
                assert!(crate::release::is_host(host), "{host}");
            }
            assert_ne!(target.host, of(&format!("{namespace}x")[1..], &longest).host);
        }
    }

    #[test]
    fn a_namespace_that_is_too_long_with_its_prefix_is_refused() {
        let reason = place(&format!("production/{}/fraud", "n".repeat(60)), "team-").unwrap_err().reason;
        assert!(reason.contains("65 characters"), "{reason}");
    }
}
