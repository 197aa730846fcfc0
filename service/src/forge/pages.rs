//! Lists that a forge answers page by page.

use serde_json::Value;

use super::ForgeError;
use super::call::{Api, Call};

/// How many pages are read where there are some: at GitHub a thousand reviews, or comments, of one pull request.
const PAGES_MAX: usize = 10;

impl Api {
    /// Reads a list of something of the repository, page by page where the forge answers it so.
    pub(super) async fn list(&self, what: &'static str, below: &str) -> Result<Vec<Value>, ForgeError> {
        let (mut all, size) = (Vec::new(), self.kind.page_size());
        for page in 1..=PAGES_MAX {
            let query = size.map_or_else(String::new, |size| format!("?per_page={size}&page={page}"));
            let answer = self.ask(&Call::get(what, self.of_repository(&format!("{below}{query}")))).await?;
            let Value::Array(items) = answer else { return Err(self.stranger()) };
            let is_last = size.is_none_or(|size| items.len() < size);
            all.extend(items);
            if is_last {
                break;
            }
        }
        Ok(all)
    }
}
