//! The last words of pods in trouble: a line of a log, or what the events say.

use super::{Known, watched};
use crate::live::{LiveState, Look, PodName, TroubleKind};
use crate::names::ReleaseKey;
use crate::worker::shared::{Shared, write};

/// The lines of a log of which the last one is a pod's last words.
const WORDS_LINES: i64 = 20;

/// Of whom words were asked last, about what, and in which state of the release.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Asked {
    pod: PodName,
    kind: TroubleKind,
    state: LiveState,
}

/// Has the last words of a pod in trouble read: once as soon as it is, and once more in each further state of the release, because the
/// events tell of a probe that fails some time after the pod was seen to run.
pub(super) fn hear(shared: &Shared, key: &ReleaseKey, known: &Known, look: &Look) {
    let Some(trouble) = &look.trouble else { return };
    let Some(pod) = trouble.pod.clone() else { return };
    let Ok(state) = known.progress.as_ref().map(|progress| progress.state) else { return };
    let asked = Some(Asked { pod: pod.clone(), kind: trouble.kind, state });
    let says_more = matches!(
        trouble.kind,
        TroubleKind::CrashLoop | TroubleKind::Initializer | TroubleKind::Unready | TroubleKind::Starting
    );
    if known.asked == asked || !says_more {
        return;
    }
    if let Some(known) = write(&shared.observations.known).get_mut(key) {
        known.asked.clone_from(&asked);
    }
    shared.observations.hearing.put(key, Asked { pod, kind: trouble.kind, state });
}

/// Reads the last words of pods in trouble, until it is dropped.
pub(super) async fn hear_pods(shared: &Shared) {
    shared.observations.hearing.work(|key, asked| read_words(shared, key, asked)).await;
}

async fn read_words(shared: &Shared, key: ReleaseKey, asked: Asked) {
    let words = last_words(shared, &key, &asked.pod, asked.kind).await.unwrap_or_default();
    // An answer that took longer than the next question says less than that one's.
    let is_meant = |known: &&mut Known| known.asked.as_ref() == Some(&asked);
    if let Some(known) = write(&shared.observations.known).get_mut(&key).filter(is_meant) {
        known.words = Some((asked.pod.clone(), words));
    }
    shared.observations.note([key]);
}

async fn last_words(shared: &Shared, key: &ReleaseKey, pod: &PodName, kind: TroubleKind) -> Option<String> {
    let (clusters, cluster) = watched(shared, &key.environment)?;
    match kind {
        TroubleKind::Unready => return clusters.last_warning(cluster, pod).await,
        // What runs before the model's container and does not come to its end is warned of by nobody.
        TroubleKind::Starting => {
            if let Some(warning) = clusters.last_warning(cluster, pod).await {
                return Some(warning);
            }
        }
        _ => {}
    }
    let log = clusters.log(cluster, pod, WORDS_LINES).await.ok()?;
    let last = log.text.lines().rev().map(str::trim).find(|line| !line.is_empty())?;
    // One line of it, of a size that can be shown.
    Some(last.chars().filter(|c| !crate::names::is_invisible(*c)).take(300).collect())
}
