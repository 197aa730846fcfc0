//! The repository over smart HTTP: Git's own `upload-pack` and `receive-pack` as children, streamed both ways.
//!
//! Knows nothing of who may do what: [`SmartServer::access`] says what a request wants, and the caller decides.
//! A compressed request body is decoded here, because Git's clients compress long ones whether or not a server says it can.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_compression::tokio::bufread::GzipDecoder;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};

use super::repository::{HARDENED, PUSH_BYTES_MAX};
use crate::bounds::RETRY_AFTER_SECONDS;
use crate::command::{Call, CommandError, Git, Running};

/// How many Gits run at once: each takes some 10 MB and, when it packs, a core.
const CHILDREN_MAX: usize = 16;
/// How long a request waits for its turn before it is told to come back.
const TURN_WAIT: Duration = Duration::from_secs(10);
/// How long one exchange may take: a first clone of a large repository over a slow line.
const EXCHANGE_LIMIT: Duration = Duration::from_secs(600);
/// How long the words of a fetch may take to arrive, as for any request.
const FETCH_LIMIT: Duration = Duration::from_secs(10);
/// How long a client that pushes may be silent between two pieces; all of it has the time of an exchange.
const SILENCE_LIMIT: Duration = Duration::from_secs(10);
/// How long a client may leave what it was sent unread: longer than a line is down for a moment.
const UNREAD_LIMIT: Duration = Duration::from_secs(60);
/// How long listing the branches may take, and how long the list may be: some 100,000 of them.
const ADVERTISE_LIMIT: Duration = Duration::from_secs(30);
const ADVERTISEMENT_BYTES_MAX: u64 = 8 << 20;

/// What a client may say when it fetches, decoded: 50 bytes for each commit that it has, a few hundred of which it names at once.
const FETCH_BYTES_MAX: u64 = 8 << 20;
/// What a client may send when it pushes, decoded. A little over what Git itself refuses with words of its own.
const RECEIVE_BYTES_MAX: u64 = PUSH_BYTES_MAX + (1 << 20);

/// As much of a push as a pipe of Linux holds.
const PIECE_BYTES: usize = 64 << 10;

/// What Git hides from a push it also refuses to make or move: everything but the branch that the service follows.
const HIDDEN: [(&str, &str); 2] = [("receive.hideRefs", "refs"), ("receive.hideRefs", "!refs/heads/main")];

/// The longest `Git-Protocol` header that is passed on; the longest known one is `version=2`.
const PROTOCOL_BYTES_MAX: usize = 64;

/// Either end of a stream.
pub type Body = Box<dyn AsyncRead + Send + Unpin>;

/// What a request wants to do with the repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    Read,
    Write,
}

/// A request below the repository's mount (`/git/gitops.git`).
pub struct SmartRequest {
    /// `GET` or `POST`.
    pub method: String,
    /// What follows the mount, for example `/info/refs`.
    pub path: String,
    /// The query without `?`, empty where there is none.
    pub query: String,
    pub content_type: Option<String>,
    /// The `Content-Encoding` header; the body is handed over as it came.
    pub content_encoding: Option<String>,
    /// The `Git-Protocol` header.
    pub git_protocol: Option<String>,
    pub body: Body,
}

/// The answer, to be sent while it comes.
pub struct SmartResponse {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Body,
    /// Resolves, with an error that means the same, once Git has ended. A push may have moved the branch by then, whether or not
    /// the client was still there to hear of it.
    pub ended: oneshot::Receiver<()>,
}

/// The serving side of one repository.
#[derive(Debug, Clone)]
pub struct SmartServer {
    git: Git,
    repository: PathBuf,
    /// Settings that no file of the repository can change.
    settings: Arc<[(&'static str, &'static str)]>,
    turns: Arc<Semaphore>,
}

/// One of Git's two services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Service {
    UploadPack,
    ReceivePack,
}

/// A request whose path is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Route {
    Advertise(Service),
    Exchange(Service),
}

impl SmartServer {
    /// Serves a repository with a Git that was found.
    pub fn new(git: Git, repository: PathBuf) -> Self {
        let settings = HARDENED.into_iter().chain(HIDDEN).collect();
        Self { git, repository, settings, turns: Arc::new(Semaphore::new(CHILDREN_MAX)) }
    }

    /// What a request wants, by its line alone, so that it can be authorised before anything of it is read.
    ///
    /// Nothing for a path that is none of the smart protocol's, the dumb protocol's among them: that is a 404.
    pub fn access(method: &str, path: &str, query: &str) -> Option<Access> {
        let (Route::Advertise(service) | Route::Exchange(service)) = route(method, path, query)?;
        Some(match service {
            Service::UploadPack => Access::Read,
            Service::ReceivePack => Access::Write,
        })
    }

    /// Answers a request that is authorised. The body must come without another bound than this module's own.
    pub async fn serve(&self, request: SmartRequest) -> SmartResponse {
        let Some(route) = route(&request.method, &request.path, &request.query) else {
            return refused(404, "There is no such page of the repository; clone it with `git clone`.");
        };
        let service = match route {
            Route::Advertise(service) | Route::Exchange(service) => service,
        };
        let protocol = request.git_protocol.as_deref().filter(|text| is_protocol(text)).map(ToOwned::to_owned);
        // Who does not say what it wants keeps no Git waiting, and nobody else.
        let body = match said(route, request, FETCH_LIMIT).await {
            Ok(body) => body,
            Err(refusal) => return refusal,
        };
        let Ok(Ok(turn)) = tokio::time::timeout(TURN_WAIT, Arc::clone(&self.turns).acquire_owned()).await else {
            let mut busy = refused(503, "Too many clients read the repository at once; try again in a few seconds.");
            busy.headers.push(("retry-after", RETRY_AFTER_SECONDS.to_string()));
            return busy;
        };
        let answer = match body {
            None => self.advertise(service, protocol.as_deref()).await,
            Some(body) => self.exchange(service, protocol.as_deref(), body, turn),
        };
        answer.unwrap_or_else(|error| {
            log(&error);
            refused(500, "Git could not answer for the repository; the service's log says why.")
        })
    }

    async fn advertise(&self, service: Service, protocol: Option<&str>) -> Result<SmartResponse, CommandError> {
        let arguments = [service.as_str(), "--stateless-rpc", "--http-backend-info-refs", "."];
        let call = self.call(service, &arguments, protocol);
        let refs = self.git.run(&call, ADVERTISE_LIMIT, ADVERTISEMENT_BYTES_MAX).await?;
        let announcement = format!("# service=git-{}\n", service.as_str());
        let mut body = format!("{:04x}{announcement}0000", announcement.len() + 4).into_bytes();
        body.extend(refs);
        let headers = headers(format!("application/x-git-{}-advertisement", service.as_str()));
        Ok(SmartResponse { status: 200, headers, body: Box::new(std::io::Cursor::new(body)), ended: ended_already() })
    }

    fn exchange(
        &self,
        service: Service,
        protocol: Option<&str>,
        body: Body,
        turn: OwnedSemaphorePermit,
    ) -> Result<SmartResponse, CommandError> {
        let arguments = [service.as_str(), "--stateless-rpc", "."];
        let (running, stdin, stdout) = self.git.start(&self.call(service, &arguments, protocol))?;
        tokio::spawn(feed(body, stdin, service.bytes_max(), SILENCE_LIMIT));
        let (side, client) = watch::channel(Side::Git);
        let (end, ended) = oneshot::channel();
        tokio::spawn(attend(running, service, client, turn, end));
        let headers = headers(format!("application/x-git-{}-result", service.as_str()));
        Ok(SmartResponse { status: 200, headers, body: Box::new(Answer { stdout, side }), ended })
    }

    fn call<'c>(&'c self, service: Service, arguments: &'c [&'c str], protocol: Option<&'c str>) -> Call<'c> {
        Call { what: service.as_str(), repository: &self.repository, arguments, settings: &self.settings, protocol }
    }
}

/// Passes the client's words on to Git. Git may end before it has read all (it refuses a push that is too large): then the rest is
/// read and dropped, because most clients read an answer only once they have sent all.
async fn feed(body: Body, input: impl AsyncWrite + Unpin, bytes_max: u64, silence: Duration) {
    let mut body = body.take(bytes_max);
    let mut input = Some(input);
    let mut piece = vec![0; PIECE_BYTES];
    // Where the client breaks off, falls silent or sends more than it may, Git's input ends early, and Git refuses what it has.
    while let Ok(Ok(length @ 1..)) = tokio::time::timeout(silence, body.read(&mut piece)).await {
        if let Some(git) = &mut input
            && git.write_all(&piece[..length]).await.is_err()
        {
            input = None;
        }
    }
    if let Some(mut git) = input {
        let _closed = git.shutdown().await;
    }
}

/// Sees one Git to its end.
///
/// Where the client goes away or reads no more, a fetch is ended. A push is not: it ends by itself once its input does, and to end it
/// between its objects and its branch would gain nothing.
async fn attend(
    running: Running,
    service: Service,
    client: watch::Receiver<Side>,
    turn: OwnedSemaphorePermit,
    end: oneshot::Sender<()>,
) {
    let stop = async {
        left(client, UNREAD_LIMIT).await;
        if service == Service::ReceivePack {
            std::future::pending::<()>().await;
        }
    };
    if let Err(error) = running.finish(EXCHANGE_LIMIT, stop).await {
        log(&error);
    }
    drop(turn);
    let _nobody_asked = end.send(());
}

/// Whom the exchange waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Git,
    Client,
}

/// Resolves once the client is gone, or has left unread for too long what it was sent.
async fn left(mut side: watch::Receiver<Side>, unread: Duration) {
    loop {
        let at = *side.borrow_and_update();
        let goes_on = match at {
            Side::Git => side.changed().await.is_ok(),
            Side::Client => matches!(tokio::time::timeout(unread, side.changed()).await, Ok(Ok(()))),
        };
        if !goes_on {
            return;
        }
    }
}

/// Git's words to the client; dropped when the client has them all or is gone.
struct Answer {
    stdout: tokio::process::ChildStdout,
    side: watch::Sender<Side>,
}

impl AsyncRead for Answer {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        buf: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        let read = std::pin::Pin::new(&mut self.stdout).poll_read(cx, buf);
        self.side.send_replace(if read.is_ready() { Side::Client } else { Side::Git });
        read
    }
}

impl Service {
    const fn as_str(self) -> &'static str {
        match self {
            Self::UploadPack => "upload-pack",
            Self::ReceivePack => "receive-pack",
        }
    }

    const fn bytes_max(self) -> u64 {
        match self {
            Self::UploadPack => FETCH_BYTES_MAX,
            Self::ReceivePack => RECEIVE_BYTES_MAX,
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::UploadPack, Self::ReceivePack]
            .into_iter()
            .find(|service| text.strip_prefix("git-") == Some(service.as_str()))
    }
}

fn route(method: &str, path: &str, query: &str) -> Option<Route> {
    match (method, path) {
        ("GET", "/info/refs") => {
            let service = query.split('&').find_map(|pair| pair.strip_prefix("service="))?;
            Service::parse(service).map(Route::Advertise)
        }
        ("POST", path) => Service::parse(path.strip_prefix('/')?).map(Route::Exchange),
        _ => None,
    }
}

/// What the client has to say to Git, or why it cannot be read; nothing where it only asks for the branches.
///
/// The words of a fetch are few, and are there before it takes a turn; a push is passed on as it comes.
async fn said(route: Route, request: SmartRequest, limit: Duration) -> Result<Option<Body>, SmartResponse> {
    let Route::Exchange(service) = route else { return Ok(None) };
    let body = decoded(service, request)?;
    if service == Service::ReceivePack {
        return Ok(Some(body));
    }
    let mut words = Vec::new();
    let mut body = body.take(FETCH_BYTES_MAX + 1);
    match tokio::time::timeout(limit, body.read_to_end(&mut words)).await {
        Ok(Ok(_)) if words.len() as u64 <= FETCH_BYTES_MAX => Ok(Some(Box::new(std::io::Cursor::new(words)))),
        Ok(Ok(_)) => Err(refused(413, "The request is larger than a fetch needs.")),
        Ok(Err(_)) => Err(refused(400, "The request broke off or cannot be unpacked.")),
        Err(_) => Err(refused(408, "The request did not arrive in time; try again.")),
    }
}

/// The request's body as Git shall read it, or why it cannot be read.
fn decoded(service: Service, request: SmartRequest) -> Result<Body, SmartResponse> {
    let expected = format!("application/x-git-{}-request", service.as_str());
    if request.content_type.as_deref() != Some(expected.as_str()) {
        return Err(refused(415, "This is Git's own protocol; use `git fetch` or `git push`."));
    }
    match request.content_encoding.as_deref() {
        None | Some("" | "identity") => Ok(request.body),
        Some("gzip" | "x-gzip") => Ok(Box::new(GzipDecoder::new(BufReader::new(request.body)))),
        Some(_) => Err(refused(415, "The body is compressed in a way that is not supported; gzip is.")),
    }
}

fn is_protocol(text: &str) -> bool {
    (1..=PROTOCOL_BYTES_MAX).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"=:._-".contains(&b))
}

fn headers(content_type: String) -> Vec<(&'static str, String)> {
    vec![
        ("content-type", content_type),
        ("cache-control", "no-cache, max-age=0, must-revalidate".to_owned()),
        ("x-content-type-options", "nosniff".to_owned()),
    ]
}

fn refused(status: u16, sentence: &'static str) -> SmartResponse {
    let headers = headers("text/plain; charset=utf-8".to_owned());
    SmartResponse { status, headers, body: Box::new(sentence.as_bytes()), ended: ended_already() }
}

/// A receiver that resolves at once, because its sender is gone.
fn ended_already() -> oneshot::Receiver<()> {
    oneshot::channel().1
}

fn log(error: &CommandError) {
    let stderr = match error {
        CommandError::Failed { stderr, .. } => stderr.trim(),
        _ => "",
    };
    tracing::warn!(
        error = error as &dyn std::error::Error,
        stderr,
        "Git ended with an error while it served the repository"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Short, and long enough to tell from at once.
    const LIMIT: Duration = Duration::from_millis(20);

    #[tokio::test]
    async fn a_client_that_falls_silent_ends_gits_input() {
        let (mut client, body) = tokio::io::duplex(16);
        let (input, mut git) = tokio::io::duplex(16);
        client.write_all(b"0042").await.unwrap();
        feed(Box::new(body), input, 100, LIMIT).await;
        let mut read = Vec::new();
        git.read_to_end(&mut read).await.unwrap();
        assert_eq!(read, b"0042");
    }

    #[tokio::test]
    async fn a_fetch_that_never_says_what_it_wants_is_told_so() {
        let (_silent, body) = tokio::io::duplex(16);
        let request = SmartRequest {
            method: "POST".into(),
            path: "/git-upload-pack".into(),
            query: String::new(),
            content_type: Some("application/x-git-upload-pack-request".into()),
            content_encoding: None,
            git_protocol: None,
            body: Box::new(body),
        };
        let answer = said(Route::Exchange(Service::UploadPack), request, LIMIT).await;
        assert_eq!(answer.err().map(|refusal| refusal.status), Some(408));
    }

    #[tokio::test]
    async fn a_client_that_reads_no_more_has_left_and_one_that_waits_for_git_has_not() {
        let (side, client) = watch::channel(Side::Git);
        let left = tokio::spawn(left(client, LIMIT));
        assert!(
            tokio::time::timeout(LIMIT * 4, async {
                while !left.is_finished() {
                    tokio::task::yield_now().await
                }
            })
            .await
            .is_err()
        );
        side.send_replace(Side::Client);
        left.await.unwrap();
    }
}
