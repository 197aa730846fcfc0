//! Kmlflow's release service, in the order in which a delivery passes through it.
//!
//! delivery → event → plan → manifests → commit → push. Steps 2 to 5 are pure and live in `kmlflow_core`.

/// 2 to 5: event → request → plan → manifests, and the words they are made of.
pub use kmlflow_core::{
    bounds, cores, drift, event, import, live, names, plan, policy, registry, release, render, rollout, servable,
};

/// 1: bytes → event.
pub mod webhook;

/// The registry: re-read, tags written back, webhooks.
pub mod mlflow;

/// Image registries: which digest a tag names.
pub mod images;

/// 6: manifests → commit → push.
pub mod git;

/// The forge that the branch lives at: pull requests, statuses.
pub mod forge;

/// The clusters: watched, and Argo CD told.
pub mod sync;

/// Inbox, tokens, index, audit: the SQL store.
pub mod store;

/// The conveyor: the only caller of 3 to 6.
pub mod worker;

/// Around the flow: API, pages, health.
pub mod web;

/// One file per command; speaks to the API.
pub mod cli;

/// Wiring: knows everybody, nobody knows it.
pub mod app;

/// Tokens, roles, scopes.
pub mod access;

pub mod chance;
pub mod clock;
pub mod command;
pub mod config;
pub mod retry_after;
pub mod telemetry;
