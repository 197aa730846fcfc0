//! The command line: one file per command or close family. A client of the API.
//!
//! `render`, `doctor`, `init`, `repo move`, `backup`, `restore` and `migrate` need no running service, `mlflow connect` is for where the secret
//! lies.
//!
//! Ends at the API: what a release is and what may be done with it is decided by the service.

mod act;
mod args;
mod backup;
mod change;
mod client;
mod completion;
mod deliveries;
mod demo;
mod diff;
mod doctor;
mod error;
mod history;
mod hold;
mod import;
mod later;
mod list;
mod live;
mod logs;
mod manifests;
mod migrate;
mod mlflow;
mod output;
mod policy;
mod release;
mod render;
mod repository;
mod rerender;
mod serve;
mod story;
mod sweep;
mod table;
#[cfg(test)]
mod tests;
mod token;
mod usage;
mod views;
mod watch;

use std::ffi::OsString;
use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use jiff::Timestamp;
use tokio::net::TcpListener;

use self::client::Client;
use self::output::{Format, Output};
use crate::config::{ClientSettings, Config, Environment, color_allowed};

pub use self::error::{CliError, Exit, sentence_and_cure};
pub use self::repository::{Begun, InitWish, Moved};

/// The program that holds the command line: what only it can do, because the command line is a client of the service.
pub trait Program {
    /// Runs the service until `shutdown` is done; `ready` is called once it answers.
    fn serve(
        &self,
        config: Config,
        listener: TcpListener,
        ready: impl FnOnce(&Started) + Send,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> impl Future<Output = Result<(), CliError>> + Send;

    /// Gives a repository elsewhere what a new one begins with.
    fn init(&self, config: Config, wish: InitWish) -> impl Future<Output = Result<Begun, CliError>> + Send;

    /// Moves the embedded repository elsewhere; `to` is an address as `git clone` takes it.
    fn move_repository(&self, config: Config, to: String) -> impl Future<Output = Result<Moved, CliError>> + Send;

    /// The OpenAPI document of what is served, as JSON.
    fn openapi(&self) -> String;

    /// Begins to log, at a level unless the environment names another.
    fn log(&self, format: LogFormat, level: &str);
}

/// What a start has to say to the person who started it.
#[derive(Clone)]
pub struct Started {
    /// Where it listens.
    pub address: SocketAddr,
    /// The address as others reach it, without a slash at the end.
    pub url: String,
    /// The page, with the code that signs in; not for logs.
    pub sign_in_url: String,
    /// The embedded repository's clone address.
    pub repository_url: String,
    pub data_dir: PathBuf,
    /// The admin token, if this start made it; not for logs.
    pub new_admin_token: Option<String>,
}

/// Neither the code that signs in nor the token ever shows.
impl std::fmt::Debug for Started {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Started")
            .field("address", &self.address)
            .field("data_dir", &self.data_dir)
            .finish_non_exhaustive()
    }
}

/// How logs are written: for a person, or one JSON object per line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

/// GitOps release service: a model registered in MLflow becomes a live, watched endpoint because a commit says so.
#[derive(Debug, Parser)]
#[command(name = "kmlflow", version, arg_required_else_help = true, max_term_width = 100, after_help = usage::KMLFLOW)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Options of every command")]
struct Common {
    /// How data is printed.
    #[arg(short, long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    output: Format,
    /// Address of the service; `KMLFLOW_URL`, or the service of the data directory, unless given.
    #[arg(long, global = true, value_name = "URL")]
    url: Option<String>,
    /// File with the token; `KMLFLOW_TOKEN`, or for the service of the data directory its own, unless given.
    #[arg(long, global = true, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::ServeArgs),
    Demo(demo::DemoArgs),
    #[command(flatten)]
    Ask(Box<Ask>),
    Render(render::RenderArgs),
    #[command(subcommand)]
    Doctor(doctor::DoctorCommand),
    #[command(subcommand)]
    Mlflow(mlflow::MlflowCommand),
    Init(repository::InitArgs),
    #[command(subcommand)]
    Repo(repository::RepoCommand),
    Backup(backup::BackupArgs),
    Restore(backup::RestoreArgs),
    Migrate(migrate::MigrateArgs),
    Openapi(completion::OpenapiArgs),
    Completion(completion::CompletionArgs),
    #[command(flatten)]
    Later(later::Later),
}

/// What is asked of a service.
#[derive(Debug, Subcommand)]
enum Ask {
    Release(Box<release::ReleaseArgs>),
    List(list::ListArgs),
    Get(list::GetArgs),
    History(history::HistoryArgs),
    Manifests(manifests::ManifestsArgs),
    Diff(diff::DiffArgs),
    Logs(logs::LogsArgs),
    Watch(watch::WatchArgs),
    Advance(act::AdvanceArgs),
    Promote(act::PromoteArgs),
    Rollback(act::RollbackArgs),
    Pause(act::PauseArgs),
    Resume(act::ResumeArgs),
    Abort(act::AbortArgs),
    Weights(act::WeightsArgs),
    Retract(act::RetractArgs),
    Hold(hold::HoldArgs),
    Unhold(hold::UnholdArgs),
    Rerender(rerender::RerenderArgs),
    Sweep(sweep::SweepArgs),
    Import(Box<import::ImportArgs>),
    #[command(subcommand)]
    Deliveries(deliveries::DeliveriesCommand),
    #[command(subcommand)]
    Policy(policy::PolicyCommand),
    #[command(subcommand)]
    Token(token::TokenCommand),
}

/// What every command has at hand.
struct Context {
    client: Client,
    output: Output,
    now: Timestamp,
}

/// Reads the command line, does what it says and prints what came of it.
pub async fn run(
    arguments: impl IntoIterator<Item = OsString>,
    environment: &Environment,
    program: &impl Program,
) -> Exit {
    let color = color_allowed(environment);
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let output = |format| Output::new(format, color).started_as(arguments.first());
    let parsed = Cli::command().try_get_matches_from(&arguments);
    let (matches, Cli { command, common }) =
        match parsed.and_then(|matches| Ok((matches.clone(), Cli::from_arg_matches(&matches)?))) {
            Ok(parsed) => parsed,
            Err(error) => return usage::explain(&error, &arguments, &Cli::command(), &output(Format::Text)),
        };
    let output = output(common.output);
    match dispatch(command, &common, environment, output.clone(), program).await {
        Ok(exit) => exit,
        Err(error) => {
            let error = usage::with_hint(error, &matches);
            output.error(&error);
            error.exit
        }
    }
}

/// Does what needs no running service, and asks one for the rest.
async fn dispatch(
    command: Command,
    common: &Common,
    environment: &Environment,
    output: Output,
    program: &impl Program,
) -> Result<Exit, CliError> {
    match command {
        Command::Serve(args) => serve::run(args, environment, output, program).await,
        Command::Demo(args) => demo::run(args, environment, output, program).await,
        Command::Ask(command) => {
            let settings = ClientSettings::find(common.url.as_deref(), common.token_file.as_deref(), environment)
                .map_err(|error| CliError::from(error).as_usage())?;
            ask(*command, &Context { client: Client::new(&settings)?, output, now: Timestamp::now() }).await
        }
        Command::Render(args) => render::run(&args, output),
        Command::Doctor(command) => doctor::run(command, common.url.as_deref(), environment, &output),
        Command::Mlflow(command) => mlflow::run(command, common.url.as_deref(), environment, &output).await,
        Command::Init(args) => repository::init(args, common.url.as_deref(), environment, &output, program).await,
        Command::Repo(command) => repository::run(command, environment, &output, program).await,
        Command::Backup(args) => backup::backup(args, environment, output).await,
        Command::Restore(args) => backup::restore(args, environment, output).await,
        Command::Migrate(args) => migrate::run(args, environment, output).await,
        Command::Openapi(args) => completion::openapi(args, output, &program.openapi()),
        Command::Completion(args) => completion::run(args, output),
        Command::Later(command) => Err(later::explain(&command)),
    }
}

async fn ask(command: Ask, ctx: &Context) -> Result<Exit, CliError> {
    match command {
        Ask::Release(args) => release::run(*args, ctx).await,
        Ask::List(args) => list::list(args, ctx).await,
        Ask::Get(args) => list::get(args, ctx).await,
        Ask::History(args) => history::run(args, ctx).await,
        Ask::Manifests(args) => manifests::manifests(args, ctx).await,
        Ask::Diff(args) => diff::diff(args, ctx).await,
        Ask::Logs(args) => logs::logs(args, ctx).await,
        Ask::Watch(args) => watch::run(args, ctx).await,
        Ask::Advance(args) => act::run(args.into(), ctx).await,
        Ask::Promote(args) => act::run(args.into(), ctx).await,
        Ask::Rollback(args) => act::run(args.into(), ctx).await,
        Ask::Pause(args) => act::run(args.into(), ctx).await,
        Ask::Resume(args) => act::run(args.into(), ctx).await,
        Ask::Abort(args) => act::run(args.into(), ctx).await,
        Ask::Weights(args) => act::run(args.try_into()?, ctx).await,
        Ask::Retract(args) => act::run(args.into(), ctx).await,
        Ask::Hold(args) => hold::hold(args, ctx).await,
        Ask::Unhold(args) => hold::unhold(args, ctx).await,
        Ask::Rerender(args) => rerender::run(args, ctx).await,
        Ask::Sweep(args) => sweep::run(args, ctx).await,
        Ask::Import(args) => import::run(*args, ctx).await,
        Ask::Deliveries(command) => deliveries::run(command, ctx).await,
        Ask::Policy(command) => policy::run(command, ctx).await,
        Ask::Token(command) => token::run(command, ctx).await,
    }
}

/// Done once the person or the machine wants an end: Ctrl-C or SIGTERM.
async fn asked_to_stop() {
    use tokio::signal::unix::{SignalKind, signal};
    let interrupt = tokio::signal::ctrl_c();
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => tokio::select! {
            _ = interrupt => {}
            _ = terminate.recv() => {}
        },
        Err(_) => {
            interrupt.await.unwrap_or(());
        }
    }
}
