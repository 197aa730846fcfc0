//! Brings the whole platform up by GitOps, and says why anything is not ready.
//!
//! What belongs to the platform stands in `gitops-repo/platform/catalogue.yaml` and nowhere else. `plan` prints what `up` would do, from the same
//! table of steps; every step looks first and acts only where something is missing, so `up` can be run again after anything.

pub mod addresses;
pub mod answer;
pub mod arguments;
pub mod catalogue;
pub mod checkout;
pub mod commands;
pub mod digest;
pub mod doctor;
pub mod fault;
pub mod hints;
pub mod images;
pub mod interrupt;
pub mod kinds;
pub mod kubectl;
pub mod manifests;
pub mod options;
pub mod overlay;
pub mod program;
pub mod quantity;
pub mod readme;
pub mod record;
pub mod render;
pub mod reporter;
pub mod secrets;
pub mod session;
pub mod steps;
pub mod version;
pub mod waves;
