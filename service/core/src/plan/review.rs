//! Which changes people want to see before they count, where an environment asks for pull requests.

use crate::release::Action;

/// Whether a change needs a review: it brings in, takes away or changes a version, a strategy or how something is served.
///
/// What goes on within a plan that was reviewed does not, nor does what leads back to what was there: a rollback or an abort must never
/// wait for a person who is asleep. What a person pushed is on the branch already.
pub const fn wants_review(action: Action) -> bool {
    match action {
        Action::Create | Action::Update | Action::Enter | Action::Retract => true,
        Action::Step
        | Action::Flip
        | Action::Weights
        | Action::Pause
        | Action::Resume
        | Action::Promote
        | Action::Leave
        | Action::Settle
        | Action::Rollback
        | Action::Abort
        | Action::Render
        | Action::Adopt => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_versions_is_reviewed_and_what_leads_back_never_waits() {
        for action in [Action::Create, Action::Update, Action::Enter, Action::Retract] {
            assert!(wants_review(action), "{action}");
        }
        for action in [Action::Rollback, Action::Abort, Action::Pause, Action::Step, Action::Promote, Action::Settle] {
            assert!(!wants_review(action), "{action}");
        }
    }
}
