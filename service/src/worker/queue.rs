//! What waits to be carried out, in memory: a bounded copy of the front of the inbox, and who waits for an outcome.
//!
//! The store is the queue; this only saves reading from it. What does not fit here is read from the store later.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, oneshot};

use super::conclusion::Concluded;
use super::taken_back::TakenBack;
use super::urgent::{put_wanted_back_first, wants_back};
use crate::event::Delivery;
use crate::names::ReleaseKey;

/// The front of the inbox.
#[derive(Debug)]
pub(super) struct Inbox {
    /// The most deliveries kept here.
    queue_max: usize,
    state: Mutex<State>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Delivery>,
    /// The numbers that were not kept here and are to be read from the store; at most as many as the inbox may hold.
    left_out: BTreeSet<i64>,
    /// Of those, what wants a release back or stopped: read first, with all that was asked of the release before. At most as many as are kept here.
    wanted_back: BTreeMap<i64, ReleaseKey>,
    /// The numbers of what somebody gave in again while it waited, wherever that is.
    wanted_now: BTreeSet<i64>,
    waiters: HashMap<i64, oneshot::Sender<Concluded>>,
    taken_back: TakenBack,
    /// The branch is to be looked at.
    pushed: bool,
    /// Something was given in since the writer took from here last.
    has_news: bool,
    /// A hold was set or lifted.
    holds_changed: bool,
    /// Releases whose review is another one than before.
    reviewed: BTreeSet<ReleaseKey>,
    /// Releases of which the cluster shows something else than before.
    seen: BTreeSet<ReleaseKey>,
}

/// What the writer takes at once.
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub(super) deliveries: Vec<Delivery>,
    /// What is put off and to be tried now.
    pub(super) wanted_now: BTreeSet<i64>,
    pub(super) pushed: bool,
    pub(super) holds_changed: bool,
    pub(super) reviewed: BTreeSet<ReleaseKey>,
    pub(super) seen: BTreeSet<ReleaseKey>,
}

impl Inbox {
    /// An empty one that keeps so many deliveries at most.
    pub(super) fn new(queue_max: usize) -> Self {
        Self { queue_max, state: Mutex::default(), wake: Notify::new() }
    }

    /// Adds a delivery that the store has. Its body is dropped: the event says all that is needed.
    pub(super) fn push(&self, mut delivery: Delivery) {
        delivery.body = String::new();
        {
            let mut state = self.state();
            state.has_news = true;
            if state.queue.len() >= self.queue_max || !state.left_out.is_empty() {
                if let Some(key) = wants_back(&delivery).filter(|_| state.wanted_back.len() < self.queue_max) {
                    state.wanted_back.insert(delivery.number, key.clone());
                }
                state.left_out.insert(delivery.number);
            } else {
                state.queue.push_back(delivery);
            }
        }
        self.wake.notify_one();
    }

    /// Puts a delivery before the others.
    pub(super) fn push_front(&self, delivery: Delivery) {
        self.state().queue.push_front(delivery);
        self.wake.notify_one();
    }

    /// Says that somebody gave in again what still waits: where it is put off, it is tried now. It is in its place already, so it is not added to the queue.
    pub(super) fn try_now(&self, number: i64) {
        {
            let mut state = self.state();
            state.has_news = true;
            state.wanted_now.insert(number);
        }
        self.wake.notify_one();
    }

    /// Says that these are to be read from the store.
    pub(super) fn leave_out(&self, numbers: impl IntoIterator<Item = i64>) {
        self.state().left_out.extend(numbers);
        self.wake.notify_one();
    }

    /// Registers somebody who waits for the outcome of a delivery. Before the delivery is pushed.
    pub(super) fn wait_for(&self, number: i64) -> oneshot::Receiver<Concluded> {
        let (sender, receiver) = oneshot::channel();
        self.state().waiters.insert(number, sender);
        receiver
    }

    /// Forgets who waited.
    pub(super) fn stop_waiting(&self, number: i64) {
        self.state().waiters.remove(&number);
    }

    /// Has a delivery not carried out that the store did not keep. Says whether nothing of it was done, nor will be.
    pub(super) fn take_back(&self, number: i64) -> bool {
        let mut state = self.state();
        state.waiters.remove(&number);
        state.queue.retain(|delivery| delivery.number != number);
        state.taken_back.add(number)
    }

    /// Asks or tells what was taken back.
    pub(super) fn taken_back<T>(&self, f: impl FnOnce(&mut TakenBack) -> T) -> T {
        f(&mut self.state().taken_back)
    }

    /// The deliveries whose outcome somebody waits for.
    pub(super) fn waited_for(&self) -> Vec<i64> {
        let mut state = self.state();
        // Whoever hung up waits no more.
        state.waiters.retain(|_, waiter| !waiter.is_closed());
        state.waiters.keys().copied().collect()
    }

    /// Forgets what waits to be carried out; whoever waits for an outcome goes on waiting.
    pub(super) fn clear(&self) {
        let mut state = self.state();
        let waiters = std::mem::take(&mut state.waiters);
        *state = State { waiters, ..State::default() };
    }

    /// Tells whoever waits for it what became of a delivery.
    pub(super) fn answer(&self, number: i64, concluded: Concluded) {
        let mut state = self.state();
        if !concluded.state.is_waiting() {
            state.taken_back.ended(number);
        }
        // Whoever takes it back after this finds what is sent here.
        if let Some(waiter) = state.waiters.remove(&number) {
            // Whoever waited may have gone; the outcome is in the store.
            drop(waiter.send(concluded));
        }
    }

    /// Says that somebody pushed into the repository.
    pub(super) fn note_push(&self) {
        self.state().has_news = true;
        self.look_again();
    }

    /// Says that the branch is to be looked at as before: that came to nothing.
    pub(super) fn look_again(&self) {
        self.state().pushed = true;
        self.wake.notify_one();
    }

    /// Whether something was given in since the writer took from here last.
    pub(super) fn has_news(&self) -> bool {
        self.state().has_news
    }

    /// Says that a hold was set or lifted.
    pub(super) fn note_holds(&self) {
        self.state().holds_changed = true;
        self.wake.notify_one();
    }

    /// Says that something became of a release's review.
    pub(super) fn note_review(&self, key: &ReleaseKey) {
        self.state().reviewed.insert(key.clone());
        self.wake.notify_one();
    }

    /// Says that the cluster shows something else of a release.
    pub(super) fn note_seen(&self, key: &ReleaseKey) {
        self.state().seen.insert(key.clone());
        self.wake.notify_one();
    }

    /// Has the writer look what there is to do.
    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Takes what waits, at most `max` deliveries.
    pub(super) fn take(&self, max: usize) -> Taken {
        let mut state = self.state();
        let count = state.queue.len().min(max);
        if count < state.queue.len() {
            put_wanted_back_first(&mut state.queue);
        }
        state.has_news = false;
        Taken {
            deliveries: state.queue.drain(..count).collect(),
            wanted_now: std::mem::take(&mut state.wanted_now),
            pushed: std::mem::take(&mut state.pushed),
            holds_changed: std::mem::take(&mut state.holds_changed),
            reviewed: std::mem::take(&mut state.reviewed),
            seen: std::mem::take(&mut state.seen),
        }
    }

    /// What wants a release back or stopped and was not kept here, with the first number that was not.
    pub(super) fn take_wanted_back(&self) -> Option<(i64, BTreeMap<i64, ReleaseKey>)> {
        let mut state = self.state();
        let wanted = std::mem::take(&mut state.wanted_back);
        let first = state.left_out.first().copied().filter(|_| !wanted.is_empty())?;
        Some((first, wanted))
    }

    /// Says that these are still to be read from the store before the rest.
    pub(super) fn leave_out_wanted_back(&self, wanted: BTreeMap<i64, ReleaseKey>) {
        self.state().wanted_back.extend(wanted);
        self.wake.notify_one();
    }

    /// Puts what was read of those, and of what was asked of their releases before, in front of the queue, as far as it was left out.
    pub(super) fn bring_forward(&self, deliveries: Vec<Delivery>) {
        let mut state = self.state();
        for mut delivery in deliveries.into_iter().rev() {
            if state.left_out.remove(&delivery.number) {
                delivery.body = String::new();
                state.queue.push_front(delivery);
            }
        }
    }

    /// How many deliveries are kept here at most.
    pub(super) fn queue_max(&self) -> usize {
        self.queue_max
    }

    /// Which numbers are to be read from the store now, in order: some, once the queue is empty.
    pub(super) fn take_left_out(&self) -> Vec<i64> {
        let mut state = self.state();
        if !state.queue.is_empty() {
            return Vec::new();
        }
        let numbers: Vec<i64> = state.left_out.iter().take(self.queue_max).copied().collect();
        for number in &numbers {
            state.left_out.remove(number);
        }
        numbers
    }

    /// Puts what was read from the store before everything else.
    pub(super) fn refill(&self, deliveries: Vec<Delivery>) {
        let mut state = self.state();
        for mut delivery in deliveries.into_iter().rev() {
            delivery.body = String::new();
            state.queue.push_front(delivery);
        }
    }

    /// Waits until something was added. May wake without need.
    pub(super) async fn changed(&self) {
        self.wake.notified().await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
