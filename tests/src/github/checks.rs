//! The scripted GitHub's checks of a commit, without which a protected branch may merge nothing.

use serde_json::Value;

use super::examples::webhook_example;
use super::{GitHub, REPOSITORY, git};

impl GitHub<'_> {
    /// Lets nobody push to `main`, and nothing be merged into it whose checks have not succeeded.
    pub fn protect_by_checks(&self) {
        self.protect(0);
        self.state().needs_checks = true;
    }

    /// Lets nothing be merged by itself, as in a repository where nobody has changed that.
    pub fn forbid_auto_merge(&self) {
        self.state().forbids_auto_merge = true;
    }

    /// The checks of where the branch of a pull request is end; what was to merge itself and may by then is merged. Answers what the webhook tells of it.
    ///
    /// # Panics
    /// When there is no such pull request, or its branch is gone.
    #[track_caller]
    pub fn checks_end(&self, number: u64, conclusion: &str) -> Value {
        let branch = self.pull(number).branch;
        let head = git::tip(&self.shared.repository(), &branch).expect("its branch");
        self.shared.with_pull(number, |pull| {
            pull.head.clone_from(&head);
            if conclusion == "success" {
                pull.checked.push(head.clone());
            }
        });
        self.shared.merge_what_is_due();
        let mut told = webhook_example("check_suite", "completed");
        told["check_suite"]["head_branch"] = branch.into();
        told["check_suite"]["head_sha"] = head.into();
        told["check_suite"]["conclusion"] = conclusion.into();
        told["repository"]["full_name"] = REPOSITORY.into();
        told
    }
}
