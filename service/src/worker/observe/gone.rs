//! Retracted releases, until nothing of them is left.

use jiff::Timestamp;
use serde_json::json;

use super::notice::notice;
use super::tell::{Noticed, Told, say};
use super::{Going, cannot_be_seen, lock, watched};
use crate::live::{Application, Place, application_name};
use crate::names::ReleaseKey;
use crate::worker::shared::{Shared, read as locked, write};

/// Has the Application of a release go that is not deployed any more; says when to look for that again.
pub(super) fn gone(shared: &Shared, key: &ReleaseKey, now: Timestamp) -> Option<Timestamp> {
    let (clusters, cluster) = watched(shared, &key.environment)?;
    let name = application_name(key);
    let new = || Going { since: now, told: Told::default(), entry: None };
    // That nothing is left is seen, or not said. Everything is looked at again once it can be.
    if cannot_be_seen(clusters, cluster).is_some() {
        if locked(&shared.observations.known).contains_key(key) {
            lock(&shared.observations.going).entry(key.clone()).or_insert_with(new);
        }
        return None;
    }
    let application = clusters.see(clusters.hub(), |index| index.application(&name).cloned()).flatten();
    let mut going = lock(&shared.observations.going);
    let entry = going.get(key).and_then(|going| going.entry.as_ref());
    let is_foreign =
        |it: &Application| entry.is_some_and(|entry| notice(shared, entry, Some(it)).noticed == Noticed::Foreign);
    let at = entry.map(|entry| Place::of(&entry.release));
    let is_there = application.is_some_and(|it| !is_foreign(&it))
        || at.is_some_and(|at| clusters.see(cluster, |index| index.found(&at).is_some()).unwrap_or(false));
    if !is_there {
        let was_going = going.remove(key).is_some();
        drop(going);
        if write(&shared.observations.known).remove(key).is_some() || was_going {
            shared.ring.push("sync", &json!({"release": key.to_string(), "status": null}));
        }
        return None;
    }
    let Going { told, .. } = going.entry(key.clone()).or_insert_with(new);
    let (word, again) = if shared.replica.leads() { told.next(Noticed::NoApplication, now) } else { (None, None) };
    drop(going);
    if let Some(word) = word {
        say(shared, key, word);
    }
    again
}
