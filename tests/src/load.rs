//! A steady load through the bed's gateway, as callers of a release make it: every answer counts, and who gave it.
//!
//! Requests leave at fixed moments, whatever became of those before, as far as a connection can: one that waits for an answer sends late. Some
//! connections are kept, others are new for each request.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::http::{Connection, Request, Response};

/// Connections that are kept, and those that are made anew for each request.
const KEPT: u32 = 3;
const NEW: u32 = 1;

/// No answer within this time is a failure: what answers here does so in a millisecond.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// It ends by itself after this, whatever becomes of the test.
const ENDS_AFTER: Duration = Duration::from_secs(3_600);

/// So many failures are told with their particulars; the others are counted.
const TOLD_MAX: usize = 50;

/// The newest answers whose predictors are remembered.
const NEWEST_MAX: usize = 256;

/// What was answered in some time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answers {
    /// Answers with a status of success, by the predictor that gave them.
    pub by: BTreeMap<String, u64>,
    /// How many requests failed.
    pub failed: u64,
    /// The first of those that failed.
    pub failures: Vec<Failure>,
}

/// A request that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Since the load began.
    pub after: Duration,
    /// The status, where there was an answer.
    pub status: Option<u16>,
    /// What was answered, or why nothing was.
    pub words: String,
}

impl Answers {
    /// All requests.
    pub fn requests(&self) -> u64 {
        self.by.values().sum::<u64>() + self.failed
    }

    /// Adds what was answered in another time.
    pub fn add(&mut self, other: Self) {
        for (predictor, count) in other.by {
            *self.by.entry(predictor).or_default() += count;
        }
        self.failed += other.failed;
        let room = TOLD_MAX.saturating_sub(self.failures.len());
        self.failures.extend(other.failures.into_iter().take(room));
    }
}

impl fmt::Display for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by: Vec<String> = self.by.iter().map(|(predictor, count)| format!("{predictor} {count}")).collect();
        write!(f, "{} requests, {} failed ({})", self.requests(), self.failed, by.join(", "))?;
        for Failure { after, status, words } in &self.failures {
            let status = status.map_or_else(|| "no answer".to_owned(), |status| status.to_string());
            write!(f, "\n  after {:.3} s: {status}: {words}", after.as_secs_f64())?;
        }
        Ok(())
    }
}

#[derive(Default)]
struct Seen {
    answers: Answers,
    /// The predictors of the newest answers, the newest last.
    newest: VecDeque<String>,
}

struct Shared {
    host: String,
    address: SocketAddr,
    began: Instant,
    is_over: AtomicBool,
    seen: Mutex<Seen>,
    answered: Condvar,
}

/// A load on one host, until it is dropped.
pub struct Load {
    shared: Arc<Shared>,
    callers: Vec<JoinHandle<()>>,
}

impl Load {
    /// Begins to send so many requests a second to a host that is found at this address.
    pub fn begin(host: &str, address: SocketAddr, per_second: u32) -> Self {
        let shared = Arc::new(Shared {
            host: host.to_owned(),
            address,
            began: Instant::now(),
            is_over: AtomicBool::new(false),
            seen: Mutex::default(),
            answered: Condvar::new(),
        });
        let pause = Duration::from_secs(1) * (KEPT + NEW) / per_second;
        let callers = (0..KEPT + NEW).map(|number| {
            let shared = Arc::clone(&shared);
            // One after the other, not all at once.
            let first = shared.began + pause * number / (KEPT + NEW);
            std::thread::spawn(move || call(&shared, first, pause, number < KEPT))
        });
        let callers = callers.collect();
        Self { shared, callers }
    }

    /// What was answered since this was asked last.
    pub fn take(&self) -> Answers {
        std::mem::take(&mut self.shared.seen().answers)
    }

    /// Waits until the newest answers are so many of this kind, one after the other.
    ///
    /// # Errors
    /// The newest answers, where that does not come about in time.
    pub fn until_newest(&self, count: usize, within: Duration, kind: impl Fn(&str) -> bool) -> Result<(), Vec<String>> {
        let deadline = Instant::now() + within;
        let mut seen = self.shared.seen();
        loop {
            if seen.newest.iter().rev().take_while(|predictor| kind(predictor)).count() >= count {
                return Ok(());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(seen.newest.iter().rev().take(count).cloned().collect());
            }
            seen = self.shared.answered.wait_timeout(seen, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Ends it, and says what was answered since `take`.
    pub fn end(mut self) -> Answers {
        self.stop();
        self.take()
    }

    fn stop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        for caller in self.callers.drain(..) {
            let ended = caller.join();
            assert!(ended.is_ok() || std::thread::panicking(), "a caller panicked");
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, answer: std::io::Result<Response>) {
        let mut seen = self.seen();
        let predictor = match &answer {
            Ok(answer) if answer.status == 200 => answer.header("x-predictor").unwrap_or("nobody").to_owned(),
            _ => String::new(),
        };
        if predictor.is_empty() {
            seen.answers.failed += 1;
            let (status, words) = match answer {
                Ok(answer) => (Some(answer.status), answer.text()),
                Err(error) => (None, error.to_string()),
            };
            if seen.answers.failures.len() < TOLD_MAX {
                seen.answers.failures.push(Failure { after: self.began.elapsed(), status, words });
            }
        } else {
            *seen.answers.by.entry(predictor.clone()).or_default() += 1;
        }
        seen.newest.push_back(predictor);
        if seen.newest.len() > NEWEST_MAX {
            seen.newest.pop_front();
        }
        drop(seen);
        self.answered.notify_all();
    }

    fn connect(&self) -> std::io::Result<Connection> {
        Connection::to(&self.host, self.address, ANSWER_WITHIN)
    }
}

/// One caller: sends at its moments until the load is over.
fn call(shared: &Shared, first: Instant, pause: Duration, keeps: bool) {
    let request = Request::new("POST", "/v2/models/model/infer").json(&json!({"inputs": []}));
    let mut connection = None;
    let mut next = first;
    while !shared.is_over.load(Ordering::Relaxed) && shared.began.elapsed() < ENDS_AFTER {
        let now = Instant::now();
        if next > now {
            std::thread::park_timeout(next - now);
            continue;
        }
        // What could not be sent in time is not sent later in a burst.
        next = (next + pause).max(now);
        let answer = ask(shared, &request, &mut connection);
        let is_to_close = answer
            .as_ref()
            .is_ok_and(|answer| answer.header("Connection").is_some_and(|value| value.eq_ignore_ascii_case("close")));
        if answer.is_err() || is_to_close || !keeps {
            connection = None;
        }
        shared.note(answer);
    }
}

fn ask(shared: &Shared, request: &Request, connection: &mut Option<Connection>) -> std::io::Result<Response> {
    if connection.is_none() {
        *connection = Some(shared.connect()?);
    }
    match connection {
        Some(connection) => connection.try_send(request),
        None => Err(ErrorKind::NotConnected.into()),
    }
}
