//! `kmlflow manifests`: the files of a release.

use std::path::{Path, PathBuf};

use clap::Args;
use reqwest::Method;
use serde_json::Value;

use super::args::Place;
use super::client::Call;
use super::error::{CliError, Exit};
use super::history::{commit_digits, whole_commit};
use super::{Context, usage};

/// Print the files of a release as they stand in the repository.
#[derive(Debug, Args)]
#[command(after_help = usage::MANIFESTS)]
pub(super) struct ManifestsArgs {
    #[command(flatten)]
    place: Place,
    /// As they were at this commit of its history.
    #[arg(long, value_name = "COMMIT", value_parser = commit_digits)]
    commit: Option<String>,
    /// Write one file each into this directory instead.
    #[arg(long, value_name = "DIR")]
    output_dir: Option<PathBuf>,
}

/// Prints or writes the files of a release.
pub(super) async fn manifests(args: ManifestsArgs, ctx: &Context) -> Result<Exit, CliError> {
    let ManifestsArgs { place, commit, output_dir } = args;
    let commit = match commit {
        Some(digits) => Some(whole_commit(&place, &digits, ctx).await?),
        None => None,
    };
    let path = place.path(&["manifests"]);
    let reply = ctx.client.call(Call::new(Method::GET, &path).query("commit", commit)).await?;
    let files = files(&reply.body);
    match output_dir {
        Some(dir) => {
            write(&dir, &files)?;
            ctx.output.progress(&format!("{} files in {}", files.len(), dir.display()));
        }
        None => ctx.output.data(&reply.raw, &reply.body, |_| stream(&files))?,
    }
    Ok(Exit::Done)
}

/// Files as one stream of YAML documents: each text unchanged below a line that says where it is from.
pub(super) fn stream(files: &[(String, String)]) -> String {
    files.iter().map(|(name, text)| format!("---\n# Source: {name}\n{text}")).collect()
}

/// Writes each file into a directory, which is made.
pub(super) fn write(dir: &Path, files: &[(String, String)]) -> Result<(), CliError> {
    std::fs::create_dir_all(dir).map_err(|error| CliError::file(dir, &error))?;
    for (name, text) in files {
        // A name from the network must not lead out of the directory.
        let Some(name) = Path::new(name).file_name().filter(|file| *file == name.as_str()) else {
            return Err(CliError::failed(format!("the file name `{}` leads elsewhere", crate::names::shown(name))));
        };
        let path = dir.join(name);
        std::fs::write(&path, text).map_err(|error| CliError::file(&path, &error))?;
    }
    Ok(())
}

fn files(body: &Value) -> Vec<(String, String)> {
    let files = body.get("manifests").and_then(Value::as_object).into_iter().flatten();
    files.filter_map(|(name, text)| Some((name.clone(), text.as_str()?.to_owned()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_has_every_file_unchanged() {
        let text = stream(&[("a.yaml".to_owned(), "a: 1\n".to_owned()), ("b.yaml".to_owned(), "b: 2\n".to_owned())]);
        assert_eq!(text, "---\n# Source: a.yaml\na: 1\n---\n# Source: b.yaml\nb: 2\n");
    }

    #[test]
    fn files_are_written_byte_for_byte_and_never_outside() {
        let dir = tempfile::tempdir().unwrap();
        let inside = dir.path().join("new");
        write(&inside, &[("seldon.yaml".to_owned(), "a: ü\n".to_owned())]).unwrap();
        assert_eq!(std::fs::read_to_string(inside.join("seldon.yaml")).unwrap(), "a: ü\n");
        for bad in ["../x", "a/b", "/x", "..", ""] {
            assert!(write(&inside, &[(bad.to_owned(), String::new())]).is_err(), "{bad}");
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
