//! `kmlflow-bootstrap`: will bring the whole stack up by GitOps. It does not yet, says so, and does nothing.

use std::io::Write as _;
use std::process::ExitCode;

const HELP: &str = "\
Brings the whole stack up: cluster, Argo CD, Gateway, Seldon Core, Prometheus, MLflow and the release service.

It cannot do that yet: it checks nothing, installs nothing and changes nothing, and ends with exit code 1.

Usage: kmlflow-bootstrap [--help] [--version]

What works today needs no cluster:
  cargo run -- demo     the release service with five releases, one per strategy
  cargo run -- serve    the release service; any Argo CD can read its repository at /git/gitops.git
";

const NOT_YET: &str = "\
Error: bringing the whole stack up is not there yet; nothing was done
Hint: `cargo run -- demo` shows the release service on this machine, and `kmlflow-bootstrap --help` says what works today
";

const WRONG_USAGE: &str = "\
Error: this program takes no arguments but --help and --version
Hint: `kmlflow-bootstrap --help` says what works today
";

/// What the arguments ask for.
fn answer(arguments: &[String]) -> (&'static str, u8) {
    match arguments {
        [] => (NOT_YET, 1),
        [one] if one == "--help" || one == "-h" => (HELP, 0),
        [one] if one == "--version" || one == "-V" => {
            (concat!("kmlflow-bootstrap ", env!("CARGO_PKG_VERSION"), "\n"), 0)
        }
        _ => (WRONG_USAGE, 2),
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (text, code) = answer(&arguments);
    let written = if code == 0 {
        std::io::stdout().write_all(text.as_bytes())
    } else {
        std::io::stderr().write_all(text.as_bytes())
    };
    // A reader that went away has seen enough; the exit code says the rest.
    drop(written);
    ExitCode::from(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(arguments: &[&str]) -> (&'static str, u8) {
        answer(&arguments.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn it_says_that_it_does_nothing_yet_and_fails() {
        let (text, code) = of(&[]);
        assert!(text.contains("not there yet") && text.contains("nothing was done"), "{text}");
        assert_eq!(code, 1);
    }

    #[test]
    fn help_teaches_and_anything_else_is_wrong_usage() {
        assert_eq!(of(&["--help"]).1, 0);
        assert!(of(&["--help"]).0.contains("cargo run -- demo"));
        assert_eq!(of(&["up"]).1, 2);
        assert_eq!(of(&["--help", "me"]).1, 2);
    }
}
