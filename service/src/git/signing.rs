//! Signed commits: an SSH key, and the header of a commit that its signature makes.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use ssh_key::{Algorithm, EcdsaCurve, HashAlg, LineEnding, PrivateKey};

use super::GitError;

/// What the signature is for: Git takes no SSH signature that was made for something else (`git help gitformat-signature`).
const NAMESPACE: &str = "git";

/// A private key that commits are signed with. Its clones share it; memory is wiped with the last of them.
#[derive(Clone)]
pub struct SigningKey(Arc<PrivateKey>);

/// Why a file holds no key to sign with: the end of a sentence that begins with the file's name. Nothing of its text is repeated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SigningKeyError {
    #[error("is a public key, which cannot sign")]
    Public,
    #[error("has a passphrase, and nobody is there to type it")]
    Passphrase,
    #[error("is a private key in another format than OpenSSH's")]
    Format,
    #[error("is a key of the kind `{0}`; ed25519 and ECDSA (P-256, P-384) can sign")]
    Kind(String),
    #[error("holds no private key that can be read")]
    NoKey,
}

impl SigningKey {
    /// Reads the text of a private key as `ssh-keygen` writes it, and tries it once, so that no commit is the first to fail.
    ///
    /// # Errors
    /// The text is something else, has a passphrase, or is a key of a kind that is not supported: RSA has no implementation here without a
    /// known weakness (<https://rustsec.org/advisories/RUSTSEC-2023-0071>), a security key needs somebody to touch it.
    pub fn parse(text: &str) -> Result<Self, SigningKeyError> {
        let text = text.trim();
        let label = text.strip_prefix("-----BEGIN ").and_then(|rest| Some(rest.split_once("-----")?.0));
        let is_public = ["ssh-", "ecdsa-", "sk-"].iter().any(|kind| text.starts_with(kind));
        match label {
            Some("OPENSSH PRIVATE KEY") => {}
            Some(label) if label.ends_with("PRIVATE KEY") => return Err(SigningKeyError::Format),
            Some(label) if label.ends_with("PUBLIC KEY") => return Err(SigningKeyError::Public),
            None if is_public => return Err(SigningKeyError::Public),
            _ => return Err(SigningKeyError::NoKey),
        }
        let key = PrivateKey::from_openssh(text).map_err(|_| SigningKeyError::NoKey)?;
        match key.algorithm() {
            Algorithm::Ed25519 | Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 | EcdsaCurve::NistP384 } => {}
            other => return Err(SigningKeyError::Kind(other.to_string())),
        }
        if key.is_encrypted() {
            return Err(SigningKeyError::Passphrase);
        }
        let tried = key.sign(NAMESPACE, HashAlg::Sha512, b"");
        let tried = tried.and_then(|signature| key.public_key().verify(NAMESPACE, b"", &signature));
        tried.map_err(|_| SigningKeyError::NoKey)?;
        Ok(Self(Arc::new(key)))
    }

    /// The header with the signature over a commit's bytes without that header. It ends with a line break.
    ///
    /// The same bytes always get the same signature: ed25519 takes no random number, ECDSA is made as in
    /// <https://www.rfc-editor.org/rfc/rfc6979>. Format: <https://github.com/openssh/openssh-portable/blob/master/PROTOCOL.sshsig>.
    pub(super) fn header(&self, commit: &[u8]) -> Result<String, GitError> {
        let signature = self.0.sign(NAMESPACE, HashAlg::Sha512, commit);
        let text = signature.and_then(|signature| signature.to_pem(LineEnding::LF));
        let text = text.map_err(|error| GitError::Unsigned(error.to_string().into()))?;
        Ok(format!("gpgsig {}\n", text.trim_end().replace('\n', "\n ")))
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(…)")
    }
}

impl fmt::Display for SigningKey {
    /// Its kind and its fingerprint, as `ssh-keygen -l` says them; anybody may know these.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.0.algorithm(), self.0.fingerprint(HashAlg::Sha256))
    }
}

impl SigningKeyError {
    /// What a person can do about it.
    pub fn cure(&self, file: &Path) -> String {
        let shown = file.display();
        match self {
            Self::Public if file.extension().is_some_and(|extension| extension == "pub") => {
                format!("name the private key that it was made with, `{}`", file.with_extension("").display())
            }
            Self::Public => "name the private key, which `ssh-keygen` writes beside it without `.pub`".to_owned(),
            Self::Passphrase => format!("take it away: `ssh-keygen -p -N '' -f {shown}`"),
            Self::Format => format!(
                "write it anew in OpenSSH's, where it is of the kind ed25519 or ECDSA: `ssh-keygen -p -N '' -f {shown}`; else make one: `ssh-keygen -t ed25519 -N '' -f kmlflow-signing-key`"
            ),
            Self::Kind(_) | Self::NoKey => {
                "make one, and name it: `ssh-keygen -t ed25519 -N '' -f kmlflow-signing-key`".to_owned()
            }
        }
    }
}
