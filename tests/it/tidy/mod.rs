//! Style as a test: what the compiler and its lints do not see.

mod documents;
mod imports;
mod secrets;
mod size;
mod tests_themselves;

use std::path::{Path, PathBuf};

use tests::environment::repository_root;

/// A source file of the repository.
struct SourceFile {
    /// Its path from the top, with `/`.
    path: String,
    text: String,
}

impl SourceFile {
    /// The lines before the unit tests of the file, which by custom come last.
    fn production(&self) -> impl Iterator<Item = &str> {
        let is_test_file = self.path.ends_with("/tests.rs") || self.path.contains("/tests/");
        let lines = if is_test_file { "" } else { self.text.as_str() };
        lines.lines().take_while(|line| !line.trim_start().starts_with("#[cfg(test)]"))
    }

    /// The production lines that are code, trimmed.
    fn code(&self) -> impl Iterator<Item = &str> {
        self.production().map(str::trim).filter(|line| !line.starts_with("//"))
    }
}

/// The Rust files of the service: the crate around the flow and its pure core.
fn service_files() -> Vec<SourceFile> {
    rust_files("service/src").into_iter().chain(rust_files("service/core/src")).collect()
}

/// Every Rust file below a folder.
fn rust_files(folder: &str) -> Vec<SourceFile> {
    let mut files = Vec::new();
    let root = repository_root();
    visit(&root.join(folder), &mut |path| {
        if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(read(&root, path));
        }
    });
    files.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(!files.is_empty(), "no Rust file below {folder}");
    files
}

/// Every file that Git has or would take.
fn kept_files() -> Vec<SourceFile> {
    let root = repository_root();
    let mut git = std::process::Command::new("git");
    git.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]).current_dir(&root);
    let paths = tests::environment::succeed(&mut git);
    let paths = paths.split('\0').filter(|path| !path.is_empty()).map(|path| root.join(path));
    paths.filter(|path| path.is_file()).map(|path| read(&root, &path)).collect()
}

fn read(root: &Path, path: &Path) -> SourceFile {
    let relative = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
    // A picture is kept too: what of it is not text does not matter here.
    SourceFile { path: relative, text: String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned() }
}

fn visit(folder: &Path, each: &mut impl FnMut(&Path)) {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() { visit(&path, each) } else { each(&path) }
    }
}

/// Fails with all faults at once, one per line.
#[track_caller]
fn none(what: &str, faults: &[String]) {
    assert!(faults.is_empty(), "{what}:\n{}", faults.join("\n"));
}
