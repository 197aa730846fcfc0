//! What a cluster remembers of its platform, in the ConfigMap `k5w/bootstrap`: what was asked for, and which repository it follows.

use serde_json::{Value, json};

use crate::arguments::UpArguments;
use crate::catalogue::Catalogue;
use crate::checkout::Checkout;
use crate::fault::{Fault, Kind};
use crate::kubectl::Kubectl;
use crate::manifests::{RECORD, Repository};
use crate::options::Options;
use crate::session::Session;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// What the platform was brought up with.
    pub options: Options,
    /// None in a record of before it was kept, as is the suffix.
    repository: Option<Repository>,
    host_suffix: Option<String>,
}

impl Record {
    /// The record of the cluster; none where it has no platform.
    pub fn read(kubectl: &Kubectl) -> Result<Option<Self>, Fault> {
        let (namespace, name) = RECORD;
        let Some(record) = kubectl.get(&["configmap", name, "--namespace", namespace])? else { return Ok(None) };
        let field = |name: &str| record["data"][name].as_str();
        let options = serde_json::from_str(field("options").unwrap_or_default()).map_err(|error| {
            let what = format!("the ConfigMap `{namespace}/{name}` is not as this program writes it: {error}");
            let cure = format!(
                "`kubectl --namespace {namespace} delete configmap {name}`, then `cargo bootstrap up` with the options"
            );
            Fault::new(what, cure)
        })?;
        let repository = field("repository")
            .zip(field("branch"))
            .map(|(url, branch)| Repository { url: url.to_owned(), branch: branch.to_owned() });
        Ok(Some(Self { options, repository, host_suffix: field("host-suffix").map(str::to_owned) }))
    }

    /// What is written for a session.
    pub fn data(session: &Session) -> Result<Value, Fault> {
        let options = serde_json::to_string(&session.options)
            .map_err(|error| Fault::new(format!("the options cannot be written down: {error}"), "report it"))?;
        let Repository { url, branch } = &session.repository;
        Ok(json!({
            "options": options, "repository": url, "branch": branch, "host-suffix": session.catalogue.host_suffix,
        }))
    }

    /// Refuses manifests of another repository, or with other addresses, than the cluster follows, unless it is said that these change.
    pub fn refuse_move(&self, checkout: &Checkout, asked: &UpArguments) -> Result<(), Fault> {
        let at_hand = Repository::read(&checkout.platform("repository"))?;
        let place = checkout.gitops.display();
        if let Some(followed) =
            self.repository.as_ref().filter(|followed| **followed != at_hand && !asked.move_repository)
        {
            let what = format!("the cluster follows {followed}, and the manifests in `{place}` name {at_hand}");
            let cure = format!(
                "`--gitops-repo DIR` with a clone of `{}`; or `--move-repository`, and it follows the other one from now on",
                followed.url
            );
            return Err(Fault::new(what, cure).of(Kind::Conflict));
        }
        let suffix = Catalogue::read(&checkout.gitops)?.host_suffix;
        if let Some(present) =
            self.host_suffix.as_ref().filter(|present| **present != suffix && asked.host_suffix.is_none())
        {
            let what = format!(
                "the platform's addresses end with `{present}`, and those of the manifests in `{place}` with `{suffix}`"
            );
            let cure = format!(
                "`--gitops-repo DIR` with a clone of what the cluster follows; or `--host-suffix {suffix}`, and they end so from now on"
            );
            return Err(Fault::new(what, cure).of(Kind::Conflict));
        }
        Ok(())
    }
}
