//! Rendering ahead: what a large turn will most likely render, on every core, before the turn goes through it one by one.
//!
//! A guess costs nothing but time: the turn takes a render only for the very document it has come to itself.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::apply::{Ground, Task, guess, timed};
use super::shared::Shared;
use crate::event::{Delivery, Event};
use crate::names::ReleaseKey;
use crate::release::Release;
use crate::render::{self, Manifests};

/// From this many on it is worth starting threads, which takes some hundredths of a render.
const WORTH_IT: usize = 8;

/// So many are rendered before the turn takes them up: enough for every core, and at some 40 kB each no memory to speak of.
pub(super) const AHEAD_MAX: usize = 32;

/// Renders by release, each with the document that it belongs to.
pub(super) type Ahead = HashMap<ReleaseKey, (Release, Manifests)>;

/// On how many threads a turn of so many deliveries renders. Asked once for a large turn: the answer takes the reading of several files.
pub(super) fn threads(deliveries: usize) -> usize {
    if deliveries < WORTH_IT { 1 } else { std::thread::available_parallelism().map_or(1, usize::from) }
}

/// Renders on these threads what these deliveries will most likely need.
pub(super) fn render_ahead(
    shared: &Shared,
    ground: &(dyn Ground + Sync),
    deliveries: &[Delivery],
    threads: usize,
) -> Ahead {
    if threads < 2 || deliveries.len() < WORTH_IT {
        return Ahead::new();
    }
    let next = AtomicUsize::new(0);
    let found = Mutex::new(Ahead::new());
    let work = || {
        while let Some(delivery) = deliveries.get(next.fetch_add(1, Ordering::Relaxed)) {
            let Event::Requested(requested) = &delivery.event else { continue };
            let Some(release) = guess(ground, &Task::of(delivery, requested)) else { continue };
            if let Ok(manifests) = timed(shared, || render::render(&release, &shared.settings.templates)) {
                found
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .insert(requested.key.clone(), (release, manifests));
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(work);
        }
        work();
    });
    found.into_inner().unwrap_or_else(PoisonError::into_inner)
}
