//! Leading: the lock of the database, which decides, and the Lease that says so in a cluster, where one is configured.

use crate::store::{Leadership, StoreError};
use crate::sync::{Holding, Lease};

/// Leading, for as long as the value lives and nobody takes it away.
pub(super) struct Leading {
    lock: Leadership,
    lease: Option<Holding>,
}

impl Leading {
    /// Of a service that has no replicas.
    pub(super) fn alone(lock: Leadership) -> Self {
        Self { lock, lease: None }
    }

    /// Of a replica that has the lock: it waits until another one's Lease is over, and has that.
    ///
    /// # Errors
    /// The lock was lost meanwhile.
    pub(super) async fn with(mut lock: Leadership, lease: Option<&Lease>) -> Result<Self, StoreError> {
        let Some(lease) = lease else { return Ok(Self::alone(lock)) };
        tokio::select! {
            lease = lease.take() => Ok(Self { lock, lease: Some(lease) }),
            () = lock.lost() => Err(StoreError::NotLeading),
        }
    }

    /// Waits until another service may lead, and says why.
    pub(super) async fn lost(&mut self) -> &'static str {
        let Self { lock, lease } = self;
        let replaced = async {
            match lease {
                Some(lease) => lease.replaced().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = lock.lost() => "The connection to the database broke that makes this service the only writer",
            () = replaced => "Another replica has taken the Lease of the leader",
        }
    }

    /// Lets the next one lead, which then need not wait.
    pub(super) async fn end(self) {
        let Self { lock, lease } = self;
        // Whoever gets the lock finds the Lease free.
        if let Some(lease) = lease {
            lease.release().await;
        }
        drop(lock);
    }
}
