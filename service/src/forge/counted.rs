//! How many requests something took: what a forge counts, whatever it was asked and however often that was repeated.

use std::cell::Cell;

tokio::task_local! {
    /// Requests of what is being counted in this task.
    static ASKED: Cell<usize>;
}

/// Does something, and says how many requests it made in its own task. What it had others do, and the tokens of an App, which are counted apart, are left out.
pub async fn counted<T>(work: impl Future<Output = T>) -> (T, usize) {
    let counting = async { (work.await, ASKED.with(Cell::get)) };
    ASKED.scope(Cell::new(0), counting).await
}

/// Takes note of a request; of one that nobody counts there is nothing to note.
pub(super) fn note() {
    let _is_counted = ASKED.try_with(|asked| asked.set(asked.get() + 1));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_asked_meanwhile_is_counted_and_nothing_before_it_or_in_another_task() {
        note();
        let asked = counted(async {
            note();
            tokio::spawn(async { note() }).await.unwrap();
            note();
            "done"
        });
        assert_eq!(asked.await, ("done", 2));
    }
}
