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
    /// Whether each line is production code. By custom the unit tests of a file come last, in `#[cfg(test)] mod x {`; before them
    /// a single item may be for the tests alone.
    fn lines(&self) -> Vec<(bool, &str)> {
        let is_test_file = self.path.ends_with("/tests.rs") || self.path.contains("/tests/");
        let mut lines = Vec::new();
        let mut rest = self.text.lines();
        while let Some(line) = rest.next() {
            if !line.trim_start().starts_with("#[cfg(test)]") {
                lines.push((!is_test_file, line));
                continue;
            }
            lines.push((false, line));
            let mut depth = 0;
            while let Some(item) = rest.next() {
                lines.push((false, item));
                let text = item.trim();
                if depth == 0 && (text.starts_with("#[") || text.starts_with("//")) {
                    continue;
                }
                depth += opened(text);
                if is_inline_module(text) {
                    lines.extend(rest.by_ref().map(|line| (false, line)));
                } else if depth <= 0 && text.ends_with(['}', ';', ',']) {
                    break;
                }
            }
        }
        lines
    }

    /// The lines that are not for tests.
    fn production(&self) -> impl Iterator<Item = &str> {
        self.lines().into_iter().filter_map(|(is_production, line)| is_production.then_some(line))
    }

    /// The lines for tests, with their numbers from 1; everything, in the crate of the tests.
    fn test_code(&self) -> impl Iterator<Item = (usize, &str)> {
        let is_all = self.path.starts_with("tests/");
        let lines = self.lines().into_iter().enumerate();
        lines.filter_map(move |(at, (is_production, line))| (is_all || !is_production).then_some((at + 1, line)))
    }

    /// The production lines that are code, trimmed.
    fn code(&self) -> impl Iterator<Item = &str> {
        self.production().map(str::trim).filter(|line| !line.starts_with("//"))
    }
}

/// How many brackets a line opens and does not close.
fn opened(line: &str) -> i32 {
    line.chars().fold(0, |depth, c| match c {
        '{' | '(' | '[' => depth + 1,
        '}' | ')' | ']' => depth - 1,
        _ => depth,
    })
}

/// Whether a line opens a module whose text follows.
fn is_inline_module(line: &str) -> bool {
    line.ends_with('{')
        && line.split(" {").next().is_some_and(|head| head.starts_with("mod ") || head.contains(" mod "))
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

#[test]
fn only_what_is_for_tests_is_not_production() {
    let text = "mod a;\n#[cfg(test)]\nmod tests;\nmod b;\n#[cfg(test)]\n#[doc(hidden)]\npub(super) fn only(\n    x: u8,\n) {\n    f();\n}\nfn c() {}\nstruct S {\n    #[cfg(test)]\n    seen: u8,\n    kept: u8,\n}\n#[cfg(test)]\nmod own {\n    fn d() {}\n}\nfn e() {}\n";
    let file = |path: &str| SourceFile { path: path.into(), text: text.into() };
    let here = file("service/src/x/mod.rs");
    let found: Vec<&str> = here.production().collect();
    assert_eq!(found, ["mod a;", "mod b;", "fn c() {}", "struct S {", "    kept: u8,", "}"]);
    let numbers: Vec<usize> = here.test_code().map(|(number, _)| number).collect();
    assert_eq!(numbers, [2, 3, 5, 6, 7, 8, 9, 10, 11, 14, 15, 18, 19, 20, 21, 22]);
    assert_eq!(file("service/src/x/tests.rs").production().count(), 0);
    assert_eq!(file("tests/src/x.rs").test_code().count(), text.lines().count());
}
