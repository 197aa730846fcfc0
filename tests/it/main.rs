//! Tests inside the workspace: its rules about itself, and what needs more than one module but no running service.

#![cfg(test)]

mod platform;
mod seldon_crd;
mod tidy;
mod transitions;
