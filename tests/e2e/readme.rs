//! The commands of the two READMEs, run as they stand there.
//!
//! A block that opens with ```` ```sh test=NAME ```` is run by Bash. Blocks of one name are one script, in their order, on a service of
//! their own with an empty data directory. The script finds `KMLFLOW_URL`, `KMLFLOW_TOKEN`, `DATA_DIR` and `kmlflow` on the `PATH`, stands
//! in an empty directory, and stops at the first command that fails. A line that begins with `#=> ` insists that the output of the
//! commands so far holds the rest of the line.

use std::collections::BTreeMap;
use std::path::Path;

use tests::TestEnvironment;
use tests::environment::{program, repository_root, run};

/// The scripts of a document by name.
fn scripts(document: &str) -> BTreeMap<String, String> {
    let mut scripts: BTreeMap<String, String> = BTreeMap::new();
    let mut open: Option<String> = None;
    for line in document.lines() {
        match &open {
            Some(_) if line.trim_start().starts_with("```") => open = None,
            Some(name) => scripts.entry(name.clone()).or_default().push_str(&format!("{line}\n")),
            None => {
                // Any other block is skipped to its end under a name that is never run.
                let name = |info: &str| info.strip_prefix("sh test=").unwrap_or_default().trim().to_owned();
                open = line.trim_start().strip_prefix("```").map(name);
            }
        }
    }
    scripts.remove("");
    scripts
}

/// The script with every expectation turned into a check of what has been said since the one before.
pub(crate) fn with_checks(script: &str) -> String {
    let mut text = "set -euo pipefail\nsaid=$PWD/said\nexec 3>&1 >\"$said\" 2>&1\n".to_owned();
    for line in script.lines() {
        match line.strip_prefix("#=> ") {
            Some(expected) => {
                let quoted = expected.replace('\'', r"'\''");
                text.push_str(&format!(
                    "grep -qF -- '{quoted}' \"$said\" || {{ echo 'expected: {quoted}' >&3; cat \"$said\" >&3; exit 1; }}\n"
                ));
            }
            None => text.push_str(&format!("{line}\n")),
        }
    }
    // On failure the reader wants to see what was said.
    text.replacen(
        "set -euo pipefail\n",
        "set -euo pipefail\ntrap 'code=$?; ((code == 0)) || cat \"$said\" >&3' EXIT\n",
        1,
    )
}

pub(crate) fn document(path: &str) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(repository_root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    scripts(&text)
}

fn run_script(name: &str, script: &str) {
    let environment = TestEnvironment::new();
    let server = environment.server().start();
    std::fs::create_dir(environment.path("here")).unwrap();
    let mut bash = environment.command("bash");
    let programs = program("kmlflow").parent().map(Path::to_owned).unwrap();
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    bash.env("PATH", path)
        .env("KMLFLOW_URL", server.url())
        .env("KMLFLOW_TOKEN", server.token())
        .env("DATA_DIR", environment.data_dir())
        .current_dir(environment.path("here"));
    let file = environment.write("script.sh", with_checks(script));
    let ran = run(bash.arg(file));
    assert_eq!(ran.code, 0, "`{name}` of the document:\n{script}\n--- said\n{}{}", ran.stdout, ran.stderr);
}

#[test]
fn every_command_of_the_readme_works_as_it_stands_there() {
    // What needs MLflow is the tier's of that name.
    for (name, script) in document("README.md").into_iter().filter(|(name, _)| !name.starts_with("mlflow")) {
        run_script(&name, &script);
    }
}

/// What a reader of the GitOps repository has: a clone, a name, the right to push, and a release with a past.
const CLONED: &str = r#"
release() { kmlflow release fraud --model fraud --version "$1" -n models --image "registry.example/fraud:$1"; }
release 7
release 8
git clone --quiet "$KMLFLOW_URL/git/gitops.git" gitops
cd gitops
git config user.name Ada
git config user.email ada@example.com
git config http.extraHeader "Authorization: Bearer $KMLFLOW_TOKEN"
"#;

/// Version 7 serves again, and the next request needs nobody's consent.
const BACK_AT_7: &str = r#"
release 7
#=> nothing had to change; single, settled: v7 100%
git pull --quiet
test -z "$(git diff --name-only "$(git log --format=%H -1 --grep='^Action: create$')" -- releases | grep -v release.yaml)"
release 9
git pull --quiet
grep -q 'version: .*9' releases/production/models/fraud/release.yaml
"#;

#[test]
fn every_command_of_the_gitops_readme_works_as_it_stands_there() {
    let found = document("gitops-repo/README.md");
    assert_eq!(found.keys().map(String::as_str).collect::<Vec<_>>(), ["by-hand", "rollback", "who"]);
    run_script("who", &format!("{CLONED}{}#=> Action: create\n", found["who"]));
    run_script("rollback", &format!("{CLONED}{}{BACK_AT_7}", found["rollback"]));
    run_script("by-hand", &format!("{CLONED}{}{BACK_AT_7}", found["by-hand"]));
    let retracted = "kmlflow retract fraud -n models\ngit pull --quiet\n";
    run_script("by-hand, retracted", &format!("{CLONED}{retracted}{}{BACK_AT_7}", found["by-hand"]));
}

#[test]
fn blocks_of_one_name_are_one_script_and_others_are_left_alone() {
    let found = scripts(
        "```sh test=a\none\n```\ntext\n```yaml\nno\n```\n```sh by-hand=stays up\nno\n```\n```sh test=a\ntwo\n```\n```sh test=b\nthree\n```\n",
    );
    assert_eq!(found.get("a").map(String::as_str), Some("one\ntwo\n"));
    assert_eq!(found.get("b").map(String::as_str), Some("three\n"));
    assert_eq!(found.len(), 2);
}
