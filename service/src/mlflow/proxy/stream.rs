//! Bodies on their way: nothing is kept, and nobody waits for ever.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep};

/// When an upload moved last.
#[derive(Debug, Clone)]
pub(super) struct Progress {
    began: Instant,
    /// Milliseconds after the beginning.
    last: Arc<AtomicU64>,
}

impl Progress {
    /// Begins now.
    pub(super) fn new() -> Self {
        Self { began: Instant::now(), last: Arc::default() }
    }

    /// Notes that something moved.
    pub(super) fn note(&self) {
        self.last.store(u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// When something moved last.
    pub(super) fn last(&self) -> Instant {
        self.began + Duration::from_millis(self.last.load(Ordering::Relaxed))
    }
}

/// A body on its way to the caller, without trailers. It breaks off where the sender says nothing for too long while the caller would read;
/// a caller who does not read is not hurried.
#[derive(Debug)]
pub(super) struct Download<B> {
    from: B,
    idle_max: Duration,
    /// Runs while the sender is waited for.
    idle: Option<Pin<Box<Sleep>>>,
    /// Its place among the requests that are on their way.
    _held: OwnedSemaphorePermit,
}

impl<B> Download<B> {
    pub(super) fn new(from: B, idle_max: Duration, held: OwnedSemaphorePermit) -> Self {
        Self { from, idle_max, idle: None, _held: held }
    }
}

impl<B> HttpBody for Download<B>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        loop {
            let Poll::Ready(frame) = Pin::new(&mut self.from).poll_frame(cx) else {
                let idle_max = self.idle_max;
                let idle = self.idle.get_or_insert_with(|| Box::pin(tokio::time::sleep(idle_max)));
                ready!(idle.as_mut().poll(cx));
                return Poll::Ready(Some(Err(std::io::ErrorKind::TimedOut.into())));
            };
            self.idle = None;
            match frame {
                Some(Ok(frame)) if frame.is_data() => return Poll::Ready(Some(Ok(frame))),
                Some(Ok(_trailers)) => {}
                Some(Err(error)) => return Poll::Ready(Some(Err(std::io::Error::other(error)))),
                None => return Poll::Ready(None),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.from.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.from.size_hint()
    }
}
