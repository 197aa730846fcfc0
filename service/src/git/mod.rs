//! Step 6: manifests → commit → push. The GitOps repository, embedded or elsewhere: read by path, edited by path, moved on by compare-and-swap.
//!
//! Knows names and what a commit does; knows no model and no template. What is committed, and when, is `worker`'s.

mod begin;
mod beside;
mod bundle;
mod directories;
mod draft;
mod error;
mod handles;
mod history;
mod journal;
mod maintain;
pub mod message;
mod objects;
mod owed;
mod pack;
mod publish;
pub mod remote;
mod repository;
mod seed;
pub mod serve;
mod signing;
#[cfg(test)]
pub(crate) mod tests;
mod tree;
mod upstream;

pub use begin::{Beginning, Begun, begin, relocate};
pub use beside::{Deleted, Offered};
pub use bundle::{CloneParts, bundle, bundle_clone, unbundle, unbundle_clone};
pub use draft::{Draft, Edit};
pub use error::GitError;
pub use history::{LogEntry, join_message, says_join};
pub use maintain::Maintained;
pub use message::{Asker, Message};
pub use owed::{PLACE_AFTER, Visit};
pub use publish::{Publish, wait_until_in_place};
pub use repository::{Author, EntryKind, Repository, Seeded};
pub use seed::seed;
pub use signing::{SigningKey, SigningKeyError};
