//! Wiring: builds the parts from the settings, mounts every router, and runs them until it is told to stop.
//!
//! Knows everybody; nobody but `main` knows it.

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;

use tokio::net::TcpListener;

use crate::config::Config;

/// A service that is ready and answers.
pub struct Service {
    announcement: Announcement,
}

/// What a start has to say to the person who started it.
#[derive(Debug, Clone)]
pub struct Announcement {
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
    ready: impl FnOnce(&Announcement),
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), StartError> {
    let service = start(config, listener).await?;
    ready(service.announcement());
    service.run_until(shutdown).await;
    Ok(())
}

/// Starts the service on a listener.
///
/// # Errors
/// It could not start: the data directory, a secret, the store or the repository is not usable, or it would listen beyond loopback without secrets.
pub async fn start(_config: Config, _listener: TcpListener) -> Result<Service, StartError> {
    todo!()
}

/// The OpenAPI document of what is served, as JSON.
pub fn openapi() -> String {
    todo!()
}

impl Service {
    /// What there is to say about the start.
    pub fn announcement(&self) -> &Announcement {
        &self.announcement
    }

    /// Serves until `shutdown` is done, then ends what is under way.
    pub async fn run_until(self, shutdown: impl Future<Output = ()> + Send + 'static) {
        shutdown.await;
    }
}
