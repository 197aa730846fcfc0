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
    scene.up(&with).succeeded();
    let calls = scene.calls();
    assert!(!calls.iter().any(|call| call.contains("rollout status deployment/argocd")), "{calls:#?}");
}

#[test]
fn a_repository_of_theirs_is_read_with_their_secret_and_with_no_token_of_ours() {
    let scene = Scene::apart();
    let file = scene.path("gitops-repo/platform/repository/repository.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    let ours = "http://kmlflow.k5w.svc.cluster.local/git/gitops.git";
    assert!(text.contains(ours), "{text}");
    std::fs::write(&file, text.replace(ours, "https://git.example.com/team/gitops.git")).unwrap();
    let plan = scene.run(&[&["plan"], &HERE[..]].concat()).succeeded();
    assert!(plan.stdout.contains("check that argocd/repository is there"), "{plan:#?}");
    scene.up(&HERE).failed(4, "`argocd/repository`", "docs/from-laptop-to-production.md");
    assert!(!scene.calls().iter().any(|call| call.contains("create")), "nothing was made");
    std::fs::create_dir_all(scene.path("secrets")).unwrap();
    scene.write("secrets/argocd.repository", r#"{"metadata":{"name":"repository","namespace":"argocd"},"data":{}}"#);
    scene.up(&HERE).succeeded();
    let calls = scene.calls();
    assert!(!calls.iter().any(|call| call.contains("token create")), "{calls:#?}");
}

#[test]
fn the_image_is_named_as_the_manifests_name_it_and_what_keeps_its_pods_is_told() {
    let scene = Scene::apart().fault("^kubectl rollout status statefulset/kmlflow", "echo 'Waiting for it'; exit 0");
    let file = scene.path("gitops-repo/platform/kmlflow/kustomization.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("newName: kmlflow,", "newName: registry.example.com/ml/kmlflow,")).unwrap();
    let waiting = r#"{"waiting":{"reason":"ImagePullBackOff","message":"Back-off pulling image"}}"#;
    let status = format!(
        r#"{{"phase":"Pending","containerStatuses":[{{"name":"kmlflow","image":"kmlflow:0.1.0","state":{waiting}}}]}}"#
    );
    let pod = r#"{"kind":"Pod","metadata":{"namespace":"k5w","name":"kmlflow-0"},"spec":{"containers":[{"name":"kmlflow","image":"kmlflow:0.1.0"}]},"#;
    scene.write("objects-pods", &format!(r#"{pod}"status":{status}}}"#));
    let ended = scene.up(&[&HERE[..], &["--timeout", "1s"]].concat());
    assert!(ended.stderr.contains("pulls `registry.example.com/ml/kmlflow:0.1.0`"), "{ended:#?}");
    ended.failed(6, "pod k5w/kmlflow-0", "--namespace k5w describe pod kmlflow-0");
}
