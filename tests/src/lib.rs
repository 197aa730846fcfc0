//! The harness of the tests from outside: the real program, real Git, bytes on a socket.
//!
//! It shares no code with the service, so that a mistake there is not made here a second time.

/// An address space of its own for one test: temporary directory, cleared environment.
pub mod environment;

/// The service as a process: started, killed, started again.
pub mod server;

/// A small HTTP client that also sends what no well-behaved client would.
pub mod http;

/// Signed deliveries as MLflow and Standard Webhooks send them.
pub mod delivery;

/// The server-sent events of the service: how a test waits without sleeping.
pub mod events;

/// A real MLflow server, started, killed, started again.
pub mod mlflow;

/// What a `git clone` shows.
pub mod git;

/// A real forge.
pub mod gitea;

/// A real cluster, which others may be using at the same time.
pub mod bed;

/// A cluster that does not take some releases.
pub mod refusing;

/// Callers of a release, whose every request counts.
pub mod load;

/// A line that can be cut.
pub mod cut;

/// A scripted GitHub, held against the official description of the real one.
pub mod github;

/// That description.
pub mod openapi;

/// A real registry of images.
pub mod image_registry;

/// A real web server of Git repositories.
pub mod git_site;

/// A real database server.
pub mod postgres_server;

/// A real server of ssh.
pub mod ssh_server;

pub use delivery::{Delivery, Signing};
pub use environment::TestEnvironment;
pub use git::{Checkout, Commit};
pub use http::{Connection, Request, Response};
pub use server::{Server, ServerBuilder};
