//! A CRD made of the field paths that renders use, for where the real one is not at hand.
//!
//! It knows these fields and no others, so a misspelt one is refused as the real one would; the types of values it does not know.

use serde_json::{Map, Value, json};

/// The CRD of the SeldonDeployment that has exactly these fields: one path a line, `[]` for any item, `*` for any key, `#` for a comment.
pub fn of_field_paths(text: &str) -> Value {
    let mut spec = anything();
    for path in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let steps: Vec<&str> = path.split('.').skip(1).collect();
        add(&mut spec, &steps);
    }
    let schema = json!({"type": "object", "properties": {"spec": spec, "status": anything()}});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "seldondeployments.machinelearning.seldon.io"},
        "spec": {
            "group": "machinelearning.seldon.io",
            "names": {"kind": "SeldonDeployment", "listKind": "SeldonDeploymentList", "plural": "seldondeployments",
                "singular": "seldondeployment", "shortNames": ["sdep"]},
            "scope": "Namespaced",
            "versions": [{"name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": schema}}],
        },
    })
}

/// A value of any type, whose fields nobody looks at.
fn anything() -> Value {
    json!({"x-kubernetes-preserve-unknown-fields": true})
}

/// Adds what is below a schema by the steps of a path: `predictors[]`, `name`.
fn add(schema: &mut Value, steps: &[&str]) {
    let Some((step, rest)) = steps.split_first() else { return };
    let name = step.trim_end_matches("[]");
    let below = if name == "*" {
        *schema = json!({"type": "object", "additionalProperties": anything()});
        &mut schema["additionalProperties"]
    } else {
        if schema["type"] != "object" {
            *schema = json!({"type": "object", "properties": {}});
        }
        let properties = schema["properties"].as_object_mut();
        properties.expect("an object with properties").entry(name).or_insert_with(anything)
    };
    if step.ends_with("[]") {
        if below["type"] != "array" {
            *below =
                Value::Object(Map::from_iter([("type".to_owned(), "array".into()), ("items".to_owned(), anything())]));
        }
        return add(&mut below["items"], rest);
    }
    add(below, rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(paths: &str) -> Value {
        of_field_paths(paths)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"].clone()
    }

    #[test]
    fn a_path_becomes_objects_lists_and_maps_around_a_value_of_any_type() {
        let found = spec("# A comment.\nspec.predictors[].annotations.*\nspec.predictors[].name\n\nspec.protocol\n");
        let any = json!({"x-kubernetes-preserve-unknown-fields": true});
        let predictor = json!({"type": "object", "properties":
            {"name": any, "annotations": {"type": "object", "additionalProperties": any}}});
        let expected = json!({"type": "object", "properties":
            {"protocol": any, "predictors": {"type": "array", "items": predictor}}});
        assert_eq!(found, expected);
    }

    #[test]
    fn every_listed_field_is_there_and_no_other() {
        let list = include_str!("../../../templates/seldon/crd-fields.txt");
        let paths = list.lines().filter(|line| line.starts_with("spec."));
        let spec = spec(list);
        for path in paths {
            assert!(has(&spec, path), "{path}");
        }
        assert!(!has(&spec, "spec.predictors[].grpah.name"));
    }

    fn has(spec: &Value, path: &str) -> bool {
        let below = path.split('.').skip(1).try_fold(spec, |schema, step| {
            let name = step.trim_end_matches("[]");
            let below = if name == "*" { schema.get("additionalProperties") } else { schema["properties"].get(name) }?;
            if step.ends_with("[]") { below.get("items") } else { Some(below) }
        });
        below.is_some()
    }
}
