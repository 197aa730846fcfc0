//! Every metric that an alert or a panel of the platform asks for has somebody who is asked for it.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use crate::manifests::{documents, files, is_yaml, none, platform};

/// Who brings a metric to Prometheus.
enum Source {
    /// A monitor of ours: its file, kind and name.
    Ours(&'static str, &'static str, &'static str),
    /// A chart makes the monitor as long as its values leave this as it is: the part, the path in its values, and what stands there.
    Chart(&'static str, &'static str, Value),
    /// Prometheus makes it itself.
    Itself,
}

use Source::{Chart, Itself, Ours};

/// By the first letters of a metric. What the charts do unasked was seen in what Helm makes of them.
fn sources() -> Vec<(&'static str, Source)> {
    vec![
        ("argocd_", Ours("monitoring/monitors.yaml", "ServiceMonitor", "argo-cd")),
        ("controller_runtime_", Ours("monitoring/monitors.yaml", "PodMonitor", "seldon-operator")),
        ("envoy_", Ours("gateway/gateway.yaml", "PodMonitor", "envoy")),
        ("kmlflow_", Ours("kmlflow/monitoring.yaml", "PodMonitor", "kmlflow")),
        ("DCGM_", Chart("gpu-exporter", "/serviceMonitor/enabled", Value::Bool(true))),
        ("container_", Chart("prometheus", "/kubelet/enabled", Value::Null)),
        ("kubelet_", Chart("prometheus", "/kubelet/enabled", Value::Null)),
        ("kube_", Chart("prometheus", "/kubeStateMetrics/enabled", Value::Null)),
        ("prometheus_", Chart("prometheus", "/prometheus/serviceMonitor/selfMonitor", Value::Null)),
        ("up", Itself),
        ("ALERTS", Itself),
    ]
}

/// The names of metrics in an expression: words that are neither called nor a label nor a word of the language.
fn metrics(expression: &str) -> Vec<String> {
    let is_of_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let (mut found, mut rest, mut in_labels) = (Vec::new(), expression, false);
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '{' => rest.find('}').unwrap() + 1,
            '[' => rest.find(']').unwrap() + 1,
            '"' => rest[1..].find('"').unwrap() + 2,
            _ if is_of_word(first) => rest.find(|c| !is_of_word(c)).unwrap_or(rest.len()),
            _ => first.len_utf8(),
        };
        let (word, after) = rest.split_at(length);
        let is_called = ["(", "by ", "without "].iter().any(|next| after.trim_start().starts_with(next));
        match word {
            ")" => in_labels = false,
            "by" | "without" | "on" | "ignoring" | "group_left" | "group_right" => in_labels = true,
            "and" | "or" | "unless" | "bool" | "offset" => {}
            _ if in_labels || is_called || !first.is_ascii_alphabetic() => {}
            _ => found.push(word.to_owned()),
        }
        rest = after;
    }
    found
}

#[test]
fn names_of_metrics_are_told_from_functions_labels_and_words() {
    let expression = r#"sum by (a, b) (rate(x_total{le="y_total"}[5m])) / on (c) group_left () z{d!~"e|f"} > 0.05 or 0 * up unless absent(kube_x == 1)"#;
    assert_eq!(metrics(expression), ["x_total", "z", "up", "kube_x"]);
}

/// Every expression below a value.
fn expressions(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            into.extend(map.get("expr").and_then(Value::as_str).map(str::to_owned));
            map.values().for_each(|inner| expressions(inner, into));
        }
        Value::Array(all) => all.iter().for_each(|inner| expressions(inner, into)),
        _ => {}
    }
}

/// What alerts and panels of the platform ask for.
fn asked() -> BTreeSet<String> {
    let mut found = Vec::new();
    for file in files(&platform()) {
        if is_yaml(&file) {
            let rules = documents(&file).into_iter().filter(|object| object["kind"] == "PrometheusRule");
            rules.for_each(|rules| expressions(&rules, &mut found));
        } else if file.ends_with("dashboard.json") {
            expressions(&serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap(), &mut found);
        }
    }
    found.iter().flat_map(|expression| metrics(expression)).collect()
}

/// Why nobody is asked for what a source should bring.
fn fault(source: &Source) -> Option<String> {
    match source {
        Ours(file, kind, name) => {
            let folder = file.split('/').next().unwrap();
            let takes_in = fs::read_to_string(platform().join(folder).join("kustomization.yaml")).unwrap();
            let is_applied = takes_in.contains(file.split('/').next_back().unwrap());
            let is_there = documents(&platform().join(file))
                .iter()
                .any(|one| one["kind"] == *kind && one["metadata"]["name"] == *name);
            (!is_there || !is_applied).then(|| format!("{file} has no {kind} {name}"))
        }
        Chart(part, path, expected) => {
            let values = documents(&platform().join(part).join("values.yaml")).remove(0);
            let found = values.pointer(path).cloned().unwrap_or_default();
            (found != *expected).then(|| format!("{part}: {path} is {found}"))
        }
        Itself => None,
    }
}

#[test]
fn somebody_is_asked_for_every_metric_that_an_alert_or_a_panel_names() {
    let (sources, asked) = (sources(), asked());
    let mut faults = Vec::new();
    for metric in &asked {
        match sources.iter().find(|(letters, _)| metric.starts_with(letters)) {
            Some((_, source)) => faults.extend(fault(source).map(|fault| format!("{metric}: {fault}"))),
            None => faults.push(format!("{metric}: nobody is known to bring it")),
        }
    }
    none("never there", &faults);
    assert!(asked.len() > 30, "{asked:?}");
    let is_needed = |letters: &str| asked.iter().any(|metric| metric.starts_with(letters));
    none(
        "asked of nobody",
        &sources
            .iter()
            .map(|(letters, _)| (*letters).to_owned())
            .filter(|letters| !is_needed(letters))
            .collect::<Vec<_>>(),
    );
}
