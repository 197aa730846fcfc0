//! Pushing a whole history to a remote that has none: Git's own, because it may be of any size.

use std::path::Path;

use super::Remote;
use super::fetch::NotRun;
use super::words::harmless;
use crate::command::CommandError;
use crate::git::GitError;

/// How much a push may say on its standard output, where it says nothing.
const SAID_BYTES_MAX: u64 = 64 << 10;

/// How Git says that the other side did not take a branch.
const REJECTED: &str = "[remote rejected]";

/// What the other side said of it: the words of its hooks, or else its reason.
fn words_of(stderr: &str) -> String {
    let said = stderr.lines().filter_map(|line| line.strip_prefix("remote: "));
    let said: Vec<String> = said.map(harmless).filter(|line| !line.is_empty()).collect();
    if !said.is_empty() {
        return said.join(" ");
    }
    stderr.lines().find(|line| line.contains(REJECTED)).map(|line| harmless(line.trim())).unwrap_or_default()
}

impl Remote {
    /// Pushes a reference of a repository of ours to the remote's branch, never forced.
    ///
    /// # Errors
    /// The remote cannot be reached, or refuses it.
    pub async fn send(&self, from: &Path, reference: &str) -> Result<(), GitError> {
        let refspec = format!("{reference}:{}", self.reference);
        let url = self.url();
        let arguments = ["push", "--quiet", "--no-recurse-submodules", "--", url.as_str(), refspec.as_str()];
        let sent = self.run("push", from, &arguments, SAID_BYTES_MAX).await;
        sent.map(drop).map_err(|error| match error {
            NotRun::Git(CommandError::Failed { stderr, .. }) if stderr.contains(REJECTED) => {
                GitError::Refused { words: words_of(&stderr) }
            }
            error => self.trouble(error).into(),
        })
    }
}
