//! What can go wrong with a remote: one sentence for people, and what to do about it.

use std::time::Duration;

use super::answer::AUTHORITY_AS_SERVER;
use super::endpoint::EndpointError;
use crate::command::CommandError;
use crate::names::CommitId;

/// Why a remote could not be read or written. The text names the remote and holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RemoteError {
    // What is set.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    #[error("{rule}")]
    Settings { rule: &'static str },
    #[error("the file `{path}` of the remote's {what} cannot be used")]
    File { what: &'static str, path: String },
    #[error("{0}")]
    Program(String),

    // Who we are to it.
    /// There are none to show it, in the words of where they come from.
    #[error("{sentence}")]
    NoCredentials { sentence: String, cure: Option<String>, is_transient: bool, retry_after: Option<Duration> },
    #[error("the remote `{address}` does not take the credentials")]
    Unauthorized { address: String },
    #[error("the remote `{address}` does not allow this to the account{words}")]
    Forbidden { address: String, words: String },
    #[error("the remote `{address}` does not take the ssh key")]
    KeyRefused { address: String },
    #[error("the ssh key for the remote `{address}` cannot be used")]
    KeyUnusable { address: String },
    #[error("the ssh key for the remote `{address}` has a passphrase, and nobody is there to type it")]
    KeyLocked { address: String },

    // Who it is to us.
    #[error("the host key of the remote `{address}` is not known")]
    HostKeyUnknown { address: String },
    #[error("the host key of the remote `{address}` has changed: it is another machine, or somebody is in between")]
    HostKeyChanged { address: String },
    #[error("the certificate of the remote `{address}` is not believed{words}")]
    Certificate { address: String, words: String },
    #[error("the remote `{address}` sends to {}, and credentials do not follow", to.as_ref().map_or_else(|| "another address".to_owned(), |to| format!("`{to}`")))]
    Redirected { address: String, to: Option<String> },

    // What is there.
    #[error("there is no Git repository at `{address}`, or the account does not see it")]
    NotFound { address: String },
    #[error("the remote `{address}` is empty: it has no branch")]
    Empty { address: String },
    #[error("the remote `{address}` has a history of its own")]
    NotEmpty { address: String },
    #[error("the remote `{address}` has no branch `{branch}`{}", default.as_ref().map(|name| format!("; its default branch is `{name}`")).unwrap_or_default())]
    BranchMissing { address: String, branch: String, default: Option<String> },
    /// One that was seen there, and is known here.
    #[error("the remote `{address}` has no branch `{branch}`{}; it was deleted there, or renamed, after commit {was_at}", default.as_ref().map(|name| format!("; its default branch is `{name}`")).unwrap_or_default())]
    BranchGone { address: String, branch: String, was_at: CommitId, default: Option<String> },
    #[error("what answers at `{address}` does not speak Git's protocol{words}")]
    NotGit { address: String, words: String },
    #[error("the remote `{address}` keeps its objects in a format other than sha1")]
    ObjectFormat { address: String },

    // Whether it is well.
    #[error("the remote `{address}` cannot be reached{words}")]
    Unreachable { address: String, words: String },
    #[error("the remote `{address}` did not answer within {} s", limit.as_secs())]
    TimedOut { address: String, limit: Duration },
    #[error("the remote `{address}` takes no more requests for now ({status})")]
    Busy { address: String, status: u16, retry_after: Option<Duration> },
    #[error("the remote `{address}` fails with {status}")]
    Failing { address: String, status: u16, retry_after: Option<Duration> },
    #[error("the remote `{address}` broke off its answer{words}")]
    Broken { address: String, words: String },
    #[error("the remote `{address}` answered more than any does")]
    TooMuch { address: String },
    #[error("the remote `{address}` did not report what became of the push")]
    NoReport { address: String },
    #[error("the remote `{address}` cannot keep what is pushed: {words}")]
    NotKept { address: String, words: String },
    #[error("the remote `{address}` does not move the branch, though nobody else did: {words}")]
    NotMoved { address: String, words: String },
    #[error("the remote `{address}` gave up: {words}")]
    GaveUp { address: String, words: String },
    #[error("Git failed to speak with the remote `{address}`{words}")]
    Failed { address: String, words: String },
}

impl RemoteError {
    /// What the remote said in it.
    pub(super) fn words(&mut self) -> Option<&mut String> {
        match self {
            Self::Forbidden { words, .. }
            | Self::Certificate { words, .. }
            | Self::NotGit { words, .. }
            | Self::Unreachable { words, .. }
            | Self::Broken { words, .. }
            | Self::NotKept { words, .. }
            | Self::NotMoved { words, .. }
            | Self::GaveUp { words, .. }
            | Self::Failed { words, .. } => Some(words),
            Self::Redirected { to, .. } => to.as_mut(),
            _ => None,
        }
    }

    /// Whether it may be otherwise in a while without anybody doing anything.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::TimedOut { .. }
            | Self::Busy { .. }
            | Self::Failing { .. }
            | Self::Broken { .. }
            | Self::TooMuch { .. }
            | Self::NoReport { .. }
            | Self::NotKept { .. }
            | Self::NotMoved { .. }
            | Self::GaveUp { .. }
            | Self::Failed { .. } => true,
            Self::NoCredentials { is_transient, .. } => *is_transient,
            Self::Endpoint(_)
            | Self::Settings { .. }
            | Self::File { .. }
            | Self::Program(_)
            | Self::Unauthorized { .. }
            | Self::Forbidden { .. }
            | Self::KeyRefused { .. }
            | Self::KeyUnusable { .. }
            | Self::KeyLocked { .. }
            | Self::HostKeyUnknown { .. }
            | Self::HostKeyChanged { .. }
            | Self::Certificate { .. }
            | Self::Redirected { .. }
            | Self::NotFound { .. }
            | Self::Empty { .. }
            | Self::NotEmpty { .. }
            | Self::BranchMissing { .. }
            | Self::BranchGone { .. }
            | Self::NotGit { .. }
            | Self::ObjectFormat { .. } => false,
        }
    }

    /// Whether what is pushed may be why: a hook or a limit of the remote that ends it without a report.
    pub fn may_be_of_what_is_pushed(&self) -> bool {
        matches!(
            self,
            Self::Broken { .. }
                | Self::TooMuch { .. }
                | Self::TimedOut { .. }
                | Self::Failing { retry_after: None, .. }
                | Self::NoReport { .. }
                | Self::GaveUp { .. }
        )
    }

    /// Whether it is a mistake in what is set on this machine, which no change at the remote mends.
    pub fn is_of_the_settings(&self) -> bool {
        matches!(self, Self::Endpoint(_) | Self::Settings { .. } | Self::File { .. } | Self::Program(_))
    }

    /// The text for callers, who are not told where the remote is: it may be a path of this machine.
    pub fn for_callers(&self) -> String {
        let text = self.to_string();
        let Some(address) = self.address() else { return text };
        let named = format!("`{address}`");
        text.replace(&format!(" at {named}"), " at its address").replace(&format!(" {named}"), "")
    }

    fn address(&self) -> Option<&str> {
        match self {
            Self::Unauthorized { address }
            | Self::Forbidden { address, .. }
            | Self::KeyRefused { address }
            | Self::KeyUnusable { address }
            | Self::KeyLocked { address }
            | Self::HostKeyUnknown { address }
            | Self::HostKeyChanged { address }
            | Self::Certificate { address, .. }
            | Self::Redirected { address, .. }
            | Self::NotFound { address }
            | Self::Empty { address }
            | Self::NotEmpty { address }
            | Self::BranchMissing { address, .. }
            | Self::BranchGone { address, .. }
            | Self::NotGit { address, .. }
            | Self::ObjectFormat { address }
            | Self::Unreachable { address, .. }
            | Self::TimedOut { address, .. }
            | Self::Busy { address, .. }
            | Self::Failing { address, .. }
            | Self::Broken { address, .. }
            | Self::TooMuch { address }
            | Self::NoReport { address }
            | Self::NotKept { address, .. }
            | Self::NotMoved { address, .. }
            | Self::GaveUp { address, .. }
            | Self::Failed { address, .. } => Some(address),
            Self::Endpoint(_)
            | Self::Settings { .. }
            | Self::File { .. }
            | Self::Program(_)
            | Self::NoCredentials { .. } => None,
        }
    }

    /// How long the remote asked us to wait.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Busy { retry_after, .. }
            | Self::Failing { retry_after, .. }
            | Self::NoCredentials { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// What a person can do about it; nothing where waiting is all.
    pub fn cure(&self) -> Option<String> {
        Some(match self {
            Self::NoCredentials { cure, .. } => return cure.clone(),
            Self::Unauthorized { .. } => {
                "give a user and a password or token that are live, for example a new token with the right to write code".to_owned()
            }
            Self::Forbidden { .. } => "give the account the right to push to the branch, or use pull requests".to_owned(),
            Self::KeyRefused { .. } => "add the public half of the key to the repository's deploy keys, with the right to write".to_owned(),
            Self::KeyUnusable { .. } => "use a private key that its owner alone can read: `chmod 600` the file".to_owned(),
            Self::KeyLocked { .. } => {
                "give the service a key without one in `git.credentials.ssh_key_file`: a deploy key of its own by `ssh-keygen -t ed25519 -N ''`, or a copy of this one after `ssh-keygen -p -N ''`".to_owned()
            }
            Self::HostKeyUnknown { address } => format!(
                "append the line of `ssh-keyscan {}` to the known_hosts file, once its fingerprint is the one that the host publishes",
                keyscan(address)
            ),
            Self::HostKeyChanged { address } => format!(
                "ask who runs the host; only if the key was renewed on purpose, replace its line in the known_hosts file by that of `ssh-keyscan {}`",
                keyscan(address)
            ),
            Self::Certificate { words, .. } if words.ends_with(AUTHORITY_AS_SERVER) => {
                "give the server a certificate that says `CA:FALSE`, signed by an authority or by itself, and name the authority, or the certificate itself, in `git.ca_file`".to_owned()
            }
            Self::Certificate { .. } => "name the authority that signed it in `git.ca_file`, or have the certificate renewed".to_owned(),
            Self::Redirected { to: Some(to), .. } => format!("set `git.url` to `{to}`, if it is yours"),
            Self::Redirected { to: None, address } => format!(
                "set `git.url` to where it sends to, if that is yours; `curl -sI '{}/info/refs?service=git-upload-pack'` shows it behind `location`",
                address.trim_end_matches('/')
            ),
            Self::NotFound { .. } => "check the address, and that the account may read the repository".to_owned(),
            // A branch of which nobody kept a commit here may have been there all the same.
            Self::Empty { .. } => {
                "give it a first commit with `kmlflow init`, unless its branch was deleted: then push that back from a clone that has it".to_owned()
            }
            Self::NotEmpty { .. } => {
                "give an empty one, as a forge makes it without a README, or begin there anew with `kmlflow init`".to_owned()
            }
            Self::BranchMissing { branch, default: Some(default), .. } => {
                format!("name `{default}` in `git.branch`, or make the branch `{branch}`")
            }
            Self::BranchMissing { branch, default: None, .. } => {
                format!("make the branch `{branch}`, or name another one in `git.branch`")
            }
            Self::BranchGone { branch, was_at, default, .. } => format!(
                "put it back with `git push origin {was_at}:refs/heads/{branch}` in a clone that has this commit (`clone.git` in the service's data directory has it, there with the remote's address for `origin`){}; `kmlflow init` would lose its history",
                default.as_ref().map(|_| ", or name the other one in `git.branch`").unwrap_or_default()
            ),
            Self::Unreachable { .. } | Self::TimedOut { .. } => {
                "check that it runs, that its address is right, and that this machine gets there".to_owned()
            }
            Self::NotGit { .. } => "check the address: it is the one that `git clone` takes".to_owned(),
            Self::ObjectFormat { .. } => "use a repository made without `--object-format=sha256`".to_owned(),
            Self::NotKept { .. } => "make room at the remote, or raise the limit that it names".to_owned(),
            Self::File { .. } => "check that it is there and that the service may read it; its path is absolute and has no spaces, quotes, `%` or `$`".to_owned(),
            _ => return None,
        })
    }
}

/// A program that could not be started or did not end; what it said itself is read elsewhere.
impl From<CommandError> for RemoteError {
    fn from(error: CommandError) -> Self {
        Self::Program(error.to_string())
    }
}

/// What `ssh-keyscan` is given for an address of ssh.
fn keyscan(address: &str) -> String {
    let rest = address.strip_prefix("ssh://").unwrap_or(address);
    let rest = rest.split_once('@').map_or(rest, |(_, rest)| rest);
    let (host, rest) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some(parts) => parts,
        None => rest.find([':', '/']).map_or((rest, ""), |at| rest.split_at(at)),
    };
    let port: String = rest.chars().skip(1).take_while(char::is_ascii_digit).collect();
    let has_port = address.starts_with("ssh://") && rest.starts_with(':') && !port.is_empty();
    if has_port { format!("-p {port} {host}") } else { host.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_are_not_told_where_the_remote_is() {
        let address = || "/srv/git/x.git".to_owned();
        let words = || ": no room".to_owned();
        for (error, told) in [
            (RemoteError::Empty { address: address() }, "the remote is empty: it has no branch"),
            (
                RemoteError::NotFound { address: address() },
                "there is no Git repository at its address, or the account does not see it",
            ),
            (RemoteError::Broken { address: address(), words: words() }, "the remote broke off its answer: no room"),
            (
                RemoteError::NotGit { address: address(), words: String::new() },
                "what answers at its address does not speak Git's protocol",
            ),
            (RemoteError::HostKeyUnknown { address: address() }, "the host key of the remote is not known"),
            (
                RemoteError::BranchMissing { address: address(), branch: "main".to_owned(), default: None },
                "the remote has no branch `main`",
            ),
        ] {
            assert!(error.to_string().contains("/srv/git"));
            assert_eq!(error.for_callers(), told);
        }
    }

    fn address() -> String {
        "ssh://git@git.example:2222/x".to_owned()
    }

    fn gone(default: Option<&str>) -> RemoteError {
        RemoteError::BranchGone {
            address: address(),
            branch: "main".to_owned(),
            was_at: CommitId::parse(&"ab".repeat(20)).unwrap(),
            default: default.map(ToOwned::to_owned),
        }
    }

    #[test]
    fn a_branch_that_is_gone_is_put_back_by_a_command_that_is_said() {
        let command = format!("`git push origin {}:refs/heads/main`", "ab".repeat(20));
        for (default, also) in [(None, false), (Some("trunk"), true)] {
            let cure = gone(default).cure().unwrap();
            assert!(cure.contains(&command) && cure.contains("`git.branch`") == also, "{cure}");
            assert!(cure.ends_with("`kmlflow init` would lose its history"), "{cure}");
        }
        let told = gone(Some("trunk")).for_callers();
        assert!(
            told.starts_with("the remote has no branch `main`; its default branch is `trunk`; it was deleted"),
            "{told}"
        );
    }

    #[test]
    fn a_host_key_is_cured_by_a_command_that_can_be_run() {
        for (address, command) in [
            ("ssh://git@git.example:2222/x", "`ssh-keyscan -p 2222 git.example`"),
            ("git@git.example:22/x", "`ssh-keyscan git.example`"),
            ("git.example:x", "`ssh-keyscan git.example`"),
            ("git@[::1]:x", "`ssh-keyscan ::1`"),
        ] {
            let cure = RemoteError::HostKeyUnknown { address: address.to_owned() }.cure().unwrap();
            assert!(cure.contains(command), "{cure}");
        }
    }

    #[test]
    fn what_only_a_person_can_mend_has_a_cure_and_is_not_tried_again() {
        let words = String::new;
        for error in [
            RemoteError::Unauthorized { address: address() },
            RemoteError::Forbidden { address: address(), words: words() },
            RemoteError::KeyRefused { address: address() },
            RemoteError::KeyUnusable { address: address() },
            RemoteError::KeyLocked { address: address() },
            RemoteError::HostKeyUnknown { address: address() },
            RemoteError::HostKeyChanged { address: address() },
            RemoteError::Certificate { address: address(), words: words() },
            RemoteError::Redirected { address: address(), to: Some("https://other".to_owned()) },
            RemoteError::Redirected { address: address(), to: None },
            RemoteError::NotFound { address: address() },
            RemoteError::Empty { address: address() },
            RemoteError::NotEmpty { address: address() },
            RemoteError::BranchMissing { address: address(), branch: "main".to_owned(), default: None },
            gone(None),
            RemoteError::NotGit { address: address(), words: words() },
            RemoteError::ObjectFormat { address: address() },
        ] {
            assert!(!error.is_transient() && error.cure().is_some(), "{error}");
            assert!(!error.to_string().ends_with('.'), "{error}");
        }
    }

    #[test]
    fn a_cure_names_the_setting_that_it_is_about() {
        let certificate = |words: &str| RemoteError::Certificate { address: address(), words: words.to_owned() };
        let redirected = |to: Option<&str>| RemoteError::Redirected {
            address: "https://git.example/x/".to_owned(),
            to: to.map(ToOwned::to_owned),
        };
        for (error, setting) in [
            (certificate(": unknown issuer"), "name the authority that signed it in `git.ca_file`"),
            (certificate(&format!(": {AUTHORITY_AS_SERVER}")), "`CA:FALSE`"),
            (redirected(Some("https://other/x")), "set `git.url` to `https://other/x`"),
            (redirected(None), "`curl -sI 'https://git.example/x/info/refs?service=git-upload-pack'`"),
            (RemoteError::KeyLocked { address: address() }, "`git.credentials.ssh_key_file`"),
            (RemoteError::Unreachable { address: address(), words: String::new() }, "that its address is right"),
        ] {
            assert!(error.cure().unwrap().contains(setting), "{error}: {:?}", error.cure());
        }
        assert_eq!(
            redirected(None).to_string(),
            "the remote `https://git.example/x/` sends to another address, and credentials do not follow"
        );
    }

    #[test]
    fn what_passes_by_itself_is_tried_again_when_the_remote_says() {
        let busy = RemoteError::Busy { address: address(), status: 429, retry_after: Some(Duration::from_secs(7)) };
        assert!(busy.is_transient() && busy.cure().is_none());
        assert_eq!(busy.retry_after(), Some(Duration::from_secs(7)));
    }

    #[test]
    fn a_renamed_branch_is_told_with_the_new_name() {
        let missing = |default| {
            RemoteError::BranchMissing { address: "/x".to_owned(), branch: "master".to_owned(), default }.to_string()
        };
        assert_eq!(
            missing(Some("main".to_owned())),
            "the remote `/x` has no branch `master`; its default branch is `main`"
        );
        assert_eq!(missing(None), "the remote `/x` has no branch `master`");
        let cure = |default: Option<&str>| {
            let default = default.map(ToOwned::to_owned);
            RemoteError::BranchMissing { address: "/x".to_owned(), branch: "master".to_owned(), default }
                .cure()
                .unwrap()
        };
        assert_eq!(cure(Some("main")), "name `main` in `git.branch`, or make the branch `master`");
        assert!(cure(None).ends_with("name another one in `git.branch`"));
    }
}
