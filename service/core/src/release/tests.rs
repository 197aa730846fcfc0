use super::*;
use crate::names::{PredictorName, Version};

const DOCUMENT: &str = r#"
apiVersion: kmlflow.dev/v1
kind: Release
metadata: {name: fraud, namespace: models, environment: production}
spec:
  model: fraud-detector
  strategy: canary
  variants:
    - {role: stable, version: "7", predictor: v7, image: "registry.example/fraud:7"}
    - {role: candidate, version: "8", predictor: v8, modelUri: "s3://models/8", serving: {resources: {requests: {cpu: 200m}}}}
  canary: {steps: [{weight: 5, pause: 10m}, {weight: 25}]}
  serving: {protocol: v2, engine: true, port: 9000, replicas: 1}
  route: {auth: none}
  deadline: 10m
  target:
    cluster: in-cluster
    namespace: models
    gateway: {namespace: gateway, name: models}
    host: fraud-models.k5w.localhost
    previewHost: fraud-models-preview.k5w.localhost
    grpcHost: fraud-models-grpc.k5w.localhost
    monitoring: {mode: operator}
    links: {}
origin: {policy: default, registry: {aliases: {champion: "7"}}}
rollout: {phase: running, step: 0, since: 2026-11-23T10:00:00Z}
rendered: {}
"#;

fn with(from: &str, to: &str) -> String {
    assert!(DOCUMENT.contains(from), "{from}");
    DOCUMENT.replacen(from, to, 1)
}

#[test]
fn a_document_reads_back_as_it_was_written() {
    let release = Release::parse(DOCUMENT).unwrap();
    assert_eq!(release.violations(), vec![]);
    let again = Release::parse(&release.to_yaml()).unwrap();
    assert_eq!(again, release);
    assert_eq!(again.to_yaml(), release.to_yaml());
}

#[test]
fn a_document_with_an_unknown_field_is_refused_wherever_it_is() {
    for (from, to) in [
        ("kind: Release", "kind: Release\nsurprise: 1"),
        ("model: fraud-detector", "model: fraud-detector\n  surprise: 1"),
        ("predictor: v7,", "predictor: v7, surprise: 1,"),
        ("{weight: 25}", "{weight: 25, surprise: 1}"),
        ("phase: running,", "phase: running, surprise: 1,"),
        ("protocol: v2,", "protocol: v2, surprise: 1,"),
        ("cluster: in-cluster", "cluster: in-cluster\n    surprise: 1"),
    ] {
        let error = Release::parse(&with(from, to)).unwrap_err();
        assert!(error.contains("surprise"), "{to}: {error}");
    }
}

#[test]
fn a_document_that_cannot_be_names_the_field() {
    for (from, to, field) in [
        ("weight: 5,", "weight: 0,", "steps"),
        ("{weight: 25}", "{weight: 5}", "steps"),
        ("role: stable", "role: candidate", "spec.variants[0].role"),
        ("predictor: v8", "predictor: v9", "spec.variants[1].predictor"),
        ("predictor: v8", "predictor: v7", "spec.variants[1].predictor"),
        ("canary: {steps", "shadow: {percent: 5}\n  canary: {steps", "spec.shadow"),
        ("port: 9000", "port: 8000", "spec.serving.port"),
        ("resources: {requests", "port: 5001, resources: {requests", "spec.variants[1].serving.port"),
        ("replicas: 1", "replicas: 0", "spec.serving.replicas"),
        ("replicas: 1", "docsPath: /a//b", "spec.serving.docsPath"),
        ("replicas: 1", "docsPath: /a/../b", "spec.serving.docsPath"),
        ("replicas: 1", "env: [{name: A, value: x}, {name: A, value: y}]", "spec.serving.env[1].name"),
        ("replicas: 1", "autoscaling: {min: 1, max: 2, cpu: 50}, resources: {}", "spec.serving.autoscaling"),
        ("deadline: 10m", "deadline: 0s", "spec.deadline"),
        ("host: fraud-models.", "host: Fraud_models.", "spec.target.host"),
        ("cpu: 200m", "cpu: lots", "spec.variants[1].serving.resources.requests"),
        ("image: \"registry.example/fraud:7\"", "image: \"a b\"", "spec.variants[0].image"),
        ("modelUri: \"s3://models/8\"", "modelUri: \"file:///models\"", "spec.variants[1].modelUri"),
    ] {
        let found = Release::parse(&with(from, to)).unwrap().violations();
        assert!(found.iter().any(|violation| violation.field == field), "{to}: {found:?}");
    }
}

#[test]
fn a_quantity_is_what_kubernetes_takes_for_one() {
    let found =
        |quantity: &str| Release::parse(&with("cpu: 200m", &format!("cpu: '{quantity}'"))).unwrap().violations().len();
    for quantity in ["1", "0.5", "100m", "5u", "7n", "2k", "1e3", "1E3", "1e-3", "3E", "1Ei", "512Mi", ".5"] {
        assert_eq!(found(quantity), 0, "{quantity}");
    }
    for quantity in ["", "lots", "1GB", "1 Gi", "-1", "1e", "1.2.3", "Mi", ".", "1mi", "NaN", "inf"] {
        assert_eq!(found(quantity), 1, "{quantity}");
    }
}

#[test]
fn the_render_and_the_request_refuse_the_same_header_match() {
    let request = |rule: &str| {
        let text = format!(r#"{{"model":"m","version":"8","strategy":"ab","match":[{rule}]}}"#);
        serde_json::from_str::<ReleaseRequest>(&text).unwrap().wanted().is_ok()
    };
    let document = |rule: &str| {
        let text = with("strategy: canary", "strategy: ab").replace("role: stable", "role: a");
        let text = text.replace("role: candidate", "role: b");
        let text = text.replace(
            "canary: {steps: [{weight: 5, pause: 10m}, {weight: 25}]}",
            "ab: {weights: {a: 1, b: 99}, match: [RULE]}",
        );
        let release = Release::parse(&text.replace("RULE", rule)).unwrap();
        crate::render::render(&release, &crate::render::Templates::built_in()).is_ok()
    };
    let long = "x".repeat(65);
    for (header, value, ok) in
        [("x-group", "beta", true), ("X-Group", "beta", false), (long.as_str(), "beta", false), ("x", "bêta", false)]
    {
        let rule = format!(r#"{{"header":"{header}","value":"{value}","variant":"b"}}"#);
        assert_eq!((request(&rule), document(&rule)), (ok, ok), "{rule}");
    }
}

#[test]
fn whether_an_image_is_pinned_follows_from_its_name_whatever_is_written() {
    let digest = format!("registry.example/fraud@sha256:{}", "0".repeat(64));
    for (image, unpinned) in [("registry.example/fraud:7", true), (digest.as_str(), false)] {
        for written in ["", ", unpinned: true", ", unpinned: false"] {
            let text = with("\"registry.example/fraud:7\"", &format!("\"{image}\"{written}"));
            let release = Release::parse(&text).unwrap();
            assert_eq!(release.spec.variants[0].artifact, Artifact::of_image(image.to_owned()));
            assert_eq!(release.to_yaml().contains("unpinned: true"), unpinned, "{image}{written}");
        }
    }
}

#[test]
fn a_predictor_that_would_have_too_long_a_name_is_refused_by_the_true_reason() {
    let mut release = Release::parse(DOCUMENT).unwrap();
    let variant = &mut release.spec.variants[0];
    variant.version = Version::parse("9999999999").unwrap();
    variant.predictor = PredictorName::of(&variant.version, 1);
    assert_eq!(release.violations(), vec![]);
    let variant = &mut release.spec.variants[0];
    variant.predictor = PredictorName::of(&variant.version, 2);
    let found = release.violations();
    assert_eq!(found[0].field, "spec.variants[0].predictor");
    assert!(found[0].detail.contains("12 characters"), "{found:?}");
}

#[test]
fn a_whole_document_and_a_request_for_it_are_held_against_the_same_rules() {
    for (from, to) in [
        ("weight: 5,", "weight: 0,"),
        ("role: stable", "role: candidate"),
        ("role: stable", "role: leaving"),
        ("deadline: 10m", "deadline: 0s"),
        ("cpu: 200m", "cpu: lots"),
    ] {
        let release = Release::parse(&with(from, to)).unwrap();
        let (document, asked) = (release.violations(), release.spec.wanted());
        let asked = asked.err().map(|refusal| refusal.violations).unwrap_or_default();
        assert!(asked.iter().all(|violation| document.contains(violation)), "{to}: {asked:?} {document:?}");
        assert_eq!(asked.is_empty(), document.is_empty(), "{to}");
    }
}

fn refused(request: &str) -> Vec<String> {
    let request: ReleaseRequest = serde_json::from_str(request).unwrap();
    request.wanted().unwrap_err().violations.into_iter().map(|violation| violation.field).collect()
}

#[test]
fn a_request_that_cannot_be_names_every_field() {
    let check = |rest: &str, fields: &[&str]| {
        assert_eq!(refused(&format!(r#"{{"model":"m","version":"8",{rest}}}"#)), fields, "{rest}")
    };
    check(r#""strategy":"canary","steps":[0,5]"#, &["steps"]);
    check(r#""strategy":"canary","steps":[5,100]"#, &["steps"]);
    check(r#""strategy":"canary","steps":[25,5]"#, &["steps"]);
    check(r#""strategy":"canary","steps":[]"#, &["steps"]);
    check(r#""strategy":"single","steps":[5]"#, &["steps"]);
    check(r#""strategy":"ab","weights":{"a":0,"b":100}"#, &["weights"]);
    check(r#""strategy":"ab","weights":{"a":50,"b":51}"#, &["weights"]);
    check(r#""strategy":"ab","weights":{"a":50,"c":50}"#, &["weights"]);
    check(r#""strategy":"ab","match":[{"header":"X Y","value":"b","variant":"b"}]"#, &["match[0].header"]);
    check(
        r#""strategy":"ab","match":[{"header":"x","value":"b\n","variant":"c"}]"#,
        &["match[0].value", "match[0].variant"],
    );
    check(r#""strategy":"shadow","percent":0"#, &["percent"]);
    check(r#""strategy":"shadow","percent":101"#, &["percent"]);
    check(r#""image":"a","modelUri":"s3://b/c""#, &["modelUri"]);
    check(r#""image":"{{ x }}""#, &["image"]);
    check(r#""modelUri":"models:/m/../8""#, &["modelUri"]);
    check(r#""modelUri":"s3://key:secret@b/c""#, &["modelUri"]);
    check(r#""serving":{"env":[{"name":"API_TOKEN","value":"x"}]}"#, &["serving.env[0].value"]);
    check(r#""serving":{"env":[{"name":"MLSERVER_HTTP_PORT","value":"x"}]}"#, &["serving.env[0].name"]);
    check(r#""image":"u:hunter2@reg/x:1""#, &["image"]);
    check(r#""serving":{"resources":{"requests":{"cpu":"2"},"limits":{"cpu":"1"}}}"#, &["serving.resources.requests"]);
    check(r#""serving":{"env":[{"name":"DATABASE_URL","value":"postgres://u:p@db/x"}]}"#, &["serving.env[0].value"]);
}

#[test]
fn a_request_with_a_wrong_shape_is_not_read() {
    for wrong in [
        r#"{"model":"m","version":"0"}"#,
        r#"{"model":"m","version":0}"#,
        r#"{"model":"m","version":8.5}"#,
        r#"{"model":"m","version":-1}"#,
        r#"{"model":"../m","version":"8"}"#,
        r#"{"model":"m\n","version":"8"}"#,
        r#"{"model":"m","version":"8","surprise":1}"#,
        r#"{"model":"m","version":"8","strategy":"yolo"}"#,
        r#"{"model":"m","version":"8","strategy":"canary","steps":[101000]}"#,
        r#"{"model":"m","version":"8","strategy":"ab","weights":{"a":"NaN","b":1}}"#,
        r#"{"model":"m","version":"8","strategy":"ab","weights":{"a":-1,"b":101}}"#,
        r#"{"version":"8"}"#,
    ] {
        assert!(serde_json::from_str::<ReleaseRequest>(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn a_version_may_be_a_number() {
    let request: ReleaseRequest =
        serde_json::from_str(r#"{"model":"m","version":8,"baseline":7,"strategy":"canary"}"#).unwrap();
    assert_eq!((request.version, request.baseline), (Version::parse("8").unwrap(), Some(Version::parse("7").unwrap())));
}

#[test]
fn a_whole_document_asks_for_what_it_shows() {
    let release = Release::parse(DOCUMENT).unwrap();
    let wanted = release.spec.clone().wanted().unwrap();
    assert_eq!(wanted.strategy, Strategy::Canary);
    assert_eq!(wanted.baseline, Some(Version::parse("7").unwrap()));
    assert_eq!(wanted.arms.len(), 1);
    assert_eq!(wanted.steps.unwrap().len(), 2);
}

#[test]
fn settings_over_a_base_and_their_difference_belong_together() {
    let base = Serving::defaults();
    let own = Serving { replicas: Some(3), docs_path: Some("/docs".to_owned()), ..Serving::default() };
    let effective = own.over(&base);
    assert_eq!(effective.differing_from(&base), Some(own));
    assert_eq!(base.differing_from(&base), None);
}

#[test]
fn a_running_canary_splits_by_its_step() {
    let traffic = Release::parse(DOCUMENT).unwrap().traffic().unwrap();
    let MainRule::Split(split) = traffic.main else { panic!("{traffic:?}") };
    assert_eq!(
        split.iter().map(|(predictor, weight)| (predictor.as_str(), *weight)).collect::<Vec<_>>(),
        [("v7", 95), ("v8", 5)]
    );
}

#[test]
fn a_document_that_would_keep_the_parser_busy_is_not_read() {
    for hostile in
        ["[".repeat(40_000), "{a: ".repeat(40_000), "- ".repeat(40_000), format!("# {}", "x".repeat(3 << 20))]
    {
        let error = Release::parse(&hostile).unwrap_err();
        assert!(error.contains("nested deeper") || error.contains("larger than"), "{error}");
    }
}
