//! Text from models and requests ends no scalar, opens no template and breaks no query.

use proptest::prelude::*;

use super::samples::release;
use crate::names::ModelName;
use crate::release::{EnvSource, EnvVar, SecretKeyRef};
use crate::render::{Templates, escape, objects::Object, objects::parse, render};

const NASTY: [&str; 14] = [
    "\" injected: true #",
    "'\n  injected: true",
    "{{ release.name }}",
    "{% for x in y %}",
    "${datasource} [[x]] $1",
    "*anchor &anchor !tag |",
    "\u{85}\u{2028}\u{2029}\u{feff}\u{0}\u{7f}\u{fffe}",
    "yes",
    "1e3",
    "~",
    "---\n...\n",
    "\\\" \\n \\u0041 \\",
    "\u{202e}txt.exe 模型 \u{1f600}",
    "\"}[5m])) or vector(1) #",
];

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::collection::vec(prop::sample::select(NASTY.as_slice()), 1..4).prop_map(|parts| parts.concat()),
        any::<String>(),
        prop::collection::vec(any::<char>(), 0..40).prop_map(|chars| chars.into_iter().collect()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_of_a_request_comes_out_as_it_went_in(value in text(), secret in text()) {
        let mut release = release("ab");
        let source = EnvSource { secret_key_ref: SecretKeyRef { name: "fraud".to_owned(), key: secret.clone() } };
        release.spec.serving.env = Some(vec![
            EnvVar { name: "A".to_owned(), value: Some(value.clone()), value_from: None },
            EnvVar { name: "B".to_owned(), value: None, value_from: Some(source) },
        ]);
        release.spec.target.gateway.name = value.clone();
        release.spec.target.links.release = Some(secret.clone());
        let manifests = render(&release, &Templates::built_in()).unwrap();
        let seldon = parse("seldon.yaml", &manifests.files["seldon.yaml"]).unwrap();
        let Object::Seldon(deployment) = &seldon[0].object else { panic!("no SeldonDeployment") };
        let env = deployment.spec.predictors[0].component_specs[0].spec.containers[0].env.as_ref().unwrap();
        prop_assert_eq!(env[0].value.as_ref(), Some(&value));
        prop_assert_eq!(&env[1].value_from.as_ref().unwrap().secret_key_ref.key, &secret);
        let links = deployment.metadata.annotations.as_ref().unwrap();
        prop_assert_eq!(links.get("link.argocd.argoproj.io/release"), Some(&secret));
    }

    #[test]
    fn any_model_name_leaves_alerts_and_dashboard_whole(name in text()) {
        let Ok(model) = ModelName::parse(&name) else { return Ok(()) };
        let mut release = release("canary");
        release.spec.model = model;
        let files = render(&release, &Templates::built_in()).unwrap().files;
        for parsed in parse("monitoring.yaml", &files["monitoring.yaml"]).unwrap() {
            let Object::Rule(rule) = parsed.object else { continue };
            for alert in &rule.spec.groups[0].rules {
                prop_assert!(!alert.expr.contains(&name) || name.len() < 8, "no query is made of the model's name");
                let text = alert.annotations["description"].replace("{{ \"{{\" }}", "");
                let actions: Vec<&str> = text.split("{{").skip(1).collect();
                prop_assert!(actions.iter().all(|action| action.starts_with(" $")), "{}", text);
            }
        }
        let configs = parse("dashboard.yaml", &files["dashboard.yaml"]).unwrap();
        let Object::ConfigMap(config) = &configs[0].object else { panic!("no ConfigMap") };
        let json = config.data.as_ref().unwrap().values().next().unwrap();
        let dashboard: serde_json::Value = serde_json::from_str(json).unwrap();
        prop_assert!(dashboard["title"].as_str().unwrap().ends_with(&name));
    }

    #[test]
    fn a_promql_literal_is_one_literal(text in text()) {
        let literal = escape::promql(&text);
        prop_assert_eq!(serde_json::from_str::<String>(&literal).unwrap(), text.clone());
        prop_assert!(!literal.contains('\n'));
        let regex = escape::regex_literal(&text);
        prop_assert_eq!(unescaped(&regex), text);
    }
}

/// What a regular expression without operators matches.
fn unescaped(regex: &str) -> String {
    let mut out = String::new();
    let mut chars = regex.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => out.extend(chars.next()),
            '.' | '+' | '*' | '?' | '(' | ')' | '|' | '[' | ']' | '{' | '}' | '^' | '$' => {
                panic!("operator {c} in {regex}")
            }
            c => out.push(c),
        }
    }
    out
}
