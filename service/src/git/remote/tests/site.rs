//! Servers for the tests: Git's own `http-backend` behind HTTP, with and without TLS, and bytes on a socket.

use std::io::Write as _;
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use axum::serve::Listener;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::*;
use crate::git::tests::git_at;

/// Whom a site with a login lets in, as `Basic` and as `Bearer`.
pub(super) const LOGIN: (&str, &str) = ("ann", "correct horse");
const ACCEPTED: [&str; 2] = ["Basic YW5uOmNvcnJlY3QgaG9yc2U=", "Bearer correct-horse"];

/// What a site answers to everything.
#[derive(Debug, Clone)]
struct Fixed {
    status: u16,
    headers: Vec<(&'static str, String)>,
    text: &'static str,
}

/// A site that serves the repositories of a directory.
#[derive(Debug, Default)]
pub(super) struct Site {
    root: PathBuf,
    /// Whether it wants a login.
    pub(super) is_closed: AtomicBool,
    /// Whether it takes a push only after it was asked for its references.
    pub(super) insists: AtomicBool,
    /// What it answers to everything, where that is set.
    always: Mutex<Option<Fixed>>,
    pub(super) seen: Mutex<Vec<String>>,
    /// What the programs of the machine were called with while a request was answered.
    pub(super) arguments: Mutex<String>,
    pub(super) connections: AtomicUsize,
    was_asked: AtomicBool,
}

impl Site {
    /// Starts it on a free port, and returns it with its address.
    pub(super) async fn start(bench: &Bench) -> (Arc<Self>, String) {
        Self::serve(bench, |listener, site| Counted { listener, site }, "http://127.0.0.1").await
    }

    /// The same with TLS, by a certificate for `localhost`.
    pub(super) async fn start_tls(bench: &Bench, authority: &Authority, days: i64) -> (Arc<Self>, String) {
        Self::start_tls_with(bench, authority.acceptor(days)).await
    }

    /// The same by whatever certificate.
    pub(super) async fn start_tls_with(bench: &Bench, acceptor: TlsAcceptor) -> (Arc<Self>, String) {
        Self::serve(bench, |listener, _| Secured { listener, acceptor }, "https://localhost").await
    }

    async fn serve<L>(bench: &Bench, with: impl FnOnce(TcpListener, Arc<Self>) -> L, base: &str) -> (Arc<Self>, String)
    where
        L: Listener<Addr = SocketAddr>,
    {
        let site = Arc::new(Self { root: bench.directory.path().to_owned(), ..Self::default() });
        bench.remote_git(&["config", "http.receivepack", "true"]);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("{base}:{}/remote.git", listener.local_addr().unwrap().port());
        let app = Router::new().fallback(answer).with_state(Arc::clone(&site));
        let listener = with(listener, Arc::clone(&site));
        tokio::spawn(async move { axum::serve(listener, app).await });
        (site, url)
    }

    /// What was asked for since the last time.
    pub(super) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.seen.lock().unwrap())
    }

    pub(super) fn always(&self, status: u16, headers: &[(&'static str, &str)], text: &'static str) {
        let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        *self.always.lock().unwrap() = Some(Fixed { status, headers, text });
    }
}

async fn answer(State(site): State<Arc<Site>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().unwrap().to_string();
    site.seen.lock().unwrap().push(format!("{} {path}", parts.method));
    let plain = |status: u16, text: &'static str| Response::builder().status(status).body(Body::from(text)).unwrap();
    let body = to_bytes(body, 64 << 20).await.unwrap();
    if let Some(Fixed { status, headers, text }) = site.always.lock().unwrap().clone() {
        let builder =
            headers.into_iter().fold(Response::builder().status(status), |b, (name, value)| b.header(name, value));
        return builder.body(Body::from(text)).unwrap();
    }
    let header =
        |name: &str| parts.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default().to_owned();
    if site.is_closed.load(Ordering::Relaxed) && !ACCEPTED.contains(&header("authorization").as_str()) {
        let mut answer = plain(401, "no");
        answer.headers_mut().insert("www-authenticate", "Basic realm=\"git\"".parse().unwrap());
        return answer;
    }
    let is_asking = parts.method == "GET";
    if site.insists.load(Ordering::Relaxed) && !is_asking && !site.was_asked.swap(false, Ordering::Relaxed) {
        return plain(400, "ask first");
    }
    site.was_asked.store(is_asking, Ordering::Relaxed);
    site.arguments.lock().unwrap().push_str(&running());
    let variables = [
        ("REQUEST_METHOD", parts.method.to_string()),
        ("PATH_INFO", parts.uri.path().to_owned()),
        ("QUERY_STRING", parts.uri.query().unwrap_or_default().to_owned()),
        ("CONTENT_TYPE", header("content-type")),
        ("CONTENT_LENGTH", body.len().to_string()),
        ("HTTP_CONTENT_ENCODING", header("content-encoding")),
        ("GIT_PROTOCOL", header("git-protocol")),
    ];
    let root = site.root.clone();
    let said = tokio::task::spawn_blocking(move || backend(&root, &variables, &body)).await.unwrap();
    parse_answer(&said)
}

/// Runs `git http-backend` as a web server does.
fn backend(root: &Path, variables: &[(&str, String)], body: &[u8]) -> Vec<u8> {
    let mut command = git_at(root);
    command.env("GIT_PROJECT_ROOT", root).env("GIT_HTTP_EXPORT_ALL", "1").env("REMOTE_USER", "ann");
    command.envs(variables.iter().filter(|(_, value)| !value.is_empty()).cloned());
    command.arg("http-backend").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    // A backend that refuses reads no more.
    let _written = child.stdin.take().unwrap().write_all(body);
    child.wait_with_output().unwrap().stdout
}

/// What a program answers through CGI, as HTTP.
fn parse_answer(said: &[u8]) -> Response {
    let end = said.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let head = std::str::from_utf8(&said[..end]).unwrap();
    let mut answer = Response::builder();
    for (name, value) in head.lines().filter_map(|line| line.split_once(": ")) {
        answer = if name == "Status" { answer.status(&value[..3]) } else { answer.header(name, value) };
    }
    answer.body(Body::from(said[end + 4..].to_vec())).unwrap()
}

/// The arguments of everything that runs on this machine, where the system tells them.
fn running() -> String {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let lines = processes.filter_map(|process| fs::read(process.path().join("cmdline")).ok());
    lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " ") + "\n").collect()
}

/// Counts connections.
struct Counted {
    listener: TcpListener,
    site: Arc<Site>,
}

impl Listener for Counted {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        let accepted = Listener::accept(&mut self.listener).await;
        self.site.connections.fetch_add(1, Ordering::Relaxed);
        accepted
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// Speaks TLS, and goes on where a client does not like it.
struct Secured {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl Listener for Secured {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        loop {
            let (stream, address) = Listener::accept(&mut self.listener).await;
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// An authority of a test.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(super) file: PathBuf,
}

impl Authority {
    /// Makes one, and writes its certificate.
    pub(super) fn new(bench: &Bench, name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let file = bench.directory.path().join(name);
        fs::write(&file, params.self_signed(&key).unwrap().pem()).unwrap();
        Self { issuer: Issuer::new(params, key), file }
    }

    /// A certificate for `localhost` that signed itself, and says that it is an authority's or not; and its file.
    pub(super) fn own(bench: &Bench, is_ca: bool) -> (PathBuf, TlsAcceptor) {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, "localhost");
        params.is_ca = if is_ca { IsCa::Ca(BasicConstraints::Unconstrained) } else { IsCa::ExplicitNoCa };
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let file = bench.directory.path().join("own.pem");
        fs::write(&file, certificate.pem()).unwrap();
        (file, accepting(&certificate, &key))
    }

    /// Signs a certificate for `localhost` that ends in so many days.
    fn acceptor(&self, days: i64) -> TlsAcceptor {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, "localhost");
        let date = |days: i64| {
            let date = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date() + jiff::Span::new().days(days);
            rcgen::date_time_ymd(date.year().into(), date.month().try_into().unwrap(), date.day().try_into().unwrap())
        };
        (params.not_before, params.not_after) = (date(-30), date(days));
        let key = KeyPair::generate().unwrap();
        accepting(&params.signed_by(&key, &self.issuer).unwrap(), &key)
    }
}

fn accepting(certificate: &rcgen::Certificate, key: &KeyPair) -> TlsAcceptor {
    let _chosen = rustls::crypto::ring::default_provider().install_default();
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(key.serialize_der());
    let config = rustls::ServerConfig::builder().with_no_client_auth();
    TlsAcceptor::from(Arc::new(config.with_single_cert(vec![certificate.der().clone()], key.into()).unwrap()))
}

/// Answers every connection with these bytes once it has read the head of a request, then closes it; without any it never answers.
/// With `is_endless` the last of them are said again and again.
pub(super) async fn scripted(parts: &[&[u8]], is_endless: bool) -> String {
    let parts: Vec<Vec<u8>> = parts.iter().map(|part| part.to_vec()).collect();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/remote.git", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(speak(stream_head(&mut stream).await, stream, parts.clone(), is_endless));
        }
    });
    url
}

async fn stream_head(stream: &mut TcpStream) -> Vec<u8> {
    let mut head = vec![0; 64 << 10];
    let length = stream.read(&mut head).await.unwrap_or_default();
    head.truncate(length);
    head
}

async fn speak(_head: Vec<u8>, mut stream: TcpStream, parts: Vec<Vec<u8>>, is_endless: bool) {
    let Some(last) = parts.last() else { return std::future::pending().await };
    for part in &parts {
        let _written = stream.write_all(part).await;
    }
    while is_endless && stream.write_all(last).await.is_ok() {}
    // What the client still sends is read, so that closing does not look like a reset before the answer is read.
    let _closed = stream.shutdown().await;
    let _read = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
}
