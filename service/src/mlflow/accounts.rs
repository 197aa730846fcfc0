//! Who somebody is to MLflow, and what they may do with a model: asked with their own credentials.

use reqwest::header::HeaderValue;

use super::call::Call;
use super::wire::{PermissionAnswer, UserAnswer, VersionAnswer};
use super::{Client, Error};
use crate::names::{ModelName, Version};

/// An account of MLflow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    pub name: String,
    pub is_admin: bool,
}

/// What an account may do with a model, least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Permission {
    NoPermissions,
    Read,
    Use,
    Edit,
    Manage,
}

impl Client {
    /// Who an `Authorization` header belongs to. None: the server has no accounts.
    ///
    /// # Errors
    /// [`Error::Unauthorized`] where it belongs to nobody; the server does not answer, or not as MLflow does.
    pub async fn current_user(&self, authorization: &str) -> Result<Option<User>, Error> {
        let call = Call::get("api/2.0/mlflow/users/current").authorization(self.header(authorization)?);
        match self.json(call).await {
            Ok(UserAnswer { user }) => Ok(Some(User { name: user.username, is_admin: user.is_admin })),
            // Without the app for accounts there is no such address, and the server says so in HTML.
            Err(Error::NotMlflow { status: 404, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What a user may do with a model, asked with the same header.
    ///
    /// # Errors
    /// The header belongs to nobody or to somebody else, the server does not answer, or not as MLflow does.
    pub async fn permission(&self, authorization: &str, user: &str, model: &ModelName) -> Result<Permission, Error> {
        let call = Call::get("api/3.0/mlflow/users/permissions/get")
            .query("username", user)
            .query("resource_type", "registered_model")
            .query("resource_id", model.as_str());
        let PermissionAnswer { permission } = self.json(call.authorization(self.header(authorization)?)).await?;
        Ok(match permission.as_str() {
            "MANAGE" => Permission::Manage,
            "EDIT" => Permission::Edit,
            "USE" => Permission::Use,
            "READ" => Permission::Read,
            // A word that is new allows nothing.
            _ => Permission::NoPermissions,
        })
    }

    /// Whether the registry has a version, asked with the caller's header or, without one, with the client's own account.
    ///
    /// # Errors
    /// The header belongs to nobody or to somebody who may not read the model, the server does not answer, or not as MLflow does.
    pub async fn has_version(
        &self,
        authorization: Option<&str>,
        model: &ModelName,
        version: &Version,
    ) -> Result<bool, Error> {
        let call = Call::get("api/2.0/mlflow/model-versions/get").query("name", model.as_str());
        let call = call.query("version", version.as_str());
        let call = match authorization {
            Some(authorization) => call.authorization(self.header(authorization)?),
            None => call,
        };
        let found: Option<VersionAnswer> = self.find(call).await?;
        Ok(found.is_some())
    }

    /// A caller's header; what is none is nobody's.
    fn header(&self, authorization: &str) -> Result<HeaderValue, Error> {
        let unknown = |_| Error::Unauthorized { address: self.address().to_owned() };
        let mut value = HeaderValue::from_str(authorization).map_err(unknown)?;
        value.set_sensitive(true);
        Ok(value)
    }
}
