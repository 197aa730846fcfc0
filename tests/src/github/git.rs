//! The repository of the scripted GitHub: Git's own `http-backend`, and what people do at the forge.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use axum::body::Body;
use axum::http::{Method, Response, StatusCode};

use super::Way;
use crate::environment::{TestEnvironment, found, succeed};

/// What a protected branch answers to a push.
const PROTECTED: &str = r#"#!/bin/sh
[ -e protected ] || exit 0
while read -r old new name; do
    if [ "$name" = refs/heads/main ]; then
        echo "error: GH006: Protected branch update failed for refs/heads/main." >&2
        echo "Changes must be made through a pull request." >&2
        exit 1
    fi
done
"#;

/// Makes an empty repository that can be pushed to.
pub(super) fn make(environment: &TestEnvironment, repository: &Path) {
    succeed(environment.command("git").args(["init", "--quiet", "--bare", "--initial-branch=main"]).arg(repository));
    for (key, value) in [("http.receivepack", "true"), ("gc.auto", "0")] {
        succeed(environment.command("git").arg("-C").arg(repository).args(["config", key, value]));
    }
    let hook = repository.join("hooks/pre-receive");
    std::fs::create_dir_all(hook.parent().expect("its directory")).expect("a directory");
    std::fs::write(&hook, PROTECTED).expect("a hook");
    std::fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("a program");
}

/// Where the forge finds its programs.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Git in the repository, as the forge runs it.
fn git(repository: &Path) -> Command {
    let mut command = Command::new(found("git".as_ref(), PATH.as_ref()));
    command.env_clear().env("PATH", PATH).env("HOME", repository).env("GIT_CONFIG_NOSYSTEM", "1");
    for part in ["AUTHOR", "COMMITTER"] {
        command.env(format!("GIT_{part}_NAME"), "Ann").env(format!("GIT_{part}_EMAIL"), "ann@example.org");
    }
    command.arg("-C").arg(repository);
    command
}

fn ask(repository: &Path, arguments: &[&str]) -> Result<String, String> {
    let output = git(repository).args(arguments).output().expect("git starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

/// Where a branch is.
pub(super) fn tip(repository: &Path, branch: &str) -> Option<String> {
    ask(repository, &["rev-parse", "--verify", "--quiet", &format!("refs/heads/{branch}")]).ok()
}

/// Where each branch is.
pub(super) fn tips(repository: &Path) -> BTreeMap<String, String> {
    let told = ask(repository, &["for-each-ref", "--format=%(objectname) %(refname:lstrip=2)", "refs/heads"]);
    let told = told.unwrap_or_default();
    told.lines().filter_map(|line| line.split_once(' ')).map(|(tip, name)| (name.to_owned(), tip.to_owned())).collect()
}

/// Whether there is such a commit.
pub(super) fn has(repository: &Path, commit: &str) -> bool {
    ask(repository, &["cat-file", "-e", &format!("{commit}^{{commit}}")]).is_ok()
}

/// Makes a branch where `main` is, unless it is there.
pub(super) fn make_branch(repository: &Path, branch: &str) -> Result<(), String> {
    match tip(repository, branch) {
        Some(_) => Ok(()),
        None => ask(repository, &["branch", "--quiet", branch, "main"]).map(drop),
    }
}

/// Deletes a branch.
pub(super) fn delete_branch(repository: &Path, branch: &str) -> Result<(), String> {
    ask(repository, &["branch", "--quiet", "-D", branch]).map(drop)
}

/// Merges a branch into another; answers where the branch was, and the commit on the other.
pub(super) fn merge(
    repository: &Path,
    (branch, base): (&str, &str),
    (number, title): (u64, &str),
    way: Way,
) -> Result<(String, String), String> {
    let head = tip(repository, branch).ok_or("the branch is gone")?;
    let onto = tip(repository, base).ok_or("there is no branch to merge it into")?;
    let tree = ask(repository, &["merge-tree", "--write-tree", &onto, &head])?;
    let merged = format!("Merge pull request #{number} from acme/{branch}");
    let squashed = format!("{title} (#{number})");
    let mut arguments = vec!["commit-tree", tree.as_str(), "-p", &onto];
    match way {
        Way::Merge => arguments.extend(["-p", head.as_str(), "-m", &merged]),
        Way::Squash => arguments.extend(["-m", squashed.as_str()]),
    }
    let commit = ask(repository, &arguments)?;
    ask(repository, &["update-ref", &format!("refs/heads/{base}"), &commit, &onto])?;
    // It keeps that, whatever becomes of the branch.
    ask(repository, &["update-ref", &format!("refs/pull/{number}/head"), &head])?;
    Ok((head, commit))
}

/// Answers a request of Git by `http-backend`, which is a program of CGI.
pub(super) fn backend(
    root: &Path,
    method: &Method,
    (path, query): (&str, &str),
    kind: &str,
    body: &[u8],
) -> Response<Body> {
    let mut command = git(root);
    command.arg("http-backend").env("GIT_PROJECT_ROOT", root).env("GIT_HTTP_EXPORT_ALL", "1").env("REMOTE_USER", "x");
    command.env("REQUEST_METHOD", method.as_str()).env("PATH_INFO", path).env("QUERY_STRING", query);
    command.env("CONTENT_TYPE", kind).env("CONTENT_LENGTH", body.len().to_string());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().expect("git starts");
    let mut stdin = child.stdin.take().expect("its input");
    let sent = body.to_vec();
    let writer = std::thread::spawn(move || drop(stdin.write_all(&sent)));
    let output = child.wait_with_output().expect("its output").stdout;
    writer.join().expect("its input was written");
    let end = output.windows(4).position(|window| window == b"\r\n\r\n").expect("the headers of CGI");
    let mut response = Response::builder().status(StatusCode::OK);
    for line in String::from_utf8_lossy(&output[..end]).lines() {
        let (name, value) = line.split_once(": ").expect("a header");
        response = match name {
            "Status" => response.status(value.split(' ').next().and_then(|code| code.parse().ok()).unwrap_or(500)),
            _ => response.header(name, value),
        };
    }
    response.body(Body::from(output[end + 4..].to_vec())).expect("an answer")
}
