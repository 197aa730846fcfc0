use std::path::{Path, PathBuf};

use tests::TestEnvironment;
use tests::bed::{Bed, PLACE};
use tests::environment::{program, repository_root, run, succeed};

use super::platform::{Namespaces, accept};

/// The platform with what its parts fetch from elsewhere, which lies in Go modules too: there is no other network on the bed.
struct Copy<'a> {
    bed: &'a Bed,
    environment: &'a TestEnvironment,
    gitops: PathBuf,
}

impl<'a> Copy<'a> {
    fn new(bed: &'a Bed, environment: &'a TestEnvironment) -> Self {
        let gitops = environment.path("gitops-repo");
        succeed(environment.command("cp").arg("-r").arg(repository_root().join("gitops-repo")).arg(&gitops));
        Self { bed, environment, gitops }
    }

    /// Where the tests keep what is elsewhere.
    fn elsewhere(name: &str) -> PathBuf {
        Path::new(&std::env::var_os(PLACE).unwrap()).join("theirs/elsewhere").join(name)
    }

    /// Takes a file or a folder into a folder of the platform, in the place of its address there.
    fn bring(&self, folder: &str, address: &str, name: &str, there: &str) {
        let folder = self.gitops.join("platform").join(folder);
        succeed(self.environment.command("cp").arg("-r").arg(Self::elsewhere(name)).arg(&folder));
        let file = folder.join("kustomization.yaml");
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.contains(address), "{text}");
        std::fs::write(file, text.replace(address, there)).unwrap();
    }

    fn kustomized(&self, folder: &str) -> String {
        self.bed.ask(&["kustomize", self.gitops.join("platform").join(folder).to_str().unwrap()])
    }

    /// What Helm makes of a chart with the values of the platform.
    fn rendered(&self, (part, namespace): (&str, &str), chart: &str, more: &[&str]) -> String {
        let values = self.gitops.join("platform").join(part).join("values.yaml");
        let mut helm = self.environment.command(Path::new(&std::env::var_os(PLACE).unwrap()).join("bin/helm"));
        helm.args(["template", part, "--namespace", namespace])
            .arg(Self::elsewhere(chart))
            .arg("--values")
            .arg(values)
            .args(more);
        helm.args(["--kube-version", "1.36.3"]);
        let made = succeed(&mut helm);
        // The same again is the same: what Helm makes up would be changed by Argo CD every three minutes.
        assert_eq!(succeed(&mut helm), made, "{part}");
        made
    }
}

/// How many objects of a kind there are.
fn count(objects: &str, kind: &str) -> usize {
    objects.lines().filter(|line| *line == format!("kind: {kind}")).count()
}

#[test]
fn parts_that_begin_with_files_of_a_project_are_accepted_as_they_are() {
    let (bed, environment) = (Bed::alone(), TestEnvironment::new());
    let _places = Namespaces::of(&bed);
    let copy = Copy::new(&bed, &environment);
    let address = "https://raw.githubusercontent.com/argoproj/argo-cd/v3.5.7/manifests/install.yaml";
    copy.bring("argo-cd/upstream", address, "install.yaml", "install.yaml");
    let address = "https://github.com/kubeflow/katib/manifests/v1beta1/installs/katib-standalone-postgres?ref=v0.19.0";
    copy.bring("katib", address, "katib", "katib/installs/katib-standalone-postgres");
    let argo_cd = copy.kustomized("argo-cd");
    assert_eq!((count(&argo_cd, "Deployment"), count(&argo_cd, "StatefulSet")), (6, 1));
    accept(&bed, "argo-cd", &argo_cd);
    let katib = copy.kustomized("katib");
    assert_eq!(
        (count(&katib, "Deployment"), count(&katib, "CustomResourceDefinition"), count(&katib, "Secret")),
        (3, 3, 1)
    );
    // The bed's own controller is no pod, so its configurations of that name have an address, which no apply would take from them.
    let of_the_bed = "  name: katib.kubeflow.org\n";
    assert_eq!(katib.matches(of_the_bed).count(), 2);
    accept(&bed, "katib", &katib.replace(of_the_bed, "  name: katib.of-a-platform\n"));
}

#[test]
fn charts_with_our_values_are_accepted_as_helm_makes_them() {
    let (bed, environment) = (Bed::alone(), TestEnvironment::new());
    let _places = Namespaces::of(&bed);
    let copy = Copy::new(&bed, &environment);
    let kinds = copy.rendered(("gateway-api", "envoy-gateway-system"), "gateway-crds-helm", &[]);
    assert!(count(&kinds, "CustomResourceDefinition") >= 15, "{}", count(&kinds, "CustomResourceDefinition"));
    accept(&bed, "gateway-api", &kinds);

    // The project names the image when it publishes the chart.
    let template = Copy::elsewhere("gateway-helm/values.tmpl.yaml");
    let values = std::fs::read_to_string(template).unwrap().replace("${GatewayImagePullPolicy}", "IfNotPresent");
    let file = environment.path("values.yaml");
    std::fs::write(&file, values.replace("${GatewayImage}", "docker.io/envoyproxy/gateway:v1.9.0")).unwrap();
    let ours = copy.gitops.join("platform/envoy-gateway/values.yaml");
    let gateway = copy.rendered(
        ("envoy-gateway", "envoy-gateway-system"),
        "gateway-helm",
        &["--skip-crds", "--values", file.to_str().unwrap(), "--values", ours.to_str().unwrap()],
    );
    assert_eq!(count(&gateway, "Deployment"), 1);
    assert!(gateway.contains("memory: 192Mi"), "our request is in it");
    accept(&bed, "envoy-gateway", &gateway);

    let certificates = copy.rendered(("cert-manager", "cert-manager"), "cert-manager", &[]);
    assert_eq!((count(&certificates, "Deployment"), count(&certificates, "CustomResourceDefinition")), (3, 6));
    assert_eq!(certificates.matches("memory: 32Mi").count(), 3, "our requests are in it");
    accept(&bed, "cert-manager", &certificates);
}

#[test]
fn the_gateway_with_https_and_every_certificate_are_accepted_as_they_are() {
    let (bed, environment) = (Bed::alone(), TestEnvironment::new());
    let _places = Namespaces::of(&bed);
    let copy = Copy::new(&bed, &environment);
    let mut render = environment.command(program("kmlflow-bootstrap"));
    render.args(["render", "--host-suffix", "ml.example.com", "--tls", "--gitops-repo"]).arg(&copy.gitops);
    assert_eq!(run(&mut render).code, 0);
    let gateway = copy.kustomized("gateway");
    assert_eq!((count(&gateway, "Certificate"), count(&gateway, "Issuer")), (2, 2));
    accept(&bed, "gateway", &gateway);
    let harbor = copy.kustomized("harbor");
    assert_eq!(count(&harbor, "Certificate"), 1);
    accept(&bed, "harbor", &harbor);
    // A definition that took everything would prove nothing.
    let wrong = harbor.replace("  secretName: harbor-token", "  secret: harbor-token");
    assert_ne!(wrong, harbor);
    let refused = bed.try_apply(&wrong, &super::accepted::STRICT).unwrap_err();
    assert!(refused.contains("secret"), "{refused}");
}
