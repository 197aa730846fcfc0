//! The accounts of the tracking server, for the button: asked with the caller's own credentials. With the service's own only whether there
//! is a version, for whoever may see it by a session or a token of the service.

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use crate::mlflow::{self, Client, Permission, User};
use crate::names::{ModelName, Version};
use crate::web::{AccountsError, ModelAccounts, ModelPermission, ModelUser};

/// The accounts of one tracking server.
pub(super) struct Accounts {
    /// Nobody unless a caller's credentials come with the call.
    of_callers: Client,
    /// The service itself.
    of_service: Client,
}

impl Accounts {
    /// Those of the server at the address of the service's own client.
    ///
    /// # Errors
    /// The address is none.
    pub(super) fn beside(of_service: Client) -> Result<Self, mlflow::Error> {
        let tracking_uri = of_service.address().to_owned();
        let of_callers = Client::new(mlflow::Settings { tracking_uri, username: None, password: None })?;
        Ok(Self { of_callers, of_service })
    }
}

impl ModelAccounts for Accounts {
    fn who<'a>(&'a self, authorization: &'a str) -> BoxFuture<'a, Result<Option<ModelUser>, AccountsError>> {
        let user = |User { name, is_admin }| ModelUser { name, is_admin };
        async move { Ok(self.of_callers.current_user(authorization).await.map_err(unknown)?.map(user)) }.boxed()
    }

    fn permission<'a>(
        &'a self,
        authorization: &'a str,
        user: &'a str,
        model: &'a ModelName,
    ) -> BoxFuture<'a, Result<ModelPermission, AccountsError>> {
        async move {
            match self.of_callers.permission(authorization, user, model).await {
                Ok(Permission::NoPermissions) => Ok(ModelPermission::None),
                Ok(Permission::Read | Permission::Use) => Ok(ModelPermission::Read),
                Ok(Permission::Edit) => Ok(ModelPermission::Edit),
                Ok(Permission::Manage) => Ok(ModelPermission::Manage),
                Err(mlflow::Error::Forbidden { .. }) => Ok(ModelPermission::None),
                Err(error) => Err(unknown(error)),
            }
        }
        .boxed()
    }

    fn has_version<'a>(
        &'a self,
        authorization: Option<&'a str>,
        model: &'a ModelName,
        version: &'a Version,
    ) -> BoxFuture<'a, Result<bool, AccountsError>> {
        let client = if authorization.is_some() { &self.of_callers } else { &self.of_service };
        async move { client.has_version(authorization, model, version).await.map_err(unknown) }.boxed()
    }
}

fn unknown(error: mlflow::Error) -> AccountsError {
    match error {
        mlflow::Error::Unauthorized { .. } => AccountsError::Unknown,
        error => AccountsError::Unavailable(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use axum::extract::Query;
    use axum::http::HeaderMap;
    use axum::routing::get;
    use axum::{Json, Router};
    use serde_json::{Value, json};

    use super::super::super::tests::listener;
    use super::*;
    use crate::mlflow::{Password, Settings};

    type Asked = Query<std::collections::HashMap<String, String>>;

    /// A server whose users are called as what they may; it shows version 1 to `x:y`, and version 2 to the service's `km:pw`.
    async fn accounts() -> Accounts {
        let permission = |Query(asked): Asked| async move { Json(json!({"permission": asked["username"]})) };
        let version = |headers: HeaderMap, Query(asked): Asked| async move {
            let owner = if asked["version"] == "1" { "Basic eDp5" } else { "Basic a206cHc=" };
            let is_mine = headers["authorization"] == owner;
            let found = json!({"model_version": {"name": "fraud", "version": asked["version"]}});
            let absent = json!({"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no"});
            let status = if is_mine { 200 } else { 404 };
            (axum::http::StatusCode::from_u16(status).unwrap(), Json(if is_mine { found } else { absent }))
        };
        let current = || async { Json::<Value>(json!({"user": {"username": "x", "is_admin": false}})) };
        let router = Router::new()
            .route("/api/2.0/mlflow/users/current", get(current))
            .route("/api/3.0/mlflow/users/permissions/get", get(permission))
            .route("/api/2.0/mlflow/model-versions/get", get(version));
        let listener = listener().await;
        let tracking_uri = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        let (username, password) = (Some("km".to_owned()), Some(Password::new("pw".to_owned())));
        Accounts::beside(Client::new(Settings { tracking_uri, username, password }).unwrap()).unwrap()
    }

    fn fraud() -> ModelName {
        ModelName::parse("fraud").unwrap()
    }

    #[tokio::test]
    async fn use_only_views_and_a_word_that_is_new_allows_nothing() {
        let accounts = accounts().await;
        for (word, expected) in [
            ("NO_PERMISSIONS", ModelPermission::None),
            ("READ", ModelPermission::Read),
            ("USE", ModelPermission::Read),
            ("EDIT", ModelPermission::Edit),
            ("MANAGE", ModelPermission::Manage),
            ("EVERYTHING", ModelPermission::None),
        ] {
            assert_eq!(accounts.permission("Basic eDp5", word, &fraud()).await, Ok(expected), "{word}");
        }
        let user = ModelUser { name: "x".to_owned(), is_admin: false };
        assert_eq!(accounts.who("Basic eDp5").await, Ok(Some(user)));
    }

    #[tokio::test]
    async fn a_caller_is_asked_for_with_their_own_credentials_and_nobody_with_the_services() {
        let accounts = accounts().await;
        for (authorization, version, expected) in
            [(Some("Basic eDp5"), "1", true), (Some("Basic eDp5"), "2", false), (None, "2", true), (None, "1", false)]
        {
            let version = Version::parse(version).unwrap();
            let found = accounts.has_version(authorization, &fraud(), &version).await;
            assert_eq!(found, Ok(expected), "{authorization:?} {version}");
        }
    }
}
