//! The pure part of Kmlflow, in the order in which a delivery passes through it: no I/O, no clock, no runtime.
//!
//! The service takes these modules over under their own names; what surrounds them (doors, Git, the store, the worker) is there.

/// Identifiers, parsed once and valid ever after.
pub mod names;

/// Bounds that several sides share.
pub mod bounds;

/// Work on many things.
pub mod cores;

/// 2: what happened.
pub mod event;

/// What is known of a model in the registry.
pub mod registry;

/// The words of the domain as types.
pub mod release;

/// Whether a version can be served, and whether it breaks callers.
pub mod servable;

/// 3: registry state → request.
pub mod policy;

/// 4: request + deployed + observed → plan.
pub mod plan;

/// 5: `release.yaml` → manifests.
pub mod render;

/// What the cluster shows: whether a commit is live, and what is in the way.
pub mod live;

/// Where Git and the cluster differ.
pub mod drift;

/// What no release made, as the requests of one.
pub mod import;

/// What comes next by itself.
pub mod rollout;
