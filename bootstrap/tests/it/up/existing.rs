//! A cluster that is there is used, and nothing in it that is somebody else's is taken over.

use super::changing;
use crate::scene::Scene;

const HERE: [&str; 4] = ["--cluster", "existing", "--context", "staging"];

#[test]
fn it_is_used_as_it_is_without_minikube_and_docker() {
    let scene = Scene::new();
    scene.up(&HERE).succeeded();
    let calls = scene.calls();
    assert!(calls.iter().all(|call| call.starts_with("kubectl ")), "{calls:#?}");
    assert!(scene.read("contexts").lines().all(|context| context == "staging"));
    scene.up(&HERE).succeeded();
    assert_eq!(changing(&scene.calls()), [] as [&str; 0]);
}

#[test]
fn options_of_a_cluster_that_is_made_are_refused() {
    let scene = Scene::new();
    for option in [["--nodes", "3"], ["--gpu", "off"], ["--offline-images", "."]] {
        scene.up(&[&HERE[..], &option].concat()).failed(2, option[0], "--cluster existing");
    }
    assert_eq!(scene.calls().iter().filter(|call| !call.contains(" get ") && !call.contains("config")).count(), 0);
}

#[test]
fn a_namespace_of_somebody_else_is_never_changed() {
    let scene = Scene::new();
    scene.write("objects-namespaces", r#"{"metadata":{"name":"monitoring","labels":{}}}"#);
    scene.up(&HERE).failed(
        5,
        "`monitoring` is there and was not made by bootstrap",
        "kubectl --context staging label namespace monitoring",
    );
    scene.write("objects-namespaces", r#"{"metadata":{"name":"argocd","labels":{}}}"#);
    scene.up(&HERE).failed(5, "`argocd`", "--argo-cd present");
    assert_eq!(changing(&scene.calls()), [] as [&str; 0]);
}

#[test]
fn kinds_of_somebody_else_are_found_before_anything_is_made_and_left_alone() {
    let scene = Scene::new();
    scene.write(
        "definitions",
        "certificates.cert-manager.io\targocd-controller kube-apiserver\t\n\
         issuers.cert-manager.io\thelm\t\n\
         gateways.gateway.networking.k8s.io\t\t\n\
         rollouts.argoproj.io\t\t\n",
    );
    let hint = "`--without gateway-api --without cert-manager`";
    let ended = scene.up(&HERE).failed(5, "`cert-manager` (certificates.cert-manager.io and 1 more)", hint);
    assert!(!ended.stderr.contains("rollouts"), "{ended:#?}");
    assert_eq!(changing(&scene.calls()), [] as [&str; 0]);
    scene.up(&[&HERE[..], &["--without", "gateway-api", "--without", "cert-manager"]].concat()).succeeded();
    let record = scene.read("record");
    assert!(record.contains("kinds-before") && record.contains("issuers.cert-manager.io"), "{record}");
    // What Argo CD then brought is the platform's, also where its Application is gone by now, and what was handed over.
    scene.write(
        "definitions",
        "certificates.cert-manager.io\targocd-controller kube-apiserver\t\n\
         podmonitors.monitoring.coreos.com\targocd-controller kube-apiserver\t\n\
         probes.monitoring.coreos.com\targocd-controller kube-apiserver\t\n\
         applications.argoproj.io\tkubectl\tbootstrap\n",
    );
    scene.write("places-applications.argoproj.io", "argocd/prometheus-kinds\tpodmonitors.monitoring.coreos.com\n");
    scene.up(&HERE).succeeded();
    // What was there before is theirs, whoever applied it.
    scene.up(&[&HERE[..], &["--without", "none"]].concat()).failed(5, "`cert-manager` (certificates.", "--without");
    // So is what another Application brought since, also by the same Argo CD.
    for other in ["argocd/theirs", "shop/prometheus-kinds"] {
        scene.write("places-applications.argoproj.io", &format!("{other}\tpodmonitors.monitoring.coreos.com\n"));
        scene.up(&HERE).failed(5, "`prometheus-kinds` (podmonitors.monitoring.coreos.com)", "--without");
    }
}

#[test]
fn other_objects_without_a_namespace_are_found_too() {
    let scene = Scene::new();
    scene.write("object-envoy", r#"{"metadata":{"name":"envoy","labels":{"app":"theirs"}}}"#);
    scene.up(&HERE).failed(5, "`gateway` (gatewayclasses.gateway.networking.k8s.io/envoy)", "`--without gateway`");
    scene.write(
        "object-envoy",
        r#"{"metadata":{"name":"envoy","annotations":{"argocd.argoproj.io/tracking-id":"gateway:x"}}}"#,
    );
    scene.up(&HERE).succeeded();
}

#[test]
fn an_argo_cd_in_another_namespace_is_seen() {
    let scene = Scene::new();
    scene.write("definitions", "applications.argoproj.io\t\t\n");
    scene.write("argo-cds", "gitops/argocd-server\n");
    scene.up(&HERE).failed(5, "`argo-cd` (applications.argoproj.io)", "runs in `gitops`");
    scene.write("argo-cds", "argocd/argocd-server\n");
    scene.up(&HERE).failed(5, "`argo-cd`", "`--argo-cd present`");
    assert_eq!(changing(&scene.calls()), [] as [&str; 0]);
}

#[test]
fn an_application_of_somebody_else_with_the_name_of_a_part_is_not_taken_over() {
    let scene = Scene::new();
    scene.write("argocd-cm", r#"{"data":{"resource.customizations.health.argoproj.io_Application":"x"}}"#);
    scene.write("owners", "theirs\t\t\nmlflow\tk5w\t\nplatform\t\tbootstrap\nprometheus\t\t\n");
    let with = [&HERE[..], &["--argo-cd", "present"]].concat();
    scene.up(&with).failed(5, "an Application or a project `prometheus`", "`--without prometheus`");
    assert_eq!(changing(&scene.calls()), [] as [&str; 0]);
    scene.up(&[&with[..], &["--without", "prometheus"]].concat()).succeeded();
}

#[test]
fn a_device_plugin_that_is_there_is_found_by_the_cards_that_nodes_offer() {
    let scene = Scene::new();
    scene.write("cards", "\t\n2\ttrue\n");
    let full = [&HERE[..], &["--profile", "full"]].concat();
    scene.up(&full).failed(5, "the nodes offer 2 card(s) already", "`--without gpu-plugin`");
    let ended = scene.up(&[&full[..], &["--without", "gpu-plugin"]].concat()).succeeded();
    assert!(ended.stderr.contains("2 card(s)"), "{ended:#?}");
    let scene = Scene::new();
    scene.write("cards", "\t\n");
    let ended = scene.up(&full).succeeded();
    assert!(
        ended.stderr.contains("kubectl --context staging label node NAME nvidia.com/gpu.present=true"),
        "{ended:#?}"
    );
}

#[test]
fn what_it_lacks_is_told_before_anything_is_made() {
    let scene = Scene::new().with("MAY", "no");
    scene.up(&HERE).failed(3, "may not administer", "get-contexts");
    let scene = Scene::new().with("SERVER_VERSION", "1.27.4");
    scene.up(&HERE).failed(3, "`v1.27.4`", "upgrade");
    let scene = Scene::new();
    scene.write("storageclasses", r#"{"items":[{"metadata":{"name":"slow","annotations":{}}}]}"#);
    scene.up(&HERE).failed(3, "no default storage class", "is-default-class=true");
    assert_eq!(changing(&scene.calls()), [] as [&str; 0]);
}

#[test]
fn an_argo_cd_that_is_there_is_not_touched_and_must_know_the_health_of_applications() {
    let scene = Scene::new();
    scene.write("objects-namespaces", r#"{"metadata":{"name":"argocd","labels":{}}}"#);
    let with = [&HERE[..], &["--argo-cd", "present"]].concat();
    scene.up(&with).failed(4, "there is no Argo CD", "leave");
    scene.write("argocd-cm", r#"{"data":{}}"#);
    scene.up(&with).failed(3, "waves would not wait", "kubectl --context staging apply --server-side --kustomize");
    scene.write("argocd-cm", r#"{"data":{"resource.customizations.health.argoproj.io_Application":"x"}}"#);
    // Each brings an empty Secret for its notifications, which are no reason to stop.
    scene.has_secret("argocd/argocd-notifications-secret", &[]);
    for _ in 0..2 {
        let ended = scene.up(&with).succeeded();
        let edit = "kubectl --context staging edit secret argocd-notifications-secret --namespace argocd";
        assert!(ended.stderr.contains("lacks `kmlflow-token`") && ended.stderr.contains(edit), "{ended:#?}");
    }
    let calls = scene.calls();
    assert!(!calls.iter().any(|call| call.contains("get deployment/argocd")), "{calls:#?}");
}

/// A checkout whose repository is on somebody's Git server.
fn with_repository_elsewhere() -> Scene {
    let scene = Scene::apart().on_free_port();
    let (ours, theirs) =
        ("http://kmlflow.k5w.svc.cluster.local/git/gitops.git", "https://git.example.com/ml/gitops.git");
    scene.replace("gitops-repo/platform/repository/repository.yaml", ours, theirs);
    scene
}

/// What Argo CD reads a repository with.
pub(super) fn repository_secret(url: &str, label: &str) -> String {
    use base64::Engine as _;
    let encoded = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    let (kind, url) = (encoded("git"), encoded(url));
    format!(r#"{{"metadata":{{"labels":{{{label}}}}},"data":{{"type":"{kind}","url":"{url}"}}}}"#)
}

#[test]
fn no_token_is_made_for_somebody_elses_git_server() {
    let scene = with_repository_elsewhere();
    let page = "docs/from-laptop-to-production.md";
    scene.up(&HERE).failed(4, "`argocd/repository` (type, url), as the repository is https://git.example.com", page);
    let file = "secrets/argocd.repository";
    let label = r#""argocd.argoproj.io/secret-type":"repository""#;
    scene.has_secret("argocd/repository", &[]);
    for (secret, code, words, cure) in [
        (
            repository_secret("https://git.example.com/ml/gitops", ""),
            3,
            "has no label",
            "kubectl --context staging label secret",
        ),
        (repository_secret("https://git.example.com/other", label), 5, "is for another repository", page),
    ] {
        scene.write(file, &secret);
        scene.up(&HERE).failed(code, words, cure);
    }
    let right = repository_secret("https://git.example.com/ml/gitops", label);
    scene.write(file, &right);
    let ended = scene.up(&HERE).succeeded();
    assert!(!ended.stderr.contains("serves"), "{ended:#?}");
    assert_eq!(scene.read(file), right);
    let calls = scene.calls();
    assert!(!calls.iter().any(|call| call.contains("kmlflow token")), "{calls:#?}");
    let plan = scene.run(&[&["plan"], &HERE[..]].concat()).succeeded();
    assert!(
        plan.stdout.contains("check that argocd/repository is there, as the repository is https://git"),
        "{plan:#?}"
    );
    assert!(plan.stdout.contains(page) && !plan.stdout.contains("kmlflow token create"), "{plan:#?}");
}

#[test]
fn the_release_service_is_waited_for_with_the_reason_and_the_cure() {
    let scene = Scene::new();
    scene.write("unready", "statefulset/kmlflow\n");
    let waiting =
        r#"{"waiting":{"reason":"ImagePullBackOff","message":"pull access denied, may require authorization"}}"#;
    let container =
        format!(r#"{{"name":"kmlflow","image":"docker.io/library/kmlflow:0.1.0","ready":false,"state":{waiting}}}"#);
    scene.write(
        "objects-pods",
        &format!(r#"{{"kind":"Pod","metadata":{{"namespace":"k5w","name":"kmlflow-0"}},"status":{{"phase":"Pending","containerStatuses":[{container}]}}}}"#),
    );
    let ended = scene.up(&[&HERE[..], &["--timeout", "1s"]].concat());
    let ended = ended.failed(6, "`statefulset/kmlflow` in `k5w` is not ready after", "cargo bootstrap doctor");
    assert!(ended.stderr.contains("waiting: statefulset/kmlflow in k5w: 0 of 1 pod(s) are ready\n"), "{ended:#?}");
    let reason = "pod k5w/kmlflow-0: image `docker.io/library/kmlflow:0.1.0`: no registry has it by this name";
    assert!(ended.stderr.contains(&format!("are ready ({reason}")), "told while it waits: {ended:#?}");
    assert!(ended.stderr.contains(&format!("  {reason}")) && ended.stderr.contains("by `newName` in"), "{ended:#?}");
    // Of the other namespaces nothing is read for it.
    assert!(!scene.calls().iter().any(|call| call.starts_with("kubectl get pods,") && !call.contains(" k5w ")));
    scene.remove("unready");
    scene.up(&HERE).succeeded();
}
