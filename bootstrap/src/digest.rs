//! Digests of files, by which is known whether what was made of them is still of them.

use std::path::Path;

use sha1::{Digest as _, Sha1};

use crate::checkout;
use crate::fault::Fault;

/// The digest of files and folders below a directory, with their names.
pub fn of_files(directory: &Path, names: &[&str]) -> Result<String, Fault> {
    let mut files = Vec::new();
    for name in names {
        files.extend(checkout::files(&directory.join(name))?);
    }
    files.sort();
    let mut digest = Sha1::new();
    for file in files {
        let bytes = std::fs::read(&file).map_err(|error| checkout::unreadable(&file, &error))?;
        let name = file.strip_prefix(directory).unwrap_or(&file).display().to_string();
        digest.update(format!("{name}\0{}\0", bytes.len()));
        digest.update(bytes);
    }
    Ok(digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_changes_with_a_name_and_with_a_byte_and_with_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        let digest = || of_files(folder.path(), &["in", "a", "absent"]).unwrap();
        std::fs::create_dir(folder.path().join("in")).unwrap();
        write("in/b", "x");
        write("a", "");
        let first = digest();
        write("beside", "y");
        assert_eq!(digest(), first);
        write("in/b", "y");
        let second = digest();
        std::fs::rename(folder.path().join("in/b"), folder.path().join("in/c")).unwrap();
        assert!(first != second && second != digest() && digest().len() == 40);
    }
}
