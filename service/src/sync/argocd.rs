//! What is said to Argo CD: hints that something is new, and the end of an operation that holds a newer commit back.
//!
//! The annotations are those that its own tools set:
//! <https://github.com/argoproj/argo-cd/blob/v3.1.0/pkg/apis/application/v1alpha1/application_annotations.go>. A hint may get lost, so whoever
//! gives one looks whether it was taken, and gives it again.

use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
use kube::core::{ApiResource, DynamicObject};
use serde_json::{Value, json};

use super::cluster::Clusters;
use super::failure;
use super::kinds::{Small, api_resource};
use crate::live::{Kind, WireApplication};

const REFRESH: &str = "argocd.argoproj.io/refresh";
/// Two refreshes in a row are one without it: <https://github.com/argoproj/argo-cd/issues/28306>.
const REFRESH_TIMESTAMP: &str = "argocd.argoproj.io/refresh-timestamp";
const REFRESH_SET: &str = "argocd.argoproj.io/application-set-refresh";

/// What the folders of releases begin with.
const OUR_FOLDERS: &str = "releases/";

/// The most `ApplicationSet`s of a namespace that are looked through; there is one per environment.
const SETS_MAX: u32 = 500;

impl Clusters {
    /// Has Argo CD compare an Application with the repository at once. Says whether there is one of that name.
    ///
    /// # Errors
    /// One sentence: why it could not be told.
    pub async fn refresh(&self, application: &str, now: jiff::Timestamp) -> Result<bool, String> {
        let annotations = json!({REFRESH: "normal", REFRESH_TIMESTAMP: now.to_string()});
        self.patch_application(application, json!({"metadata": {"annotations": annotations}})).await
    }

    /// Reads an Application beside the watch, which may be behind, and takes in what is newer. Says whether there is one of that name.
    ///
    /// # Errors
    /// One sentence: why it could not be read.
    pub async fn read_application(&self, name: &str) -> Result<bool, String> {
        let Some(watching) = self.watching(self.hub()) else { return Ok(false) };
        let of = api_resource(Kind::Application);
        let api: Api<Small<WireApplication>> =
            Api::namespaced_with(watching.client.clone(), self.argocd_namespace(), &of);
        match api.get(name).await {
            Ok(application) => {
                watching.catch_up(application.kept(Kind::Application));
                Ok(true)
            }
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(false),
            Err(error) => Err(failure::of_call(self.hub(), ("get", Kind::Application), &error)),
        }
    }

    /// Ends the operation of an Application as it was seen: one of another version is left alone, for what runs there may be another operation.
    /// Says whether it was ended.
    ///
    /// # Errors
    /// One sentence: why it could not be ended.
    pub async fn end_operation(&self, application: &str, version: u64) -> Result<bool, String> {
        let metadata = json!({"resourceVersion": version.to_string()});
        let patch = json!({"metadata": metadata, "status": {"operationState": {"phase": "Terminating"}}});
        self.patch_application(application, patch).await
    }

    /// Has every `ApplicationSet` that reads our folders list them at once; `is_ours` tells our repository by its address. Says how many there are.
    ///
    /// # Errors
    /// One sentence: why they could not be told.
    pub async fn refresh_sets(&self, is_ours: impl Fn(&str) -> bool + Send + Sync) -> Result<usize, String> {
        let named = "applicationsets.argoproj.io";
        let failed =
            |verb: &'static str| move |error: kube::Error| failure::of_resource(self.hub(), (verb, named), &error);
        let Some(api) = self.argocd(&sets()) else { return Ok(0) };
        let all = api.list(&ListParams::default().limit(SETS_MAX)).await.map_err(failed("list"))?;
        let reads_ours = |set: &&DynamicObject| reads_folders(&set.data["spec"]["generators"], &is_ours);
        let ours: Vec<String> = all.iter().filter(reads_ours).filter_map(|set| set.metadata.name.clone()).collect();
        for name in &ours {
            let patch = json!({"metadata": {"annotations": {REFRESH_SET: "true"}}});
            api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.map_err(failed("patch"))?;
        }
        Ok(ours.len())
    }

    async fn patch_application(&self, name: &str, patch: Value) -> Result<bool, String> {
        let Some(api) = self.argocd(&api_resource(Kind::Application)) else { return Ok(false) };
        match api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(false),
            Err(error) => Err(failure::of_call(self.hub(), ("patch", Kind::Application), &error)),
        }
    }

    /// Argo CD's objects of a kind.
    fn argocd(&self, of: &ApiResource) -> Option<Api<DynamicObject>> {
        let watching = self.watching(self.hub())?;
        Some(Api::namespaced_with(watching.client.clone(), self.argocd_namespace(), of))
    }
}

/// Whether some Git generator, at whatever depth of them, reads our folders.
fn reads_folders(generators: &Value, is_ours: &dyn Fn(&str) -> bool) -> bool {
    let is_below = |it: &Value| it["path"].as_str().is_some_and(|path| path.starts_with(OUR_FOLDERS));
    let items = |git: &Value, name: &str| git[name].as_array().is_some_and(|items| items.iter().any(is_below));
    match generators {
        Value::Array(all) => all.iter().any(|it| reads_folders(it, is_ours)),
        Value::Object(fields) => fields.iter().any(|(name, git)| match name.as_str() {
            "git" => {
                let is_of_ours = git["repoURL"].as_str().is_none_or(is_ours);
                is_of_ours && (items(git, "directories") || items(git, "files"))
            }
            _ => reads_folders(git, is_ours),
        }),
        _ => false,
    }
}

fn sets() -> ApiResource {
    ApiResource {
        kind: "ApplicationSet".to_owned(),
        plural: "applicationsets".to_owned(),
        ..api_resource(Kind::Application)
    }
}
