//! Conditions of a search, in MLflow's own language, which quotes but cannot escape.
//!
//! A value stands between single or double quotes and is taken as it is (`mlflow/utils/search_utils.py`, tried with 3.17.2). What has
//! both is looked for with a pattern in which `_` stands for any character, so whoever searches compares the name again.

use crate::names::ModelName;

/// The condition that a version is of a model; it may let others through where the name cannot be quoted.
pub(super) fn is_of(model: &ModelName) -> String {
    let name = model.as_str();
    match (name.contains('\''), name.contains('"'), name.contains('\\')) {
        // A backslash before the end would be read as an escape by the parser, and means another thing to each database.
        (_, _, true) | (true, true, _) => format!("name LIKE '{}'", pattern(name)),
        (true, false, false) => format!("name = \"{name}\""),
        (false, _, false) => format!("name = '{name}'"),
    }
}

/// The condition that a version bears a tag, whatever its value; none where no tag of MLflow can have the key.
pub(super) fn bears(key: &str) -> Option<String> {
    is_tag_key(key).then(|| format!("tags.`{key}` LIKE '%'"))
}

/// The condition that a model's name contains a text, in upper or lower case. `%` and `_` stand for any characters.
pub(super) fn contains(text: &str) -> String {
    format!("name ILIKE '%{}%'", pattern(text))
}

/// Both conditions.
pub(super) fn and(one: Option<String>, other: String) -> String {
    one.map_or_else(|| other.clone(), |one| format!("{one} AND {other}"))
}

/// A text with any character in the place of those that cannot be quoted.
fn pattern(text: &str) -> String {
    text.replace(['\'', '"', '\\'], "_")
}

/// The characters that MLflow takes in a key: letters, digits and `_ / . - :` and space (`mlflow/utils/validation.py`).
fn is_tag_key(key: &str) -> bool {
    !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || "_/.- :".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_quoted_by_what_it_does_not_contain() {
        let of = |name: &str| is_of(&ModelName::parse(name).unwrap());
        for (name, expected) in [
            ("fraud", "name = 'fraud'"),
            ("Größe 模型 v1.0 (x)", "name = 'Größe 模型 v1.0 (x)'"),
            ("50% off", "name = '50% off'"),
            ("back`tick", "name = 'back`tick'"),
            ("say \"hi\"", "name = 'say \"hi\"'"),
            ("O'Brien", "name = \"O'Brien\""),
            ("x' OR name LIKE '%", "name = \"x' OR name LIKE '%\""),
            ("both ' and \"", "name LIKE 'both _ and _'"),
            ("ends in \\", "name LIKE 'ends in _'"),
        ] {
            assert_eq!(of(name), expected);
        }
    }

    #[test]
    fn a_key_that_no_tag_can_have_is_not_looked_for() {
        for (key, expected) in [
            ("kmlflow.release", Some("tags.`kmlflow.release` LIKE '%'")),
            ("odd /:.-ключ k", Some("tags.`odd /:.-ключ k` LIKE '%'")),
            ("a`b", None),
            ("a'b", None),
            ("a\"b", None),
            ("a\\b", None),
            ("", None),
        ] {
            assert_eq!(bears(key).as_deref(), expected, "{key}");
        }
    }

    #[test]
    fn a_search_of_people_cannot_leave_its_quotes() {
        assert_eq!(contains("O'B\"x\\"), "name ILIKE '%O_B_x_%'");
        assert_eq!(and(Some("a".to_owned()), "b".to_owned()), "a AND b");
        assert_eq!(and(None, "b".to_owned()), "b");
    }
}
