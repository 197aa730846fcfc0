//! The index and the definition of live, on what the render writes and what the operator was recorded doing.

mod definition;
mod faults;
mod listing;
mod never_early;
pub(crate) mod world;
