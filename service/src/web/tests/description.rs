//! The description of the API is what is served.

use axum::body::Body;
use axum::http::Request;
use serde_json::Value;

use super::Service;

fn operations(document: &Value) -> Vec<(String, String)> {
    let paths = document["paths"].as_object().unwrap();
    let of_path = |(path, methods): (&String, &Value)| {
        let methods: Vec<String> = methods.as_object().unwrap().keys().cloned().collect();
        methods.into_iter().map(|method| (method.to_uppercase(), path.clone())).collect::<Vec<_>>()
    };
    paths.iter().flat_map(of_path).collect()
}

#[tokio::test]
async fn every_operation_that_is_described_is_served() {
    let service = Service::start().await;
    let document = service.send(Request::get("/api/openapi.json").body(Body::empty()).unwrap()).await.json();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let operations = operations(&document);
    assert!(operations.len() > 25, "{operations:?}");
    for (method, path) in operations {
        let path =
            path.replace("{environment}", "production").replace("{namespace}", "models").replace("{name}", "nobody");
        let path = path.replace("{id}", "nobody").replace("{source}", "mlflow");
        let reply = service.ask_as("nobody", &method, &path, None).await;
        assert_eq!(reply.status.as_u16(), 401, "{method} {path}");
    }
}

#[test]
fn every_reference_leads_somewhere_and_every_operation_has_a_name_of_its_own() {
    let document = serde_json::to_value(super::super::document()).unwrap();
    let mut references = Vec::new();
    collect(&document, &mut references);
    assert!(!references.is_empty());
    for reference in references {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
    let names: Vec<String> = operations(&document)
        .iter()
        .map(|(method, path)| {
            let operation = &document["paths"][path][method.to_lowercase()];
            assert!(operation["summary"].is_string(), "{method} {path}");
            format!("{} {}", operation["tags"][0], operation["operationId"])
        })
        .collect();
    let mut unique = names.clone();
    unique.sort();
    unique.dedup();
    assert_eq!(unique.len(), names.len(), "{names:?}");
}

#[tokio::test]
async fn the_pages_of_the_description_are_served_without_anything_from_elsewhere() {
    let service = Service::start().await;
    let page = service.send(Request::get("/api/docs/").body(Body::empty()).unwrap()).await;
    assert_eq!(page.status.as_u16(), 200);
    assert!(page.headers["content-security-policy"].to_str().unwrap().contains("default-src 'none'"));
    assert!(!page.text.contains("https://"), "{}", page.text);
}

fn collect(value: &Value, references: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value.as_str() {
                    Some(reference) if name == "$ref" => references.push(reference.to_owned()),
                    _ => collect(value, references),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, references)),
        _ => {}
    }
}
