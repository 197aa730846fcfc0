//! Pull requests: found by their branch, opened, kept up to date, closed, followed.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::call::Call;
use super::{Forge, ForgeError, Kind};
use crate::names::{CommitId, is_plain_text};

/// How many pull requests that were closed are looked through for one of a branch, the newest first: a page.
const CLOSED_MAX: u32 = 50;

/// Open pull requests per page: the most that Gitea answers where nobody changed that.
const OPEN_PAGE: usize = 50;

/// How many pages of open ones are looked at: a thousand reviews wait, and those that changed last come first.
const OPEN_PAGES_MAX: usize = 20;

/// How many reviews of a pull request are looked through: the most that a page has.
const REVIEWS_MAX: u32 = 100;

/// A pull request as the forge tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullRequest {
    pub number: u64,
    /// Its page.
    pub url: String,
    pub state: PullState,
    /// The commit that its branch is at; nothing where the branch is gone.
    pub head: Option<CommitId>,
    /// How GitHub's other API names it.
    pub(super) node: String,
    /// Whether GitHub says that it is to merge itself; Gitea does not say.
    pub is_to_merge: bool,
}

/// What became of a pull request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PullState {
    Open,
    /// The commit that it was merged as, where the forge says that.
    Merged(Option<CommitId>),
    /// Closed, and not merged.
    Closed,
}

/// What a pull request says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Text {
    pub title: String,
    pub body: String,
}

/// What people think of a pull request, by name, sorted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Opinions {
    pub approved_by: Vec<String>,
    pub changes_requested_by: Vec<String>,
}

/// A pull request that is not open any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closed {
    pub branch: String,
    pub title: String,
    pub pull: PullRequest,
}

/// A pull request that is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Open {
    /// When the forge says that something last became of it, in its own words.
    pub updated: String,
    pub title: String,
    pub pull: PullRequest,
}

/// The fields of a pull request that matter, as both forges have them.
#[derive(Deserialize)]
struct Wire {
    number: u64,
    html_url: String,
    state: String,
    #[serde(default)]
    merged: bool,
    #[serde(default)]
    merged_at: Option<String>,
    #[serde(default)]
    merge_commit_sha: Option<String>,
    #[serde(default)]
    title: Option<String>,
    head: WireBranch,
    #[serde(default)]
    node_id: String,
    #[serde(default)]
    auto_merge: Option<Value>,
}

#[derive(Deserialize)]
struct WireBranch {
    #[serde(default, rename = "ref")]
    reference: String,
    /// GitHub puts the owner and `:` before the branch. It stays where Gitea's `ref` is another one once the branch is deleted.
    #[serde(default)]
    label: String,
    #[serde(default)]
    sha: String,
    #[serde(default)]
    repo: Option<WireRepository>,
}

#[derive(Deserialize)]
struct WireRepository {
    #[serde(default)]
    full_name: String,
}

#[derive(Deserialize)]
struct WireReview {
    #[serde(default)]
    state: String,
    #[serde(default)]
    dismissed: bool,
    #[serde(default)]
    stale: bool,
    /// What was looked at; a forge may have forgotten it.
    #[serde(default)]
    commit_id: Option<String>,
    user: Option<WireUser>,
}

#[derive(Deserialize)]
struct WireUser {
    login: String,
}

impl Forge {
    /// The pull request from a branch into another: the open one, or the newest that was closed at this commit; nothing where there is none.
    ///
    /// # Errors
    /// The forge does not answer, or not as a forge does.
    pub async fn find(&self, branch: &str, target: &str, head: &CommitId) -> Result<Option<PullRequest>, ForgeError> {
        match self.find_open(branch, target).await? {
            Some(open) => Ok(Some(open)),
            None => self.find_closed(branch, head).await,
        }
    }

    /// The open pull request from a branch into another; nothing where there is none.
    ///
    /// # Errors
    /// The forge does not answer, or not as a forge does.
    pub(super) async fn find_open(&self, branch: &str, target: &str) -> Result<Option<PullRequest>, ForgeError> {
        let open = match self.api.kind {
            // Asked for one by its branches, Gitea 1.24 answers the oldest, which may be closed.
            Kind::Gitea => {
                self.open_from([branch.to_owned()].into(), target).await?.0.remove(branch).map(|open| open.pull)
            }
            Kind::Github => {
                let owner = self.api.place.owner();
                let query = format!("/pulls?state=open&head={owner}:{}&base={}", escaped(branch), escaped(target));
                let path = self.api.of_repository(&query);
                let found = self.api.ask(&Call::get("find a pull request", path)).await?;
                let found = found.as_array().and_then(|found| found.first()).cloned();
                found.map(|found| self.parse(found)).transpose()?
            }
        };
        Ok(open.filter(|open| open.state == PullState::Open))
    }

    /// The open pull requests from these branches into another, by their branches: by the list of all that are open, page by page, until none of
    /// these is missing; and how many pages that took.
    ///
    /// # Errors
    /// The forge does not answer, or not as a forge does.
    pub async fn open_from(
        &self,
        mut branches: BTreeSet<String>,
        target: &str,
    ) -> Result<(BTreeMap<String, Open>, usize), ForgeError> {
        let (mut found, mut pages) = (BTreeMap::new(), 0);
        for page in 1..=OPEN_PAGES_MAX {
            if branches.is_empty() {
                break;
            }
            pages = page;
            let query = match self.api.kind {
                Kind::Gitea => format!("sort=recentupdate&limit={OPEN_PAGE}"),
                Kind::Github => {
                    format!("base={}&sort=updated&direction=desc&per_page={OPEN_PAGE}", escaped(target))
                }
            };
            let path = self.api.of_repository(&format!("/pulls?state=open&{query}&page={page}"));
            let open = self.api.ask(&Call::get("list pull requests", path)).await?;
            let open = Vec::<Value>::deserialize(open).map_err(|_| self.api.stranger())?;
            if open.is_empty() {
                break;
            }
            for value in open {
                let (head, base) = (&value["head"], &value["base"]);
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                let (branch, updated) = (text(&head["ref"]), text(&value["updated_at"]));
                // A fork may have a branch of this name.
                let is_own = head["repo_id"] == base["repo_id"] && head["repo"]["id"] == base["repo"]["id"];
                if is_own && base["ref"] == target && branches.remove(&branch) {
                    let title = Some(text(&value["title"])).filter(|title| is_plain_text(title)).unwrap_or_default();
                    found.insert(branch, Open { updated, title, pull: self.parse(value)? });
                }
            }
        }
        Ok((found, pages))
    }

    async fn find_closed(&self, branch: &str, head: &CommitId) -> Result<Option<PullRequest>, ForgeError> {
        let query = match self.api.kind {
            Kind::Gitea => format!("/pulls?state=closed&sort=recentupdate&limit={CLOSED_MAX}"),
            Kind::Github => {
                let owner = self.api.place.owner();
                format!("/pulls?state=closed&head={owner}:{}&sort=updated&direction=desc", escaped(branch))
            }
        };
        let path = self.api.of_repository(&query);
        let closed = self.api.ask(&Call::get("list pull requests", path)).await?;
        let closed = Vec::<Value>::deserialize(closed).map_err(|_| self.api.stranger())?;
        let of_this = |value: &Value| {
            Wire::deserialize(value).is_ok_and(|wire| {
                let WireBranch { reference, label, sha, repo: _ } = wire.head;
                let label = label.split_once(':').map_or(label.as_str(), |(_, name)| name);
                (reference == branch || label == branch) && sha == head.as_str()
            })
        };
        closed.into_iter().find(of_this).map(|found| self.parse(found)).transpose()
    }

    /// Opens a pull request from a branch into another.
    ///
    /// # Errors
    /// The forge refuses or does not answer; where it broke off, it may be open.
    pub async fn open(&self, branch: &str, target: &str, text: &Text) -> Result<PullRequest, ForgeError> {
        let body = json!({"head": branch, "base": target, "title": text.title, "body": text.body});
        let path = self.api.of_repository("/pulls");
        self.parse(self.api.ask(&Call::make("open a pull request", path, &body)).await?)
    }

    /// Has a pull request say something else.
    ///
    /// # Errors
    /// The forge refuses or does not answer.
    pub async fn update(&self, number: u64, text: &Text) -> Result<PullRequest, ForgeError> {
        self.change(number, "update a pull request", &json!({"title": text.title, "body": text.body})).await
    }

    /// Closes a pull request without merging it.
    ///
    /// # Errors
    /// The forge refuses or does not answer.
    pub async fn close(&self, number: u64) -> Result<PullRequest, ForgeError> {
        self.change(number, "close a pull request", &json!({"state": "closed"})).await
    }

    async fn change(&self, number: u64, what: &'static str, body: &Value) -> Result<PullRequest, ForgeError> {
        let path = self.api.of_repository(&format!("/pulls/{number}"));
        self.parse(self.api.ask(&Call::write(what, Method::PATCH, path, body)).await?)
    }

    /// A pull request as it is now.
    ///
    /// # Errors
    /// There is none, or the forge does not answer.
    pub async fn pull_request(&self, number: u64) -> Result<PullRequest, ForgeError> {
        let path = self.api.of_repository(&format!("/pulls/{number}"));
        self.parse(self.api.ask(&Call::get("read a pull request", path)).await?)
    }

    /// What people think of a pull request, each by their last word that decides. Who approved of another commit than the one that is there has
    /// not seen what would be merged.
    ///
    /// # Errors
    /// There is none, or the forge does not answer.
    pub async fn opinions(&self, pull: &PullRequest) -> Result<Opinions, ForgeError> {
        let number = pull.number;
        let (limit, path) = match self.api.kind {
            Kind::Gitea => ("limit", format!("/pulls/{number}/reviews")),
            Kind::Github => ("per_page", format!("/pulls/{number}/reviews")),
        };
        let path = self.api.of_repository(&format!("{path}?{limit}={REVIEWS_MAX}"));
        let reviews = self.api.ask(&Call::get("read the reviews", path)).await?;
        let reviews = Vec::<WireReview>::deserialize(reviews).map_err(|_| self.api.stranger())?;
        Ok(Opinions::of(reviews, pull.head.as_ref()))
    }

    /// The pull requests of the repository's own branches that were closed or merged last, the newest first, with their branches.
    ///
    /// # Errors
    /// The forge does not answer, or not as a forge does.
    pub async fn recently_closed(&self) -> Result<Vec<Closed>, ForgeError> {
        let query = match self.api.kind {
            Kind::Gitea => format!("/pulls?state=closed&sort=recentupdate&limit={CLOSED_MAX}"),
            Kind::Github => format!("/pulls?state=closed&sort=updated&direction=desc&per_page={CLOSED_MAX}"),
        };
        let listed = self.api.ask(&Call::get("list pull requests", self.api.of_repository(&query))).await?;
        let listed = Vec::<Value>::deserialize(listed).map_err(|_| self.api.stranger())?;
        let own = |wire: &Wire| match &wire.head.repo {
            Some(repo) => repo.full_name == self.api.place.repository,
            // Gitea names none once the branch is gone.
            None => self.api.kind == Kind::Gitea,
        };
        let closed = listed.into_iter().filter_map(|value| {
            let wire = Wire::deserialize(&value).ok().filter(own)?;
            let branch = wire.head.name().to_owned();
            let title = wire.title.filter(|title| is_plain_text(title)).unwrap_or_default();
            Some(Closed { branch, title, pull: self.parse(value).ok()? })
        });
        Ok(closed.collect())
    }

    pub(super) fn parse(&self, value: Value) -> Result<PullRequest, ForgeError> {
        let wire = Wire::deserialize(value).map_err(|_| self.api.stranger())?;
        let is_page = wire.html_url.starts_with("https://") || wire.html_url.starts_with("http://");
        if !is_page || !is_plain_text(&wire.html_url) {
            return Err(self.api.stranger());
        }
        let commit = |text: &str| CommitId::parse(text).ok();
        let is_merged = wire.merged || wire.merged_at.is_some();
        let state = match wire.state.as_str() {
            _ if is_merged => PullState::Merged(wire.merge_commit_sha.as_deref().and_then(commit)),
            "open" => PullState::Open,
            _ => PullState::Closed,
        };
        let (head, is_to_merge) = (commit(&wire.head.sha), wire.auto_merge.is_some());
        Ok(PullRequest { number: wire.number, url: wire.html_url, state, head, node: wire.node_id, is_to_merge })
    }
}

impl WireBranch {
    /// The branch's own name.
    fn name(&self) -> &str {
        match self.label.rsplit(':').next() {
            Some(name) if !name.is_empty() => name,
            _ => &self.reference,
        }
    }
}

impl Opinions {
    /// Forges list reviews from the oldest on; a comment decides nothing.
    fn of(reviews: Vec<WireReview>, head: Option<&CommitId>) -> Self {
        let mut last = BTreeMap::new();
        for review in reviews {
            let Some(WireUser { login }) = review.user.filter(|user| is_plain_text(&user.login)) else { continue };
            let is_of_head = review.commit_id.as_deref() == head.map(CommitId::as_str);
            let says = match review.state.as_str() {
                "APPROVED" => (!review.dismissed && !review.stale && is_of_head).then_some(true),
                "REQUEST_CHANGES" | "CHANGES_REQUESTED" => (!review.dismissed).then_some(false),
                "DISMISSED" => None,
                _ => continue,
            };
            last.insert(login, says);
        }
        let of = |wanted: bool| {
            last.iter().filter(|(_, says)| **says == Some(wanted)).map(|(login, _)| login.clone()).collect()
        };
        Self { approved_by: of(true), changes_requested_by: of(false) }
    }
}

/// The name of a branch as a part of an address.
fn escaped(branch: &str) -> String {
    percent_encoding::utf8_percent_encode(branch, percent_encoding::NON_ALPHANUMERIC).to_string().replace("%2D", "-")
}
