//! Rules for the tests: every file is wired in, none is switched off, none sleeps.

use super::{SourceFile, none, rust_files};

#[test]
fn no_rust_file_is_forgotten() {
    let mut faults = Vec::new();
    for folder in [
        "service/src",
        "service/core/src",
        "bootstrap/src",
        "bootstrap/tests/it",
        "tests/src",
        "tests/it",
        "tests/e2e",
        "tests/stand-ins/src",
    ] {
        let files = rust_files(folder);
        for file in &files {
            let (parent, name) = file.path.rsplit_once('/').unwrap();
            let stem = name.trim_end_matches(".rs");
            if ["main", "lib"].contains(&stem) && parent == folder {
                continue;
            }
            let (home, module) = if stem == "mod" { parent.rsplit_once('/').unwrap() } else { (parent, stem) };
            // `a/b.rs` is declared in `a/mod.rs`, in `a.rs`, or at the top.
            let parents = ["mod.rs", "main.rs", "lib.rs"].map(|name| format!("{home}/{name}"));
            let declaration = format!("mod {module};");
            let declares = |text: &str| {
                let ends = |line: &str| line == declaration || line.ends_with(&format!(" {declaration}"));
                text.lines().map(str::trim).any(|line| !line.starts_with("//") && ends(line))
            };
            let beside = format!("{home}.rs");
            if !files
                .iter()
                .any(|other| (parents.contains(&other.path) || other.path == beside) && declares(&other.text))
            {
                faults.push(file.path.clone());
            }
        }
    }
    none("compiled by nobody", &faults);
}

/// What a test must not do; put together so that this file does not find itself.
const FORBIDDEN: [&str; 3] = [concat!("#[ign", "ore"), concat!("sl", "eep("), concat!("assert!(tr", "ue")];

/// The lines of a file's tests that do what a test must not.
fn forbidden(file: &SourceFile) -> Vec<String> {
    let lines = file.test_code().filter(|(_, line)| FORBIDDEN.iter().any(|word| line.contains(word)));
    lines.map(|(number, line)| format!("{}:{number}: {}", file.path, line.trim())).collect()
}

#[test]
fn no_test_is_switched_off_sleeps_or_cannot_fail() {
    let folders = ["service/src", "service/core/src", "bootstrap", "tests"];
    let faults = folders.iter().flat_map(|folder| rust_files(folder)).flat_map(|file| forbidden(&file));
    none("tests that do not test", &faults.collect::<Vec<_>>());
}

#[test]
fn a_pause_in_a_test_is_found_whatever_it_is_called_by() {
    let pause = concat!("sl", "eep(MOMENT)");
    let production = format!("fn f() {{\n    {pause};\n}}\n");
    for called in ["", "thread::", "tokio::time::", "super::"] {
        let text =
            format!("{production}#[cfg(test)]\nmod tests {{\n    fn g() {{\n        {called}{pause};\n    }}\n}}\n");
        let found = forbidden(&SourceFile { path: "service/src/x.rs".into(), text });
        assert_eq!(found, [format!("service/src/x.rs:7: {called}{pause};")]);
    }
}

#[test]
fn every_lint_that_is_off_says_why() {
    let bare = [concat!("#[al", "low("), concat!("#![al", "low(")];
    let mut faults = Vec::new();
    for file in
        ["service/src", "service/core/src", "bootstrap/src", "tests"].iter().flat_map(|folder| rust_files(folder))
    {
        let found = file.text.lines().filter(|line| bare.iter().any(|word| line.contains(word)));
        faults.extend(found.map(|line| format!("{}: {}", file.path, line.trim())));
    }
    none("use #[expect(lint, reason = \"…\")]", &faults);
}
