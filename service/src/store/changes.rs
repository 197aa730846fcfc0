//! Word of what other replicas have written: at once where the server tells, and by itself every second, because its word may be lost.

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::PgListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::StoreError;
use super::db::{Readers, postgres_listener};

/// The channel that every committed transaction is told on (see `db::Connection::commit`). It is the database's own.
pub(super) const CHANNEL: &str = "kmlflow";

/// How often everything is looked at, whatever is heard: what a broken connection or a restart of the server swallows is found by then.
const LOOKED_AT_EVERY: Duration = Duration::from_secs(1);

/// Hears of changes until it is dropped.
#[derive(Debug)]
pub struct Changes {
    told: Arc<Notify>,
    listening: JoinHandle<()>,
    due: Interval,
}

/// Why somebody was woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Somebody wrote something.
    Told,
    /// It is time to look at everything, also at what nobody tells of.
    Due,
}

impl Changes {
    pub(super) fn of(readers: &Readers) -> Self {
        let told = Arc::new(Notify::new());
        Self::with(tokio::spawn(listen(readers.clone(), Arc::clone(&told))), told, LOOKED_AT_EVERY)
    }

    fn with(listening: JoinHandle<()>, told: Arc<Notify>, every: Duration) -> Self {
        let mut due = interval(every);
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { told, listening, due }
    }

    /// Waits for the next change, or until it is time; however much is told, the time comes.
    pub async fn next(&mut self) -> Change {
        tokio::select! {
            biased;
            _ = self.due.tick() => Change::Due,
            () = self.told.notified() => Change::Told,
        }
    }

    /// What wakes it from here: what this replica has written itself need not be heard of over the server.
    pub fn waker(&self) -> Arc<Notify> {
        Arc::clone(&self.told)
    }
}

impl Drop for Changes {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

/// Listens, on a connection of its own, and again whenever that broke.
async fn listen(readers: Readers, told: Arc<Notify>) {
    loop {
        if let Err(error) = hear(&readers, &told).await {
            tracing::debug!(error = %error, "The database server does not tell of changes: {error}");
        }
        tokio::time::sleep(LOOKED_AT_EVERY).await;
    }
}

async fn hear(readers: &Readers, told: &Notify) -> Result<(), StoreError> {
    let Some(mut listener): Option<PgListener> = postgres_listener(readers, CHANNEL).await? else {
        // Nobody else writes into a file.
        return std::future::pending().await;
    };
    loop {
        // What came while nobody listened is unknown, which is a change as well.
        told.notify_one();
        match listener.try_recv().await {
            Ok(_) => {}
            Err(error) => return Err(super::db::postgres_failed(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[tokio::test]
    async fn however_much_is_told_everything_is_looked_at_again_and_again() {
        let (told, every) = (Arc::new(Notify::new()), Duration::from_millis(20));
        let mut changes = Changes::with(tokio::spawn(std::future::pending()), Arc::clone(&told), every);
        let (begun, mut due) = (Instant::now(), 0);
        while begun.elapsed() < every * 20 {
            told.notify_one();
            due += usize::from(changes.next().await == Change::Due);
            // The clock of the runtime goes on.
            tokio::task::yield_now().await;
        }
        assert!((3..=21).contains(&due), "{due} times in twenty");
    }
}
