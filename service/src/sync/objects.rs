//! Single objects read whole, where somebody asks for them; never for all releases.

use kube::Api;
use kube::api::ListParams;
use kube::core::DynamicObject;
use serde_json::Value;

use super::cluster::Clusters;
use super::failure;
use super::kinds::api_resource;
use crate::live::Kind;

/// `SeldonDeployment`s of one answer.
const PAGE: u32 = 500;

/// The most of a namespace that are read: each is held whole, and a person looks through them.
const LIST_MAX: usize = 5_000;

impl Clusters {
    /// An object as it is; nothing where there is none of that name.
    ///
    /// # Errors
    /// One sentence: why it could not be read.
    pub async fn object(
        &self,
        cluster: &str,
        kind: Kind,
        (namespace, name): (&str, &str),
    ) -> Result<Option<Value>, String> {
        let api = self.objects(cluster, kind, namespace)?;
        match api.get(name).await {
            Ok(object) => Ok(serde_json::to_value(object).ok()),
            // A kind that is not installed is answered with the same code, in words of its own.
            Err(kube::Error::Api(status)) if status.code == 404 && status.reason == "NotFound" => Ok(None),
            Err(error) => Err(failure::of_call(cluster, ("get", kind), &error)),
        }
    }

    /// Argo CD's Application of that name as it is.
    ///
    /// # Errors
    /// One sentence: why it could not be read.
    pub async fn application(&self, name: &str) -> Result<Option<Value>, String> {
        self.object(self.hub(), Kind::Application, (self.argocd_namespace(), name)).await
    }

    /// The `SeldonDeployment`s of a namespace as they are, all of them.
    ///
    /// # Errors
    /// One sentence: why they could not be read, or that they are too many.
    pub async fn seldon_deployments(&self, cluster: &str, namespace: &str) -> Result<Vec<Value>, String> {
        let api = self.objects(cluster, Kind::Seldon, namespace)?;
        let mut all = Vec::new();
        let mut from = ListParams::default().limit(PAGE);
        loop {
            let page = api.list(&from).await;
            let page = page.map_err(|error| failure::of_call(cluster, ("list", Kind::Seldon), &error))?;
            all.extend(page.items.into_iter().filter_map(|object| serde_json::to_value(object).ok()));
            let Some(next) = page.metadata.continue_.filter(|next| !next.is_empty()) else { return Ok(all) };
            if all.len() >= LIST_MAX {
                return Err(format!(
                    "the namespace `{namespace}` has more than {LIST_MAX} SeldonDeployments, which are not read at once: name those that are meant"
                ));
            }
            from.continue_token = Some(next);
        }
    }

    fn objects(&self, cluster: &str, kind: Kind, namespace: &str) -> Result<Api<DynamicObject>, String> {
        let Some(watching) = self.watching(cluster) else {
            return Err(format!("the cluster `{cluster}` is not watched"));
        };
        Ok(Api::namespaced_with(watching.client.clone(), namespace, &api_resource(kind)))
    }
}
