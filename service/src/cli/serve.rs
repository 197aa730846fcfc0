//! `kmlflow serve`: the service, and what a start has to say to the person who started it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args;
use tokio::net::TcpListener;

use super::error::{CliError, Exit};
use super::output::Output;
use super::table::Tone;
use super::{LogFormat, Program, Started, asked_to_stop, usage};
use crate::config::{ADMIN_TOKEN_FILE, Config, DEFAULT_FILE, Environment, Flags};

/// Run the service.
#[derive(Debug, Args)]
#[command(after_help = usage::SERVE)]
pub(super) struct ServeArgs {
    /// Configuration; `kmlflow.yaml` in the data directory unless given.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where repository, store and secrets lie; the XDG data directory + `kmlflow` unless given.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Address to listen on, 127.0.0.1:8080 unless given; port 0 takes a free one.
    #[arg(long, value_name = "ADDR", value_parser = address)]
    listen: Option<SocketAddr>,
    /// How logs are written to stderr.
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    log_format: LogFormat,
    /// Print every key of the configuration with its default, and end.
    #[arg(long)]
    defaults: bool,
}

/// Runs the service until it is asked to stop.
pub(super) async fn run(
    args: ServeArgs,
    environment: &Environment,
    output: Output,
    program: &impl Program,
) -> Result<Exit, CliError> {
    let ServeArgs { config, data_dir, listen, log_format, defaults } = args;
    if defaults {
        return output.write(DEFAULT_FILE).map(|()| Exit::Done);
    }
    let config = Config::load(&Flags { config, data_dir, listen }, environment)?;
    program.log(log_format, "info");
    let listener = bind(config.listen).await?;
    print(&output, &format!("data directory {}\n", config.data_dir().display()));
    let ready = move |started: &Started| print(&output, &announcement(started, output.color()));
    program.serve(config, listener, ready, asked_to_stop()).await?;
    Ok(Exit::Done)
}

/// Takes an address to listen on.
pub(super) async fn bind(address: SocketAddr) -> Result<TcpListener, CliError> {
    TcpListener::bind(address).await.map_err(|error| {
        let sentence = match error.kind() {
            std::io::ErrorKind::AddrInUse => format!("another program listens on {address} already"),
            kind => format!("cannot listen on {address}: {kind}"),
        };
        CliError::failed(sentence).hint("take a free port with --listen 127.0.0.1:0")
    })
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "must be an IP address with a port, such as 127.0.0.1:8080".to_owned())
}

/// Prints where somebody reads it; the service goes on where nobody does.
fn print(output: &Output, text: &str) {
    drop(output.write(text));
}

/// What is printed once the service is ready. The token itself appears on its first start only.
fn announcement(started: &Started, color: bool) -> String {
    let Started { address, url: _, sign_in_url, repository_url, data_dir, new_admin_token } = started;
    let here = format!("http://{address}");
    let file = data_dir.join(ADMIN_TOKEN_FILE);
    let token = new_admin_token.as_ref().map_or_else(String::new, |token| {
        format!(
            "admin token    {} (shown this once, kept in {})\n\
             try            {} {here}/api/v1/releases\n",
            Tone::Strong.paint(token, color),
            file.display(),
            curl(&file),
        )
    });
    format!(
        "{token}repository     git clone {repository_url}\n\
         sign in        {sign_in_url}\n\
         listening on {here}\n"
    )
}

/// The beginning of a curl, for bash, that reads the token from its file: as an argument every process of the machine could read it.
pub(super) fn curl(token_file: &Path) -> String {
    format!(r#"curl -H @<(printf 'Authorization: Bearer %s' "$(cat '{}')")"#, token_file.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn started(new_admin_token: Option<&str>) -> Started {
        Started {
            address: "127.0.0.1:4321".parse().unwrap(),
            url: "http://localhost:4321".to_owned(),
            sign_in_url: "http://localhost:4321/sign-in?code=c".to_owned(),
            repository_url: "http://127.0.0.1:4321/git/gitops.git".to_owned(),
            data_dir: "/data".into(),
            new_admin_token: new_admin_token.map(str::to_owned),
        }
    }

    #[test]
    fn the_first_start_shows_the_token_once_with_its_file_and_a_first_curl() {
        let text = announcement(&started(Some("kmlflow_x")), false);
        assert!(
            text.contains("/data/admin-token")
                && text.contains(r#""$(cat '/data/admin-token')") http://127.0.0.1:4321/api/v1/releases"#)
                && text.matches("kmlflow_x").count() == 1
        );
        assert!(text.lines().any(|line| line == "listening on http://127.0.0.1:4321"), "{text}");
    }

    #[test]
    fn a_later_start_shows_no_token() {
        let text = announcement(&started(None), false);
        assert!(!text.contains("token") && text.contains("sign in"), "{text}");
        assert!(text.lines().any(|line| line == "listening on http://127.0.0.1:4321"), "{text}");
    }

    #[tokio::test]
    async fn an_address_in_use_is_said_so() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let error = bind(taken.local_addr().unwrap()).await.unwrap_err();
        assert!(error.sentence.contains("another program listens"), "{error}");
    }
}
