//! The repository in one file, for a backup, and out of it again.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::GitError;
use super::repository::harden;
use crate::command::{Call, Git};

/// A bundle of 100,000 commits takes a minute; a slow disk takes longer.
const BUNDLE_LIMIT: Duration = Duration::from_secs(1_800);

/// It is quiet; a few words are let by.
const OUTPUT_BYTES_MAX: u64 = 64 << 10;

/// Writes every branch of a repository into a file that is not there yet. Commits and pushes go on meanwhile: they are in it or not.
///
/// # Errors
/// There is no repository, or Git cannot read it or write the file.
pub async fn bundle(git: &Git, repository: &Path, to: &Path) -> Result<(), GitError> {
    let to = text(to)?;
    run(git, "bundle", repository, &["bundle", "create", "--quiet", to, "--all"]).await
}

/// Makes a repository at a vacant place out of a bundle; every object is checked.
///
/// # Errors
/// The file is no bundle, or what is in it is damaged.
pub async fn unbundle(git: &Git, from: &Path, path: &Path) -> Result<(), GitError> {
    let beside = path.with_extension("new");
    fs::create_dir_all(&beside)?;
    run(git, "init", &beside, &["init", "--bare", "--quiet", "--initial-branch=main", "--template="]).await?;
    run(git, "fetch", &beside, &["fetch", "--quiet", text(from)?, "+refs/heads/*:refs/heads/*"]).await?;
    harden(&git2::Repository::open_bare(&beside)?)?;
    fs::rename(&beside, path)?;
    Ok(())
}

async fn run(git: &Git, what: &'static str, repository: &Path, arguments: &[&str]) -> Result<(), GitError> {
    let settings = [("core.fsync", "committed,reference"), ("transfer.fsckObjects", "true"), ("gc.auto", "0")];
    let call = Call { what, repository, arguments, settings: &settings, protocol: None };
    git.run(&call, BUNDLE_LIMIT, OUTPUT_BYTES_MAX).await?;
    Ok(())
}

fn text(path: &Path) -> Result<&str, GitError> {
    path.to_str().ok_or_else(|| GitError::InvalidPath("the file".to_owned()))
}
