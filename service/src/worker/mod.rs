//! The conveyor: takes what the inbox holds through policy, plan, render and git, one writer for all.
//!
//! The only caller of those modules. Everything that others may ask of it is on `Handle`.

mod accounts;
mod events;
mod fault;
mod handle;
pub mod offline;
mod settings;
mod view;

pub use accounts::{Accounts, AuditEntry, Audited, Claim, ClaimKey, WantedToken};
pub use events::Subscription;
pub use fault::Fault;
pub use handle::{DeliveryFilter, Handle, Received};
pub use settings::{EnvironmentSettings, Settings};
pub use view::*;

use crate::clock::Clock;

/// The part that does the work; it does nothing until it runs.
#[derive(Debug)]
pub struct Worker(());

impl Worker {
    /// Carries out what waits, until `stop` is there; then ends what it is at.
    pub async fn run(self, stop: impl Future<Output = ()> + Send) {
        let _ = stop;
        todo!()
    }
}

/// Why the worker could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("another service uses the data directory")]
    Locked,
}

/// Opens data directory, store and repository, takes in what happened while nobody looked, and hands out both ends.
///
/// # Errors
/// The data directory is in use, or one of its parts cannot be opened.
pub async fn open(settings: Settings, clock: Clock) -> Result<(Handle, Worker), OpenError> {
    let _ = (settings, clock);
    todo!()
}
