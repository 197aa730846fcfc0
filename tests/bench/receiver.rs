//! The receiver at 32 connections: a durable 202 of ours against one of FastAPI that stores nothing.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use tests::{Delivery, Request, Server, Signing, TestEnvironment};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::Bench;
use crate::commits::{drained, service};
use crate::machine::{median, processor_seconds, range, resident_mib_max};
use crate::report::Report;

/// As many as MLflow's servers may have deliveries in flight: three of them with ten threads each.
const CONNECTIONS: usize = 32;

/// The contender as a process; killed when it is dropped.
struct Contender {
    child: Child,
    address: SocketAddr,
}

impl Contender {
    fn start(bench: &Bench, secret_file: &std::path::Path) -> Self {
        let program = tests::environment::repository_root().join("tests/bench/fastapi_receiver.py");
        let mut child = Command::new(&bench.python)
            .arg(program)
            .arg(secret_file)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the contender");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("its output");
        BufReader::new(stdout).read_line(&mut line).expect("its port");
        let address = SocketAddr::from(([127, 0, 0, 1], line.trim().parse().expect("a port")));
        Self { child, address }
    }
}

impl Drop for Contender {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

pub fn measure(bench: &Bench, report: &mut Report) {
    let environment = TestEnvironment::below(&bench.folder);
    let server = service(&environment);
    let contender = Contender::start(bench, &environment.data_dir().join("secrets/mlflow"));
    // The first requests of both pay for what is made once.
    round(&server, contender.address, "warm", 64);
    let (mut ours, mut theirs, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    let (mut our_cpu, mut their_cpu) = (0.0, 0.0);
    for number in 0..bench.sizes.rounds {
        let before = (processor_seconds(server.pid()), processor_seconds(contender.child.id()));
        let (our_rate, their_rate) = round(&server, contender.address, &format!("r{number}"), bench.sizes.deliveries);
        our_cpu += processor_seconds(server.pid()) - before.0;
        their_cpu += processor_seconds(contender.child.id()) - before.1;
        ratios.push(our_rate / their_rate);
        ours.push(our_rate);
        theirs.push(their_rate);
    }
    let what =
        format!("durable 202 at {CONNECTIONS} connections, against FastAPI that stores nothing {}", range(&ratios));
    report.at_least(&what, median(&ratios), 1.5, "x");
    report.beside("ours, and theirs", format!("{:.0}/s, {:.0}/s", median(&ours), median(&theirs)));
    let requests = (bench.sizes.rounds * bench.sizes.deliveries) as f64;
    let micro = |seconds: f64| seconds * 1_000_000.0 / requests;
    report.beside(
        "processor time per request, ours (with carrying it out) and theirs",
        format!("{:.0} µs, {:.0} µs", micro(our_cpu), micro(their_cpu)),
    );
    report.at_most("resident memory under this load", resident_mib_max(server.pid()), 64.0, " MiB");
}

/// The same deliveries to both, one after the other, with nothing left over in between.
fn round(server: &Server<'_>, contender: SocketAddr, name: &str, deliveries: usize) -> (f64, f64) {
    let secret = server.secret(Signing::Mlflow);
    let tag =
        |number: usize| Delivery::tag(&format!("{name}-{number}"), "fraud", "7", "note", &format!("run {number}"));
    let signed: Vec<Request> = (0..deliveries).map(|number| tag(number).sign(&secret)).collect();
    let ours = post_all(server.address(), &signed, 202);
    drained(server);
    let theirs = post_all(contender, &signed, 202);
    (ours, theirs)
}

/// Posts all requests over 32 connections and returns how many were answered per second; each answer must have this status.
pub fn post_all(address: SocketAddr, requests: &[Request], status: u16) -> f64 {
    let host = address.to_string();
    let bytes: Vec<Vec<u8>> = requests.iter().map(|request| request.to_bytes(&host, true)).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().expect("a runtime");
    runtime.block_on(async {
        let began = Instant::now();
        let lanes = (0..CONNECTIONS).map(|lane| lane_of(address, bytes.iter().skip(lane).step_by(CONNECTIONS), status));
        futures_util::future::join_all(lanes).await;
        requests.len() as f64 / began.elapsed().as_secs_f64()
    })
}

/// One connection: a request, its answer, the next.
async fn lane_of(address: SocketAddr, requests: impl Iterator<Item = &Vec<u8>>, status: u16) {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    stream.set_nodelay(true).expect("a socket option");
    let mut buffer = Vec::with_capacity(4096);
    for request in requests {
        stream.write_all(request).await.expect("a request");
        buffer.clear();
        while !is_whole(&buffer) {
            let read = stream.read_buf(&mut buffer).await.expect("an answer");
            assert_ne!(read, 0, "the connection was closed: {}", String::from_utf8_lossy(&buffer));
        }
        let text = String::from_utf8_lossy(&buffer);
        let found = text.split(' ').nth(1).and_then(|word| word.parse::<u16>().ok());
        assert_eq!(found, Some(status), "{text}");
    }
}

/// Whether head and body of an answer have arrived; both contenders send `Content-Length`.
fn is_whole(buffer: &[u8]) -> bool {
    let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") else { return false };
    let head = String::from_utf8_lossy(&buffer[..end]).to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
    buffer.len() >= end + 4 + length.unwrap_or_default()
}
