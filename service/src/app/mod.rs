//! Wiring: builds the parts from the settings, mounts every router, and runs them until it is told to stop.
//!
//! Knows everybody; nobody but `main` knows it.

mod first_start;
mod git_door;
mod mlflow_door;
mod remote;
mod seed;
mod server;
mod settings;
#[cfg(test)]
mod tests;
mod waiting;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use futures_util::FutureExt as _;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::cli::{Started, sentence_and_cure};
use crate::clock::Clock;
use crate::command::Git;
use crate::config::Config;
use crate::cores::pool_of_this_thread;
use crate::git::serve::SmartServer;
use crate::web::{self, Web};
use crate::worker::{self, Worker};

pub use remote::{init, move_repository};

/// How long requests under way may take once the service is told to stop. A change is answered two seconds before, and the worker is given three
/// after it, so that all of it ends within ten: the least that anybody gives a service to end.
const DRAIN: Duration = Duration::from_secs(6);

/// A service that is ready and answers.
pub struct Service {
    announcement: Started,
    handle: worker::Handle,
    worker: Worker,
    doors: Vec<(TcpListener, Router)>,
    stop: CancellationToken,
    /// Lets the command line find this service for as long as it is there.
    _published: first_start::PublishedAddress,
}

/// Why a start came to nothing: one sentence for the person who started it, and what cures it.
#[derive(Debug, thiserror::Error)]
#[error("{sentence}")]
pub struct StartError {
    pub sentence: String,
    pub cure: Option<String>,
}

/// Starts the service and runs it until `shutdown` is done; `ready` is called once it answers.
///
/// # Errors
/// It could not start.
pub async fn run(
    config: Config,
    listener: TcpListener,
    ready: impl FnOnce(&Started),
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), StartError> {
    // Whoever reads the announcement may ask for an end at once, and a start may have to wait for others.
    let mut shutdown = Box::pin(shutdown);
    let service = tokio::select! {
        biased;
        service = start(config, listener) => service?,
        () = &mut shutdown => return Ok(()),
    };
    let is_asked = (&mut shutdown).now_or_never().is_some();
    ready(service.announcement());
    let until = async move {
        if !is_asked {
            shutdown.await;
        }
    };
    service.run_until(until).await
}

/// Starts the service on a listener.
///
/// # Errors
/// It could not start: the data directory, a secret, the store or the repository is not usable, or it would listen beyond loopback
/// without secrets.
pub async fn start(config: Config, listener: TcpListener) -> Result<Service, StartError> {
    let address = listener
        .local_addr()
        .map_err(|error| StartError::new(format!("the listener has no address: {}", error.kind())))?;
    settings::check_reach(&config, address)?;
    let clock = Clock::system();
    let data_dir = first_start::data_dir(config.data_dir())?;
    let secrets = first_start::Secrets::read_or_make(&data_dir)?;
    let git = Git::find(config.search_path.as_deref()).await;
    let git = git.map_err(|error| StartError::new(error.to_string()))?;
    let remote = remote::settings(&config.git, &data_dir, &git)?;
    let clusters = settings::clusters(&config).await?;
    let lease = settings::lease(&config, clusters.as_ref());
    let repository = match &remote {
        Some(_) => config.git.url.clone(),
        None => format!("{}{}", config.public_url(address), git_door::MOUNT),
    };
    let doors = settings::argocd_doors(&config, &repository)?;
    let of_worker =
        worker::Settings { remote, clusters, lease, doors, ..settings::of_worker(&config, &data_dir, address)? };
    let internal = match config.internal_listen {
        Some(address) => Some(server::bind(address).await?),
        None => None,
    };
    let known: Vec<&TcpListener> = std::iter::once(&listener).chain(&internal).collect();
    let (handle, worker) = waiting::open(of_worker, clock.clone(), &known).await?;
    let worker = worker.with_git(git.clone());
    let new_admin_token = first_start::admin_token(&data_dir, &handle.accounts()).await?;
    let code = first_start::fresh_token()?;
    let stop = CancellationToken::new();
    let settings = settings::of_web(&config, &secrets, address, &code.hash())?;
    let url = settings.public_url.clone();
    let web = Web::new(handle.clone(), clock, settings, stop.clone());
    let is_local = settings::is_local(&config, address);
    let mut door = match handle.remote_address() {
        Some(_) => git_door::elsewhere(),
        None => {
            let repository = SmartServer::new(git, handle.repository_path());
            git_door::router(web.clone(), handle.clone(), repository, is_local)
        }
    };
    let repository_url = handle.remote_address().map_or_else(|| format!("{url}{}", git_door::MOUNT), ToOwned::to_owned);
    let hosts = settings::hosts(&config, address);
    if let Some(client) = settings::tracking_client(&config.mlflow)?.filter(|_| config.mlflow.proxy) {
        door = door.merge(mlflow_door::router(web.clone(), handle.clone(), client, Arc::clone(&hosts), is_local)?);
    }
    // The description of the API is megabytes in small pieces while it is made. A thread that ends gives them back; this one would keep them.
    let described = tokio::task::spawn_blocking({
        let web = web.clone();
        move || web::router(web, door)
    });
    let router = described.await.map_err(|_| StartError::new("the description of the API could not be made"))?;
    let router = mlflow_door::by_host_name(router, hosts);
    let mut doors = vec![(listener, router)];
    if let Some(internal) = internal {
        doors.push((internal, web::internal_router(web)));
    }
    let published = first_start::PublishedAddress::publish(&data_dir, address);
    let announcement = Started {
        address,
        sign_in_url: format!("{url}/#{}", code.reveal()),
        repository_url,
        url,
        data_dir,
        new_admin_token,
    };
    Ok(Service { announcement, handle, worker, doors, stop, _published: published })
}

/// The OpenAPI document of what is served, as JSON.
pub fn openapi() -> String {
    format!("{:#}", web::document())
}

impl Service {
    /// What there is to say about the start.
    pub fn announcement(&self) -> &Started {
        &self.announcement
    }

    /// Serves until `shutdown` is done, then ends what is under way.
    ///
    /// # Errors
    /// The worker ended before it was told to. A service that accepts and releases nothing helps nobody; whoever watches over it starts it again.
    pub async fn run_until(self, shutdown: impl Future<Output = ()> + Send + 'static) -> Result<(), StartError> {
        let Self { announcement: _, handle, worker, doors, stop, _published } = self;
        let drained = CancellationToken::new();
        let (runtime, until) = (tokio::runtime::Handle::current(), drained.clone().cancelled_owned());
        let mut working = tokio::task::spawn_blocking(move || {
            // The thread of the turns is one of those that render, so that a single release waits for none to wake. Nobody else is.
            let _pool = pool_of_this_thread().inspect_err(|error| {
                tracing::warn!(
                    error = error as &dyn std::error::Error,
                    "Renders are not spread over the cores: {error}"
                );
            });
            runtime.block_on(worker.run(until));
        });
        let serving: Vec<_> = doors
            .into_iter()
            .map(|(listener, router)| tokio::spawn(server::serve(listener, router, stop.clone(), DRAIN)))
            .collect();
        let worker_is_gone = tokio::select! {
            () = shutdown => false,
            _ = &mut working => true,
        };
        tracing::info!("The service stops and ends what is under way");
        handle.close();
        stop.cancel();
        for door in serving {
            if door.await.is_err() {
                tracing::error!("A door did not end by itself");
            }
        }
        if worker_is_gone {
            return Err(
                StartError::new("the worker ended by a mistake; the log says more").cure("start the service again")
            );
        }
        // The worker ends last: requests under way wait for it.
        drained.cancel();
        if working.await.is_err() {
            tracing::error!("The worker did not end by itself");
        }
        Ok(())
    }
}

impl StartError {
    /// An error that speaks for itself.
    fn new(sentence: impl Into<String>) -> Self {
        Self { sentence: sentence.into(), cure: None }
    }

    /// The error of a part, whose text may have what helps.
    fn told(text: &str, cure: Option<String>) -> Self {
        if cure.is_some() {
            return Self { cure, ..Self::new(text) };
        }
        let (sentence, cure) = sentence_and_cure(text);
        Self { cure: cure.map(str::to_owned), ..Self::new(sentence) }
    }

    fn cure(self, cure: impl Into<String>) -> Self {
        Self { cure: Some(cure.into()), ..self }
    }
}

impl From<worker::OpenError> for StartError {
    fn from(error: worker::OpenError) -> Self {
        Self::told(&error.to_string(), error.cure())
    }
}
