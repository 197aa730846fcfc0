//! The registry's side of the worker: models are read anew, what policies make of them is compared with what is deployed, and the
//! registry is told how its versions fare.

mod asked;
mod changed;
mod compare;
mod event;
mod handle;
mod inquiry;
mod offered;
mod reader;
mod status;
mod sweep;
mod write_back;

pub(super) use event::registry_changed;
pub(super) use offered::{default_images, with_tags};
pub(super) use reader::{Answered, Concern, Found, Read, Reader, concern};
pub(super) use sweep::{Sweeper, sweep_again_and_again};
pub(super) use write_back::{Outbox, Which, tell_in_the_way, tell_refused, tell_versions, write_back, write_waiting};
