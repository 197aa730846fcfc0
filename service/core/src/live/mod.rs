//! What the cluster shows of releases: whether a commit is live, what is still missing, and what is in the way.
//!
//! `Index` takes the cluster's events in; `look` is the one definition of live; `trouble` finds the reason that a person needs. Nothing
//! here does I/O or reads a clock: whoever watches hands in what was seen, and whoever asks says when.

mod application;
mod argocd;
mod homes;
mod index;
mod look;
mod objects;
mod parts;
mod pod;
mod progress;
mod route;
mod trouble;
mod wire;

pub use application::WireApplication;
pub use argocd::foreign;
pub use index::{Blindness, Index, Kind, Place, Touched};
pub use look::{Facts, Look, look};
pub use objects::{
    Application, Backends, Condition, Deployment, Destination, Found, Object, Operation, OperationPhase, Own, Parent,
    PodFault, PodFaultKind, PodView, Predictor, Route, RouteCondition, RouteKind, SeldonDeployment, SeldonState,
    Service, Shares, application_key, application_name,
};
pub use parts::{replicas, wanted_routes};
pub use progress::{LiveState, Progress, Reached, Times, progress};
pub use route::WireRoute;
pub use trouble::{PodName, Trouble, TroubleKind, remains};
pub use wire::{Meta, Watched, WireDeployment, WirePod, WireSeldon, WireService, plain};

#[cfg(test)]
pub(crate) mod tests;
