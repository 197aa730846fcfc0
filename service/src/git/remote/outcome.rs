//! What a report means: done, overtaken, refused or not taken.

use super::Pushed;
use super::error::RemoteError;
use super::report::{Branch, Report};

/// How receiving sides say that the branch is not where the command said (Git's `refs/files-backend.c` and `builtin/receive-pack.c`,
/// and what forges made of them).
const MOVED: [&str; 8] = [
    "cannot lock ref",
    "incorrect old value provided",
    "fetch first",
    "non-fast-forward",
    "stale info",
    "failed to update ref",
    "reference already exists",
    "reference does not exist",
];

/// How they say that their disk or their rights to it are at fault, which Git calls a failed update as well.
const DISK: [&str; 4] = ["No space left on device", "quota exceeded", "Permission denied", "Read-only file system"];

/// What became of a push, by the report on it.
pub(super) fn of(report: Report, address: &str) -> Pushed {
    let Report { unpack_error, branch, words } = report;
    // The reason is a fixed phrase; where people are told more, it is that they should see.
    let told = |reason: String| match (words.is_empty(), reason.is_empty()) {
        (true, _) => reason,
        (false, true) => words.clone(),
        (false, false) => format!("{reason}: {words}"),
    };
    match (unpack_error, branch) {
        (Some(error), _) => Pushed::Unpack { words: told(error) },
        (None, Branch::Updated) => Pushed::Done,
        (None, Branch::Refused(reason)) if has(&reason, &MOVED) => {
            if has(&words, &DISK) {
                Pushed::Unpack { words: told(reason) }
            } else {
                Pushed::Moved { words: told(reason) }
            }
        }
        (None, Branch::Refused(reason)) => Pushed::Refused { words: told(reason) },
        (None, Branch::Untold) => Pushed::Unknown(RemoteError::NoReport { address: address.to_owned() }),
    }
}

fn has(text: &str, phrases: &[&str]) -> bool {
    phrases.iter().any(|phrase| text.contains(phrase))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(reason: &str, words: &str) -> Pushed {
        let branch = Branch::Refused(reason.to_owned());
        of(Report { unpack_error: None, branch, words: words.to_owned() }, "host")
    }

    #[test]
    fn every_way_to_say_that_the_branch_moved_is_known() {
        for reason in MOVED {
            assert!(matches!(refused(reason, "error: is at b but expected a"), Pushed::Moved { .. }), "{reason}");
        }
    }

    #[test]
    fn a_full_disk_is_not_taken_for_somebody_elses_push() {
        let words = "error: unable to write: No space left on device";
        let expected = Pushed::Unpack { words: format!("failed to update ref: {words}") };
        assert_eq!(refused("failed to update ref", words), expected);
    }

    #[test]
    fn a_hooks_own_words_are_kept_and_do_not_decide() {
        let pushed = refused("pre-receive hook declined", "do fetch first the form 27b");
        assert_eq!(pushed, Pushed::Refused { words: "pre-receive hook declined: do fetch first the form 27b".into() });
        assert_eq!(refused("hook declined", ""), Pushed::Refused { words: "hook declined".into() });
        assert_eq!(refused("", "because"), Pushed::Refused { words: "because".into() });
    }

    #[test]
    fn a_report_without_a_word_on_the_branch_is_no_success() {
        let report = Report { unpack_error: None, branch: Branch::Untold, words: String::new() };
        assert!(matches!(of(report, "host"), Pushed::Unknown(RemoteError::NoReport { .. })));
    }
}
