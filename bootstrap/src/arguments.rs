//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Parser, Subcommand, ValueEnum};
use serde::{Deserialize, Serialize};

use crate::addresses;
use crate::catalogue::Profile;
use crate::options::Setting;

/// Brings the whole platform up by GitOps, and says why anything is not ready
///
/// From a machine with minikube, kubectl and Docker, or from a cluster that is there, to: Argo CD, the gateway, Seldon Core, MLflow, an object
/// store and PostgreSQL, Prometheus and Grafana, and the release service with the Git repository that all of it follows.
#[derive(Debug, Parser)]
#[command(name = "kmlflow-bootstrap", bin_name = "cargo bootstrap", version, after_help = EXAMPLES, arg_required_else_help = true)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
    #[command(flatten)]
    pub general: General,
}

const EXAMPLES: &str = "\
A first time:
  cargo bootstrap plan                    what would be checked, run and applied; offline, changes nothing
  cargo bootstrap up                      the core profile on minikube; run it again after anything that went wrong
  cargo bootstrap open kmlflow            the page

When something is not ready:
  cargo bootstrap status                  wave by wave, with the reason of waiting
  cargo bootstrap doctor                  why, and what cures it

A cluster that is there:
  cargo bootstrap up --cluster existing --context staging --profile standard
";

#[derive(Debug, Args)]
pub struct General {
    /// How answers are written, to standard output; progress and errors go to standard error, with `json` an object a line
    #[arg(short, long, global = true, value_enum, default_value = "text")]
    pub output: Output,
    /// The directory with the manifests; `gitops-repo/` here or above unless given
    #[arg(long, global = true, value_name = "DIR")]
    pub gitops_repo: Option<PathBuf>,
    /// How often the cluster is asked while something is waited for
    #[arg(long, global = true, hide = true, default_value = "2s", value_parser = duration)]
    pub poll: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Bring everything up; what is there already stays as it is
    Up(UpArguments),
    /// Print what `up` would check, run and apply, wave by wave; offline
    Plan(UpArguments),
    /// Show each part: its wave, its state, and what it waits for
    Status {
        #[command(flatten)]
        place: Place,
        /// Go on until everything is healthy
        #[arg(long)]
        watch: bool,
    },
    /// Find out why something is not ready, and what cures it
    Doctor {
        #[command(flatten)]
        place: Place,
    },
    /// Open a part's page, or print its address
    Open {
        #[command(flatten)]
        place: Place,
        /// A part such as `grafana`
        service: String,
        /// Only print the address
        #[arg(long)]
        print: bool,
    },
    /// List the addresses and how to sign in
    Credentials {
        #[command(flatten)]
        place: Place,
        /// Print the passwords too
        #[arg(long)]
        show: bool,
    },
    /// Compare the versions in the cluster with those of this checkout
    Upgrade {
        #[command(flatten)]
        place: Place,
        /// Show the versions that differ, and the commands that take the files over; nothing is changed
        #[arg(long)]
        diff: bool,
    },
    /// Write the digests of the images that the cluster pulled into `platform/`, behind their tags
    Pin {
        #[command(flatten)]
        place: Place,
    },
    /// Take everything away
    Down {
        #[command(flatten)]
        place: Place,
        /// Keep the namespaces with volumes or with Secrets that cannot be made again; on minikube, stop the cluster
        #[arg(long)]
        keep_data: bool,
        /// How long Applications, and then namespaces, may take to end
        #[arg(long, value_name = "TIME", default_value = "10m", value_parser = duration)]
        timeout: Duration,
    },
    /// Write `platform/profiles/` from the catalogue, and other addresses into all of `platform/`
    Render {
        /// Change nothing; fail where a file is not as the catalogue says
        #[arg(long, conflicts_with_all = ["host_suffix", "tls", "no_tls", "port"])]
        check: bool,
        /// Write this name into every address of the platform in the place of the present one
        #[arg(long, value_name = "NAME", value_parser = addresses::host_name)]
        host_suffix: Option<String>,
        /// Write HTTPS into every address, and have the gateway speak it
        #[arg(long, conflicts_with = "no_tls")]
        tls: bool,
        /// Write plain HTTP into every address again
        #[arg(long)]
        no_tls: bool,
        /// Write this port of the machine into every address; those with HTTPS have its usual one
        #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
        port: Option<u16>,
    },
}

#[derive(Debug, Clone, Default, Args)]
pub struct UpArguments {
    /// How much of the platform [default: core, or what is there]
    #[arg(long, value_enum)]
    pub profile: Option<Profile>,
    /// Where: a new cluster on this machine, or one that is there [default: minikube]
    #[arg(long, value_enum)]
    pub cluster: Option<ClusterKind>,
    /// The context of the existing cluster in the kubeconfig [default: the current one]
    #[arg(long, value_parser = NonEmptyStringValueParser::new())]
    pub context: Option<String>,
    /// Nodes of the new cluster [default: 1]
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=9))]
    pub nodes: Option<u8>,
    /// Whether the new cluster gets the machine's NVIDIA card [default: auto]
    #[arg(long, value_enum)]
    pub gpu: Option<Gpu>,
    /// Install Argo CD, or use the one in the namespace `argocd` [default: install]
    #[arg(long, value_enum)]
    pub argo_cd: Option<ArgoCd>,
    /// Leave this part out too: the cluster has it, or does not need it; can be given more than once, and `none` takes back those before
    #[arg(long, value_name = "PART", value_parser = NonEmptyStringValueParser::new())]
    pub without: Vec<String>,
    /// Follow `platform/overlays/NAME`, which says its profile and what of it is not there
    #[arg(long, value_name = "NAME", conflicts_with = "profile", value_parser = NonEmptyStringValueParser::new())]
    pub overlay: Option<String>,
    /// Set a value of a part's chart; can be given more than once, and an empty VALUE takes it back. No secrets: it is kept in the Application
    #[arg(long, value_name = "PART.KEY=VALUE", value_parser = Setting::parse)]
    pub set: Vec<Setting>,
    /// The name that every address ends with; the manifests must say the same
    #[arg(long, value_name = "NAME", value_parser = addresses::host_name)]
    pub host_suffix: Option<String>,
    /// Have the cluster follow the repository that the manifests name, where it follows another one
    #[arg(long)]
    pub move_repository: bool,
    /// The gateway speaks HTTPS; the manifests must say the same
    #[arg(long)]
    pub tls: bool,
    /// The port of this machine that the gateway is reached by; the manifests must say the same
    #[arg(long)]
    pub port: Option<u16>,
    /// Load the images of these archives (`*.tar`) into the new cluster before anything is pulled
    #[arg(long, value_name = "DIR")]
    pub offline_images: Option<PathBuf>,
    /// How long one wave may take
    #[arg(long, value_name = "TIME", default_value = "15m", value_parser = duration)]
    pub timeout: Duration,
}

/// Which cluster a command is about.
#[derive(Debug, Clone, Default, Args)]
pub struct Place {
    /// The context of an existing cluster; minikube's `k5w` unless given
    #[arg(long, value_parser = NonEmptyStringValueParser::new())]
    pub context: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClusterKind {
    Minikube,
    Existing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Gpu {
    Auto,
    Off,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ArgoCd {
    Install,
    Present,
}

impl ClusterKind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Minikube => "minikube",
            Self::Existing => "existing",
        }
    }
}

/// A time such as `250ms`, `30s`, `15m` or `1h`.
fn duration(text: &str) -> Result<Duration, String> {
    let units = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)];
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let milliseconds = units.iter().find(|(name, _)| *name == unit).map(|(_, milliseconds)| *milliseconds);
    let number: Option<u64> = number.parse().ok();
    let total = number.zip(milliseconds).and_then(|(number, unit)| number.checked_mul(unit));
    total.map(Duration::from_millis).ok_or_else(|| format!("`{text}` is no time such as `30s` or `15m`"))
}

impl Default for General {
    fn default() -> Self {
        Self { output: Output::Text, gitops_repo: None, poll: Duration::from_secs(2) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_sound_and_its_help_teaches() {
        Arguments::command().debug_assert();
        let help = Arguments::command().render_long_help().to_string();
        for word in ["up", "plan", "doctor", "A first time:", "--cluster existing"] {
            assert!(help.contains(word), "{word}");
        }
    }

    #[test]
    fn times_are_read_with_their_unit() {
        for (text, milliseconds) in [("10ms", 10), ("30s", 30_000), ("15m", 900_000), ("1h", 3_600_000)] {
            assert_eq!(duration(text), Ok(Duration::from_millis(milliseconds)));
        }
        for text in ["", "5", "s", "-1s", "1d", "99999999999999999999s"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_unknown_profile_is_wrong_usage() {
        let error = Arguments::try_parse_from(["x", "up", "--profile", "huge"]).unwrap_err();
        assert_eq!(error.exit_code(), 2);
    }
}
