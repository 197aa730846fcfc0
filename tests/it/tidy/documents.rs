//! Documents that must keep up with the code.

use super::none;
use tests::environment::repository_root;

fn document(path: &str) -> String {
    std::fs::read_to_string(repository_root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn the_change_log_begins_with_what_is_not_released_yet() {
    let log = document("CHANGELOG.md");
    let first = log.lines().find(|line| line.starts_with("## "));
    assert!(first.is_some_and(|line| line.contains("Unreleased")), "the first section is {first:?}");
}

#[test]
fn every_shell_block_of_the_readmes_is_run_or_says_why_not() {
    let marked = |line: &str| line.starts_with("```sh test=") || line.starts_with("```sh by-hand=");
    let mut unmarked = Vec::new();
    for path in ["README.md", "gitops-repo/README.md"] {
        let text = document(path);
        let opens = text.lines().filter(|line| line.starts_with("```sh") || line.starts_with("```bash"));
        assert!(opens.clone().next().is_some(), "{path} shows no command");
        unmarked.extend(opens.filter(|line| !marked(line)).map(|line| format!("{path}: {line}")));
    }
    none("mark them `sh test=<group>` (tests/e2e/readme.rs runs it) or `sh by-hand=<why>`", &unmarked);
}

#[test]
fn the_just_file_is_an_index_without_logic() {
    let recipes = document("justfile");
    let long = recipes
        .lines()
        .filter(|line| line.starts_with(' ') && (line.contains("&&") || line.contains("if ") || line.contains('|')));
    none("logic belongs into a script", &long.map(str::to_owned).collect::<Vec<_>>());
}
