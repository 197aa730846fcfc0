//! The secrets that a sender signs with at this moment: fixed ones, or those of a file that may change while the service runs.

use std::fmt;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::signature::Secret;

/// Reads every secret of a file, or says why not.
type Read = fn(&Path) -> Result<Vec<Secret>, String>;

/// Every live secret of a sender.
///
/// A file is looked at for each delivery, which takes a microsecond, and read where it is another one: so a secret can be rotated
/// without a restart. Whoever changes it replaces it as a whole.
#[derive(Clone)]
pub struct LiveSecrets(Arc<Inner>);

struct Inner {
    file: Option<(PathBuf, Read)>,
    known: Mutex<Known>,
}

struct Known {
    stamp: Option<Stamp>,
    secrets: Arc<[Secret]>,
}

/// What tells a file from the one that was there before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    length: u64,
    modified: (i64, i64),
}

impl LiveSecrets {
    /// Secrets that stay as they are.
    pub fn fixed(secrets: Vec<Secret>) -> Self {
        Self(Arc::new(Inner { file: None, known: Mutex::new(Known { stamp: None, secrets: secrets.into() }) }))
    }

    /// The secrets of a file, as it is whenever somebody asks.
    ///
    /// # Errors
    /// It cannot be read now, in the words of `read`.
    pub fn of_file(path: PathBuf, read: Read) -> Result<Self, String> {
        let stamp = Stamp::of(&path);
        let secrets = read(&path)?.into();
        Ok(Self(Arc::new(Inner { file: Some((path, read)), known: Mutex::new(Known { stamp, secrets }) })))
    }

    /// The secrets that are live now. A file that cannot be read leaves those that were.
    pub fn current(&self) -> Arc<[Secret]> {
        let mut known = self.0.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((path, read)) = &self.0.file {
            let stamp = Stamp::of(path);
            if stamp != known.stamp {
                known.stamp = stamp;
                match read(path) {
                    Ok(secrets) => {
                        tracing::info!(live = secrets.len(), "The webhook secrets were read again: {}", secrets.len());
                        known.secrets = secrets.into();
                    }
                    Err(error) => tracing::warn!("The webhook secrets stay as they were: {error}"),
                }
            }
        }
        Arc::clone(&known.secrets)
    }
}

impl fmt::Debug for LiveSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LiveSecrets(…)")
    }
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let found = std::fs::metadata(path).ok()?;
        Some(Self { inode: found.ino(), length: found.len(), modified: (found.mtime(), found.mtime_nsec()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &Path) -> Result<Vec<Secret>, String> {
        let text = std::fs::read_to_string(path).map_err(|error| error.kind().to_string())?;
        text.lines().map(|line| Secret::parse(line).map_err(|error| error.to_string())).collect()
    }

    fn replace(path: &Path, text: &str) {
        let new = path.with_extension("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, path).unwrap();
    }

    #[test]
    fn a_file_that_is_another_one_is_read_again_and_a_broken_one_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mlflow");
        replace(&path, "one\n");
        let live = LiveSecrets::of_file(path.clone(), read).unwrap();
        let texts = || live.current().iter().map(|secret| secret.text().to_owned()).collect::<Vec<_>>();
        assert_eq!(texts(), ["one"]);
        replace(&path, "two\none\n");
        assert_eq!(texts(), ["two", "one"]);
        replace(&path, "\n\n");
        assert_eq!(texts(), ["two", "one"]);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(texts(), ["two", "one"]);
        // Of the same length and perhaps the same moment, but another file.
        replace(&path, "two\n");
        assert_eq!(texts(), ["two"]);
        replace(&path, "new\n");
        assert_eq!(texts(), ["new"]);
    }

    #[test]
    fn a_file_that_is_not_there_at_first_is_an_error() {
        let missing = Path::new("/nowhere/mlflow").to_owned();
        assert!(LiveSecrets::of_file(missing, read).is_err());
    }

    #[test]
    fn fixed_secrets_stay_and_none_is_shown() {
        let live = LiveSecrets::fixed(vec![Secret::parse("hunter2").unwrap()]);
        assert_eq!(live.current().len(), 1);
        assert_eq!(format!("{live:?}"), "LiveSecrets(…)");
    }
}
