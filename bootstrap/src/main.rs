//! `kmlflow-bootstrap`, also `cargo bootstrap`: reads the command line, runs the command, says what went wrong and what cures it.

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser as _;
use kmlflow_bootstrap::arguments::{Arguments, Output};
use kmlflow_bootstrap::fault::Fault;
use kmlflow_bootstrap::{commands, interrupt};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let output = arguments.general.output;
    let here = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("."));
    // Without it a signal ends this program alone.
    let _unwatched = interrupt::watch(move |fault| {
        if std::io::stderr().is_terminal() {
            // Below the progress, which has no end of its line yet.
            let _gone = std::io::stderr().write_all(b"\n");
        }
        tell(fault, output);
    });
    match commands::run(arguments, &here) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            tell(&fault, output);
            ExitCode::from(fault.code())
        }
    }
}

fn tell(fault: &Fault, output: Output) {
    let told = match output {
        Output::Text => format!("Error: {}\nHint: {}\n", fault.what, fault.cure),
        Output::Json => {
            format!("{}\n", serde_json::json!({"event": "error", "error": fault.what, "cure": fault.cure}))
        }
    };
    // A reader that went away has seen enough; the exit code says the rest.
    let _gone = std::io::stderr().write_all(told.as_bytes());
}
