//! Lists the files of `gitops-repo/`, so that the seed of a new repository is that directory and nobody keeps a list of it.

use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../gitops-repo").canonicalize()?;
    // Cargo looks at everything below a directory.
    println!("cargo::rerun-if-changed={}", root.display());
    let mut files = Vec::new();
    collect(&root, &mut files)?;
    files.sort();
    let mut list = String::from("&[\n");
    for file in &files {
        let path = file.strip_prefix(&root)?.to_str().ok_or("a path that is not UTF-8")?;
        writeln!(list, "    ({path:?}, include_str!({file:?})),")?;
    }
    list.push_str("]\n");
    Ok(fs::write(output_directory()?.join("seed.rs"), list)?)
}

/// Every file below a directory but hidden ones, which are an editor's.
fn collect(directory: &Path, files: &mut Vec<PathBuf>) -> Result<(), Box<dyn Error>> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        match entry.file_type()?.is_dir() {
            true => collect(&entry.path(), files)?,
            false => files.push(entry.path()),
        }
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "Cargo tells a build script by the environment where to write")]
fn output_directory() -> Result<PathBuf, Box<dyn Error>> {
    Ok(PathBuf::from(std::env::var_os("OUT_DIR").ok_or("Cargo names no OUT_DIR")?))
}
