//! Credentials of registries, from the file that `docker login` writes.

use std::collections::HashMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::reference::known_as;

/// Names and passwords by registry.
#[derive(Default)]
pub(super) struct Credentials(HashMap<String, Login>);

/// A name and its password.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Login {
    pub(super) username: String,
    pub(super) password: String,
}

/// A file of credentials that cannot be read; it never repeats what is in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`images.auth_file` {0}")]
pub struct UnreadableCredentials(String);

/// Docker's `config.json`; what it has beside `auths` (helpers, proxies) is not used.
#[derive(Deserialize)]
struct Written {
    #[serde(default)]
    auths: HashMap<String, WrittenLogin>,
}

#[derive(Deserialize)]
struct WrittenLogin {
    /// Base64 of `name:password`.
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
}

impl Credentials {
    /// Reads the file's text.
    pub(super) fn parse(text: &str) -> Result<Self, UnreadableCredentials> {
        let written: Written = serde_json::from_str(text).map_err(|_| {
            UnreadableCredentials(
                "is not Docker's `config.json`: it needs `auths` with a login per registry".to_owned(),
            )
        })?;
        let mut logins = HashMap::new();
        for (server, login) in written.auths {
            let registry = registry_of(&server);
            let login = login.read().ok_or_else(|| {
                let shown = crate::names::shown(&registry);
                UnreadableCredentials(format!(
                    "has no name and password for `{shown}`; `docker login` without a credential helper writes them"
                ))
            })?;
            logins.insert(registry, login);
        }
        Ok(Self(logins))
    }

    /// The login for a registry.
    pub(super) fn of(&self, registry: &str) -> Option<&Login> {
        self.0.get(registry)
    }
}

impl WrittenLogin {
    fn read(self) -> Option<Login> {
        if let Some(auth) = self.auth.filter(|auth| !auth.is_empty()) {
            let text = String::from_utf8(STANDARD.decode(auth.trim()).ok()?).ok()?;
            let (username, password) = text.split_once(':')?;
            return Some(Login { username: username.to_owned(), password: password.trim_end_matches('\0').to_owned() });
        }
        Some(Login { username: self.username?, password: self.password? })
    }
}

/// The registry that a key means: keys may be addresses, such as `https://index.docker.io/v1/`.
fn registry_of(server: &str) -> String {
    let host = server.strip_prefix("https://").or_else(|| server.strip_prefix("http://")).unwrap_or(server);
    let host = host.split('/').next().unwrap_or_default().to_ascii_lowercase();
    known_as(&host).to_owned()
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Login(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_docker_writes_is_read() {
        // `ada:hunter:2` in base64.
        let text = r#"{"auths": {"https://index.docker.io/v1/": {"auth": "YWRhOmh1bnRlcjoy"},
            "registry.example:5000": {"username": "bob", "password": "pw"}}, "credsStore": "x", "HttpHeaders": {}}"#;
        let credentials = Credentials::parse(text).unwrap();
        let login = credentials.of("docker.io").unwrap();
        assert_eq!((login.username.as_str(), login.password.as_str()), ("ada", "hunter:2"));
        assert_eq!(credentials.of("registry.example:5000").unwrap().username, "bob");
        assert_eq!(credentials.of("registry.example"), None);
        let shown = format!("{credentials:?} {login:?}");
        assert!(!shown.contains("hunter") && !shown.contains("pw"), "{shown}");
    }

    #[test]
    fn what_cannot_be_read_is_said_without_repeating_it() {
        for (text, said) in [
            ("hunter2", "is not Docker's"),
            ("7", "is not Docker's"),
            (r#"{"auths": {"r.example": {"auth": "hunter2!"}}}"#, "`r.example`"),
            (r#"{"auths": {"r.example": {"auth": "aHVudGVyMg=="}}}"#, "`r.example`"),
            (r#"{"auths": {"r.example": {}}}"#, "`r.example`"),
        ] {
            let error = Credentials::parse(text).unwrap_err().to_string();
            assert!(error.contains(said) && !error.contains("hunter2"), "{error}");
        }
        assert!(Credentials::parse("{}").unwrap().of("docker.io").is_none());
    }
}
