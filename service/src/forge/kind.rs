//! What one kind of forge has otherwise than another: where its API is, how it is asked, how it lists, what it counts and what it has at all.
//!
//! Where the kinds go about a thing in other steps, the module of that thing says so: `auto_merge`, and in `pulls` the open one of a branch and where one ended.

use super::Address;
use crate::names::CommitId;

/// Which forge it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Gitea, and Forgejo, which speaks as it does.
    Gitea,
    Github,
}

/// GitHub's own host, whose API has another.
const GITHUB: &str = "github.com";

/// How many requests GitHub lets through in an hour, of a person's token and of a small installation alike; larger ones get more.
const GITHUB_PER_HOUR: u32 = 5_000;

/// How much of a list GitHub answers at once at most.
const GITHUB_PAGE: usize = 100;

/// Pull requests per page of those that are open, and the most that are looked through of those that were closed, the newest first: the most that Gitea
/// answers where nobody changed that.
const PULLS_PAGE: usize = 50;

impl Kind {
    /// The base of the API of a forge that is mounted there, of a host whose pages are at `base`.
    pub(super) fn api(self, base: &str, mount: &str) -> String {
        match self {
            Self::Gitea => format!("{base}{mount}/api/v1"),
            Self::Github if base.ends_with(&format!("//{GITHUB}")) => format!("https://api.{GITHUB}"),
            Self::Github => format!("{base}{mount}/api/v3"),
        }
    }

    /// What every request says besides who asks: the form of the answers, and the version of GitHub's API that all of this was written for.
    pub(super) const fn headers(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Gitea => &[("accept", "application/json")],
            Self::Github => &[("accept", "application/vnd.github+json"), ("x-github-api-version", "2022-11-28")],
        }
    }

    /// The word before a token that says who asks.
    pub(super) const fn scheme(self) -> &'static str {
        match self {
            Self::Gitea => "token",
            Self::Github => "Bearer",
        }
    }

    /// How many requests it lets through in an hour; nothing where it does not count them.
    pub(super) const fn requests_per_hour(self) -> Option<u32> {
        match self {
            Self::Gitea => None,
            Self::Github => Some(GITHUB_PER_HOUR),
        }
    }

    /// Whether it shows deployments.
    pub(super) const fn has_deployments(self) -> bool {
        match self {
            Self::Gitea => false,
            Self::Github => true,
        }
    }

    /// How much of a list it answers at once; nothing where who asks for no page is answered all of it.
    pub(super) const fn page_size(self) -> Option<usize> {
        match self {
            Self::Gitea => None,
            Self::Github => Some(GITHUB_PAGE),
        }
    }

    /// Where a page of the open pull requests is read, those that changed last first; at GitHub of those into a branch alone.
    pub(super) fn open_pulls(self, target: &str, page: usize) -> String {
        let query = match self {
            Self::Gitea => format!("sort=recentupdate&limit={PULLS_PAGE}"),
            Self::Github => format!("base={}&sort=updated&direction=desc&per_page={PULLS_PAGE}", escaped(target)),
        };
        format!("/pulls?state=open&{query}&page={page}")
    }

    /// Where those are read that were closed or merged last, the newest first; at GitHub of those into a branch alone, and from another where one is named.
    pub(super) fn closed_pulls(self, place: &Address, branch: Option<&str>, target: &str) -> String {
        let query = match self {
            Self::Gitea => format!("sort=recentupdate&limit={PULLS_PAGE}"),
            Self::Github => {
                let from = |branch: &str| format!("head={}:{}&", place.owner(), escaped(branch));
                let (from, target) = (branch.map(from).unwrap_or_default(), escaped(target));
                format!("{from}base={target}&sort=updated&direction=desc&per_page={PULLS_PAGE}")
            }
        };
        format!("/pulls?state=closed&{query}")
    }

    /// Where the pull requests are read that a commit is of: at Gitea the one that was merged as it.
    pub(super) fn pulls_of(self, commit: &CommitId) -> String {
        let list = match self {
            Self::Gitea => "pull",
            Self::Github => "pulls",
        };
        format!("/commits/{commit}/{list}")
    }

    /// Whether it still says of which repository the branch of a pull request was, once that branch is gone.
    pub(super) const fn remembers_repositories(self) -> bool {
        match self {
            Self::Gitea => false,
            Self::Github => true,
        }
    }
}

/// A text as a part of an address.
pub(super) fn escaped(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string().replace("%2D", "-")
}
