//! Documents that must keep up with the code.

use std::path::{Path, PathBuf};

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
fn every_relative_link_of_a_document_leads_somewhere() {
    let root = repository_root();
    let mut pages = vec!["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"]
        .into_iter()
        .map(PathBuf::from)
        .collect::<Vec<_>>();
    for folder in ["docs", "docs/decisions"] {
        let files = std::fs::read_dir(root.join(folder)).unwrap().map(|entry| entry.unwrap().file_name());
        pages.extend(
            files.map(|name| Path::new(folder).join(name)).filter(|path| path.extension().is_some_and(|e| e == "md")),
        );
    }
    let mut dead = Vec::new();
    for page in &pages {
        let text = document(page.to_str().unwrap());
        let folder = root.join(page.parent().unwrap());
        let gone = links(&text).into_iter().filter(|link| !folder.join(link).exists());
        dead.extend(gone.map(|link| format!("{}: {link}", page.display())));
    }
    none("links to nothing", &dead);
}

#[test]
fn links_are_those_to_files_without_their_sections() {
    let text = "[a](x.md#part), [b](docs/) and ![c](d.png \"title\") [web](https://host.example/x) [here](#part) `f[0](1)`\n```sh\n[no](link)\n```\n";
    assert_eq!(links(text), ["x.md", "docs/", "d.png"]);
}

/// The targets of a page's links that are files: no address, no section of the page itself, nothing in code.
fn links(text: &str) -> Vec<&str> {
    let mut is_code = false;
    let mut found = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        }
        // Every second part between backticks is code.
        let prose = line.split('`').step_by(2).filter(|_| !is_code);
        let targets = prose.flat_map(|part| part.split("](").skip(1)).filter_map(|rest| rest.split_once(')'));
        let files = targets.filter_map(|(target, _)| target.split([' ', '#']).next());
        found.extend(
            files.filter(|target| !target.is_empty() && !target.contains("://") && !target.starts_with("mailto:")),
        );
    }
    found
}

#[test]
fn the_just_file_is_an_index_without_logic() {
    let recipes = document("justfile");
    let long = recipes
        .lines()
        .filter(|line| line.starts_with(' ') && (line.contains("&&") || line.contains("if ") || line.contains('|')));
    none("logic belongs into a script", &long.map(str::to_owned).collect::<Vec<_>>());
}
