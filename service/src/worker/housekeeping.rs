//! What keeps store and repository small, off the path of deliveries: packing what pushes left, dropping what was kept long enough.

use std::sync::Arc;
use std::time::Duration;

use super::shared::Shared;
use crate::command::Git;
use crate::git::Maintained;

/// Pushes between two looks at the repository: half as many as packs make a repack due.
pub(super) const PUSHES_PER_LOOK: u32 = 25;

/// Between two prunings: what is kept for 30 days may as well stay an hour longer.
const PRUNE_PERIOD: Duration = Duration::from_secs(3_600);

/// Keeps house until it is dropped. Without Git nothing is packed, and the service only becomes slower.
pub(super) async fn keep_house(shared: Arc<Shared>, git: Option<Git>) {
    let mut prune = tokio::time::interval(PRUNE_PERIOD);
    loop {
        tokio::select! {
            _ = prune.tick() => prune_store(&shared).await,
            () = shared.many_pushes.notified() => {}
        }
        if let Some(git) = &git {
            maintain(&shared, git).await;
        }
    }
}

/// Has a branch that lives elsewhere looked at now and then, until it is dropped: nobody may tell of a push.
pub(super) async fn look_again_and_again(shared: Arc<Shared>) {
    let Some(remote) = &shared.settings.remote else { return };
    loop {
        tokio::time::sleep(remote.poll_interval.as_duration()).await;
        shared.inbox.note_push();
    }
}

async fn prune_store(shared: &Shared) {
    match shared.store.prune(shared.clock.now()).await {
        Ok(pruned) => tracing::debug!("Pruned the store: {pruned:?}"),
        Err(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "The store could not be pruned: {error}")
        }
    }
}

async fn maintain(shared: &Shared, git: &Git) {
    match shared.repository.maintain(git).await {
        Ok(Maintained::NotDue) => {}
        Ok(Maintained::Repacked) => tracing::info!("Packed the repository"),
        Err(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "The repository could not be packed: {error}")
        }
    }
}
