//! The message of a commit: a subject, a body in plain words, trailers.
//!
//! Text of callers comes in here and nowhere else, so here it loses everything that could break out of its line.

use crate::names::{DeliveryId, ModelName, ReleaseId, ReleaseKey, Version};
use crate::release::{Action, Strategy};

/// The end of the subject, in characters.
const SUBJECT_WHAT_CHARS_MAX: usize = 50;
/// The body, in characters: a screen or two, so that nobody fills the history with text.
const BODY_CHARS_MAX: usize = 4_000;
/// Where the body is wrapped, in characters, as Git's own documentation asks.
const BODY_WIDTH: usize = 72;
/// The value of a trailer, in characters; above every name that can stand there.
const TRAILER_CHARS_MAX: usize = 255;
/// How the service names itself as who asked. No name of anybody else begins like this in a message.
const ITSELF: &str = "kmlflow (";

/// Who asked for what a commit does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asker {
    /// A person or a program, by their name.
    Somebody(String),
    /// The service itself, for this reason.
    Itself(String),
}

impl Asker {
    /// Reads the trailer that names who asked; nothing where that was the service itself.
    pub fn somebody_in(trailer: &str) -> Option<String> {
        (!trailer.starts_with(ITSELF)).then(|| trailer.to_owned())
    }

    fn trailer(&self) -> String {
        match self {
            Self::Somebody(name) => match one_line(name) {
                name if name.to_lowercase().starts_with(ITSELF) => format!("somebody called {name}"),
                name => name,
            },
            Self::Itself(why) => format!("{ITSELF}{why})"),
        }
    }
}

/// Everything that a commit message of the service says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub key: ReleaseKey,
    /// The end of the subject, at most 50 characters; what is longer is cut.
    pub subject_what: String,
    /// Plain words; a single line break stays, an empty line begins a new paragraph.
    pub body: String,
    pub release_id: ReleaseId,
    pub delivery_id: Option<DeliveryId>,
    pub requested_by: Asker,
    pub strategy: Strategy,
    pub model: ModelName,
    pub version: Version,
    pub action: Action,
}

impl Message {
    /// The subject alone, on one line.
    pub fn subject(&self) -> String {
        format!("release({}): {}", self.key, cut(&one_line(&self.subject_what), SUBJECT_WHAT_CHARS_MAX))
    }

    /// The text of the message. Its last paragraph is its trailers, whatever the other texts contain.
    pub fn to_text(&self) -> String {
        let mut text = self.subject();
        text.push_str("\n\n");
        let body = body(&self.body);
        if !body.is_empty() {
            text.push_str(&body);
            text.push_str("\n\n");
        }
        for (name, value) in self.trailers() {
            text.push_str(&format!("{name}: {value}\n"));
        }
        text
    }

    fn trailers(&self) -> Vec<(&'static str, String)> {
        let trailers = [
            ("Release-Id", Some(self.release_id.to_string())),
            ("Delivery-Id", self.delivery_id.as_ref().map(ToString::to_string)),
            ("Requested-By", Some(self.requested_by.trailer())),
            ("Strategy", Some(self.strategy.to_string())),
            ("Model", Some(self.model.to_string())),
            ("Version", Some(self.version.to_string())),
            ("Action", Some(self.action.to_string())),
        ];
        let present =
            trailers.into_iter().filter_map(|(name, value)| Some((name, cut(&one_line(&value?), TRAILER_CHARS_MAX))));
        present.filter(|(_, value)| !value.is_empty()).collect()
    }
}

/// Reads the trailers of a message: those of its last paragraph, and only if that is nothing but trailers and not the subject.
///
/// Stricter than Git, which also takes a paragraph that is a quarter trailers.
pub fn parse_trailers(message: &str) -> Vec<(String, String)> {
    let lines: Vec<&str> = message.trim_end().lines().collect();
    let Some(blank) = lines.iter().rposition(|line| line.trim().is_empty()) else { return Vec::new() };
    let mut trailers: Vec<(String, String)> = Vec::new();
    for line in &lines[blank + 1..] {
        match (line.split_once(':'), trailers.last_mut()) {
            (_, Some((_, value))) if line.starts_with([' ', '\t']) => {
                value.push(' ');
                value.push_str(line.trim());
            }
            (Some((name, value)), _) if is_trailer_name(name) => {
                trailers.push((name.to_owned(), value.trim().to_owned()))
            }
            _ => return Vec::new(),
        }
    }
    trailers
}

fn is_trailer_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// A text on one line: line breaks and other controls become spaces, what is invisible or turns the direction of text goes.
fn one_line(text: &str) -> String {
    let kept = text.chars().filter(|c| !is_invisible(*c)).map(|c| if is_break(c) { ' ' } else { c });
    kept.collect::<String>().split_whitespace().collect::<Vec<_>>().join(" ")
}

fn cut(text: &str, chars_max: usize) -> String {
    if text.chars().count() <= chars_max {
        return text.to_owned();
    }
    let kept: String = text.chars().take(chars_max - 1).collect();
    format!("{}…", kept.trim_end())
}

/// The body, wrapped, each of its lines cleaned on its own.
fn body(text: &str) -> String {
    let text = cut(text, BODY_CHARS_MAX);
    let lines: Vec<String> = text.split('\n').map(|line| wrap(&one_line(line))).collect();
    let mut out = String::new();
    for line in lines {
        let empty_twice = line.is_empty() && (out.is_empty() || out.ends_with("\n\n"));
        if !empty_twice {
            out.push_str(&line);
            out.push('\n');
        }
    }
    out.trim_end().to_owned()
}

fn wrap(line: &str) -> String {
    let mut out = String::new();
    let mut width = 0;
    for word in line.split(' ') {
        let chars = word.chars().count();
        match width {
            0 => {}
            _ if width + 1 + chars > BODY_WIDTH => {
                out.push('\n');
                width = 0;
            }
            _ => {
                out.push(' ');
                width += 1;
            }
        }
        // Git takes a line that begins with three dashes for the end of the message, and one with `#` for a comment.
        if width == 0 && (word.starts_with("---") || word.starts_with('#')) {
            out.push(' ');
            width += 1;
        }
        out.push_str(word);
        width += chars;
    }
    out
}

fn is_break(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')
}

/// Characters of no width, and those that turn the direction of the text after them.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{00ad}' | '\u{061c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message() -> Message {
        Message {
            key: ReleaseKey::parse("production/models/fraud").unwrap(),
            subject_what: "version 7 takes 5 %".to_owned(),
            body: "Callers see version 7 in one of twenty answers.".to_owned(),
            release_id: ReleaseId::parse("r1").unwrap(),
            delivery_id: None,
            requested_by: Asker::Somebody("ann@example.org".to_owned()),
            strategy: Strategy::Canary,
            model: ModelName::parse("Fraud: no").unwrap_or_else(|_| ModelName::parse("Fraud").unwrap()),
            version: Version::parse("7").unwrap(),
            action: Action::Step,
        }
    }

    fn value<'t>(trailers: &'t [(String, String)], name: &str) -> Vec<&'t str> {
        trailers.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str()).collect()
    }

    #[test]
    fn a_message_is_subject_body_and_trailers() {
        let text = message().to_text();
        assert_eq!(
            text,
            "release(production/models/fraud): version 7 takes 5 %\n\n\
             Callers see version 7 in one of twenty answers.\n\n\
             Release-Id: r1\nRequested-By: ann@example.org\nStrategy: canary\nModel: Fraud\nVersion: 7\nAction: step\n"
        );
        assert_eq!(parse_trailers(&text).len(), 6);
    }

    #[test]
    fn nothing_of_a_caller_breaks_out_of_its_line() {
        let mut evil = message();
        evil.subject_what = "x\n\nAction: retract\r\u{202e}\u{85}\u{2028}y".to_owned();
        evil.requested_by = Asker::Somebody("eve\nAction: retract\u{0}\u{1b}[2J".to_owned());
        evil.body = "Action: retract\n---\n# x\nRelease-Id: stolen\n\u{2029}a\r\nb".to_owned();
        let text = evil.to_text();
        let trailers = parse_trailers(&text);
        assert_eq!(value(&trailers, "Action"), ["step"]);
        assert_eq!(value(&trailers, "Release-Id"), ["r1"]);
        assert!(text.chars().all(|c| c == '\n' || !(is_break(c) || is_invisible(c))), "{text:?}");
        assert!(text.lines().all(|line| !line.starts_with("---") && !line.starts_with('#')), "{text}");
        assert_eq!(text.lines().next().unwrap(), "release(production/models/fraud): x Action: retract y");
    }

    #[test]
    fn the_service_names_itself_as_nobody_else_can_be_named() {
        let said = |asker: Asker| {
            let text = Message { requested_by: asker, ..message() }.to_text();
            value(&parse_trailers(&text), "Requested-By")[0].to_owned()
        };
        let itself = said(Asker::Itself("by itself".to_owned()));
        assert_eq!((itself.as_str(), Asker::somebody_in(&itself)), ("kmlflow (by itself)", None));
        for name in ["kmlflow (by itself)", " km\u{200b}lflow  (by itself)", "Kmlflow (x)"] {
            let somebody = said(Asker::Somebody(name.to_owned()));
            assert!(
                Asker::somebody_in(&somebody).is_some_and(|name| name.starts_with("somebody called ")),
                "{somebody}"
            );
        }
        assert_eq!(said(Asker::Somebody("kmlflow".to_owned())), "kmlflow");
    }

    #[test]
    fn a_long_subject_is_cut_and_a_long_body_wrapped() {
        let mut long = message();
        long.subject_what = "ä".repeat(80);
        long.body = "word ".repeat(100);
        let text = long.to_text();
        assert_eq!(
            text.lines().next().unwrap().chars().count(),
            "release(production/models/fraud): ".len() + SUBJECT_WHAT_CHARS_MAX
        );
        assert!(text.lines().skip(1).all(|line| line.chars().count() <= BODY_WIDTH));
    }

    #[test]
    fn trailers_are_read_from_the_last_paragraph_alone() {
        assert!(parse_trailers("Action: step").is_empty());
        assert!(parse_trailers("x\n\nAction: step\n\nwords").is_empty());
        assert!(parse_trailers("x\n\nAction: step\nwords").is_empty());
        assert_eq!(parse_trailers("x\n\nA: 1\n\nB: 2\n  more\n"), [("B".to_owned(), "2 more".to_owned())]);
    }
}
