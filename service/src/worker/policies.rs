//! The policies in force: those of the repository, and for one that does not parse the last text that did.

use std::sync::Arc;

use super::history::text_of;
use super::shared::PolicySet;
use crate::git::{GitError, Repository};
use crate::names::{CommitId, PolicyName};
use crate::policy::Policies;

/// Where policies lie in the repository.
pub(super) const POLICY_DIR: &str = "policies";

/// What reading the policies found.
pub(super) struct Read {
    pub(super) set: Arc<PolicySet>,
    /// The texts that parsed, to be remembered.
    pub(super) good: Vec<(PolicyName, String)>,
    /// Policies whose files are gone.
    pub(super) gone: Vec<PolicyName>,
}

/// Reads the policies of a commit; `remembered` are the last texts that parsed.
pub(super) fn read(
    repository: &Repository,
    at: &CommitId,
    remembered: &[(PolicyName, String)],
) -> Result<Read, GitError> {
    let mut in_force = Vec::new();
    let mut good = Vec::new();
    let mut problems = Vec::new();
    let mut present = Vec::new();
    for (file, _) in repository.list(at, POLICY_DIR)? {
        let Some(name) = file.strip_suffix(".yaml").and_then(|stem| PolicyName::parse(stem).ok()) else { continue };
        present.push(name.clone());
        let read = text_of(repository.read(at, &format!("{POLICY_DIR}/{file}")))?.unwrap_or_else(|| Ok(String::new()));
        match read.and_then(|text| parsed(&name, text)) {
            Ok(text) => {
                good.push((name.clone(), text.clone()));
                in_force.push((name, text));
            }
            Err(why) => {
                let last = remembered.iter().find(|(known, _)| *known == name).cloned();
                let instead = match &last {
                    Some(_) => "the last version of it that could be read stays in force",
                    None => "it is not in force",
                };
                problems.push(format!("policy `{name}`: {why}; {instead}"));
                in_force.extend(last);
            }
        }
    }
    for problem in &problems {
        tracing::warn!("{problem}");
    }
    let gone = remembered.iter().map(|(name, _)| name).filter(|name| !present.contains(name)).cloned().collect();
    let (policies, _) = Policies::parse(&in_force);
    Ok(Read { set: Arc::new(PolicySet { policies, problems }), good, gone })
}

/// The text of a policy where it parses, or why it does not.
fn parsed(name: &PolicyName, text: String) -> Result<String, String> {
    let (_, wrong) = Policies::parse(&[(name.clone(), text.clone())]);
    if wrong.is_empty() {
        Ok(text)
    } else {
        Err(wrong.into_iter().map(|problem| problem.reason).collect::<Vec<_>>().join("; "))
    }
}
