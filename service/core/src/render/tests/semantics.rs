//! What each state means for callers and for the cluster, field by field: predictors, own Service, routes.

use super::samples::{STATES, release};
use crate::render::kinds::{BackendRef, HttpRule};
use crate::render::objects::{Object, parse};
use crate::render::{Templates, render};

/// What a state shall look like, in short: rules as `condition > backends, mirror`.
struct Expected {
    state: &'static str,
    predictors: &'static str,
    own: &'static str,
    http: &'static [&'static str],
    preview: Option<&'static str>,
    grpc: &'static str,
}

const DOCS: &str = "/docs* /openapi.json > fraud-v7-model:9000=1";

const EXPECTED: &[Expected] = &[
    Expected {
        state: "settled",
        predictors: "v7=100",
        own: "seldon-deployment-id=fraud http:8000 grpc:5001",
        http: &[DOCS, "/* > fraud:8000=1 in 5s"],
        preview: None,
        grpc: "fraud:5001=1",
    },
    Expected {
        state: "entering",
        predictors: "v7=100 v8=0",
        own: "seldon-app=fraud-v7 http:8000 grpc:5001",
        http: &[DOCS, "/* > fraud-v7:8000=1 in 5s"],
        preview: None,
        grpc: "fraud-v7:5001=1",
    },
    Expected {
        state: "canary",
        predictors: "v7=100 v8=0",
        own: "seldon-app=fraud-v7 http:8000 grpc:5001",
        http: &[DOCS, "/* > fraud-v7:8000=75 fraud-v8:8000=25 in 5s"],
        preview: None,
        grpc: "fraud-v7:5001=75 fraud-v8:5001=25",
    },
    Expected {
        state: "ab",
        predictors: "v7=100 v8=0",
        own: "seldon-app=fraud-v7 http:8000 grpc:5001",
        http: &[DOCS, "/* x-group=beta > fraud-v8:8000=1 in 5s", "/* > fraud-v7:8000=70 fraud-v8:8000=30 in 5s"],
        preview: None,
        grpc: "fraud-v7:5001=70 fraud-v8:5001=30",
    },
    Expected {
        state: "blue-green",
        predictors: "v7=100 v8=0",
        own: "seldon-app=fraud-v7 http:8000 grpc:5001",
        http: &[DOCS, "/* > fraud-v7:8000=1 in 5s"],
        preview: Some("/* > fraud-v8:8000=1 in 5s"),
        grpc: "fraud-v7:5001=1",
    },
    Expected {
        state: "flipped",
        predictors: "v7=100 v8=0",
        own: "seldon-app=fraud-v8 http:8000 grpc:5001",
        http: &[DOCS, "/* > fraud-v8:8000=1 in 5s"],
        preview: Some("/* > fraud-v7:8000=1 in 5s"),
        grpc: "fraud-v8:5001=1",
    },
    Expected {
        state: "shadow",
        predictors: "v7=100 v8=0",
        own: "seldon-app=fraud-v7 http:8000 grpc:5001",
        http: &[DOCS, "/* > fraud-v7:8000=1 in 5s mirror 20% fraud-v8:8000"],
        preview: None,
        grpc: "fraud-v7:5001=1",
    },
    Expected {
        state: "leaving",
        predictors: "v8=100 v7=0",
        own: "seldon-app=fraud-v8 http:8000 grpc:5001",
        http: &["/docs* /openapi.json > fraud-v8-model:9000=1", "/* > fraud-v8:8000=1 in 5s"],
        preview: None,
        grpc: "fraud-v8:5001=1",
    },
    Expected {
        state: "artifact",
        predictors: "v7=100 v8=0",
        own: "seldon-app=fraud-v7 http:8000 grpc:5001",
        http: &[DOCS, "/* > fraud-v7:8000=75 fraud-v8:8000=25 in 5s"],
        preview: None,
        grpc: "fraud-v7:5001=75 fraud-v8:5001=25",
    },
    Expected {
        state: "without-engine",
        predictors: "v7=100",
        own: "seldon-deployment-id=fraud http:8080 grpc:9500",
        http: &["/docs* /openapi.json > fraud-v7-model:8080=1", "/* > fraud:8080=1 in 5s"],
        preview: None,
        grpc: "fraud:9500=1",
    },
    Expected {
        state: "full-settings",
        predictors: "v7=100",
        own: "seldon-deployment-id=fraud http:8000 grpc:5001",
        http: &[DOCS, "/* > fraud:8000=1 in 5s"],
        preview: None,
        grpc: "fraud:5001=1",
    },
];

fn backends(refs: &[BackendRef]) -> String {
    let one = |b: &BackendRef| {
        assert_eq!((b.group.as_str(), b.kind.as_str()), ("", "Service"));
        format!("{}:{}={}", b.name, b.port, b.weight.unwrap())
    };
    refs.iter().map(one).collect::<Vec<_>>().join(" ")
}

fn rule(rule: &HttpRule) -> String {
    let mut text = String::new();
    for m in &rule.matches {
        text += &m.path.value;
        text += match m.path.kind.as_str() {
            "PathPrefix" => "* ",
            "Exact" => " ",
            other => panic!("{other}"),
        };
        for header in m.headers.iter().flatten() {
            assert_eq!(header.kind, "Exact");
            text += &format!("{}={} ", header.name, header.value);
        }
    }
    text += &format!("> {}", backends(&rule.backend_refs));
    text += &rule.timeouts.as_ref().map(|t| format!(" in {}", t.request)).unwrap_or_default();
    for filter in rule.filters.iter().flatten() {
        assert_eq!(filter.kind, "RequestMirror");
        let mirror = &filter.request_mirror;
        assert_eq!(mirror.backend_ref.weight, None);
        text += &format!(" mirror {}% {}:{}", mirror.percent, mirror.backend_ref.name, mirror.backend_ref.port);
    }
    text
}

fn objects(state: &str) -> Vec<Object> {
    let files = render(&release(state), &Templates::built_in()).unwrap().files;
    let objects = files.iter().filter(|(name, _)| *name != "kustomization.yaml");
    objects.flat_map(|(name, text)| parse(name, text).unwrap()).map(|parsed| parsed.object).collect()
}

#[test]
fn every_state_means_what_the_design_says() {
    assert!(EXPECTED.iter().map(|expected| expected.state).eq(STATES));
    for Expected { state, predictors, own, http, preview, grpc } in EXPECTED {
        let (mut routes, mut seen) = (Vec::new(), 0);
        for object in objects(state) {
            match object {
                Object::Seldon(deployment) => {
                    let found = deployment
                        .spec
                        .predictors
                        .iter()
                        .map(|p| format!("{}={}", p.name, p.traffic))
                        .collect::<Vec<_>>();
                    assert_eq!(found.join(" "), *predictors, "{state}");
                }
                Object::Service(service) => {
                    let spec = service.spec.unwrap();
                    let selector: Vec<_> =
                        spec.selector.unwrap().into_iter().map(|(k, v)| format!("{k}={v}")).collect();
                    let ports = spec
                        .ports
                        .unwrap()
                        .into_iter()
                        .map(|p| format!("{}:{}", p.name.unwrap(), p.port))
                        .collect::<Vec<_>>();
                    assert_eq!(format!("{} {}", selector.join(" "), ports.join(" ")), *own, "{state}");
                }
                Object::HttpRoute(route) => routes.push((route.metadata.name, route.spec.hostnames, route.spec.rules)),
                Object::GrpcRoute(route) => {
                    assert_eq!(route.spec.hostnames, ["fraud-models-grpc.k5w.localhost"]);
                    assert_eq!(backends(&route.spec.rules[0].backend_refs), *grpc, "{state}");
                    seen += 1;
                }
                _ => {}
            }
        }
        let (name, hosts, rules) = &routes[0];
        assert_eq!((name.as_str(), hosts[0].as_str()), ("fraud", "fraud-models.k5w.localhost"));
        assert_eq!(rules.iter().map(rule).collect::<Vec<_>>(), *http, "{state}");
        let found = routes.get(1).map(|(name, hosts, rules)| {
            assert_eq!((name.as_str(), hosts[0].as_str()), ("fraud-preview", "fraud-models-preview.k5w.localhost"));
            rule(&rules[0])
        });
        assert_eq!(found.as_deref(), *preview, "{state}");
        assert_eq!(seen, 1);
    }
}

#[test]
fn every_object_links_to_release_dashboard_and_model_version() {
    for (name, text) in render(&release("canary"), &Templates::built_in()).unwrap().files {
        if name == "kustomization.yaml" {
            continue;
        }
        for parsed in parse(&name, &text).unwrap() {
            let notes = parsed.document.get("metadata").and_then(|meta| meta.get("annotations")).unwrap();
            let link = |name: &str| notes.get(&format!("link.argocd.argoproj.io/{name}")).unwrap().as_str().unwrap();
            assert_eq!(link("release"), "https://kmlflow.example/releases/production/models/fraud");
            let dashboard = link("dashboard");
            assert!(dashboard.starts_with("https://grafana.example/d/kmlflow-"), "{dashboard}");
            for version in ["7", "8"] {
                let link = link(&format!("mlflow-version-{version}"));
                assert_eq!(link, format!("https://mlflow.example/#/models/Fraud%20Detector/versions/{version}"));
            }
        }
    }
}

#[test]
fn monitoring_that_is_off_leaves_its_file_out() {
    let mut release = release("settled");
    release.spec.target.monitoring.mode = crate::release::MonitoringMode::Off;
    let files = render(&release, &Templates::built_in()).unwrap().files;
    assert_eq!(files.keys().collect::<Vec<_>>(), ["seldon.yaml", "route.yaml", "dashboard.yaml", "kustomization.yaml"]);
    assert!(!files["kustomization.yaml"].contains("monitoring.yaml"));
}

#[test]
fn alerts_are_for_predictors_that_callers_reach() {
    for (state, reached) in
        [("entering", "v7"), ("canary", "v7|v8"), ("shadow", "v7"), ("flipped", "v8"), ("leaving", "v8")]
    {
        let rules = objects(state).into_iter().find_map(|object| match object {
            Object::Rule(rule) => Some(rule.spec.groups[0].rules.clone()),
            _ => None,
        });
        let rules = rules.unwrap();
        assert_eq!(rules.len(), 4, "{state}");
        for alert in rules.iter().filter(|alert| alert.alert != "ReleaseWithoutReadyReplica") {
            assert!(alert.expr.contains(&format!("predictor_name=~\"{reached}\"")), "{state}: {}", alert.expr);
        }
    }
}

#[test]
fn without_the_engine_only_what_the_cluster_says_can_alert() {
    let names = objects("without-engine").into_iter().find_map(|object| match object {
        Object::Rule(rule) => {
            Some(rule.spec.groups[0].rules.iter().map(|alert| alert.alert.clone()).collect::<Vec<_>>())
        }
        _ => None,
    });
    assert_eq!(names.unwrap(), ["ReleaseWithoutReadyReplica"]);
}

#[test]
fn no_state_mentions_phase_or_role_in_the_pods() {
    for state in STATES {
        let files = render(&release(state), &Templates::built_in()).unwrap().files;
        for word in [
            "entering",
            "running",
            "leaving",
            "settled",
            "candidate",
            "stable",
            "shadow",
            "blue",
            "green",
            "sha256:0000",
        ] {
            assert!(!files["seldon.yaml"].contains(word), "{state}: {word}");
        }
    }
}
