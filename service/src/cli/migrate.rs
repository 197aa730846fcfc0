//! `kmlflow migrate`: the store in a file into a database of a PostgreSQL server.

use std::error::Error as _;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Map, Value};

use super::backup::{PremisesArgs, of};
use super::error::{CliError, Exit};
use super::output::Output;
use super::usage;
use crate::config::{Environment, SecretText, read_secret_file, split_password};
use crate::worker::offline::{self, OfflineError, Premises, StoreError};

/// Take the store over from its file to a PostgreSQL server.
#[derive(Debug, Args)]
#[command(after_help = usage::MIGRATE)]
pub(super) struct MigrateArgs {
    /// The file; `sqlite:` is the one in the data directory.
    #[arg(long, value_name = "URL", default_value = "sqlite:")]
    from: String,
    /// The empty database, without a password; `store.url` unless given.
    #[arg(long, value_name = "URL")]
    to: Option<String>,
    /// File with the password of `--to`.
    #[arg(long, value_name = "FILE", requires = "to")]
    password_file: Option<PathBuf>,
    #[command(flatten)]
    premises: PremisesArgs,
}

/// Copies the store.
pub(super) async fn run(args: MigrateArgs, environment: &Environment, output: Output) -> Result<Exit, CliError> {
    let MigrateArgs { from, to, password_file, premises } = args;
    if to.as_deref().is_some_and(|url| split_password(url).1.is_some()) {
        return Err(CliError::usage("the password in `--to` could be seen by everybody on this machine")
            .hint("write it into a file that only its owner can read, and name the file with --password-file"));
    }
    let password = password_file.as_deref().map(read_secret_file).transpose()?;
    let (serve, has_config) = (format!("kmlflow serve{}", premises.arguments()), premises.config.is_some());
    let config = premises.load(environment)?;
    let mut target = of(&config);
    if let Some(url) = to.as_deref().filter(|url| *url != target.store_url) {
        target = Premises { store_url: url, store_password: None, ..target };
    }
    target.store_password = password.as_ref().map(SecretText::expose).or(target.store_password);
    let copied = offline::migrate(target, &from).await.map_err(|error| explain(&error))?;
    let body: Map<String, Value> = copied.iter().map(|(table, rows)| ((*table).to_owned(), (*rows).into())).collect();
    let body = Value::Object(body);
    let told = copied.iter().map(|(table, rows)| format!("{rows:>8} {}\n", table.replace('_', " ")));
    output.data(&body.to_string(), &body, |_| told.collect())?;
    output.progress("The file is kept as it was, and no service begins with it any more");
    let is_set = config.store.url == target.store_url;
    output.progress(&next(target.store_url, password_file.as_deref(), (is_set, has_config), &serve));
    Ok(Exit::Done)
}

/// What is set, and where, before the service starts with the database.
fn next(url: &str, password_file: Option<&Path>, (is_set, has_config): (bool, bool), serve: &str) -> String {
    if is_set {
        return format!("Start the service: {serve}");
    }
    let mut keys = format!("`store.url` to `{url}`");
    let mut variables = format!("KMLFLOW__STORE__URL={url} ");
    if let Some(file) = password_file.map(Path::display) {
        keys.push_str(&format!(" and `store.password_file` to `{file}`"));
        variables.push_str(&format!("KMLFLOW__STORE__PASSWORD_FILE={file} "));
    }
    match has_config {
        true => format!("Set {keys} in that file and start the service: {serve}"),
        false => format!("Set {keys} and start the service: {variables}{serve}"),
    }
}

fn explain(error: &OfflineError) -> CliError {
    let failed = CliError::failed(error.to_string());
    match error {
        OfflineError::Locked(_) => failed.hint("stop the service first"),
        OfflineError::Store(StoreError::Direction) => {
            failed.hint("name the database by `--to`, or by `store.url` (KMLFLOW__STORE__URL)")
        }
        OfflineError::NoDirectory => failed.hint("name the data directory of the service with --data-dir"),
        OfflineError::Store(error) => {
            let told = CliError::told(&error.to_string());
            // There is no log here that would have it.
            let cause = error.source().map(|cause| format!("the cause was: {cause}"));
            let hints: Vec<String> = told.hint.iter().cloned().chain(cause).collect();
            CliError { hint: (!hints.is_empty()).then(|| hints.join("; ")), ..told }
        }
        _ => failed,
    }
}

#[cfg(test)]
mod tests {
    use super::super::output::Format;
    use super::*;

    fn migrate(to: &str, environment: &Environment) -> Result<Exit, CliError> {
        let dir = tempfile::tempdir().unwrap();
        let args = MigrateArgs {
            from: "sqlite:".into(),
            to: Some(to.into()),
            password_file: None,
            premises: PremisesArgs { config: None, data_dir: Some(dir.path().into()) },
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(run(args, environment, Output::new(Format::Text, false)))
    }

    #[test]
    fn a_password_on_the_command_line_is_refused_and_not_repeated() {
        let error = migrate("postgres://k:hunter2@localhost/kmlflow", &Environment::new()).unwrap_err();
        assert_eq!(error.exit, Exit::Usage);
        assert!(!format!("{error:?}").contains("hunter2") && error.hint.unwrap().contains("--password-file"));
    }

    #[test]
    fn what_is_to_be_set_is_said_with_its_keys_and_variables() {
        let url = "postgres://k@db/kmlflow";
        let said = |file: Option<&str>, of| next(url, file.map(Path::new), of, "kmlflow serve --data-dir ./data");
        assert_eq!(said(None, (true, true)), "Start the service: kmlflow serve --data-dir ./data");
        assert_eq!(
            said(Some("./pw"), (false, true)),
            format!(
                "Set `store.url` to `{url}` and `store.password_file` to `./pw` in that file and start the service: kmlflow serve --data-dir ./data"
            )
        );
        assert_eq!(
            said(Some("./pw"), (false, false)),
            format!(
                "Set `store.url` to `{url}` and `store.password_file` to `./pw` and start the service: KMLFLOW__STORE__URL={url} KMLFLOW__STORE__PASSWORD_FILE=./pw kmlflow serve --data-dir ./data"
            )
        );
    }

    #[test]
    fn a_database_that_nobody_named_is_asked_for_by_its_key() {
        let error = migrate("sqlite:other.db", &Environment::new()).unwrap_err();
        assert!(error.sentence.contains("in no other direction"), "{error}");
        assert!(error.hint.unwrap().contains("`store.url` (KMLFLOW__STORE__URL)"));
    }

    #[test]
    fn nothing_to_copy_is_said() {
        let error = migrate("postgres://k@localhost/kmlflow", &Environment::new()).unwrap_err();
        assert!(error.sentence.contains("there is no store at"), "{error}");
    }
}
