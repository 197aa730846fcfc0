//! Sessions of the page: in memory, so a restart ends them all.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use axum::http::{HeaderMap, header};
use jiff::{SignedDuration, Timestamp};

use crate::access::{ClearToken, TokenHash};

/// How long a session lasts: a working day.
pub(crate) const SESSION_HOURS: i64 = 12;

/// The most sessions at once; with one more, the one that ends first is ended. Far more people than look at one service.
const SESSIONS_MAX: usize = 1000;

/// The name of the cookie.
pub const COOKIE: &str = "kmlflow_session";

/// How somebody signed in.
#[derive(Debug, Clone)]
pub(crate) enum SignedIn {
    /// By the code that the start printed: as the administrator.
    ByCode,
    /// By a token, which may be revoked meanwhile.
    ByToken(ClearToken),
}

/// The sessions, by the hash of the cookie's value.
#[derive(Debug, Default)]
pub(crate) struct Sessions(Mutex<HashMap<String, (SignedIn, Timestamp)>>);

impl Sessions {
    /// Begins a session and gives the cookie that carries it; none where the machine has no randomness.
    pub(crate) fn begin(&self, signed_in: SignedIn, now: Timestamp, is_https: bool) -> Option<String> {
        let value = ClearToken::generate().ok()?;
        let ends = now.saturating_add(SignedDuration::from_hours(SESSION_HOURS)).ok()?;
        let mut sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.retain(|_, (_, ends)| *ends > now);
        if sessions.len() >= SESSIONS_MAX
            && let Some(first) = sessions.iter().min_by_key(|(_, (_, ends))| *ends).map(|(hash, _)| hash.clone())
        {
            sessions.remove(&first);
        }
        sessions.insert(value.hash().as_str().to_owned(), (signed_in, ends));
        let secure = if is_https { "; Secure" } else { "" };
        let seconds = SESSION_HOURS * 3600;
        Some(format!("{COOKIE}={}; Path=/; HttpOnly; SameSite=Strict; Max-Age={seconds}{secure}", value.reveal()))
    }

    /// The session that a request carries.
    pub(crate) fn of(&self, headers: &HeaderMap, now: Timestamp) -> Option<SignedIn> {
        let hash = TokenHash::of(cookie(headers)?);
        let sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.get(hash.as_str()).filter(|(_, ends)| *ends > now).map(|(signed_in, _)| signed_in.clone())
    }

    /// Ends the session that a request carries, and gives the cookie that removes the cookie.
    pub(crate) fn end(&self, headers: &HeaderMap) -> String {
        if let Some(value) = cookie(headers) {
            let mut sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            sessions.remove(TokenHash::of(value).as_str());
        }
        format!("{COOKIE}=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0")
    }
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == COOKIE).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_cookie(cookie: &str) -> HeaderMap {
        let pair = cookie.split(';').next().unwrap();
        HeaderMap::from_iter([(header::COOKIE, format!("theme=dark; {pair}").parse().unwrap())])
    }

    #[test]
    fn a_session_ends_after_its_hours_or_when_it_is_ended() {
        let sessions = Sessions::default();
        let start = Timestamp::UNIX_EPOCH;
        let headers = with_cookie(&sessions.begin(SignedIn::ByCode, start, false).unwrap());
        let later = start + SignedDuration::from_hours(SESSION_HOURS);
        assert!(sessions.of(&headers, start).is_some() && sessions.of(&headers, later).is_none());
        sessions.end(&headers);
        assert!(sessions.of(&headers, start).is_none());
    }

    #[test]
    fn the_oldest_session_makes_room_for_a_new_one() {
        let sessions = Sessions::default();
        let at = |second| Timestamp::from_second(second).unwrap();
        let first = with_cookie(&sessions.begin(SignedIn::ByCode, at(0), false).unwrap());
        for _ in 0..SESSIONS_MAX {
            sessions.begin(SignedIn::ByCode, at(1), false).unwrap();
        }
        assert!(sessions.of(&first, at(1)).is_none());
        assert_eq!(sessions.0.lock().unwrap().len(), SESSIONS_MAX);
    }
}
