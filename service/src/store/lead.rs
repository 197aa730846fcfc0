//! Which replica writes to a branch of a remote: one at a time, the next one as soon as the first is gone.
//!
//! On a server that is an advisory lock, held by a connection of its own: it ends with the connection, so nobody has to judge whether another
//! replica is dead. A file has one process anyway (its data directory is locked), and one leader in that.
//!
//! Ends at "one at a time" in the server's eyes: who loses its connection hears of it a moment later. So whoever leads pushes with a
//! compare-and-swap all the same.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use sqlx::{Connection as _, PgConnection};
use tokio::sync::watch;
use tokio::time::timeout;

use super::StoreError;
use super::db::{Connection, Place, Statement};
use super::{Limits, db};

/// How often a leader tries its connection: a loss is noticed within this and [`ANSWER_MAX`].
const TRIED_EVERY: Duration = Duration::from_secs(1);

/// How long the server may take to answer a leader before it counts as gone.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// How often whoever does not lead tries to: the service does nothing but accept for about so long when a leader has died.
const TRIED_AGAIN: Duration = Duration::from_millis(300);

/// The way to lead.
#[derive(Debug, Clone)]
pub(super) struct Leaders(Kind);

#[derive(Clone)]
enum Kind {
    /// What is led in this process.
    File(Led),
    Server(Place),
}

type Led = Arc<Mutex<HashSet<String>>>;

impl std::fmt::Debug for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::File(_) => "File",
            Self::Server(_) => "Server",
        })
    }
}

impl Leaders {
    pub(super) fn of(place: &Place) -> Self {
        Self(if place.is_shared() { Kind::Server(place.clone()) } else { Kind::File(Led::default()) })
    }

    /// Waits until this replica leads, on one connection.
    pub(super) async fn lead(&self, what: &str) -> Result<Leadership, StoreError> {
        let mut candidate = match &self.0 {
            Kind::File(_) => None,
            Kind::Server(place) => Some(place.connect(Limits::default()).await?),
        };
        loop {
            if let Some(db) = candidate {
                match try_on(db, what).await? {
                    Tried::Leads(leadership) => return Ok(leadership),
                    Tried::Another(db) => candidate = Some(db),
                }
            } else if let Some(leadership) = self.try_lead(what).await? {
                return Ok(leadership);
            }
            tokio::time::sleep(TRIED_AGAIN).await;
        }
    }

    pub(super) async fn try_lead(&self, what: &str) -> Result<Option<Leadership>, StoreError> {
        match &self.0 {
            Kind::File(led) => {
                let is_first = led.lock().unwrap_or_else(PoisonError::into_inner).insert(what.to_owned());
                let held = || Held { led: Arc::clone(led), what: what.to_owned() };
                Ok(is_first.then(|| Leadership { lost: None, _held: Some(held()) }))
            }
            Kind::Server(place) => lead_on_server(place, what).await,
        }
    }
}

/// Leading, for as long as the value lives and the connection behind it.
#[derive(Debug)]
#[must_use = "whoever drops it leads no more"]
pub struct Leadership {
    /// Becomes true, or closes, when the lock is lost. Dropping it ends the task that has the connection.
    lost: Option<watch::Receiver<bool>>,
    _held: Option<Held>,
}

impl Leadership {
    /// Whether this replica leads, as far as it knows.
    pub fn leads(&self) -> bool {
        self.lost.as_ref().is_none_or(|lost| !*lost.borrow() && lost.has_changed().is_ok())
    }

    /// Waits until this replica leads no more.
    pub async fn lost(&mut self) {
        match &mut self.lost {
            // A task that ended leads no more either.
            Some(lost) => drop(lost.wait_for(|lost| *lost).await),
            None => std::future::pending().await,
        }
    }
}

/// A name in the list of what is led, until it is dropped.
#[derive(Debug)]
struct Held {
    led: Led,
    what: String,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.led.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.what);
    }
}

async fn lead_on_server(place: &Place, what: &str) -> Result<Option<Leadership>, StoreError> {
    match try_on(place.connect(Limits::default()).await?, what).await? {
        Tried::Leads(leadership) => Ok(Some(leadership)),
        Tried::Another(_) => Ok(None),
    }
}

/// What a try to lead came to.
enum Tried {
    Leads(Leadership),
    /// Another one leads; the connection is as good as before.
    Another(Connection),
}

async fn try_on(mut db: Connection, what: &str) -> Result<Tried, StoreError> {
    let lock = Statement::new("SELECT pg_try_advisory_lock($1) AS leads").bind(key(what));
    let row = db::within(true, db.row(lock)).await?.map_err(|error| db.failed(error))?;
    let leads = row.is_some_and(|row| row.get("leads").unwrap_or(false));
    match db {
        Connection::Postgres(db) if leads => {
            let (tell, lost) = watch::channel(false);
            tokio::spawn(hold(db, tell));
            Ok(Tried::Leads(Leadership { lost: Some(lost), _held: None }))
        }
        db => Ok(Tried::Another(db)),
    }
}

/// Holds the connection until it breaks or nobody wants it any more.
async fn hold(mut db: PgConnection, tell: watch::Sender<bool>) {
    loop {
        tokio::select! {
            () = tell.closed() => break,
            () = tokio::time::sleep(TRIED_EVERY) => {}
        }
        if !timeout(ANSWER_MAX, db.ping()).await.is_ok_and(|pong| pong.is_ok()) {
            break;
        }
    }
    tell.send_replace(true);
    // The lock ends with the connection, whether the server hears a goodbye or not.
    drop(timeout(ANSWER_MAX, db.close()).await);
}

/// The number that a name is locked by: two names share one once in 2^64.
fn key(what: &str) -> i64 {
    let digest = Sha256::digest(what.as_bytes());
    digest.iter().take(8).fold(0_i64, |key, byte| (key << 8) | i64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_replica_locks_a_name_by_the_same_number() {
        assert_eq!(key("https://git.example/gitops.git main"), key("https://git.example/gitops.git main"));
        assert_ne!(key("main"), key("other"));
        assert_eq!(key(""), i64::from_be_bytes([0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14]));
    }
}
