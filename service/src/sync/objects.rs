//! Single objects read whole, where somebody asks for them; never for all releases.

use kube::Api;
use kube::core::DynamicObject;
use serde_json::Value;

use super::cluster::Clusters;
use super::failure;
use super::kinds::api_resource;
use crate::live::Kind;

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

    fn objects(&self, cluster: &str, kind: Kind, namespace: &str) -> Result<Api<DynamicObject>, String> {
        let Some(watching) = self.watching(cluster) else {
            return Err(format!("the cluster `{cluster}` is not watched"));
        };
        Ok(Api::namespaced_with(watching.client.clone(), namespace, &api_resource(kind)))
    }
}
