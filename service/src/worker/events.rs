//! What happened lately, for server-sent events: a ring that a reader can take up where it left.

use super::Notice;

/// A reader of the ring.
#[derive(Debug)]
pub struct Subscription(());

impl Subscription {
    /// The next notice; waits for it. `None`: the service stops. A reader that fell behind gets one `reset`.
    pub async fn next(&mut self) -> Option<Notice> {
        todo!()
    }
}
