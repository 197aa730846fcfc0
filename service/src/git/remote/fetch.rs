//! Fetching from a remote, and listing its branches: Git's own, as a child whose environment we set.
//!
//! Credentials go in a header that Git sends to the remote's own origin: it is set in the environment of the child, so they are in no
//! argument, no file and no address, and a bearer token can be sent, which `GIT_ASKPASS` has no way to.

use std::path::Path;

use super::endpoint::{Branch, Place};
use super::error::RemoteError;
use super::{Remote, Way, failure, pipe, ssh};
use crate::command::{Call, CommandError};
use crate::names::CommitId;

/// Where the remote's branch is kept in our repository, below which it has its own name.
const KEPT_BELOW: &str = "refs/kmlflow/remote/";

/// How long the list of branches may be, in bytes: some 100,000.
const HEADS_BYTES_MAX: u64 = 8 << 20;

/// How much a fetch may say on its standard output, where it says nothing.
const SAID_BYTES_MAX: u64 = 64 << 10;

/// A transfer that moves less than a byte a second for a minute has stopped; while a server counts, it sends a sign every five seconds.
const LOW_SPEED: [(&str, &str); 2] = [("http.lowSpeedLimit", "1"), ("http.lowSpeedTime", "60")];

/// The file in which Git notes where the history of a repository ends that has not all of it.
pub(in super::super) const SHALLOW: &str = "shallow";

/// Where the branch is kept as it was when the rest of its history came.
const COMPLETE_BELOW: &str = "refs/kmlflow/complete/";

/// What Git says where the remote has no such branch.
pub(super) const NO_REFERENCE: &str = "couldn't find remote ref";

/// Why Git said nothing.
pub(super) enum NotRun {
    /// It failed, or was ended.
    Git(CommandError),
    /// It was not even started.
    Credentials(RemoteError),
    /// It failed, and the remote said itself why.
    Told(RemoteError),
}

/// How much of the history a fetch brings. The tip's own files always are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum History {
    /// The tip alone, into a repository that has nothing: [`Remote::complete`] brings the rest.
    Tip,
    /// Everything since what is there; all where nothing is.
    Since,
}

/// What a remote has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heads {
    /// The branch that it shows first; nothing where it names none that is there.
    pub default: Option<Branch>,
    /// Every branch and its tip. None at all: the repository is empty.
    pub branches: Vec<(Branch, CommitId)>,
}

impl Remote {
    /// The reference that [`Remote::fetch`] moves in our repository.
    pub fn kept_as(&self) -> String {
        format!("{KEPT_BELOW}{}", self.settings.branch.as_str())
    }

    /// Brings the branch into a repository of ours, and says where it is.
    ///
    /// # Errors
    /// The branch is missing, the repository is empty or not there, or one of all the ways in which it cannot be reached.
    pub async fn fetch(&self, into: &Path, history: History) -> Result<CommitId, RemoteError> {
        let refspec = format!("+{}:{}", self.reference, self.kept_as());
        let depth = (history == History::Tip).then_some("--depth=1");
        let _asking = self.asking();
        match self.run_fetch(into, depth, &refspec).await {
            Ok(_) => self.fetched(into),
            Err(NotRun::Git(CommandError::Failed { stderr, .. })) if stderr.contains(NO_REFERENCE) => {
                Err(self.missing(into).await)
            }
            Err(error) => Err(self.trouble(error)),
        }
    }

    /// Brings the history that [`History::Tip`] left out. Does not move what [`Remote::fetch`] moves, so that may go on meanwhile.
    ///
    /// # Errors
    /// As of [`Remote::fetch`].
    pub async fn complete(&self, into: &Path) -> Result<(), RemoteError> {
        // Git refuses to complete what is complete.
        if !is_shallow(into) {
            return Ok(());
        }
        let refspec = format!("+{}:{COMPLETE_BELOW}{}", self.reference, self.settings.branch.as_str());
        match self.run_fetch(into, Some("--unshallow"), &refspec).await {
            Ok(_) => Ok(()),
            Err(error) => Err(self.trouble(error)),
        }
    }

    pub(super) async fn run_fetch(&self, into: &Path, depth: Option<&str>, refspec: &str) -> Result<Vec<u8>, NotRun> {
        let fixed = [
            "fetch",
            "--quiet",
            "--no-tags",
            "--no-write-fetch-head",
            "--no-recurse-submodules",
            "--no-auto-maintenance",
        ];
        let url = self.url();
        let arguments: Vec<&str> = fixed.into_iter().chain(depth).chain(["--", url.as_str(), refspec]).collect();
        self.run("fetch", into, &arguments, SAID_BYTES_MAX).await
    }

    /// Lists the remote's branches.
    ///
    /// # Errors
    /// It is not there, or cannot be reached.
    pub async fn heads(&self) -> Result<Heads, RemoteError> {
        let url = self.url();
        let arguments = ["ls-remote", "--quiet", "--symref", "--", url.as_str(), "HEAD", "refs/heads/*"];
        let listed = self.run("ls-remote", &self.settings.directory, &arguments, HEADS_BYTES_MAX).await;
        let listed = listed.map_err(|error| self.trouble(error))?;
        Ok(parse_heads(&String::from_utf8_lossy(&listed)))
    }

    /// Why the branch is not there; a repository of ours says whether it was.
    async fn missing(&self, into: &Path) -> RemoteError {
        match self.heads().await {
            Ok(heads) => match self.without(heads, self.seen_at(into)) {
                empty @ RemoteError::Empty { .. } => self.check_format().await.err().unwrap_or(empty),
                error => error,
            },
            Err(error) => error,
        }
    }

    /// What is wrong where the remote has these branches and not ours, which was seen there at a commit, or never.
    pub(in super::super) fn without(&self, heads: Heads, seen_at: Option<CommitId>) -> RemoteError {
        let (address, branch) = (self.address.clone(), self.settings.branch.as_str().to_owned());
        let default = heads.default.map(|branch| branch.as_str().to_owned());
        match seen_at {
            Some(was_at) => RemoteError::BranchGone { address, branch, was_at, default },
            None if heads.branches.is_empty() => RemoteError::Empty { address },
            None => RemoteError::BranchMissing { address, branch, default },
        }
    }

    /// Where the branch was when it was last brought into a repository of ours.
    pub(in super::super) fn seen_at(&self, into: &Path) -> Option<CommitId> {
        let id = git2::Repository::open(into).and_then(|repository| repository.refname_to_id(&self.kept_as()));
        id.ok().and_then(|id| CommitId::parse(&id.to_string()).ok())
    }

    fn fetched(&self, into: &Path) -> Result<CommitId, RemoteError> {
        let words = ": it moved no reference of ours".to_owned();
        self.seen_at(into).ok_or_else(|| RemoteError::Failed { address: self.address.clone(), words })
    }

    /// Runs Git, with other credentials as well where they end and the remote does not take them.
    pub(super) async fn run(
        &self,
        what: &'static str,
        repository: &Path,
        arguments: &[&str],
        bytes_max: u64,
    ) -> Result<Vec<u8>, NotRun> {
        let limit = self.settings.limits.fetch;
        let renewed = tokio::time::timeout(limit, self.renew(false)).await;
        let late = |_| Err(RemoteError::TimedOut { address: self.address.clone(), limit });
        renewed.unwrap_or_else(late).map_err(NotRun::Credentials)?;
        let error = match self.run_once(what, repository, arguments, bytes_max).await {
            Ok(said) => return Ok(said),
            Err(error) => error,
        };
        let is_refused = matches!(&error, CommandError::Failed { stderr, .. }
            if matches!(failure::said(stderr, &self.address), RemoteError::Unauthorized { .. }));
        if is_refused && self.renew(true).await.map_err(NotRun::Credentials)? {
            return self.run_once(what, repository, arguments, bytes_max).await.map_err(NotRun::Git);
        }
        Err(self.told_again(&error).await.map_or(NotRun::Git(error), NotRun::Told))
    }

    async fn run_once(
        &self,
        what: &'static str,
        repository: &Path,
        arguments: &[&str],
        bytes_max: u64,
    ) -> Result<Vec<u8>, CommandError> {
        let settings = self.git_settings();
        let settings: Vec<(&str, &str)> = settings.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        let call = Call { what, repository, arguments, settings: &settings, protocol: None };
        self.git.run(&call, self.settings.limits.fetch, bytes_max).await
    }

    pub(super) fn trouble(&self, error: NotRun) -> RemoteError {
        match error {
            NotRun::Git(error) => self.explained(failure::of(error, &self.address, self.settings.limits.fetch)),
            NotRun::Credentials(error) | NotRun::Told(error) => error,
        }
    }

    /// What Git is told that no argument should say: the one protocol that it may speak, with what credentials, and whom to believe.
    fn git_settings(&self) -> Vec<(String, String)> {
        let mut settings = vec![("protocol.allow".to_owned(), "never".to_owned())];
        let mut set = |key: &str, value: &str| settings.push((key.to_owned(), value.to_owned()));
        match (&self.way, &self.settings.endpoint.0) {
            (Way::Http(http), Place::Http(url)) => {
                set(&format!("protocol.{}.allow", url.scheme()), "always");
                set("http.followRedirects", "false");
                LOW_SPEED.iter().for_each(|(key, value)| set(key, value));
                if let Some(path) = &self.settings.ca_file {
                    set("http.sslCAInfo", &path.to_string_lossy());
                }
                if let Some(value) = http.authorization()
                    && let Ok(value) = value.to_str()
                {
                    let origin = url.origin().ascii_serialization();
                    set(&format!("http.{origin}/.extraHeader"), &format!("Authorization: {value}"));
                }
            }
            (Way::Pipe(pipe::Pipe::Ssh { program, options, .. }), _) => {
                set("protocol.ssh.allow", "always");
                set("ssh.variant", "ssh");
                set("core.sshCommand", &ssh::command_line(program.path(), options));
            }
            _ => set("protocol.file.allow", "always"),
        }
        settings
    }

    /// The address as Git is given it.
    pub(super) fn url(&self) -> String {
        match &self.settings.endpoint.0 {
            Place::Http(_) | Place::Local(_) => self.address.clone(),
            Place::Ssh(place) => place.url(),
        }
    }
}

/// Whether a repository has a part of the history alone.
pub(in super::super) fn is_shallow(repository: &Path) -> bool {
    repository.join(SHALLOW).exists()
}

/// Reads `ref: refs/heads/main\tHEAD` and `<id>\trefs/heads/main`. Branches with names or ids that we do not take are left out.
fn parse_heads(text: &str) -> Heads {
    let branch = |name: &str| Branch::parse(name.strip_prefix("refs/heads/")?).ok();
    let mut heads = Heads { default: None, branches: Vec::new() };
    for (value, name) in text.lines().filter_map(|line| line.split_once('\t')) {
        match (value.strip_prefix("ref: "), name) {
            (Some(target), "HEAD") => heads.default = branch(target),
            (Some(_), _) | (None, "HEAD") => {}
            (None, name) => heads.branches.extend(branch(name).zip(CommitId::parse(value).ok())),
        }
    }
    heads
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_branches_is_read_without_what_is_none() {
        let id = "0123456789012345678901234567890123456789";
        let text = format!(
            "ref: refs/heads/main\tHEAD\n{id}\tHEAD\n{id}\trefs/heads/a/b\nnonsense\n{id}\trefs/heads/-x\n{id}\trefs/heads/main\nzz\trefs/heads/z\n"
        );
        let heads = parse_heads(&text);
        assert_eq!(heads.default.as_ref().map(Branch::as_str), Some("main"));
        let names: Vec<&str> = heads.branches.iter().map(|(branch, _)| branch.as_str()).collect();
        assert_eq!(names, ["a/b", "main"]);
        assert_eq!(parse_heads(""), Heads { default: None, branches: Vec::new() });
    }
}
