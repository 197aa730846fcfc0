//! `kmlflow doctor webhook`: why a signature does not match, offline.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use jiff::Timestamp;

use super::error::{CliError, Exit};
use super::output::Output;
use super::table::{Cell, Tone, facts, plain};
use super::usage;
use crate::config::{ClientSettings, Environment, default_data_dir, read_secret_file};
use crate::webhook::doctor::{Diagnosis, Door, Exhibit, diagnose};
use crate::webhook::signature::{Headers, Secret};

/// The most bytes of a body that is looked at: what the doors take.
const BODY_BYTES_MAX: u64 = crate::bounds::BODY_BYTES_MAX as u64;

/// Find out what is wrong.
#[derive(Debug, Subcommand)]
pub(super) enum DoctorCommand {
    Webhook(WebhookArgs),
}

/// Say why a delivery's signature does not match.
#[derive(Debug, Args)]
#[command(after_help = usage::DOCTOR_WEBHOOK)]
pub(super) struct WebhookArgs {
    /// File with the headers as they were sent, one `Name: value` per line.
    #[arg(long, value_name = "FILE")]
    headers: PathBuf,
    /// File with the body, byte for byte as it was sent.
    #[arg(long, value_name = "FILE")]
    body: PathBuf,
    /// File with the secret; those of the data directory unless given.
    #[arg(long, value_name = "FILE")]
    secret_file: Vec<PathBuf>,
    /// Which door it was sent to; told by the headers unless given.
    #[arg(long, value_enum, value_name = "DOOR")]
    door: Option<DoorName>,
    /// When it arrived, such as 2026-11-23T10:00:00Z; now unless given.
    #[arg(long, value_name = "TIME", value_parser = time)]
    at: Option<Timestamp>,
}

/// A door as it is named in an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum DoorName {
    Mlflow,
    Generic,
    Github,
}

impl From<DoorName> for Door {
    fn from(name: DoorName) -> Self {
        match name {
            DoorName::Mlflow => Self::Mlflow,
            DoorName::Generic => Self::Standard,
            DoorName::Github => Self::Github,
        }
    }
}

/// Examines a delivery and says what is wrong with it.
pub(super) fn run(
    command: DoctorCommand,
    url: Option<&str>,
    environment: &Environment,
    output: &Output,
) -> Result<Exit, CliError> {
    let DoctorCommand::Webhook(WebhookArgs { headers, body: body_file, secret_file, door, at }) = command;
    let headers = Headers::from_pairs(parse_headers(&read(&headers)?)?);
    let door = door.map_or_else(|| Door::guess(&headers), Door::from);
    let secret_files = secret_files(secret_file, door, environment)?;
    let secrets = secrets(&secret_files, door)?;
    let body = read(&body_file)?;
    let present = Timestamp::now();
    let exhibit = Exhibit {
        door,
        headers,
        body,
        secrets,
        now: at.unwrap_or(present),
        present,
        body_file: std::path::absolute(&body_file).ok().and_then(|path| Some(path.to_str()?.to_owned())),
        url: ClientSettings::address(url, environment).map_err(|error| CliError::from(error).as_usage())?,
        // Whoever can read the secret's file holds the secret.
        may_sign: true,
    };
    let diagnosis = diagnose(&exhibit);
    let fine = diagnosis.code == "fine";
    let body = serde_json::to_value(&diagnosis).unwrap_or_default();
    output.data(&body.to_string(), &body, |color| report(&diagnosis, (door, &secret_files), color))?;
    Ok(if fine { Exit::Done } else { Exit::Failed })
}

fn report(diagnosis: &Diagnosis, (door, secret_files): (Door, &[PathBuf]), color: bool) -> String {
    let Diagnosis { code, sentence, cure, also, curl } = diagnosis;
    let tone = if *code == "fine" { Tone::Good } else { Tone::Bad };
    let tried = secret_files.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ");
    let mut out = facts(
        &[
            ("found", Cell::new(code, tone)),
            ("which is", sentence.as_str().into()),
            ("cure", cure.as_str().into()),
            ("secret of", tried.into()),
        ],
        color,
    );
    for sentence in also {
        out.push_str(&format!("- {}\n", plain(sentence)));
    }
    let until = if door.is_timed() { "; signed now, it is good for five minutes" } else { "" };
    format!("{out}\nThis delivers the body so that it is believed{until}:\n\n{curl}\n")
}

/// The files of the secrets to try: those given, or the door's own of this machine's data directory.
fn secret_files(files: Vec<PathBuf>, door: Door, environment: &Environment) -> Result<Vec<PathBuf>, CliError> {
    let own = match door {
        Door::Mlflow => "secrets/mlflow",
        Door::Standard => "secrets/generic",
        Door::Github => "secrets/github",
    };
    let here = || default_data_dir(environment).map(|dir| dir.join(own)).filter(|path| path.exists());
    let files = if files.is_empty() { here().into_iter().collect() } else { files };
    if files.is_empty() {
        return Err(CliError::usage("there is no secret to try on this machine").hint("name one with --secret-file"));
    }
    Ok(files)
}

fn secrets(files: &[PathBuf], door: Door) -> Result<Vec<Secret>, CliError> {
    let mut secrets = Vec::new();
    for file in files {
        let text = read_secret_file(file).map_err(|error| CliError::from(error).as_usage())?;
        let parsed = match door {
            Door::Mlflow => Secret::parse_lines(text.expose()),
            Door::Standard | Door::Github => door.parse_secret(text.expose()).map(|secret| vec![secret]),
        };
        secrets.extend(parsed.map_err(|error| CliError::usage(format!("`{}`: {error}", file.display())))?);
    }
    Ok(secrets)
}

/// Reads headers as `curl -v`, a proxy's log or a browser shows them: marks at the beginning of a line and the request line do not count.
fn parse_headers(bytes: &[u8]) -> Result<Vec<(String, Vec<u8>)>, CliError> {
    let text = String::from_utf8_lossy(bytes);
    let pair = |line: &str| {
        let line = line.trim_start_matches(['>', '<', ' ']).trim_end();
        let (name, value) = line.split_once(':')?;
        let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
        is_name.then(|| (name.to_owned(), value.trim().as_bytes().to_vec()))
    };
    let pairs: Vec<(String, Vec<u8>)> = text.lines().filter_map(pair).collect();
    if pairs.is_empty() {
        return Err(CliError::usage("the file has no headers").hint("one `Name: value` per line, as they were sent"));
    }
    Ok(pairs)
}

fn time(text: &str) -> Result<Timestamp, String> {
    text.parse().map_err(|_| "must be a time such as 2026-11-23T10:00:00Z".to_owned())
}

fn read(path: &Path) -> Result<Vec<u8>, CliError> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    let unreadable = |error| CliError::file(path, &error).as_usage();
    let file = std::fs::File::open(path).map_err(unreadable)?;
    file.take(BODY_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > BODY_BYTES_MAX {
        return Err(CliError::usage(format!("`{}` is longer than 1 MiB, which no door takes", path.display())));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_as_tools_show_them() {
        let shown =
            "> POST /webhooks/mlflow HTTP/1.1\r\n> Content-Type: application/json\r\nX-MLflow-Delivery-Id: a:b\n\n";
        let expected = [("Content-Type", "application/json"), ("X-MLflow-Delivery-Id", "a:b")];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()));
        assert_eq!(parse_headers(shown.as_bytes()).unwrap(), expected);
        assert!(parse_headers(b"nothing\n").is_err());
    }

    #[test]
    fn without_any_secret_the_hint_is_to_name_one() {
        let error = secret_files(Vec::new(), Door::Mlflow, &Environment::new()).unwrap_err();
        assert_eq!(error.exit, Exit::Usage);
        assert!(error.hint.unwrap().contains("--secret-file"));
    }
}
