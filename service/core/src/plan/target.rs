//! Where a release goes: cluster, namespace, gateway, host names and links, resolved once when it is created.

use crate::names::ReleaseKey;
use crate::release::{GatewayRef, Links, MonitoringTarget, Refusal, Target};

/// Where the releases of an environment go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvironmentTarget {
    pub cluster: String,
    pub namespace_prefix: String,
    pub host_suffix: String,
    pub gateway: GatewayRef,
    pub monitoring: MonitoringTarget,
    /// Base addresses; the release's own page is made from `links.release`.
    pub links: Links,
}

/// The longest label of a host name and the longest name of a namespace (RFC 1123).
const LABEL_CHARS_MAX: usize = 63;

/// Works out where a release goes.
///
/// # Errors
/// A refusal where a host name's label or the namespace would be too long.
pub fn target(key: &ReleaseKey, environment: &EnvironmentTarget) -> Result<Target, Refusal> {
    let EnvironmentTarget { cluster, namespace_prefix, host_suffix, gateway, monitoring, links } = environment;
    let namespace = format!("{namespace_prefix}{}", key.namespace);
    let label = format!("{}-{}", key.name, key.namespace);
    let longest = format!("{label}-preview");
    for (what, text) in [("the namespace", &namespace), ("the host name's label", &longest)] {
        if text.len() > LABEL_CHARS_MAX {
            let reason =
                format!("{what} `{text}` would have {} characters, and {LABEL_CHARS_MAX} is the most", text.len());
            return Err(Refusal::invalid(reason, "choose a shorter name or namespace"));
        }
    }
    Ok(Target {
        cluster: cluster.clone(),
        namespace,
        gateway: gateway.clone(),
        host: format!("{label}.{host_suffix}"),
        preview_host: format!("{label}-preview.{host_suffix}"),
        grpc_host: format!("{label}-grpc.{host_suffix}"),
        monitoring: monitoring.clone(),
        links: Links {
            release: links.release.as_ref().map(|base| format!("{}/releases/{key}", base.trim_end_matches('/'))),
            ..links.clone()
        },
    })
}
