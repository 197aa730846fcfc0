//! Where the next delivery gets its number.
//!
//! Whoever is the only writer counts. Replicas ask the server, so that no number is given twice and numbers follow the order of arrival; those
//! who ask at the same moment share one round trip.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use super::super::StoreError;
use super::super::columns::get;
use super::{Connection, Readers, Statement};

/// Numbers of one question; who comes later asks again. As many as the writer's queue takes.
const ASKED_MAX: usize = 256;

/// How long a number may lie about before it is thrown away: one that is much older than its delivery would break the order.
const FRESH_MAX: Duration = Duration::from_secs(1);

/// Gives numbers.
#[derive(Debug)]
pub(in super::super) enum Numbers {
    /// The last number that was given.
    Counted(AtomicI64),
    Asked(Asked),
}

impl Numbers {
    /// Goes on where the store's deliveries end.
    pub(in super::super) async fn of(db: &mut Connection, readers: &Readers) -> Result<Self, sqlx::Error> {
        if db.is_shared() {
            return Ok(Self::Asked(Asked {
                readers: readers.clone(),
                waiting: AtomicUsize::new(0),
                left: Mutex::default(),
            }));
        }
        let last = Statement::new("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'deliveries'");
        Ok(Self::Counted(AtomicI64::new(db.number(last).await?)))
    }

    /// The next number.
    pub(in super::super) async fn next(&self) -> Result<i64, StoreError> {
        match self {
            Self::Counted(last) => Ok(last.fetch_add(1, Ordering::Relaxed) + 1),
            Self::Asked(asked) => asked.next().await,
        }
    }
}

/// Gives the numbers of a server's sequence.
#[derive(Debug)]
pub(in super::super) struct Asked {
    readers: Readers,
    /// How many wait for a number.
    waiting: AtomicUsize,
    left: Mutex<Left>,
}

/// Numbers that were asked for together and that nobody has yet.
#[derive(Debug, Default)]
struct Left {
    numbers: VecDeque<i64>,
    asked_at: Option<Instant>,
}

impl Asked {
    async fn next(&self) -> Result<i64, StoreError> {
        let _waits = Waits::new(&self.waiting);
        let mut left = self.left.lock().await;
        if left.asked_at.is_some_and(|asked_at| asked_at.elapsed() > FRESH_MAX) {
            *left = Left::default();
        }
        if let Some(number) = left.numbers.pop_front() {
            return Ok(number);
        }
        // Who was answered a moment ago gets to ask too, so that it is one question.
        tokio::task::yield_now().await;
        let wanted = self.waiting.load(Ordering::Relaxed).clamp(1, ASKED_MAX);
        let ask = Statement::new("SELECT nextval('deliveries_number_seq') AS number FROM generate_series(1, $1)");
        let rows = self.readers.rows(ask.bind(i64::try_from(wanted).unwrap_or(1))).await?;
        let numbers: Result<VecDeque<i64>, StoreError> = rows.iter().map(|row| get(row, "number")).collect();
        *left = Left { numbers: numbers?, asked_at: Some(Instant::now()) };
        left.numbers.pop_front().ok_or(StoreError::Unreadable { what: "number" })
    }
}

/// Counts somebody who waits for as long as they do, also when they give up.
struct Waits<'w>(&'w AtomicUsize);

impl<'w> Waits<'w> {
    fn new(waiting: &'w AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(waiting)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
