//! A length of time as people write it: `30s`, `10m`, `1h30m`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::fmt::friendly::{Designator, Spacing, SpanParser, SpanPrinter};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// A length of time, whole seconds, from zero to 366 days. Written like `30s`, `10m` or `1h30m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Period(u64);

/// A year and a day: longer waits in a rollout are a mistake of unit.
const SECONDS_MAX: u64 = 366 * 24 * 3600;

impl Period {
    /// No time at all.
    pub const ZERO: Self = Self(0);

    /// A period of whole seconds.
    pub const fn from_seconds(seconds: u64) -> Self {
        Self(if seconds > SECONDS_MAX { SECONDS_MAX } else { seconds })
    }

    /// A period of whole minutes.
    pub const fn from_minutes(minutes: u64) -> Self {
        Self::from_seconds(minutes * 60)
    }

    /// Its length in seconds.
    pub const fn as_seconds(self) -> u64 {
        self.0
    }

    /// Whether it is no time at all.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// It as the standard library's type.
    pub const fn as_duration(self) -> Duration {
        Duration::from_secs(self.0)
    }

    /// The moment this long after another one; the end of time where there is none.
    pub fn after(self, moment: Timestamp) -> Timestamp {
        moment.saturating_add(self.as_signed()).unwrap_or(Timestamp::MAX)
    }

    /// It as a signed duration, for adding to a point in time.
    pub fn as_signed(self) -> SignedDuration {
        SignedDuration::from_secs(i64::try_from(self.0).unwrap_or(i64::MAX))
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        static PRINTER: SpanPrinter = SpanPrinter::new().spacing(Spacing::None).designator(Designator::Compact);
        f.write_str(&PRINTER.duration_to_string(&self.as_signed()))
    }
}

impl FromStr for Period {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        static PARSER: SpanParser = SpanParser::new();
        let rule =
            || format!("`{}` is not a length of time such as `30s`, `10m` or `1h30m`", crate::names::shown(text));
        let parsed = PARSER.parse_duration(text).map_err(|_| rule())?;
        let seconds = u64::try_from(parsed.as_secs()).map_err(|_| rule())?;
        if parsed.subsec_nanos() != 0 || seconds > SECONDS_MAX {
            return Err(format!("`{}` must be whole seconds and at most 366 days", crate::names::shown(text)));
        }
        Ok(Self(seconds))
    }
}

impl TryFrom<String> for Period {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Period> for String {
    fn from(period: Period) -> String {
        period.to_string()
    }
}

impl utoipa::PartialSchema for Period {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        String::schema()
    }
}

impl utoipa::ToSchema for Period {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("Period")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_beyond_the_end_of_time_is_the_end() {
        let moment: Timestamp = "2026-11-23T10:00:00Z".parse().unwrap();
        assert_eq!(Period::from_minutes(10).after(moment), "2026-11-23T10:10:00Z".parse().unwrap());
        assert_eq!(Period::from_minutes(10).after(Timestamp::MAX), Timestamp::MAX);
    }

    #[test]
    fn a_period_reads_back_as_it_is_written() {
        for text in ["0s", "30s", "10m", "1h30m", "36h", "1h1s"] {
            assert_eq!(text.parse::<Period>().unwrap().to_string(), text);
        }
        assert_eq!("1 hour".parse::<Period>().unwrap(), Period::from_minutes(60));
        for bad in ["", "10", "-5m", "1.5s", "10000000h", "soon"] {
            assert!(bad.parse::<Period>().is_err(), "{bad}");
        }
    }
}
