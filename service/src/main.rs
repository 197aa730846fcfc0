//! The program: the command line, and the service behind `serve` and `demo`.

use std::future::Future;
use std::process::ExitCode;

use kmlflow::app::{self, StartError};
use kmlflow::cli::{self, Begun, CliError, Exit, InitWish, LogFormat, Moved, Started};
use kmlflow::config::{self, Config, Environment};
use kmlflow::telemetry;
use tokio::net::TcpListener;

/// The C library's allocator takes an eighth of the processor time of a busy receiver, and gives little back of what a burst needed.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// This program, as the command line sees it.
struct Program<'e>(&'e Environment);

impl cli::Program for Program<'_> {
    async fn serve(
        &self,
        config: Config,
        listener: TcpListener,
        ready: impl FnOnce(&Started) + Send,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), CliError> {
        app::run(config, listener, ready, shutdown).await.map_err(failed)
    }

    async fn init(&self, config: Config, wish: InitWish) -> Result<Begun, CliError> {
        app::init(config, wish).await.map_err(failed)
    }

    async fn move_repository(&self, config: Config, to: String) -> Result<Moved, CliError> {
        app::move_repository(config, &to).await.map_err(failed)
    }

    fn openapi(&self) -> String {
        app::openapi()
    }

    fn log(&self, format: LogFormat, level: &str) {
        let format = match format {
            LogFormat::Text => telemetry::Format::Text,
            LogFormat::Json => telemetry::Format::Json,
        };
        telemetry::init(format, self.0.get("RUST_LOG").map(String::as_str), level, config::color_allowed(self.0));
    }
}

fn failed(StartError { sentence, cure }: StartError) -> CliError {
    CliError { sentence, hint: cure, exit: Exit::Failed }
}

#[tokio::main]
async fn main() -> ExitCode {
    let environment = config::environment();
    cli::run(std::env::args_os(), &environment, &Program(&environment)).await.into()
}
