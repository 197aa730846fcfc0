//! Tags of a version, written and removed.

use reqwest::Method;
use serde::Deserialize;
use serde_json::json;

use super::call::{Call, present};
use super::{Client, Error};
use crate::names::{ModelName, Version};

/// An answer that says nothing but that it was done.
#[derive(Debug, Deserialize)]
struct Done {}

impl Client {
    /// Sets a tag; the same again changes nothing.
    ///
    /// # Errors
    /// The server does not answer, not as MLflow does, or has no such version.
    pub async fn set_tag(&self, model: &ModelName, version: &Version, key: &str, value: &str) -> Result<(), Error> {
        let body = json!({"name": model, "version": version, "key": key, "value": value});
        let call = Call::write(Method::POST, "api/2.0/mlflow/model-versions/set-tag", body);
        self.json(call).await.map(|Done {}| ())
    }

    /// Removes a tag. One that is not there, or whose version is gone, is removed already.
    ///
    /// # Errors
    /// The server does not answer, or not as MLflow does.
    pub async fn delete_tag(&self, model: &ModelName, version: &Version, key: &str) -> Result<(), Error> {
        let body = json!({"name": model, "version": version, "key": key});
        let call = Call::write(Method::DELETE, "api/2.0/mlflow/model-versions/delete-tag", body);
        present(self.json(call).await).map(|_: Option<Done>| ())
    }
}
