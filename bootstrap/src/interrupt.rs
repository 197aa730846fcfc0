//! Ends what was started before the program itself is ended by a signal.

use std::io;
use std::process;
use std::thread;

use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::fault::Fault;
use crate::program;

/// What a person, a supervisor and a terminal that is closed send.
const SIGNALS: [(SignalKind, &str); 3] =
    [(SignalKind::hangup(), "SIGHUP"), (SignalKind::interrupt(), "SIGINT"), (SignalKind::terminate(), "SIGTERM")];

/// From now on a signal ends the programs that run, is told, and ends this one with the code that a shell has for it.
pub fn watch(tell: impl FnOnce(&Fault) + Send + 'static) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_io().build()?;
    let within = runtime.enter();
    let ignored = ignored(&std::fs::read_to_string("/proc/self/status").unwrap_or_default());
    let mut signals: Vec<(SignalKind, &str, Signal)> = Vec::new();
    for (kind, name) in SIGNALS {
        // What `nohup` has ignored stays so.
        if ignored >> (kind.as_raw_value() - 1) & 1 == 0 {
            signals.push((kind, name, signal(kind)?));
        }
    }
    drop(within);
    thread::spawn(move || {
        let (kind, name) = runtime.block_on(first(&mut signals));
        let what = match program::end_all().as_slice() {
            [] => format!("it was ended by {name}"),
            ended => format!("it was ended by {name}, and with it `{}`", ended.join("`, `")),
        };
        tell(&Fault::new(what, "run it again: what is done is not done twice"));
        process::exit(128 + kind.as_raw_value());
    });
    Ok(())
}

/// The first signal that comes.
async fn first<'n>(signals: &mut [(SignalKind, &'n str, Signal)]) -> (SignalKind, &'n str) {
    std::future::poll_fn(|context| {
        let came = signals
            .iter_mut()
            .find_map(|(kind, name, signal)| signal.poll_recv(context).is_ready().then_some((*kind, *name)));
        came.map_or(std::task::Poll::Pending, std::task::Poll::Ready)
    })
    .await
}

/// The signals that a process ignores, a bit each, as the kernel says; none where it does not say.
fn ignored(status: &str) -> u64 {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ignored_is_read_from_what_the_kernel_says() {
        assert_eq!(ignored("SigBlk:\t0000000000000002\nSigIgn:\t0000000000001001\n"), 0x1001);
        assert_eq!(ignored(""), 0);
    }
}
