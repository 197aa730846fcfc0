//! Argo CD: applied once from the folder that it then keeps itself by.

use serde_json::json;

use super::{Look, Step, rollout};
use crate::arguments::ArgoCd;
use crate::fault::{Fault, Kind};
use crate::manifests;
use crate::reporter::Reporter;
use crate::session::Session;
use crate::{digest, kinds};

pub(super) struct Install;

/// What must run before an Application is looked at.
const WORKLOADS: [&str; 5] = [
    "deployment/argocd-redis",
    "deployment/argocd-repo-server",
    "deployment/argocd-server",
    "deployment/argocd-applicationset-controller",
    "statefulset/argocd-application-controller",
];

/// The check without which an app of apps does not wait for the apps of an earlier wave.
const HEALTH_OF_APPLICATIONS: &str = "resource.customizations.health.argoproj.io_Application";

/// The ConfigMap that says from which files it was applied.
const NOTE: (&str, &str) = ("argocd", "bootstrap-applied");

/// The digest of the folder, which names the release that it is made of.
fn digest(session: &Session) -> Result<String, Fault> {
    digest::of_files(&session.checkout.platform(""), &["argo-cd"])
}

fn manifests(session: &Session) -> Result<String, Fault> {
    let built = session.kubectl.kustomize(&session.checkout.platform("argo-cd"))?;
    manifests::built_in_only(&built)
}

impl Step for Install {
    fn name(&self) -> &'static str {
        "argo-cd"
    }

    fn title(&self) -> &'static str {
        "Argo CD"
    }

    fn plan(&self, session: &Session) -> Result<Vec<String>, Fault> {
        if session.options.argo_cd == ArgoCd::Present {
            return Ok(vec![format!("check that the Argo CD in `argocd` has `{HEALTH_OF_APPLICATIONS}`")]);
        }
        let build = session.kubectl.kustomize_call(&session.checkout.platform("argo-cd")).line();
        let version = &session.component("argo-cd")?.version;
        Ok(vec![
            format!("apply {build} (Argo CD {version}, fetched from its project)"),
            format!("wait for {}", WORKLOADS.join(", ")),
        ])
    }

    fn look(&self, session: &Session, _: &mut Reporter) -> Result<Look, Fault> {
        if session.options.argo_cd == ArgoCd::Present {
            return look_at_present(session).map(Look::Done);
        }
        for workload in WORKLOADS {
            if !rollout::is_rolled_out(session, "argocd", workload)? {
                return Ok(Look::ToDo);
            }
        }
        // From here on Argo CD keeps itself: what it is made of is fetched only where the folder is another one than was applied.
        let (namespace, name) = NOTE;
        let noted = session.kubectl.get(&["configmap", name, "--namespace", namespace])?.unwrap_or_default();
        match noted["data"]["applied"] == digest(session)? {
            true => Ok(Look::Done(format!("{} runs", session.component("argo-cd")?.version))),
            false => Ok(Look::ToDo),
        }
    }

    fn act(&self, session: &Session, reporter: &mut Reporter) -> Result<String, Fault> {
        session.kubectl.apply(&manifests(session)?, "Argo CD")?;
        for workload in WORKLOADS {
            rollout::wait(session, reporter, "argocd", workload)?;
        }
        let (namespace, name) = NOTE;
        let note = manifests::note(namespace, name, &json!({"applied": digest(session)?}));
        session.kubectl.apply(&note, "the note of what was applied")?;
        Ok(format!("{} runs", session.component("argo-cd")?.version))
    }
}

/// An Argo CD that is there is used as it is.
pub(super) fn look_at_present(session: &Session) -> Result<String, Fault> {
    let kind = session.kubectl.get(&["customresourcedefinition", "applications.argoproj.io"])?;
    if kind.is_none() {
        let fault =
            Fault::new("there is no Argo CD in this cluster", "leave `--argo-cd present` out, and one is installed");
        return Err(fault.of(Kind::NotFound));
    }
    let Some(settings) = session.kubectl.get(&["configmap", "argocd-cm", "--namespace", "argocd"])? else {
        let places = kinds::argo_cds(&session.kubectl)?.join("`, `");
        let what = match places.as_str() {
            "" => "there are kinds of Argo CD in this cluster, and none runs in the namespace `argocd`".to_owned(),
            places => {
                format!("the Argo CD of this cluster runs in `{places}`, and the platform follows one in `argocd` only")
            }
        };
        return Err(Fault::new(what, "use another cluster, or an Argo CD in `argocd`").of(Kind::Refused));
    };
    if !settings["data"][HEALTH_OF_APPLICATIONS].is_string() {
        let folder = session.checkout.platform("argo-cd/settings");
        let what = format!(
            "the Argo CD that is there has no `{HEALTH_OF_APPLICATIONS}`, so waves would not wait for each other"
        );
        let cure = format!("add it: `kubectl apply --server-side --kustomize {}`", folder.display());
        return Err(Fault::new(what, cure).of(Kind::Refused));
    }
    kinds::refuse_foreign_applications(session)?;
    Ok("the one that is there".to_owned())
}
