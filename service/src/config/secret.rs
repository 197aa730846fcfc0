//! Secrets: read from files that only their owner can read, and never shown.

use std::fmt;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::ConfigError;

/// A secret's text, which neither a log nor an error ever shows.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretText(String);

impl SecretText {
    /// Wraps a secret, without the white space around it.
    pub fn new(text: &str) -> Self {
        Self(text.trim().to_owned())
    }

    /// The secret itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(…)")
    }
}

/// Reads a secret's file.
///
/// # Errors
/// It cannot be read, is empty, or can be read by everybody and does not lie on a projected Kubernetes volume.
pub fn read_secret_file(path: &Path) -> Result<SecretText, ConfigError> {
    let shown = path.display();
    let unreadable = |error: std::io::Error| {
        if error.kind() == std::io::ErrorKind::NotFound {
            return ConfigError::new(format!("there is no file `{shown}`"), "check the path");
        }
        ConfigError::new(
            format!("the secret file {shown} cannot be read: {}", error.kind()),
            "check its path and owner",
        )
    };
    let mode = std::fs::metadata(path).map_err(unreadable)?.permissions().mode();
    // Kubernetes' projected volumes are world-readable inside the pod and marked by this link.
    let projected = path.parent().is_some_and(|dir| dir.join("..data").is_symlink());
    if mode & 0o004 != 0 && !projected {
        return Err(ConfigError::new(
            format!("the secret file {shown} can be read by everybody on this machine"),
            &format!("chmod 600 {shown}"),
        ));
    }
    let text = SecretText::new(&std::fs::read_to_string(path).map_err(unreadable)?);
    if text.expose().is_empty() {
        return Err(ConfigError::new(format!("the secret file {shown} is empty"), "write the secret into it"));
    }
    Ok(text)
}
