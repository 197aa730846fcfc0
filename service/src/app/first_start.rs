//! What the first start makes, readable by its owner only: the data directory, webhook secrets, the administrator's token.

use std::fs;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::StartError;
use crate::access::{ClearToken, TokenRole};
use crate::config::{ADDRESS_FILE, ADMIN_TOKEN_FILE, MLFLOW_SECRETS_FILE, SecretText, fresh_secret, read_secret_file};
use crate::worker::{Accounts, WantedToken};

/// Where the webhook secrets lie in the data directory.
const SECRETS_DIR: &str = "secrets";

/// Length of a secret in bytes before it is written as text: as long as the digest of the signature.
const SECRET_BYTES: usize = 32;

/// The webhook secrets that lie in the data directory.
#[derive(Debug)]
pub(super) struct Secrets {
    /// The file of MLflow's, one per line; it may change while the service runs.
    pub mlflow: PathBuf,
    pub generic: SecretText,
    pub github: SecretText,
    pub argocd: SecretText,
}

/// The file that says where the service listens, for the command line's convenience; gone when it is dropped.
#[derive(Debug)]
pub(super) struct PublishedAddress(PathBuf);

impl PublishedAddress {
    /// Writes the address as a client of this machine reaches it, over what a start before has left. Where it cannot be written, as on a
    /// full disk, nothing is left of that either, and the service goes on.
    pub(super) fn publish(data_dir: &Path, address: SocketAddr) -> Self {
        let ip = match address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        let path = data_dir.join(ADDRESS_FILE);
        let written = tempfile::NamedTempFile::new_in(data_dir).and_then(|mut file| {
            writeln!(file, "http://{}", SocketAddr::new(ip, address.port()))?;
            file.persist(&path).map_err(|error| error.error)
        });
        if let Err(error) = written {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "The address is not written into `{ADDRESS_FILE}`: {error}; the command line needs `--url`"
            );
            drop(fs::remove_file(&path));
        }
        Self(path)
    }
}

impl Drop for PublishedAddress {
    fn drop(&mut self) {
        // Where it stays, it leads to nobody, and the next start overwrites it.
        drop(fs::remove_file(&self.0));
    }
}

/// Makes the data directory where there is none, and gives its full path.
pub(super) fn data_dir(path: &Path) -> Result<PathBuf, StartError> {
    let fails = |error: std::io::Error| {
        let sentence = format!("the data directory {} cannot be used: {}", path.display(), error.kind());
        StartError::new(sentence).cure("name another one with --data-dir, or change its owner")
    };
    make_dir(path).map_err(fails)?;
    let path = fs::canonicalize(path).map_err(fails)?;
    // A directory that was there before is closed as well, as long as nothing of ours lies in it that somebody else was given.
    if !path.join(ADMIN_TOKEN_FILE).exists() {
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).map_err(fails)?;
    }
    Ok(path)
}

impl Secrets {
    /// Reads the secrets, and makes those that are not there: so that a sender can be set up at any time.
    pub(super) fn read_or_make(data_dir: &Path) -> Result<Self, StartError> {
        let dir = data_dir.join(SECRETS_DIR);
        make_dir(&dir)
            .map_err(|error| StartError::new(format!("{} cannot be made: {}", dir.display(), error.kind())))?;
        let made_as_hex = |path: &Path| read_or_make(path, || Ok(fresh_secret()?.expose().to_owned()));
        let mlflow = data_dir.join(MLFLOW_SECRETS_FILE);
        made_as_hex(&mlflow)?;
        Ok(Self {
            mlflow,
            generic: read_or_make(&dir.join("generic"), || Ok(format!("whsec_{}", BASE64.encode(random()?))))?,
            github: made_as_hex(&dir.join("github"))?,
            argocd: made_as_hex(&dir.join("argocd"))?,
        })
    }
}

/// Makes the administrator's token on the first start, and gives its clear text then.
pub(super) async fn admin_token(data_dir: &Path, accounts: &Accounts) -> Result<Option<String>, StartError> {
    let path = data_dir.join(ADMIN_TOKEN_FILE);
    let is_new = !path.exists();
    let clear = ClearToken::presented(read_or_make(&path, || Ok(fresh_token()?.reveal().to_owned()))?.expose());
    let refused = |fault: crate::worker::Fault| StartError::new(fault.to_string());
    if accounts.authenticate(clear.reveal()).await.map_err(refused)?.is_some() {
        return Ok(None);
    }
    let wanted =
        WantedToken { name: Some("admin".to_owned()), role: TokenRole::Admin, scopes: Vec::new(), expires_at: None };
    if accounts.keep_token(wanted, &clear.hash()).await.map_err(refused)?.is_none() {
        tracing::warn!(
            "The token in `{ADMIN_TOKEN_FILE}` was revoked; remove the file, and the next start makes a new one"
        );
        return Ok(None);
    }
    Ok(is_new.then(|| clear.reveal().to_owned()))
}

fn read_or_make(path: &Path, make: impl FnOnce() -> Result<String, StartError>) -> Result<SecretText, StartError> {
    if !path.exists() {
        let fails =
            |error: std::io::Error| StartError::new(format!("{} cannot be written: {}", path.display(), error.kind()));
        write_new(path, &make()?).map_err(fails)?;
    }
    read_secret_file(path).map_err(|error| StartError::new(error.sentence).cure(error.cure))
}

/// Writes a file that only its owner can read; it is there as a whole or not at all.
fn write_new(path: &Path, text: &str) -> std::io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    writeln!(file, "{text}")?;
    file.as_file().sync_all()?;
    // Somebody else's file of the same moment stays; both are read back from where they lie.
    match file.persist_noclobber(path) {
        Err(error) if error.error.kind() != std::io::ErrorKind::AlreadyExists => Err(error.error),
        _ => Ok(()),
    }
}

fn make_dir(path: &Path) -> std::io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Makes a token's clear text.
pub(super) fn fresh_token() -> Result<ClearToken, StartError> {
    ClearToken::generate().map_err(|_| StartError::new("the machine has no randomness to give"))
}

fn random() -> Result<[u8; SECRET_BYTES], StartError> {
    let mut bytes = [0; SECRET_BYTES];
    getrandom::fill(&mut bytes).map_err(|_| StartError::new("the machine has no randomness to give"))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_start_makes_what_only_its_owner_reads_and_the_second_reads_the_same() {
        let parent = tempfile::tempdir().unwrap();
        let dir = data_dir(&parent.path().join("a/b")).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&dir), 0o700);
        let first = Secrets::read_or_make(&dir).unwrap();
        for name in ["mlflow", "github", "generic", "argocd"] {
            assert_eq!(mode(&dir.join(SECRETS_DIR).join(name)), 0o600, "{name}");
        }
        let second = Secrets::read_or_make(&dir).unwrap();
        assert_eq!(first.mlflow, second.mlflow);
        assert_eq!(first.generic.expose(), second.generic.expose());
        assert_eq!(first.github.expose(), second.github.expose());
        assert_eq!(first.argocd.expose(), second.argocd.expose());
        assert_ne!(first.github.expose(), first.generic.expose());
        assert_ne!(first.github.expose(), first.argocd.expose());
        assert!(first.generic.expose().starts_with("whsec_"));
        assert_ne!(read_secret_file(&first.mlflow).unwrap().expose(), first.generic.expose());
    }

    #[test]
    fn the_address_is_there_as_long_as_the_service() {
        let dir = tempfile::tempdir().unwrap();
        let written = || fs::read_to_string(dir.path().join(ADDRESS_FILE)).ok();
        for (listened, reached) in
            [("127.0.0.1:4321", "127.0.0.1:4321"), ("0.0.0.0:80", "127.0.0.1:80"), ("[::]:80", "[::1]:80")]
        {
            let published = PublishedAddress::publish(dir.path(), listened.parse().unwrap());
            assert_eq!(written(), Some(format!("http://{reached}\n")));
            drop(published);
            assert_eq!(written(), None);
        }
    }

    #[test]
    fn an_address_that_cannot_be_written_is_no_reason_not_to_start() {
        let dir = tempfile::tempdir().unwrap();
        // A directory in its place refuses the file, as a full disk does.
        fs::create_dir(dir.path().join(ADDRESS_FILE)).unwrap();
        drop(PublishedAddress::publish(dir.path(), "127.0.0.1:4321".parse().unwrap()));
        drop(PublishedAddress::publish(&dir.path().join("nowhere"), "127.0.0.1:4321".parse().unwrap()));
    }

    #[test]
    fn a_secret_that_everybody_can_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        Secrets::read_or_make(dir.path()).unwrap();
        let file = dir.path().join(SECRETS_DIR).join("mlflow");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(Secrets::read_or_make(dir.path()).unwrap_err().sentence.contains("can be read by everybody"));
    }
}
