//! `kmlflow completion` and `kmlflow openapi`: what other programs need to know of this one.

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::error::{CliError, Exit};
use super::output::Output;
use super::{Cli, usage};

/// Print the completion script of a shell.
#[derive(Debug, Args)]
#[command(after_help = usage::COMPLETION)]
pub(super) struct CompletionArgs {
    /// bash, zsh or fish.
    #[arg(value_name = "SHELL", value_parser = shell)]
    shell: Shell,
}

/// Print the OpenAPI document of the API.
#[derive(Debug, Args)]
#[command(after_help = usage::OPENAPI)]
pub(super) struct OpenapiArgs {}

/// Prints a completion script.
pub(super) fn run(args: CompletionArgs, output: Output) -> Result<Exit, CliError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "kmlflow", &mut script);
    output.write(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Done)
}

/// Prints the OpenAPI document.
pub(super) fn openapi(OpenapiArgs {}: OpenapiArgs, output: Output, document: &str) -> Result<Exit, CliError> {
    let body = serde_json::from_str(document).map_err(|_| CliError::failed("the API's description is not JSON"))?;
    output.data(document, &body, |_| document.to_owned() + "\n")?;
    Ok(Exit::Done)
}

fn shell(text: &str) -> Result<Shell, String> {
    match text {
        "bash" => Ok(Shell::Bash),
        "zsh" => Ok(Shell::Zsh),
        "fish" => Ok(Shell::Fish),
        _ => Err("must be bash, zsh or fish".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shell_gets_a_script_with_every_command() {
        for name in ["bash", "zsh", "fish"] {
            let mut script = Vec::new();
            clap_complete::generate(shell(name).unwrap(), &mut Cli::command(), "kmlflow", &mut script);
            let script = String::from_utf8(script).unwrap();
            assert!(
                ["release", "rollback", "deliveries", "unhold"].iter().all(|command| script.contains(command)),
                "{name}"
            );
        }
        assert!(shell("cmd").is_err());
    }
}
