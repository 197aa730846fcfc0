//! Secrets: read from files that only their owner can read, and never shown.

use std::fmt;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::ConfigError;

/// The file in the data directory with the secrets that MLflow signs with where none is configured.
///
/// One per line, the newest first, every one of them live.
pub const MLFLOW_SECRETS_FILE: &str = "secrets/mlflow";

/// Length of a secret in bytes before it is written as text: as long as the digest of a signature.
const SECRET_BYTES: usize = 32;

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

/// Makes a new secret: hexadecimal digits, which any sender takes.
///
/// # Errors
/// The machine has no randomness to give.
pub fn fresh_secret() -> Result<SecretText, ConfigError> {
    let mut bytes = [0; SECRET_BYTES];
    getrandom::fill(&mut bytes).map_err(|_| {
        ConfigError::new("the machine has no randomness to give".to_owned(), "look into the log of the machine")
    })?;
    Ok(SecretText::new(&hex::encode(bytes)))
}

/// Reads a file with one secret per line, the newest first.
///
/// # Errors
/// As for any secret's file.
pub fn read_secrets_file(path: &Path) -> Result<Vec<SecretText>, ConfigError> {
    let text = read_secret_file(path)?;
    let lines = text.expose().lines().map(SecretText::new);
    Ok(lines.filter(|line| !line.expose().is_empty()).collect())
}

/// Writes a file with one secret per line, readable by its owner only. It is there as a whole or as it was before.
///
/// # Errors
/// It cannot be written.
pub fn write_secrets_file(path: &Path, secrets: &[SecretText]) -> Result<(), ConfigError> {
    let written = || {
        let mut file = tempfile::NamedTempFile::new_in(path.parent().unwrap_or(Path::new(".")))?;
        for secret in secrets {
            writeln!(file, "{}", secret.expose())?;
        }
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)
    };
    written().map(drop).map_err(|error: std::io::Error| {
        let sentence = format!("the secret file {} cannot be written: {}", path.display(), error.kind());
        ConfigError::new(sentence, "check its path and owner")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_written_for_their_owner_alone_and_read_back_newest_first() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mlflow");
        let secrets = [fresh_secret().unwrap(), fresh_secret().unwrap()];
        write_secrets_file(&path, &secrets[..1]).unwrap();
        write_secrets_file(&path, &secrets).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(read_secrets_file(&path).unwrap(), secrets);
        assert!(secrets[0] != secrets[1] && secrets[0].expose().len() == 2 * SECRET_BYTES);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else is left");
    }

    #[test]
    fn a_place_that_cannot_be_written_to_is_said_and_no_secret_with_it() {
        let secret = fresh_secret().unwrap();
        let error = write_secrets_file(Path::new("/nowhere/mlflow"), std::slice::from_ref(&secret)).unwrap_err();
        assert!(error.sentence.contains("cannot be written") && !error.sentence.contains(secret.expose()), "{error}");
    }

    #[test]
    fn empty_lines_are_no_secrets() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mlflow");
        std::fs::write(&path, "\n one \n\ntwo\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        let texts: Vec<String> = read_secrets_file(&path).unwrap().iter().map(|s| s.expose().to_owned()).collect();
        assert_eq!(texts, ["one", "two"]);
    }
}
