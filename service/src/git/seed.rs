//! The files that a new repository begins with, compiled in from `gitops-repo/`.

/// The files of `gitops-repo/` with their paths in the repository.
pub fn seed() -> Vec<(String, Vec<u8>)> {
    FILES.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec())).collect()
}

/// Path and text of each file, as `build.rs` found them; a test holds the list against the directory.
const FILES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/seed.rs"));
