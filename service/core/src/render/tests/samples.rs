//! Releases to render: the fraud detector of the examples in each of its states.

use crate::release::Release;

/// The states that have golden files.
pub(super) const STATES: [&str; 11] = [
    "settled",
    "entering",
    "canary",
    "ab",
    "blue-green",
    "flipped",
    "shadow",
    "leaving",
    "artifact",
    "without-engine",
    "full-settings",
];

const V7: &str = "{role: ROLE, version: '7', predictor: v7, image: 'registry.example/fraud:7', unpinned: true}";
const V8: &str = "{role: ROLE, version: '8', predictor: v8, image: 'registry.example/fraud:8', unpinned: true}";
const ARTIFACT: &str = "s3://mlflow-artifacts/1/models/m-0123456789abcdef0123456789abcdef/artifacts";

/// The release in one of [`STATES`].
pub(super) fn release(state: &str) -> Release {
    let (v7, v8) = (|role: &str| V7.replace("ROLE", role), |role: &str| V8.replace("ROLE", role));
    let canary = "canary: {steps: [{weight: 5}, {weight: 25}, {weight: 50}]}";
    let ab = "ab: {weights: {a: 70, b: 30}, match: [{header: x-group, value: beta, variant: b}]}";
    let (strategy, phase, variants, more, serving) = match state {
        "settled" => ("single", "settled", vec![v7("live")], "", ""),
        "entering" => ("canary", "entering", vec![v7("stable"), v8("candidate")], canary, ""),
        "canary" => ("canary", "running, step: 1", vec![v7("stable"), v8("candidate")], canary, ""),
        "ab" => ("ab", "running", vec![v7("a"), v8("b")], ab, ""),
        "blue-green" => (
            "blue-green",
            "running",
            vec![v7("blue"), v8("green")],
            "blueGreen: {active: blue, scaleDownDelay: 30m}",
            "",
        ),
        "flipped" => (
            "blue-green",
            "running, step: 1",
            vec![v7("blue"), v8("green")],
            "blueGreen: {active: green, scaleDownDelay: 30m}",
            "",
        ),
        "shadow" => ("shadow", "running", vec![v7("live"), v8("shadow")], "shadow: {percent: 20}", ""),
        "leaving" => ("canary", "leaving", vec![v8("stable"), v7("leaving")], canary, ""),
        "artifact" => {
            let artifact = format!(
                "{{role: candidate, version: '8', predictor: v8, modelUri: '{ARTIFACT}', serving: {{storageSecret: kmlflow-storage, runtime: 'seldonio/mlserver:1.7.1-mlflow'}}}}"
            );
            ("canary", "running, step: 1", vec![v7("stable"), artifact], canary, "")
        }
        "without-engine" => {
            ("single", "settled", vec![v7("live")], "", ", engine: false, protocol: seldon, port: 8080")
        }
        _ => (
            "single",
            "settled",
            vec![v7("live")],
            "",
            ", replicas: 2, autoscaling: {min: 2, max: 6, cpu: 70}, env: [{name: GREETING, value: 'say \"hi\" {{ now }}'}, {name: API_TOKEN, valueFrom: {secretKeyRef: {name: fraud, key: token}}}], \
             probe: {path: /ready, initialDelay: 30s, period: 10s}, pod: {tolerations: [{key: gpu, operator: Equal, value: 'yes', effect: NoExecute, tolerationSeconds: 60}], \
             nodeSelector: {zone: a}, serviceAccountName: fraud, imagePullSecrets: [registry], runtimeClassName: nvidia, priorityClassName: high}",
        ),
    };
    let docs = if phase.starts_with("leaving") { "v8" } else { "v7" };
    let yaml = format!(
        r"
apiVersion: kmlflow.dev/v1
kind: Release
metadata: {{name: fraud, namespace: models, environment: production}}
spec:
  model: Fraud Detector
  strategy: {strategy}
  variants:
  - {}
  {more}
  serving: {{docsPath: /docs, resources: {{requests: {{cpu: 100m, memory: 256Mi}}, limits: {{memory: 512Mi}}}}{serving}}}
  target:
    cluster: in-cluster
    namespace: models
    gateway: {{namespace: gateway, name: models}}
    host: fraud-models.k5w.localhost
    previewHost: fraud-models-preview.k5w.localhost
    grpcHost: fraud-models-grpc.k5w.localhost
    monitoring: {{mode: operator, labels: {{release: kube-prometheus-stack}}}}
    links: {{release: 'https://kmlflow.example/releases/production/models/fraud', grafana: 'https://grafana.example/', mlflow: 'https://mlflow.example'}}
rollout: {{phase: {phase}, since: 2026-11-23T10:00:00Z, docs: {docs}}}
",
        variants.join("\n  - ")
    );
    Release::parse(&yaml).unwrap_or_else(|error| panic!("{state}: {error}"))
}
