//! All policies of the repository, and which one speaks for a model.

use crate::names::{ModelName, PolicyName};

use super::ReleasePolicy;

/// All policies that parsed.
#[derive(Debug, Clone, Default)]
pub struct Policies(Vec<ReleasePolicy>);

/// What is wrong with one policy file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub policy: PolicyName,
    /// One plain sentence.
    pub reason: String,
    pub cure: Option<String>,
}

/// The policy that speaks for a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Selection<'a> {
    pub policy: &'a ReleasePolicy,
    /// Which other policy speaks for it just as strongly.
    pub warning: Option<String>,
}

impl Policies {
    /// Parses policy files, each on its own: one that does not parse is a problem and leaves the others in force.
    pub fn parse(files: &[(PolicyName, String)]) -> (Self, Vec<Problem>) {
        let _ = files;
        todo!()
    }

    /// Every policy, by name.
    pub fn iter(&self) -> impl Iterator<Item = &ReleasePolicy> {
        self.0.iter()
    }

    /// The policy for a model: an exact name beats a glob, then more literal characters, then the file name.
    pub fn select(&self, model: &ModelName) -> Option<Selection<'_>> {
        let _ = model;
        todo!()
    }
}
