//! What is read at speed is what the library reads, and what the library refuses is read by nobody.

use proptest::prelude::*;
use serde::Deserialize as _;

use super::samples::{STATES, release};
use crate::release::{Node, Release, at_speed, read_yaml};
use crate::render::same::compare;
use crate::render::{Templates, render};

/// What the library makes of a text.
fn by_the_library(text: &str) -> Option<Vec<Node>> {
    let documents = serde_yaml::Deserializer::from_str(text);
    documents.map(|document| Node::try_from(serde_yaml::Value::deserialize(document).ok()?).ok()).collect()
}

/// What ends, begins or bends something in YAML.
const PARTS: [&str; 52] = [
    " ",
    "  ",
    "\n",
    "\n\n",
    "\n ",
    "\n  ",
    "\n- ",
    "\n  - ",
    "- ",
    "-",
    "---",
    "\n---\n",
    "...",
    "a",
    "key",
    ":",
    ": ",
    "a: ",
    "\na: ",
    "\n  b: ",
    "\"a b\"",
    "\"",
    "\\\"",
    "\\n",
    "\\u0041",
    "\\ud83d",
    "\\x41",
    "'",
    "{",
    "}",
    "[",
    "]",
    ", ",
    ",",
    "{a: 1}",
    "[1, \"b\"]",
    "#",
    " # c",
    "&a ",
    "*a",
    "!t ",
    "|",
    ">",
    "%",
    "\t",
    "\r",
    "\u{85}",
    "\u{2028}",
    "·",
    "\u{feff}",
    "true",
    "? ",
];

/// Words that look like something else.
const WORDS: [&str; 30] = [
    "y",
    "No",
    "null",
    "~",
    "007",
    "0",
    "7",
    "123456789012345",
    "1234567890123456",
    "0x1F",
    "0o7",
    "1_000",
    "1:30",
    "1e3",
    "1.5",
    ".5",
    ".inf",
    "nan",
    "Infinity",
    "5m",
    "64Mi",
    "5mm",
    "-1",
    "+1",
    "/",
    "/a:",
    "__a",
    "<<",
    "a:b",
    "@a",
];

/// A rendered file, with a few parts of it put in elsewhere, taken out, or replaced.
fn bent() -> impl Strategy<Value = String> {
    let files: Vec<String> = STATES
        .iter()
        .flat_map(|state| render(&release(state), &Templates::built_in()).unwrap().files.into_values())
        .collect();
    let documents = STATES.iter().map(|state| release(state).to_yaml());
    let files: Vec<String> = files.into_iter().filter(|text| text.len() < 20_000).chain(documents).collect();
    bend(files)
}

fn bend(files: Vec<String>) -> impl Strategy<Value = String> {
    let part = prop_oneof![prop::sample::select(PARTS.as_slice()), prop::sample::select(WORDS.as_slice())];
    let bends = prop::collection::vec((any::<prop::sample::Index>(), 0..3_usize, part), 0..4);
    (prop::sample::select(files), bends).prop_map(|(mut text, bends)| {
        for (at, taken, part) in bends {
            let places: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
            let at = at.index(places.len());
            text.replace_range(places[at]..places[(at + taken).min(places.len() - 1)], part);
        }
        text
    })
}

/// A text of such parts alone.
fn jumble() -> impl Strategy<Value = String> {
    let part = prop_oneof![3 => prop::sample::select(PARTS.as_slice()), 1 => prop::sample::select(WORDS.as_slice())];
    prop::collection::vec(part, 1..14).prop_map(|parts| parts.concat())
}

/// A `release.yaml`, bent in the same way.
fn bent_document() -> impl Strategy<Value = String> {
    let documents: Vec<String> = STATES.iter().map(|state| release(state).to_yaml()).collect();
    bend(documents)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_bent_file_is_read_as_the_library_reads_it(text in bent()) {
        prop_assert_eq!(read_yaml(&text).ok(), by_the_library(&text));
    }

    #[test]
    fn a_bent_document_is_the_release_that_the_library_reads(text in bent_document()) {
        prop_assert_eq!(Release::parse(&text).ok(), serde_yaml::from_str::<Release>(&text).ok());
    }

    #[test]
    fn a_jumble_is_read_as_the_library_reads_it(text in jumble()) {
        prop_assert_eq!(read_yaml(&text).ok(), by_the_library(&text));
    }
}

#[test]
fn every_rendered_file_is_read_without_the_library() {
    for state in STATES {
        for (file, text) in render(&release(state), &Templates::built_in()).unwrap().files {
            let read = at_speed(&text);
            assert!(read.is_some(), "{file} of {state} has something that only the library reads");
            assert_eq!(read, by_the_library(&text), "{file} of {state}");
        }
    }
}

#[test]
fn every_document_that_is_written_is_read_without_the_library() {
    for state in STATES {
        let text = release(state).to_yaml();
        assert_eq!(at_speed(&text), by_the_library(&text), "{text}");
        assert!(at_speed(&text).is_some(), "{text}");
    }
}

#[test]
fn what_is_not_plain_is_left_to_the_library() {
    for text in [
        "",
        "a: 'b\n  c'\n",
        "a: b # c\n",
        "# c\na: b\n",
        "a: &x b\n",
        "a: |\n  b\n",
        "a:\n",
        "a: b\n\nc: d\n",
        "a: yes\n",
        "a: 1.5\n",
        "a: \"\\x41\"\n",
        "a: b\r\n",
    ] {
        assert_eq!(at_speed(text), None, "{text:?}");
        assert_eq!(read_yaml(text).ok(), by_the_library(text), "{text:?}");
    }
}

#[test]
fn a_name_that_is_there_twice_is_refused() {
    for text in ["a: 1\na: 2\n", "a: {b: 1, b: 2}\n", "a: {b: 1, \"b\": 2}\n", "- a: 1\n  a: 2\n"] {
        assert!(read_yaml(text).is_err(), "{text:?}");
    }
    let many: String = (0..200).map(|n| format!("a{n}: {n}\n")).collect();
    assert_eq!(read_yaml(&many).ok(), by_the_library(&many));
    assert!(read_yaml(&format!("{many}a7: 7\n")).is_err());
}

#[test]
fn names_that_are_no_texts_and_tags_are_refused_with_a_reason() {
    assert!(read_yaml("a: {1: b}\n").unwrap_err().contains("quotes"));
    assert!(read_yaml("a: !b c\n").unwrap_err().contains("tag"));
}

#[test]
fn depth_has_an_end() {
    let deep = format!("a: {}{}\n", "[".repeat(100), "]".repeat(100));
    assert_eq!(at_speed(&deep), None);
    assert_eq!(read_yaml(&deep).ok(), by_the_library(&deep));
    assert!(read_yaml(&format!("a: {}\n", "[".repeat(1_000))).is_err());
}

#[derive(serde::Serialize)]
struct Sample {
    name: &'static str,
    items: Vec<i32>,
    map: std::collections::BTreeMap<&'static str, bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    more: Option<u8>,
}

#[test]
fn the_first_difference_is_named_by_its_path() {
    let sample = Sample { name: "a", items: vec![1, 2], map: [("x.y", true), ("z", false)].into(), more: Some(7) };
    let difference = |text: &str| compare(&sample, &read_yaml(text).unwrap()[0]).map_err(|path| path.to_string());
    assert_eq!(difference("map: {z: false, x.y: true}\nmore: 7\nname: a\nitems: [1, 2]\n"), Ok(()));
    for (text, path) in [
        ("name: b\nitems: [1, 2]\nmap: {x.y: true, z: false}\nmore: 7\n", "name"),
        ("name: a\nitems: [1, 3]\nmap: {x.y: true, z: false}\nmore: 7\n", "items[1]"),
        ("name: a\nitems: [1]\nmap: {x.y: true, z: false}\nmore: 7\n", "items"),
        ("name: a\nitems: [1, 2, 3]\nmap: {x.y: true, z: false}\nmore: 7\n", "items"),
        ("name: a\nitems: [1, 2]\nmap: {x.y: true, z: 0}\nmore: 7\n", "map.z"),
        ("name: a\nitems: [1, 2]\nmap: {x.y: true, z: false, w: 1}\nmore: 7\n", "map.w"),
        ("name: a\nitems: [1, 2]\nmap: {x.y: true}\nmore: 7\n", "map.z"),
        ("name: a\nitems: [1, 2]\nmap: {x.y: true, z: false}\n", "more"),
        ("name: a\nitems: [1, 2]\nmap: {x.y: true, z: false}\nmore: 7\nless: 1\n", "less"),
        ("name: a\nitems: [1, 2]\nmap: {x.y: true, z: false}\nmoer: 7\n", "moer"),
    ] {
        assert_eq!(difference(text), Err(path.to_owned()), "{text}");
    }
}
