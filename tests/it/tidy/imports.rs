//! The import map: who may know whom. The direction of the flow is kept by this table.

use super::{SourceFile, none, service_files};
use tests::environment::repository_root;

/// A module of the service and the modules that it may name.
const MAP: &[(&str, &[&str])] = &[
    // The words.
    ("names", &[]),
    ("bounds", &[]),
    ("cores", &[]),
    ("release", &["names"]),
    ("event", &["names", "release"]),
    ("registry", &["names", "release", "event"]),
    // The pure middle.
    ("servable", &["names", "release"]),
    ("policy", &["names", "release", "registry"]),
    ("plan", &["names", "release", "servable"]),
    ("rollout", &["names", "release"]),
    ("live", &["names", "release"]),
    ("drift", &["names", "release", "live"]),
    ("import", &["names", "release"]),
    ("render", &["names", "cores", "release"]),
    // What is beside the flow.
    ("access", &["names"]),
    ("chance", &[]),
    ("clock", &[]),
    ("command", &["names"]),
    ("retry_after", &[]),
    // The way in.
    ("webhook", &["names", "bounds", "release", "event"]),
    // The registry.
    ("mlflow", &["names", "bounds", "registry", "chance", "retry_after"]),
    // What is asked of others.
    ("images", &["names", "release"]),
    // What is kept.
    ("git", &["names", "bounds", "release", "command", "cores", "retry_after"]),
    ("forge", &["names", "chance", "retry_after"]),
    ("sync", &["live"]),
    ("store", &["names", "release", "event", "registry", "access", "chance"]),
    // The only orchestrator.
    (
        "worker",
        &[
            "names",
            "bounds",
            "release",
            "event",
            "registry",
            "servable",
            "policy",
            "plan",
            "rollout",
            "render",
            "live",
            "drift",
            "import",
            "access",
            "chance",
            "clock",
            "command",
            "retry_after",
            "cores",
            "mlflow",
            "images",
            "git",
            "forge",
            "sync",
            "store",
        ],
    ),
    // Around the flow.
    ("web", &["names", "bounds", "release", "event", "access", "clock", "webhook", "worker"]),
    ("config", &["names", "release", "servable"]),
    ("telemetry", &[]),
    ("cli", &["names", "bounds", "release", "render", "access", "webhook", "mlflow", "worker", "config"]),
    ("app", &["*"]),
    ("main", &["config", "telemetry", "cli", "app"]),
];

/// Modules of which only a part may be named by some module.
const ONLY: &[(&str, &str, &[&str])] = &[
    // The command line is a client of the API; these are what it does offline.
    ("cli", "webhook", &["crate::webhook::doctor", "crate::webhook::signature"]),
    ("cli", "worker", &["crate::worker::offline"]),
];

/// The modules that do no I/O and read no clock.
const PURE: [&str; 9] = ["release", "servable", "policy", "plan", "render", "rollout", "live", "drift", "import"];

/// What a pure module would do I/O or read the clock with.
const IMPURE: [&str; 12] = [
    "std::fs",
    "std::env::",
    "std::net",
    "std::process",
    "std::thread",
    "tokio",
    "reqwest",
    "sqlx",
    "git2",
    "SystemTime",
    "Instant::",
    "Timestamp::now",
];

#[test]
fn every_module_names_only_what_the_import_map_allows() {
    let mut faults = Vec::new();
    for file in service_files() {
        let module = module_of(&file);
        if module == "lib" {
            continue;
        }
        let Some((_, allowed)) = MAP.iter().find(|(name, _)| *name == module) else {
            faults.push(format!("{}: the module `{module}` is not in the import map", file.path));
            continue;
        };
        for named in named_by(&file) {
            let target = named.split("::").nth(1).unwrap_or_default();
            let is_module = MAP.iter().any(|(name, _)| *name == target);
            if is_module && target != module && !allowed.contains(&target) && !allowed.contains(&"*") {
                faults.push(format!("{}: `{module}` may not name `{named}`", file.path));
            }
            for (_, _, parts) in ONLY.iter().filter(|(from, to, _)| *from == module && *to == target) {
                if !parts.iter().any(|part| named.starts_with(part)) {
                    faults.push(format!(
                        "{}: of `{target}`, `{module}` may name {parts:?} only, not `{named}`",
                        file.path
                    ));
                }
            }
        }
    }
    none("imports against the map", &faults);
}

#[test]
fn the_pure_modules_do_no_io_and_read_no_clock() {
    let mut faults = Vec::new();
    for file in service_files().into_iter().filter(|file| PURE.contains(&module_of(file).as_str())) {
        for word in IMPURE {
            faults.extend(file.code().filter(|line| line.contains(word)).map(|line| format!("{}: {line}", file.path)));
        }
    }
    none("I/O or a clock in a pure module", &faults);
}

#[test]
fn only_one_file_reads_the_environment_and_one_starts_programs() {
    let homes = [("std::env::var", "service/src/config"), ("Command::new", "service/src/command.rs")];
    let mut faults = Vec::new();
    for file in service_files() {
        for (word, home) in homes {
            let uses = file.code().filter(|line| line.contains(word) && !line.contains("clap::"));
            faults.extend(uses.filter(|_| !file.path.starts_with(home)).map(|line| format!("{}: {line}", file.path)));
        }
    }
    none("outside its one file", &faults);
}

#[test]
fn the_import_map_allows_nothing_that_nobody_names() {
    let mut unused = Vec::new();
    for (module, allowed) in MAP {
        let files: Vec<SourceFile> = service_files().into_iter().filter(|file| module_of(file) == *module).collect();
        assert!(!files.is_empty(), "no file of `{module}`");
        let named: Vec<String> = files.iter().flat_map(named_by).collect();
        let is_named = |target: &str| named.iter().any(|name| name.split("::").nth(1) == Some(target));
        unused.extend(
            allowed.iter().filter(|target| **target != "*" && !is_named(target)).map(|t| format!("{module}: {t}")),
        );
    }
    none("allowed and not used", &unused);
}

#[test]
fn the_table_in_the_architecture_is_the_import_map() {
    let page = std::fs::read_to_string(repository_root().join("ARCHITECTURE.md")).unwrap();
    let rows = page.lines().skip_while(|line| !line.starts_with("| Module |")).skip(2);
    let told: Vec<(String, String)> = rows
        .take_while(|line| line.starts_with('|'))
        .map(|row| {
            let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
            (cells[0].to_owned(), cells[cells.len() - 1].to_owned())
        })
        .collect();
    let quoted = |name: &&str| format!("`{name}`");
    let map: Vec<(String, String)> = MAP
        .iter()
        .map(|(module, allowed)| {
            let sees = match allowed {
                [] => "nothing".to_owned(),
                ["*"] => "everybody; only `main` sees it".to_owned(),
                names => names.iter().map(quoted).collect::<Vec<_>>().join(", "),
            };
            (format!("`{module}`"), sees)
        })
        .collect();
    assert_eq!(told, map);
}

#[test]
fn groups_of_imports_are_read_in_full() {
    let text = "use crate::{git, names::{Version, ReleaseKey}, event::Event};\nuse crate::store::Store;\n// use crate::web;\nfn f(x: crate::plan::Plan) {}\n";
    let file = SourceFile { path: "service/core/src/render/mod.rs".into(), text: text.into() };
    let named = named_by(&file);
    for expected in ["crate::git", "crate::names", "crate::event::Event", "crate::store::Store", "crate::plan::Plan"] {
        assert!(named.iter().any(|name| name.starts_with(expected)), "{expected}: {named:?}");
    }
    assert!(!named.iter().any(|name| name.contains("web")), "{named:?}");
}

/// The module that a file belongs to: the first part of its path below `src`.
fn module_of(file: &SourceFile) -> String {
    let core = file.path.strip_prefix("service/core/src/");
    let below = core.or_else(|| file.path.strip_prefix("service/src/")).unwrap_or(&file.path);
    below.split('/').next().unwrap_or_default().trim_end_matches(".rs").to_owned()
}

/// Every path into this crate that the production code names, groups taken apart one level deep.
fn named_by(file: &SourceFile) -> Vec<String> {
    let code: String =
        file.code().collect::<Vec<_>>().join("\n").replace("kmlflow_core::", "crate::").replace("kmlflow::", "crate::");
    let mut named = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '$') {
            continue;
        }
        let rest = &code[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            Some(group) => named.extend(members(group).into_iter().map(|member| format!("crate::{member}"))),
            None => named.push(format!("crate::{}", path_at(rest))),
        }
    }
    named
}

/// The path that a text begins with.
fn path_at(text: &str) -> &str {
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).unwrap_or(text.len());
    text[..end].trim_end_matches(':')
}

/// The members of a group, up to its closing brace.
fn members(group: &str) -> Vec<&str> {
    let mut depth = 0;
    let mut start = 0;
    let mut found = Vec::new();
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                found.push(path_at(group[start..at].trim()));
                start = at + 1;
                if c == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    found.retain(|member| !member.is_empty());
    found
}
