//! Asking the registry before anything is planned: an event is a hint, and what a request would serve has to be looked at.
//!
//! Off the writer's path, so that a slow tracking server delays nobody's rollback. Deliveries about one model share a reading: while one
//! is under way, those that arrive wait for the next, which begins after the last of them. A request is looked into by itself.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::compare::is_deployed;
use super::inquiry::{Inquiry, find_out, inquiry_of_request};
use crate::event::{Delivery, Event};
use crate::mlflow::Error;
use crate::names::{ModelName, ReleaseKey};
use crate::plan::Findings;
use crate::policy;
use crate::registry::{Reading, RegistryState};
use crate::release::{Artifact, Intent, Wanted, WantedArm};
use crate::worker::RegistrySettings;
use crate::worker::shared::Shared;

/// A model as it was read, or nothing where the registry does not have it.
pub(in crate::worker) type Found = Option<Arc<Reading>>;

/// What was asked, with the deliveries that waited for it.
#[derive(Debug)]
pub(in crate::worker) struct Read {
    pub(in crate::worker) deliveries: Vec<Delivery>,
    pub(in crate::worker) model: ModelName,
    pub(in crate::worker) answer: Result<Answered, Error>,
}

/// What the registry answered.
#[derive(Debug, Clone, Default)]
pub(in crate::worker) struct Answered {
    /// The model, where it was read.
    pub(in crate::worker) found: Option<Found>,
    pub(in crate::worker) findings: Arc<Findings>,
}

/// What has to be asked before a delivery is carried out.
pub(in crate::worker) enum Concern<'a> {
    Model(&'a ModelName),
    Request(&'a ReleaseKey, &'a Wanted),
}

/// The deliveries that wait for an answer: as many as the inbox may hold, without their bodies.
#[derive(Debug, Default)]
pub(in crate::worker) struct Reader {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Those that came since the reading of their model began; an entry is there as long as one is under way.
    waiting: HashMap<ModelName, Vec<Delivery>>,
    /// How many requests are being looked into.
    requests: usize,
    read: Vec<Read>,
    /// How often everything was forgotten: what was asked before that is not answered after it.
    forgotten: u64,
}

/// What a delivery needs to have asked, where something can be asked.
pub(in crate::worker) fn concern<'a>(shared: &Shared, delivery: &'a Delivery) -> Option<Concern<'a>> {
    match &delivery.event {
        Event::RegistryChanged(change) => shared.settings.registry.as_ref().map(|_| Concern::Model(&change.model)),
        Event::Requested(requested) if shared.asks_about_requests() => match &requested.intent {
            Intent::Put(wanted) => Some(Concern::Request(&requested.key, wanted)),
            _ => None,
        },
        Event::Requested(_)
        | Event::ActRequested(_)
        | Event::Pushed { .. }
        | Event::ReviewChanged { .. }
        | Event::ApplicationChanged { .. }
        | Event::Ignored { .. } => None,
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
        let since = state.forgotten;
        drop(state);
        tokio::spawn(read(Arc::clone(shared), (model.clone(), since), vec![delivery]));
    }

    /// Forgets every delivery that waits for an answer: another service has them now.
    pub(in crate::worker) fn forget(&self) {
        let mut state = self.state();
        *state = State { forgotten: state.forgotten + 1, ..State::default() };
    }

    /// Has a request looked into.
    pub(in crate::worker) fn look_into(
        &self,
        shared: &Arc<Shared>,
        (key, wanted): (ReleaseKey, Wanted),
        delivery: Delivery,
    ) {
        let since = {
            let mut state = self.state();
            state.requests += 1;
            state.forgotten
        };
        let shared = Arc::clone(shared);
        tokio::spawn(async move {
            let findings = find_out(&shared, inquiry_of_request(&key, &wanted)).await;
            let answer = findings.map(|findings| Answered { found: None, findings: Arc::new(findings) });
            {
                let mut state = shared.reader.state();
                if state.forgotten != since {
                    return;
                }
                state.requests -= 1;
                state.read.push(Read { deliveries: vec![delivery], model: wanted.model, answer });
            }
            shared.inbox.wake();
        });
    }

    /// Gives what was read elsewhere.
    pub(in crate::worker) fn give(&self, read: Read) {
        self.state().read.push(read);
    }

    /// Takes what was answered since.
    pub(in crate::worker) fn take(&self) -> Vec<Read> {
        std::mem::take(&mut self.state().read)
    }

    /// Whether something is asked, or was answered and not taken yet.
    pub(in crate::worker) fn is_busy(&self) -> bool {
        let state = self.state();
        !state.waiting.is_empty() || state.requests > 0 || !state.read.is_empty()
    }

    /// Hands over what was read, and takes the deliveries that came meanwhile; none where the model is done with.
    fn hand_over(&self, read: Read, since: u64) -> Vec<Delivery> {
        let mut state = self.state();
        if state.forgotten != since {
            return Vec::new();
        }
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
async fn read(shared: Arc<Shared>, (model, since): (ModelName, u64), mut deliveries: Vec<Delivery>) {
    let Some(registry) = &shared.settings.registry else { return };
    while !deliveries.is_empty() {
        let answer = ask(&shared, registry, &model).await;
        deliveries = shared.reader.hand_over(Read { model: model.clone(), deliveries, answer }, since);
        shared.inbox.wake();
    }
}

async fn ask(shared: &Shared, registry: &RegistrySettings, model: &ModelName) -> Result<Answered, Error> {
    let wishes = shared.policy_set().policies.wish_tag(model);
    let found = registry.client.read_model(model, wishes.as_slice()).await?.map(Arc::new);
    let findings = match &found {
        Some(reading) => about_reading(shared, reading).await?,
        None => Arc::default(),
    };
    Ok(Answered { found: Some(found), findings })
}

/// Finds out about the versions that the policy makes something of.
pub(in crate::worker) async fn about_reading(shared: &Shared, reading: &Reading) -> Result<Arc<Findings>, Error> {
    let policies = shared.policy_set();
    let Some(selection) = policies.policies.select(&reading.model) else { return Ok(Arc::default()) };
    let mut state = RegistryState::new(reading.model.clone());
    state.confirm(reading);
    let desired = policy::desired(&state, selection.policy);
    let entry = shared.entry(&desired.key);
    if desired.request.is_none() && is_deployed(&desired, entry.as_ref()) {
        return Ok(Arc::default());
    }
    let wished = desired.request.map(|wish| wish.version);
    let versions = desired.stable.into_iter().chain(desired.second.map(|second| second.version)).chain(wished);
    let arms = versions.map(|version| WantedArm { version, artifact: Artifact::default(), serving: None }).collect();
    let inquiry = Inquiry { model: &reading.model, key: &desired.key, arms, reading: Some(reading) };
    find_out(shared, inquiry).await.map(Arc::new)
}
