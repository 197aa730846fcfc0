//! What a model takes: the `inputs` of its signature, which are JSON in a text of the `MLmodel` file
//! (<https://mlflow.org/docs/latest/ml/model/signatures/>).

use std::fmt;

use serde_json::Value;

/// The most inputs of a signature. MLflow has no bound; the widest tables that are served have some thousand columns.
const INPUTS_MAX: usize = 20_000;

/// The longest text of a type that is shown; nested types can be long.
const TYPE_CHARS_MAX: usize = 80;

/// The most lengths of a shape that are shown.
const SHAPE_MAX: usize = 8;

/// A model's signature, as far as its callers depend on it.
#[derive(Debug, Clone, PartialEq)]
pub struct Signature {
    /// What it takes; none where only its answers are described.
    pub inputs: Option<Inputs>,
}

/// What a model takes.
#[derive(Debug, Clone, PartialEq)]
pub enum Inputs {
    Columns(Vec<Column>),
    Tensors(Vec<Tensor>),
}

/// A column of a table.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// None where columns go by their position.
    pub name: Option<String>,
    /// Its type without name and `required`: a text (`double`) or, nested, an object.
    pub kind: Value,
    pub required: bool,
}

/// A tensor.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    pub name: Option<String>,
    pub dtype: String,
    /// -1 is any length.
    pub shape: Vec<i64>,
}

impl Signature {
    /// Reads the `signature` of an `MLmodel` file; none where there is none.
    ///
    /// # Errors
    /// What is wrong with it, as the end of a sentence about the file.
    pub(super) fn parse(written: Option<&Value>) -> Result<Option<Self>, String> {
        let Some(written) = written.filter(|value| !value.is_null()) else { return Ok(None) };
        let Value::Object(parts) = written else {
            return Err("has a `signature` that is no mapping".to_owned());
        };
        let inputs = match parts.get("inputs") {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => {
                let value: Value = serde_json::from_str(text)
                    .map_err(|_| "has a `signature` whose `inputs` are not JSON".to_owned())?;
                Inputs::parse(&value)?
            }
            Some(value) => Inputs::parse(value)?,
        };
        Ok(Some(Self { inputs }))
    }
}

impl Inputs {
    fn parse(value: &Value) -> Result<Option<Self>, String> {
        let Value::Array(items) = value else {
            return if value.is_null() {
                Ok(None)
            } else {
                Err("has a `signature` whose `inputs` are no list".to_owned())
            };
        };
        if items.len() > INPUTS_MAX {
            return Err("has a `signature` of more than 20,000 inputs".to_owned());
        }
        let tensors = items.iter().filter(|item| is_tensor(item)).count();
        let unreadable = |n: usize| format!("has a `signature` whose input {} cannot be read", n + 1);
        let each = items.iter().enumerate();
        match tensors {
            0 => {
                let columns: Result<_, String> =
                    each.map(|(n, item)| Column::parse(item).ok_or_else(|| unreadable(n))).collect();
                columns.map(|columns| Some(Self::Columns(columns)))
            }
            all if all == items.len() => {
                let tensors: Result<_, String> =
                    each.map(|(n, item)| Tensor::parse(item).ok_or_else(|| unreadable(n))).collect();
                tensors.map(|tensors| Some(Self::Tensors(tensors)))
            }
            _ => Err("has a `signature` that mixes columns with tensors".to_owned()),
        }
    }
}

impl Column {
    fn parse(item: &Value) -> Option<Self> {
        let mut rest = item.as_object()?.clone();
        let name = rest.remove("name").and_then(|name| scalar(&name));
        // MLflow before 2.8 wrote `optional: true` for `required: false`.
        let optional = rest.remove("optional").and_then(|flag| flag.as_bool()).unwrap_or(false);
        let required = rest.remove("required").and_then(|flag| flag.as_bool()).unwrap_or(!optional);
        rest.get("type")?.as_str()?;
        let kind = if rest.len() == 1 { rest.remove("type")? } else { Value::Object(rest) };
        Some(Self { name, kind, required })
    }
}

impl Tensor {
    fn parse(item: &Value) -> Option<Self> {
        let spec = item.get("tensor-spec")?;
        let shape = spec.get("shape")?.as_array()?.iter().map(Value::as_i64).collect::<Option<_>>()?;
        Some(Self { name: item.get("name").and_then(scalar), dtype: spec.get("dtype")?.as_str()?.to_owned(), shape })
    }
}

fn is_tensor(item: &Value) -> bool {
    item.get("type").and_then(Value::as_str) == Some("tensor")
}

/// A name: a text, or the number that a table without names has.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Its type as people write it: `double`, or the JSON of a nested one.
impl fmt::Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let required = if self.required { "required" } else { "optional" };
        match self.kind.as_str() {
            Some(plain) => write!(f, "{} ({required})", crate::names::shown(plain)),
            None => {
                let nested = self.kind.to_string();
                let readable = |c: char| if crate::names::is_invisible(c) { '\u{fffd}' } else { c };
                let short: String = nested.chars().take(TYPE_CHARS_MAX).map(readable).collect();
                let more = if nested.chars().nth(TYPE_CHARS_MAX).is_some() { "…" } else { "" };
                write!(f, "{short}{more} ({required})")
            }
        }
    }
}

impl fmt::Display for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lengths: Vec<String> = self.shape.iter().take(SHAPE_MAX).map(i64::to_string).collect();
        let more = if self.shape.len() > SHAPE_MAX { ", …" } else { "" };
        write!(f, "tensor of {} [{}{more}]", crate::names::shown(&self.dtype), lengths.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(inputs: &Value) -> Result<Option<Signature>, String> {
        Signature::parse(Some(&json!({"inputs": inputs.to_string(), "outputs": null})))
    }

    fn columns(inputs: &Value) -> Vec<String> {
        let Some(Signature { inputs: Some(Inputs::Columns(columns)) }) = read(inputs).unwrap() else {
            panic!("no columns")
        };
        columns.iter().map(|column| format!("{}: {column}", column.name.as_deref().unwrap_or("-"))).collect()
    }

    #[test]
    fn columns_have_a_name_a_type_and_whether_they_are_required() {
        let inputs = json!([
            {"type": "double", "name": "amount", "required": true},
            {"type": "string", "name": "city", "required": false},
            {"type": "long", "name": "old way", "optional": true},
            {"type": "long", "name": "older way"},
            {"type": "array", "items": {"type": "double"}, "name": "history", "required": true},
            {"type": "double", "name": 7},
            {"type": "double"},
        ]);
        assert_eq!(
            columns(&inputs),
            [
                "amount: double (required)",
                "city: string (optional)",
                "old way: long (optional)",
                "older way: long (required)",
                "history: {\"type\":\"array\",\"items\":{\"type\":\"double\"}} (required)",
                "7: double (required)",
                "-: double (required)",
            ]
        );
    }

    #[test]
    fn tensors_have_an_element_type_and_a_shape() {
        let inputs =
            json!([{"name": "image", "type": "tensor", "tensor-spec": {"dtype": "uint8", "shape": [-1, 28, 28]}}]);
        let Some(Signature { inputs: Some(Inputs::Tensors(tensors)) }) = read(&inputs).unwrap() else {
            panic!("no tensors")
        };
        assert_eq!(tensors[0].to_string(), "tensor of uint8 [-1, 28, 28]");
        let long = Tensor { name: None, dtype: "x".repeat(500), shape: vec![1; 100] };
        assert!(long.to_string().chars().count() < 120, "{long}");
    }

    #[test]
    fn no_signature_and_no_inputs_are_no_mistakes() {
        assert_eq!(Signature::parse(None), Ok(None));
        assert_eq!(Signature::parse(Some(&Value::Null)), Ok(None));
        for none in [json!({}), json!({"inputs": null}), json!({"inputs": "null"})] {
            assert_eq!(Signature::parse(Some(&none)), Ok(Some(Signature { inputs: None })), "{none}");
        }
    }

    #[test]
    fn what_cannot_be_read_says_which_input_it_is() {
        let tensor = json!({"type": "tensor", "tensor-spec": {"dtype": "x", "shape": [1]}});
        for (inputs, said) in [
            (json!({"a": 1}), "no list"),
            (json!([{"type": "double"}, 7]), "input 2 cannot be read"),
            (json!([{"name": "a"}]), "input 1"),
            (json!([{"type": {"a": 1}}]), "input 1"),
            (json!([{"type": "tensor"}]), "input 1"),
            (json!([{"type": "tensor", "tensor-spec": {"dtype": "x", "shape": ["a"]}}]), "input 1"),
            (json!([{"type": "double"}, tensor]), "mixes"),
            (json!(vec![json!({"type": "double"}); INPUTS_MAX + 1]), "20,000"),
        ] {
            let fault = read(&inputs).unwrap_err();
            assert!(fault.contains(said), "{fault}");
        }
        for (written, said) in
            [(json!("x"), "no mapping"), (json!({"inputs": "["}), "not JSON"), (json!({"inputs": 7}), "no list")]
        {
            assert!(Signature::parse(Some(&written)).unwrap_err().contains(said), "{written}");
        }
        assert!(Signature::parse(Some(&json!({"inputs": "[".repeat(10_000)}))).is_err());
    }

    #[test]
    fn a_long_or_invisible_type_is_shown_short_and_readable() {
        let kind = json!({"type": "object", "properties": {"a\u{202e}": {"type": "x".repeat(500)}}});
        let shown = Column { name: None, kind, required: true }.to_string();
        assert!(shown.chars().count() < 100 && crate::names::is_plain_text(&shown), "{shown}");
    }
}
