//! A long line: passes bytes on to a server, later by half a round trip each way, and counts the exchanges.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::machine::pause;

/// What is passed on at once, in bytes.
const PIECE: usize = 64 * 1024;

/// A line on a free port of the loopback, with threads of its own; it ends with the process. It is as wide as the loopback.
pub struct Line {
    address: SocketAddr,
    counted: Arc<Counted>,
}

#[derive(Default)]
struct Counted {
    connections: AtomicUsize,
    exchanges: AtomicUsize,
}

/// Bytes on their way, and when they arrive. Nothing left: the sender is done.
type Piece = (Instant, Vec<u8>);

impl Line {
    /// Begins to pass on.
    pub fn to(server: SocketAddr, round_trip: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let counted = Arc::<Counted>::default();
        let counts = Arc::clone(&counted);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                counts.connections.fetch_add(1, Ordering::Relaxed);
                let counts = Arc::clone(&counts);
                std::thread::spawn(move || pass(&stream, server, round_trip, &counts));
            }
        });
        Self { address, counted }
    }

    /// Where it is entered.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections so far, and how often a client spoke after it was silent or had heard the server.
    pub fn counted(&self) -> [usize; 2] {
        let Counted { connections, exchanges } = &*self.counted;
        [connections, exchanges].map(|counter| counter.load(Ordering::Relaxed))
    }
}

/// Passes one connection on, until both sides are done.
fn pass(client: &TcpStream, server: SocketAddr, round_trip: Duration, counted: &Counted) {
    // To connect is an exchange by itself.
    pause(round_trip);
    let Ok(server) = TcpStream::connect(server) else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let heard = AtomicUsize::new(0);
    let last_heard = AtomicUsize::new(usize::MAX);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            one_way(client, &server, round_trip / 2, || {
                let now = heard.load(Ordering::Relaxed);
                if last_heard.swap(now, Ordering::Relaxed) != now {
                    counted.exchanges.fetch_add(1, Ordering::Relaxed);
                }
            })
        });
        one_way(&server, client, round_trip / 2, || {
            heard.fetch_add(1, Ordering::Relaxed);
        });
    });
}

/// Reads from one side and writes to the other when each piece has arrived there.
fn one_way(mut from: &TcpStream, mut to: &TcpStream, takes: Duration, piece_came: impl Fn()) {
    let (send, receive) = mpsc::channel::<Piece>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for (arrives, bytes) in receive {
                pause(arrives.saturating_duration_since(Instant::now()));
                if to.write_all(&bytes).is_err() {
                    break;
                }
            }
            let _ = to.shutdown(Shutdown::Write);
        });
        let mut buffer = vec![0; PIECE];
        while let Ok(read @ 1..) = from.read(&mut buffer) {
            piece_came();
            if send.send((Instant::now() + takes, buffer[..read].to_vec())).is_err() {
                break;
            }
        }
        drop(send);
    });
}
