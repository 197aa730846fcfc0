//! Server-sent events, read line by line.

use std::io::{BufRead as _, BufReader, ErrorKind, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

use crate::http::{Request, read_head};

/// How long a silent stream is listened to before the caller looks for itself: an event may have come before the stream was open.
const SILENCE: Duration = Duration::from_millis(500);

/// A busy machine takes its time to open one; this only ends a hanging test.
const OPENED_WITHIN: Duration = Duration::from_secs(60);

/// An open stream of the service's events.
pub struct Events {
    reader: BufReader<TcpStream>,
    pending: String,
}

/// One event.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    pub id: Option<String>,
    pub kind: String,
    pub data: Value,
}

impl Events {
    /// Opens the stream, with what came after `last_event_id` first where one is given.
    ///
    /// # Panics
    /// When the service does not open it.
    #[track_caller]
    pub fn open(address: SocketAddr, token: &str, last_event_id: Option<&str>) -> Self {
        let mut request = Request::new("GET", "/api/v1/events").bearer(token).header("Accept", "text/event-stream");
        if let Some(id) = last_event_id {
            request = request.header("Last-Event-ID", id);
        }
        let mut stream = TcpStream::connect(address).expect("a connection");
        stream.set_read_timeout(Some(OPENED_WITHIN)).expect("a time limit");
        stream.write_all(&request.to_bytes(&address.to_string(), true)).expect("a request");
        let mut reader = BufReader::new(stream);
        let (status, headers) = read_head(&mut reader).expect("an answer");
        assert_eq!(status, 200, "the event stream: {headers:?}");
        reader.get_ref().set_read_timeout(Some(SILENCE)).expect("a time limit");
        Self { reader, pending: String::new() }
    }

    /// The next event, or none after a moment of silence.
    ///
    /// # Panics
    /// When the service ends the stream.
    #[track_caller]
    pub fn next_within_silence(&mut self) -> Option<Event> {
        let mut event = Event { id: None, kind: String::new(), data: Value::Null };
        loop {
            let line = self.line()?;
            // The stream may be chunked: the lengths between the lines have no colon.
            match line.split_once(':') {
                Some(("id", value)) => event.id = Some(value.trim().to_owned()),
                Some(("event", value)) => event.kind = value.trim().to_owned(),
                Some(("data", value)) => event.data = serde_json::from_str(value.trim()).unwrap_or(Value::Null),
                None if line.is_empty() && !event.kind.is_empty() => return Some(event),
                _ => {}
            }
        }
    }

    /// Reads on until an event satisfies the condition.
    ///
    /// # Panics
    /// When none does within a minute.
    #[track_caller]
    pub fn until(&mut self, what: &str, mut condition: impl FnMut(&Event) -> bool) -> Event {
        for _ in 0..120 {
            while let Some(event) = self.next_within_silence() {
                if condition(&event) {
                    return event;
                }
            }
        }
        panic!("no event within a minute: {what}");
    }

    fn line(&mut self) -> Option<String> {
        match self.reader.read_line(&mut self.pending) {
            Ok(0) => panic!("the service ended the event stream"),
            Ok(_) => Some(std::mem::take(&mut self.pending).trim_end().to_owned()),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => None,
            Err(error) => panic!("the event stream broke: {error}"),
        }
    }
}
