//! Merging without a person, once the rules of the branch let it, and calling that off.

use reqwest::Method;
use serde_json::{Value, json};

use super::call::{Call, words};
use super::line::GRAPHQL;
use super::{Forge, ForgeError, Kind, PullRequest};
use crate::names::CommitId;

/// The ways to merge at GitHub, in the order in which they are tried: one that the repository does not allow is followed by the next.
const METHODS: [&str; 3] = ["MERGE", "SQUASH", "REBASE"];

/// The ways to merge at Gitea, each after the setting of the repository that allows it, in the order in which they are preferred.
const STYLES: [(&str, &str); 5] = [
    ("allow_merge_commits", "merge"),
    ("allow_squash_merge", "squash"),
    ("allow_rebase", "rebase"),
    ("allow_rebase_explicit", "rebase-merge"),
    ("allow_fast_forward_only_merge", "fast-forward-only"),
];

/// GitHub's words for a way that the repository does not allow.
const NOT_THIS_WAY: &str = "not allowed on this repository";

/// GitHub's words for what it does not merge by itself: no rule of the branch keeps it from being merged, though a check that none asks for may be under
/// way or failed; or the repository lets nothing be merged by itself, which is so unless somebody changes that.
const NOT_BY_ITSELF: [&str; 3] = ["is in clean status", "is in unstable status", "Auto merge is not allowed"];

/// What Gitea answers of a repository that is archived.
const LOCKED: u16 = 423;

/// How the two are called in a sentence.
const WISH: &str = "merge a pull request by itself";
const CALL_OFF: &str = "call off that a pull request merges itself";

/// What became of the wish that a pull request be merged by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AutoMerge {
    /// It is merged once what the branch asks for is there, or is merged already.
    Scheduled,
    /// It was merged at once.
    Merged,
    /// The forge does not merge it by itself, and does not let it be merged yet; its words. Another try may help.
    NotYet(String),
    /// The forge does not do that here; its words.
    Refused(String),
}

/// What became of the wish that the pull request of a branch waits for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CalledOff {
    /// None is to be merged by itself.
    Nothing,
    /// One was, with this page, and is not any more. A merge that has begun ends all the same.
    Done { url: String },
    /// One is, with this page, and the forge does not change that; its words.
    Refused { url: String, words: String },
}

impl Forge {
    /// Has the open pull request from a branch into another, if there is one, no longer merged by itself, whoever wished for that.
    ///
    /// # Errors
    /// The forge does not answer, or not as a forge does: then it may still be merged by itself.
    pub async fn call_off_merge(&self, branch: &str, target: &str) -> Result<CalledOff, ForgeError> {
        let Some(pull) = self.find_open(branch, target).await?.open else { return Ok(CalledOff::Nothing) };
        match self.api.kind {
            Kind::Gitea => self.call_off_at_gitea(pull).await,
            Kind::Github => self.call_off_at_github(pull).await,
        }
    }

    async fn call_off_at_gitea(&self, PullRequest { number, url, .. }: PullRequest) -> Result<CalledOff, ForgeError> {
        let path = self.api.of_repository(&format!("/pulls/{number}/merge"));
        let call = Call { method: Method::DELETE, ..Call::get(CALL_OFF, path) };
        match self.api.ask(&call).await {
            Ok(_) => Ok(CalledOff::Done { url }),
            // There is no such wish, for the pull request itself was just read.
            Err(ForgeError::NotFound { .. }) => Ok(CalledOff::Nothing),
            // An archived repository takes nothing, and merges nothing.
            Err(error @ ForgeError::Refused { status: LOCKED, .. }) => Err(error),
            Err(ForgeError::Refused { words, .. } | ForgeError::Forbidden { words, .. }) => {
                Ok(CalledOff::Refused { url, words })
            }
            Err(error) => Err(error),
        }
    }

    /// By <https://docs.github.com/en/graphql/reference/mutations#disablepullrequestautomerge>. Asked in any case, for what was read may be older.
    async fn call_off_at_github(&self, pull: PullRequest) -> Result<CalledOff, ForgeError> {
        let PullRequest { node, url, is_to_merge, .. } = pull;
        let query =
            "mutation($id: ID!) { disablePullRequestAutoMerge(input: {pullRequestId: $id}) { clientMutationId } }";
        let body = json!({"query": query, "variables": {"id": node}});
        let refused = match self.api.ask(&Call::write(CALL_OFF, Method::POST, GRAPHQL.to_owned(), &body)).await {
            Ok(answer) => said(&answer),
            Err(ForgeError::Refused { words, .. } | ForgeError::Forbidden { words, .. }) => Some(words),
            Err(error) => return Err(error),
        };
        Ok(match refused {
            None => CalledOff::Done { url },
            // What is not to be merged by itself cannot be called off, which is said as a fault.
            Some(_) if !is_to_merge => CalledOff::Nothing,
            Some(words) => CalledOff::Refused { url, words },
        })
    }

    /// Has a pull request merged as soon as the branch's rules let it.
    ///
    /// # Errors
    /// The forge does not answer, or not as a forge does.
    pub async fn merge_when_ready(&self, pull: &PullRequest) -> Result<AutoMerge, ForgeError> {
        match self.api.kind {
            Kind::Gitea => self.wish_at_gitea(pull).await,
            Kind::Github => self.merge_at_github(pull).await,
        }
    }

    async fn wish_at_gitea(&self, pull: &PullRequest) -> Result<AutoMerge, ForgeError> {
        let style = self.style_at_gitea().await?;
        let body = json!({"Do": style, "merge_when_checks_succeed": true});
        let path = self.api.of_repository(&format!("/pulls/{}/merge", pull.number));
        self.wish(&Call::make(WISH, path, &body)).await
    }

    /// Wishes for it in a way that the repository allows, and merges what GitHub does not merge by itself.
    async fn merge_at_github(&self, pull: &PullRequest) -> Result<AutoMerge, ForgeError> {
        let mut wished = AutoMerge::Refused(String::new());
        for (place, method) in METHODS.iter().enumerate() {
            wished = self.wish_at_github(pull, method).await?;
            match &wished {
                AutoMerge::Refused(words) if NOT_BY_ITSELF.iter().any(|said| words.contains(said)) => {
                    return self.merge_now(pull, &METHODS[place..]).await;
                }
                AutoMerge::Refused(words) if words.contains(NOT_THIS_WAY) => {}
                _ => break,
            }
        }
        Ok(wished)
    }

    /// A way to merge that the repository allows. Gitea takes the wish for any, and merges by none that it does not allow.
    async fn style_at_gitea(&self) -> Result<&'static str, ForgeError> {
        let repository = self.api.ask(&Call::get("read the repository", self.api.of_repository(""))).await?;
        let allowed = STYLES.iter().find(|(allows, _)| repository[*allows] == true);
        Ok(allowed.unwrap_or(&STYLES[0]).1)
    }

    /// By <https://docs.github.com/en/graphql/reference/mutations#enablepullrequestautomerge>.
    async fn wish_at_github(&self, pull: &PullRequest, method: &str) -> Result<AutoMerge, ForgeError> {
        let input = format!("{{pullRequestId: $id, expectedHeadOid: $head, mergeMethod: {method}}}");
        let variables = "$id: ID!, $head: GitObjectID";
        let query =
            format!("mutation({variables}) {{ enablePullRequestAutoMerge(input: {input}) {{ clientMutationId }} }}");
        let head = pull.head.as_ref().map(CommitId::as_str);
        let body = json!({"query": query, "variables": {"id": pull.node, "head": head}});
        self.wish(&Call::make(WISH, GRAPHQL.to_owned(), &body)).await
    }

    /// Merges a pull request as it was seen, in the first of these ways that the repository allows; GitHub goes by the rules of the branch.
    async fn merge_now(&self, pull: &PullRequest, methods: &[&str]) -> Result<AutoMerge, ForgeError> {
        let path = self.api.of_repository(&format!("/pulls/{}/merge", pull.number));
        let mut merged = AutoMerge::Refused(String::new());
        for method in methods {
            let mut body = json!({"merge_method": method.to_lowercase()});
            if let Some(head) = &pull.head {
                body["sha"] = head.as_str().into();
            }
            let call = Call { method: Method::PUT, ..Call::make("merge a pull request", path.clone(), &body) };
            merged = match self.api.ask(&call).await {
                Ok(_) => AutoMerge::Merged,
                Err(ForgeError::Refused { words, .. }) if words.contains(NOT_THIS_WAY) => AutoMerge::Refused(words),
                Err(ForgeError::Refused { words, .. }) => AutoMerge::NotYet(words),
                Err(ForgeError::Forbidden { words, .. }) => return Ok(AutoMerge::Refused(words)),
                Err(error) => return Err(error),
            };
            if !matches!(merged, AutoMerge::Refused(_)) {
                break;
            }
        }
        Ok(merged)
    }

    async fn wish(&self, call: &Call<'_>) -> Result<AutoMerge, ForgeError> {
        match self.api.ask(call).await {
            Ok(answer) => Ok(match said(&answer) {
                Some(words) => AutoMerge::Refused(words),
                None => AutoMerge::Scheduled,
            }),
            // It is scheduled already.
            Err(ForgeError::Refused { status: 409, .. }) => Ok(AutoMerge::Scheduled),
            Err(ForgeError::Refused { words, .. } | ForgeError::Forbidden { words, .. }) => {
                Ok(AutoMerge::Refused(words))
            }
            Err(error) => Err(error),
        }
    }
}

/// What GitHub's other API found wrong, which it says with a success.
fn said(answer: &Value) -> Option<String> {
    let errors = answer.get("errors")?.as_array().filter(|errors| !errors.is_empty())?;
    Some(words(&json!({"errors": errors}).to_string().into_bytes()))
}
