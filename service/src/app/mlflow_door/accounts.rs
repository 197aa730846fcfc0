//! The accounts of the tracking server, for the button: asked with the caller's own credentials, never with the service's.

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use crate::mlflow::{self, Client, Permission, User};
use crate::names::ModelName;
use crate::web::{AccountsError, ModelAccounts, ModelPermission, ModelUser};

/// The accounts of one tracking server.
pub(super) struct Accounts(Client);

impl Accounts {
    /// Those of the server at an address.
    ///
    /// # Errors
    /// The address is none.
    pub(super) fn at(tracking_uri: &str) -> Result<Self, mlflow::Error> {
        let settings = mlflow::Settings { tracking_uri: tracking_uri.to_owned(), username: None, password: None };
        Client::new(settings).map(Self)
    }
}

impl ModelAccounts for Accounts {
    fn who<'a>(&'a self, authorization: &'a str) -> BoxFuture<'a, Result<Option<ModelUser>, AccountsError>> {
        let user = |User { name, is_admin }| ModelUser { name, is_admin };
        async move { Ok(self.0.current_user(authorization).await.map_err(unknown)?.map(user)) }.boxed()
    }

    fn permission<'a>(
        &'a self,
        authorization: &'a str,
        user: &'a str,
        model: &'a ModelName,
    ) -> BoxFuture<'a, Result<ModelPermission, AccountsError>> {
        async move {
            match self.0.permission(authorization, user, model).await {
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
}

fn unknown(error: mlflow::Error) -> AccountsError {
    match error {
        mlflow::Error::Unauthorized { .. } => AccountsError::Unknown,
        error => AccountsError::Unavailable(error.to_string()),
    }
}
