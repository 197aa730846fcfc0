//! What others may ask of the worker that takes asking the registry.

use std::sync::Arc;

use super::inquiry::{find_out, inquiry_of_request};
use super::sweep::{self, unreadable};
use crate::event::Requested;
use crate::plan::Findings;
use crate::release::Intent;
use crate::worker::handle::{Handle, to_its_end};
use crate::worker::{Fault, Preview, SweepReport, preview};

impl Handle {
    /// Compares the whole registry with what is deployed, and has repaired what differs, unless `dry_run`.
    ///
    /// # Errors
    /// There is no tracking server, or it does not answer.
    pub async fn sweep(&self, dry_run: bool) -> Result<SweepReport, Fault> {
        let shared = Arc::clone(&self.shared);
        to_its_end(async move { sweep::sweep(&shared, dry_run).await }).await
    }

    /// What the last sweep found, whichever replica made it.
    ///
    /// # Errors
    /// There is no tracking server, or none has ended yet.
    pub async fn last_sweep(&self) -> Result<SweepReport, Fault> {
        sweep::last_sweep(&self.shared).await
    }

    /// Says what a request would do and touches nothing.
    ///
    /// # Errors
    /// It would be refused.
    pub async fn dry_run(&self, request: Requested) -> Result<Preview, Fault> {
        self.catch_up_if_it_can().await;
        self.has_room(&request).await?;
        let findings = self.find_out(&request).await?;
        self.shared.blocking(move |shared| preview::preview(shared, &request, findings)).await
    }

    /// Finds out about what a request would serve, where there is somebody to ask.
    async fn find_out(&self, request: &Requested) -> Result<Arc<Findings>, Fault> {
        let Intent::Put(wanted) = &request.intent else { return Ok(Arc::default()) };
        if !self.shared.asks_about_requests() {
            return Ok(Arc::default());
        }
        let inquiry = inquiry_of_request(&request.key, wanted);
        find_out(&self.shared, inquiry).await.map(Arc::new).map_err(unreadable)
    }
}
