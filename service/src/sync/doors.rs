//! Argo CD's doors for the webhooks of forges: told of a push in GitHub's words where its cluster cannot be reached.
//!
//! What is sent is the least that Argo CD reads of a `push`
//! (<https://github.com/argoproj/argo-cd/blob/v3.5.7/util/webhook/webhook.go>): it compares host and path of `html_url` with the repository of each
//! Application, and the files with the folder that an Application says it is made of.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use reqwest::{Client, Url};
use serde_json::json;

/// How long one exchange may take: Argo CD puts what it is told into a queue and answers.
const WITHIN: Duration = Duration::from_secs(5);

/// Beyond so many files a push names none, which has Argo CD look at every Application: at 100 bytes a name, the body stays below its
/// limit of 1 MiB.
const FILES_MAX: usize = 2_000;

/// Makes the header that proves a body.
pub type Sign = Arc<dyn Fn(&[u8]) -> (&'static str, String) + Send + Sync>;

/// What the doors are, and what they are told.
#[derive(Clone)]
pub struct DoorSettings {
    /// Where they are: the API server's is for Applications, the `ApplicationSet` controller's for new and retracted releases.
    pub urls: Vec<String>,
    /// The address of the repository as Argo CD has it, as Git takes it.
    pub repository: String,
    pub branch: String,
    pub sign: Sign,
}

/// Argo CD's doors.
#[derive(Clone)]
pub struct Doors {
    client: Client,
    settings: Arc<DoorSettings>,
    /// The repository's page, as a forge would name it.
    page: String,
}

/// A push: the branch went from the one commit to the other, and these files changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PushTold {
    pub before: String,
    pub after: String,
    pub files: BTreeSet<String>,
}

/// Why a push cannot be told of at all: one sentence for the person who configured it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct DoorError(&'static str);

impl fmt::Debug for DoorSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { urls, repository: _, branch, sign: _ } = self;
        f.debug_struct("DoorSettings").field("urls", urls).field("branch", branch).finish_non_exhaustive()
    }
}

impl fmt::Debug for Doors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.settings.fmt(f)
    }
}

impl PushTold {
    /// Takes in a push that came after this one.
    pub fn followed_by(&mut self, later: Self) {
        let Self { before: _, after, files } = later;
        self.after = after;
        self.files.extend(files);
    }
}

impl Doors {
    /// Prepares the way to the doors; none is told anything yet.
    ///
    /// # Errors
    /// The repository has no address that Argo CD could compare.
    pub fn new(settings: DoorSettings) -> Result<Self, DoorError> {
        // Fails only where one is there already, which is as good.
        drop(rustls::crypto::ring::default_provider().install_default());
        let page = page(&settings.repository).ok_or(DoorError("the address of the repository has no host"))?;
        let client = Client::builder()
            .timeout(WITHIN)
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .no_proxy()
            .user_agent(concat!("kmlflow/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|_| DoorError("no connections to it can be made on this machine"))?;
        Ok(Self { client, settings: Arc::new(settings), page })
    }

    /// The address of the repository that Argo CD is told of.
    pub fn repository(&self) -> &str {
        &self.settings.repository
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.settings.urls.len()
    }

    /// Where one is.
    pub fn address(&self, door: usize) -> &str {
        self.settings.urls.get(door).map_or("", String::as_str)
    }

    /// Tells one door of a push.
    ///
    /// # Errors
    /// What the door does, as the end of a sentence that begins with its address.
    pub async fn tell(&self, door: usize, push: &PushTold) -> Result<(), String> {
        let body = self.body(push);
        let (name, value) = (self.settings.sign)(body.as_bytes());
        let request = self.client.post(self.address(door)).header("content-type", "application/json");
        let request = request.header("x-github-event", "push").header(name, value).body(body);
        // The words of the layers below may name what is on the way.
        let answer = request.send().await.map_err(|error| {
            let why = if error.is_timeout() { "does not answer in time" } else { "cannot be reached" };
            why.to_owned()
        })?;
        let status = answer.status();
        if status.is_success() { Ok(()) } else { Err(format!("answers {}", status.as_u16())) }
    }

    fn body(&self, push: &PushTold) -> String {
        let PushTold { before, after, files } = push;
        let commits = if files.len() > FILES_MAX {
            json!([])
        } else {
            json!([{"id": after, "added": [], "modified": files, "removed": []}])
        };
        let branch = &self.settings.branch;
        json!({
            "ref": format!("refs/heads/{branch}"), "before": before, "after": after, "commits": commits,
            "repository": {"html_url": self.page, "default_branch": branch},
        })
        .to_string()
    }
}

/// The page that a repository has at a forge: its host and path, without `.git`, which Argo CD takes on its own side alone.
fn page(repository: &str) -> Option<String> {
    let (host, path) = host_and_path(repository)?;
    Some(format!("https://{host}/{path}"))
}

/// The host of a repository, and its path there without `.git`, by an address of any protocol; nothing where it has none.
pub fn host_and_path(repository: &str) -> Option<(String, String)> {
    let (host, path) = match Url::parse(repository) {
        Ok(url) => (url.host_str()?.to_owned(), url.path().to_owned()),
        // `user@host:path`.
        Err(_) => {
            let (host, path) = repository.split_once(':')?;
            (host.rsplit('@').next()?.to_owned(), path.to_owned())
        }
    };
    let path = path.trim_matches('/');
    let path = path.strip_suffix(".git").unwrap_or(path).to_owned();
    (!host.is_empty() && !path.is_empty()).then_some((host, path))
}
