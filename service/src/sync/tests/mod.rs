//! The watches, against an API server in miniature that forbids, forgets and breaks off.

pub(crate) mod api_server;
mod argocd;
mod doors;
mod lease;
mod watching;
