//! The inbox: what arrived, in order, and what became of it.

mod accept;
mod outcome;
mod read;

pub(super) use accept::{Arrival, accept};
pub(super) use outcome::{MakeAbsolute, Redeliver, write_outcomes};
pub(super) use read::{COLUMNS, by_id, delivery, depth, list, waiting};
