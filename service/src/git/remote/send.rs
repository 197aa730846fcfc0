//! Pushing a whole history to a remote that has none: Git's own, because it may be of any size.

use std::path::Path;

use super::Remote;
use super::error::RemoteError;

/// How much a push may say on its standard output, where it says nothing.
const SAID_BYTES_MAX: u64 = 64 << 10;

impl Remote {
    /// Pushes a reference of a repository of ours to the remote's branch, never forced.
    ///
    /// # Errors
    /// The remote cannot be reached, or refuses it.
    pub async fn send(&self, from: &Path, reference: &str) -> Result<(), RemoteError> {
        let refspec = format!("{reference}:{}", self.reference);
        let url = self.url();
        let arguments = ["push", "--quiet", "--no-recurse-submodules", "--", url.as_str(), refspec.as_str()];
        let sent = self.run("push", from, &arguments, SAID_BYTES_MAX).await;
        sent.map(drop).map_err(|error| self.trouble(error))
    }
}
