//! YAML of a stranger as JSON values: no more nodes than a bound, however often aliases repeat them.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// The most values, keys included, of a document: an `MLmodel` file has about forty, and a signature is one text in it. The library's
/// own bound on aliases still allows some thousand million.
const NODES_MAX: usize = 20_000;

/// The most bytes of all texts together: twice the longest file, because an alias repeats a text as well.
const TEXT_BYTES_MAX: usize = 2 * 1024 * 1024;

/// The most brackets of either kind that are open at once, and the most spaces before a line. The library reads no more than 128 levels,
/// but looks at every open one again with each token before it says so: 1 MiB of brackets would take minutes.
const OPEN_MAX: usize = 128;
const INDENT_MAX: usize = 256;

/// Reads one document.
pub(super) fn parse_yaml(bytes: &[u8]) -> Result<Value, serde_yaml::Error> {
    if is_too_deep(bytes) {
        return Err(serde_yaml::Error::custom("it is nested too deeply"));
    }
    let left = Left { nodes: Cell::new(NODES_MAX), text_bytes: Cell::new(TEXT_BYTES_MAX) };
    Node(&left).deserialize(serde_yaml::Deserializer::from_slice(bytes))
}

/// Whether brackets or indentation nest deeper than the library reads. Brackets in texts count as well: those of JSON are closed again.
fn is_too_deep(bytes: &[u8]) -> bool {
    let mut open = 0_usize;
    let mut is_deep = |byte: &u8| {
        match byte {
            b'[' | b'{' => open += 1,
            b']' | b'}' => open = open.saturating_sub(1),
            _ => {}
        }
        open > OPEN_MAX
    };
    let indent = |line: &[u8]| line.iter().take_while(|byte| **byte == b' ').count();
    bytes.iter().any(&mut is_deep) || bytes.split(|byte| *byte == b'\n').any(|line| indent(line) > INDENT_MAX)
}

/// What there may still be.
struct Left {
    nodes: Cell<usize>,
    text_bytes: Cell<usize>,
}

/// One value.
#[derive(Clone, Copy)]
struct Node<'a>(&'a Left);

fn take<E: Error>(left: &Cell<usize>, count: usize) -> Result<(), E> {
    let rest = left.get().checked_sub(count).ok_or_else(|| E::custom("it has too many values"))?;
    left.set(rest);
    Ok(())
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        take(&self.0.nodes, 1)?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value without a tag")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
        Ok(Value::Bool(flag))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Number(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Number(number.into()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(Number::from_f64(number).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        take(&self.0.text_bytes, text.len())?;
        Ok(Value::String(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = items.next_element_seed(self)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut values = Map::new();
        while let Some(key) = entries.next_key_seed(self)? {
            let value = entries.next_value_seed(self)?;
            // A key that is no text is none that is asked for.
            if let Value::String(key) = key {
                values.insert(key, value);
            }
        }
        Ok(Value::Object(values))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ordinary_documents_are_read_as_they_are() {
        let read = parse_yaml(b"a: [1, -2, 1.5, true, null, 'x']\n7: dropped\nb: {c: d}").unwrap();
        assert_eq!(read, json!({"a": [1, -2, 1.5, true, null, "x"], "b": {"c": "d"}}));
    }

    #[test]
    fn repeated_aliases_end_at_the_bound() {
        let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for n in 1..12 {
            laughs += &format!("a{n}: &a{n} [{}]\n", vec![format!("*a{}", n - 1); 10].join(", "));
        }
        let error = parse_yaml(laughs.as_bytes()).unwrap_err().to_string();
        assert!(error.contains("too many values") || error.contains("repetition"), "{error}");
        let long = format!("a: &a {}\nb: [{}]", "x".repeat(500_000), "*a, ".repeat(5_000));
        assert!(parse_yaml(long.as_bytes()).unwrap_err().to_string().contains("too many values"));
    }

    #[test]
    fn depth_is_refused_before_it_costs_anything() {
        let mib = 1024 * 1024;
        let deep: String = (0..2_000).map(|level| format!("{}a:\n", " ".repeat(level))).collect();
        for hostile in ["[".repeat(mib), "{a: ".repeat(mib / 4), deep] {
            assert_eq!(parse_yaml(hostile.as_bytes()).unwrap_err().to_string(), "it is nested too deeply");
        }
        let flat = format!("a: [{}]", "[], {}, ".repeat(1_000));
        assert!(parse_yaml(flat.as_bytes()).is_ok());
    }

    #[test]
    fn depth_tags_and_bytes_are_refused() {
        for hostile in ["[".repeat(5_000), "a: !own [x]".into(), "a: \u{0}".into(), "{".into()] {
            assert!(parse_yaml(hostile.as_bytes()).is_err(), "{}", &hostile[..20.min(hostile.len())]);
        }
        assert!(parse_yaml(b"a: \xff\xfe").is_err());
    }
}
