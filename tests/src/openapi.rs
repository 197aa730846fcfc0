//! The official description of GitHub's API, and what of a request is not as it says.
//!
//! Stricter than the description's own words in one thing: a field of a body that it does not name is a fault, because nobody would notice
//! a misspelt one that is ignored.

use std::sync::OnceLock;

use serde_json::{Map, Value};

/// Names the file with the description; the tier `github` sets it.
pub const DESCRIPTION: &str = "KMLFLOW_TEST_GITHUB_OPENAPI";

/// A description as OpenAPI 3.0 writes it.
pub struct Description {
    document: Value,
}

/// A request to be held against the description.
#[derive(Debug, Clone)]
pub struct Asked<'r> {
    pub method: &'r str,
    /// With its query, as it was sent.
    pub target: &'r str,
    pub body: &'r [u8],
}

/// What the description has for a request.
pub struct Operation {
    pub id: String,
    /// What stands in the path, in order.
    pub arguments: Vec<String>,
}

impl Description {
    /// The one that the tier has fetched, read once for all tests: it is large.
    ///
    /// # Panics
    /// When the tier did not run, or the file is none.
    pub fn of_github() -> &'static Self {
        static READ: OnceLock<Description> = OnceLock::new();
        READ.get_or_init(|| {
            let path = std::env::var(DESCRIPTION).unwrap_or_else(|_| panic!("`tests/run github` sets `{DESCRIPTION}`"));
            let text = std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
            Self { document: serde_json::from_slice(&text).expect("a description") }
        })
    }

    /// The operation that a request means.
    ///
    /// # Errors
    /// What of the request is not as the description says.
    pub fn check(&self, asked: &Asked<'_>) -> Result<Operation, Vec<String>> {
        let (path, query) = asked.target.split_once('?').unwrap_or((asked.target, ""));
        let Some((template, arguments)) = self.find(path, asked.method) else {
            return Err(vec!["there is no such operation".to_owned()]);
        };
        let item = &self.document["paths"][&template];
        let operation = &item[asked.method.to_lowercase()];
        let mut faults = Vec::new();
        let shared = item["parameters"].as_array().into_iter().flatten();
        let own = operation["parameters"].as_array().into_iter().flatten();
        let parameters: Vec<&Value> = shared.chain(own).map(|parameter| self.resolved(parameter)).collect();
        let names = template.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
        let given: Vec<(&str, String, String)> = names
            .zip(&arguments)
            .map(|(name, value)| ("path", name.to_owned(), value.clone()))
            .chain(pairs(query).into_iter().map(|(name, value)| ("query", name, value)))
            .collect();
        for (place, name, value) in &given {
            match parameters.iter().find(|parameter| parameter["in"] == *place && parameter["name"] == name.as_str()) {
                Some(parameter) => {
                    let value = self.typed(value, &parameter["schema"]);
                    self.compare(&value, &parameter["schema"], &format!("{place} `{name}`"), &mut faults);
                }
                None => faults.push(format!("{place} `{name}` is not described")),
            }
        }
        for parameter in
            parameters.iter().filter(|parameter| parameter["required"] == true && parameter["in"] != "header")
        {
            if given.iter().all(|(place, name, _)| parameter["in"] != *place || parameter["name"] != name.as_str()) {
                faults.push(format!("`{}` is missing", parameter["name"]));
            }
        }
        self.compare_body(asked.body, &operation["requestBody"], &mut faults);
        let id = operation["operationId"].as_str().unwrap_or_default().to_owned();
        if faults.is_empty() { Ok(Operation { id, arguments }) } else { Err(faults) }
    }

    /// The description's own example of an answer.
    ///
    /// # Panics
    /// When it has none of that name.
    pub fn example(&self, name: &str) -> Value {
        let value = self.document["components"]["examples"][name]["value"].clone();
        assert!(!value.is_null(), "the description has no example `{name}`");
        value
    }

    /// What of an answer is not as the description says, which a scripted server must not give either. Fields that it does not name are
    /// no fault here.
    pub fn faults_of_answer(&self, (method, id): (&str, &str), status: u16, body: &Value) -> Vec<String> {
        let operations = self.document["paths"].as_object().into_iter().flatten();
        let operation =
            operations.map(|(_, item)| &item[method.to_lowercase()]).find(|operation| operation["operationId"] == id);
        let Some(operation) = operation else { return vec![format!("there is no `{id}`")] };
        let response = self.resolved(&operation["responses"][status.to_string()]);
        if response.is_null() {
            return vec![format!("`{id}` never answers {status}")];
        }
        let schema = &response["content"]["application/json"]["schema"];
        let mut faults = Vec::new();
        if !schema.is_null() {
            self.compare_loosely(body, schema, "answer", &mut faults);
        }
        faults
    }

    /// The path of the description that fits best, and what stands for its parameters. The name of a reference may have `/` in it.
    fn find(&self, path: &str, method: &str) -> Option<(String, Vec<String>)> {
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        let all = self.document["paths"].as_object()?.iter();
        let fitting = all.filter_map(|(template, item)| {
            let operation = &item[method.to_lowercase()];
            let last = operation.get("parameters")?.as_array()?.last().map(|last| self.resolved(last));
            let arguments = fit(template, &parts, last.is_some_and(|last| last["x-multi-segment"] == true))?;
            Some((arguments.len(), template.clone(), arguments))
        });
        fitting.min_by_key(|(count, ..)| *count).map(|(_, template, arguments)| (template, arguments))
    }

    fn resolved<'d>(&'d self, mut value: &'d Value) -> &'d Value {
        while let Some(reference) = value.get("$ref").and_then(Value::as_str) {
            value = self.document.pointer(reference.trim_start_matches('#')).unwrap_or(&Value::Null);
        }
        value
    }

    /// A text as the schema means it.
    fn typed(&self, text: &str, schema: &Value) -> Value {
        match self.resolved(schema)["type"].as_str() {
            Some("integer") => text.parse::<i64>().map_or_else(|_| text.into(), Value::from),
            Some("boolean") => text.parse::<bool>().map_or_else(|_| text.into(), Value::from),
            _ => text.into(),
        }
    }

    fn compare_body(&self, body: &[u8], described: &Value, faults: &mut Vec<String>) {
        let described = self.resolved(described);
        let schema = &described["content"]["application/json"]["schema"];
        match (body.is_empty(), described.is_null()) {
            (true, true) => {}
            (true, false) if described["required"] == true => faults.push("the body is missing".to_owned()),
            (true, false) => {}
            (false, true) => faults.push("a body is not described".to_owned()),
            (false, false) => match serde_json::from_slice::<Value>(body) {
                Ok(body) => self.compare(&body, schema, "body", faults),
                Err(error) => faults.push(format!("the body is not JSON: {error}")),
            },
        }
    }

    fn compare(&self, value: &Value, schema: &Value, at: &str, faults: &mut Vec<String>) {
        self.compare_as(value, schema, (at, true), faults);
    }

    fn compare_loosely(&self, value: &Value, schema: &Value, at: &str, faults: &mut Vec<String>) {
        self.compare_as(value, schema, (at, false), faults);
    }

    fn compare_as(&self, value: &Value, schema: &Value, (at, is_strict): (&str, bool), faults: &mut Vec<String>) {
        let schema = self.resolved(schema);
        if value.is_null() && (schema["nullable"] == true || schema.get("type").is_none()) {
            return;
        }
        for all in schema["allOf"].as_array().into_iter().flatten() {
            self.compare_as(value, all, (at, false), faults);
        }
        for some in ["oneOf", "anyOf"] {
            let Some(choices) = schema[some].as_array() else { continue };
            let tried = choices.iter().map(|choice| {
                let mut faults = Vec::new();
                self.compare_as(value, choice, (at, is_strict), &mut faults);
                faults
            });
            let best = tried.min_by_key(Vec::len).unwrap_or_default();
            faults.extend(best);
        }
        if let Some(allowed) = schema["enum"].as_array().filter(|allowed| !allowed.contains(value)) {
            faults.push(format!("{at}: {value} is none of {allowed:?}"));
        }
        match (schema["type"].as_str(), value) {
            (Some("object"), Value::Object(fields)) => self.compare_fields(fields, schema, (at, is_strict), faults),
            (Some("array"), Value::Array(items)) => {
                for (number, item) in items.iter().enumerate() {
                    self.compare_as(item, &schema["items"], (&format!("{at}[{number}]"), is_strict), faults);
                }
                let count = u64::try_from(items.len()).unwrap_or_default();
                if schema["minItems"].as_u64().is_some_and(|least| count < least) {
                    faults.push(format!("{at} has too few items"));
                }
            }
            (Some("string"), Value::String(text)) => {
                let length = u64::try_from(text.chars().count()).unwrap_or_default();
                if schema["minLength"].as_u64().is_some_and(|least| length < least)
                    || schema["maxLength"].as_u64().is_some_and(|most| length > most)
                {
                    faults.push(format!("{at}: {text:?} is too short or too long"));
                }
            }
            (Some("integer"), value) if value.is_i64() || value.is_u64() => {}
            (Some("number"), Value::Number(_)) | (Some("boolean"), Value::Bool(_)) | (None, _) => {}
            (Some(kind), value) => faults.push(format!("{at} is no {kind}: {value}")),
        }
    }

    fn compare_fields(
        &self,
        fields: &Map<String, Value>,
        schema: &Value,
        (at, is_strict): (&str, bool),
        faults: &mut Vec<String>,
    ) {
        for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if !fields.contains_key(name) {
                faults.push(format!("{at} has no `{name}`"));
            }
        }
        let Some(known) = schema["properties"].as_object() else { return };
        for (name, value) in fields {
            match known.get(name) {
                Some(schema) => self.compare_as(value, schema, (&format!("{at}.{name}"), is_strict), faults),
                None if is_strict && schema["additionalProperties"].is_null() => {
                    faults.push(format!("{at}: `{name}` is not described"));
                }
                None => {}
            }
        }
    }
}

/// What stands for the parameters of a path, where it fits; the last of them may take the rest.
fn fit(template: &str, parts: &[&str], takes_rest: bool) -> Option<Vec<String>> {
    let pattern: Vec<&str> = template.trim_start_matches('/').split('/').collect();
    if pattern.len() > parts.len() || (pattern.len() < parts.len() && !takes_rest) {
        return None;
    }
    let mut arguments = Vec::new();
    for (number, (pattern_part, part)) in pattern.iter().zip(parts).enumerate() {
        if !pattern_part.starts_with('{') {
            if pattern_part != part {
                return None;
            }
        } else if takes_rest && number + 1 == pattern.len() {
            arguments.push(decoded(&parts[number..].join("/")));
        } else {
            arguments.push(decoded(part));
        }
    }
    Some(arguments)
}

fn pairs(query: &str) -> Vec<(String, String)> {
    let parts = query.split('&').filter(|part| !part.is_empty());
    parts
        .map(|part| part.split_once('=').unwrap_or((part, "")))
        .map(|(name, value)| (decoded(name), decoded(value)))
        .collect()
}

/// What stands in an address, with `%2F` and the like read.
pub fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = tail.get(..2).and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        match (first, hex) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The parameters of a query.
pub fn query_of(target: &str) -> Vec<(String, String)> {
    pairs(target.split_once('?').map_or("", |(_, query)| query))
}
