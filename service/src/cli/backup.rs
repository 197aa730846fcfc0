//! `kmlflow backup` and `kmlflow restore`: everything that a data directory holds in one file, and back.

use std::path::{Path, PathBuf};

use clap::Args;

use super::error::{CliError, Exit};
use super::output::Output;
use super::usage;
use crate::config::{Config, Environment, Flags, SecretText};
use crate::worker::offline::{self, OfflineError, Premises, StoreError};

/// Put repository, store and secrets into one file.
#[derive(Debug, Args)]
#[command(after_help = usage::BACKUP)]
pub(super) struct BackupArgs {
    /// The file to write; it must not be there yet.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    premises: PremisesArgs,
}

/// Bring a backup back into an empty data directory.
#[derive(Debug, Args)]
#[command(after_help = usage::RESTORE)]
pub(super) struct RestoreArgs {
    /// The backup.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    premises: PremisesArgs,
}

/// Which service it is about.
#[derive(Debug, Clone, Args)]
pub(super) struct PremisesArgs {
    /// Configuration of the service; `kmlflow.yaml` in the data directory unless given.
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Its data directory; the XDG data directory + `kmlflow` unless given.
    #[arg(long, value_name = "DIR")]
    pub(super) data_dir: Option<PathBuf>,
}

/// Makes a backup.
pub(super) async fn backup(args: BackupArgs, environment: &Environment, output: Output) -> Result<Exit, CliError> {
    let BackupArgs { file, premises } = args;
    let config = premises.load(environment)?;
    let beside = file.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::metadata(beside).map_err(|error| CliError::file(beside, &error))?;
    let held = offline::backup(of(&config), &file).await.map_err(|error| explain(&error))?;
    let repository = if held.has_repository { "the repository, " } else { "" };
    let clone = held.clone_of.map(|of| format!("what is known here of {}, ", branch(&of))).unwrap_or_default();
    output.line(&format!(
        "{} holds {repository}{clone}the store and the secrets; keep it as secret as they are",
        file.display()
    ))?;
    Ok(Exit::Done)
}

/// Brings a backup back.
pub(super) async fn restore(args: RestoreArgs, environment: &Environment, output: Output) -> Result<Exit, CliError> {
    let RestoreArgs { file, premises } = args;
    std::fs::metadata(&file).map_err(|error| CliError::file(&file, &error).as_usage())?;
    let by = PremisesArgs { data_dir: None, ..premises.clone() }.arguments();
    let config = premises.load(environment)?;
    offline::restore(of(&config), &file).await.map_err(|error| explain(&error))?;
    let dir = config.data_dir().display();
    output.line(&format!("{dir} is as it was; `kmlflow serve{by} --data-dir {dir}` goes on with it"))?;
    Ok(Exit::Done)
}

impl PremisesArgs {
    /// They as another command takes them, with a blank before each.
    pub(super) fn arguments(&self) -> String {
        let Self { config, data_dir } = self;
        let named = [("--config", config), ("--data-dir", data_dir)];
        let given = named.into_iter().filter_map(|(name, path)| Some((name, path.as_ref()?)));
        given.map(|(name, path)| format!(" {name} {}", path.display())).collect()
    }

    /// The settings of that service.
    pub(super) fn load(self, environment: &Environment) -> Result<Config, CliError> {
        let Self { config, data_dir } = self;
        Ok(Config::load(&Flags { config, data_dir, listen: None }, environment)?)
    }
}

/// Where everything of a service lies.
pub(super) fn of(config: &Config) -> Premises<'_> {
    Premises {
        data_dir: config.data_dir(),
        store_url: &config.store.url,
        store_password: config.store.password.as_ref().map(SecretText::expose),
        search_path: config.search_path.as_deref(),
        is_elsewhere: !config.git.is_embedded(),
    }
}

/// A branch elsewhere as people write it: its address and its name are told apart by a blank.
fn branch(of: &str) -> String {
    let (address, branch) = of.rsplit_once(' ').unwrap_or((of, "?"));
    format!("`{branch}` of `{address}`")
}

fn explain(error: &OfflineError) -> CliError {
    let hint = match error {
        OfflineError::Nothing | OfflineError::NotBegun | OfflineError::NoDirectory => {
            "name the data directory of the service with --data-dir"
        }
        OfflineError::Exists => "choose another name",
        OfflineError::NotEmpty(_) => "bring it back into a new directory with --data-dir",
        OfflineError::StoreOnServer => {
            "dump the database first, then copy `secrets`, `admin-token` and, without `git.url`, `gitops.git` of the data directory; bring them back in the same order"
        }
        OfflineError::StoreElsewhere => "set `store.url` to `sqlite:`",
        OfflineError::Locked(_) => "stop the service first",
        OfflineError::Store(StoreError::Moved { .. }) => return CliError::told(&error.to_string()),
        OfflineError::Files(_) | OfflineError::Store(_) | OfflineError::Git(_) => {
            "check the disk, and who may read and write there"
        }
        OfflineError::NotABackup(_) => {
            return CliError::usage(error.to_string()).hint("give a file that `kmlflow backup` has written");
        }
        OfflineError::Program(_) => return CliError::failed(error.to_string()),
    };
    CliError::failed(error.to_string()).hint(hint)
}
