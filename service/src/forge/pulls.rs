//! Pull requests: found by their branch, opened, kept up to date, closed, followed.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::call::{Api, Call};
use super::kind::escaped;
use super::{Forge, ForgeError, Kind};
use crate::names::{CommitId, is_plain_text};

/// How many pages of open ones are looked at: a thousand reviews wait, and those that changed last come first.
const OPEN_PAGES_MAX: usize = 20;

/// A pull request as the forge tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullRequest {
    pub number: u64,
    /// Its page.
    pub url: String,
    pub state: PullState,
    /// The commit that its branch is at; nothing where the branch is gone.
    pub head: Option<CommitId>,
    /// The branch that it is from, as far as the forge still says it.
    pub branch: String,
    /// The branch that it is to be merged into.
    pub base: String,
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

/// The pull requests from a branch, for who asks for the one into another.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// The open one into that other branch.
    pub open: Option<PullRequest>,
    /// Those into it that were merged or closed last, the newest first; looked for where none is open.
    pub closed: Vec<PullRequest>,
    /// Open ones into any other branch, as far as they were come across.
    pub elsewhere: Vec<PullRequest>,
}

/// What a pull request says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Text {
    pub title: String,
    pub body: String,
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
    base: WireBranch,
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

impl Forge {
    /// The pull requests from a branch into another: the open one, or those that were merged or closed last; and the open ones that were seen to go
    /// elsewhere.
    ///
    /// # Errors
    /// The forge does not answer, or not as a forge does.
    pub async fn find(&self, branch: &str, target: &str) -> Result<Found, ForgeError> {
        let mut found = self.find_open(branch, target).await?;
        if found.open.is_none() {
            found.closed = self.find_closed(branch, target).await?;
        }
        Ok(found)
    }

    /// The open pull request from a branch into another, and those that were seen to go elsewhere.
    ///
    /// # Errors
    /// The forge does not answer, or not as a forge does.
    pub(super) async fn find_open(&self, branch: &str, target: &str) -> Result<Found, ForgeError> {
        let mut found = Found::default();
        match self.api.kind {
            // Asked for one by its branches, Gitea 1.24 answers the oldest, which may be closed.
            Kind::Gitea => {
                for page in 1..=OPEN_PAGES_MAX {
                    let open = self.open_page(page, target).await?;
                    let is_last = open.is_empty();
                    self.sort(open.into_iter().filter(|value| own_branch(value) == Some(branch)), target, &mut found)?;
                    if is_last || found.open.is_some() {
                        break;
                    }
                }
            }
            Kind::Github => {
                let owner = self.api.place.owner();
                let path = self.api.of_repository(&format!("/pulls?state=open&head={owner}:{}", escaped(branch)));
                let open = self.api.ask(&Call::get("find a pull request", path)).await?;
                self.sort(open.as_array().into_iter().flatten().cloned(), target, &mut found)?;
            }
        }
        Ok(found)
    }

    /// Sorts open pull requests of a branch by where they go.
    fn sort(&self, open: impl Iterator<Item = Value>, target: &str, found: &mut Found) -> Result<(), ForgeError> {
        for value in open {
            let pull = self.parse(value)?;
            match pull.base == target {
                _ if pull.state != PullState::Open => {}
                true => found.open = found.open.take().or(Some(pull)),
                false => found.elsewhere.push(pull),
            }
        }
        Ok(())
    }

    /// A page of the open pull requests, those that changed last first; there may be some into other branches.
    async fn open_page(&self, page: usize, target: &str) -> Result<Vec<Value>, ForgeError> {
        self.pulls(&self.api.kind.open_pulls(target, page)).await
    }

    /// A list of pull requests.
    async fn pulls(&self, below: &str) -> Result<Vec<Value>, ForgeError> {
        let listed = self.api.ask(&Call::get("list pull requests", self.api.of_repository(below))).await?;
        Vec::<Value>::deserialize(listed).map_err(|_| self.api.stranger())
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
            let open = self.open_page(page, target).await?;
            if open.is_empty() {
                break;
            }
            for value in open {
                let text = |field: &str| value[field].as_str().unwrap_or_default().to_owned();
                let Some(branch) = own_branch(&value).map(ToOwned::to_owned) else { continue };
                if value["base"]["ref"] == target && branches.remove(&branch) {
                    let updated = text("updated_at");
                    let title = Some(text("title")).filter(|title| is_plain_text(title)).unwrap_or_default();
                    found.insert(branch, Open { updated, title, pull: self.parse(value)? });
                }
            }
        }
        Ok((found, pages))
    }

    async fn find_closed(&self, branch: &str, target: &str) -> Result<Vec<PullRequest>, ForgeError> {
        let Api { kind, place, .. } = &self.api;
        let closed = self.pulls(&kind.closed_pulls(place, Some(branch), target)).await?;
        let of_this = |value: &Value| {
            Wire::deserialize(value).is_ok_and(|wire| {
                let WireBranch { reference, label, .. } = wire.head;
                let label = label.split_once(':').map_or(label.as_str(), |(_, name)| name);
                (reference == branch || label == branch) && wire.base.reference == target
            })
        };
        closed.into_iter().filter(of_this).map(|found| self.parse(found)).collect()
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

    /// Has a pull request say something else, made of what it says now, which people may have changed; changes nothing where that is the same.
    ///
    /// # Errors
    /// The forge refuses or does not answer.
    pub async fn revise(&self, number: u64, revised: impl FnOnce(&Text) -> Text) -> Result<PullRequest, ForgeError> {
        let path = self.api.of_repository(&format!("/pulls/{number}"));
        let pull = self.api.ask(&Call::get("read a pull request", path)).await?;
        let field = |name: &str| pull[name].as_str().unwrap_or_default().to_owned();
        let now = Text { title: field("title"), body: field("body") };
        let text = revised(&now);
        if text == now {
            return self.parse(pull);
        }
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

    /// A pull request as it is now; where it is not open any more, with the commit that it ended at.
    ///
    /// # Errors
    /// There is none, or the forge does not answer.
    pub async fn pull_request(&self, number: u64) -> Result<PullRequest, ForgeError> {
        let path = self.api.of_repository(&format!("/pulls/{number}"));
        let mut pull = self.parse(self.api.ask(&Call::get("read a pull request", path)).await?)?;
        if self.api.kind == Kind::Gitea && pull.state != PullState::Open {
            pull.head = self.ended_at(number).await?;
        }
        Ok(pull)
    }

    /// Where a pull request was when it was merged or closed: asked for one, Gitea 1.24 answers where its branch is by now.
    async fn ended_at(&self, number: u64) -> Result<Option<CommitId>, ForgeError> {
        let path = self.api.of_repository(&format!("/git/refs/pull/{number}/head"));
        let found = match self.api.ask(&Call::get("read where a pull request ended", path)).await {
            Err(ForgeError::NotFound { .. }) => return Ok(None),
            found => found?,
        };
        let sha = found.get(0).unwrap_or(&found)["object"]["sha"].as_str();
        Ok(sha.and_then(|sha| CommitId::parse(sha).ok()))
    }

    /// The pull requests of the repository's own branches into another that were closed or merged last, the newest first, with their branches.
    ///
    /// # Errors
    /// The forge does not answer, or not as a forge does.
    pub async fn recently_closed(&self, target: &str) -> Result<Vec<Closed>, ForgeError> {
        let Api { kind, place, .. } = &self.api;
        let listed = self.pulls(&kind.closed_pulls(place, None, target)).await?;
        Ok(listed.into_iter().filter_map(|value| self.own(value, target)).collect())
    }

    /// The pull request of one of the repository's own branches into another that was merged as a commit; nothing where there is none.
    ///
    /// # Errors
    /// The forge does not answer, or not as a forge does.
    pub async fn merged_as(&self, commit: &CommitId, target: &str) -> Result<Option<Closed>, ForgeError> {
        let path = self.api.of_repository(&self.api.kind.pulls_of(commit));
        let told = match self.api.ask(&Call::get("find what was merged as a commit", path)).await {
            Err(ForgeError::NotFound { .. }) => return Ok(None),
            told => told?,
        };
        // Gitea tells the one, GitHub those that have it in any way.
        let told = Vec::<Value>::deserialize(&told).unwrap_or_else(|_| vec![told]);
        let is_it = |closed: &Closed| closed.pull.state == PullState::Merged(Some(commit.clone()));
        Ok(told.into_iter().filter_map(|value| self.own(value, target)).find(is_it))
    }

    /// A pull request from a branch of the repository's own into another, with that branch; nothing for any other.
    fn own(&self, value: Value, target: &str) -> Option<Closed> {
        let Api { kind, place, .. } = &self.api;
        let wire = Wire::deserialize(&value).ok()?;
        let is_own = match &wire.head.repo {
            Some(repo) => repo.full_name == place.repository,
            None => !kind.remembers_repositories(),
        };
        if !is_own || wire.base.reference != target {
            return None;
        }
        let branch = wire.head.name().to_owned();
        let title = wire.title.filter(|title| is_plain_text(title)).unwrap_or_default();
        Some(Closed { branch, title, pull: self.parse(value).ok()? })
    }

    pub(super) fn parse(&self, value: Value) -> Result<PullRequest, ForgeError> {
        let wire = Wire::deserialize(value).map_err(|_| self.api.stranger())?;
        let is_page = wire.html_url.starts_with("https://") || wire.html_url.starts_with("http://");
        let branch = wire.head.name().to_owned();
        if !is_page || ![&wire.html_url, &wire.base.reference, &branch].into_iter().all(|text| is_plain_text(text)) {
            return Err(self.api.stranger());
        }
        let commit = |text: &str| CommitId::parse(text).ok();
        let is_merged = wire.merged || wire.merged_at.is_some();
        let state = match wire.state.as_str() {
            _ if is_merged => PullState::Merged(wire.merge_commit_sha.as_deref().and_then(commit)),
            "open" => PullState::Open,
            _ => PullState::Closed,
        };
        let Wire { number, html_url: url, head, base, node_id: node, auto_merge, .. } = wire;
        let (head, base, is_to_merge) = (commit(&head.sha), base.reference, auto_merge.is_some());
        Ok(PullRequest { number, url, state, head, branch, base, node, is_to_merge })
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

/// The branch of a pull request as it is listed; nothing for a fork's, which may have a branch of the same name.
fn own_branch(value: &Value) -> Option<&str> {
    let (head, base) = (&value["head"], &value["base"]);
    let is_own = head["repo_id"] == base["repo_id"] && head["repo"]["id"] == base["repo"]["id"];
    head["ref"].as_str().filter(|_| is_own)
}
