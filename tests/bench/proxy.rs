//! MLflow through the service against MLflow itself: artifacts, small calls, memory. Then the same with a sender that costs nothing.

use std::io::{BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Instant;

use tests::http::read_head;
use tests::mlflow::MlflowServer;
use tests::{Connection, Request, Response, Server, TestEnvironment};

use crate::Bench;
use crate::machine::{median, ms, processor_seconds, range, resident_mib_max};
use crate::registry::asking;
use crate::report::Report;

const MIB: usize = 1024 * 1024;

/// What is read and written at once.
const PIECE: usize = 256 * 1024;

/// Small calls of one contender in a round; they take turns call by call.
const CALLS: usize = 40;

/// Where the service has MLflow.
const MOUNT: &str = "/mlflow";

const ARTIFACT: &str = "/api/2.0/mlflow-artifacts/artifacts/0/bench/artifact";
const CALL: &str = "/api/2.0/mlflow/registered-models/get?name=fraud";

pub fn measure(bench: &Bench, report: &mut Report) {
    let mlflow = MlflowServer::builder().below(&bench.folder).start();
    mlflow.create_model("fraud");
    let environment = TestEnvironment::below(&bench.folder);
    let server = asking(&environment, &mlflow.url()).start();
    let both = Both { direct: mlflow.address(), through: server.address() };
    let added = both.added(bench.sizes.rounds, CALL);
    let what = format!("added to a call of MLflow's API by the proxy, p50 {}", range(&added.by_round));
    report.at_most(&what, added.through - added.direct, 2.0, " ms");
    report.beside("the same call, direct and through", added.told());
    artifacts(bench, report, &both, &server);
    drop(server);
    drop(mlflow);
    ceiling(bench, report);
}

/// The artifacts of a real MLflow, whose Python is half of the work.
fn artifacts(bench: &Bench, report: &mut Report, both: &Both, server: &Server<'_>) {
    let size = bench.sizes.artifact_mib * MIB;
    let (before, used) = (resident_mib_max(server.pid()), processor_seconds(server.pid()));
    let (mut ups, mut downs) = (vec![both.turn(0, size, upload)], vec![both.turn(0, size, download)]);
    let after_the_first = resident_mib_max(server.pid());
    for round in 1..bench.sizes.artifacts {
        ups.push(both.turn(round, size, upload));
        downs.push(both.turn(round, size, download));
    }
    let mib = bench.sizes.artifact_mib;
    for (what, rates) in [("download", &downs), ("upload", &ups)] {
        let ratios = ratios(rates);
        let what = format!("{what} of {mib} MiB from MLflow through the proxy, against direct {}", range(&ratios));
        report.at_least(&what, median(&ratios), 0.8, "x");
    }
    report.beside("download direct and through, upload direct and through", told(&downs, &ups));
    let gib = (2 * bench.sizes.artifacts * size) as f64 / (1024 * MIB) as f64;
    let per_gib = format!("{:.2} s", (processor_seconds(server.pid()) - used) / gib);
    report.beside("processor time of the service per GiB that it passes on", per_gib);
    let most = resident_mib_max(server.pid());
    report.at_most("resident memory of the service while it streams, at most", most, 64.0, " MiB");
    // Not by a page more would be the allocator's business; by an artifact would be thousands.
    report.at_most("the same, grown since the first artifact", most - after_the_first, 4.0, " MiB");
    report.beside("the same before it streamed", format!("{before:.1} MiB"));
}

/// The proxy's own limit: the other side sends and takes bytes as fast as the machine can.
fn ceiling(bench: &Bench, report: &mut Report) {
    let size = bench.sizes.artifact_mib * MIB;
    let upstream = raw_upstream(size);
    let environment = TestEnvironment::below(&bench.folder);
    let server = asking(&environment, &format!("http://{upstream}")).start();
    let both = Both { direct: upstream, through: server.address() };
    let (mut ups, mut downs) = (Vec::new(), Vec::new());
    for round in 0..bench.sizes.artifacts {
        downs.push(both.turn(round, size, download));
        ups.push(both.turn(round, size, upload));
    }
    let ratio = |rates: &[Rates]| format!("{:.2}x {}", median(&ratios(rates)), range(&ratios(rates)));
    let raw = format!("{}, {}", ratio(&downs), ratio(&ups));
    report.beside("download and upload with a raw sender instead of MLflow, against direct", raw);
    report.beside("the same in bytes: download direct and through, upload direct and through", told(&downs, &ups));
    let added = both.added(bench.sizes.rounds, "/small");
    let what = format!("added to a call that is answered at once, p50 {}", range(&added.by_round));
    report.beside(&what, format!("{:.3} ms; {}", added.through - added.direct, added.told()));
}

/// The two ways to a tracking server.
struct Both {
    direct: SocketAddr,
    through: SocketAddr,
}

/// Bytes per second directly and through the service.
type Rates = [f64; 2];

/// Times of small calls in milliseconds.
struct Added {
    direct: f64,
    through: f64,
    by_round: Vec<f64>,
}

impl Added {
    fn told(&self) -> String {
        format!("{:.2} ms, {:.2} ms", self.direct, self.through)
    }
}

impl Both {
    /// One artifact each way. What an upload leaves to be written is met by the next transfer, so the ways change places from round to round.
    fn turn(&self, round: usize, size: usize, transfer: fn(SocketAddr, &str, usize)) -> Rates {
        let through = format!("{MOUNT}{ARTIFACT}");
        let ways = [(self.direct, ARTIFACT), (self.through, through.as_str())];
        let order = if round.is_multiple_of(2) { [0, 1] } else { [1, 0] };
        let mut rates = [0.0; 2];
        for way in order {
            let (address, path) = ways[way];
            let began = Instant::now();
            transfer(address, path, size);
            rates[way] = size as f64 / began.elapsed().as_secs_f64();
        }
        rates
    }

    /// Small calls both ways.
    fn added(&self, rounds: usize, path: &str) -> Added {
        let requests = [Request::new("GET", path), Request::new("GET", &format!("{MOUNT}{path}"))];
        let (mut direct, mut through, mut by_round) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..rounds {
            let mut connections = [self.direct, self.through].map(Connection::open);
            let mut pair = |turn: usize| {
                let mut took = [0.0; 2];
                // In turns, which one comes first: the second finds a server that was just at work.
                for which in [turn % 2, (turn + 1) % 2] {
                    took[which] = ask(&mut connections[which], &requests[which]);
                }
                took
            };
            // The first ones pay for the connections.
            pair(0);
            let (some_direct, some_through): (Vec<f64>, Vec<f64>) = (0..CALLS).map(|turn| pair(turn).into()).unzip();
            by_round.push(median(&some_through) - median(&some_direct));
            direct.extend(some_direct);
            through.extend(some_through);
        }
        Added { direct: median(&direct), through: median(&through), by_round }
    }
}

fn ask(connection: &mut Connection, request: &Request) -> f64 {
    let began = Instant::now();
    let answer = connection.send(request);
    let took = ms(began.elapsed());
    drop(answer.expect(200));
    took
}

fn ratios(rates: &[Rates]) -> Vec<f64> {
    rates.iter().map(|[direct, through]| through / direct).collect()
}

fn told(downs: &[Rates], ups: &[Rates]) -> String {
    let of = |rates: &[Rates], which: usize| {
        median(&rates.iter().map(|rates| rates[which]).collect::<Vec<f64>>()) / MIB as f64
    };
    let [a, b, c, d] = [of(downs, 0), of(downs, 1), of(ups, 0), of(ups, 1)];
    format!("{a:.0} MiB/s, {b:.0} MiB/s; {c:.0} MiB/s, {d:.0} MiB/s")
}

fn download(address: SocketAddr, path: &str, size: usize) {
    let mut stream = TcpStream::connect(address).expect("a connection");
    let request = Request::new("GET", path);
    stream.write_all(&request.to_bytes(&address.to_string(), false)).expect("a request");
    let mut reader = BufReader::with_capacity(PIECE, stream);
    let (status, headers) = read_head(&mut reader).expect("an answer");
    assert_eq!(status, 200, "{headers:?}");
    let length = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    assert_eq!(length.map(|(_, value)| value.as_str()), Some(size.to_string().as_str()), "{headers:?}");
    take(&mut reader, size).expect("the artifact");
}

fn upload(address: SocketAddr, path: &str, size: usize) {
    let mut stream = TcpStream::connect(address).expect("a connection");
    let request = Request::new("PUT", path).header("Content-Type", "application/octet-stream").announce(size);
    stream.write_all(&request.to_bytes(&address.to_string(), false)).expect("a request");
    give(&mut stream, size).expect("the artifact");
    let answer = Response::read(&mut BufReader::new(stream), false).expect("an answer");
    drop(answer.expect(200));
}

fn give(stream: &mut TcpStream, size: usize) -> std::io::Result<()> {
    let piece = vec![7; PIECE];
    let mut left = size;
    while left > 0 {
        let now = left.min(PIECE);
        stream.write_all(&piece[..now])?;
        left -= now;
    }
    Ok(())
}

fn take(reader: &mut BufReader<TcpStream>, size: usize) -> std::io::Result<()> {
    let mut piece = vec![0; PIECE];
    let mut left = size;
    while left > 0 {
        let read = reader.read(&mut piece[..left.min(PIECE)])?;
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        left -= read;
    }
    Ok(())
}

/// A server that gives and takes artifacts of this size, and answers `{}` at once to whatever else; it ends with the process.
fn raw_upstream(size: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // It ends when the other side closes the connection.
            std::thread::spawn(move || drop(serve(stream, size)));
        }
    });
    address
}

fn serve(stream: TcpStream, size: usize) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut writer = stream.try_clone()?;
    let mut reader = BufReader::with_capacity(PIECE, stream);
    loop {
        let (line, length) = request_head(&mut reader)?;
        take(&mut reader, length)?;
        if line.starts_with("GET") && line.contains("/artifacts/") {
            writer.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n").as_bytes())?;
            give(&mut writer, size)?;
        } else {
            writer.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")?;
        }
    }
}

/// The first line of a request, and the length of its body; nothing here sends in chunks without one.
fn request_head(reader: &mut BufReader<TcpStream>) -> std::io::Result<(String, usize)> {
    use std::io::BufRead as _;
    let (mut first, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        if line.trim().is_empty() {
            return Ok((first, length));
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or_default();
        }
        if first.is_empty() {
            first = line;
        }
    }
}
