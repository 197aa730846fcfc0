//! `kmlflow init` and `kmlflow repo move`: a repository elsewhere gets what the service needs, or the embedded one.

use clap::{Args, Subcommand};
use serde_json::json;

use super::backup::PremisesArgs;
use super::error::{CliError, Exit};
use super::output::Output;
use super::{Program, usage};
use crate::config::{Config, Environment};
use crate::names::CommitId;
pub use crate::worker::offline::Begun;

/// Give a repository elsewhere what the service needs: `--url` names it here.
#[derive(Debug, Args)]
#[command(after_help = usage::INIT)]
pub(super) struct InitArgs {
    /// The branch; that of the configuration (`main`) unless given.
    #[arg(long, value_name = "NAME")]
    branch: Option<String>,
    /// Add the policy that releases every model by its aliases even where the repository has something already.
    #[arg(long)]
    with_default_policy: bool,
    /// Add the whole platform even where the repository has something already.
    #[arg(long)]
    with_platform: bool,
    /// Say what would be added, and add nothing.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    premises: PremisesArgs,
}

/// Move the repository of a service that does not run.
#[derive(Debug, Subcommand)]
pub(super) enum RepoCommand {
    Move(MoveArgs),
}

/// Move the embedded repository, with its history, to an empty one elsewhere.
#[derive(Debug, Args)]
#[command(after_help = usage::REPO_MOVE)]
pub(super) struct MoveArgs {
    /// The address of the empty repository, as `git clone` takes it.
    #[arg(long, value_name = "URL")]
    to: String,
    #[command(flatten)]
    premises: PremisesArgs,
}

/// What `init` is to do.
#[derive(Debug, Clone)]
pub struct InitWish {
    /// The repository, as `git clone` takes it.
    pub url: String,
    pub with_policy: bool,
    pub with_platform: bool,
    pub is_dry: bool,
}

/// What `repo move` did.
#[derive(Debug, Clone)]
pub struct Moved {
    /// Where it is now, without a secret.
    pub address: String,
    /// Its newest commit.
    pub commit: CommitId,
}

/// Gives a repository elsewhere what a new one begins with.
pub(super) async fn init(
    args: InitArgs,
    url: Option<&str>,
    environment: &Environment,
    output: &Output,
    program: &impl Program,
) -> Result<Exit, CliError> {
    let InitArgs { branch, with_default_policy, with_platform, dry_run, premises } = args;
    let serve = format!("kmlflow serve{}", premises.arguments());
    let has_file = premises.config.is_some();
    let mut config = premises.load(environment)?;
    if let Some(branch) = branch {
        config.git.branch = branch;
    }
    let set = configured(&config);
    let is_set = url.is_none() || url == set.as_deref();
    let url = url.map(ToOwned::to_owned).or(set).ok_or_else(|| {
        CliError::usage("`kmlflow init` needs the address of a repository")
            .hint("name it by `kmlflow init --url URL`, or by `git.url` (KMLFLOW__GIT__URL)")
    })?;
    output.progress(&format!("Looking at the branch `{}` of the repository …", config.git.branch));
    let wish = InitWish { url, with_policy: with_default_policy, with_platform, is_dry: dry_run };
    let Begun { address, was_empty, added, commit } = program.init(config, wish).await?;
    let body = json!({"repository": address, "wasEmpty": was_empty, "added": added, "commit": commit});
    output.data(&body.to_string(), &body, |_| {
        let list: String = added.iter().map(|path| format!("  + {path}\n")).collect();
        match (&commit, added.is_empty()) {
            (_, true) => format!("{address} has everything already\n"),
            (None, _) => format!("To {address} would be added:\n{list}"),
            (Some(commit), _) => format!("To {address} was added, as commit {commit}:\n{list}"),
        }
    })?;
    if !dry_run {
        output.progress(&match (is_set, has_file) {
            (true, _) => format!("Start the service: {serve}"),
            (false, true) => format!("Set `git.url` to `{address}` in that file and start the service: {serve}"),
            (false, false) => {
                format!("Set `git.url` to `{address}` and start the service: KMLFLOW__GIT__URL={address} {serve}")
            }
        });
    }
    Ok(Exit::Done)
}

/// Moves the embedded repository elsewhere.
pub(super) async fn run(
    command: RepoCommand,
    environment: &Environment,
    output: &Output,
    program: &impl Program,
) -> Result<Exit, CliError> {
    let RepoCommand::Move(MoveArgs { to, premises }) = command;
    let config = premises.load(environment)?;
    output.progress("Pushing the whole history …");
    let Moved { address, commit } = program.move_repository(config, to).await?;
    let body = json!({"repository": address, "commit": commit});
    output.data(&body.to_string(), &body, |_| format!("{address} has the repository, up to commit {commit}\n"))?;
    output.progress(&format!(
        "Set `git.url` (KMLFLOW__GIT__URL) to `{address}`, let Argo CD read there, and start the service again; the old repository stays where it is"
    ));
    Ok(Exit::Done)
}

/// The repository that is configured, where it is elsewhere.
fn configured(config: &Config) -> Option<String> {
    (!config.git.is_embedded()).then(|| config.git.url.clone())
}
