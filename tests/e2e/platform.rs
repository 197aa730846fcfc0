//! The release service with the configuration that the platform gives it.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;
use tests::environment::repository_root;
use tests::{Delivery, Request, TestEnvironment};

/// What stands in the platform's configuration, and what is here instead: there is no cluster.
fn configuration(environment: &TestEnvironment, internal: &str) -> String {
    let mut text =
        std::fs::read_to_string(repository_root().join("gitops-repo/platform/kmlflow/kmlflow.yaml")).unwrap();
    for (there, here) in [
        ("/etc/kmlflow/webhooks/", environment.path("webhooks/").to_str().unwrap()),
        ("/var/lib/kmlflow/data", environment.data_dir().to_str().unwrap()),
        ("internal_listen: 0.0.0.0:9090", &format!("internal_listen: {internal}")),
    ] {
        assert!(text.contains(there), "{there}: {text}");
        text = text.replace(there, here);
    }
    environment.write("kmlflow.yaml", text).display().to_string()
}

#[test]
fn the_platform_s_configuration_starts_the_service_with_its_secrets_and_a_port_for_probes() {
    let environment = TestEnvironment::new();
    for (door, secret) in [
        ("mlflow", "of-mlflow"),
        ("generic", "whsec_b2YtdGVzdHMtb2YtdGVzdHMtb2YtdGVzdHM="),
        ("github", "of-github"),
        ("argocd", "of-argo-cd"),
    ] {
        let file = environment.write(format!("webhooks/{door}"), secret);
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o440)).unwrap();
    }
    let internal = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let file = configuration(&environment, &internal.to_string());
    let server = environment.server().arg("--config").arg(&file).start();
    for path in ["/healthz", "/readyz", "/metrics"] {
        Request::new("GET", path).send(internal).expect(200);
        Request::new("GET", path).send(server.address()).expect(404);
    }
    let body = json!({"name": "fraud", "namespace": "models", "environment": "production", "model": "fraud", "version": "7", "image": "registry.example/fraud:7"});
    let delivery = Delivery::generic("ci-1", &body);
    let secret = std::fs::read_to_string(environment.path("webhooks/generic")).unwrap();
    delivery.sign(&secret).send(server.address()).expect(202);
    let of_the_first_start = server.secret(delivery.signing);
    assert_ne!(of_the_first_start, secret);
    Delivery::generic("ci-2", &body).sign(&of_the_first_start).send(server.address()).expect(401);
}
