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

/// How they say that the name of one branch begins with that of another, which Git keeps no two branches by: in its words since 2.50, and in GitHub's.
const NAMES_COLLIDE: [&str; 2] = ["refname conflict", "directory file conflict"];

/// How a reason is explained that Git has no phrase of its own for: `'refs/heads/a' exists; cannot create 'refs/heads/a/b'`.
const IN_THE_WAY: &str = "' exists; cannot create '";

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
        (None, Branch::Refused(reason)) if has(&reason, &NAMES_COLLIDE) => Pushed::Refused { words: collision(&words) },
        (None, Branch::Refused(reason)) if has(&reason, &MOVED) => {
            if words.contains(IN_THE_WAY) {
                Pushed::Refused { words: collision(&words) }
            } else if has(&words, &DISK) {
                Pushed::Unpack { words: told(reason) }
            } else {
                Pushed::Moved { words: told(reason) }
            }
        }
        (None, Branch::Refused(reason)) => Pushed::Refused { words: told(reason) },
        (None, Branch::Untold) => Pushed::Unknown(RemoteError::NoReport { address: address.to_owned() }),
    }
}

/// What a person has to know where a branch cannot be made beside another one. It stays so until one of them is gone.
fn collision(words: &str) -> String {
    let named =
        |text: &str| text.rsplit('\'').next().and_then(|name| name.strip_prefix("refs/heads/")).map(str::to_owned);
    let other = words.split_once(IN_THE_WAY).and_then(|(before, _)| named(before));
    let other = other.map_or_else(|| "another branch".to_owned(), |name| format!("the branch `{name}`"));
    // Short, because that is all that some callers are shown.
    format!("{other} is in its way; rename or delete it")
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
    fn a_branch_whose_name_collides_with_another_was_not_moved_by_anybody_and_the_other_is_named() {
        let words = |other: &str, ours: &str| {
            format!(
                "error: cannot lock ref 'refs/heads/{ours}': 'refs/heads/{other}' exists; cannot create 'refs/heads/{ours}'"
            )
        };
        for (reason, words, named) in [
            ("failed to update ref", words("kmlflow", "kmlflow/a/b"), "the branch `kmlflow` is in its way"),
            ("failed to update ref", words("main/x", "main"), "the branch `main/x` is in its way"),
            ("refname conflict", words("kmlflow", "kmlflow/a/b"), "the branch `kmlflow` is in its way"),
            ("directory file conflict", String::new(), "another branch is in its way"),
        ] {
            let Pushed::Refused { words } = refused(reason, &words) else { panic!("{reason}") };
            assert!(words.starts_with(named) && words.contains("rename or delete it"), "{words}");
        }
        let by_hook = refused("pre-receive hook declined", &words("kmlflow", "kmlflow/a"));
        assert!(matches!(by_hook, Pushed::Refused { words } if words.starts_with("pre-receive")));
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
