//! The program from outside, with stand-ins for what it starts; and the manifests that it brings.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test that cannot go on stops; it starts the program"
)]

mod addresses;
mod commands;
mod down;
mod manifests;
mod metrics;
mod plan;
mod pods;
mod scene;
mod secrets;
mod security;
mod up;
