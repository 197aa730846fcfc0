//! What a cluster's refusal means, in words that name what helps.

use kube::runtime::watcher;

use super::access::{Resource, resource};
use crate::live::{Blindness, Kind};

/// Why a kind cannot be watched.
pub(super) fn of_watch(cluster: &str, kind: Kind, error: &watcher::Error) -> Blindness {
    let (verb, error) = match error {
        watcher::Error::InitialListFailed(error) => ("list", error),
        watcher::Error::WatchStartFailed(error) | watcher::Error::WatchFailed(error) => ("watch", error),
        watcher::Error::WatchError(status) => {
            return Blindness {
                reason: format!("the cluster `{cluster}` ended the watch: {}", status.message),
                cure: None,
            };
        }
        watcher::Error::NoResourceVersion => {
            return Blindness {
                reason: format!("the cluster `{cluster}` does not let `{}`s be watched", kind.as_str()),
                cure: None,
            };
        }
    };
    let named = named(kind);
    let reason = of_resource(cluster, (verb, &named), error);
    Blindness { reason, cure: cure((verb, &named), error) }
}

/// Why a call about a kind came to nothing.
pub(super) fn of_call(cluster: &str, (verb, kind): (&str, Kind), error: &kube::Error) -> String {
    of_resource(cluster, (verb, &named(kind)), error)
}

/// A kind as a role names it.
fn named(kind: Kind) -> String {
    let Resource { group, plural, .. } = resource(kind);
    if group.is_empty() { plural.to_owned() } else { format!("{plural}.{group}") }
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
        _ if is_unreadable(error) => {
            format!("the cluster `{cluster}` answers to `{verb}` `{named}` what cannot be read")
        }
        kube::Error::Auth(_) => format!("the service has no credentials for the cluster `{cluster}` at the moment"),
        // The words of the layers below name addresses and may name credentials.
        _ => unanswered(cluster),
    }
}

/// Whether there was an answer that is none.
const fn is_unreadable(error: &kube::Error) -> bool {
    matches!(
        error,
        kube::Error::SerdeError(_) | kube::Error::FromUtf8(_) | kube::Error::LinesCodecMaxLineLengthExceeded
    )
}

/// What is said of a cluster that says nothing.
pub(super) fn unanswered(cluster: &str) -> String {
    format!("the cluster `{cluster}` does not answer")
}

/// What helps where a call about a resource comes to nothing.
fn cure((verb, named): (&str, &str), error: &kube::Error) -> Option<String> {
    match error {
        kube::Error::Api(status) => match status.code {
            401 => Some("renew the token or certificate that the service has for that cluster".to_owned()),
            403 => Some(format!(
                "add it to the service's role: `kubectl auth can-i {verb} {named} -A --as ACCOUNT` then says `yes`"
            )),
            404 => Some(format!("install it: `kubectl get crd {named}` then shows it")),
            _ => None,
        },
        _ if is_unreadable(error) => Some(format!(
            "see whether an API server answers there, and what: `kubectl get {named} -A -o json`; it is tried again every few seconds"
        )),
        kube::Error::Auth(_) => {
            Some("see whether the plugin or the token file that the kubeconfig names gives one".to_owned())
        }
        _ => Some(
            "see whether its API server answers: `kubectl get --raw /readyz`; it is tried again every few seconds"
                .to_owned(),
        ),
    }
}
