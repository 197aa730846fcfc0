//! `kmlflow mlflow connect`: our webhook at a tracking server, made where the data directory is, because its secret lies there.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::error::{CliError, Exit};
use super::output::Output;
use super::table::{Cell, Tone, facts};
use super::usage;
use crate::config::{
    Config, Environment, Flags, MLFLOW_SECRETS_FILE, SecretText, fresh_secret, read_secrets_file, service_url,
    write_secrets_file,
};
use crate::mlflow::{Client, Connected, Error, GiveSecret, Obstacle, Outcome, Password, Settings};

/// Where MLflow posts its events.
const DOOR: &str = "/webhooks/mlflow";

/// How long MLflow may still sign with the secret before: its processes remember webhooks for 60 s, and the last try of a delivery that
/// nobody answered follows 97 s after the first (`MLFLOW_WEBHOOK_CACHE_TTL`, `MLFLOW_WEBHOOK_REQUEST_TIMEOUT`, both by default).
const OVERLAP: Duration = Duration::from_secs(180);

/// Speak to the tracking server.
#[derive(Debug, Subcommand)]
pub(super) enum MlflowCommand {
    Connect(Box<ConnectArgs>),
}

/// Make the webhook by which MLflow tells the service what changed, and try it.
#[derive(Debug, Args)]
#[command(after_help = usage::MLFLOW_CONNECT)]
pub(super) struct ConnectArgs {
    /// Address of MLflow; `mlflow.tracking_uri` of the configuration unless given.
    #[arg(long, value_name = "URL")]
    tracking_uri: Option<String>,
    /// Whom to be there; webhooks take an administrator where MLflow has accounts.
    #[arg(long, value_name = "NAME")]
    username: Option<String>,
    /// File with the password; `KMLFLOW__MLFLOW__PASSWORD` unless given.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Configuration of the service; `kmlflow.yaml` in the data directory unless given.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Data directory of the service, where the secret lies.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Give MLflow a new secret; the one before stays live beside it.
    #[arg(long)]
    rotate_secret: bool,
    /// Let only the new secret be live, once MLflow cannot use the one before any more.
    #[arg(long, conflicts_with = "rotate_secret")]
    finish_rotation: bool,
}

/// What is to become of the secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rotation {
    None,
    Begin,
    Finish,
}

/// The secrets that are live where the service runs, the newest first.
#[derive(Debug)]
enum Secrets {
    /// Named by the configuration, so whoever wrote it changes them.
    Configured(SecretText),
    /// Ours to change.
    Own { path: PathBuf, live: Vec<SecretText> },
}

/// Makes sure that MLflow tells the service.
pub(super) async fn run(
    command: MlflowCommand,
    url: Option<&str>,
    environment: &Environment,
    output: &Output,
) -> Result<Exit, CliError> {
    let MlflowCommand::Connect(args) = command;
    let rotation = match (args.rotate_secret, args.finish_rotation) {
        (true, _) => Rotation::Begin,
        (_, true) => Rotation::Finish,
        _ => Rotation::None,
    };
    let config = load(*args, environment)?;
    let client = client(&config)?;
    let url = service_url(url, &config, environment).map_err(|error| CliError::from(error).as_usage())?;
    let door = format!("{url}{DOOR}");
    let mut secrets = Secrets::find(&config)?;
    let before = secrets.change(rotation)?;
    let give = match rotation {
        Rotation::None => GiveSecret::WhereNeeded,
        Rotation::Begin => GiveSecret::Always,
        Rotation::Finish => GiveSecret::Never,
    };
    let connected = match client.connect(&door, secrets.newest()?.expose(), give).await {
        Ok(connected) => connected,
        Err(obstacle) => {
            if let Some(before) = before.filter(|_| rotation == Rotation::Finish) {
                secrets.replace(before)?;
            }
            return Err(obstacle.into());
        }
    };
    if rotation == Rotation::Begin {
        // From now on the overlap is counted.
        secrets.replace(secrets.live().to_vec())?;
    }
    let told = Told { connected, door, rotation, live: secrets.live().len() };
    let body = told.body();
    output.data(&body.to_string(), &body, |color| told.text(color))?;
    Ok(Exit::Done)
}

/// The settings of the service, with what the command line says about MLflow laid over them.
fn load(args: ConnectArgs, environment: &Environment) -> Result<Config, CliError> {
    let ConnectArgs { tracking_uri, username, password_file, config, data_dir, .. } = args;
    let password_file = password_file.map(std::path::absolute).transpose()?;
    let mut environment = environment.clone();
    let said = [
        ("KMLFLOW__MLFLOW__TRACKING_URI", tracking_uri),
        ("KMLFLOW__MLFLOW__USERNAME", username),
        ("KMLFLOW__MLFLOW__PASSWORD_FILE", password_file.map(|path| path.display().to_string())),
    ];
    environment.extend(said.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    Config::load(&Flags { config, data_dir, listen: None }, &environment)
        .map_err(|error| CliError::from(error).as_usage())
}

fn client(config: &Config) -> Result<Client, CliError> {
    let mlflow = &config.mlflow;
    let tracking_uri = mlflow.tracking_uri.clone().ok_or_else(|| {
        CliError::usage("there is no tracking server to connect to").hint("name one with --tracking-uri")
    })?;
    let password = mlflow.password.as_ref().map(|password| Password::new(password.expose().to_owned()));
    Client::new(Settings { tracking_uri, username: mlflow.username.clone(), password })
        .map_err(|error: Error| CliError::usage(error.to_string()).hint(error.cure().unwrap_or_default()))
}

impl Secrets {
    fn find(config: &Config) -> Result<Self, CliError> {
        if let Some(newest) = config.webhooks.mlflow.secrets.first() {
            return Ok(Self::Configured(newest.clone()));
        }
        let path = config.data_dir().join(MLFLOW_SECRETS_FILE);
        if !path.exists() {
            let dir = config.data_dir().display();
            return Err(CliError::usage(format!("no service has made a secret in `{dir}`"))
                .hint("start it once with `kmlflow serve`, or name its directory with --data-dir"));
        }
        let live = read_secrets_file(&path).map_err(|error| CliError::from(error).as_usage())?;
        Ok(Self::Own { path, live })
    }

    fn live(&self) -> &[SecretText] {
        match self {
            Self::Configured(newest) => std::slice::from_ref(newest),
            Self::Own { live, .. } => live,
        }
    }

    /// The one that MLflow is to sign with.
    fn newest(&self) -> Result<SecretText, CliError> {
        self.live().first().cloned().ok_or_else(|| CliError::failed("there is no secret"))
    }

    /// Begins or finishes a rotation; gives the live ones as they were before, where they were changed.
    fn change(&mut self, rotation: Rotation) -> Result<Option<Vec<SecretText>>, CliError> {
        let (path, live) = match self {
            _ if rotation == Rotation::None => return Ok(None),
            Self::Configured(_) => {
                return Err(CliError::new(Exit::Conflict, "the secret is one of the configuration, which is not ours to change")
                    .hint("put a file with a new one first in `webhooks.mlflow.secret_files`, restart the service, connect again"));
            }
            Self::Own { path, live } => (path.clone(), live.clone()),
        };
        let changed = match (rotation, live.len()) {
            // Made by a rotation that has not come to its end: the same one goes on.
            (Rotation::Begin, 2..) | (Rotation::Finish, ..2) => return Ok(None),
            (Rotation::Begin, _) => [vec![fresh_secret()?], live.clone()].concat(),
            (Rotation::Finish | Rotation::None, _) => {
                check_overlap(&path)?;
                live[..1].to_vec()
            }
        };
        self.replace(changed)?;
        Ok(Some(live))
    }

    fn replace(&mut self, secrets: Vec<SecretText>) -> Result<(), CliError> {
        if let Self::Own { path, live } = self {
            write_secrets_file(path, &secrets)?;
            *live = secrets;
        }
        Ok(())
    }
}

/// Whether MLflow has had the new secret for long enough.
fn check_overlap(path: &Path) -> Result<(), CliError> {
    let given = std::fs::metadata(path).and_then(|found| found.modified());
    // A file of the future, after the clock was set back, is as good as a new one.
    let age = given.map_err(|error| CliError::file(path, &error))?.elapsed().unwrap_or_default();
    match OVERLAP.checked_sub(age).map(|left| left.as_secs()).filter(|left| *left > 0) {
        Some(left) => {
            Err(CliError::new(Exit::Conflict, format!("MLflow may sign with the secret before for {left} s yet"))
                .hint("finish the rotation then; until then both are live"))
        }
        None => Ok(()),
    }
}

/// What there is to say in the end.
struct Told {
    connected: Connected,
    door: String,
    rotation: Rotation,
    /// How many secrets are live.
    live: usize,
}

impl Told {
    fn body(&self) -> Value {
        let Self { connected, door, rotation: _, live } = self;
        let Connected { id, name, outcome, removed, response_status, server_version } = connected;
        let (outcome, changed) = words(outcome);
        json!({
            "webhook": {"id": id, "name": name, "url": door}, "outcome": outcome, "changed": changed, "removed": removed,
            "delivery": {"status": response_status}, "liveSecrets": live, "mlflow": server_version,
        })
    }

    fn text(&self, color: bool) -> String {
        let Self { connected, door, rotation, live } = self;
        let Connected { id, name, outcome, removed, response_status, server_version } = connected;
        let done = match outcome {
            Outcome::Created => "created".to_owned(),
            Outcome::Changed(fields) => format!("changed: {}", fields.join(", ")),
            Outcome::Unchanged => "already so".to_owned(),
        };
        let mut out = facts(
            &[
                ("webhook", format!("{name} ({id})").into()),
                ("address", door.as_str().into()),
                ("which is", Cell::new(&done, Tone::Good)),
                ("test", Cell::new(&format!("delivered, signed, answered {response_status}"), Tone::Good)),
                ("MLflow", server_version.clone().unwrap_or_default().into()),
            ],
            color,
        );
        for id in removed {
            out.push_str(&format!(
                "Removed the webhook {id}, which had the same address and told everything once more.\n"
            ));
        }
        out.push_str(match (rotation, live) {
            (Rotation::Begin, _) => {
                "Both secrets are live; in three minutes: kmlflow mlflow connect --finish-rotation\n"
            }
            (Rotation::Finish, _) => "Only the new secret is live.\n",
            (Rotation::None, 2..) => "Two secrets are live; to end that: kmlflow mlflow connect --finish-rotation\n",
            _ => "",
        });
        out
    }
}

fn words(outcome: &Outcome) -> (&'static str, &[&'static str]) {
    match outcome {
        Outcome::Created => ("created", &[]),
        Outcome::Changed(fields) => ("changed", fields),
        Outcome::Unchanged => ("unchanged", &[]),
    }
}

impl From<Obstacle> for CliError {
    fn from(obstacle: Obstacle) -> Self {
        let Obstacle { sentence, cure, is_refusal } = obstacle;
        Self::new(if is_refusal { Exit::Refused } else { Exit::Failed }, sentence).hint(cure)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(live: &[&str]) -> (tempfile::TempDir, Secrets) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mlflow");
        let live: Vec<SecretText> = live.iter().map(|text| SecretText::new(text)).collect();
        write_secrets_file(&path, &live).unwrap();
        (dir, Secrets::Own { path, live })
    }

    fn age(dir: &tempfile::TempDir, age: Duration) {
        let file = std::fs::File::options().write(true).open(dir.path().join("mlflow")).unwrap();
        file.set_modified(std::time::SystemTime::now() - age).unwrap();
    }

    fn written(dir: &tempfile::TempDir) -> Vec<String> {
        let secrets = read_secrets_file(&dir.path().join("mlflow")).unwrap();
        secrets.iter().map(|secret| secret.expose().to_owned()).collect()
    }

    #[test]
    fn a_rotation_puts_a_new_secret_before_the_old_one_and_goes_on_where_it_stopped() {
        let (dir, mut secrets) = own(&["old"]);
        assert_eq!(secrets.change(Rotation::Begin).unwrap().unwrap()[0].expose(), "old");
        let both = written(&dir);
        assert!(both.len() == 2 && both[1] == "old" && secrets.newest().unwrap().expose() == both[0], "two of them");
        assert_eq!(secrets.change(Rotation::Begin).unwrap(), None);
        assert_eq!(written(&dir), both);
    }

    #[test]
    fn a_rotation_ends_only_after_the_overlap() {
        let (dir, mut secrets) = own(&["new", "old"]);
        age(&dir, OVERLAP - Duration::from_secs(30));
        let error = secrets.change(Rotation::Finish).unwrap_err();
        assert!(error.exit == Exit::Conflict && error.sentence.contains("s yet"), "{error:?}");
        assert_eq!(written(&dir), ["new", "old"]);
        age(&dir, OVERLAP);
        let before = secrets.change(Rotation::Finish).unwrap().unwrap();
        assert_eq!(written(&dir), ["new"]);
        secrets.replace(before).unwrap();
        assert_eq!(written(&dir), ["new", "old"]);
    }

    #[test]
    fn without_a_rotation_there_is_nothing_to_finish_and_nothing_is_changed() {
        let (dir, mut secrets) = own(&["only"]);
        for rotation in [Rotation::Finish, Rotation::None] {
            assert_eq!(secrets.change(rotation).unwrap(), None);
        }
        assert_eq!(written(&dir), ["only"]);
    }

    #[test]
    fn a_configured_secret_is_not_ours_to_rotate() {
        let mut secrets = Secrets::Configured(SecretText::new("hunter2"));
        assert_eq!(secrets.change(Rotation::None).unwrap(), None);
        let error = secrets.change(Rotation::Begin).unwrap_err();
        assert!(error.exit == Exit::Conflict && error.hint.unwrap().contains("webhooks.mlflow.secret_files"));
    }

    #[test]
    fn what_was_done_is_told_for_people_and_machines() {
        let connected = Connected {
            id: "w-1".to_owned(),
            name: "kmlflow".to_owned(),
            outcome: Outcome::Changed(vec!["events", "secret"]),
            removed: vec!["w-2".to_owned()],
            response_status: 202,
            server_version: Some("3.17.2".to_owned()),
        };
        let told = Told { connected, door: "http://k/webhooks/mlflow".to_owned(), rotation: Rotation::Begin, live: 2 };
        let text = told.text(false);
        for part in ["kmlflow (w-1)", "changed: events, secret", "answered 202", "3.17.2", "w-2", "--finish-rotation"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let body = told.body();
        assert_eq!((&body["outcome"], &body["changed"][1]), (&json!("changed"), &json!("secret")));
        assert_eq!((&body["removed"][0], &body["liveSecrets"]), (&json!("w-2"), &json!(2)));
    }
}
