//! A small HTTP/1.1 client, one connection per request: what `curl` does, and on demand what no well-behaved client does.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// Longer than any answer may take (the service gives up after 10 s), short enough that a hanging test ends.
const TIMEOUT: Duration = Duration::from_secs(60);

/// One request, built up and then sent.
#[derive(Debug, Clone)]
pub struct Request {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    content_length: Option<usize>,
}

impl Request {
    /// A request without headers and body.
    pub fn new(method: &str, path: &str) -> Self {
        Self { method: method.into(), path: path.into(), headers: Vec::new(), body: Vec::new(), content_length: None }
    }

    /// Sets a header; a second one of the same name replaces the first.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Leaves a header out.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self
    }

    /// Sets the bearer token.
    #[must_use]
    pub fn bearer(self, token: &str) -> Self {
        self.header("Authorization", format!("Bearer {token}"))
    }

    /// Sets a body as it is.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Sets a JSON body.
    #[must_use]
    pub fn json(self, body: &Value) -> Self {
        self.header("Content-Type", "application/json").body(body.to_string())
    }

    /// Announces another length than the body has: a truncated request.
    #[must_use]
    pub fn announce(mut self, length: usize) -> Self {
        self.content_length = Some(length);
        self
    }

    /// The value of a header that was set.
    pub fn header_value(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The body that was set.
    pub fn body_bytes(&self) -> &[u8] {
        &self.body
    }

    /// The headers that were set, one per line, as `kmlflow doctor` reads them.
    pub fn header_text(&self) -> String {
        self.headers.iter().map(|(name, value)| format!("{name}: {value}\n")).collect()
    }

    /// The bytes on the wire.
    pub fn to_bytes(&self, host: &str, keep_alive: bool) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\nHost: {host}\r\n", self.method, self.path);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let length = self.content_length.unwrap_or(self.body.len());
        if length > 0 || matches!(self.method.as_str(), "POST" | "PUT") {
            head.push_str(&format!("Content-Length: {length}\r\n"));
        }
        if !keep_alive {
            head.push_str("Connection: close\r\n");
        }
        head.push_str("\r\n");
        [head.as_bytes(), &self.body].concat()
    }

    /// Sends it and reads the answer.
    ///
    /// # Panics
    /// When there is no answer.
    #[track_caller]
    #[must_use = "assert what was answered"]
    pub fn send(&self, address: SocketAddr) -> Response {
        self.try_send(address).unwrap_or_else(|error| panic!("{} {}: no answer: {error}", self.method, self.path))
    }

    /// Sends it and reads the answer.
    ///
    /// # Errors
    /// When the connection breaks: what a client sees of a service that is killed.
    pub fn try_send(&self, address: SocketAddr) -> std::io::Result<Response> {
        self.try_send_to(&address.to_string(), address)
    }

    /// Sends it to a host that is found at this address, and reads the answer: the host is one of many behind a gateway.
    ///
    /// # Errors
    /// When the connection breaks.
    pub fn try_send_to(&self, host: &str, address: SocketAddr) -> std::io::Result<Response> {
        let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        let sent = stream.write_all(&self.to_bytes(host, false));
        if self.content_length.is_some() {
            stream.shutdown(std::net::Shutdown::Write)?;
        }
        // A service that refuses a body early answers before it has read it: the answer counts, not the failed write.
        let answer = Response::read(&mut BufReader::new(stream), self.method == "HEAD");
        if answer.is_err() { sent.and(answer) } else { answer }
    }
}

/// A connection that is kept for the next request.
pub struct Connection {
    host: String,
    reader: BufReader<TcpStream>,
}

impl Connection {
    /// Connects.
    ///
    /// # Panics
    /// When nobody listens.
    pub fn open(address: SocketAddr) -> Self {
        Self::to(&address.to_string(), address, TIMEOUT).expect("a connection")
    }

    /// Connects to a host that is found at this address; an answer that takes longer than this is an error.
    ///
    /// # Errors
    /// When nobody listens.
    pub fn to(host: &str, address: SocketAddr, within: Duration) -> std::io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, within)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(within))?;
        stream.set_write_timeout(Some(within))?;
        Ok(Self { host: host.to_owned(), reader: BufReader::new(stream) })
    }

    /// Sends a request and reads the answer.
    ///
    /// # Panics
    /// When the connection breaks.
    #[track_caller]
    pub fn send(&mut self, request: &Request) -> Response {
        self.try_send(request).expect("an answer")
    }

    /// Sends a request and reads the answer.
    ///
    /// # Errors
    /// When the connection breaks.
    pub fn try_send(&mut self, request: &Request) -> std::io::Result<Response> {
        self.reader.get_mut().write_all(&request.to_bytes(&self.host, true))?;
        Response::read(&mut self.reader, false)
    }
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    /// Reads one answer.
    ///
    /// # Errors
    /// When it is not one, or the connection breaks.
    pub fn read(reader: &mut BufReader<TcpStream>, head_only: bool) -> std::io::Result<Self> {
        let (status, headers) = read_head(reader)?;
        let mut answer = Self { status, headers, body: Vec::new() };
        if head_only || status == 204 || status == 304 {
            return Ok(answer);
        }
        if answer.header("Transfer-Encoding").is_some_and(|value| value.contains("chunked")) {
            answer.body = read_chunks(reader)?;
        } else if let Some(length) = answer.header("Content-Length").and_then(|value| value.parse().ok()) {
            answer.body = vec![0; length];
            reader.read_exact(&mut answer.body)?;
        } else {
            reader.read_to_end(&mut answer.body)?;
        }
        Ok(answer)
    }

    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("not JSON ({error}): {}", self.text()))
    }

    /// Insists on a status.
    ///
    /// # Panics
    /// When it is another; the message has the body.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text());
        self
    }

    /// Insists on a problem that follows the rules: its status, one sentence, no path of the host.
    ///
    /// # Panics
    /// When it is not one.
    #[track_caller]
    pub fn expect_problem(self, status: u16) -> Value {
        let answer = self.expect(status);
        assert_eq!(answer.header("Content-Type"), Some("application/problem+json"), "{}", answer.text());
        let problem = answer.json();
        assert_eq!(problem["status"], status, "{problem}");
        for field in ["type", "title", "detail", "cure"] {
            assert!(problem[field].as_str().is_some_and(|text| !text.is_empty()), "`{field}` is missing: {problem}");
        }
        let text = problem.to_string();
        for leak in ["/tmp/", "/home/", "/root/", "src/", "Error(", "panicked", "caused by"] {
            assert!(!text.contains(leak), "a problem shows `{leak}`: {problem}");
        }
        problem
    }
}

/// Reads a status line and headers.
///
/// # Errors
/// When it is no answer of HTTP, or the connection breaks.
pub fn read_head(reader: &mut BufReader<TcpStream>) -> std::io::Result<(u16, Vec<(String, String)>)> {
    let first = read_line(reader)?;
    let status = first.split(' ').nth(1).and_then(|text| text.parse().ok());
    let status = status.ok_or_else(|| std::io::Error::other(format!("no status line: {first:?}")))?;
    let mut headers = Vec::new();
    loop {
        let line = read_line(reader)?;
        if line.is_empty() {
            return Ok((status, headers));
        }
        if let Some((name, value)) = line.split_once(':') {
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
    }
}

fn read_line(reader: &mut BufReader<TcpStream>) -> std::io::Result<String> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line.trim_end().to_owned())
}

fn read_chunks(reader: &mut BufReader<TcpStream>) -> std::io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = read_line(reader)?;
        let length = usize::from_str_radix(line.split(';').next().unwrap_or_default(), 16);
        let length = length.map_err(|_| std::io::Error::other(format!("no chunk length: {line:?}")))?;
        let mut chunk = vec![0; length + 2];
        reader.read_exact(&mut chunk)?;
        if length == 0 {
            return Ok(body);
        }
        body.extend_from_slice(&chunk[..length]);
    }
}
