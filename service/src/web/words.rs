//! What a deserialiser finds wrong with a request, as one plain sentence and what cures it.

/// The most characters of a foreign text in a sentence: it repeats what the caller sent.
const TEXT_CHARS_MAX: usize = 400;

/// What is wrong, and what cures it where that is known.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub sentence: String,
    pub cure: Option<String>,
}

/// Says a deserialiser's text about a field in plain words; `field` is empty where it is about the whole.
pub(super) fn said(field: &str, text: &str) -> Said {
    let text: String = text.chars().filter(|c| !c.is_control()).take(TEXT_CHARS_MAX).collect();
    let named = if field.is_empty() { "the value".to_owned() } else { format!("`{field}`") };
    if let Some((name, rest)) = named_in(&text, "unknown field `") {
        let known = alternatives(rest);
        let cure = if known.is_empty() { "leave it out".to_owned() } else { format!("use {}", known.join(", ")) };
        let name = if field.ends_with(name) { field } else { name };
        return Said { sentence: format!("there is no field `{name}`"), cure: Some(cure) };
    }
    if let Some((given, rest)) = named_in(&text, "unknown variant `") {
        let sentence = format!("{named} must be {}, not `{given}`", either(&alternatives(rest)));
        return Said { sentence, cure: None };
    }
    if let Some((name, _)) = named_in(&text, "missing field `") {
        let example = if name == "version" { ", such as \"version\": \"7\"" } else { "" };
        let whole = if field.is_empty() { name.to_owned() } else { format!("{field}.{name}") };
        return Said { sentence: format!("`{whole}` is missing"), cure: Some(format!("add `{name}`{example}")) };
    }
    if let Some((name, _)) = named_in(&text, "duplicate field `") {
        return Said { sentence: format!("`{name}` is there twice"), cure: Some("give it once".to_owned()) };
    }
    let number = ["invalid digit", "number too", "cannot parse integer"].iter().any(|start| text.starts_with(start));
    if number {
        return Said { sentence: format!("{named} must be a whole number"), cure: None };
    }
    let cure = text.starts_with("version `").then(|| "give the number that MLflow shows, such as 7".to_owned());
    // The rule of a name says itself what it is about.
    let says_what = field.rsplit('.').next().is_some_and(|last| text.starts_with(&format!("{last} `")));
    let sentence = if field.is_empty() || says_what { text } else { format!("`{field}`: {text}") };
    Said { sentence, cure }
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
        for (field, text, sentence, cure) in [
            ("", "unknown field `foo`, expected one of `a`, `b`", "there is no field `foo`", Some("use a, b")),
            (
                "version",
                "version `0` must be a whole number",
                "version `0` must be a whole number",
                Some("give the number that MLflow shows, such as 7"),
            ),
            ("in.foo", "unknown field `foo`, expected `a`", "there is no field `in.foo`", Some("use a")),
            ("in", "missing field `b`", "`in.b` is missing", Some("add `b`")),
            ("phase", "unknown variant `x`, expected one of `a`, `b`, `c`", "`phase` must be a, b or c, not `x`", None),
            ("", "missing field `version`", "`version` is missing", Some("add `version`, such as \"version\": \"7\"")),
            ("limit", "invalid digit found in string", "`limit` must be a whole number", None),
            ("limit", "number too large to fit in target type", "`limit` must be a whole number", None),
            ("", "duplicate field `q`", "`q` is there twice", Some("give it once")),
            ("name", "release name `A` must be small", "`name`: release name `A` must be small", None),
        ] {
            let expected = Said { sentence: sentence.to_owned(), cure: cure.map(str::to_owned) };
            assert_eq!(said(field, text), expected, "{text}");
        }
    }
}
