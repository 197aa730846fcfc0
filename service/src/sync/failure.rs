//! What a cluster's refusal means, in words that name what helps.

use kube::runtime::watcher;

use super::access::{Resource, resource};
use crate::live::Kind;

/// Why a kind cannot be watched.
pub(super) fn of_watch(cluster: &str, kind: Kind, error: &watcher::Error) -> String {
    let (verb, error) = match error {
        watcher::Error::InitialListFailed(error) => ("list", error),
        watcher::Error::WatchStartFailed(error) | watcher::Error::WatchFailed(error) => ("watch", error),
        watcher::Error::WatchError(status) => {
            return format!("the cluster `{cluster}` ended the watch: {}", status.message);
        }
        watcher::Error::NoResourceVersion => {
            return format!("the cluster `{cluster}` does not let `{}`s be watched", kind.as_str());
        }
    };
    of_call(cluster, (verb, kind), error)
}

/// Why a call about a kind came to nothing.
pub(super) fn of_call(cluster: &str, (verb, kind): (&str, Kind), error: &kube::Error) -> String {
    let Resource { group, plural, .. } = resource(kind);
    let named = if group.is_empty() { plural.to_owned() } else { format!("{plural}.{group}") };
    of_resource(cluster, (verb, &named), error)
}

/// Why a call about a resource came to nothing.
pub(super) fn of_resource(cluster: &str, (verb, named): (&str, &str), error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => match status.code {
            401 => format!("the cluster `{cluster}` does not know the service's account"),
            403 => {
                format!("the cluster `{cluster}` does not let the service `{verb}` `{named}`: its role lacks that verb")
            }
            404 => format!("the cluster `{cluster}` has no `{named}`: what brings that kind is not installed"),
            _ => format!("the cluster `{cluster}` refuses to `{verb}` `{named}`: {}", status.message),
        },
        // The words of the layers below name addresses and may name credentials.
        _ => format!("the cluster `{cluster}` does not answer"),
    }
}
