//! Where a release goes: cluster, namespace, gateway, host names and links, resolved once when it is created.

use crate::names::{Digest, ReleaseKey};
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

/// What the longest of a release's host names has after its label.
const LONGEST_ENDING: &str = "-preview";

/// How many hexadecimal digits of a digest tell apart what was cut off, as in a release's name.
const HASH_DIGITS: usize = 4;

/// Works out where a release goes.
///
/// # Errors
/// A refusal where the namespace would be too long.
pub fn target(key: &ReleaseKey, environment: &EnvironmentTarget) -> Result<Target, Refusal> {
    let EnvironmentTarget { cluster, namespace_prefix, host_suffix, gateway, monitoring, links } = environment;
    let namespace = format!("{namespace_prefix}{}", key.namespace);
    if namespace.len() > LABEL_CHARS_MAX {
        let reason = format!(
            "the namespace `{namespace}` would have {} characters, and {LABEL_CHARS_MAX} is the most",
            namespace.len()
        );
        return Err(Refusal::invalid(reason, "choose a shorter namespace"));
    }
    let label = host_label(key);
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

/// `<release>-<namespace>`; cut and ended by a few digits of a digest of both where a host name would have too long a label.
fn host_label(key: &ReleaseKey) -> String {
    let label = format!("{}-{}", key.name, key.namespace);
    let chars_max = LABEL_CHARS_MAX - LONGEST_ENDING.len();
    if label.len() <= chars_max {
        return label;
    }
    let digest = Digest::of(format!("{}/{}", key.namespace, key.name).as_bytes());
    let cut = label[..chars_max - HASH_DIGITS - 1].trim_end_matches('-');
    format!("{cut}-{}", &digest.as_str()["sha256:".len()..][..HASH_DIGITS])
}
