//! The client of the API: one request, one reply, and every failure as one sentence with its cure and exit code.

use std::time::Duration;

use futures_util::Stream;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderValue, LOCATION};
use reqwest::{Method, RequestBuilder, Url};
use serde_json::Value;

use super::error::{CliError, Exit, with_options};
use crate::config::ClientSettings;

/// How long a connection may take: a service on the other side of the world answers in less.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long an answer may take: the service itself gives up on a remote after 10 s, and a batch of 256 may be before us.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// A client of one service.
#[derive(Debug, Clone)]
pub(super) struct Client {
    http: reqwest::Client,
    base: Url,
    authorization: Option<HeaderValue>,
}

/// A good answer.
#[derive(Debug, Clone)]
pub(super) struct Reply {
    pub status: u16,
    /// The body as it came.
    pub raw: String,
    /// The body, null where it is not JSON.
    pub body: Value,
    /// Where to look for the end of what was queued.
    pub location: Option<String>,
}

/// A request to be.
#[derive(Debug, Clone)]
pub(super) struct Call<'a> {
    method: Method,
    path: &'a [&'a str],
    query: Vec<(&'static str, String)>,
    body: Option<Value>,
    idempotency_key: Option<String>,
    patient: bool,
}

impl<'a> Call<'a> {
    /// A call of an address below `/api/v1`, by its parts.
    pub(super) fn new(method: Method, path: &'a [&'a str]) -> Self {
        Self { method, path, query: Vec::new(), body: None, idempotency_key: None, patient: false }
    }

    /// The parts of its address.
    pub(super) fn path(&self) -> &'a [&'a str] {
        self.path
    }

    /// The same with a parameter, where it has a value.
    pub(super) fn query(mut self, name: &'static str, value: Option<impl ToString>) -> Self {
        self.query.extend(value.map(|value| (name, value.to_string())));
        self
    }

    /// The same with a parameter that says yes, where it does.
    pub(super) fn flag(self, name: &'static str, set: bool) -> Self {
        self.query(name, set.then_some("true"))
    }

    /// The same, waiting for its answer as long as it takes.
    pub(super) fn patient(mut self) -> Self {
        self.patient = true;
        self
    }

    /// The same with a body.
    pub(super) fn body(mut self, body: Value) -> Self {
        self.body = Some(body);
        self
    }

    /// The same with a key that makes it safe to repeat.
    pub(super) fn idempotency_key(mut self, key: Option<String>) -> Self {
        self.idempotency_key = key;
        self
    }
}

impl Client {
    /// A client with an address and a token.
    ///
    /// # Errors
    /// The address or the token is none.
    pub(super) fn new(settings: &ClientSettings) -> Result<Self, CliError> {
        // Fails only where one is there already, which is as good.
        drop(rustls::crypto::ring::default_provider().install_default());
        let ClientSettings { url, token } = settings;
        let base = Url::parse(url)
            .map_err(|_| CliError::usage(format!("`{}` is not an address", crate::names::shown(url))))?;
        let authorization = token.as_ref().map(|token| bearer(token.expose())).transpose()?;
        let http =
            reqwest::Client::builder().connect_timeout(CONNECT_TIMEOUT).redirect(reqwest::redirect::Policy::none());
        let http = http.user_agent(concat!("kmlflow/", env!("CARGO_PKG_VERSION"))).build();
        Ok(Self { http: http.map_err(|_| CliError::failed("no HTTP client could be made"))?, base, authorization })
    }

    /// Gets something.
    ///
    /// # Errors
    /// Nobody answers, or the answer is a problem.
    pub(super) async fn get(&self, path: &[&str]) -> Result<Reply, CliError> {
        self.call(Call::new(Method::GET, path)).await
    }

    /// Makes a call.
    ///
    /// # Errors
    /// Nobody answers, or the answer is a problem.
    pub(super) async fn call(&self, call: Call<'_>) -> Result<Reply, CliError> {
        let Call { method, path, query, body, idempotency_key, patient } = call;
        let mut url = self.address(path);
        for (name, value) in query {
            url.query_pairs_mut().append_pair(name, &value);
        }
        let mut request = self.request(method, url);
        if !patient {
            request = request.timeout(ANSWER_TIMEOUT);
        }
        if let Some(key) = idempotency_key {
            request = request.header("idempotency-key", key);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        self.read(request).await
    }

    /// Gets what a `Location` names.
    ///
    /// # Errors
    /// It names another service, nobody answers, or the answer is a problem.
    pub(super) async fn follow(&self, location: &str) -> Result<Reply, CliError> {
        let url = self.base.join(location).ok().filter(|url| url.origin() == self.base.origin());
        let url = url.ok_or_else(|| CliError::failed("the service refers to another one for the result"))?;
        self.read(self.request(Method::GET, url).timeout(ANSWER_TIMEOUT)).await
    }

    /// Posts bytes with headers of their own to a door, as a sender of events does.
    ///
    /// # Errors
    /// Nobody answers, or the answer is a problem.
    pub(super) async fn deliver(
        &self,
        door: &str,
        headers: &[(&str, String)],
        body: String,
    ) -> Result<Reply, CliError> {
        let url = self.base.join(door).map_err(|_| CliError::failed("the door has no address"))?;
        let request = self.http.post(url).timeout(ANSWER_TIMEOUT).header("content-type", "application/json");
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, value));
        self.read(request.body(body)).await
    }

    /// Opens the stream of server-sent events, after the event with an id where one is given.
    ///
    /// # Errors
    /// Nobody answers, or the answer is a problem.
    pub(super) async fn events(
        &self,
        last_id: Option<&str>,
    ) -> Result<impl Stream<Item = reqwest::Result<impl AsRef<[u8]> + use<>>> + use<>, CliError> {
        let mut request = self.request(Method::GET, self.address(&["events"])).header(ACCEPT, "text/event-stream");
        if let Some(id) = last_id {
            request = request.header("last-event-id", id);
        }
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        match response.status().as_u16() {
            200 => Ok(response.bytes_stream()),
            status => Err(self.problem(status, &response.text().await.unwrap_or_default())),
        }
    }

    fn address(&self, path: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(["api", "v1"]).extend(path);
        }
        url
    }

    fn request(&self, method: Method, url: Url) -> RequestBuilder {
        let request = self.http.request(method, url);
        match &self.authorization {
            Some(authorization) => request.header(AUTHORIZATION, authorization.clone()),
            None => request,
        }
    }

    async fn read(&self, request: RequestBuilder) -> Result<Reply, CliError> {
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        let status = response.status().as_u16();
        let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let raw = response.text().await.map_err(|error| self.unreachable(&error))?;
        if !(200..300).contains(&status) {
            return Err(self.problem(status, &raw));
        }
        if raw.is_empty() {
            return Ok(Reply { status, raw, body: Value::Null, location });
        }
        let body = serde_json::from_str(&raw).map_err(|_| self.stranger(status))?;
        Ok(Reply { status, raw, body, location })
    }

    /// What answers is another program: an answer of the API is JSON, and a problem has its sentence.
    fn stranger(&self, status: u16) -> CliError {
        let base = self.base.as_str().trim_end_matches('/');
        CliError::failed(format!("what answers at {base} is no kmlflow: it answered {status} and nothing of the API"))
            .hint("name the service with --url or KMLFLOW_URL")
    }

    /// A problem of the API as an error; without a token the reason for a 401 is known here.
    fn problem(&self, status: u16, raw: &str) -> CliError {
        // A server error may as well come from a proxy before the service.
        let Some(error) = problem(status, raw) else { return self.stranger(status) };
        match (status, &self.authorization) {
            (401, None) => CliError { sentence: "no token was given".to_owned(), ..error },
            _ => error,
        }
    }

    fn unreachable(&self, error: &reqwest::Error) -> CliError {
        let base = self.base.as_str().trim_end_matches('/');
        if error.is_timeout() && !error.is_connect() {
            return CliError::new(Exit::Deadline, format!("{base} did not answer in time"))
                .hint("look at what became of it with `kmlflow deliveries list`");
        }
        if let Some(error) = tls_error(error) {
            return no_tls(base, error);
        }
        if !error.is_connect() {
            return CliError::failed(format!("the connection to {base} broke"))
                .hint("whether a change was accepted shows in `kmlflow deliveries list`");
        }
        CliError::failed(format!("no service answers at {base}"))
            .hint("start one with `kmlflow serve`, or name another with --url or KMLFLOW_URL")
    }
}

/// The error of TLS that a connection failed by, where it is one.
fn tls_error(error: &reqwest::Error) -> Option<&rustls::Error> {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref() {
            return Some(error);
        }
        // What an I/O error was made from is not its source.
        let inside = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        cause = inside.map(|inside| inside as &(dyn std::error::Error + 'static)).or_else(|| error.source());
    }
    None
}

fn no_tls(base: &str, error: &rustls::Error) -> CliError {
    match error {
        rustls::Error::InvalidMessage(_) => CliError::failed(format!("what answers at {base} does not speak https"))
            .hint("write the address with http://"),
        _ => CliError::failed(format!("{base} is not trusted: {error}"))
            .hint("give the address by the name of its certificate, which a known authority must have signed"),
    }
}

fn bearer(token: &str) -> Result<HeaderValue, CliError> {
    let mut value = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| {
        CliError::usage("the token has characters that no token has").hint("give the token alone, on one line")
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// A problem of the API as an error: its `detail` and `cure` are already one sentence each. None where it is no problem of the API.
fn problem(status: u16, raw: &str) -> Option<CliError> {
    let body: Value = serde_json::from_str(raw).unwrap_or(Value::Null);
    let text = |name: &str| body.get(name).and_then(Value::as_str).map(str::to_owned);
    let failed = || (status >= 500).then(|| format!("the service answered {status}"));
    let sentence = text("detail").or_else(|| text("title")).or_else(failed)?;
    let own = match status {
        401 => Some("name its file with --token-file, or set KMLFLOW_TOKEN; the first start of a service keeps one in `admin-token` of its data directory, and where that one is good no more, a start without the file makes another".to_owned()),
        404 => Some("see what there is with `kmlflow list`".to_owned()),
        _ => None,
    };
    let hint = if status == 401 { own } else { text("cure").map(|cure| with_options(&cure)).or(own) };
    Some(CliError { sentence, hint, exit: Exit::of_status(status) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(url: &str) -> Client {
        Client::new(&ClientSettings { url: url.to_owned(), token: None }).unwrap()
    }

    #[test]
    fn a_name_cannot_leave_its_place_in_the_address() {
        let address = client("http://127.0.0.1:1/base/").address(&["releases", "a/../b?c", "ö"]);
        assert_eq!(address.as_str(), "http://127.0.0.1:1/base/api/v1/releases/a%2F..%2Fb%3Fc/%C3%B6");
    }

    #[test]
    fn without_a_token_a_refusal_says_that_none_was_given() {
        let error = client("http://127.0.0.1:1").problem(401, r#"{"detail": "the token is not valid"}"#);
        assert_eq!((error.sentence.as_str(), error.exit), ("no token was given", Exit::Refused));
        assert!(error.hint.unwrap().contains("--token-file"));
    }

    #[test]
    fn a_token_that_no_header_can_carry_is_wrong_usage() {
        let error = bearer("kmlflow_a\nb").unwrap_err();
        assert!(error.exit == Exit::Usage && error.hint.is_some(), "{error:?}");
    }

    #[test]
    fn a_problem_becomes_its_sentence_its_cure_and_its_exit_code() {
        let error =
            problem(409, r#"{"detail": "nothing is deployed", "cure": "release a version first", "status": 409}"#)
                .unwrap();
        assert_eq!(error, CliError::new(Exit::Conflict, "nothing is deployed").hint("release a version first"));
        let error = problem(401, r#"{"detail": "no token", "cure": "send a header"}"#).unwrap();
        assert!(error.hint.unwrap().contains("--token-file"));
        assert_eq!(problem(502, "<html>").unwrap().sentence, "the service answered 502");
    }

    #[tokio::test]
    async fn where_nobody_listens_the_hint_is_to_start_a_service() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let error = client(&format!("http://{free}")).get(&["releases"]).await.unwrap_err();
        assert_eq!((error.exit, error.sentence), (Exit::Failed, format!("no service answers at http://{free}")));
        assert!(error.hint.unwrap().contains("kmlflow serve"));
    }

    /// An address where somebody answers every connection with these bytes, whatever is asked.
    async fn answering(bytes: &'static str) -> std::net::SocketAddr {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let _read = stream.read(&mut [0; 4096]).await;
                let _written = stream.write_all(bytes.as_bytes()).await;
            }
        });
        address
    }

    #[tokio::test]
    async fn another_program_that_answers_is_said_to_be_no_kmlflow() {
        for answer in [
            "HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\nConnection: close\r\n\r\nNot Found",
            "HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\n<html>",
            "HTTP/1.1 301 Moved\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        ] {
            let error = client(&format!("http://{}", answering(answer).await)).get(&["releases"]).await.unwrap_err();
            assert!(error.sentence.contains("is no kmlflow") && error.exit == Exit::Failed, "{error:?}");
            assert!(error.hint.unwrap().contains("--url"));
        }
    }

    #[tokio::test]
    async fn an_address_that_does_not_speak_https_is_said_so() {
        let address = answering("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await;
        let error = client(&format!("https://{address}")).get(&["releases"]).await.unwrap_err();
        assert!(error.sentence.ends_with("does not speak https"), "{error}");
        assert!(error.hint.unwrap().contains("http://"));
    }

    #[tokio::test]
    async fn a_result_is_never_looked_for_at_another_service() {
        let error = client("http://127.0.0.1:1").follow("http://evil.example/api/v1/deliveries/1").await.unwrap_err();
        assert!(error.sentence.contains("another"), "{error}");
    }
}
