//! What a remote says to people: read as far as is useful, and made harmless before anybody sees it.

use crate::names::is_invisible;

/// How much of what a remote says is kept, in bytes: a hook that explains itself takes a few hundred.
pub(super) const WORDS_BYTES_MAX: usize = 4 << 10;

/// How much of it is shown, in characters: the longest refusal that was seen, GitHub's of a rule, has some 400.
const SHOWN_CHARS_MAX: usize = 600;

/// Collects the words of a remote while they come.
#[derive(Debug, Default)]
pub(super) struct Words(Vec<u8>);

impl Words {
    /// Takes more of them; what is over the bound is let go.
    pub(super) fn take(&mut self, bytes: &[u8]) {
        let room = WORDS_BYTES_MAX.saturating_sub(self.0.len());
        self.0.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// The words as one line.
    pub(super) fn shown(&self) -> String {
        harmless(&String::from_utf8_lossy(&self.0))
    }
}

/// A foreign text as one line that changes no terminal and no log: every character visible, not too long, a progress bar left out.
pub(super) fn harmless(text: &str) -> String {
    let lines = text.split('\n').map(|line| {
        // What stands before a carriage return was meant to be overwritten.
        let line = line.trim_end_matches('\r').rsplit('\r').next().unwrap_or_default();
        without_escapes(line)
    });
    // Gitea begins with an `error:` of nothing.
    let says_something = |line: &String| !line.is_empty() && line != "error:";
    let lines: Vec<String> = lines.map(|line| line.trim().to_owned()).filter(says_something).collect();
    let text = lines.join("; ");
    let mut shown: String = text.chars().take(SHOWN_CHARS_MAX).collect();
    if text.chars().nth(SHOWN_CHARS_MAX).is_some() {
        shown.push('…');
    }
    shown
}

/// A line without the colours that Git and hooks like to use, and with a space for every other character that nobody sees.
fn without_escapes(line: &str) -> String {
    let mut seen = String::new();
    let mut rest = line.chars().peekable();
    while let Some(c) = rest.next() {
        if c == '\u{1b}' && rest.peek() == Some(&'[') {
            // `ESC [`, numbers, and a letter that ends it (ECMA-48).
            let _end = rest.find(|c| ('\u{40}'..='\u{7e}').contains(c) && *c != '[');
        } else {
            seen.push(if is_invisible(c) { ' ' } else { c });
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn colours_progress_and_control_characters_are_gone() {
        for (said, shown) in [
            ("error: \u{1b}[31mno\u{1b}[m\n", "error: no"),
            (
                "Resolving deltas:  10%\rResolving deltas: 100%, done.\nrefused\n",
                "Resolving deltas: 100%, done.; refused",
            ),
            ("a\u{7}b\u{202e}c", "a b c"),
            ("\u{1b}]0;title\u{7}", "]0;title"),
            ("one\r\n\n  two  \r\n", "one; two"),
            ("error:\nerror: Not allowed to push\n", "error: Not allowed to push"),
            ("\u{1b}[", ""),
        ] {
            assert_eq!(harmless(said), shown, "{said:?}");
        }
    }

    #[test]
    fn much_is_cut_and_says_so() {
        let shown = harmless(&"x".repeat(10_000));
        assert_eq!(shown.chars().count(), SHOWN_CHARS_MAX + 1);
        assert!(shown.ends_with('…'));
    }

    proptest! {
        #[test]
        fn no_words_are_unbounded_or_of_more_than_one_line(pieces in prop::collection::vec(any::<Vec<u8>>(), 0..20)) {
            let mut words = Words::default();
            pieces.iter().for_each(|piece| words.take(piece));
            prop_assert!(words.0.len() <= WORDS_BYTES_MAX);
            let shown = words.shown();
            prop_assert!(!shown.chars().any(is_invisible), "{shown:?}");
            prop_assert!(shown.chars().count() <= SHOWN_CHARS_MAX + 1);
        }
    }
}
