//! Versions of programs: two numbers are enough to tell what is too old.

use std::fmt;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    pub major: u32,
    pub minor: u32,
}

impl Version {
    pub const fn new(major: u32, minor: u32) -> Self {
        Self { major, minor }
    }

    /// The first `N.N` of a text such as `v1.32.4-dispatcher` or `28.2.2`.
    pub fn find(text: &str) -> Option<Self> {
        let mut words = text.split(|c: char| !c.is_ascii_digit() && c != '.');
        words.find_map(|word| {
            let mut numbers = word.split('.');
            Some(Self { major: numbers.next()?.parse().ok()?, minor: numbers.next()?.parse().ok()? })
        })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}.{}", self.major, self.minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_found_in_what_programs_say() {
        for (text, expected) in [
            ("v1.32.4-dispatcher", Some((1, 32))),
            ("minikube version: v1.38.1\ncommit: 8c51b8e", Some((1, 38))),
            ("28.2.2", Some((28, 2))),
            ("+v3.5", Some((3, 5))),
            ("nothing", None),
            ("7", None),
        ] {
            assert_eq!(Version::find(text), expected.map(|(major, minor)| Version { major, minor }), "{text}");
        }
        assert!(Version::new(1, 9) < Version::new(1, 30));
    }
}
