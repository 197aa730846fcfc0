//! Fetching other branches of a remote than the one that everybody reads, and what a forge keeps of those that were merged.

use std::path::Path;

use super::Remote;
use super::error::RemoteError;
use super::fetch::{NO_REFERENCE, NotRun};
use crate::command::CommandError;

/// Where other branches of the remote are kept, below which they have their own names.
const BESIDE_BELOW: &str = "refs/kmlflow/beside/";

impl Remote {
    /// Where another branch is kept that [`Remote::fetch_beside`] brings.
    pub fn kept_beside_as(branch: &str) -> String {
        format!("{BESIDE_BELOW}{branch}")
    }

    /// Brings other branches into a repository of ours: one by its name, or all that a pattern names (`kmlflow/*`). Those that are gone at
    /// the remote stay here. Answers whether there are some, where it was a name.
    ///
    /// # Errors
    /// The repository cannot be reached.
    pub async fn fetch_beside(&self, into: &Path, pattern: &str) -> Result<bool, RemoteError> {
        self.fetch_to_keep(into, &format!("+refs/heads/{pattern}:{BESIDE_BELOW}{pattern}")).await
    }

    /// Brings what a forge keeps of a pull request (`refs/pull/N/head`, at GitHub and Gitea alike), as if it were still on its branch. Answers whether there
    /// is something.
    ///
    /// # Errors
    /// The repository cannot be reached.
    pub async fn fetch_pull(&self, into: &Path, number: u64, branch: &str) -> Result<bool, RemoteError> {
        self.fetch_to_keep(into, &format!("+refs/pull/{number}/head:{BESIDE_BELOW}{branch}")).await
    }

    async fn fetch_to_keep(&self, into: &Path, refspec: &str) -> Result<bool, RemoteError> {
        match self.run_fetch(into, None, refspec).await {
            Ok(_) => Ok(true),
            Err(NotRun::Git(CommandError::Failed { stderr, .. })) if stderr.contains(NO_REFERENCE) => Ok(false),
            Err(error) => Err(self.trouble(error)),
        }
    }
}
