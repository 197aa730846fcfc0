//! What a turn wants reviewed, instead of committing it.

use super::body;
use crate::forge::Text;
use crate::git::{GitError, Message};
use crate::names::{DeliveryId, ReleaseKey, Version};
use crate::plan;
use crate::release::{Action, Refusal};
use crate::worker::apply::{Ground, Write};
use crate::worker::task::Task;
use crate::worker::turn::{Turn, message};

/// A change that waits for a review.
#[derive(Debug)]
pub(in crate::worker) struct Proposed {
    pub(in crate::worker) write: Write,
    pub(in crate::worker) message: Message,
    pub(in crate::worker) delivery: Option<DeliveryId>,
    pub(in crate::worker) text: Text,
    /// The versions to compare: the one that serves, and the new one.
    pub(in crate::worker) compared: Vec<Version>,
    /// It would have been pushed, had the branch let it.
    pub(in crate::worker) merges_itself: bool,
    /// Whoever asks says that it may write over what others did.
    pub(in crate::worker) is_forced: bool,
}

impl Proposed {
    /// Puts a change into the words of a review.
    ///
    /// # Errors
    /// What is there now cannot be read.
    pub(in crate::worker) fn new(
        ground: &dyn Ground,
        task: &Task,
        (write, message): (Write, Message),
        merges_itself: bool,
    ) -> Result<Self, GitError> {
        let before = ground.entry(&task.key).map(|entry| entry.release);
        let mut compared: Vec<Version> =
            before.iter().filter_map(|release| release.stable()).map(|variant| variant.version.clone()).collect();
        let asked = write.after.iter().flat_map(|release| release.staying().map(|variant| variant.version.clone()));
        for version in asked {
            if !compared.contains(&version) {
                compared.push(version);
            }
        }
        let text = body::text(ground, task, &write, merges_itself)?;
        let (delivery, is_forced) = (task.delivery.clone(), task.guard.force);
        Ok(Self { write, message, delivery, text, compared, merges_itself, is_forced })
    }
}

impl Turn<'_> {
    /// Whether a change of a release waits for a review, and if so, whether it is to merge itself.
    pub(in crate::worker) fn wants_review(&self, key: &ReleaseKey, action: Action) -> Option<bool> {
        if !self.shared.is_reviewed(key) {
            return None;
        }
        match (plan::wants_review(action), self.by_review.contains(key)) {
            (true, _) => Some(false),
            (false, true) => Some(true),
            (false, false) => None,
        }
    }

    /// Takes note of a change that is to be reviewed, and says what is waited for; where people closed a review of the very same, it
    /// is refused.
    ///
    /// # Errors
    /// What is there now cannot be read.
    pub(in crate::worker) fn propose_for_review(
        &mut self,
        task: &Task,
        write: Write,
        merges_itself: bool,
    ) -> Result<Result<String, Refusal>, GitError> {
        let key = &task.key;
        if self.shared.reviews.is_closed(key, write.after.as_ref(), task.delivery.as_ref()) {
            return Ok(Err(closed(key)));
        }
        let Some(message) = message(&write, task) else {
            let cure = "retract it, or correct its `release.yaml` by a push";
            return Ok(Err(Refusal::conflict("nothing of it serves, so it cannot be changed", cure)));
        };
        let waits_for = self.shared.reviews.waits_for(key);
        let proposed = Proposed::new(self, task, (write, message), merges_itself)?;
        self.proposed.insert(key.clone(), proposed);
        Ok(Ok(waits_for))
    }
}

fn closed(key: &ReleaseKey) -> Refusal {
    Refusal::conflict(
        format!("the pull request of `{key}` was closed without being merged"),
        "ask for it again to open another one",
    )
}
