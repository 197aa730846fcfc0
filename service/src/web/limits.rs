//! Bounds on how often and how much somebody may ask.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;

use super::error::Problem;

/// Failed sign-ins that one address may have answered in a minute: a script with a wrong token is told so; a flood is cut short.
pub(crate) const FAILED_SIGN_INS_PER_MINUTE: u32 = 120;

/// Visits to the doctor that one address may make in a minute: a person who tries, not a program that searches.
pub(crate) const DOCTOR_VISITS_PER_MINUTE: u32 = 30;

/// The longest header section in bytes: names, values and separators.
pub(crate) const HEADER_BYTES_MAX: usize = 16 * 1024;

/// The most addresses counted at once; with more, all others share one count until the minute is over.
const ADDRESSES_MAX: usize = 1024;

const WINDOW_SECONDS: i64 = 60;

/// Counts per address and minute.
#[derive(Debug)]
pub(crate) struct RateLimit {
    per_minute: u32,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    minute: i64,
    by_address: HashMap<IpAddr, u32>,
    others: u32,
}

impl RateLimit {
    /// A limit of so many a minute and address.
    pub(crate) fn per_minute(per_minute: u32) -> Self {
        Self { per_minute, counts: Mutex::default() }
    }

    /// Counts one more. Says how long to wait where that is one too many.
    pub(crate) fn count(&self, address: IpAddr, now: Timestamp) -> Result<(), u64> {
        let minute = now.as_second().div_euclid(WINDOW_SECONDS);
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.minute != minute {
            *counts = Counts { minute, ..Counts::default() };
        }
        let is_known = counts.by_address.contains_key(&address) || counts.by_address.len() < ADDRESSES_MAX;
        let counts = &mut *counts;
        let count = if is_known { counts.by_address.entry(address).or_default() } else { &mut counts.others };
        *count = count.saturating_add(1);
        let left = WINDOW_SECONDS - now.as_second().rem_euclid(WINDOW_SECONDS);
        if *count <= self.per_minute { Ok(()) } else { Err(u64::try_from(left).unwrap_or(1)) }
    }
}

/// Event streams that one token may have open: every page and watcher of one person, or of a team that shares a token.
pub(crate) const STREAMS_PER_TOKEN_MAX: usize = 64;

/// Event streams at once: a quarter of the connections, so that deliveries and health always find one.
pub(crate) const STREAMS_MAX: usize = 256;

/// How long to wait before another stream is tried; one ends when its reader goes.
const STREAM_RETRY_SECONDS: u64 = 30;

/// The event streams that are open, by token.
#[derive(Debug, Clone, Default)]
pub(crate) struct Streams(Arc<Mutex<HashMap<String, usize>>>);

/// A place among the open streams; free again when it is dropped.
#[derive(Debug)]
pub(crate) struct StreamPlace {
    streams: Streams,
    token_id: String,
}

impl Streams {
    /// Takes a place for one more stream of a token.
    pub(crate) fn take(&self, token_id: &str) -> Result<StreamPlace, Problem> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if open.get(token_id).is_some_and(|count| *count >= STREAMS_PER_TOKEN_MAX) {
            let detail = format!("the token has {STREAMS_PER_TOKEN_MAX} event streams open, the most of one token");
            return Err(Problem::too_many(detail, STREAM_RETRY_SECONDS).cure("end a stream, or use another token"));
        }
        if open.values().sum::<usize>() >= STREAMS_MAX {
            let detail = format!("{STREAMS_MAX} event streams are open, the most at once");
            return Err(Problem::unavailable(detail, STREAM_RETRY_SECONDS));
        }
        *open.entry(token_id.to_owned()).or_default() += 1;
        Ok(StreamPlace { streams: self.clone(), token_id: token_id.to_owned() })
    }
}

impl Drop for StreamPlace {
    fn drop(&mut self) {
        let mut open = self.streams.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.token_id) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.token_id);
            }
        }
    }
}

/// Refuses a header section that is too long.
pub(crate) async fn headers(request: Request, next: Next) -> Response {
    let size: usize = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    let line = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    if size + line > HEADER_BYTES_MAX {
        let detail = "the request line and headers are longer than 16 KiB";
        let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        return Problem::new(status, "headers-too-large", detail).into_response();
    }
    next.run(request).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_too_many_in_a_minute_waits_for_the_next_minute() {
        let limit = RateLimit::per_minute(2);
        let address: IpAddr = "192.0.2.1".parse().unwrap();
        let at = |second| Timestamp::from_second(second).unwrap();
        assert_eq!([0, 1, 2, 60].map(|second| limit.count(address, at(second))), [Ok(()), Ok(()), Err(58), Ok(())]);
        assert_eq!(limit.count("192.0.2.2".parse().unwrap(), at(60)), Ok(()));
    }

    #[test]
    fn streams_are_bounded_for_a_token_and_in_all_and_a_place_comes_back() {
        let streams = Streams::default();
        let mut places: Vec<StreamPlace> =
            (0..STREAMS_PER_TOKEN_MAX).map(|_| streams.take("greedy").unwrap()).collect();
        assert_eq!(streams.take("greedy").unwrap_err().status(), StatusCode::TOO_MANY_REQUESTS);
        places.extend((STREAMS_PER_TOKEN_MAX..STREAMS_MAX).map(|n| streams.take(&n.to_string()).unwrap()));
        assert_eq!(streams.take("modest").unwrap_err().status(), StatusCode::SERVICE_UNAVAILABLE);
        drop(places.remove(0));
        assert!(streams.take("greedy").is_ok());
        drop(places);
        assert!(streams.0.lock().unwrap().is_empty());
    }

    #[test]
    fn ever_new_addresses_fill_no_memory() {
        let limit = RateLimit::per_minute(1);
        let now = Timestamp::UNIX_EPOCH;
        for n in 0..2 * ADDRESSES_MAX {
            let _answer = limit.count(IpAddr::from(u128::try_from(n).unwrap().to_be_bytes()), now);
        }
        assert_eq!(limit.counts.lock().unwrap().by_address.len(), ADDRESSES_MAX);
    }
}
