//! Reading a model anew before anything is planned for it: an event is a hint, the tracking server has the truth.
//!
//! Off the writer's path, so that a slow tracking server delays nobody's rollback. Deliveries about one model share a reading: while one
//! is under way, those that arrive wait for the next, which begins after the last of them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::event::{Delivery, Event};
use crate::mlflow;
use crate::names::ModelName;
use crate::registry::Reading;
use crate::worker::shared::Shared;

/// A model as it was read, or nothing where the registry does not have it.
pub(in crate::worker) type Found = Option<Arc<Reading>>;

/// What was read, with the deliveries that waited for it.
#[derive(Debug)]
pub(in crate::worker) struct Read {
    pub(in crate::worker) model: ModelName,
    pub(in crate::worker) deliveries: Vec<Delivery>,
    pub(in crate::worker) found: Result<Found, mlflow::Error>,
}

/// The deliveries that wait for a reading of their model: as many as the inbox may hold, without their bodies.
#[derive(Debug, Default)]
pub(in crate::worker) struct Reader {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Those that came since the reading of their model began; an entry is there as long as one is under way.
    waiting: HashMap<ModelName, Vec<Delivery>>,
    read: Vec<Read>,
}

/// The model that has to be read before a delivery is carried out.
pub(in crate::worker) fn concerns(delivery: &Delivery) -> Option<&ModelName> {
    match &delivery.event {
        Event::RegistryChanged(change) => Some(&change.model),
        Event::Requested(_) | Event::Ignored { .. } => None,
    }
}

impl Reader {
    /// Has a model read for a delivery.
    pub(in crate::worker) fn ask(&self, shared: &Arc<Shared>, model: &ModelName, delivery: Delivery) {
        let mut state = self.state();
        if let Some(waiting) = state.waiting.get_mut(model) {
            waiting.push(delivery);
            return;
        }
        state.waiting.insert(model.clone(), Vec::new());
        drop(state);
        tokio::spawn(read(Arc::clone(shared), model.clone(), vec![delivery]));
    }

    /// Gives what was read elsewhere.
    pub(in crate::worker) fn give(&self, read: Read) {
        self.state().read.push(read);
    }

    /// Takes what was read since.
    pub(in crate::worker) fn take(&self) -> Vec<Read> {
        std::mem::take(&mut self.state().read)
    }

    /// Whether a model is being read, or was read and not taken yet.
    pub(in crate::worker) fn is_busy(&self) -> bool {
        let state = self.state();
        !state.waiting.is_empty() || !state.read.is_empty()
    }

    /// Hands over what was read, and takes the deliveries that came meanwhile; none where the model is done with.
    fn hand_over(&self, read: Read) -> Vec<Delivery> {
        let mut state = self.state();
        let next = match state.waiting.get_mut(&read.model) {
            Some(waiting) => std::mem::take(waiting),
            None => Vec::new(),
        };
        if next.is_empty() {
            state.waiting.remove(&read.model);
        }
        state.read.push(read);
        next
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads a model until nothing waits for it any more.
async fn read(shared: Arc<Shared>, model: ModelName, mut deliveries: Vec<Delivery>) {
    let Some(registry) = &shared.settings.registry else { return };
    while !deliveries.is_empty() {
        let wishes = shared.policy_set().policies.wish_tag(&model);
        let found = registry.client.read_model(&model, wishes.as_slice()).await;
        let found = found.map(|reading| reading.map(Arc::new));
        deliveries = shared.reader.hand_over(Read { model: model.clone(), deliveries, found });
        shared.inbox.wake();
    }
}
