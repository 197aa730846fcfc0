//! Whether the service can accept and release, and why nothing is released although it can.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::disk;
use super::handle::Handle;
use super::holds::{held, lifted_by};
use super::shared::{WorkerState, git_fault, read};

/// From when on a remote that does not answer is what everything waits for: a push takes less where all is well.
const SILENT_AFTER: Duration = Duration::from_secs(3);

impl Handle {
    /// Whether the service can accept and release: the worker runs, the disk has room, the store answers and takes what is released, the
    /// repository opens and took the last turn. While a branch elsewhere cannot be looked at or pushed to, everything is accepted all the same: then it
    /// answers why nothing is released.
    ///
    /// # Errors
    /// One sentence that says what does not.
    pub async fn ready(&self) -> Result<Option<String>, String> {
        let WorkerState { is_store_behind, is_repository_failing, has_ended, .. } = &self.shared.state;
        if has_ended.load(Ordering::Relaxed) {
            return Err("the worker has ended and nothing is released; start the service again".to_owned());
        }
        if is_store_behind.load(Ordering::Relaxed) {
            return Err("the store refuses what was released; check its disk and permissions".to_owned());
        }
        if is_repository_failing.load(Ordering::Relaxed) {
            return Err("the repository refuses what is released; the log says why, and it is tried again".to_owned());
        }
        disk::check(&self.shared.settings.data_dir).map_err(|fault| fault.to_string())?;
        self.shared.store.indexed_tip().await.map_err(|error| error.to_string())?;
        let tip = self.shared.blocking(|shared| shared.repository.tip().map_err(git_fault)).await;
        tip.map_err(|fault| fault.to_string())?;
        let trouble = read(&self.shared.state.trouble).clone();
        Ok(trouble.or_else(|| self.silence().map(|seconds| format!("the remote has not answered for {seconds} s"))))
    }

    /// What is held, one sentence each that says how it goes on; a person wanted it so, or has to look first.
    pub fn held(&self) -> Vec<String> {
        let holds = read(&self.shared.holds);
        let sentence =
            |hold| format!("{} is held, and what is asked for is kept until {}", held(hold), lifted_by(hold));
        holds.iter().map(sentence).collect()
    }

    /// For how many seconds the remote has not answered, where that is long.
    pub(super) fn silence(&self) -> Option<u64> {
        self.shared.repository.silent_for().filter(|silent| *silent >= SILENT_AFTER).map(|silent| silent.as_secs())
    }
}
