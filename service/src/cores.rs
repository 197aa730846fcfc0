//! Work on many things, a share of them on every core.

use std::num::NonZero;
use std::thread;

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

#[cfg(test)]
mod tests {
    use super::*;

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
