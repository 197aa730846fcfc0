//! What happened lately, for server-sent events: a ring that a reader can take up where it left.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use tokio::sync::watch;

use super::Notice;

/// How many notices are kept for a reader that comes back: hours of a busy service, in a few megabytes.
const NOTICES_MAX: usize = 10_000;

/// The last notices.
#[derive(Debug)]
pub(super) struct Ring {
    state: Arc<Mutex<State>>,
    newest: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    notices: VecDeque<Arc<Notice>>,
    newest: u64,
}

impl Ring {
    /// An empty ring. Ids begin at the present time in microseconds, so that they rise over a restart too.
    pub(super) fn new(now: jiff::Timestamp) -> Self {
        let newest = u64::try_from(now.as_microsecond()).unwrap_or(0);
        Self {
            state: Arc::new(Mutex::new(State { notices: VecDeque::new(), newest })),
            newest: watch::Sender::new(newest),
        }
    }

    /// Adds a notice and wakes the readers.
    pub(super) fn push(&self, kind: &'static str, data: &Value) {
        let data = data.to_string().into_boxed_str();
        let newest = {
            let mut state = lock(&self.state);
            state.newest += 1;
            let id = state.newest;
            if state.notices.len() == NOTICES_MAX {
                state.notices.pop_front();
            }
            state.notices.push_back(Arc::new(Notice { id, kind, data }));
            id
        };
        self.newest.send_replace(newest);
    }

    /// A reader from now on, or from after the notice with this id.
    pub(super) fn subscribe(&self, after: Option<u64>) -> Subscription {
        let newest = lock(&self.state).newest;
        Subscription { state: Arc::clone(&self.state), newest: self.newest.subscribe(), after: after.unwrap_or(newest) }
    }
}

/// A reader of the ring.
#[derive(Debug)]
pub struct Subscription {
    state: Arc<Mutex<State>>,
    newest: watch::Receiver<u64>,
    after: u64,
}

impl Subscription {
    /// The next notice; waits for it. `None`: the service stops. A reader that fell behind gets one `reset`.
    pub async fn next(&mut self) -> Option<Notice> {
        loop {
            self.newest.borrow_and_update();
            if let Some(notice) = self.take() {
                self.after = notice.id;
                return Some(notice);
            }
            self.newest.changed().await.ok()?;
        }
    }

    fn take(&self) -> Option<Notice> {
        let state = lock(&self.state);
        let oldest = state.newest + 1 - state.notices.len() as u64;
        // What a reader has not seen and the ring no longer has, or an id that this service never gave.
        if self.after > state.newest || self.after + 1 < oldest {
            return Some(Notice { id: state.newest, kind: "reset", data: "{}".into() });
        }
        let position = usize::try_from(self.after + 1 - oldest).ok()?;
        state.notices.get(position).map(|notice| Notice::clone(notice))
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn ring() -> Ring {
        Ring::new(jiff::Timestamp::UNIX_EPOCH)
    }

    #[tokio::test]
    async fn a_reader_takes_up_where_it_left() {
        let ring = ring();
        for number in 1..=5 {
            ring.push("release", &json!(number));
        }
        let mut reader = ring.subscribe(Some(3));
        assert_eq!(reader.next().await.unwrap().data, json!(4).to_string().into());
        assert_eq!(reader.next().await.unwrap().data, json!(5).to_string().into());
    }

    #[tokio::test]
    async fn a_reader_that_fell_behind_gets_one_reset_and_goes_on() {
        let ring = ring();
        for number in 0..NOTICES_MAX + 10 {
            ring.push("release", &json!(number));
        }
        let mut reader = ring.subscribe(Some(3));
        assert_eq!(reader.next().await.unwrap().kind, "reset");
        ring.push("delivery", &json!("new"));
        assert_eq!(reader.next().await.unwrap().data, json!("new").to_string().into());
    }

    #[tokio::test]
    async fn a_new_reader_sees_only_what_comes() {
        let ring = ring();
        ring.push("release", &json!("old"));
        let mut reader = ring.subscribe(None);
        ring.push("release", &json!("new"));
        assert_eq!(reader.next().await.unwrap().data, json!("new").to_string().into());
    }
}
