//! Where a remote is: an address, taken apart once, of which nothing can become an option of a program or a secret in a log.

use std::fmt;
use std::path::PathBuf;

use reqwest::Url;

use crate::names::{is_invisible, is_this_machine, shown};

/// The longest address: more than any server takes.
const ADDRESS_BYTES_MAX: usize = 2_048;

/// The longest name of a branch: what a file system takes for a part of a path.
const BRANCH_BYTES_MAX: usize = 200;

/// The address of a remote repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint(pub(super) Place);

/// By what a remote is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// `http` or `https`, without a slash at the end.
    Http(Url),
    Ssh(SshPlace),
    Local(PathBuf),
}

/// A repository behind `ssh`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SshPlace {
    pub(super) user: Option<String>,
    /// A name or an address; one of version 6 without its brackets.
    pub(super) host: String,
    pub(super) port: Option<u16>,
    /// As the other side's shell is given it: absolute, below a home (`~ann/x`), or relative to the user's own.
    pub(super) path: String,
}

/// A branch of a remote, by its name without `refs/heads/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Branch(String);

/// Why an address or a branch cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    #[error(
        "the address of the remote has a user or password in it; take it out, and set `git.credentials.username` and `git.credentials.password_file`"
    )]
    Credentials,
    #[error(
        "`{0}` is no address of a Git repository; write https://host/path, ssh://user@host/path, user@host:path, file:///path or /path"
    )]
    Unknown(String),
    #[error("`{shown}` cannot be the address of a remote, because {rule}")]
    Invalid { shown: String, rule: &'static str },
    #[error("`{shown}` cannot be a branch, because {rule}")]
    Branch { shown: String, rule: &'static str },
}

impl Endpoint {
    /// Reads an address as people write it for `git clone`.
    ///
    /// # Errors
    /// It has credentials in it, is of a kind that is not supported, or has something in it that a program could take for an option.
    pub fn parse(text: &str) -> Result<Self, EndpointError> {
        let invalid = |rule| EndpointError::Invalid { shown: without_user(text), rule };
        if text.len() > ADDRESS_BYTES_MAX {
            return Err(invalid("it is too long"));
        }
        if text.chars().any(|c| is_invisible(c) || c == ' ') {
            return Err(invalid(
                "it has a space or a character that nobody sees in it; for a path, write `%20` for a space in a `file://` address",
            ));
        }
        let place = match text.split_once("://") {
            Some((scheme, rest)) => match scheme.to_ascii_lowercase().as_str() {
                "http" | "https" => Place::Http(http(text)?),
                "ssh" | "git+ssh" | "ssh+git" => Place::Ssh(ssh(rest).map_err(invalid)?),
                "file" => Place::Local(file(rest).map_err(invalid)?),
                _ => return Err(EndpointError::Unknown(without_user(text))),
            },
            None if text.starts_with('/') => Place::Local(PathBuf::from(text)),
            None => Place::Ssh(scp(text).ok_or_else(|| EndpointError::Unknown(without_user(text)))?.map_err(invalid)?),
        };
        Ok(Self(place))
    }

    /// Whether what is sent there can be read on the way: `http` to another machine.
    pub fn is_readable_on_the_way(&self) -> bool {
        match &self.0 {
            Place::Http(url) => url.scheme() == "http" && !url.host_str().is_some_and(is_this_machine),
            Place::Ssh(_) | Place::Local(_) => false,
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Place::Http(url) => f.write_str(url.as_str().trim_end_matches('/')),
            Place::Ssh(place) => f.write_str(&place.url()),
            Place::Local(path) => path.display().fmt(f),
        }
    }
}

impl SshPlace {
    /// The user and host as `ssh` is given them.
    pub(super) fn destination(&self) -> String {
        self.user.as_ref().map_or_else(|| self.host.clone(), |user| format!("{user}@{}", self.host))
    }

    /// The address as Git is given it.
    pub(super) fn url(&self) -> String {
        let user = self.user.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let Some(port) = self.port else {
            // The form with a colon is the only one that has relative paths.
            return format!("{user}{host}:{}", self.path);
        };
        let slash = if self.path.starts_with('/') { "" } else { "/" };
        format!("ssh://{user}{host}:{port}{slash}{}", self.path)
    }
}

impl Branch {
    /// A name that Git takes for a branch (<https://git-scm.com/docs/git-check-ref-format>).
    ///
    /// # Errors
    /// It breaks a rule.
    pub fn parse(text: &str) -> Result<Self, EndpointError> {
        let wrong = |rule| Err(EndpointError::Branch { shown: shown(text), rule });
        if text.is_empty() || text.len() > BRANCH_BYTES_MAX {
            return wrong("it must have 1 to 200 characters");
        }
        if text.chars().any(|c| is_invisible(c) || " ~^:?*[\\".contains(c)) {
            return wrong("Git's branches have no spaces and none of ~ ^ : ? * [ \\ in their names");
        }
        let is_part = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.ends_with(".lock");
        if !text.split('/').all(is_part) || text.ends_with('.') || text.contains("..") || text.contains("@{") {
            return wrong("its parts must not be empty, begin or end with a dot, or end in `.lock`");
        }
        if text.starts_with('-') || text.starts_with("refs/") {
            return wrong("it is named without `refs/heads/` and does not begin with a dash");
        }
        Ok(Self(text.to_owned()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of its reference.
    pub(super) fn reference(&self) -> String {
        format!("refs/heads/{}", self.0)
    }
}

fn http(text: &str) -> Result<Url, EndpointError> {
    let invalid = |rule| EndpointError::Invalid { shown: without_user(text), rule };
    let mut url = Url::parse(text).ok().filter(Url::has_host).ok_or_else(|| invalid("it names no host"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(EndpointError::Credentials);
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(invalid("it has a `?` or `#` in it"));
    }
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    Ok(url)
}

/// `user@host:port/path`, what follows `ssh://`.
fn ssh(rest: &str) -> Result<SshPlace, &'static str> {
    let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    // As Git reads it: `/~ann/x` is below a home.
    let path = if path.starts_with("/~") { &path[1..] } else { path };
    let (user, host) = split_user(authority)?;
    let (host, port) = split_port(host)?;
    place(user, host, port, path)
}

/// `user@host:path`; nothing where it is not of this form.
fn scp(text: &str) -> Option<Result<SshPlace, &'static str>> {
    let at = text.find("]:").map_or_else(|| text.find(':'), |bracket| Some(bracket + 1))?;
    let (authority, path) = (&text[..at], &text[at + 1..]);
    // A transport of its own (`ext::sh -c …`) or a path with a colon in it.
    if path.starts_with(':') || authority.contains('/') {
        return None;
    }
    // `user:password@host`, or an address that lost one of its slashes.
    if path.contains('@') && (authority.is_empty() || !authority.contains('@')) {
        return Some(Err("it has a user or password where its path begins; take them out"));
    }
    Some(split_user(authority).and_then(|(user, host)| place(user, host.trim_matches(['[', ']']), None, path)))
}

fn split_user(authority: &str) -> Result<(Option<&str>, &str), &'static str> {
    match authority.rsplit_once('@') {
        Some((user, _)) if user.contains(':') => Err("its user has a password, which ssh takes from nobody; use a key"),
        Some((user, host)) => Ok((Some(user), host)),
        None => Ok((None, authority)),
    }
}

fn split_port(host: &str) -> Result<(&str, Option<u16>), &'static str> {
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => {
            let (name, rest) = rest.split_once(']').ok_or("its bracket is not closed")?;
            (name, rest.strip_prefix(':'))
        }
        None => host.split_once(':').map_or((host, None), |(name, port)| (name, Some(port))),
    };
    let port = port.filter(|port| !port.is_empty()).map(str::parse).transpose();
    Ok((name, port.map_err(|_| "its port is no number from 1 to 65535")?))
}

fn place(user: Option<&str>, host: &str, port: Option<u16>, path: &str) -> Result<SshPlace, &'static str> {
    let is_word = |text: &str, more: &str| {
        !text.is_empty()
            && !text.starts_with('-')
            && text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c))
    };
    if user.is_some_and(|user| !is_word(user, "._-+")) {
        return Err("a user has letters, digits, dots, dashes and underscores, and no dash at the beginning");
    }
    if !is_word(host, ".-_") && host.parse::<std::net::Ipv6Addr>().is_err() {
        return Err("a host has letters, digits, dots and dashes, and no dash at the beginning");
    }
    if path.trim_matches('/').is_empty() || path.starts_with('-') {
        return Err("its path is empty or begins with a dash");
    }
    Ok(SshPlace { user: user.map(ToOwned::to_owned), host: host.to_owned(), port, path: path.to_owned() })
}

/// The path of `file:///path`, whose escapes Git decodes.
fn file(rest: &str) -> Result<PathBuf, &'static str> {
    let path = rest.strip_prefix("localhost").unwrap_or(rest);
    if !path.starts_with('/') {
        return Err("a file:// address has three slashes and an absolute path");
    }
    let decoded = percent_decoded(path).ok_or("an escape in it is none")?;
    if decoded.chars().any(is_invisible) {
        return Err("it has a character that nobody sees in it");
    }
    Ok(PathBuf::from(decoded))
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                u8::try_from(digit()? << 4 | digit()?).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

/// An address for an error. What stands before an `@` may be a password.
fn without_user(text: &str) -> String {
    let (before, after) = text.split_at(text.find(['?', '#']).unwrap_or(text.len()));
    if after.contains('@') {
        // A password may have such a character in it, and so may what follows one.
        return format!("{}…", text.split_inclusive("://").next().filter(|scheme| *scheme != text).unwrap_or_default());
    }
    shown(before.rsplit('@').next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ssh_place(text: &str) -> SshPlace {
        match Endpoint::parse(text).unwrap().0 {
            Place::Ssh(place) => place,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn every_form_that_people_write_is_read() {
        for (text, display) in [
            ("https://git.example/team/gitops.git/", "https://git.example/team/gitops.git"),
            ("http://127.0.0.1:3000/x", "http://127.0.0.1:3000/x"),
            ("git@git.example:team/gitops.git", "git@git.example:team/gitops.git"),
            ("ssh://git@git.example:2222/team/x", "ssh://git@git.example:2222/team/x"),
            ("ssh://git.example/srv/x", "git.example:/srv/x"),
            ("ssh://[::1]:22/x", "ssh://[::1]:22/x"),
            ("git@[::1]:x", "git@[::1]:x"),
            ("file:///srv/git/a%20b.git", "/srv/git/a b.git"),
            ("file://localhost/srv/x", "/srv/x"),
            ("/srv/git/x.git", "/srv/git/x.git"),
        ] {
            assert_eq!(Endpoint::parse(text).map(|endpoint| endpoint.to_string()), Ok(display.to_owned()), "{text}");
        }
    }

    #[test]
    fn a_home_is_told_from_an_absolute_path() {
        assert_eq!(ssh_place("ssh://host/~ann/x").path, "~ann/x");
        assert_eq!(ssh_place("ssh://host:22/~ann/x").url(), "ssh://host:22/~ann/x");
        assert_eq!(ssh_place("host:x").path, "x");
    }

    #[test]
    fn credentials_in_an_address_are_refused_and_not_repeated() {
        for text in [
            "https://ann:hunter2@host/x",
            "https://hunter2@host/x",
            "ssh://ann:hunter2@host/x",
            "ann:hunter2@host:x",
            "https:/ann:hunter2@host/x",
            "https://host/x?private_token=hunter2",
            "https://host/x#hunter2",
            "https://ann:hunter2#a@host/x",
            "https://ann:a?hunter2@host/x",
            "ann:hunter2#a@host:x",
            "ann:a/hunter2@host:x",
        ] {
            let error = Endpoint::parse(text).unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
        assert_eq!(Endpoint::parse("https://ann@host/x"), Err(EndpointError::Credentials));
    }

    #[test]
    fn nothing_that_a_program_could_take_for_an_option_or_a_command_is_an_address() {
        for text in [
            "ext::sh -c true",
            "ext::sh",
            "fd::17/foo",
            "-oProxyCommand=true",
            "--upload-pack=true",
            "-oProxyCommand=true:x",
            "ssh://-oProxyCommand=true/x",
            "ssh://-l@host/x",
            "-l@host:x",
            "host:-x",
            "host:",
            "ssh://host/",
            "ssh://host;true/x",
            "git@host`true`:x",
            "git://host/x",
            "rsync://host/x",
            "ftp://host/x",
            "file://other/x",
            "file:///x%0ay",
            "relative/path",
            "../up:x",
            "https://",
            "https://host/x?y",
            "https://host/x\n",
            "ssh://host:99999/x",
            "ssh://[::1/x",
            "",
        ] {
            assert!(Endpoint::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn plain_http_is_readable_on_the_way_unless_it_stays_on_the_machine() {
        for (text, expected) in [
            ("http://host/x", true),
            ("http://localhost.example/x", true),
            ("http://localhost/x", false),
            ("http://127.0.0.2/x", false),
            ("http://[::1]:80/x", false),
            ("https://host/x", false),
            ("git@host:x", false),
        ] {
            assert_eq!(Endpoint::parse(text).unwrap().is_readable_on_the_way(), expected, "{text}");
        }
    }

    #[test]
    fn a_branch_is_what_git_takes_for_one() {
        for name in ["main", "release/2.0", "ann's"] {
            assert_eq!(Branch::parse(name).unwrap().reference(), format!("refs/heads/{name}"));
        }
        for name in ["", "-x", "a..b", "a b", "a:b", "a.lock", ".a", "a/", "a//b", "refs/heads/a", "a@{1}", "a.", "a\n"]
        {
            assert!(Branch::parse(name).is_err(), "{name:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic_or_an_option(text in "(ssh://|http://|file://|-|)[-a@:/\\[\\]%0~;é]{0,24}") {
            if let Ok(endpoint) = Endpoint::parse(&text) {
                prop_assert!(!endpoint.to_string().starts_with('-'));
                if let Place::Ssh(place) = endpoint.0 {
                    prop_assert!(!place.destination().starts_with('-') && !place.path.starts_with('-'));
                }
            }
        }
    }
}
