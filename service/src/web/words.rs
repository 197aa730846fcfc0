//! What a deserialiser finds wrong with a request, as one plain sentence and what cures it.

/// The most characters of a foreign text in a sentence: it repeats what the caller sent.
const TEXT_CHARS_MAX: usize = 400;

/// What is wrong, and what cures it where that is known.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Said {
    /// The offending field with its whole path; empty where it is the whole.
    pub field: String,
    pub sentence: String,
    pub cure: Option<String>,
}

/// Says a deserialiser's text about a field in plain words; `field` is empty where it is about the whole.
pub(super) fn said(field: &str, text: &str) -> Said {
    let text: String = text.chars().filter(|c| !c.is_control()).take(TEXT_CHARS_MAX).collect();
    let about = |field: &str, sentence: String, cure: Option<String>| Said { field: field.to_owned(), sentence, cure };
    let within = |name: &str| if field.is_empty() { name.to_owned() } else { format!("{field}.{name}") };
    let named = if field.is_empty() { "the value".to_owned() } else { format!("`{field}`") };
    if let Some((name, rest)) = named_in(&text, "unknown field `") {
        let known = alternatives(rest);
        let cure = if known.is_empty() { "leave it out".to_owned() } else { format!("use {}", known.join(", ")) };
        let name = if field.ends_with(name) { field } else { name };
        return about(name, format!("there is no field `{name}`"), Some(cure));
    }
    if let Some((given, rest)) = named_in(&text, "unknown variant `") {
        return about(field, format!("{named} must be {}, not `{given}`", either(&alternatives(rest))), None);
    }
    if let Some((name, _)) = named_in(&text, "missing field `") {
        let example = if name == "version" { ", such as \"version\": \"7\"" } else { "" };
        let whole = within(name);
        return about(&whole, format!("`{whole}` is missing"), Some(format!("add `{name}`{example}")));
    }
    if let Some((name, _)) = named_in(&text, "duplicate field `") {
        let is_at_end = field == name || field.ends_with(&format!(".{name}"));
        let whole = if is_at_end { field.to_owned() } else { within(name) };
        return about(&whole, format!("`{whole}` is there twice"), Some("give it once".to_owned()));
    }
    let number = ["invalid digit", "number too", "cannot parse integer"].iter().any(|start| text.starts_with(start));
    if number {
        return about(field, format!("{named} must be a whole number"), None);
    }
    if let Some((given, due)) = mismatch(&text) {
        return about(field, format!("{named} must be {}, not {given}", kind(due)), None);
    }
    let cure = text.starts_with("version `").then(|| "give the number that MLflow shows, such as 7".to_owned());
    // The rule of a name says itself what it is about.
    let says_what = field.rsplit('.').next().is_some_and(|last| text.starts_with(&format!("{last} `")));
    let sentence = if field.is_empty() || says_what { text } else { format!("`{field}`: {text}") };
    about(field, sentence, cure)
}

/// What was given and what is due, where a value is of another sort or out of bounds.
fn mismatch(text: &str) -> Option<(String, &str)> {
    let rest = text.strip_prefix("invalid type: ").or_else(|| text.strip_prefix("invalid value: "))?;
    let (given, due) = rest.rsplit_once(", expected ")?;
    let given = match given.split_once(' ') {
        Some(("string", text)) => format!("the text {text}"),
        Some(_) => given.rsplit(' ').next().unwrap_or_default().to_owned(),
        None => match given {
            "sequence" => "a list".to_owned(),
            "map" => "an object".to_owned(),
            other => format!("`{other}`"),
        },
    };
    Some((given, due))
}

/// What is due, in the words of who writes JSON. Every `u8` of the API is a percentage, and every `u16` a port or a number of pods.
fn kind(due: &str) -> &str {
    match due {
        "u8" => "a whole number from 0 to 100",
        "u16" => "a whole number from 0 to 65535",
        "u32" | "u64" | "usize" => "a whole number, not a negative one",
        "i32" | "i64" | "integer" => "a whole number",
        "a string" | "string" | "str" => "a text",
        "a boolean" => "`true` or `false`",
        "a sequence" => "a list",
        "a map" => "an object",
        due if due.starts_with("struct ") => "an object",
        due if due.starts_with("enum ") || due.contains("enum") => "a word",
        due if due.starts_with("a nonzero") => "a whole number from 1",
        due => due,
    }
}

/// What stands in backticks after a beginning, and the rest.
fn named_in<'t>(text: &'t str, start: &str) -> Option<(&'t str, &'t str)> {
    let rest = text.strip_prefix(start)?;
    // What the caller sent may hold backticks itself.
    rest.split_once("`, ").or_else(|| Some((rest.strip_suffix('`')?, "")))
}

/// The names in backticks.
fn alternatives(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

fn either(names: &[&str]) -> String {
    match names {
        [] => "something else".to_owned(),
        [one] => (*one).to_owned(),
        [others @ .., last] => format!("{} or {last}", others.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mistake_is_one_sentence_without_a_programmers_words() {
        for (field, text, about, sentence, cure) in [
            ("", "unknown field `foo`, expected one of `a`, `b`", "foo", "there is no field `foo`", Some("use a, b")),
            (
                "version",
                "version `0` must be a whole number",
                "version",
                "version `0` must be a whole number",
                Some("give the number that MLflow shows, such as 7"),
            ),
            ("in.foo", "unknown field `foo`, expected `a`", "in.foo", "there is no field `in.foo`", Some("use a")),
            ("in", "missing field `b`", "in.b", "`in.b` is missing", Some("add `b`")),
            ("phase", "unknown variant `x`, expected `a` or `b`", "phase", "`phase` must be a or b, not `x`", None),
            (
                "",
                "missing field `version`",
                "version",
                "`version` is missing",
                Some("add `version`, such as \"version\": \"7\""),
            ),
            ("limit", "invalid digit found in string", "limit", "`limit` must be a whole number", None),
            ("limit", "number too large to fit in target type", "limit", "`limit` must be a whole number", None),
            ("", "duplicate field `q`", "q", "`q` is there twice", Some("give it once")),
            ("a.q", "duplicate field `q`", "a.q", "`a.q` is there twice", Some("give it once")),
            ("name", "release name `A` must be small", "name", "`name`: release name `A` must be small", None),
            (
                "weights",
                "invalid value: integer `-1`, expected u8",
                "weights",
                "`weights` must be a whole number from 0 to 100, not `-1`",
                None,
            ),
            (
                "percent",
                "invalid type: floating point `50.5`, expected u8",
                "percent",
                "`percent` must be a whole number from 0 to 100, not `50.5`",
                None,
            ),
            (
                "all",
                "invalid type: string `x`, expected a boolean",
                "all",
                "`all` must be `true` or `false`, not the text `x`",
                None,
            ),
            ("", "invalid type: sequence, expected a map", "", "the value must be an object, not a list", None),
            ("in", "invalid type: null, expected struct Serving", "in", "`in` must be an object, not `null`", None),
        ] {
            let cure = cure.map(str::to_owned);
            let expected = Said { field: about.to_owned(), sentence: sentence.to_owned(), cure };
            assert_eq!(said(field, text), expected, "{text}");
        }
    }
}
