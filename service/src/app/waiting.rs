//! What a start needs and does not have yet is waited for: a database server, a remote that has to be cloned. Whoever asks meanwhile is told so, and
//! whoever watches over the service sees that it lives and is not ready.

use std::os::fd::AsFd as _;
use std::pin::pin;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{StartError, server};
use crate::clock::Clock;
use crate::web;
use crate::worker::{self, Handle, OpenError, Worker};

/// The first and the longest pause between two tries: a server that restarts is back in seconds, and one that is away for an hour is asked
/// some 700 times in it.
const PAUSE: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

/// How long a start says nothing: most are done in much less, and a remote that takes a connection and never answers is given up after a minute.
const SILENT_MAX: Duration = Duration::from_secs(2);

/// How long what is answered meanwhile may take to end.
const DRAIN: Duration = Duration::from_secs(1);

/// What is said of a start that is silent.
const SLOW: &str = "has not answered yet";

/// Opens the worker, however long what it needs is away.
///
/// # Errors
/// It cannot be opened for another reason.
pub(super) async fn open(
    settings: worker::Settings,
    clock: Clock,
    doors: &[&TcpListener],
) -> Result<(Handle, Worker), StartError> {
    let mut waiting = Waiting::new(doors);
    let mut pause = PAUSE.0;
    let opened = loop {
        let mut opening = pin!(worker::open(settings.clone(), clock.clone()));
        let opened = match tokio::time::timeout(SILENT_MAX, &mut opening).await {
            Ok(opened) => opened,
            Err(_) => {
                waiting.is_slow(&settings)?;
                opening.await
            }
        };
        match opened {
            Err(error) if let Some(what) = error.waits_for() => waiting.waits_for(what, &error)?,
            opened => break opened,
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE.1);
    };
    waiting.end().await;
    Ok(opened?)
}

/// What is answered at the doors until the service is there.
struct Waiting<'d> {
    doors: &'d [&'d TcpListener],
    says: watch::Sender<String>,
    answering: JoinSet<()>,
    stop: CancellationToken,
}

impl<'d> Waiting<'d> {
    fn new(doors: &'d [&'d TcpListener]) -> Self {
        let (says, stop) = (watch::Sender::default(), CancellationToken::new());
        Self { doors, says, answering: JoinSet::new(), stop }
    }

    /// Says that the start goes on, and has been silent for long; whatever was said before stands.
    fn is_slow(&mut self, settings: &worker::Settings) -> Result<(), StartError> {
        if !self.says.borrow().is_empty() {
            return Ok(());
        }
        let (what, address) = match &settings.remote {
            Some(remote) => ("the remote of its repository", format!(" `{}`", remote.remote.endpoint)),
            None => ("the database", String::new()),
        };
        tracing::warn!("The start waits for {what}{address}, which {SLOW}");
        self.answer(format!("the service starts, and waits for {what}, which {SLOW}"))
    }

    fn waits_for(&mut self, what: &str, error: &OpenError) -> Result<(), StartError> {
        let sentence = format!("the service starts, and waits for {what}: {}", error.for_callers());
        if *self.says.borrow() != sentence {
            let cure = error.cure().map(|cure| format!("; {cure}")).unwrap_or_default();
            tracing::warn!(error = error as &dyn std::error::Error, "The start waits for {what}: {error}{cure}");
        }
        self.answer(sentence)
    }

    /// Has this answered from now on, whatever is asked.
    fn answer(&mut self, sentence: String) -> Result<(), StartError> {
        self.says.send_replace(sentence);
        if !self.answering.is_empty() {
            return Ok(());
        }
        for door in self.doors {
            let door = another(door).map_err(|error| StartError::new(format!("cannot listen: {}", error.kind())))?;
            let router = web::waiting_router(self.says.subscribe());
            self.answering.spawn(server::serve(door, router, self.stop.clone(), DRAIN));
        }
        Ok(())
    }

    async fn end(mut self) {
        self.stop.cancel();
        while self.answering.join_next().await.is_some() {}
    }
}

/// The same door once more: who comes to it is taken in by either.
fn another(door: &TcpListener) -> std::io::Result<TcpListener> {
    TcpListener::from_std(std::net::TcpListener::from(door.as_fd().try_clone_to_owned()?))
}
