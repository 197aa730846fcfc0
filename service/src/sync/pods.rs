//! What a pod in trouble says: its log and its events. Asked for one pod at a time, and never for a whole release.

use k8s_openapi::api::core::v1::{Event, Pod};
use kube::Api;
use kube::api::{ListParams, LogParams};

use super::cluster::Clusters;
use super::failure;
use crate::live::PodName;

/// The most of a log that is read: enough for a stack trace, small enough to hold for a reader who is slow.
const LOG_BYTES_MAX: i64 = 256 * 1024;

/// The most lines of a log that are read.
const LOG_LINES_MAX: i64 = 1_000;

/// The most events of one pod that are looked through; a server keeps them for an hour and counts repeats.
const EVENTS_MAX: u32 = 50;

/// A part of a pod's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodLog {
    pub pod: PodName,
    /// Whether it is of the container's run before the present one, which is the one that failed.
    pub is_previous: bool,
    pub text: String,
}

impl Clusters {
    /// The end of a container's log: of the run that failed where there was one, else of the present one.
    ///
    /// # Errors
    /// One sentence: there is no such pod, or the service may not read its log.
    pub async fn log(&self, cluster: &str, pod: &PodName, lines: i64) -> Result<PodLog, String> {
        let Some(watching) = self.watching(cluster) else {
            return Err(format!("the cluster `{cluster}` is not watched"));
        };
        let api: Api<Pod> = Api::namespaced(watching.client.clone(), &pod.namespace);
        let params = |previous: bool| LogParams {
            container: Some(pod.container.clone()).filter(|container| !container.is_empty()),
            previous,
            tail_lines: Some(lines.clamp(1, LOG_LINES_MAX)),
            limit_bytes: Some(LOG_BYTES_MAX),
            ..LogParams::default()
        };
        // A container that did not run before has no log of that, which is an error here.
        if let Ok(text) = api.logs(&pod.name, &params(true)).await
            && !text.trim().is_empty()
        {
            return Ok(PodLog { pod: pod.clone(), is_previous: true, text });
        }
        let text = api.logs(&pod.name, &params(false)).await;
        let text = text.map_err(|error| failure::of_resource(cluster, ("get", "pods/log"), &error))?;
        Ok(PodLog { pod: pod.clone(), is_previous: false, text })
    }

    /// The last warning that the cluster's events have of a pod.
    pub async fn last_warning(&self, cluster: &str, pod: &PodName) -> Option<String> {
        let watching = self.watching(cluster)?;
        let api: Api<Event> = Api::namespaced(watching.client.clone(), &pod.namespace);
        let of_pod = format!("involvedObject.name={},involvedObject.kind=Pod,type=Warning", pod.name);
        let events = api.list(&ListParams::default().fields(&of_pod).limit(EVENTS_MAX)).await;
        let events = match events {
            Ok(events) => events.items,
            Err(error) => {
                tracing::info!("{}", failure::of_resource(cluster, ("list", "events"), &error));
                return None;
            }
        };
        let newest = events.into_iter().max_by_key(|event| event.last_timestamp.as_ref().map(|time| time.0))?;
        newest.message.map(|message| message.trim().to_owned()).filter(|message| !message.is_empty())
    }
}
