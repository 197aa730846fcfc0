//! The SQL store: a file, or a database of a PostgreSQL server.

use std::path::PathBuf;

use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};

use super::{ConfigError, Environment, SecretText, read_secret_file};

/// The SQL store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreConfig {
    /// `sqlite:` is `kmlflow.db` in the data directory; never with a password in it once loaded.
    pub url: String,
    pub password_file: Option<PathBuf>,
    /// The text of the password file, or what stood in the URL of the environment.
    #[serde(skip)]
    pub password: Option<SecretText>,
}

impl StoreConfig {
    pub(super) fn read_password(&mut self, environment: &Environment) -> Result<(), ConfigError> {
        let (url, in_url) = split_password(&self.url);
        self.url = url;
        let given = environment.get("KMLFLOW__STORE__PASSWORD").filter(|text| !text.trim().is_empty());
        self.password = match &self.password_file {
            Some(path) => Some(read_secret_file(path)?),
            None => given.map(|text| SecretText::new(text)).or(in_url),
        };
        Ok(())
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let Self { url, password_file: _, password } = self;
        let is_server = is_server(url);
        if !is_server && !url.starts_with("sqlite:") {
            return Err(ConfigError::new(
                "`store.url` begins with neither `sqlite:` nor `postgres://`".to_owned(),
                "leave `store.url` out, or write it like postgres://USER@HOST/DATABASE",
            ));
        }
        if password.is_some() && !is_server {
            return Err(ConfigError::new(
                "`store.password_file` is given, and `store.url` names no server that would ask for it".to_owned(),
                "leave `store.password_file` out, or set `store.url` to postgres://USER@HOST/DATABASE",
            ));
        }
        Ok(())
    }
}

fn is_server(url: &str) -> bool {
    url.starts_with("postgres://") || url.starts_with("postgresql://")
}

/// Takes the password out of a server's URL.
pub fn split_password(url: &str) -> (String, Option<SecretText>) {
    let Some((scheme, rest)) = url.split_once("://").filter(|_| is_server(url)) else { return (url.to_owned(), None) };
    // As a URL is read: what is before the last `@` of the first part is the user, and a `:` in it begins the password.
    let (authority, tail) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    match authority.rsplit_once('@').and_then(|(user, host)| Some((user.split_once(':')?, host))) {
        Some(((user, password), host)) => {
            let password = percent_decode_str(password).decode_utf8_lossy();
            (format!("{scheme}://{user}@{host}{tail}"), Some(SecretText::new(&password)))
        }
        None => (url.to_owned(), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_taken_out_of_a_url() {
        for (url, without, password) in [
            ("postgres://k:hunter2@db/kmlflow", "postgres://k@db/kmlflow", Some("hunter2")),
            (
                "postgresql://k:a%40b%3A@db:5432/k?sslmode=require",
                "postgresql://k@db:5432/k?sslmode=require",
                Some("a@b:"),
            ),
            ("postgres://k:a:b@c@db/k", "postgres://k@db/k", Some("a:b@c")),
            ("postgres://k@db:5432/k", "postgres://k@db:5432/k", None),
            ("postgres:///k?host=/run/a:b@c", "postgres:///k?host=/run/a:b@c", None),
            ("sqlite:one:two@three", "sqlite:one:two@three", None),
        ] {
            let (left, taken) = split_password(url);
            assert_eq!((left.as_str(), taken.as_ref().map(SecretText::expose)), (without, password), "{url}");
        }
    }
}
