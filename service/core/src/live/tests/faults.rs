//! Every reason that a person needs is found and named, with what helps.

use serde_json::{Value, json};

use super::world::{FIRST, SECOND, World, hash, place, release};
use crate::live::{Kind, TroubleKind, remains};

/// v7 serves, v8 enters and is applied; the operator has made its Deployment.
fn entering() -> World {
    let mut world = World::live(&release("single", "settled", &[("live", "7")]));
    let next = release("canary", "entering", &[("stable", "7"), ("candidate", "8")]);
    world.commit(SECOND, &next);
    world.sync();
    world.deployment("v8", &hash(&next, "v8"), (1, 0));
    world.seldon_says("Creating");
    world.accept_routes();
    world
}

fn waiting(reason: &str, message: &str) -> Value {
    json!({"containerStatuses": [{"name": "model", "image": "", "ready": false, "state": {"waiting": {"reason": reason, "message": message}}}]})
}

#[test]
fn what_pods_say_becomes_a_reason_with_a_cure() {
    let crashed = json!({"containerStatuses": [{"name": "model", "ready": false, "restartCount": 4,
        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s"}},
        "lastState": {"terminated": {"reason": "Error", "exitCode": 3}}}]});
    let killed = json!({"containerStatuses": [{"name": "model", "ready": false, "restartCount": 1, "state": {"running": {}},
        "lastState": {"terminated": {"reason": "OOMKilled", "exitCode": 137}}}]});
    let unready =
        json!({"containerStatuses": [{"name": "model", "ready": false, "restartCount": 0, "state": {"running": {}}}]});
    let initializer = json!({"initContainerStatuses": [{"name": "model-model-initializer", "ready": false,
        "state": {"terminated": {"exitCode": 1, "reason": "Error", "message": "Downloading\nNoSuchKey: m-1/artifacts"}}}],
        "containerStatuses": [{"name": "model", "ready": false, "state": {"waiting": {"reason": "PodInitializing"}}}]});
    let unschedulable = json!({"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
        "message": "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."}]});
    for (status, kind, reason) in [
        (
            waiting("ErrImagePull", "manifest unknown"),
            TroubleKind::ImagePull,
            "v8 cannot pull its image `registry.example/fraud:8`: manifest unknown",
        ),
        (
            waiting("ImagePullBackOff", ""),
            TroubleKind::ImagePull,
            "v8 cannot pull its image `registry.example/fraud:8`: ImagePullBackOff",
        ),
        (
            waiting("CreateContainerConfigError", "secret \"fraud\" not found"),
            TroubleKind::Configuration,
            "the container `model` of v8 cannot be made: secret \"fraud\" not found",
        ),
        (crashed, TroubleKind::CrashLoop, "the container `model` of v8 ends again and again: it ended with code 3"),
        (
            killed,
            TroubleKind::CrashLoop,
            "the container `model` of v8 ends again and again: it was killed because it used more memory than its limit",
        ),
        (unready, TroubleKind::Unready, "the container `model` of v8 runs and does not answer its readiness probe"),
        (
            initializer,
            TroubleKind::Initializer,
            "the model of v8 cannot be fetched: it ended with code 1; its last words: NoSuchKey: m-1/artifacts",
        ),
        (
            unschedulable,
            TroubleKind::Unschedulable,
            "no node takes the pod of v8: 0/3 nodes are available: 3 Insufficient nvidia.com/gpu.",
        ),
    ] {
        let mut world = entering();
        world.pod("v8", status);
        let trouble = world.look().trouble.unwrap();
        assert_eq!((trouble.kind, trouble.reason.as_str()), (kind, reason));
        assert_eq!(trouble.predictor.unwrap().as_str(), "v8");
        assert_eq!(trouble.pod.unwrap().name, "fraud-v8-0-model-abc");
        assert!(kind.is_of_the_commit() && !trouble.cure.is_empty());
    }
}

#[test]
fn how_a_container_ended_and_what_it_said_last_are_both_told() {
    let mut world = entering();
    world.pod(
        "v8",
        json!({"containerStatuses": [{"name": "model", "ready": false,
        "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": {"exitCode": 1}}}]}),
    );
    let reason = world.look_with(Some("KeyError: 'amount'")).trouble.unwrap().reason;
    assert_eq!(
        reason,
        "the container `model` of v8 ends again and again: it ended with code 1; its last words: KeyError: 'amount'"
    );
}

#[test]
fn who_is_killed_for_its_memory_is_told_so_whatever_its_log_says() {
    let mut world = entering();
    world.pod(
        "v8",
        json!({"containerStatuses": [{"name": "model", "ready": false, "restartCount": 4, "state": {"waiting": {"reason": "CrashLoopBackOff"}},
        "lastState": {"terminated": {"reason": "OOMKilled", "exitCode": 137}}}]}),
    );
    let reason = world.look_with(Some("INFO loading shard 3 of 7")).trouble.unwrap().reason;
    let killed = "it was killed because it used more memory than its limit; its last words: INFO loading shard 3 of 7";
    assert!(reason.ends_with(killed), "{reason}");
}

#[test]
fn a_pod_that_does_not_get_beyond_its_start_is_named_once_that_takes_long() {
    let fetching = json!({"initContainerStatuses": [{"name": "model-model-initializer", "ready": false, "state": {"running": {}}}],
        "containerStatuses": [{"name": "model", "ready": false, "state": {"waiting": {"reason": "PodInitializing"}}}]});
    let beside = json!({"initContainerStatuses": [{"name": "proxy", "ready": true, "state": {"running": {}}}],
        "containerStatuses": [{"name": "model", "ready": false, "state": {"waiting": {"reason": "ContainerCreating"}}}]});
    let made = waiting("ContainerCreating", "");
    for (status, container, words) in [
        (fetching, "model-model-initializer", "of v8 does not get beyond its start"),
        (beside, "model", "of v8 does not get beyond its start: ContainerCreating"),
        (made, "model", "of v8 does not get beyond its start: ContainerCreating"),
    ] {
        let mut world = entering();
        world.pod("v8", status);
        assert_eq!(world.trouble(), "nothing", "it has just begun");
        world.is_late = true;
        let trouble = world.look().trouble.unwrap();
        assert_eq!((trouble.kind, trouble.pod.unwrap().container.as_str()), (TroubleKind::Starting, container));
        assert!(trouble.reason.ends_with(words), "{}", trouble.reason);
        assert!(!trouble.kind.is_of_the_commit(), "a node may be at fault");
        let told = world.look_with(Some("MountVolume.SetUp failed: secret \"s3\" not found")).trouble.unwrap().reason;
        assert!(told.ends_with("beyond its start: MountVolume.SetUp failed: secret \"s3\" not found"), "{told}");
    }
}

#[test]
fn a_pod_that_its_node_gave_up_is_no_cause_while_another_one_takes_its_place() {
    let evicted = json!({"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory.",
        "containerStatuses": [{"name": "model", "ready": false, "state": {"terminated": {"exitCode": 137, "reason": "Error"}}}]});
    let mut world = entering();
    world.pod("v8", evicted.clone());
    let mut pod = world.objects[&(Kind::Pod, "fraud-v8-0-model-abc".to_owned())].clone();
    pod["metadata"]["name"] = json!("fraud-v8-0-model-aaa");
    world.put(Kind::Pod, pod);
    assert_eq!(world.trouble(), "nothing", "it lies about");
    world.pod("v8", json!({"containerStatuses": [{"name": "model", "ready": false, "state": {"running": {}}}]}));
    assert_eq!(world.look().trouble.unwrap().kind, TroubleKind::Unready);
    world.pod("v8", evicted);
    world.is_late = true;
    let trouble = world.look().trouble.unwrap();
    assert_eq!(trouble.kind, TroubleKind::GivenUp);
    assert!(trouble.reason.ends_with("was given up: Evicted: The node was low on resource: memory."), "{trouble:?}");
    assert!(!trouble.kind.is_of_the_commit());
}

#[test]
fn what_an_account_may_not_do_is_not_the_commits_fault() {
    let denied = "seldondeployments.machinelearning.seldon.io \"fraud\" is forbidden: User \"system:serviceaccount:argocd:argocd-application-controller\" \
                  cannot patch resource \"seldondeployments\" in API group \"machinelearning.seldon.io\" in the namespace \"models\"";
    let check = |world: &World| {
        let trouble = world.look().trouble.unwrap();
        assert_eq!(trouble.kind, TroubleKind::Right, "{}", trouble.reason);
        let named = "`system:serviceaccount:argocd:argocd-application-controller` may not do what the commit needs";
        assert!(trouble.reason.starts_with(named), "{}", trouble.reason);
        assert!(!trouble.kind.is_of_the_commit());
    };
    let mut world = entering();
    let message = format!("one or more objects failed to apply, reason: {denied}");
    world.application(json!({"sync": {"status": "OutOfSync", "revision": SECOND}, "operationState": {"phase": "Failed", "message": message}}));
    check(&world);
    let mut world = entering();
    let mut deployment = world.objects[&(Kind::Deployment, "fraud-v8-0-model".to_owned())].clone();
    deployment["status"]["conditions"] = json!([{"type": "ReplicaFailure", "status": "True", "message": denied}]);
    world.put(Kind::Deployment, deployment);
    check(&world);
    let mut world = entering();
    let mut seldon = world.objects[&(Kind::Seldon, "fraud".to_owned())].clone();
    seldon["status"] = json!({"state": "Failed", "description": denied});
    world.put(Kind::Seldon, seldon);
    check(&world);
    // What a policy of the cluster refuses is.
    let mut world = entering();
    let policy = "pods \"fraud\" is forbidden: violates PodSecurity \"restricted:latest\"";
    world.application(json!({"sync": {"status": "OutOfSync", "revision": SECOND}, "operationState": {"phase": "Failed", "message": policy}}));
    assert_eq!(world.look().trouble.unwrap().kind, TroubleKind::Refused);
}

#[test]
fn an_application_that_is_not_the_releases_is_named_for_what_is_other() {
    let ours = json!({"source": {"path": "releases/production/models/fraud"}, "destination": {"server": "https://kubernetes.default.svc", "namespace": "models"}});
    for (field, other, words) in [
        ("/source/path", json!("apps/fraud"), "reads `apps/fraud` and not `releases/production/models/fraud`"),
        ("/sources", json!([{"path": "a"}, {"path": "b"}]), "reads several sources"),
        ("/destination/namespace", json!("other"), "applies to the namespace `other` and not to `models`"),
        (
            "/destination",
            json!({"name": "edge", "namespace": "models"}),
            "applies to the cluster `edge` and not to `in-cluster`",
        ),
    ] {
        let mut world = World::live(&release("single", "settled", &[("live", "7")]));
        let mut application = world.objects[&(Kind::Application, "production.models.fraud".to_owned())].clone();
        application["spec"] = ours.clone();
        world.put(Kind::Application, application.clone());
        assert!(world.look().is_live(), "{:?}", world.look());
        application["spec"]["sources"] = json!([]);
        *application["spec"].pointer_mut(field).unwrap() = other;
        world.put(Kind::Application, application);
        let look = world.look();
        assert!(!look.is_live() && !look.applied, "{words}");
        let trouble = look.trouble.unwrap();
        assert_eq!(trouble.kind, TroubleKind::ForeignApplication);
        assert_eq!(
            trouble.reason,
            format!("the Application `production.models.fraud` is not this release's: it {words}")
        );
    }
}

#[test]
fn a_pod_that_merely_starts_or_goes_is_no_trouble() {
    let mut world = entering();
    world.pod("v8", waiting("ContainerCreating", ""));
    assert_eq!(world.trouble(), "nothing");
    let mut pod = world.objects[&(Kind::Pod, "fraud-v8-0-model-abc".to_owned())].clone();
    pod["status"] = waiting("ErrImagePull", "gone");
    pod["metadata"]["deletionTimestamp"] = json!("2026-11-23T10:00:00Z");
    world.put(Kind::Pod, pod);
    assert_eq!(world.trouble(), "nothing");
    // Nor is a pod of a predictor that the commit does not have.
    world.pod("v6", waiting("ErrImagePull", "gone"));
    assert_eq!(world.trouble(), "nothing");
}

#[test]
fn argo_cd_is_quoted() {
    let message = "one or more objects failed to apply, reason: admission webhook \"v1.vseldondeployment.kb.io\" denied the request: Traffic must sum to 100. Retrying attempt #1 at 10:00AM.";
    let quota = "error when creating: pods \"x\" is forbidden: exceeded quota: compute";
    let webhook =
        "Internal error occurred: failed calling webhook \"v1.vseldondeployment.kb.io\": connect: connection refused";
    let operation = |phase: &str, message: &str| json!({"sync": {"status": "OutOfSync", "revision": SECOND}, "operationState": {"phase": phase, "message": message}});
    let comparison = json!({"sync": {"status": "Unknown", "revision": FIRST},
        "conditions": [{"type": "ComparisonError", "message": "kustomize build failed: no such file"}]});
    for (status, kind, word) in [
        (operation("Running", message), TroubleKind::Refused, "Traffic must sum to 100"),
        (operation("Failed", message), TroubleKind::Refused, "the cluster refuses the manifests"),
        (operation("Failed", quota), TroubleKind::Quota, "exceeded quota: compute"),
        (operation("Error", "connection refused"), TroubleKind::SyncFailed, "connection refused"),
        (operation("Failed", webhook), TroubleKind::OperatorAbsent, "the Seldon operator does not answer"),
        (comparison, TroubleKind::Comparison, "kustomize build failed"),
    ] {
        let mut world = entering();
        world.application(status);
        let trouble = world.look().trouble.unwrap();
        assert_eq!(trouble.kind, kind, "{}", trouble.reason);
        assert!(trouble.reason.contains(word), "{}", trouble.reason);
    }
    let mut world = entering();
    world.application(operation("Running", "waiting for healthy state"));
    assert!(!world.look().is_live());
    assert_ne!(world.look().trouble.map(|it| it.kind), Some(TroubleKind::SyncFailed));
}

#[test]
fn what_is_absent_foreign_or_lingering_is_named() {
    let mut world = entering();
    world.remove(Kind::Application, "production.models.fraud");
    assert_eq!(world.trouble(), "Argo CD has no Application `production.models.fraud`");
    let mut world = entering();
    world.put(
        Kind::Application,
        json!({"metadata": {"name": "production.models.fraud"}, "spec": {"source": {"path": "apps/fraud"}}}),
    );
    assert!(world.trouble().contains("reads `apps/fraud`"), "{}", world.trouble());
    let mut world = entering();
    world.remove(Kind::Deployment, "fraud-v8-0-model");
    let trouble = world.look().trouble.unwrap();
    assert_eq!(trouble.kind, TroubleKind::OperatorAbsent, "{}", trouble.reason);
    assert!(!trouble.kind.is_of_the_commit(), "a rollback would help nobody");
    let mut world = entering();
    world.seldon_says("Failed");
    assert_eq!(world.trouble(), "the Seldon operator failed: it did not work");
    let mut world = World::live(&release("single", "settled", &[("live", "7")]));
    world.deployment("v6", "sha256:x", (1, 1));
    assert_eq!(world.trouble(), "the Deployment of v6 is still there");
    world.remove(Kind::Deployment, "fraud-v6-0-model");
    world.routes_say(&[("Accepted", "False"), ("ResolvedRefs", "True")]);
    assert_eq!(world.look().trouble.unwrap().kind, TroubleKind::RouteRefused);
}

#[test]
fn a_quota_that_lets_no_pod_be_made_is_read_from_the_deployment() {
    let mut world = entering();
    let mut deployment = world.objects[&(Kind::Deployment, "fraud-v8-0-model".to_owned())].clone();
    deployment["status"]["conditions"] = json!([{"type": "ReplicaFailure", "status": "True", "message": "pods \"x\" is forbidden: exceeded quota: compute"}]);
    world.put(Kind::Deployment, deployment.clone());
    let trouble = world.look().trouble.unwrap();
    assert_eq!((trouble.kind, trouble.predictor.unwrap().as_str()), (TroubleKind::Quota, "v8"));
    deployment["status"]["conditions"][0]["message"] =
        json!("pods \"x\" is forbidden: failed quota: compute: must specify limits.cpu for: model");
    world.put(Kind::Deployment, deployment);
    let trouble = world.look().trouble.unwrap();
    assert_eq!(trouble.kind, TroubleKind::Quota);
    assert!(trouble.reason.contains("wants to be told: pods"), "{}", trouble.reason);
}

#[test]
fn the_object_that_argo_cd_could_not_apply_is_named_where_its_own_words_do_not() {
    let failed = |message: &str, of_object: &str| {
        let resources = json!([{"kind": "Service", "name": "fraud", "status": "Synced", "message": "serverside-applied"},
            {"kind": "PodMonitor", "name": "fraud", "status": "SyncFailed", "message": of_object}]);
        let mut world = entering();
        world.application(json!({"sync": {"status": "OutOfSync", "revision": SECOND}, "operationState":
            {"phase": "Failed", "message": message, "syncResult": {"revision": SECOND, "resources": resources}}}));
        world.trouble()
    };
    let valid = "one or more synchronization tasks are not valid";
    assert_eq!(
        failed(valid, "make sure the \"PodMonitor\" CRD is installed"),
        format!(
            "Argo CD could not apply the commit: {valid}: PodMonitor `fraud`: make sure the \"PodMonitor\" CRD is installed"
        )
    );
    let said = "one or more objects failed to apply, reason: connection refused";
    assert_eq!(failed(said, "connection refused"), format!("Argo CD could not apply the commit: {said}"));
}

#[test]
fn a_foreign_text_is_one_line_of_bounded_size() {
    let mut world = entering();
    world.pod("v8", waiting("ErrImagePull", &format!("a\n\u{202e}b{}", "x".repeat(10_000))));
    let reason = world.trouble();
    assert!(reason.contains(": a bxx") && reason.chars().count() < 800, "{reason}");
}

#[test]
fn a_silent_argo_cd_a_namespace_that_goes_and_a_second_application_are_told_apart() {
    let terminating = "one or more objects failed to apply, reason: services \"fraud\" is forbidden: unable to create new content in \
                       namespace models because it is being terminated";
    let shared = "SeldonDeployment/fraud is part of applications argocd/production.models.fraud and argocd/second";
    for (status, kind, reason, cure) in [
        (
            json!({"sync": {"status": "Synced", "revision": FIRST}}),
            TroubleKind::Unnoticed,
            "has not seen the commit",
            "get pods -n argocd",
        ),
        (
            json!({"sync": {"status": "OutOfSync", "revision": SECOND}, "operationState": {"phase": "Failed", "message": terminating}}),
            TroubleKind::Terminating,
            "the namespace is being deleted: ",
            "kubectl get namespace",
        ),
        (
            json!({"sync": {"status": "OutOfSync", "revision": SECOND}, "conditions": [{"type": "SharedResourceWarning", "message": shared}]}),
            TroubleKind::SharedObjects,
            shared,
            "delete the one that is not `production.models.fraud`",
        ),
    ] {
        let mut world = World::live(&release("single", "settled", &[("live", "7")]));
        world.commit(SECOND, &release("single", "settled", &[("live", "8")]));
        world.application(status);
        let trouble = world.look().trouble.unwrap();
        assert_eq!(trouble.kind, kind, "{}", trouble.reason);
        assert!(trouble.reason.contains(reason) && trouble.cure.contains(cure), "{trouble:?}");
        assert!(!trouble.kind.is_of_the_commit(), "the state before would be no better off");
    }
}

#[test]
fn what_is_left_of_a_retracted_release_is_named_with_what_holds_it() {
    let mut world = World::live(&release("single", "settled", &[("live", "7")]));
    let said = |world: &World| {
        let application = world.index.application("production.models.fraud");
        remains(&place(), world.index.found(&place()), application).map_or_else(String::new, |it| it.reason)
    };
    let mut seldon = world.objects[&(Kind::Seldon, "fraud".to_owned())].clone();
    seldon["metadata"]["deletionTimestamp"] = json!("2026-11-23T10:00:00Z");
    seldon["metadata"]["finalizers"] = json!(["example.com/a", "example.com/b"]);
    world.put(Kind::Seldon, seldon);
    let held =
        "the SeldonDeployment `fraud` is being deleted, and its finalizer `example.com/a, example.com/b` holds it";
    assert_eq!(said(&world), held);
    // Also of a release that is deployed: somebody else deletes it.
    assert_eq!(world.trouble(), held);
    world.remove(Kind::Seldon, "fraud");
    let application = |deletion: Value, conditions: Value| json!({"metadata": {"name": "production.models.fraud", "deletionTimestamp": deletion}, "status": {"conditions": conditions}});
    world.put(Kind::Application, application(Value::Null, json!([])));
    assert_eq!(said(&world), "Argo CD still has the Application `production.models.fraud`");
    let time = json!("2026-11-23T10:00:00Z");
    world.put(Kind::Application, application(time.clone(), json!([])));
    assert_eq!(said(&world), "the Application `production.models.fraud` is being deleted");
    world.put(Kind::Application, application(time, json!([{"type": "DeletionError", "message": "no such cluster"}])));
    assert!(said(&world).ends_with("made: no such cluster"), "{}", said(&world));
    world.remove(Kind::Application, "production.models.fraud");
    assert_eq!(said(&world), "a Deployment of `models/fraud` is still in the cluster");
    world.remove(Kind::Deployment, "fraud-v7-0-model");
    assert_eq!(said(&world), "a route of `models/fraud` is still in the cluster");
    for (kind, name) in [(Kind::HttpRoute, "fraud"), (Kind::GrpcRoute, "fraud-grpc"), (Kind::Service, "fraud")] {
        world.remove(kind, name);
    }
    assert_eq!(said(&world), "");
}
