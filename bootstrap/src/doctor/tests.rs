use super::Objects;
use super::diagnose::{crashed, diagnose};
use serde_json::{Value, json};

fn pod(namespace: &str, name: &str, status: Value) -> Value {
    json!({"metadata": {"namespace": namespace, "name": name}, "status": status})
}

fn waiting(reason: &str, message: &str) -> Value {
    json!({"phase": "Pending", "containerStatuses": [
        {"name": "main", "image": "docker.io/x/y:1", "ready": false, "state": {"waiting": {"reason": reason, "message": message}}}]})
}

fn event(name: &str, reason: &str, message: &str) -> Value {
    json!({"metadata": {"namespace": "mlflow"}, "involvedObject": {"kind": "Pod", "namespace": "mlflow", "name": name},
        "reason": reason, "message": message, "lastTimestamp": "2026-11-28T10:00:00Z"})
}

/// One finding, which has these words in its reason and its cure.
#[track_caller]
fn check(objects: &Objects, reason: &str, cure: &str) {
    let findings = diagnose(objects);
    let [finding] = findings.as_slice() else { panic!("{findings:#?}") };
    assert!(finding.reason.contains(reason), "{finding:#?}");
    assert!(finding.cure.contains(cure), "{finding:#?}");
}

#[test]
fn a_pull_that_fails_has_the_registrys_reason() {
    for (said, reason, cure) in [
        ("toomanyrequests: You have reached your unauthenticated pull rate limit", "limit of pulls", "six hours"),
        ("manifest unknown: docker.io/x/y:1: not found", "no such image", "correct name and tag"),
        (
            "pull access denied, repository does not exist or may require authorization",
            "does not let the cluster in",
            "pull secret",
        ),
        ("dial tcp: lookup registry.example: no such host", "is not reached", "network"),
        ("write /x: no space left on device", "disk of the node is full", "prune"),
        ("something else", "cannot be pulled", "kubectl describe pod m --namespace mlflow"),
    ] {
        let objects =
            Objects { pods: vec![pod("mlflow", "m", waiting("ImagePullBackOff", said))], ..Objects::default() };
        check(&objects, reason, cure);
    }
}

#[test]
fn where_the_pod_only_says_that_it_backs_off_the_event_says_why() {
    let objects = Objects {
        pods: vec![pod("mlflow", "m", waiting("ImagePullBackOff", "Back-off pulling image"))],
        events: vec![
            event("m", "Failed", "Failed to pull image: 429 Too Many Requests"),
            event("m", "Failed", "Error: ErrImagePull"),
        ],
        ..Objects::default()
    };
    let reasons = diagnose(&Objects { events: vec![objects.events[0].clone()], ..objects });
    assert!(reasons[0].reason.contains("limit of pulls"), "{reasons:?}");
}

#[test]
fn a_crash_has_its_code_and_its_last_line() {
    let mut status = waiting("CrashLoopBackOff", "back-off 5m0s");
    status["containerStatuses"][0]["lastState"] = json!({"terminated": {"exitCode": 1, "reason": "Error"}});
    let mut objects = Objects { pods: vec![pod("mlflow", "m", status)], ..Objects::default() };
    assert_eq!(crashed(&objects.pods), [("mlflow".to_owned(), "m".to_owned(), "main".to_owned())]);
    check(&objects, "code 1", "kubectl logs --namespace mlflow m --container main --previous");
    objects.last_lines = vec![("mlflow/m/main".to_owned(), "No module named 'psycopg'".to_owned())];
    check(&objects, "No module named 'psycopg'", "--previous");
}

#[test]
fn a_container_that_is_killed_for_its_memory_is_told_from_one_that_crashes() {
    let mut status = waiting("CrashLoopBackOff", "");
    status["containerStatuses"][0]["lastState"] = json!({"terminated": {"exitCode": 137, "reason": "OOMKilled"}});
    check(
        &Objects { pods: vec![pod("mlflow", "m", status)], ..Objects::default() },
        "more memory than its limit",
        "limits.memory",
    );
}

#[test]
fn a_pod_without_a_node_says_what_is_lacking() {
    for (said, cure) in [
        ("0/1 nodes are available: 1 Insufficient memory.", "smaller profile"),
        ("0/1 nodes are available: 1 Insufficient nvidia.com/gpu.", "nvidia.com/gpu.present"),
        ("0/3 nodes are available: 3 node(s) had volume node affinity conflict.", "volume claim"),
        ("0/1 nodes are available: 1 node(s) had untolerated taint {x: }.", "Taints"),
    ] {
        let status = json!({"phase": "Pending", "conditions": [
            {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": said}]});
        check(&Objects { pods: vec![pod("mlflow", "m", status)], ..Objects::default() }, said, cure);
    }
}

#[test]
fn a_claim_without_a_volume_says_whether_it_is_the_class() {
    let claim = |class: Option<&str>| json!({"metadata": {"namespace": "storage", "name": "data-postgres-0"}, "spec": {"storageClassName": class}, "status": {"phase": "Pending"}});
    let class = |name: &str| json!({"metadata": {"name": name, "annotations": {}}});
    check(
        &Objects { claims: vec![claim(None)], storage_classes: vec![class("a")], ..Objects::default() },
        "no default",
        "is-default-class=true",
    );
    check(
        &Objects { claims: vec![claim(Some("b"))], storage_classes: vec![class("a")], ..Objects::default() },
        "`b`, which is not there",
        "get storageclass",
    );
    // Waiting for its first consumer is no fault.
    assert_eq!(
        diagnose(&Objects { claims: vec![claim(Some("a"))], storage_classes: vec![class("a")], ..Objects::default() }),
        []
    );
    let failed = json!({"metadata": {"namespace": "storage"}, "involvedObject": {"kind": "PersistentVolumeClaim", "namespace": "storage", "name": "data-postgres-0"},
        "reason": "ProvisioningFailed", "message": "no space"});
    check(
        &Objects {
            claims: vec![claim(Some("a"))],
            storage_classes: vec![class("a")],
            events: vec![failed],
            ..Objects::default()
        },
        "no space",
        "provisioner",
    );
}

#[test]
fn a_missing_secret_is_cured_by_who_makes_it() {
    let mount = |name: &str| Objects {
        pods: vec![pod("mlflow", "m", json!({"phase": "Pending"}))],
        events: vec![event("m", "FailedMount", &format!("MountVolume.SetUp failed: {name}"))],
        makes: vec!["mlflow/mlflow".to_owned()],
        ..Objects::default()
    };
    check(&mount("secret \"mlflow\" not found"), "secret \"mlflow\" not found", "cargo bootstrap up");
    let theirs = "kubectl create secret generic theirs --namespace mlflow";
    check(&mount("secret \"theirs\" not found"), "not found", theirs);
    check(&mount("references non-existent secret key: ca.crt"), "ca.crt", "add the key below `stringData`");
    let lacking = |said: &str| Objects {
        pods: vec![pod("mlflow", "m", waiting("CreateContainerConfigError", said))],
        makes: vec!["mlflow/mlflow".to_owned()],
        ..Objects::default()
    };
    check(&lacking("secret \"mlflow\" not found"), "lacks a setting", "cargo bootstrap up");
    check(&lacking("secret \"theirs\" not found"), "lacks a setting", "docs/from-laptop-to-production.md");
    let key = "couldn't find key database-uri in Secret mlflow/mlflow";
    check(&lacking(key), "database-uri", "kubectl edit secret mlflow --namespace mlflow");
    check(&lacking("configmap \"x\" not found"), "configmap", "the message names what is missing");
}

#[test]
fn a_node_in_trouble_is_told_first() {
    let node = json!({"metadata": {"name": "k5w"}, "status": {"conditions": [
        {"type": "DiskPressure", "status": "True", "message": "kubelet has disk pressure"}, {"type": "Ready", "status": "True"}]}});
    let objects = Objects {
        nodes: vec![node.clone()],
        pods: vec![pod("mlflow", "m", waiting("ImagePullBackOff", "x"))],
        ..Objects::default()
    };
    let findings = diagnose(&objects);
    assert_eq!(findings.len(), 2);
    assert!(findings[0].subject == "node k5w" && findings[0].reason.contains("disk"), "{findings:#?}");
    for (condition, status, reason) in
        [("Ready", "Unknown", "not ready"), ("MemoryPressure", "True", "memory"), ("PIDPressure", "True", "processes")]
    {
        let node =
            json!({"metadata": {"name": "k5w"}, "status": {"conditions": [{"type": condition, "status": status}]}});
        check(&Objects { nodes: vec![node], ..Objects::default() }, reason, "");
    }
}

#[test]
fn a_cluster_without_names_is_told() {
    let resolver = |ready: &str| {
        json!({"metadata": {"namespace": "kube-system", "name": "coredns-1", "labels": {"k8s-app": "kube-dns"}},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": ready}]}})
    };
    check(
        &Objects { pods: vec![resolver("False")], ..Objects::default() },
        "no pod of it is ready",
        "k8s-app=kube-dns",
    );
    assert_eq!(diagnose(&Objects { pods: vec![resolver("False"), resolver("True")], ..Objects::default() }), []);
}

#[test]
fn a_webhook_without_certificate_or_pod_is_told_and_foreign_ones_are_not() {
    let configuration = |bundle: &str, namespace: &str| {
        json!({"metadata": {"name": "seldon"}, "webhooks": [{"name": "v1", "failurePolicy": "Fail",
            "clientConfig": {"caBundle": bundle, "service": {"namespace": namespace, "name": "webhook"}}}]})
    };
    let pods = || vec![pod("seldon-system", "s", json!({"phase": "Running"}))];
    let slice = json!({"metadata": {"namespace": "seldon-system", "labels": {"kubernetes.io/service-name": "webhook"}},
        "endpoints": [{"conditions": {"ready": true}}]});
    check(
        &Objects { webhooks: vec![configuration("", "seldon-system")], pods: pods(), ..Objects::default() },
        "no certificate",
        "cert-manager",
    );
    check(
        &Objects { webhooks: vec![configuration("x", "seldon-system")], pods: pods(), ..Objects::default() },
        "has no pod",
        "not ready",
    );
    let well = Objects {
        webhooks: vec![configuration("x", "seldon-system")],
        pods: pods(),
        services: vec![slice],
        ..Objects::default()
    };
    assert_eq!(diagnose(&well), []);
    assert_eq!(
        diagnose(&Objects { webhooks: vec![configuration("", "elsewhere")], pods: pods(), ..Objects::default() }),
        []
    );
}

#[test]
fn a_gateway_without_an_address_is_told_with_its_cure() {
    let gateway = json!({"metadata": {"namespace": "gateway", "name": "models"}, "status": {"conditions": [
        {"type": "Accepted", "status": "True"}, {"type": "Programmed", "status": "False", "reason": "AddressNotAssigned", "message": "No addresses"}]}});
    check(
        &Objects { gateways: vec![gateway], ..Objects::default() },
        "not programmed (AddressNotAssigned)",
        "NodePort",
    );
}

#[test]
fn an_application_that_cannot_be_applied_has_the_reason_by_kind() {
    for (said, cure) in [
        ("failed to list refs: authentication required", "delete secret repository"),
        ("failed to fetch chart: dial tcp: lookup host.example: no such host", "network"),
        ("no matches for kind \"Gateway\" in version", "tried again by itself"),
        ("resource x is not permitted in project mlflow", "catalogue"),
        ("failed calling webhook \"v1\"", "webhooks above"),
        ("else", "describe application"),
    ] {
        let application =
            json!({"metadata": {"name": "mlflow"}, "status": {"operationState": {"phase": "Failed", "message": said}}});
        check(&Objects { applications: vec![application], ..Objects::default() }, said, cure);
        let condition = json!({"metadata": {"name": "mlflow"}, "status": {"conditions": [{"type": "ComparisonError", "message": said}]}});
        check(&Objects { applications: vec![condition], ..Objects::default() }, said, cure);
    }
}

#[test]
fn a_repository_that_is_somebody_elses_is_opened_by_what_they_gave() {
    let condition = json!({"type": "ComparisonError", "message": "authentication required"});
    let application = json!({"metadata": {"name": "mlflow"}, "status": {"conditions": [condition]}});
    let objects = Objects { applications: vec![application], is_repository_given: true, ..Objects::default() };
    check(&objects, "authentication required", "correct `username` and `password`");
}

#[test]
fn of_an_application_that_is_being_removed_only_what_keeps_it_is_told() {
    let leaving = |kind: &str| {
        let condition = json!({"type": kind, "message": "the repository is not there"});
        json!({"metadata": {"name": "mlflow", "deletionTimestamp": "2026-11-30T04:00:00Z"},
            "status": {"conditions": [condition], "operationState": {"phase": "Failed", "message": "it was not applied"}}})
    };
    let found = |kind| diagnose(&Objects { applications: vec![leaving(kind)], ..Objects::default() });
    assert_eq!(found("ComparisonError"), []);
    assert_eq!(found("DeletionError")[0].reason, "cannot be removed: the repository is not there");
}

#[test]
fn a_platform_that_is_well_has_no_finding() {
    let running = json!({"phase": "Running", "containerStatuses": [{"name": "main", "ready": true, "state": {"running": {}},
        "lastState": {"terminated": {"reason": "OOMKilled"}}}]});
    let application =
        json!({"metadata": {"name": "mlflow"}, "status": {"operationState": {"phase": "Succeeded", "retryCount": 3}}});
    assert_eq!(
        diagnose(&Objects {
            pods: vec![pod("mlflow", "m", running)],
            applications: vec![application],
            ..Objects::default()
        }),
        []
    );
}
