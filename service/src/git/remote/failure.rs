//! What `git` and `ssh` mean by what they say when they fail. They run with `LC_ALL=C`, so their words are the same everywhere.

use std::time::Duration;

use super::error::RemoteError;
use super::words::harmless;
use crate::command::CommandError;

/// The number of an HTTP status in curl's and Git's words.
const STATUS: &str = "The requested URL returned error: ";

/// What an error of a program means, whose limit was this.
pub(super) fn of(error: CommandError, address: &str, limit: Duration) -> RemoteError {
    match error {
        CommandError::Failed { stderr, .. } => said(&stderr, address),
        CommandError::TimedOut { .. } => RemoteError::TimedOut { address: address.to_owned(), limit },
        CommandError::TooLong { .. } => RemoteError::TooMuch { address: address.to_owned() },
        error => error.into(),
    }
}

/// What the words of a program on its standard error mean.
pub(super) fn said(stderr: &str, address: &str) -> RemoteError {
    let has = |phrases: &[&str]| phrases.iter().any(|phrase| stderr.contains(phrase));
    let address = address.to_owned();
    let words = last_words(stderr);
    // The host first: what is said after it is not believed, and most of it follows from it.
    if has(&["REMOTE HOST IDENTIFICATION HAS CHANGED", "differs from the key for the IP address"]) {
        return RemoteError::HostKeyChanged { address };
    }
    if has(&["Host key verification failed", "host key is known for"]) {
        return RemoteError::HostKeyUnknown { address };
    }
    if has(&["UNPROTECTED PRIVATE KEY FILE", "not accessible: ", "Load key "]) {
        return RemoteError::KeyUnusable { address };
    }
    if has(&["Permission denied (", "Too many authentication failures"]) {
        return RemoteError::KeyRefused { address };
    }
    if has(&["certificate", "SSL peer", "SSL_connect", "SSL: "]) && !has(&[STATUS]) {
        return RemoteError::Certificate { address, words };
    }
    if let Some(status) = status_in(stderr) {
        return by_status(status, address);
    }
    if has(&["Authentication failed", "could not read Username", "could not read Password"]) {
        return RemoteError::Unauthorized { address };
    }
    if has(&["not found", "does not appear to be a git repository", "does not exist", "no such repository"])
        && !has(&["command not found"])
    {
        return RemoteError::NotFound { address };
    }
    if has(&["not valid: is this a git repository?", "command not found", "bad line length"]) {
        return RemoteError::NotGit { address, words };
    }
    if has(&["unable to update url base from redirection"]) {
        return RemoteError::Redirected { address, to: None };
    }
    if has(&["mismatched algorithms", "object format"]) {
        return RemoteError::ObjectFormat { address };
    }
    if has(&UNREACHABLE) {
        return RemoteError::Unreachable { address, words };
    }
    RemoteError::Failed { address, words }
}

/// How curl and ssh say that there is no way to the other side, or none any more.
const UNREACHABLE: [&str; 14] = [
    "Could not resolve host",
    "Name or service not known",
    "Temporary failure in name resolution",
    "Failed to connect",
    "Couldn't connect",
    "Connection refused",
    "Connection reset",
    "Connection closed",
    "Connection timed out",
    "Operation timed out",
    "Operation too slow",
    "No route to host",
    "Network is unreachable",
    "kex_exchange_identification",
];

fn status_in(stderr: &str) -> Option<u16> {
    let (_, rest) = stderr.split_once(STATUS)?;
    rest.get(..3)?.parse().ok()
}

/// What an HTTP status means before anything was done.
pub(super) fn by_status(status: u16, address: String) -> RemoteError {
    match status {
        401 => RemoteError::Unauthorized { address },
        403 => RemoteError::Forbidden { address, words: String::new() },
        404 | 410 => RemoteError::NotFound { address },
        429 => RemoteError::Busy { address, status, retry_after: None },
        300..=399 => RemoteError::Redirected { address, to: None },
        500.. => RemoteError::Failing { address, status, retry_after: None },
        _ => RemoteError::NotGit { address, words: format!(": it answered {status}") },
    }
}

/// What Git says at the end of every failure over ssh.
const ENDS_OF_SSH: [&str; 3] = [
    "Could not read from remote repository",
    "Please make sure you have the correct access rights",
    "and the repository exists.",
];

/// The sentence that says most: the program's last error, without what every failure of Git over ssh ends with.
fn last_words(stderr: &str) -> String {
    let ends_so = |line: &&str| ENDS_OF_SSH.iter().any(|end| line.contains(end));
    let lines = stderr.lines().map(str::trim).filter(|line| !line.is_empty() && !ends_so(line));
    let telling = |line: &&str| ["fatal: ", "ERROR: ", "error: ", "ssh: "].iter().any(|word| line.contains(word));
    let line = lines.clone().rfind(telling).or_else(|| lines.clone().next_back());
    line.map(|line| format!(": {}", harmless(line))).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(stderr: &str) -> String {
        let debug = format!("{:?}", said(stderr, "host"));
        debug.split([' ', '{', '(']).next().unwrap_or_default().to_owned()
    }

    #[test]
    fn of_a_failure_over_ssh_what_ssh_says_is_told_and_not_what_git_always_adds() {
        let git = "fatal: Could not read from remote repository.\n\nPlease make sure you have the correct access rights\nand the repository exists.\n";
        assert_eq!(
            last_words(&format!("Connection closed by 127.0.0.1 port 22\n{git}")),
            ": Connection closed by 127.0.0.1 port 22"
        );
        assert_eq!(last_words(git), "");
    }

    #[test]
    fn the_words_of_git_curl_and_ssh_are_known() {
        for (stderr, expected) in [
            (
                "@@@\n@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\nHost key verification failed.\r\nfatal: Could not read from remote repository.",
                "HostKeyChanged",
            ),
            (
                "No ED25519 host key is known for h and you have requested strict checking.\r\nHost key verification failed.",
                "HostKeyUnknown",
            ),
            ("git@h: Permission denied (publickey).\r\nfatal: Could not read from remote repository.", "KeyRefused"),
            ("Load key \"/k\": error in libcrypto\r\ngit@h: Permission denied (publickey).", "KeyUnusable"),
            ("Warning: Identity file /k not accessible: No such file or directory.", "KeyUnusable"),
            (
                "fatal: unable to access 'https://h/': SSL certificate problem: unable to get local issuer certificate",
                "Certificate",
            ),
            (
                "fatal: unable to access 'https://h/': server certificate verification failed. CAfile: none CRLfile: none",
                "Certificate",
            ),
            ("fatal: unable to access 'https://h/': The requested URL returned error: 403", "Forbidden"),
            ("fatal: unable to access 'https://h/': The requested URL returned error: 429", "Busy"),
            ("fatal: unable to access 'https://h/': The requested URL returned error: 503", "Failing"),
            ("fatal: unable to access 'https://h/': The requested URL returned error: 302", "Redirected"),
            ("fatal: could not read Username for 'https://h': terminal prompts disabled", "Unauthorized"),
            ("fatal: Authentication failed for 'https://h/'", "Unauthorized"),
            ("fatal: repository 'https://h/' not found", "NotFound"),
            ("fatal: '/x' does not appear to be a git repository", "NotFound"),
            ("ERROR: Repository not found.\nfatal: Could not read from remote repository.", "NotFound"),
            ("fatal: https://h/info/refs not valid: is this a git repository?", "NotGit"),
            ("bash: line 1: git-receive-pack: command not found", "NotGit"),
            ("fatal: unable to access 'https://h/': Could not resolve host: h", "Unreachable"),
            (
                "ssh: connect to host h port 22: Connection refused\r\nfatal: Could not read from remote repository.",
                "Unreachable",
            ),
            ("fatal: mystery", "Failed"),
            ("", "Failed"),
        ] {
            assert_eq!(kind(stderr), expected, "{stderr}");
        }
    }

    #[test]
    fn the_words_that_are_shown_are_those_that_say_something() {
        let stderr = "Pseudo\nssh: connect to host h port 22: Connection refused\r\nfatal: Could not read from remote repository.\n\nPlease make sure\n";
        let expected = "the remote `host` cannot be reached: ssh: connect to host h port 22: Connection refused";
        assert_eq!(said(stderr, "host").to_string(), expected);
        assert_eq!(
            said("\u{1b}[31mfatal: x\u{7}", "host").to_string(),
            "Git failed to speak with the remote `host`: fatal: x"
        );
    }
}
