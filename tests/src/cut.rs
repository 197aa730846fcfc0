//! A line to a server that can be cut: whatever passes through it ends, and nothing gets through until it is mended. Or it is silent: nobody is told
//! that it ended, whoever calls is taken, and nobody hears anything.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// A line on a free port of the loopback, with threads of its own; it ends with the process.
pub struct Line {
    address: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    is_cut: AtomicBool,
    is_silent: AtomicBool,
    /// Both ends of every connection so far.
    ends: Mutex<Vec<TcpStream>>,
}

impl Line {
    /// Begins to pass on.
    ///
    /// # Panics
    /// When there is no free port.
    pub fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::<State>::default();
        let of_line = Arc::clone(&state);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if let Ok(server) = TcpStream::connect(server) {
                    of_line.pass(client, server);
                }
            }
        });
        Self { address, state }
    }

    /// Where it is entered.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends every connection, and those that come.
    ///
    /// # Panics
    /// Never, unless a thread of the line did.
    pub fn cut(&self) {
        let ends = self.state.ends.lock().expect("the ends");
        self.state.is_cut.store(true, Ordering::SeqCst);
        // One that has ended by itself cannot be ended.
        ends.iter().for_each(|end| drop(end.shutdown(Shutdown::Both)));
    }

    /// Takes every connection that comes, and passes nothing on; those that are there stay open and say nothing more.
    pub fn silence(&self) {
        self.state.is_silent.store(true, Ordering::SeqCst);
    }

    /// Lets new connections through, and ends those that were taken in silence.
    pub fn mend(&self) {
        if self.state.is_silent.swap(false, Ordering::SeqCst) {
            self.cut();
        }
        self.state.is_cut.store(false, Ordering::SeqCst);
    }
}

impl State {
    /// Passes one connection on, in two threads.
    fn pass(self: &Arc<Self>, client: TcpStream, server: TcpStream) {
        let mut ends = self.ends.lock().expect("the ends");
        if self.is_cut.load(Ordering::SeqCst) {
            return;
        }
        let copy = |end: &TcpStream| end.try_clone().expect("a second handle");
        if self.is_silent.load(Ordering::SeqCst) {
            ends.push(client);
            return;
        }
        ends.extend([copy(&client), copy(&server)]);
        for (from, mut to) in [(copy(&client), copy(&server)), (server, client)] {
            let state = Arc::clone(self);
            std::thread::spawn(move || {
                // However it ends, the other side is told.
                let _ = state.carry(from, &mut to);
                let _ = to.shutdown(Shutdown::Write);
            });
        }
    }

    /// Passes on what comes until there is no more; what comes in silence is lost.
    fn carry(&self, mut from: TcpStream, to: &mut TcpStream) -> std::io::Result<()> {
        let mut buffer = [0; 16 << 10];
        loop {
            let length = from.read(&mut buffer)?;
            if length == 0 {
                return Ok(());
            }
            if !self.is_silent.load(Ordering::SeqCst) {
                to.write_all(&buffer[..length])?;
            }
        }
    }
}
