//! With a real MLflow server. Needs Python's `mlflow`: the tier `mlflow` installs it and names it.

mod client;
mod connect;
mod readme;
mod registry;
mod replicas;
mod reviewed;

use std::sync::LazyLock;

use tests::mlflow::MlflowServer;

/// A server that is set up as it should be. Each test has a service, and so a webhook, and models of its own.
static MLFLOW: LazyLock<MlflowServer> = LazyLock::new(|| MlflowServer::builder().start());

/// A server with accounts.
static ACCOUNTS: LazyLock<MlflowServer> = LazyLock::new(|| MlflowServer::builder().with_accounts().start());
