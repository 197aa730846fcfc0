//! What follows from looks and takes a while is done beside them: the newest of each release, a few at once.

use std::collections::BTreeMap;
use std::sync::Mutex;

use futures_util::{StreamExt as _, stream};
use tokio::sync::Notify;

use super::lock;
use crate::names::ReleaseKey;

/// How many are done at once: the API server has others to answer too.
const AT_ONCE: usize = 8;

/// What is to be done: one thing for each release, so there are as many as releases at most.
#[derive(Debug)]
pub(super) struct Queue<T> {
    waiting: Mutex<BTreeMap<ReleaseKey, T>>,
    wake: Notify,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { waiting: Mutex::default(), wake: Notify::new() }
    }
}

impl<T> Queue<T> {
    /// Adds something in place of what was to be done for that release.
    pub(super) fn put(&self, key: &ReleaseKey, what: T) {
        lock(&self.waiting).insert(key.clone(), what);
        self.wake.notify_one();
    }

    /// Does it all, whenever there is something, until it is dropped.
    pub(super) async fn work<F: Future<Output = ()>>(&self, work: impl Fn(ReleaseKey, T) -> F) {
        let all = stream::unfold((), move |()| async move { Some((self.next().await, ())) });
        all.for_each_concurrent(AT_ONCE, |(key, what)| work(key, what)).await;
    }

    async fn next(&self) -> (ReleaseKey, T) {
        loop {
            let next = lock(&self.waiting).pop_first();
            match next {
                Some(next) => return next,
                None => self.wake.notified().await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn key(number: usize) -> ReleaseKey {
        ReleaseKey::parse(&format!("production/models/r{number}")).unwrap()
    }

    #[tokio::test]
    async fn a_few_are_done_at_once_and_of_each_release_the_newest_alone() {
        let queue: Queue<usize> = Queue::default();
        (0..100).for_each(|number| queue.put(&key(number), 1));
        (0..100).for_each(|number| queue.put(&key(number), number));
        let (begun, go_on, done) = (AtomicUsize::new(0), tokio::sync::Semaphore::new(0), Mutex::new(Vec::new()));
        let working = queue.work(|_, number| {
            begun.fetch_add(1, Ordering::SeqCst);
            let (go_on, done) = (&go_on, &done);
            async move {
                go_on.acquire().await.unwrap().forget();
                lock(done).push(number);
            }
        });
        let watching = async {
            while begun.load(Ordering::SeqCst) < AT_ONCE {
                tokio::task::yield_now().await;
            }
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            assert_eq!(begun.load(Ordering::SeqCst), AT_ONCE, "the others wait");
            go_on.add_permits(100);
            while lock(&done).len() < 100 {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            () = working => unreachable!("it ends with whoever dropped it"),
            () = watching => {}
        }
        let mut done = lock(&done).clone();
        done.sort_unstable();
        assert_eq!(done, (0..100).collect::<Vec<_>>());
    }
}
