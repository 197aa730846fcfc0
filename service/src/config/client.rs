//! How the command line finds the service and its token.

use std::path::Path;

use super::{ConfigError, Environment, SecretText, default_data_dir, read_secret_file};

/// Where a client finds the service unless told: the address that `config.default.yaml` listens on.
pub const DEFAULT_URL: &str = "http://127.0.0.1:8080";

/// The file in the data directory that holds the first start's administrator token.
pub const ADMIN_TOKEN_FILE: &str = "admin-token";

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
        let url = url.or_else(|| of("KMLFLOW_URL")).unwrap_or(DEFAULT_URL).trim_end_matches('/').to_owned();
        if !url.starts_with("http://") && !url.starts_with("https://") {
            return Err(ConfigError::new(
                format!("`{}` is not the address of a service", crate::names::shown(&url)),
                "write it like http://127.0.0.1:8080",
            ));
        }
        let token = match (token_file, of("KMLFLOW_TOKEN")) {
            (Some(path), _) => Some(read_secret_file(path)?),
            (None, Some(text)) => Some(SecretText::new(text)),
            // The administrator's token never goes to another machine by itself.
            (None, None) if is_this_machine(&url) => {
                default_data_dir(environment).and_then(|dir| read_secret_file(&dir.join(ADMIN_TOKEN_FILE)).ok())
            }
            (None, None) => None,
        };
        Ok(Self { url, token })
    }
}

fn is_this_machine(url: &str) -> bool {
    let host = url.split("://").nth(1).unwrap_or_default().split('/').next().unwrap_or_default();
    let name = host
        .rsplit_once(':')
        .map_or(host, |(name, port)| if port.bytes().all(|b| b.is_ascii_digit()) { name } else { host });
    name == "localhost" || name.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}
