//! A push over the pipes of a program: `ssh` to another machine, or `git receive-pack` on a path of this one.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{ChildStdin, ChildStdout};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::advertisement::{Advertisement, AdvertisementReader};
use super::endpoint::SshPlace;
use super::error::RemoteError;
use super::report::{Report, ReportReader};
use super::request::Request;
use super::words::harmless;
use super::{Garbage, Pushed, failure, outcome, ssh};
use crate::command::{Call, CommandError, Git, Running, Ssh};

/// As much as a pipe of Linux holds.
const PIECE_BYTES: usize = 64 << 10;

/// Which program has the other end.
#[derive(Debug)]
pub(super) enum Pipe {
    Ssh { program: Ssh, place: SshPlace, options: Vec<String> },
    Local(PathBuf),
}

/// What a push needs besides its request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Setting<'s> {
    pub(super) git: &'s Git,
    pub(super) directory: &'s Path,
    pub(super) address: &'s str,
    pub(super) limit: Duration,
}

/// A program on the other end of its pipes, seen to its end by a task of its own.
struct Session {
    stdin: ChildStdin,
    stdout: ChildStdout,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<Result<(), CommandError>>,
}

/// Why there is no report.
enum Trouble {
    /// The other side ended; its program may have said why.
    Ended,
    Garbage(Garbage),
}

/// How far an exchange came.
enum Exchanged {
    Reported(Report),
    /// The branch is elsewhere already, so nothing was sent.
    Elsewhere(Advertisement),
    /// With what was said to people before it broke off.
    Failed(Trouble, String),
}

impl Pipe {
    /// Pushes through a program that is started for it.
    pub(super) async fn push(&self, request: &Request<'_>, setting: &Setting<'_>) -> Pushed {
        let address = setting.address;
        let mut session = match self.start(setting) {
            Ok(session) => session,
            Err(error) => return Pushed::before(error),
        };
        let mut was_sent = false;
        let exchange = exchange(&mut session, request, &mut was_sent);
        let Ok(exchanged) = tokio::time::timeout(setting.limit, exchange).await else {
            session.end().await;
            let error = RemoteError::TimedOut { address: address.to_owned(), limit: setting.limit };
            return if was_sent { Pushed::Unknown(error) } else { Pushed::Transient(error) };
        };
        match exchanged {
            Exchanged::Reported(report) => {
                session.leave();
                outcome::of(report, address)
            }
            Exchanged::Elsewhere(advertisement) => {
                session.take_leave().await;
                Pushed::Moved { words: elsewhere(&advertisement) }
            }
            Exchanged::Failed(trouble, words) => {
                let error = match trouble {
                    Trouble::Ended => session.last_words(setting, &words, was_sent).await,
                    Trouble::Garbage(garbage) => {
                        session.end().await;
                        garbage.into_error(address)
                    }
                };
                if was_sent { Pushed::Unknown(error) } else { Pushed::before(error) }
            }
        }
    }

    /// What the other side advertises; it is asked for nothing more.
    pub(super) async fn ask(&self, reference: &str, setting: Setting<'_>) -> Result<Advertisement, RemoteError> {
        let mut session = self.start(&setting)?;
        match read_advertisement(&mut session.stdout, reference).await {
            Ok(advertisement) => {
                session.take_leave().await;
                Ok(advertisement)
            }
            Err(Trouble::Ended) => Err(session.last_words(&setting, "", false).await),
            Err(Trouble::Garbage(garbage)) => {
                session.end().await;
                Err(garbage.into_error(setting.address))
            }
        }
    }

    fn start(&self, setting: &Setting<'_>) -> Result<Session, RemoteError> {
        let (running, stdin, stdout) = match self {
            Self::Ssh { program, place, options } => {
                program.start(setting.directory, &ssh::receive_pack(place, options.clone()))?
            }
            Self::Local(path) => {
                let path = path.to_string_lossy();
                let arguments = ["receive-pack", &path];
                let repository = setting.directory;
                let call =
                    Call { what: "receive-pack", repository, arguments: &arguments, settings: &[], protocol: None };
                setting.git.start(&call)?
            }
        };
        let (stop, stopped) = oneshot::channel();
        // A little longer than the exchange, so that the one who waits for both hears of the exchange first.
        let ended = tokio::spawn(see_to_its_end(running, setting.limit * 2, stopped));
        Ok(Session { stdin, stdout, stop, ended })
    }
}

async fn see_to_its_end(running: Running, limit: Duration, stopped: oneshot::Receiver<()>) -> Result<(), CommandError> {
    let stop = async {
        if stopped.await.is_err() {
            // Whoever could stop it left it to itself.
            std::future::pending::<()>().await;
        }
    };
    running.finish(limit, stop).await
}

async fn exchange(session: &mut Session, request: &Request<'_>, was_sent: &mut bool) -> Exchanged {
    let advertisement = match read_advertisement(&mut session.stdout, request.reference).await {
        Ok(advertisement) => advertisement,
        Err(trouble) => return Exchanged::Failed(trouble, String::new()),
    };
    if advertisement.tip.as_ref() != request.old {
        return Exchanged::Elsewhere(advertisement);
    }
    *was_sent = true;
    let bytes = request.encode(&advertisement.capabilities);
    let Session { stdin, stdout, .. } = session;
    // Both at once: a side that refuses speaks before it has read all. What it does not take shows in its report.
    let send = async {
        let _sent = stdin.write_all(&bytes).await;
        let _flushed = stdin.flush().await;
    };
    let mut reader = ReportReader::new(request.reference);
    let reported = {
        let read = read_report(stdout, &mut reader);
        tokio::pin!(read);
        tokio::select! {
            reported = &mut read => reported,
            () = send => read.await,
        }
    };
    match reported {
        Ok(report) => Exchanged::Reported(report),
        Err(trouble) => Exchanged::Failed(trouble, reader.words()),
    }
}

async fn read_report(stdout: &mut ChildStdout, reader: &mut ReportReader<'_>) -> Result<Report, Trouble> {
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        match stdout.read(&mut piece).await {
            Ok(0) | Err(_) => return Err(Trouble::Ended),
            Ok(length) => {
                if let Some(report) = reader.feed(&piece[..length]).map_err(Trouble::Garbage)? {
                    return Ok(report);
                }
            }
        }
    }
}

async fn read_advertisement(stdout: &mut ChildStdout, reference: &str) -> Result<Advertisement, Trouble> {
    let mut reader = AdvertisementReader::new(reference);
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        match stdout.read(&mut piece).await {
            Ok(0) | Err(_) => return Err(Trouble::Ended),
            Ok(length) => {
                if let Some(advertisement) = reader.feed(&piece[..length]).map_err(Trouble::Garbage)? {
                    return Ok(advertisement);
                }
            }
        }
    }
}

impl Session {
    /// Lets the other side do the rest by itself (hooks after the report, its own cleaning), and keeps nobody waiting for it.
    fn leave(self) {
        let Self { stdin, mut stdout, .. } = self;
        drop(stdin);
        tokio::spawn(async move {
            let _read = tokio::io::copy(&mut stdout, &mut tokio::io::sink()).await;
        });
    }

    /// Lets the program end by itself without a command: there is nothing to do, which is how a client takes its leave.
    async fn take_leave(mut self) {
        let _left = self.stdin.write_all(super::pkt::FLUSH).await;
        self.leave();
    }

    /// Ends the program.
    async fn end(self) {
        let Self { stop, ended, .. } = self;
        let _stopped = stop.send(());
        let _ended = ended.await;
    }

    /// What the program that ended has said about it.
    async fn last_words(self, setting: &Setting<'_>, words: &str, was_sent: bool) -> RemoteError {
        let Self { stdin, stdout, ended, stop } = self;
        drop((stdin, stdout));
        let address = setting.address.to_owned();
        let result = ended.await;
        drop(stop);
        match result {
            Ok(Err(error)) if !was_sent => failure::of(error, setting.address, setting.limit),
            ended => {
                let said = match ended {
                    Ok(Err(CommandError::Failed { stderr, .. })) => harmless(&stderr),
                    _ => String::new(),
                };
                let words: Vec<&str> = [words, &said].into_iter().filter(|words| !words.is_empty()).collect();
                let words = if words.is_empty() { String::new() } else { format!(": {}", words.join("; ")) };
                RemoteError::Broken { address, words }
            }
        }
    }
}

/// Where the branch is instead.
pub(super) fn elsewhere(advertisement: &Advertisement) -> String {
    advertisement
        .tip
        .as_ref()
        .map_or_else(|| "the branch is not there".to_owned(), |tip| format!("the branch is at {tip}"))
}
