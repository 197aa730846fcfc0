//! The repository in one file, for a backup, and out of it again; or what a clone knows of a branch elsewhere.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::GitError;
use super::remote::SHALLOW;
use super::repository::{harden, init_bare};
use super::upstream;
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
    let still = to.with_extension("still");
    stand_still(repository, &still)?;
    let made = run(git, "bundle", &still, &["bundle", "create", "--quiet", text(to)?, "--all"], &[]).await;
    fs::remove_dir_all(&still)?;
    made
}

/// Makes a repository with the objects of another and with its branches as they are now: Git leaves out of a bundle what moves while it begins,
/// and makes none where that is all.
fn stand_still(repository: &Path, beside: &Path) -> Result<(), GitError> {
    init_bare(beside)?;
    fs::create_dir_all(beside.join("objects/info"))?;
    let objects = fs::canonicalize(repository.join("objects"))?;
    fs::write(beside.join("objects/info/alternates"), format!("{}\n", text(&objects)?))?;
    match fs::copy(repository.join(SHALLOW), beside.join(SHALLOW)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let (from, still) = (git2::Repository::open_bare(repository)?, git2::Repository::open_bare(beside)?);
    for reference in from.references()? {
        let reference = reference?;
        if let (Ok(name), Some(id)) = (str::from_utf8(reference.name_bytes()), reference.target()) {
            still.reference(name, id, true, "")?;
        }
    }
    Ok(())
}

/// What belongs to the bundle of a clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloneParts {
    /// Of which address and branch it is.
    pub of: String,
    /// Git's note of where its history ends, while it has not all of it.
    pub shallow: Option<Vec<u8>>,
}

/// Writes all that a clone knows of a branch elsewhere into a file that is not there yet, and answers what belongs to it.
///
/// # Errors
/// There is no clone, or Git cannot read it or write the file.
pub async fn bundle_clone(git: &Git, clone: &Path, to: &Path) -> Result<CloneParts, GitError> {
    let of = upstream::clone_of(clone)?;
    let shallow = match fs::read(clone.join(SHALLOW)) {
        Ok(shallow) => Some(shallow),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(error.into()),
    };
    bundle(git, clone, to).await?;
    Ok(CloneParts { of, shallow })
}

/// Makes a clone at a vacant place out of a bundle.
///
/// # Errors
/// The file is no bundle, or a part of the history is missing in it.
pub async fn unbundle_clone(git: &Git, from: &Path, parts: &CloneParts, path: &Path) -> Result<(), GitError> {
    upstream::make(path, &parts.of)?;
    if let Some(shallow) = &parts.shallow {
        fs::write(path.join(SHALLOW), shallow)?;
    }
    // What others have in their repository is as it is.
    let settings = [("fetch.fsckObjects", "false")];
    run(git, "fetch", path, &["fetch", "--quiet", text(from)?, "+refs/kmlflow/*:refs/kmlflow/*"], &settings).await
}

/// Makes a repository at a vacant place out of a bundle; every object is checked.
///
/// # Errors
/// The file is no bundle, or what is in it is damaged.
pub async fn unbundle(git: &Git, from: &Path, path: &Path) -> Result<(), GitError> {
    let beside = path.with_extension("new");
    fs::create_dir_all(&beside)?;
    run(git, "init", &beside, &["init", "--bare", "--quiet", "--initial-branch=main", "--template="], &[]).await?;
    let fetch = ["fetch", "--quiet", text(from)?, "+refs/heads/*:refs/heads/*"];
    run(git, "fetch", &beside, &fetch, &[("fetch.fsckObjects", "true")]).await?;
    harden(&git2::Repository::open_bare(&beside)?)?;
    fs::rename(&beside, path)?;
    Ok(())
}

async fn run(
    git: &Git,
    what: &'static str,
    repository: &Path,
    arguments: &[&str],
    more: &[(&str, &str)],
) -> Result<(), GitError> {
    let fixed = [("core.fsync", "committed,reference"), ("gc.auto", "0")];
    let settings: Vec<(&str, &str)> = fixed.into_iter().chain(more.iter().copied()).collect();
    let call = Call { what, repository, arguments, settings: &settings, protocol: None };
    git.run(&call, BUNDLE_LIMIT, OUTPUT_BYTES_MAX).await?;
    Ok(())
}

fn text(path: &Path) -> Result<&str, GitError> {
    path.to_str().ok_or_else(|| GitError::InvalidPath("the file".to_owned()))
}
