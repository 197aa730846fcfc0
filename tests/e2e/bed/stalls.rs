//! Everything that may be in the way of a release, made on the bed: it is named with what helps, and is gone once it has passed.

use serde_json::{Value, json};
use tests::TestEnvironment;
use tests::bed::{Bed, Namespace};
use tests::server::Server;

use super::followed::{is_live_in, until, view, watching};

/// So long a release may take here: what is in its way is there by then.
const DEADLINE: &str = "5s";

/// A namespace of its own that a service releases to.
struct Scene<'s> {
    bed: &'s Bed,
    server: &'s Server<'s>,
    namespace: Namespace<'s>,
}

impl<'s> Scene<'s> {
    fn new(bed: &'s Bed, server: &'s Server<'s>, name: &str) -> Self {
        let namespace = bed.namespace(name);
        namespace.follow(server);
        Self { bed, server, namespace }
    }

    fn key(&self, name: &str) -> String {
        format!("production/{}/{name}", self.namespace.name)
    }

    /// Asks for a release of version 1, which may take five seconds, with these settings besides.
    fn put(&self, name: &str, more: Value) {
        let mut body =
            json!({"model": "fraud", "version": "1", "image": "registry.example/fraud:1", "deadline": DEADLINE});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        if body["modelUri"].is_string() {
            body.as_object_mut().unwrap().remove("image");
        }
        let answer = self.server.put(&self.key(name), &body);
        assert!(matches!(answer.status, 200 | 201), "{name}: {}", answer.text());
    }

    /// Waits until a release is stalled for this reason, with this cure.
    fn stalls(&self, name: &str, (reason, cure): (&str, &str)) {
        let stalled = until(self.server, &self.key(name), &format!("`{name}` is stalled: {reason}"), |view| {
            let status = &view["status"];
            status["state"] == "stalled" && status["reason"].as_str().is_some_and(|text| text.contains(reason))
        });
        assert!(stalled["status"]["cure"].as_str().is_some_and(|text| text.contains(cure)), "{name}: {stalled:#}");
    }

    fn lives(&self, name: &str) {
        until(self.server, &self.key(name), &format!("`{name}` is live"), is_live_in("settled"));
    }

    /// Puts an end to what is wrong with the pods.
    fn heal_pods(&self) {
        self.bed.ask(&["--namespace", &self.namespace.name, "annotate", "pods", "--all", "--overwrite", "bed/go=yes"]);
    }
}

#[test]
fn what_is_wrong_with_pods_is_named_with_what_helps_and_passes() {
    let (bed, environment) = (Bed::shared(), TestEnvironment::new());
    let server = watching(&bed, &environment);
    let scene = Scene::new(&bed, &server, "stalls-pods");
    let of_image = |word: &str| json!({"image": format!("registry.example/{word}:1")});
    let of_cpu = |cpu: &str| json!({"serving": {"resources": {"requests": {"cpu": cpu}}}});
    let troubles = [
        (
            "pull",
            of_image("missing"),
            (
                "v1 cannot pull its image `registry.example/missing:1`: Back-off pulling image \"registry.example/missing:1\"",
                "`serving.pod.imagePullSecrets`",
            ),
        ),
        (
            "crash",
            of_image("crashing"),
            (
                "the container `model` of v1 ends again and again: it ended with code 1; its last words: ValueError: model needs 13 features",
                "kmlflow logs",
            ),
        ),
        (
            "unready",
            of_image("unready"),
            (
                "`model` of v1 runs and does not answer its readiness probe: Readiness probe failed: HTTP probe failed with statuscode: 503",
                "`serving.probe`",
            ),
        ),
        (
            "absent",
            json!({"modelUri": "s3://models/absent/artifacts"}),
            (
                "the model of v1 cannot be fetched: it ended with code 1; its last words: Failed to copy: s3://models/absent/artifacts: directory not found",
                "the storage secret",
            ),
        ),
        (
            "large",
            of_cpu("100"),
            ("no node takes the pod of v1: 0/1 nodes are available: 1 Insufficient cpu", "`serving.resources`"),
        ),
    ];
    for (name, more, _) in &troubles {
        scene.put(name, more.clone());
    }
    for (name, _, said) in &troubles {
        scene.stalls(name, *said);
    }
    scene.heal_pods();
    scene.put("large", of_cpu("100m"));
    for (name, ..) in &troubles {
        scene.lives(name);
        assert_eq!(view(&server, &scene.key(name))["status"].get("cure"), None, "{name}");
    }
}

/// Refuses the SeldonDeployments of one name in a namespace, as the policy of a platform does; it goes with the namespace.
fn refuse(scene: &Scene<'_>, name: &str) -> String {
    let namespace = &scene.namespace.name;
    let uid = scene.bed.get("", "namespace", namespace).unwrap()["metadata"]["uid"].clone();
    let owner = json!([{"apiVersion": "v1", "kind": "Namespace", "name": namespace, "uid": uid}]);
    let policy = format!("signed-{namespace}");
    let metadata = json!({"name": policy, "ownerReferences": owner});
    let api = "admissionregistration.k8s.io/v1";
    let rule = json!({"apiGroups": ["machinelearning.seldon.io"], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"],
        "resources": ["seldondeployments"]});
    let here = json!({"matchLabels": {"kubernetes.io/metadata.name": namespace}});
    let validation =
        json!({"expression": format!("object.metadata.name != '{name}'"), "message": "its image is not signed"});
    scene.bed.apply(&json!({"apiVersion": api, "kind": "ValidatingAdmissionPolicy", "metadata": metadata, "spec": {
        "failurePolicy": "Fail", "matchConstraints": {"namespaceSelector": here, "resourceRules": [rule]}, "validations": [validation]}}).to_string());
    scene.bed.apply(
        &json!({"apiVersion": api, "kind": "ValidatingAdmissionPolicyBinding", "metadata": metadata,
        "spec": {"policyName": policy, "validationActions": ["Deny"]}})
        .to_string(),
    );
    policy
}

#[test]
fn what_argo_cd_cannot_apply_is_named_in_its_words_and_passes() {
    let (bed, environment) = (Bed::shared(), TestEnvironment::new());
    let server = watching(&bed, &environment);
    let scene = Scene::new(&bed, &server, "stalls-sync");
    let policy = refuse(&scene, "refused");
    for name in ["refused", "incomplete", "unknown"] {
        scene.put(name, json!({}));
    }
    for name in ["incomplete", "unknown"] {
        scene.lives(name);
    }
    // Somebody who may push breaks two of them: one cannot be made, the other has a kind that the cluster does not know.
    let checkout = server.clone_repository();
    let folder = |name: &str| format!("releases/{}", scene.key(name));
    let kustomization = |name: &str, more: &str| {
        let file = format!("{}/kustomization.yaml", folder(name));
        let whole = checkout.read(&file).unwrap();
        checkout.write(&file, &format!("{whole}{more}"));
        (file, whole)
    };
    let whole = [kustomization("incomplete", "- absent.yaml\n"), kustomization("unknown", "- gadget.yaml\n")];
    let gadget = "apiVersion: example.com/v1\nkind: Gadget\nmetadata: {name: mine}\n";
    checkout.write(&format!("{}/gadget.yaml", folder("unknown")), gadget);
    let push = |what: &str| {
        checkout.commit(what);
        let pushed = checkout.push(&server.token(), &["origin", "main"]);
        assert_eq!(pushed.code, 0, "{pushed:?}");
    };
    push("Break two releases");
    scene.stalls("refused", ("the cluster refuses the manifests: ", "kmlflow rollback"));
    scene.stalls("refused", ("its image is not signed", "correct what it names"));
    scene.stalls("incomplete", ("Argo CD cannot compare the commit with the cluster: ", "`argocd app get"));
    scene.stalls("incomplete", ("absent.yaml", "correct what it names"));
    scene.stalls("unknown", ("Argo CD could not apply the commit: ", "correct what it names"));
    scene.stalls("unknown", ("Gadget", "correct what it names"));
    for (file, text) in &whole {
        checkout.write(file, text);
    }
    push("Mend them");
    bed.ask(&["delete", "validatingadmissionpolicybinding", &policy]);
    for name in ["refused", "incomplete", "unknown"] {
        scene.lives(name);
    }
}

#[test]
fn pods_that_may_not_be_made_are_told_from_those_that_fail_and_come_when_they_may() {
    let (bed, environment) = (Bed::shared(), TestEnvironment::new());
    let server = watching(&bed, &environment);
    let scene = Scene::new(&bed, &server, "stalls-quota");
    let namespace = scene.namespace.name.clone();
    let quota = |hard: Value| {
        let metadata = json!({"name": "compute", "namespace": namespace});
        let quota = json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata, "spec": {"hard": hard}});
        bed.apply(&quota.to_string());
    };
    quota(json!({"pods": "0"}));
    scene.put("full", json!({}));
    scene.stalls("full", ("the namespace's quota is used up: ", "`kubectl describe resourcequota"));
    scene.stalls(
        "full",
        ("exceeded quota: compute, requested: pods=1, used: pods=0, limited: pods=0", "have the quota raised"),
    );
    quota(json!({"limits.cpu": "8"}));
    scene.put("silent", json!({}));
    scene.stalls("silent", ("the namespace's quota wants to be told: ", "`serving.resources`"));
    scene.stalls("silent", ("failed quota: compute: must specify limits.cpu", "name the requests and limits"));
    bed.ask(&["--namespace", &namespace, "delete", "resourcequota", "compute"]);
    scene.lives("full");
    scene.lives("silent");

    let security = |label: &str| bed.ask(&["label", "namespace", &namespace, "--overwrite", label]);
    security("pod-security.kubernetes.io/enforce=restricted");
    scene.put("privileged", json!({}));
    scene.stalls("privileged", ("no pod of v1 can be made: ", "kmlflow rollback"));
    scene.stalls("privileged", ("violates PodSecurity \"restricted:latest\"", "correct what it names"));
    security("pod-security.kubernetes.io/enforce=privileged");
    scene.lives("privileged");
}

#[test]
fn a_route_that_the_gateway_does_not_take_is_named_and_is_taken_once_the_namespace_has_the_label() {
    let (bed, environment) = (Bed::shared(), TestEnvironment::new());
    let namespace = bed.namespace("stalls-route");
    let gateway = json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
        "metadata": {"name": "labelled", "namespace": namespace.name},
        "spec": {"gatewayClassName": "bed", "listeners": [{"name": "http", "protocol": "HTTP", "port": 28889,
            "allowedRoutes": {"namespaces": {"from": "Selector", "selector": {"matchLabels": {"kmlflow.dev/routes": "true"}}}}}]}});
    bed.apply(&gateway.to_string());
    let kubeconfig = bed.kubeconfig();
    let server = environment
        .server()
        .env("KMLFLOW__KUBERNETES__KUBECONFIG", kubeconfig.to_str().unwrap())
        .env("KMLFLOW__ROUTING__GATEWAY__NAMESPACE", &namespace.name)
        .env("KMLFLOW__ROUTING__GATEWAY__NAME", "labelled")
        .start();
    namespace.follow(&server);
    let scene = Scene { bed: &bed, server: &server, namespace };
    scene.put("fraud", json!({}));
    scene.stalls("fraud", ("the route `fraud` is not accepted: ", "`allowedRoutes`"));
    scene.stalls(
        "fraud",
        ("No listeners included by this parent ref allowed this attachment", "`kubectl describe gateway labelled"),
    );
    bed.ask(&["label", "namespace", &scene.namespace.name, "kmlflow.dev/routes=true"]);
    scene.lives("fraud");
}

#[test]
fn a_bad_image_is_never_live_and_one_that_starts_slowly_not_before_it_serves() {
    let (bed, environment) = (Bed::shared(), TestEnvironment::new());
    let server = watching(&bed, &environment);
    let scene = Scene::new(&bed, &server, "never-early");
    for name in ["bad", "slow"] {
        scene.put(name, json!({}));
    }
    for name in ["bad", "slow"] {
        scene.lives(name);
    }
    // The operator says `Available` of both for a moment: the Deployments that it looks at are as they were.
    scene.put("bad", json!({"image": "registry.example/missing:2"}));
    scene.put("slow", json!({"image": "registry.example/held:2", "deadline": "10m"}));
    let commit = |name: &str| view(&server, &scene.key(name))["commit"].clone();
    let (bad, slow) = (commit("bad"), commit("slow"));
    let is_new = |view: &Value, commit: &Value| view["commit"] == *commit && view["status"]["state"] == "live";
    // Taken back because it stalled, and never live until then.
    until(&server, &scene.key("bad"), "it is taken back", |view| {
        assert!(!is_new(view, &bad), "{view:#}");
        view["commit"] != bad
    });
    scene.lives("bad");
    assert!(!is_new(&view(&server, &scene.key("slow")), &slow));
    let pods = bed.list(&scene.namespace.name, "pods");
    let of_slow = pods.iter().filter(|pod| pod["metadata"]["labels"]["seldon-deployment-id"] == "slow");
    assert_eq!(of_slow.count(), 2, "the old pod stays beside the new one");
    scene.heal_pods();
    scene.lives("slow");
    let events = server.get(&format!("/releases/{}/events", scene.key("bad")));
    let lives =
        events["items"].as_array().unwrap().iter().filter(|item| item["kind"] == "live" && item["commit"] == bad);
    assert_eq!(lives.count(), 0, "{events:#}");
}
