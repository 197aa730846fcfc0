//! A branch of a remote repository: pushed to by a compare-and-swap in one exchange, and fetched from by Git.
//!
//! Knows nothing of releases, nor of what is done where a push is overtaken: every outcome has a class ([`Pushed`]), and the caller decides.
//! We speak the pushing end of Git's protocol ourselves, over HTTP or over the pipes of `ssh` and `git receive-pack`: libgit2's own push
//! to a path heeds neither hooks nor the branch's tip, and its HTTP needs OpenSSL. Fetching is rare, and Git's own.

mod advertisement;
mod answer;
mod beside;
mod credentials;
mod endpoint;
mod error;
mod failure;
mod fetch;
mod http;
mod outcome;
mod pipe;
mod pkt;
mod report;
mod request;
mod send;
mod ssh;
#[cfg(test)]
mod tests;
mod words;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

pub use credentials::{Credentials, Renewal, Secret};
pub use endpoint::{Branch, Endpoint, EndpointError};
pub use error::RemoteError;
pub use fetch::{Heads, History};
pub(super) use fetch::{SHALLOW, is_shallow};
pub use ssh::SshSettings;

use self::endpoint::Place;
use self::http::Http;
use self::pipe::Pipe;
use self::request::Request;
use crate::command::{CommandError, Git, Ssh};
use crate::names::CommitId;

/// Which remote, as whom, and how patiently.
#[derive(Debug, Clone)]
pub struct Settings {
    pub endpoint: Endpoint,
    pub branch: Branch,
    /// Who we are over HTTP; nothing for anybody.
    pub credentials: Option<Credentials>,
    /// Where they come from instead, where they end.
    pub renewal: Option<Arc<dyn Renewal>>,
    /// The only authorities whose certificates are believed, in PEM; nothing for those of the machine.
    pub ca_file: Option<PathBuf>,
    /// Whether `http` to another machine is spoken, which everybody on the way can read.
    pub allow_plain_http: bool,
    /// Needed for an address of ssh.
    pub ssh: Option<SshSettings>,
    /// Words to the remote's hooks with every push, where it takes them.
    pub push_options: Vec<String>,
    /// An existing directory of the service's own, which programs run in and take for their home.
    pub directory: PathBuf,
    pub limits: Limits,
}

/// How long things may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Until there is a connection.
    pub connect: Duration,
    /// Until a push is answered; hooks run meanwhile.
    pub push: Duration,
    /// Until a fetch is complete.
    pub fetch: Duration,
}

impl Default for Limits {
    /// A connection across the world takes a second. A forge ends its own hooks after a minute or less. A first fetch of a large
    /// repository over a slow line takes minutes.
    fn default() -> Self {
        Self { connect: Duration::from_secs(10), push: Duration::from_secs(120), fetch: Duration::from_secs(600) }
    }
}

/// What became of a push.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a push that was not done may have to be looked up or planned again"]
pub enum Pushed {
    /// The branch is where it should be.
    Done,
    /// The branch was not where it was believed to be, and was left there: fetch, and plan again. It may be where it should be already,
    /// by a push of ours whose outcome nobody heard of.
    Moved { words: String },
    /// A hook or a rule of the remote said no, in these words; the same push will be refused again.
    Refused { words: String },
    /// The remote could not take or keep the objects: a limit, a quota, a full disk, a pack that it finds wrong.
    Unpack { words: String },
    /// Nothing was done, and nothing will be until a person changes something: credentials, a host key, an address.
    Denied(RemoteError),
    /// Nothing was done, and it may work in a while; not before [`RemoteError::retry_after`], where that says something.
    Transient(RemoteError),
    /// It was sent, and nobody knows what became of it: fetch, and look for what was pushed.
    Unknown(RemoteError),
}

/// One branch of one remote.
#[derive(Debug)]
pub struct Remote {
    settings: Settings,
    /// The address as errors show it.
    address: String,
    reference: String,
    git: Git,
    way: Way,
    /// When a push began, or a look at the branch, that has not ended. One at a time is asked of it, but for what nobody waits for.
    asked: Mutex<Option<Instant>>,
}

/// Something that the remote was asked and has not answered.
struct Asking<'r>(&'r Remote);

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        *self.0.asked.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// How a push gets there.
#[derive(Debug)]
enum Way {
    Http(Http),
    Pipe(Pipe),
}

/// What came is not what a Git server says.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Garbage {
    NotGit,
    /// More than any bound allows.
    TooMuch,
    /// It ended before it was complete.
    CutOff,
    /// Instead of an answer it said this.
    Said(String),
    /// It is Git, with objects that we do not make.
    ObjectFormat,
}

impl Remote {
    /// A remote; nothing is asked of it yet.
    ///
    /// # Errors
    /// The settings contradict each other, a file that they name cannot be read, or `ssh` is needed and not installed.
    pub fn new(settings: Settings, git: Git) -> Result<Self, RemoteError> {
        let Settings { endpoint, branch, credentials, ca_file, allow_plain_http, ssh, push_options, limits, .. } =
            &settings;
        request::check_options(push_options)?;
        if endpoint.is_readable_on_the_way() && !allow_plain_http {
            return Err(RemoteError::Settings {
                rule: "the remote is spoken to without TLS, so everybody on the way can read the credentials; use https, or allow plain http for it",
            });
        }
        let way = match (&endpoint.0, ssh) {
            (Place::Http(url), _) => {
                Way::Http(Http::new(url.clone(), credentials.as_ref(), ca_file.as_deref(), *limits)?)
            }
            (Place::Ssh(place), Some(ssh)) => {
                ssh.check()?;
                let program = Ssh::find(&git)?;
                Way::Pipe(Pipe::Ssh { program, place: place.clone(), options: ssh.options(limits.connect) })
            }
            (Place::Ssh(_), None) => {
                return Err(RemoteError::Settings { rule: "a remote over ssh needs a key and a known_hosts file" });
            }
            (Place::Local(path), _) => Way::Pipe(Pipe::Local(path.clone())),
        };
        Ok(Self {
            address: endpoint.to_string(),
            reference: branch.reference(),
            git,
            way,
            settings,
            asked: Mutex::default(),
        })
    }

    /// The same, whose fetches are given up after so long.
    #[must_use]
    pub(super) fn fetching_within(mut self, limit: Duration) -> Self {
        self.settings.limits.fetch = limit;
        self
    }

    /// The address, which has no secret in it.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The branch's name.
    pub fn branch(&self) -> &str {
        self.settings.branch.as_str()
    }

    /// Goes on with other credentials: a token was renewed before its end.
    ///
    /// # Errors
    /// They cannot be sent.
    pub fn set_credentials(&self, credentials: Option<&Credentials>) -> Result<(), RemoteError> {
        match &self.way {
            Way::Http(http) => http.set_credentials(credentials),
            Way::Pipe(_) => Ok(()),
        }
    }

    /// Goes on with credentials that outlast the next exchange, where they end. Answers whether there are such.
    ///
    /// # Errors
    /// There are none to be had.
    async fn renew(&self, is_refused: bool) -> Result<bool, RemoteError> {
        let Some(renewal) = &self.settings.renewal else { return Ok(false) };
        let Some(credentials) = renewal.credentials(is_refused).await? else { return Ok(false) };
        self.set_credentials(Some(&credentials))?;
        Ok(true)
    }

    /// The same error, or the one behind it that the other side cannot know of.
    fn explained(&self, mut error: RemoteError) -> RemoteError {
        self.hide(error.words());
        let is_locked = || self.settings.ssh.as_ref().is_some_and(SshSettings::is_locked);
        match error {
            RemoteError::KeyRefused { address } | RemoteError::KeyUnusable { address } if is_locked() => {
                RemoteError::KeyLocked { address }
            }
            error => error,
        }
    }

    /// What a server that gives nothing for the moment says of why, and for how long: Git repeats its status alone, so it is asked once more.
    async fn told_again(&self, error: &CommandError) -> Option<RemoteError> {
        let (Way::Http(http), CommandError::Failed { stderr, .. }) = (&self.way, error) else { return None };
        match failure::said(stderr, &self.address) {
            RemoteError::Busy { .. } | RemoteError::Failing { .. } | RemoteError::Forbidden { .. } => {
                http.refusal(&self.address).await
            }
            _ => None,
        }
    }

    /// For how long the remote has not answered what it was asked last; nothing while nothing is asked.
    pub fn silent_for(&self) -> Option<Duration> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).map(|asked| asked.elapsed())
    }

    /// Notes that the remote is asked something, until what is given back is dropped.
    fn asking(&self) -> Asking<'_> {
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        Asking(self)
    }

    /// Takes our credentials out of a remote's words.
    fn hide(&self, words: Option<&mut String>) {
        if let (Way::Http(http), Some(words)) = (&self.way, words)
            && let Some(authorization) = http.authorization()
        {
            credentials::hide(&authorization, words);
        }
    }

    /// Moves the branch from a commit to another, whose new objects are in the pack; from nothing, the branch is made.
    ///
    /// One exchange, never forced: the branch moves only if it is still at `old`. One push at a time is enough for any remote.
    pub async fn push(&self, old: Option<&CommitId>, new: &CommitId, pack: &[u8]) -> Pushed {
        self.push_to(&self.reference, (old, Some(new)), pack).await
    }

    /// The same for another branch of the same repository.
    pub async fn push_beside(
        &self,
        branch: &Branch,
        (old, new): (Option<&CommitId>, &CommitId),
        pack: &[u8],
    ) -> Pushed {
        self.push_to(&branch.reference(), (old, Some(new)), pack).await
    }

    /// Deletes another branch of the same repository, if it still is at `old`.
    pub async fn delete_beside(&self, branch: &Branch, old: &CommitId) -> Pushed {
        self.push_to(&branch.reference(), (Some(old), None), &[]).await
    }

    async fn push_to(
        &self,
        reference: &str,
        (old, new): (Option<&CommitId>, Option<&CommitId>),
        pack: &[u8],
    ) -> Pushed {
        let _asking = self.asking();
        let mut pushed = self.exchange(reference, (old, new), pack).await;
        self.hide(pushed.words());
        pushed
    }

    /// Checks that the remote keeps its objects in the format that we make; an empty repository says so to whoever is about to push alone. What cannot be
    /// asked is taken for that.
    ///
    /// # Errors
    /// It says that it keeps them in another one.
    pub(super) async fn check_format(&self) -> Result<(), RemoteError> {
        let asked = async {
            match &self.way {
                Way::Http(http) => http.ask(&self.reference, &self.address).await,
                Way::Pipe(pipe) => pipe.ask(&self.reference, self.setting()).await,
            }
        };
        match tokio::time::timeout(self.settings.limits.push, asked).await {
            Ok(Err(error @ RemoteError::ObjectFormat { .. })) => Err(error),
            _ => Ok(()),
        }
    }

    /// What a program on the other end of its pipes is started with.
    fn setting(&self) -> pipe::Setting<'_> {
        pipe::Setting {
            git: &self.git,
            directory: &self.settings.directory,
            address: &self.address,
            limit: self.settings.limits.push,
        }
    }

    async fn exchange(
        &self,
        reference: &str,
        (old, new): (Option<&CommitId>, Option<&CommitId>),
        pack: &[u8],
    ) -> Pushed {
        let options = &self.settings.push_options;
        let request = Request { reference, old, new, pack, options };
        match &self.way {
            Way::Http(http) => {
                if let Err(error) = self.renew(false).await {
                    return Pushed::before(error);
                }
                let pushed = http.push(&request, &self.address).await;
                if !matches!(pushed, Pushed::Denied(RemoteError::Unauthorized { .. })) {
                    return pushed;
                }
                match self.renew(true).await {
                    Ok(true) => http.push(&request, &self.address).await,
                    Ok(false) => pushed,
                    Err(error) => Pushed::before(error),
                }
            }
            Way::Pipe(pipe) => match pipe.push(&request, &self.setting()).await {
                Pushed::Denied(error) => Pushed::Denied(self.explained(error)),
                pushed => pushed,
            },
        }
    }
}

impl Pushed {
    /// What the remote said in it.
    fn words(&mut self) -> Option<&mut String> {
        match self {
            Self::Done => None,
            Self::Moved { words } | Self::Refused { words } | Self::Unpack { words } => Some(words),
            Self::Denied(error) | Self::Transient(error) | Self::Unknown(error) => error.words(),
        }
    }

    /// The outcome where nothing was sent yet.
    fn before(error: RemoteError) -> Self {
        if error.is_transient() { Self::Transient(error) } else { Self::Denied(error) }
    }
}

impl Garbage {
    fn into_error(self, address: &str) -> RemoteError {
        let address = address.to_owned();
        match self {
            Self::NotGit => RemoteError::NotGit { address, words: String::new() },
            Self::TooMuch => RemoteError::TooMuch { address },
            Self::CutOff => RemoteError::Broken { address, words: String::new() },
            Self::Said(words) => RemoteError::GaveUp { address, words },
            Self::ObjectFormat => RemoteError::ObjectFormat { address },
        }
    }
}

impl From<pkt::Garbled> for Garbage {
    fn from(_: pkt::Garbled) -> Self {
        Self::NotGit
    }
}
