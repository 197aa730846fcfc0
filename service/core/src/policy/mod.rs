//! Registry state → what should be released: level-triggered and pure.
//!
//! A policy is a function of *all* current aliases and tags of a model, never of one event, so lost, doubled and reordered events do no harm.

mod check;
mod desired;
mod document;
mod image;
mod select;

pub use check::Problem;
pub use desired::*;
pub use document::*;
pub use image::*;
pub use select::*;

use select::Pattern;

#[cfg(test)]
mod tests;
