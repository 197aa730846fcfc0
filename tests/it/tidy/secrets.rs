//! What must never be written into the repository.

use super::{kept_files, none};

/// How keys and tokens begin.
const KEYS: [&str; 6] = [
    concat!("-----BEGIN ", "PRIVATE KEY"),
    concat!("-----BEGIN OPENSSH ", "PRIVATE KEY"),
    concat!("-----BEGIN RSA ", "PRIVATE KEY"),
    concat!("AK", "IA"),
    concat!("gh", "p_"),
    concat!("github_", "pat_"),
];

/// Where a machine keeps what belongs to somebody: a path below one of these is a path of the machine it was written on.
const PLACES: [&str; 6] = ["/home/", "/root/", "/Users/", "/tmp/", "/mnt/", "/media/"];

/// Homes and mounts of nobody, for examples, tests and the images of Jupyter; a place alone, as in a test for leaks, names nothing either.
const NOBODYS: [&str; 2] = ["/home/ada", "/home/jovyan"];

/// The absolute path of a machine in a line, where it has one. A path follows a space, a quote, `=`, `(` or `:`.
fn path_of_a_machine(line: &str) -> Option<&str> {
    PLACES.iter().flat_map(|place| line.match_indices(place)).find_map(|(at, place)| {
        let begins = line[..at].chars().next_back().is_none_or(|c| " \"'`=(:,".contains(c));
        let names = line[at + place.len()..].starts_with(|c: char| c.is_alphanumeric() || "._-".contains(c));
        let path = &line[at..];
        (begins && names && !NOBODYS.iter().any(|nobody| path.starts_with(nobody)))
            .then(|| path.split([' ', '"', '\'', '`', ')', ',']).next().unwrap_or(path))
    })
}

#[test]
fn no_key_and_no_path_of_a_machine_is_written_down() {
    let mut faults = Vec::new();
    for file in kept_files().iter().filter(|file| file.path != "Cargo.lock") {
        for (number, line) in file.text.lines().enumerate() {
            let found = KEYS.iter().copied().find(|word| line.contains(word)).or_else(|| path_of_a_machine(line));
            let told = |word: &str| format!("{}:{}: `{word}`", file.path, number + 1);
            faults.extend(found.map(told));
        }
    }
    none("in the repository", &faults);
}

#[test]
fn a_path_of_a_machine_is_told_from_the_place_alone_and_from_other_paths() {
    for (before, rest, expected) in [
        ("see `", "/notes/a.md` first", true),
        ("DIR=", "/x", true),
        ("\"", "\", \"", false),
        ("a", "/x", false),
        ("https://host.example", "/x", false),
    ] {
        for place in ["/home", "/tmp", "/mnt"] {
            let line = format!("{before}{place}{rest}");
            assert_eq!(path_of_a_machine(&line).is_some(), expected, "{line}");
        }
    }
    assert_eq!(path_of_a_machine("HOME=/home/ada/x"), None);
}
