//! The release service with the configuration that the platform gives it.

use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::json;
use tests::environment::{program, repository_root};
use tests::{Delivery, Request, TestEnvironment};

use crate::image;

/// What stands in the platform's configuration below a directory, and what is here instead: there is no cluster.
fn configuration(environment: &TestEnvironment, gitops: &Path, internal: &str) -> String {
    let mut text = std::fs::read_to_string(gitops.join("platform/kmlflow/kmlflow.yaml")).unwrap();
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

/// The secrets that the platform makes, as files.
fn write_secrets(environment: &TestEnvironment) {
    for (door, secret) in [
        ("mlflow", "of-mlflow"),
        ("generic", "whsec_b2YtdGVzdHMtb2YtdGVzdHMtb2YtdGVzdHM="),
        ("github", "of-github"),
        ("argocd", "of-argo-cd"),
    ] {
        let file = environment.write(format!("webhooks/{door}"), secret);
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o440)).unwrap();
    }
}

fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[test]
fn the_platform_s_configuration_starts_the_service_with_its_secrets_and_a_port_for_probes() {
    let environment = TestEnvironment::new();
    write_secrets(&environment);
    let internal = free_port();
    let file = configuration(&environment, &repository_root().join("gitops-repo"), &internal.to_string());
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

#[test]
fn other_addresses_of_the_platform_are_those_of_the_models_too() {
    for (options, endpoint) in [
        (["--host-suffix", "ml.example.com", "--tls"].as_slice(), "https://fraud-models.ml.example.com/v2/"),
        (&["--port", "8080"], "http://fraud-models.k5w.localhost:8080/v2/"),
        (&[], "http://fraud-models.k5w.localhost/v2/"),
    ] {
        let environment = TestEnvironment::new();
        write_secrets(&environment);
        let gitops = environment.path("gitops-repo");
        let copy = environment.command("cp").arg("-r").arg(repository_root().join("gitops-repo")).arg(&gitops).status();
        assert!(copy.unwrap().success());
        let mut render = environment.command(program("kmlflow-bootstrap"));
        let rendered = render.arg("render").args(options).arg("--gitops-repo").arg(&gitops).output().unwrap();
        assert!(rendered.status.success(), "{rendered:?}");
        let file = configuration(&environment, &gitops, &free_port().to_string());
        let server = environment.server().arg("--config").arg(&file).start();
        let release = server.put("production/models/fraud", &image("fraud", "7")).expect(201).json();
        let told = release["release"]["endpoint"].as_str().unwrap();
        assert!(told.starts_with(endpoint), "{told}");
    }
}
