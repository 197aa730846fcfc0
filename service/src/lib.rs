//! Kmlflow's release service, in the order in which a delivery passes through it.
//!
//! delivery → event → plan → manifests → commit → push.

/// Identifiers, parsed once and valid ever after.
pub mod names;

/// 1: bytes → event.
pub mod webhook;

/// 2: what happened.
pub mod event;

/// What is known of a model in the registry.
pub mod registry;

/// The words of the domain as types.
pub mod release;

/// 3: registry state → request.
pub mod policy;

/// 4: request + deployed + observed → plan.
pub mod plan;

/// 5: `release.yaml` → manifests.
pub mod render;

/// 6: manifests → commit → push.
pub mod git;

/// What comes next by itself: a release, what is observed, the time → the next step.
pub mod rollout;

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

pub mod clock;
pub mod command;
pub mod config;
pub mod telemetry;
