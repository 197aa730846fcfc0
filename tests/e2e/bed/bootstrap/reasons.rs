use serde_json::{Value, json};
use tests::TestEnvironment;
use tests::bed::Bed;
use tests::environment::run;

use super::{Scene, real};

/// Enough parts to fail in each way.
const OTHERS: [&str; 6] =
    ["environments", "monitoring", "object-store", "object-store-browser", "jupyterlab", "meilisearch"];

/// How often `up` is let run into its time: Argo CD takes its time for the first Application.
const ATTEMPTS: usize = 10;

impl Scene<'_> {
    /// Brings it up until that ends with these words about a wave that is not healthy in time.
    fn up_ends_with(&self, words: &[&str]) {
        let mut said = Vec::new();
        for _ in 0..ATTEMPTS {
            let ran = run(&mut self.up(&OTHERS, &["--timeout", "15s"]));
            if ran.code == 6 && words.iter().all(|word| ran.stderr.contains(word)) {
                return;
            }
            said.push(ran);
        }
        panic!("never {words:?}: {said:#?}");
    }

    /// The findings of the doctor: what each is about, with its reason and its cure.
    fn findings(&self) -> Vec<Value> {
        let ran = self.ask(&["doctor", "--output", "json"]);
        let found: Vec<Value> = serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
        assert_eq!(ran.code, i32::from(!found.is_empty()), "{ran:?}");
        found
    }

    /// The doctor's finding about something, which must have these words.
    fn finds(&self, about: &str, reason: &str, cure: &str) {
        let found = self.findings();
        let has = |finding: &Value, field: &str, words: &str| finding[field].as_str().unwrap().contains(words);
        assert!(
            found.iter().any(|one| has(one, "subject", about) && has(one, "reason", reason) && has(one, "cure", cure)),
            "{about}: {reason}; {cure}: {found:#?}"
        );
    }

    /// Changes the image of MLflow in the repository, and has Argo CD look.
    fn set_tag_of_mlflow(&self, prefix: &str) {
        let file = "platform/mlflow/kustomization.yaml";
        self.commit(file, &real(file).replace("newTag: ", &format!("newTag: {prefix}")));
    }
}

#[test]
fn what_fails_is_named_with_its_reason_and_its_cure_until_it_is_cured() {
    let (bed, environment) = (Bed::alone(), TestEnvironment::new());
    let scene = Scene::new(&bed, &environment, "reasons");
    scene.set_tag_of_mlflow("limited-");

    // One volume, which the service takes: none is left for the database.
    scene.volumes(0, 1);
    let service = run(&mut scene.up(&OTHERS, &["--timeout", "15s"]));
    assert_ne!(service.code, 0, "the service's pod cannot be entered yet: {service:?}");
    assert!(
        service.stderr.contains("FAIL") && service.stderr.contains("Argo CD's way to the repository"),
        "{service:?}"
    );
    scene.open_the_pod();
    scene.up_ends_with(&["wave -10", "postgresql", "volume claim storage/data-postgres-0", "no volume could be made"]);
    scene.finds("volume claim storage/data-postgres-0", "no volume could be made", "provisioner");
    let status = scene.ask(&["status"]);
    assert!(status.code == 6 && status.stdout.contains("postgresql") && status.stderr.contains("doctor"), "{status:?}");
    scene.volumes(1, 1);

    bed.until("the database runs", ("storage", "pod"), |pod| (pod["status"]["phase"] == "Running").then_some(()));
    let annotate = |annotation: &str| bed.ask(&["--namespace", "storage", "annotate", "pod", "postgres-0", annotation]);
    annotate("bed/pod=crashing");
    bed.until("it crashes", ("storage", "pod"), |pod| {
        (pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"] == "CrashLoopBackOff").then_some(())
    });
    scene.finds("pod storage/postgres-0", "ValueError: model needs 13 features", "logs --namespace storage");
    annotate("bed/go=yes");

    scene.up_ends_with(&["wave 0", "mlflow", "the registry's limit of pulls is reached"]);
    scene.finds("pod mlflow/mlflow-", "the registry's limit of pulls is reached", "docker-registry");
    scene.set_tag_of_mlflow("");
    bed.ask(&["--namespace", "argocd", "annotate", "application", "mlflow", "argocd.argoproj.io/refresh=normal"]);
    // It is watched until everything is healthy.
    let watched = scene.ask(&["status", "--watch"]);
    assert!(watched.code == 0 && watched.stdout.contains("3 of 3 are healthy"), "{watched:?}");
    assert_eq!(scene.findings(), [] as [Value; 0]);
    the_roots_come_first(&scene);
}

/// What is wrong with the cluster itself explains the rest.
fn the_roots_come_first(scene: &Scene<'_>) {
    let bed = scene.bed;
    let node = &scene.name;
    let hook = |name: &str, bundle: Option<&str>| {
        json!({"name": format!("{name}.example.com"), "admissionReviewVersions": ["v1"], "sideEffects": "None",
            "clientConfig": {"service": {"namespace": "mlflow", "name": name}, "caBundle": bundle},
            "rules": [{"apiGroups": ["nowhere.example.com"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["none"]}]})
    };
    let objects = [
        json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": node}, "spec": {"unschedulable": true}}),
        json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": node, "namespace": "kube-system", "labels": {"k8s-app": "kube-dns"}},
            "spec": {"nodeName": "kwok-0", "containers": [{"name": "coredns", "image": "coredns:unready"}]}}),
        json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration", "metadata": {"name": node},
            "webhooks": [hook("unsigned", None), hook("absent", Some("LS0tLS1CRUdJTi0tLS0tCg=="))]}),
    ];
    for object in &objects {
        bed.apply(&object.to_string());
    }
    let pressure = json!({"status": {"conditions": [{"type": "MemoryPressure", "status": "True", "reason": "KubeletHasInsufficientMemory", "message": "kubelet has insufficient memory available"}]}});
    bed.ask(&["patch", "node", node, "--subresource=status", "--type=strategic", "--patch", &pressure.to_string()]);
    bed.until("the resolver is not ready", ("kube-system", "pod"), |pod| {
        (pod["status"]["containerStatuses"][0]["ready"] == false).then_some(())
    });
    scene.finds(&format!("node {node}"), "runs out of memory", "smaller profile");
    scene.finds("the resolver of the cluster", "no pod of it is ready", "k8s-app=kube-dns");
    scene.finds("webhook unsigned.example.com", "no certificate of its authority", "cert-manager");
    scene.finds("webhook absent.example.com", "has no pod that is ready", "pods in `mlflow`");
    let found = scene.findings();
    assert!(found[0]["subject"].as_str().unwrap().starts_with("node "), "{found:#?}");
    for object in ["node/", "validatingwebhookconfiguration/"] {
        bed.ask(&["delete", &format!("{object}{node}")]);
    }
    bed.ask(&["--namespace", "kube-system", "delete", "pod", node]);
    assert_eq!(scene.findings(), [] as [Value; 0]);
}
