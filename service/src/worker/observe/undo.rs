//! A commit that stalled by its own fault is taken back.

use std::sync::Arc;

use jiff::Timestamp;

use super::Known;
use super::follow::times;
use crate::event::{Guard, Requested};
use crate::live::{LiveState, Look};
use crate::names::ReleaseKey;
use crate::release::Period;
use crate::rollout;
use crate::worker::Fault;
use crate::worker::handle::Handle;
use crate::worker::index::Entry;
use crate::worker::read;
use crate::worker::shared::{Shared, write};

/// Who is written down as having asked, where a commit is taken back.
const UNDONE_BY: &str = "auto-rollback";

/// After how long it is asked for again, where it could not be.
const UNDONE_AGAIN_AFTER: Period = Period::from_seconds(30);

/// Takes a commit back that stalled by its own fault, where the environment says so. While that has not had its time yet, it says when it will have.
pub(super) async fn undo(
    shared: &Arc<Shared>,
    key: &ReleaseKey,
    entry: &Entry,
    (known, look): (&Known, &Look),
    now: Timestamp,
) -> Option<Timestamp> {
    let is_stalled = known.progress.as_ref().is_ok_and(|progress| progress.state == LiveState::Stalled);
    // Whoever does not know whether it was live before blames it for nothing.
    let fault = look.trouble.as_ref().filter(|trouble| trouble.kind.is_of_the_commit() && !known.is_unknown);
    let (Some(trouble), false, true) = (fault, known.is_undone, is_stalled) else { return None };
    let wants = shared.environment(&key.environment).is_ok_and(|environment| environment.auto_rollback);
    if !wants || !shared.replica.leads() {
        return None;
    }
    let act = rollout::undo(&entry.release)?;
    let blamed_at = times(entry, None).blamed_at(known.reached);
    if now < blamed_at {
        return Some(blamed_at);
    }
    if let Some(known) = write(&shared.observations.known).get_mut(key) {
        known.is_undone = true;
    }
    let guard = Guard { if_match: Some(entry.tree.clone()), ..Guard::default() };
    let asked = match read::absolute(shared, key, act).await {
        Ok(intent) => {
            let requested = Requested { key: key.clone(), intent, guard, requested_by: Some(UNDONE_BY.to_owned()) };
            Handle::new(Arc::clone(shared)).submit(requested).await.map(drop)
        }
        Err(fault) => Err(fault),
    };
    let Err(fault) = asked else {
        tracing::warn!(release.key = %key, "Release `{key}` is taken back, because it stalled: {}", trouble.reason);
        return None;
    };
    tracing::warn!(release.key = %key, "Release `{key}` stalled and cannot be taken back: {fault}");
    // What is refused is so until something else is committed; anything else may work a little later.
    if matches!(fault, Fault::Refused(_)) {
        return None;
    }
    if let Some(known) = write(&shared.observations.known).get_mut(key) {
        known.is_undone = false;
    }
    Some(UNDONE_AGAIN_AFTER.after(now))
}
