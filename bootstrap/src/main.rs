//! `kmlflow-bootstrap`, also `cargo bootstrap`: reads the command line, runs the command, says what went wrong and what cures it.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser as _;
use kmlflow_bootstrap::arguments::{Arguments, Output};
use kmlflow_bootstrap::commands;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let output = arguments.general.output;
    let here = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("."));
    match commands::run(arguments, &here) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            let told = match output {
                Output::Text => format!("Error: {}\nHint: {}\n", fault.what, fault.cure),
                Output::Json => {
                    format!("{}\n", serde_json::json!({"event": "error", "error": fault.what, "cure": fault.cure}))
                }
            };
            // A reader that went away has seen enough; the exit code says the rest.
            let _gone = std::io::stderr().write_all(told.as_bytes());
            ExitCode::from(fault.code())
        }
    }
}
