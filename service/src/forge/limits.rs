//! How long a forge wants to be left alone, from its answer.
//!
//! By <https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api#exceeding-the-rate-limit>; Gitea answers 429 with
//! `Retry-After` where a proxy before it limits.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::StatusCode;
use reqwest::header::{DATE, HeaderMap};

use crate::retry_after::retry_after;

/// What is waited for where a forge says that it was asked too much and not for how long: what GitHub's documentation asks for.
const UNSAID: Duration = Duration::from_secs(60);

/// The longest wait for the end of a window that is believed: GitHub's is an hour, before which every request is refused.
const WAIT_MAX: Duration = Duration::from_secs(3_600);

/// How long the forge is to be left alone after this answer; nothing where it may be asked again at once.
///
/// A secondary limit of GitHub is told by words alone where it names no time: "You have exceeded a secondary rate limit".
pub(super) fn wait(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Option<Duration> {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<i64>().ok();
    let after = retry_after(headers).filter(|wait| !wait.is_zero());
    let is_limited = status == StatusCode::TOO_MANY_REQUESTS || status == StatusCode::FORBIDDEN;
    let is_busy = status == StatusCode::SERVICE_UNAVAILABLE;
    let is_used_up = number("x-ratelimit-remaining") == Some(0);
    let wait = match (is_limited, after) {
        (true, Some(after)) => after,
        (true, None) if is_used_up => until_reset(headers).unwrap_or(UNSAID),
        (true, None) if status == StatusCode::TOO_MANY_REQUESTS || says_secondary(body) => UNSAID,
        (false, Some(after)) if is_busy => after,
        // The last one that was allowed was answered; the next one would not be.
        (false, _) if is_used_up => until_reset(headers).unwrap_or(UNSAID),
        _ => return None,
    };
    Some(wait.min(WAIT_MAX))
}

fn says_secondary(body: &[u8]) -> bool {
    let body = String::from_utf8_lossy(body).to_ascii_lowercase();
    body.contains("secondary rate limit") || body.contains("abuse detection")
}

/// From the forge's own clock to its own reset, so that a clock that is wrong here does not matter.
fn until_reset(headers: &HeaderMap) -> Option<Duration> {
    let reset: i64 = headers.get("x-ratelimit-reset")?.to_str().ok()?.trim().parse().ok()?;
    let date = jiff::fmt::rfc2822::parse(headers.get(DATE)?.to_str().ok()?).ok()?.timestamp();
    let reset = Timestamp::from_second(reset).ok()?;
    Duration::try_from(reset.duration_since(date)).ok()
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderName, HeaderValue};

    use super::*;

    #[track_caller]
    fn check(status: u16, headers: &[(&str, &str)], expected: Option<u64>) {
        let header = |(name, value): &(&str, &str)| {
            (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap())
        };
        let headers = headers.iter().map(header).collect();
        let found = wait(StatusCode::from_u16(status).unwrap(), &headers, b"{}");
        assert_eq!(found, expected.map(Duration::from_secs), "{status} {headers:?}");
    }

    #[test]
    fn a_forge_is_left_alone_for_as_long_as_it_says() {
        let (date, reset) = (("date", "Sat, 28 Nov 2026 12:00:00 GMT"), ("x-ratelimit-reset", "1795867230"));
        check(200, &[], None);
        check(200, &[("x-ratelimit-remaining", "17")], None);
        check(403, &[], None);
        check(404, &[("retry-after", "9")], None);
        check(429, &[], Some(60));
        check(429, &[("retry-after", "7")], Some(7));
        check(403, &[("retry-after", "30"), ("x-ratelimit-remaining", "11")], Some(30));
        check(503, &[("retry-after", "5")], Some(5));
        check(403, &[("x-ratelimit-remaining", "0"), date, reset], Some(30));
        check(200, &[("x-ratelimit-remaining", "0"), date, reset], Some(30));
        check(403, &[("x-ratelimit-remaining", "0")], Some(60));
    }

    #[test]
    fn a_secondary_limit_is_known_by_its_words_and_another_no_is_none() {
        let said = |words: &str| wait(StatusCode::FORBIDDEN, &HeaderMap::new(), words.as_bytes());
        assert_eq!(said(r#"{"message":"You have exceeded a secondary rate limit."}"#), Some(UNSAID));
        assert_eq!(said(r#"{"message":"Resource not accessible by integration"}"#), None);
    }

    #[test]
    fn a_wait_that_nobody_could_mean_is_cut() {
        check(429, &[("retry-after", "999999999")], Some(300));
        let date = ("date", "Sat, 28 Nov 2026 12:00:00 GMT");
        check(403, &[("x-ratelimit-remaining", "0"), date, ("x-ratelimit-reset", "1795877230")], Some(3_600));
        check(503, &[("retry-after", "Sat, 28 Nov 2026 12:00:20 GMT"), date], Some(20));
        check(429, &[("retry-after", "-1")], Some(60));
        check(429, &[("retry-after", "Sat, 28 Nov 2026 12:00:00 GMT")], Some(60));
    }
}
