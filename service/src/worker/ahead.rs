//! Rendering ahead: what a large turn will most likely render, on every core, before the turn goes through it one by one.
//!
//! A guess costs nothing but time: the turn takes a render only for the very document it has come to itself.

use std::collections::HashMap;

use super::apply::{Ground, guess, render};
use super::shared::Shared;
use super::task::Task;
use crate::cores::in_pool;
use crate::event::{Delivery, Event};
use crate::names::ReleaseKey;
use crate::release::Release;
use crate::render::Manifests;

/// From this many on it is worth it: before, a guess that is wrong costs more than another core gains.
const WORTH_IT: usize = 8;

/// So many are rendered before the turn takes them up: enough for every core, and at some 40 kB each no memory to speak of.
pub(super) const AHEAD_MAX: usize = 16;

/// Renders by release, each with the document that it belongs to.
pub(super) type Ahead = HashMap<ReleaseKey, (Release, Manifests)>;

/// Renders what these deliveries will most likely need.
pub(super) fn render_ahead(shared: &Shared, ground: &(dyn Ground + Sync), deliveries: &[Delivery]) -> Ahead {
    if deliveries.len() < WORTH_IT {
        return Ahead::new();
    }
    let rendered = |delivery: &Delivery| {
        let Event::Requested(requested) = &delivery.event else { return None };
        let release = guess(ground, &Task::of(delivery, requested))?;
        let manifests = render(shared, &release).ok()?;
        Some((release.key(), (release, manifests)))
    };
    in_pool(deliveries.iter().collect(), rendered).into_iter().flatten().collect()
}
