//! How long whoever was asked wants to be left alone, by the header `Retry-After`: read in one way for Git's servers, forges and the registry.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};

/// The longest wait that is heeded, and the longest between two tries of whatever failed.
///
/// Who asks for more, as a page of maintenance does for an hour, is asked again after this: what waits may be a rollback, and a request in five
/// minutes costs nobody much.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);

/// The wait that an answer asks for, in seconds or by a date; nothing where it asks for none that can be read.
///
/// A date is counted from the server's own clock where it tells that, so that one that is wrong here does not matter.
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let until = moment(text)?;
            let now = headers.get(DATE).and_then(|date| moment(date.to_str().ok()?.trim()));
            Duration::try_from(until.duration_since(now.unwrap_or_else(Timestamp::now))).unwrap_or_default()
        }
    };
    Some(wait.min(RETRY_AFTER_MAX))
}

fn moment(text: &str) -> Option<Timestamp> {
    Some(jiff::fmt::rfc2822::parse(text).ok()?.timestamp())
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    #[test]
    fn a_wait_is_read_as_seconds_or_as_a_date_and_is_bounded() {
        let date = HeaderValue::from_static("Fri, 02 Jan 2026 03:04:05 GMT");
        for (text, seconds) in [
            ("7", Some(7)),
            (" 120 ", Some(120)),
            ("86400", Some(300)),
            ("18446744073709551616", None),
            ("Fri, 02 Jan 2026 03:05:05 GMT", Some(60)),
            ("Fri, 02 Jan 2026 09:00:00 GMT", Some(300)),
            ("Fri, 02 Jan 2026 03:00:00 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
        ] {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static(text)), (DATE, date.clone())]);
            assert_eq!(retry_after(&headers), seconds.map(Duration::from_secs), "{text}");
        }
        let long_ago = HeaderMap::from_iter([(RETRY_AFTER, date)]);
        assert_eq!(retry_after(&long_ago), Some(Duration::ZERO), "by the clock of this machine");
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }
}
