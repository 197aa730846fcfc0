//! Lists that a forge answers page by page.

use serde_json::Value;

use super::call::{Api, Call};
use super::{ForgeError, Kind};

/// How much of a list GitHub answers at once at most, and how many such pages are read: a thousand reviews, or comments, of one pull request.
const PAGE: usize = 100;
const PAGES_MAX: usize = 10;

impl Api {
    /// Reads a list of something of the repository, page by page; Gitea answers all of it to who asks for no page.
    pub(super) async fn list(&self, what: &'static str, below: &str) -> Result<Vec<Value>, ForgeError> {
        let mut all = Vec::new();
        for page in 1..=PAGES_MAX {
            let query = match self.kind {
                Kind::Gitea => String::new(),
                Kind::Github => format!("?per_page={PAGE}&page={page}"),
            };
            let answer = self.ask(&Call::get(what, self.of_repository(&format!("{below}{query}")))).await?;
            let Value::Array(items) = answer else { return Err(self.stranger()) };
            let is_last = self.kind == Kind::Gitea || items.len() < PAGE;
            all.extend(items);
            if is_last {
                break;
            }
        }
        Ok(all)
    }
}
