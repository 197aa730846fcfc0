//! Connections: taken in within a bound, read within a time, and ended in peace.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::StartError;
use crate::web::Peer;

/// The most connections at once; each takes some 100 KB at most, and one more waits in the kernel's queue.
const CONNECTIONS_MAX: usize = 1024;

/// How long a request's line and headers may take to arrive.
const HEADERS_LIMIT: Duration = Duration::from_secs(10);

/// The most bytes of a connection that are held while it is read. Above the bound of the headers, so that too long ones get an answer.
const BUFFER_BYTES_MAX: usize = 64 * 1024;

/// How long to wait after the system could not accept a connection, because it has no descriptor left for example.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Takes an address of our own to listen on.
pub(super) async fn bind(address: SocketAddr) -> Result<TcpListener, StartError> {
    let fails = |error: std::io::Error| StartError::new(format!("cannot listen on {address}: {}", error.kind()));
    TcpListener::bind(address).await.map_err(fails)
}

/// Serves a router until `stop`, then lets the requests under way end for at most `drain`.
pub(super) async fn serve(listener: TcpListener, router: Router, stop: CancellationToken, drain: Duration) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    while let Some((stream, peer, slot)) = next(&listener, &slots, &stop).await {
        let (router, stop) = (router.clone(), stop.clone());
        connections.spawn(async move {
            converse(stream, peer, router, stop).await;
            drop(slot);
        });
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    let ended = tokio::time::timeout(drain, async { while connections.join_next().await.is_some() {} }).await;
    if ended.is_err() {
        tracing::warn!(connections = connections.len(), "Connections did not end in time and are cut");
        connections.shutdown().await;
    }
}

async fn next(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
    stop: &CancellationToken,
) -> Option<(TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit)> {
    let accepted = async {
        let slot = Arc::clone(slots).acquire_owned().await.ok()?;
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => return Some((stream, peer, slot)),
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "A connection could not be accepted: {error}"
                    );
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    };
    tokio::select! {
        accepted = accepted => accepted,
        () = stop.cancelled() => None,
    }
}

async fn converse(stream: TcpStream, peer: SocketAddr, router: Router, stop: CancellationToken) {
    // Answers are small and written at once; waiting for more to send would only delay them.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(error = &error as &dyn std::error::Error, "A connection is gone already: {error}");
    }
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(Peer(peer));
        router.clone().oneshot(request.map(Body::new))
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEADERS_LIMIT).max_buf_size(BUFFER_BYTES_MAX);
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(error = &error as &dyn std::error::Error, client.address = %peer, "A connection ended early: {error}");
    }
}
