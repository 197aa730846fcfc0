//! Reading YAML, the common part of it at speed.
//!
//! The service and its templates write a small part of YAML: one thing a line, texts in quotes on one line, short words without. That part is
//! read here, at a tenth of the library's cost. Whatever else is in a text, and be it a comment, has the library read the whole text, as if
//! this were not there. So nothing is accepted that the library refuses, or read as something else; a property test holds both against
//! each other.

use serde::Deserialize as _;
use serde_yaml::Value;

use super::is_plain;
use super::node::Node;
use crate::names::is_invisible;

/// Parts within parts that are read here; a release has a dozen.
const DEPTH_MAX: usize = 32;

/// Entries of a map that are read here, because each is held against all others.
const ENTRIES_MAX: usize = 64;

/// The longest name in bytes, as it is written: the library looks for its colon within 1024 characters.
const NAME_BYTES_MAX: usize = 1000;

/// The most digits of a number that is read here: it fits whatever they are.
const DIGITS_MAX: usize = 15;

/// Reads the documents of a file.
///
/// # Errors
/// What is not YAML, has a name twice, or what no document of a release has.
pub(crate) fn read(text: &str) -> Result<Vec<Node>, String> {
    at_speed(text).map_or_else(|| by_library(text), Ok)
}

/// Reads what is of the common part alone; nothing where the text has anything else.
pub(crate) fn at_speed(text: &str) -> Option<Vec<Node>> {
    Lines::of(text)?.documents()
}

fn by_library(text: &str) -> Result<Vec<Node>, String> {
    serde_yaml::Deserializer::from_str(text)
        .map(|document| {
            let value = Value::deserialize(document).map_err(|error| error.to_string())?;
            Node::try_from(value).map_err(str::to_owned)
        })
        .collect()
}

/// The lines of a text that are not read yet. Each method gives nothing where it meets what is left to the library.
struct Lines<'t> {
    rest: std::str::Lines<'t>,
    /// How far the next line is indented, and what is on it.
    next: Option<(usize, &'t str)>,
}

impl<'t> Lines<'t> {
    fn of(text: &'t str) -> Option<Self> {
        // `str::lines` would take the carriage return off.
        if text.contains('\r') {
            return None;
        }
        let mut lines = Self { rest: text.lines(), next: None };
        lines.advance();
        Some(lines)
    }

    fn advance(&mut self) {
        self.next = self.rest.next().map(|line| {
            let content = line.trim_start_matches(' ');
            (line.len() - content.len(), content)
        });
    }

    fn documents(&mut self) -> Option<Vec<Node>> {
        let mut documents = vec![self.map(0, 0)?];
        while self.next.is_some() {
            if self.next != Some((0, "---")) {
                return None;
            }
            self.advance();
            documents.push(self.map(0, 0)?);
        }
        Some(documents)
    }

    /// The entries of a map at this indentation, the next of which begins the rest of the line.
    fn map(&mut self, indent: usize, depth: usize) -> Option<Node> {
        let mut entries = Vec::new();
        while let Some((at, line)) = self.next.filter(|(_, line)| *line != "---") {
            if at < indent || at == indent && !entries.is_empty() && line.starts_with("- ") {
                break;
            }
            if at > indent {
                return None;
            }
            let (name, behind) = entry_name(line)?;
            let value = if behind.is_empty() {
                self.advance();
                self.block(indent, depth + 1)?
            } else {
                let value = whole(behind.strip_prefix(' ')?, depth + 1)?;
                self.advance();
                value
            };
            add(&mut entries, name, value)?;
        }
        (!entries.is_empty()).then_some(Node::Map(entries))
    }

    /// What stands below a name at this indentation: a list, which may be indented no further, or a map.
    fn block(&mut self, indent: usize, depth: usize) -> Option<Node> {
        let (at, line) = self.next.filter(|_| depth < DEPTH_MAX)?;
        if line.starts_with("- ") && at >= indent {
            self.list(at, depth)
        } else if at > indent {
            self.map(at, depth)
        } else {
            None
        }
    }

    fn list(&mut self, indent: usize, depth: usize) -> Option<Node> {
        let mut items = Vec::new();
        while let Some((at, line)) = self.next.filter(|(at, _)| *at >= indent) {
            let item = line.strip_prefix("- ").filter(|_| at == indent);
            let Some(item) = item else {
                // The next entry of the map that the list is in, where both are indented alike; everything else is refused there.
                break;
            };
            items.push(if entry_name(item).is_some() {
                // A map that begins behind the dash goes on below its first name.
                self.next = Some((indent + 2, item));
                self.map(indent + 2, depth + 1)?
            } else {
                self.advance();
                whole(item, depth + 1)?
            });
        }
        Some(Node::List(items))
    }
}

/// The name that a line begins with, and what is behind its colon: nothing, or a space and more.
fn entry_name(line: &str) -> Option<(String, &str)> {
    let (name, behind) = if line.starts_with(['"', '\'']) {
        let (name, behind) = quoted(line)?;
        (name, behind.strip_prefix(':')?)
    } else {
        let (word, behind) = word(line);
        (plain_text(word.strip_suffix(':')?)?, behind)
    };
    let is_end = behind.is_empty() || behind.starts_with(' ');
    (is_end && line.len() - behind.len() <= NAME_BYTES_MAX).then_some((name, behind))
}

/// What stands on the rest of a line, if it is one whole thing.
fn whole(text: &str, depth: usize) -> Option<Node> {
    let (node, behind) = inline(text, depth)?;
    behind.is_empty().then_some(node)
}

/// What a text begins with, and what is behind it.
fn inline(text: &str, depth: usize) -> Option<(Node, &str)> {
    match text.as_bytes().first().filter(|_| depth < DEPTH_MAX)? {
        b'"' | b'\'' => quoted(text).map(|(text, behind)| (Node::Text(text), behind)),
        b'[' => flow_list(&text[1..], depth),
        b'{' => flow_map(&text[1..], depth),
        _ => {
            let (word, behind) = word(text);
            Some((scalar(word)?, behind))
        }
    }
}

fn flow_list(text: &str, depth: usize) -> Option<(Node, &str)> {
    let mut items = Vec::new();
    if let Some(behind) = text.strip_prefix(']') {
        return Some((Node::List(items), behind));
    }
    let mut rest = text;
    loop {
        let (item, behind) = inline(rest, depth + 1)?;
        items.push(item);
        if let Some(behind) = behind.strip_prefix(']') {
            return Some((Node::List(items), behind));
        }
        rest = behind.strip_prefix(", ")?;
    }
}

fn flow_map(text: &str, depth: usize) -> Option<(Node, &str)> {
    let mut entries = Vec::new();
    if let Some(behind) = text.strip_prefix('}') {
        return Some((Node::Map(entries), behind));
    }
    let mut rest = text;
    loop {
        let (name, behind) = entry_name(rest)?;
        let (value, behind) = inline(behind.strip_prefix(' ')?, depth + 1)?;
        add(&mut entries, name, value)?;
        if let Some(behind) = behind.strip_prefix('}') {
            return Some((Node::Map(entries), behind));
        }
        rest = behind.strip_prefix(", ")?;
    }
}

/// Adds an entry; nothing where there is one of that name already.
fn add(entries: &mut Vec<(String, Node)>, name: String, value: Node) -> Option<()> {
    let is_new = entries.len() < ENTRIES_MAX && entries.iter().all(|(other, _)| *other != name);
    is_new.then(|| entries.push((name, value)))
}

/// The longest beginning of a text that may be a word or a number, and what is behind it.
fn word(text: &str) -> (&str, &str) {
    let end = text.bytes().position(|b| !(b.is_ascii_alphanumeric() || b"._/:@-".contains(&b)));
    text.split_at(end.unwrap_or(text.len()))
}

fn scalar(word: &str) -> Option<Node> {
    match word {
        "true" => Some(Node::Bool(true)),
        "false" => Some(Node::Bool(false)),
        "0" => Some(Node::Number(0.into())),
        _ if word.bytes().all(|b| b.is_ascii_digit()) && !word.starts_with('0') && word.len() <= DIGITS_MAX => {
            Some(Node::Number(word.parse::<u64>().ok()?.into()))
        }
        _ => plain_text(word).map(Node::Text),
    }
}

/// A text without quotes that every parser reads as itself.
fn plain_text(word: &str) -> Option<String> {
    // A path, or a name of Prometheus: with such a beginning a word is never anything else.
    let beginning = word.trim_start_matches(['/', '_']);
    let is_path = beginning.len() < word.len() && !word.ends_with(':');
    (is_path || is_plain(word)).then(|| word.to_owned())
}

/// A text in quotes of either kind, and what is behind them.
fn quoted(text: &str) -> Option<(String, &str)> {
    match text.strip_prefix('\'') {
        Some(rest) => single_quoted(rest),
        None => double_quoted(text.strip_prefix('"')?),
    }
}

/// A text up to its closing quote; two of them in a row stand for one.
fn single_quoted(text: &str) -> Option<(String, &str)> {
    let mut out = String::new();
    let mut rest = text;
    loop {
        let (part, behind) = rest.split_once('\'')?;
        if part.chars().any(is_invisible) {
            return None;
        }
        out.push_str(part);
        let Some(more) = behind.strip_prefix('\'') else { return Some((out, behind)) };
        out.push('\'');
        rest = more;
    }
}

/// A text up to its closing quote, with its escapes.
fn double_quoted(text: &str) -> Option<(String, &str)> {
    let mut out = String::new();
    let mut rest = text;
    loop {
        let plain = rest.bytes().position(|b| !matches!(b, b' '..=b'~') || b == b'"' || b == b'\\')?;
        let (as_it_is, behind) = rest.split_at(plain);
        out.push_str(as_it_is);
        let mut chars = behind.chars();
        match chars.next()? {
            '"' => return Some((out, chars.as_str())),
            '\\' => {
                let (c, behind) = escaped(chars.as_str())?;
                out.push(c);
                rest = behind;
            }
            c if is_invisible(c) => return None,
            c => {
                out.push(c);
                rest = chars.as_str();
            }
        }
    }
}

/// The character that an escape behind its backslash stands for, and what is behind it.
fn escaped(text: &str) -> Option<(char, &str)> {
    let mut chars = text.chars();
    let c = match chars.next()? {
        c @ ('"' | '\\') => c,
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'u' => {
            let (digits, behind) = chars.as_str().split_at_checked(4)?;
            let digits = Some(digits).filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))?;
            return Some((char::from_u32(u32::from_str_radix(digits, 16).ok()?)?, behind));
        }
        _ => return None,
    };
    Some((c, chars.as_str()))
}
