//! The conveyor: takes what the inbox holds through policy, plan, render and git, one writer for all.
//!
//! The only caller of those modules. Everything that others may ask of it is on `Handle`; what it does by itself, `Worker` does.

mod accounts;
mod adopt;
mod agenda;
mod ahead;
mod apply;
mod claims;
mod collect;
mod conclusion;
mod conveyor;
mod deliveries;
mod deployments;
mod disk;
mod drafting;
mod events;
mod fault;
mod foreign;
mod given_again;
mod handle;
mod history;
mod holds;
mod housekeeping;
mod import;
mod index;
mod interrupted;
mod load;
mod lock;
mod metrics;
mod observe;
pub mod offline;
mod pace;
mod packed;
mod past;
mod policies;
mod preview;
mod publish;
mod queue;
mod read;
mod registry;
mod replaced;
mod replica;
mod request;
mod rerender;
mod restored;
mod retry;
mod review;
mod settings;
mod shared;
mod start;
mod statuses;
mod storing;
mod task;
mod told;
mod turn;
mod urgent;
mod view;
mod writer;

#[cfg(test)]
mod tests;

pub use accounts::{Accounts, AuditEntry, Audited, Claim, ClaimKey, WantedToken};
pub use events::Subscription;
pub use fault::Fault;
pub use handle::{DeliveryFilter, Handle, Received};
pub use import::{ImportHints, ImportQuery, ImportView};
pub use lock::{DataDirLock, LockError};
pub use observe::{ClusterDiff, Drift, LogView, Status, StatusState};
pub use read::no_delivery;
pub use request::Became;
pub use review::{ReviewState, ReviewView};
pub use settings::{EnvironmentSettings, RegistrySettings, RemoteSettings, Settings};
pub use shared::not_deployed;
pub use start::{OpenError, open};
pub use view::*;
pub use writer::Worker;
