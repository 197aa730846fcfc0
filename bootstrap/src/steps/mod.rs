//! The steps of `up`, in order.
//!
//! Each looks first and acts only where something is missing, so that they can all be run again after anything:
//! Ctrl-C, a power cut, a failure. `plan` asks the same table what it would do.

mod argo_cd;
mod cluster;
mod edge;
mod examples;
mod image;
mod machine;
mod minikube;
mod namespaces;
mod record;
mod repository;
mod rollout;
mod root;
mod secrets;
mod service;
mod tools;
mod waves;
mod webhook;

use crate::arguments::ClusterKind;
use crate::fault::Fault;
use crate::options::Options;
use crate::reporter::Reporter;
use crate::session::Session;

pub use cluster::{Found, wake};
pub use edge::CONTAINER as EDGE_CONTAINER;
pub use image::is_of_checkout as has_image_of_checkout;
pub use minikube::{has_our_driver, nodes as minikube_nodes, runs as node_runs};
pub use waves::parts;

/// What a step finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look {
    /// Nothing is to be done; how it is.
    Done(String),
    ToDo,
}

pub trait Step {
    /// A word for programs.
    fn name(&self) -> &'static str;

    /// A few words for people.
    fn title(&self) -> &'static str;

    /// What it would check, run and apply, a line each; without a cluster.
    fn plan(&self, session: &Session) -> Result<Vec<String>, Fault>;

    /// Whether there is anything to do.
    fn look(&self, session: &Session, reporter: &mut Reporter) -> Result<Look, Fault>;

    /// Does it; returns what was done.
    fn act(&self, session: &Session, reporter: &mut Reporter) -> Result<String, Fault>;
}

/// The steps that these options need.
pub fn table(options: &Options, has_offline_images: bool) -> Vec<Box<dyn Step>> {
    let is_ours = options.cluster == ClusterKind::Minikube;
    let mut steps: Vec<Box<dyn Step>> = vec![Box::new(tools::Tools)];
    if is_ours {
        steps.push(Box::new(machine::Machine));
    }
    steps.push(Box::new(cluster::Cluster));
    if has_offline_images && is_ours {
        steps.push(Box::new(image::Offline));
    }
    steps.extend::<[Box<dyn Step>; 8]>([
        Box::new(namespaces::Namespaces),
        Box::new(record::Record),
        Box::new(secrets::Secrets),
        Box::new(image::Image),
        Box::new(service::Service),
        Box::new(argo_cd::Install),
        Box::new(repository::Token),
        Box::new(examples::Examples),
    ]);
    steps.extend::<[Box<dyn Step>; 3]>([Box::new(root::Root), Box::new(waves::Waves), Box::new(webhook::Webhook)]);
    if is_ours {
        steps.push(Box::new(edge::Edge));
    }
    steps
}

/// What a run of all steps came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    pub done: usize,
    /// Steps in which something was missing.
    pub changed: usize,
}

/// Runs the steps one after the other and stops at the first that fails.
pub fn run(steps: &[Box<dyn Step>], session: &Session, reporter: &mut Reporter) -> Result<Tally, Fault> {
    let mut tally = Tally::default();
    for step in steps {
        reporter.step_began(step.name(), step.title());
        let note = match step.look(session, reporter) {
            Ok(Look::Done(note)) => Ok(note),
            Ok(Look::ToDo) => {
                tally.changed += 1;
                step.act(session, reporter)
            }
            Err(fault) => Err(fault),
        };
        match note {
            Ok(note) => reporter.step_ended(step.title(), &note),
            Err(fault) => {
                reporter.step_failed(step.title());
                return Err(fault);
            }
        }
        tally.done += 1;
    }
    Ok(tally)
}
