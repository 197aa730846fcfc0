//! Where the store is, as the configuration says it.

use std::fmt;

/// The beginnings of a PostgreSQL server's URL.
const POSTGRES: [&str; 2] = ["postgres://", "postgresql://"];

/// The URL of a store, and the password of its server. Neither is ever shown: a URL may have a password in it too.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    url: String,
    password: Option<String>,
}

impl Address {
    /// An address with a password beside its URL.
    pub fn new(url: &str, password: Option<&str>) -> Self {
        Self { url: url.to_owned(), password: password.map(str::to_owned) }
    }

    /// Whether it is a PostgreSQL server's.
    pub fn is_postgres(&self) -> bool {
        POSTGRES.iter().any(|beginning| self.url.starts_with(beginning))
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(super) fn password(&self) -> Option<&str> {
        self.password.as_deref()
    }
}

impl From<&str> for Address {
    fn from(url: &str) -> Self {
        Self::new(url, None)
    }
}

impl From<&Address> for Address {
    fn from(address: &Address) -> Self {
        address.clone()
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_postgres() { "Address(postgres://…)" } else { "Address(sqlite:…)" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_shows_no_password() {
        let address = Address::new("postgres://kmlflow:hunter2@db.example/kmlflow", Some("hunter2"));
        assert!(address.is_postgres() && !format!("{address:?}").contains("hunter2"));
        assert!(
            Address::from("postgresql://db.example/kmlflow").is_postgres() && !Address::from("sqlite:").is_postgres()
        );
    }
}
