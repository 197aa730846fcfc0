//! What the description says of many operations alike, and no attribute of one of them says.

use serde_json::{Map, Value, json};

/// The form in which every problem travels (RFC 9457).
const PROBLEM_TYPE: &str = "application/problem+json";

/// Where the one answer that shows a token's clear text is made: it is kept nowhere, so no key repeats it.
const TOKENS: &str = "/api/v1/tokens";

/// Completes the description that the routes make of themselves.
pub(super) fn complete(mut document: Value) -> Value {
    merge_flattened(&mut document);
    let paths = document["paths"].as_object_mut().into_iter().flatten();
    for (path, item) in paths {
        for (method, operation) in item.as_object_mut().into_iter().flatten() {
            complete_operation(path, method, operation);
        }
    }
    document
}

fn complete_operation(path: &str, method: &str, operation: &mut Value) {
    let is_change = operation["tags"][0] == "changes";
    let mut headers = Vec::new();
    if method != "get" && path.starts_with("/api/v1/") && path != TOKENS {
        headers.push(("Idempotency-Key", "Carries the same request out once; its answer is kept 24 hours"));
    }
    if is_change {
        headers.push(("If-Match", "Only if the release is the one with this `ETag`"));
        headers.push(("If-None-Match", "`*`: only if the release is not there"));
    }
    if path.ends_with("/{name}") && method == "get" {
        headers.push(("If-None-Match", "Answers 304 if the release still has this `ETag`"));
    }
    let headers = headers.into_iter().map(|(name, says)| {
        json!({"name": name, "in": "header", "required": false, "description": says, "schema": {"type": "string"}})
    });
    let headers: Vec<Value> = headers.collect();
    if !headers.is_empty() {
        match operation.get_mut("parameters").and_then(Value::as_array_mut) {
            Some(parameters) => parameters.extend(headers),
            None => operation["parameters"] = headers.into(),
        }
    }
    let Some(responses) = operation.get_mut("responses").and_then(Value::as_object_mut) else { return };
    if let Some(refused) = responses.get("4XX").cloned() {
        responses.entry("5XX").or_insert(refused);
    }
    for (status, response) in responses {
        complete_response(status, response);
        let has_tag = is_change || (path.ends_with("/{name}") && method == "get");
        match status.as_str() {
            "200" | "201" | "304" if has_tag => {
                response["headers"]["ETag"] = header("The tree of the release's directory; absent where there is none");
            }
            "202" if is_change => {
                response["headers"]["Location"] = header("The delivery that carries it out later");
            }
            _ => {}
        }
    }
}

fn header(says: &str) -> Value {
    json!({"description": says, "schema": {"type": "string"}})
}

fn complete_response(status: &str, response: &mut Value) {
    if response.get("description").and_then(Value::as_str).is_none_or(str::is_empty) {
        response["description"] = match status {
            "201" => "Created",
            "202" => "Durable, and done later",
            "304" => "Not changed since",
            "4XX" => "Refused: what is wrong and what helps",
            "503" | "5XX" => "Not at the moment, or a fault of the service",
            _ => "Done",
        }
        .into();
    }
    let Some(content) = response.get_mut("content").and_then(Value::as_object_mut) else { return };
    let is_problem = |body: &Value| body["schema"]["$ref"] == "#/components/schemas/Problem";
    if let Some(problem) = content.get("application/json").filter(|body| is_problem(body)).cloned() {
        *content = Map::from_iter([(PROBLEM_TYPE.to_owned(), problem)]);
    }
}

/// Makes one schema of each that is a flattened one and more, wherever it stands. A part that lets no other field in would refuse those
/// of the rest; the whole lets others in.
fn merge_flattened(document: &mut Value) {
    let known = document["components"]["schemas"].clone();
    merge_within(document, &known);
}

fn merge_within(value: &mut Value, known: &Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| merge_within(item, known)),
        Value::Object(fields) => {
            fields.values_mut().for_each(|field| merge_within(field, known));
            let Some(parts) = fields.get("allOf").and_then(Value::as_array) else { return };
            let parts: Vec<Value> = parts.iter().map(|part| resolve(known, part)).collect();
            let description = fields.get("description").cloned();
            *value = merged(&parts, description);
        }
        _ => {}
    }
}

fn resolve(known: &Value, part: &Value) -> Value {
    let name = part["$ref"].as_str().and_then(|reference| reference.strip_prefix("#/components/schemas/"));
    name.map_or_else(|| part.clone(), |name| known[name].clone())
}

fn merged(parts: &[Value], description: Option<Value>) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for part in parts {
        properties.extend(part["properties"].as_object().into_iter().flatten().map(|(k, v)| (k.clone(), v.clone())));
        required.extend(part["required"].as_array().into_iter().flatten().cloned());
    }
    let mut whole = json!({"type": "object", "required": required, "properties": properties});
    if let Some(description) = description {
        whole["description"] = description;
    }
    whole
}
