//! How the command line finds the service and its token.

use std::path::Path;

use super::{ConfigError, Environment, SecretText, default_data_dir, read_secret_file};

/// Where a client looks for a service that has left no address: where `config.default.yaml` listens.
pub const DEFAULT_URL: &str = "http://127.0.0.1:8080";

/// The file in the data directory that holds the first start's administrator token.
pub const ADMIN_TOKEN_FILE: &str = "admin-token";

/// The file in the data directory that says where the service listens, while it does.
pub const ADDRESS_FILE: &str = "address";

/// How the command line reaches a service.
#[derive(Debug, Clone)]
pub struct ClientSettings {
    /// Base address without a slash at the end.
    pub url: String,
    pub token: Option<SecretText>,
}

impl ClientSettings {
    /// Works out the service's address and the token: flags before environment before what lies in the data directory of this machine.
    ///
    /// # Errors
    /// The token's file cannot be read, or everybody can read it; the address is none.
    pub fn find(url: Option<&str>, token_file: Option<&Path>, environment: &Environment) -> Result<Self, ConfigError> {
        let of = |name: &str| environment.get(name).map(String::as_str).filter(|text| !text.trim().is_empty());
        let data_dir = default_data_dir(environment);
        let here = data_dir.as_deref().and_then(address_of);
        let url = url.or_else(|| of("KMLFLOW_URL")).or(here.as_deref()).unwrap_or(DEFAULT_URL);
        let url = url.trim_end_matches('/').to_owned();
        if !url.starts_with("http://") && !url.starts_with("https://") {
            return Err(ConfigError::new(
                format!("`{}` is not the address of a service", crate::names::shown(&url)),
                "write it like http://127.0.0.1:8080",
            ));
        }
        let token = match (token_file, of("KMLFLOW_TOKEN")) {
            (Some(path), _) => Some(read_secret_file(path)?),
            (None, Some(text)) => Some(SecretText::new(text)),
            // The administrator's token goes by itself to the service that made it and to nobody else, also not to another port of this machine.
            (None, None) if here.as_ref() == Some(&url) => {
                data_dir.and_then(|dir| read_secret_file(&dir.join(ADMIN_TOKEN_FILE)).ok())
            }
            (None, None) => None,
        };
        Ok(Self { url, token })
    }
}

/// Where the service of a data directory says that it listens.
fn address_of(data_dir: &Path) -> Option<String> {
    let text = std::fs::read_to_string(data_dir.join(ADDRESS_FILE)).ok()?;
    Some(text.trim().to_owned()).filter(|url| !url.is_empty())
}
