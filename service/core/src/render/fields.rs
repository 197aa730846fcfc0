//! The fields of the SeldonDeployment CRD that renders use: a list kept beside the templates.
//!
//! The real CRD prunes what it does not know without a word, so the list is held against it, and every render against the list.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use serde_yaml::Value;

/// The field paths of the SeldonDeployment CRD that renders use, sorted. `[]` is any item of a list, `*` any key of a map.
pub fn seldon_field_paths() -> &'static [&'static str] {
    static PATHS: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
        let text = include_str!("../../../../templates/seldon/crd-fields.txt");
        text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect()
    });
    &PATHS
}

/// The field paths below `spec` that a rendered SeldonDeployment uses, written as in [`seldon_field_paths`].
pub fn used_field_paths(seldon_deployment: &Value) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    if let Some(spec) = seldon_deployment.get("spec") {
        collect(&mut used, spec, "spec");
    }
    used
}

fn collect(used: &mut BTreeSet<String>, value: &Value, path: &str) {
    match value {
        Value::Mapping(mapping) => {
            let any_key = format!("{path}.*");
            let is_map = seldon_field_paths().contains(&any_key.as_str());
            for (key, value) in mapping {
                let key = key.as_str().unwrap_or("?");
                collect(used, value, &if is_map { any_key.clone() } else { format!("{path}.{key}") });
            }
        }
        Value::Sequence(items) => items.iter().for_each(|item| collect(used, item, &format!("{path}[]"))),
        _ => {
            used.insert(path.to_owned());
        }
    }
}
