//! How the command line finds the service and its token.

use std::path::Path;

use super::{Config, ConfigError, Environment, SecretText, default_data_dir, read_secret_file};

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
        let data_dir = default_data_dir(environment);
        let here = data_dir.as_deref().and_then(address_of);
        let url = Self::address(url, environment)?;
        let token = match (token_file, variable("KMLFLOW_TOKEN", environment)) {
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

    /// Works out the service's address alone.
    ///
    /// # Errors
    /// The address is none.
    pub fn address(url: Option<&str>, environment: &Environment) -> Result<String, ConfigError> {
        let here = default_data_dir(environment).as_deref().and_then(address_of);
        let given = url.or_else(|| variable("KMLFLOW_URL", environment));
        let url = given.or(here.as_deref()).unwrap_or(DEFAULT_URL).trim_end_matches('/');
        if !url.starts_with("http://") && !url.starts_with("https://") {
            return Err(ConfigError::new(
                format!("`{}` is not the address of a service", crate::names::shown(url)),
                "write it like http://127.0.0.1:8080",
            ));
        }
        // By whichever of its names the local service is called, it is asked at the very address that it wrote down: behind another name
        // of the loopback somebody else may listen on the same port.
        let is_here = |here: &&str| is_same(here, url);
        Ok(here.as_deref().filter(is_here).unwrap_or(url).to_owned())
    }
}

/// The address by which others reach the service of a data directory.
///
/// A flag, `KMLFLOW_URL`, `public_url`, or where it says that it listens.
///
/// # Errors
/// There is none, or it is no address.
pub fn service_url(url: Option<&str>, config: &Config, environment: &Environment) -> Result<String, ConfigError> {
    let given = url.or_else(|| variable("KMLFLOW_URL", environment)).or(config.public_url.as_deref());
    let url = given.map(str::to_owned).or_else(|| address_of(config.data_dir())).ok_or_else(|| {
        ConfigError::new(
            "no service of this data directory runs, and it has no public address".to_owned(),
            "start it with `kmlflow serve`, or name the address by which it is reached with --url",
        )
    })?;
    if !url.starts_with("http://") && !url.starts_with("https://") {
        return Err(ConfigError::new(
            format!("`{}` is not the address of a service", crate::names::shown(&url)),
            "write it like http://kmlflow.mlops.svc:8080",
        ));
    }
    Ok(url.trim_end_matches('/').to_owned())
}

/// The text of a variable that is set to something.
fn variable<'e>(name: &str, environment: &'e Environment) -> Option<&'e str> {
    environment.get(name).map(String::as_str).filter(|text| !text.trim().is_empty())
}

/// Whether two addresses are the same, or the same port of this machine by two names of its loopback.
fn is_same(one: &str, other: &str) -> bool {
    one == other || loopback_port(one).is_some_and(|port| Some(port) == loopback_port(other))
}

/// The port of an address that is of this machine and says nothing more.
fn loopback_port(url: &str) -> Option<u16> {
    let rest = url.strip_prefix("http://")?;
    let port = ["localhost:", "127.0.0.1:", "[::1]:"].iter().find_map(|name| rest.strip_prefix(name))?;
    port.bytes().all(|byte| byte.is_ascii_digit()).then(|| port.parse().ok())?
}

/// Where the service of a data directory says that it listens.
fn address_of(data_dir: &Path) -> Option<String> {
    let text = std::fs::read_to_string(data_dir.join(ADDRESS_FILE)).ok()?;
    Some(text.trim().to_owned()).filter(|url| !url.is_empty())
}
