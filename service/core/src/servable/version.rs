//! Versions of Python packages, as far as two of them are compared here: the numbers of the release, without epoch and endings
//! (<https://packaging.python.org/en/latest/specifications/version-specifiers/>).

use std::cmp::Ordering;

/// The most numbers of a version that are looked at; real ones have up to four.
const NUMBERS_MAX: usize = 6;

/// The numbers of a release: `1.5.2`, `v1.5.2`, `1!1.5.2rc1` and `1.5.2+cu118` are 1, 5, 2. None where it begins with no number.
pub(super) fn numbers(text: &str) -> Option<Vec<u64>> {
    let text = text.trim().trim_start_matches(['v', 'V']);
    let text = text.split_once('!').map_or(text, |(_, rest)| rest);
    let mut found = Vec::new();
    for part in text.split('.').take(NUMBERS_MAX) {
        let digits = part.bytes().take_while(u8::is_ascii_digit).count();
        let Ok(number) = part[..digits].parse() else { break };
        found.push(number);
        if digits < part.len() {
            break;
        }
    }
    (!found.is_empty()).then_some(found)
}

/// Compares two releases; missing numbers are zeros.
pub(super) fn compare(one: &[u64], other: &[u64]) -> Ordering {
    let at = |numbers: &[u64], n: usize| numbers.get(n).copied().unwrap_or(0);
    let pairs = (0..one.len().max(other.len())).map(|n| at(one, n).cmp(&at(other, n)));
    pairs.fold(Ordering::Equal, Ordering::then)
}

/// Whether the first `count` numbers are the same; missing numbers are zeros.
pub(super) fn agree(one: &[u64], other: &[u64], count: usize) -> bool {
    (0..count).all(|n| one.get(n).copied().unwrap_or(0) == other.get(n).copied().unwrap_or(0))
}

/// Whether two texts have the same major and minor number; what cannot be read is taken for the same.
pub(super) fn same_minor(one: &str, other: &str) -> bool {
    match (numbers(one), numbers(other)) {
        (Some(one), Some(other)) => agree(&one, &other, 2),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_of_a_release_are_read_without_what_surrounds_them() {
        for (text, expected) in [
            ("1.5.2", Some(vec![1, 5, 2])),
            (" v1.5.2 ", Some(vec![1, 5, 2])),
            ("1!2.0rc1", Some(vec![2, 0])),
            ("2.4.1+cu118", Some(vec![2, 4, 1])),
            ("2.9.0.post0", Some(vec![2, 9, 0])),
            ("3", Some(vec![3])),
            ("latest", None),
            ("", None),
            ("99999999999999999999999.1", None),
        ] {
            assert_eq!(numbers(text), expected, "{text}");
        }
    }

    #[test]
    fn missing_numbers_are_zeros() {
        assert_eq!(compare(&[1, 5], &[1, 5, 0]), Ordering::Equal);
        assert_eq!(compare(&[1, 10], &[1, 9, 9]), Ordering::Greater);
        assert!(agree(&[1], &[1, 0, 7], 2) && !agree(&[1], &[1, 1], 2));
        assert!(same_minor("3.11.7", "3.11") && !same_minor("3.11", "3.10.12") && same_minor("?", "3"));
    }
}
