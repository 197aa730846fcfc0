//! How the system's `ssh` is told to reach a remote, and nothing but that.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::endpoint::SshPlace;
use super::error::RemoteError;

/// A key of our own and the hosts that are believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshSettings {
    /// The private key, without a passphrase.
    pub key: PathBuf,
    /// Host keys as `ssh-keyscan` writes them. No other host is believed, whatever a machine's own files say.
    pub known_hosts: PathBuf,
}

/// Between two signs of life that are asked for, in seconds, and how many may be missed: a line that is down for a minute is gone.
const ALIVE: [&str; 2] = ["ServerAliveInterval=15", "ServerAliveCountMax=4"];

/// No file of the machine or of its user has a say, nothing is asked of anybody, and nothing but one session is opened.
const PINNED: [&str; 13] = [
    "BatchMode=yes",
    "StrictHostKeyChecking=yes",
    "GlobalKnownHostsFile=/dev/null",
    "UpdateHostKeys=no",
    "IdentitiesOnly=yes",
    "IdentityAgent=none",
    "ForwardAgent=no",
    "ClearAllForwardings=yes",
    "ControlMaster=no",
    "ControlPath=none",
    "ProxyCommand=none",
    "PermitLocalCommand=no",
    "LogLevel=ERROR",
];

impl SshSettings {
    /// Checks that both files are there and have names that `ssh` takes as they are.
    pub(super) fn check(&self) -> Result<(), RemoteError> {
        for (what, path) in [("ssh key", &self.key), ("known_hosts", &self.known_hosts)] {
            let is_plain = path
                .to_str()
                .is_some_and(|text| !text.contains(['"', '\'', '%', '$', '\\']) && !text.contains(char::is_whitespace));
            if !path.is_absolute() || !is_plain || !path.is_file() {
                return Err(RemoteError::File { what, path: path.display().to_string() });
            }
        }
        Ok(())
    }

    /// Whether the key has a passphrase. `ssh` passes over such a key without a word where nobody can be asked for it.
    pub(super) fn is_locked(&self) -> bool {
        std::fs::read_to_string(&self.key).is_ok_and(|text| is_locked(&text))
    }

    /// The options of `ssh`, up to the host.
    pub(super) fn options(&self, connect: Duration) -> Vec<String> {
        let path = |path: &Path| path.to_string_lossy().into_owned();
        let mut options: Vec<String> = ["-F", "none", "-T", "-i", &path(&self.key)].map(ToOwned::to_owned).into();
        let known_hosts = format!("UserKnownHostsFile={}", path(&self.known_hosts));
        let connect = format!("ConnectTimeout={}", connect.as_secs().max(1));
        for option in PINNED.into_iter().chain(ALIVE).chain([known_hosts.as_str(), connect.as_str()]) {
            options.extend(["-o".to_owned(), option.to_owned()]);
        }
        options
    }
}

/// Whether a private key is encrypted: OpenSSH's own form names the cipher (`PROTOCOL.key` of its sources), the older ones say it in their text.
fn is_locked(key: &str) -> bool {
    if let Some((_, rest)) = key.split_once("BEGIN OPENSSH PRIVATE KEY-----") {
        let encoded: String = rest.split("-----END").next().unwrap_or_default().split_whitespace().collect();
        let Ok(bytes) = BASE64.decode(encoded) else { return false };
        let cipher = bytes.strip_prefix(b"openssh-key-v1\0").and_then(|rest| {
            let (length, rest) = rest.split_first_chunk::<4>()?;
            rest.get(..usize::try_from(u32::from_be_bytes(*length)).ok()?)
        });
        return cipher.is_some_and(|cipher| cipher != b"none");
    }
    key.contains("BEGIN ENCRYPTED PRIVATE KEY") || key.contains("Proc-Type: 4,ENCRYPTED")
}

/// The arguments of `ssh` that start the receiving side of a push.
pub(super) fn receive_pack(place: &SshPlace, mut options: Vec<String>) -> Vec<String> {
    if let Some(port) = place.port {
        options.extend(["-p".to_owned(), port.to_string()]);
    }
    options.extend(["--".to_owned(), place.destination(), format!("git-receive-pack {}", quoted(&place.path))]);
    options
}

/// The program and its options as one line for a shell, which is how Git takes them.
pub(super) fn command_line(program: &Path, options: &[String]) -> String {
    let mut line = quoted(&program.to_string_lossy());
    for option in options {
        // Writing to a string does not fail.
        let _written = write!(line, " {}", quoted(option));
    }
    line
}

/// A word that no shell takes apart, as Git's `sq_quote_buf` writes it; `!` is for the C shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''").replace('!', "'\\!'"))
}

#[cfg(test)]
mod tests {
    use super::super::endpoint::{Endpoint, Place};
    use super::*;

    fn arguments(address: &str) -> Vec<String> {
        match Endpoint::parse(address).unwrap().0 {
            Place::Ssh(place) => receive_pack(&place, vec!["-T".to_owned()]),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_path_is_one_word_to_the_other_sides_shell() {
        assert_eq!(
            arguments("ssh://git@h:2222/a'b;true"),
            ["-T", "-p", "2222", "--", "git@h", "git-receive-pack '/a'\\''b;true'"]
        );
        assert_eq!(arguments("git@h:team/x.git"), ["-T", "--", "git@h", "git-receive-pack 'team/x.git'"]);
    }

    #[test]
    fn a_host_key_is_never_taken_unseen() {
        let settings = SshSettings { key: "/k".into(), known_hosts: "/h".into() };
        let options = settings.options(Duration::from_millis(1)).join(" ");
        for part in
            ["-F none", "StrictHostKeyChecking=yes", "UserKnownHostsFile=/h", "BatchMode=yes", "ConnectTimeout=1"]
        {
            assert!(options.contains(part), "{options}");
        }
    }

    #[test]
    fn a_file_that_is_missing_or_has_a_name_that_ssh_would_read_otherwise_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, "").unwrap();
            path
        };
        let good = SshSettings { key: file("key"), known_hosts: file("hosts") };
        assert_eq!(good.check(), Ok(()));
        for key in [file("a b"), file("a%h"), file("$x"), directory.path().join("gone"), PathBuf::from("key")] {
            let error = SshSettings { key, ..good.clone() }.check().unwrap_err();
            assert!(matches!(error, RemoteError::File { what: "ssh key", .. }), "{error}");
        }
    }

    #[test]
    fn a_key_with_a_passphrase_is_told_from_one_without() {
        let of = |cipher: &str| {
            let mut bytes = b"openssh-key-v1\0".to_vec();
            bytes.extend_from_slice(&u32::try_from(cipher.len()).unwrap().to_be_bytes());
            bytes.extend_from_slice(cipher.as_bytes());
            bytes.extend_from_slice(b"\0\0\0\x04none");
            format!("BEGIN OPENSSH PRIVATE KEY-----\n{}\n-----END OPENSSH PRIVATE KEY-----\n", BASE64.encode(bytes))
        };
        for (key, expected) in [
            (of("aes256-ctr"), true),
            (of("none"), false),
            ("BEGIN ENCRYPTED PRIVATE KEY-----\nx\n".to_owned(), true),
            ("BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n".to_owned(), true),
            ("BEGIN PRIVATE KEY-----\nx\n".to_owned(), false),
            ("BEGIN OPENSSH PRIVATE KEY-----\n!\n".to_owned(), false),
            (String::new(), false),
        ] {
            assert_eq!(is_locked(&key), expected, "{key}");
        }
    }

    #[test]
    fn the_line_for_git_is_quoted_word_by_word() {
        let line = command_line(Path::new("/usr/bin/ssh"), &["-o".to_owned(), "it's".to_owned()]);
        assert_eq!(line, "'/usr/bin/ssh' '-o' 'it'\\''s'");
    }
}
