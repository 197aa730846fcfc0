//! Work on many things, a share of them on every core; and on a few, where another core has nothing to do.

use std::num::NonZero;
use std::thread;

use rayon::iter::{IntoParallelIterator as _, ParallelIterator as _};
use rayon::{ThreadPool, ThreadPoolBuildError, ThreadPoolBuilder};

/// The smallest share: to start a thread takes as long as to read one or two commits.
const SHARE_MIN: usize = 64;

/// Calls a function with equal shares of some things, each on a thread of its own where there are enough of them, and gives back what the
/// shares came to, in order.
///
/// # Errors
/// The first of the shares that failed.
pub fn on_every_core<T: Sync, R: Send, E: Send>(
    items: &[T],
    work: impl Fn(&[T]) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let share = items.len().div_ceil(cores).max(SHARE_MIN);
    if items.len() <= share {
        return work(items).map(|done| vec![done]);
    }
    thread::scope(|scope| {
        let threads: Vec<_> = items.chunks(share).map(|share| scope.spawn(|| work(share))).collect();
        let ended = threads.into_iter().map(thread::ScopedJoinHandle::join);
        ended.map(|done| done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    })
}

/// Makes the calling thread the first of a pool with a thread for each core, two at least. The others rest until there is something for them.
///
/// # Errors
/// The calling thread is one of a pool already, or the machine has no thread left.
pub fn pool_of_this_thread() -> Result<ThreadPool, ThreadPoolBuildError> {
    let threads = thread::available_parallelism().map_or(2, |cores| cores.get().max(2));
    ThreadPoolBuilder::new().num_threads(threads).use_current_thread().build()
}

/// What `work` makes of each of a few things, in their order. The others of the calling thread's pool take over what they have time for.
///
/// A thread of no pool does it all: to hand it over and wait is two threads to wake, which costs more than another core gains.
pub fn in_pool<T: Send, R: Send>(items: Vec<T>, work: impl Fn(T) -> R + Send + Sync) -> Vec<R> {
    if rayon::current_thread_index().is_some() {
        items.into_par_iter().map(work).collect()
    } else {
        items.into_iter().map(work).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::Barrier;

    use super::*;

    #[test]
    fn a_thread_of_no_pool_does_it_all_in_order() {
        let here = thread::current().id();
        let done = in_pool(vec![3, 1, 2], |number| (number * 2, thread::current().id()));
        assert_eq!(done, [(6, here), (2, here), (4, here)]);
    }

    #[test]
    fn another_thread_of_the_pool_takes_its_part_over() {
        let both = Barrier::new(2);
        let work = |number: u32| {
            // Nobody passes before a second thread is here.
            both.wait();
            (number, thread::current().id())
        };
        let of_a_pool = || {
            let _pool = pool_of_this_thread().expect("a pool");
            in_pool(vec![1, 2], work)
        };
        let done = thread::scope(|scope| scope.spawn(of_a_pool).join()).expect("the thread");
        assert_eq!(done.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(done.iter().map(|(_, thread)| *thread).collect::<HashSet<_>>().len(), 2);
    }

    #[test]
    fn what_the_shares_came_to_is_in_the_order_of_the_things() {
        for count in [0, 1, SHARE_MIN, SHARE_MIN + 1, 1_000] {
            let items: Vec<usize> = (0..count).collect();
            let doubled =
                on_every_core(&items, |share| Ok::<_, ()>(share.iter().map(|item| item * 2).collect::<Vec<_>>()));
            let expected: Vec<usize> = (0..count).map(|item| item * 2).collect();
            assert_eq!(doubled.unwrap().concat(), expected);
        }
    }

    #[test]
    fn a_share_that_fails_is_told() {
        let items: Vec<usize> = (0..1_000).collect();
        let failed = on_every_core(&items, |share| if share.contains(&999) { Err("the last") } else { Ok(()) });
        assert_eq!(failed, Err("the last"));
    }
}
