//! Where the manifests lie on this machine.

use std::path::{Path, PathBuf};

use crate::catalogue;
use crate::fault::{Fault, Kind};

/// The directory of the GitOps repository's seed, and the checkout around it where there is one.
#[derive(Debug, Clone)]
pub struct Checkout {
    pub gitops: PathBuf,
    /// The directory with `service/` and `examples/`: the one around it, or where this is run.
    pub root: Option<PathBuf>,
}

impl Checkout {
    /// The directory that was named, or `gitops-repo/` here or in a directory above.
    pub fn find(named: Option<&Path>, here: &Path) -> Result<Self, Fault> {
        let found = match named {
            Some(directory) => Some(directory.to_owned()).filter(|directory| has_catalogue(directory)),
            None => here.ancestors().map(|above| above.join("gitops-repo")).find(|directory| has_catalogue(directory)),
        };
        let missing = || {
            let place = named.map_or_else(|| "here".to_owned(), |directory| format!("in `{}`", directory.display()));
            Fault::new(
                format!("there is no `{}` {place}", catalogue::FILE),
                "run it in a checkout of Kmlflow, or name its directory by `--gitops-repo DIR`",
            )
            .of(Kind::NotFound)
        };
        let gitops = found.ok_or_else(missing)?;
        let is_root = |directory: &&Path| {
            directory.join("service/Cargo.toml").is_file() && has_catalogue(&directory.join("gitops-repo"))
        };
        let root = gitops.parent().filter(is_root).or_else(|| here.ancestors().find(is_root)).map(Path::to_owned);
        Ok(Self { gitops, root })
    }

    /// A folder of the platform.
    pub fn platform(&self, path: &str) -> PathBuf {
        self.gitops.join("platform").join(path)
    }
}

fn has_catalogue(directory: &Path) -> bool {
    directory.join(catalogue::FILE).is_file()
}

/// A file, or those of a folder and of the folders in it; nothing where there is none. What a link in it leads to is not in it.
pub fn files(path: &Path) -> Result<Vec<PathBuf>, Fault> {
    if !path.is_dir() {
        return Ok(path.is_file().then(|| path.to_owned()).into_iter().collect());
    }
    let entries = std::fs::read_dir(path).map_err(|error| unreadable(path, &error))?;
    let mut found = Vec::new();
    for entry in entries.filter_map(Result::ok) {
        if entry.file_type().is_ok_and(|kind| !kind.is_symlink()) {
            found.extend(files(&entry.path())?);
        }
    }
    Ok(found)
}

/// Writes a file, as a whole or not at all; one that is there keeps its rights.
pub fn write(file: &Path, text: &str) -> Result<(), Fault> {
    let beside = file.with_added_extension("new");
    let written = std::fs::write(&beside, text).and_then(|()| {
        if let Ok(before) = std::fs::metadata(file) {
            std::fs::set_permissions(&beside, before.permissions())?;
        }
        std::fs::rename(&beside, file)
    });
    if written.is_err() {
        let _not_there = std::fs::remove_file(&beside);
    }
    written.map_err(|error| unwritable(file, &error))
}

/// The fault of a file that cannot be written or taken away.
pub fn unwritable(path: &Path, error: &std::io::Error) -> Fault {
    Fault::new(format!("`{}` cannot be written: {error}", path.display()), "check who owns the checkout")
}

/// The fault of a file that is there and cannot be read.
pub fn unreadable(path: &Path, error: &std::io::Error) -> Fault {
    Fault::new(format!("`{}` cannot be read: {error}", path.display()), "check who owns the checkout")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_found_from_any_folder_of_the_checkout() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/steps");
        let checkout = Checkout::find(None, &here).unwrap();
        assert!(checkout.gitops.ends_with("gitops-repo") && checkout.root.is_some());
    }

    #[test]
    fn where_it_is_not_the_cure_is_told() {
        let empty = tempfile::tempdir().unwrap();
        for named in [None, Some(empty.path())] {
            let fault = Checkout::find(named, empty.path()).unwrap_err();
            assert!(fault.cure.contains("--gitops-repo"), "{fault:?}");
            assert_eq!(fault.code(), 4);
        }
    }
}
