//! Generic deliveries by Standard Webhooks: a release request with the release's place.

use super::ParseError;
use crate::event::Event;

/// Reads an authentic body: a release request with `name`, `namespace` and `environment`.
pub fn parse(body: &[u8]) -> Result<Event, ParseError> {
    let _ = body;
    todo!()
}
