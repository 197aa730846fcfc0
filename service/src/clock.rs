//! The present moment, as something that is handed in: tests turn it by hand, so that none of them sleeps.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

/// How often the machine's clock is looked at while it is waited for: it may be set forward meanwhile.
const LOOKED_AT_EVERY: Duration = Duration::from_secs(60);

/// Where the present moment comes from.
#[derive(Debug, Clone)]
pub struct Clock(Kind);

#[derive(Debug, Clone)]
enum Kind {
    System,
    Manual(Arc<watch::Sender<Timestamp>>),
}

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self(Kind::System)
    }

    /// A clock that stands still until it is turned.
    pub fn manual(start: Timestamp) -> Self {
        Self(Kind::Manual(Arc::new(watch::Sender::new(start))))
    }

    /// The present moment, in whole seconds, as it is written into documents.
    pub fn now(&self) -> Timestamp {
        let now = self.now_exact();
        Timestamp::from_second(now.as_second()).unwrap_or(now)
    }

    /// The present moment as exactly as the clock has it.
    pub fn now_exact(&self) -> Timestamp {
        match &self.0 {
            Kind::System => Timestamp::now(),
            Kind::Manual(sender) => *sender.borrow(),
        }
    }

    /// Turns a manual clock on; the machine's clock cannot be turned and stays as it is.
    pub fn advance(&self, by: Duration) {
        if let Kind::Manual(sender) = &self.0 {
            let by = SignedDuration::try_from(by).unwrap_or(SignedDuration::MAX);
            sender.send_modify(|now| *now = now.saturating_add(by).unwrap_or(Timestamp::MAX));
        }
    }

    /// Sets a manual clock, also back, as people and time servers do with a machine's.
    pub fn set(&self, moment: Timestamp) {
        if let Kind::Manual(sender) = &self.0 {
            sender.send_replace(moment);
        }
    }

    /// Waits until a moment has come. Does not return before it, by this clock.
    pub async fn sleep_until(&self, moment: Timestamp) {
        match &self.0 {
            Kind::System => {
                while let Ok(left) = Duration::try_from(moment.duration_since(Timestamp::now())) {
                    if left.is_zero() {
                        return;
                    }
                    tokio::time::sleep(left.min(LOOKED_AT_EVERY)).await;
                }
            }
            Kind::Manual(sender) => {
                let mut receiver = sender.subscribe();
                // An error means that the clock is gone: then nobody waits for it either.
                if receiver.wait_for(|now| *now >= moment).await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        }
    }
}
