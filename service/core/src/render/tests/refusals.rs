//! Settings that the operator, the gateway or Kubernetes would refuse or misunderstand.

use super::samples::release;
use crate::release::{Autoscaling, EnvVar, Period, Probe, Protocol, Release};
use crate::render::{RenderError, Templates, render};

fn refused(state: &str, change: impl FnOnce(&mut Release)) -> String {
    let mut release = release(state);
    change(&mut release);
    match render(&release, &Templates::built_in()) {
        Err(error @ RenderError::Settings(_)) => error.refusal().reason,
        other => panic!("not refused by a rule: {other:?}"),
    }
}

fn literal(name: &str) -> EnvVar {
    EnvVar { name: name.to_owned(), value: Some("x".to_owned()), value_from: None }
}

#[test]
fn names_that_wipe_the_environment_are_refused() {
    for name in
        ["MLSERVER_HTTP_PORT", "MLSERVER_GRPC_PORT", "PREDICTIVE_UNIT_HTTP_SERVICE_PORT", "PREDICTIVE_UNIT_PARAMETERS"]
    {
        let reason = refused("settled", |r| r.spec.serving.env = Some(vec![literal(name)]));
        assert!(reason.contains(name), "{reason}");
    }
}

#[test]
fn a_literal_secret_is_refused_without_repeating_it() {
    let secret = EnvVar { value: Some("hunter2".to_owned()), ..literal("DB_PASSWORD") };
    let reason = refused("settled", |r| r.spec.serving.env = Some(vec![secret]));
    assert!(reason.contains("secretKeyRef") && !reason.contains("hunter2"), "{reason}");
}

#[test]
fn variables_without_a_proper_name_or_value_are_refused() {
    for name in ["", "9A", "A B", "A=B", "A\nB"] {
        refused("settled", |r| r.spec.serving.env = Some(vec![literal(name)]));
    }
    refused("settled", |r| r.spec.serving.env = Some(vec![literal("A"), literal("A")]));
    refused("settled", |r| r.spec.serving.env = Some(vec![EnvVar { value: None, ..literal("A") }]));
}

#[test]
fn ports_of_the_engine_and_doubled_ports_are_refused() {
    for port in [8000, 5001, 9500, 6000, 0] {
        assert!(refused("settled", |r| r.spec.serving.port = Some(port)).contains("serving.port"));
    }
    let mut without = release("without-engine");
    without.spec.serving.port = Some(8000);
    assert!(render(&without, &Templates::built_in()).is_ok(), "without the engine its ports are free");
}

#[test]
fn a_predictor_without_a_pod_is_refused() {
    refused("settled", |r| r.spec.serving.replicas = Some(0));
    refused("settled", |r| r.spec.serving.autoscaling = Some(Autoscaling { min: 0, max: 3, cpu: 50 }));
    refused("settled", |r| r.spec.serving.autoscaling = Some(Autoscaling { min: 3, max: 2, cpu: 50 }));
    refused("full-settings", |r| {
        r.spec.serving.resources.as_mut().unwrap().requests.clear();
    });
}

#[test]
fn one_release_has_one_protocol_and_no_version_an_empty_timeout() {
    let serving = crate::release::Serving { protocol: Some(Protocol::Seldon), ..Default::default() };
    assert!(refused("canary", |r| r.spec.variants[1].serving = Some(serving)).contains("serving.protocol"));
    refused("settled", |r| r.spec.serving.timeout = Some(Period::ZERO));
}

#[test]
fn paths_hosts_headers_and_quantities_must_be_well_formed() {
    for path in ["docs", "/a//b", "/a/../b", "/a?b", "/a b", "/{{x}}", ""] {
        refused("settled", |r| r.spec.serving.docs_path = Some(path.to_owned()));
        refused("settled", |r| {
            r.spec.serving.probe = Some(Probe { path: path.to_owned(), initial_delay: None, period: None })
        });
    }
    refused("settled", |r| r.spec.target.grpc_host = format!("{}.example", "a".repeat(64)));
    refused("ab", |r| r.spec.ab.as_mut().unwrap().matches[0].header = "x group".to_owned());
    refused("ab", |r| r.spec.ab.as_mut().unwrap().matches[0].value = "a\r\nb".to_owned());
    for quantity in ["lots", "1 Gi", "-", "1GB", ""] {
        refused("settled", |r| {
            r.spec.serving.resources.as_mut().unwrap().limits.insert("memory".to_owned(), quantity.to_owned());
        });
    }
    refused("settled", |r| r.spec.variants[0].artifact.image = Some("a b".to_owned()));
    refused("settled", |r| r.spec.variants[0].artifact.image = None);
    refused("settled", |r| {
        r.spec.target.monitoring.labels.insert("a b".to_owned(), "c".to_owned());
    });
}

#[test]
fn settings_that_are_too_much_together_are_refused() {
    let reason = refused("settled", |r| {
        let pod = r.spec.serving.pod.get_or_insert_default();
        pod.node_selector = (0..20_000).map(|n| (format!("label-{n}"), "x".repeat(60))).collect();
    });
    assert!(reason.contains("1024 KiB"), "{reason}");
}

#[test]
fn a_release_without_a_version_is_refused() {
    refused("settled", |r| r.spec.variants.clear());
}
