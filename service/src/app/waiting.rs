//! A database server that is away when the service starts is waited for: whoever asks meanwhile is told so, and whoever watches over the service sees
//! that it lives and is not ready.

use std::os::fd::AsFd as _;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{StartError, server};
use crate::clock::Clock;
use crate::web;
use crate::worker::{self, Handle, OpenError, Worker};

/// The first and the longest pause between two tries: a server that restarts is back in seconds, and one that is away for an hour is asked
/// some 700 times in it.
const PAUSE: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

/// How long what is answered meanwhile may take to end.
const DRAIN: Duration = Duration::from_secs(1);

/// Opens the worker, however long the database server is away.
///
/// # Errors
/// It cannot be opened for another reason.
pub(super) async fn open(
    settings: worker::Settings,
    clock: Clock,
    doors: &[&TcpListener],
) -> Result<(Handle, Worker), StartError> {
    let (stop, mut meanwhile, mut pause) = (CancellationToken::new(), JoinSet::new(), PAUSE.0);
    let opened = loop {
        match worker::open(settings.clone(), clock.clone()).await {
            Err(error) if error.is_for_now() => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "The start waits for the database server: {error}"
                );
                if meanwhile.is_empty() {
                    answer(&mut meanwhile, &error, doors, &stop)?;
                }
            }
            opened => break opened,
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE.1);
    };
    stop.cancel();
    while meanwhile.join_next().await.is_some() {}
    Ok(opened?)
}

/// Answers at the doors that the service is not ready.
fn answer(
    meanwhile: &mut JoinSet<()>,
    error: &OpenError,
    doors: &[&TcpListener],
    stop: &CancellationToken,
) -> Result<(), StartError> {
    let sentence = format!("the service starts, and waits for the database server: {error}");
    for door in doors {
        let door = another(door).map_err(|error| StartError::new(format!("cannot listen: {}", error.kind())))?;
        meanwhile.spawn(server::serve(door, web::waiting_router(&sentence), stop.clone(), DRAIN));
    }
    Ok(())
}

/// The same door once more: who comes to it is taken in by either.
fn another(door: &TcpListener) -> std::io::Result<TcpListener> {
    TcpListener::from_std(std::net::TcpListener::from(door.as_fd().try_clone_to_owned()?))
}
