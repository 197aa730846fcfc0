//! The clusters: what is seen in them, by watching, and the few things that are said to Argo CD, in its cluster or at its doors.
//!
//! What is watched goes into an index per cluster (`crate::live`), and whoever follows is told what changed; nothing is asked per release.
//! The only thing that is kept there is the Lease with the name of the replica that leads.
//! A cluster that cannot be reached, a kind that it does not have and a right that is missing are normal: they are said, and tried again.

pub mod access;
mod argocd;
mod cluster;
mod doors;
mod failure;
mod kinds;
mod lease;
mod objects;
mod pods;
mod watch;

#[cfg(test)]
pub(crate) mod tests;

pub use cluster::{Address, Changes, Clusters, ConnectError, Settings};
pub use doors::{DoorError, DoorSettings, Doors, PushTold, Sign, host_and_path};
pub use lease::{Holding, Lease, LeaseSettings};
pub use pods::PodLog;
