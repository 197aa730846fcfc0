//! What Argo CD says of a commit, and whether the Application that says it is the release's.

use super::index::Place;
use super::look::Facts;
use super::objects::{Application, OperationPhase, application_name};
use super::trouble::{OPERATOR_CURE, Trouble, TroubleKind, remains, trouble};
use crate::release::Release;

/// The address by which Argo CD reaches the cluster that it runs in, and its name for it.
const OWN_CLUSTER: [&str; 2] = ["https://kubernetes.default.svc", "in-cluster"];

/// Why an Application with the name of a release is not the release's, where it is not. `reads_another` says whether it reads another repository.
pub fn foreign(release: &Release, application: &Application, reads_another: bool) -> Option<String> {
    let Application { repository, path, has_sources, destination, .. } = application;
    let folder = release.key().directory();
    let target = &release.spec.target;
    if *has_sources {
        return Some("reads several sources".to_owned());
    }
    if !path.is_empty() && **path != *folder {
        return Some(format!("reads `{path}` and not `{folder}`"));
    }
    if reads_another {
        return Some(format!("reads another repository, `{repository}`"));
    }
    if !destination.namespace.is_empty() && *destination.namespace != *target.namespace {
        return Some(format!("applies to the namespace `{}` and not to `{}`", destination.namespace, target.namespace));
    }
    let is_own = |cluster: &str| OWN_CLUSTER.contains(&cluster);
    let is_elsewhere = !destination.cluster.is_empty() && is_own(&destination.cluster) != is_own(&target.cluster);
    // An address may be that of any cluster; only Argo CD's own is known by it.
    let is_known = is_own(&destination.cluster) || !destination.cluster.contains("://");
    (is_elsewhere && is_known)
        .then(|| format!("applies to the cluster `{}` and not to `{}`", destination.cluster, target.cluster))
}

/// What Argo CD says of the commit.
pub(super) fn of_sync(release: &Release, facts: Facts<'_>) -> Option<Trouble> {
    let key = release.key();
    let name = application_name(&key);
    let Some(application) = facts.application else {
        return Some(trouble(
            TroubleKind::NoApplication,
            format!("Argo CD has no Application `{name}`"),
            "`kubectl get applicationsets -A` shows whether one reads this repository's `releases/` folders",
        ));
    };
    if let Some(why) = foreign(release, application, facts.reads_another) {
        return Some(trouble(
            TroubleKind::ForeignApplication,
            format!("the Application `{name}` is not this release's: it {why}"),
            format!(
                "delete or rename it, so that the ApplicationSet can make its own: `kubectl get application {name} -A`"
            ),
        ));
    }
    if application.is_deleting {
        return remains(&Place::of(release), None, Some(application));
    }
    of_application(application, facts.is_contained)
}

fn of_application(application: &Application, is_contained: bool) -> Option<Trouble> {
    let is_error = |kind: &str| kind.ends_with("Error") && kind != "SyncError" && kind != "DeletionError";
    if let Some(condition) = application.conditions.iter().find(|it| is_error(&it.kind)) {
        return Some(trouble(
            TroubleKind::Comparison,
            format!("Argo CD cannot compare the commit with the cluster: {}", condition.message),
            "correct what it names; `argocd app get` shows the whole message",
        ));
    }
    if let Some(condition) = application.conditions.iter().find(|it| *it.kind == *"SharedResourceWarning") {
        return Some(trouble(
            TroubleKind::SharedObjects,
            format!("another Application has the same objects, and each undoes the other: {}", condition.message),
            format!("delete the one that is not `{}`: `kubectl get applications -A` shows both", application.name),
        ));
    }
    if application.is_synced && is_contained {
        return None;
    }
    let Some(operation) = &application.operation else { return unnoticed(is_contained) };
    let has_failed = match operation.phase {
        OperationPhase::Failed => true,
        // It is tried again, and says how it failed.
        OperationPhase::Running | OperationPhase::Ending => {
            operation.message.contains("Retrying") || operation.message.contains("failed")
        }
        OperationPhase::Succeeded => false,
    };
    if !has_failed {
        let error = application.conditions.iter().find(|it| *it.kind == *"SyncError");
        return error.map(|it| sync_failed(&it.message)).or_else(|| unnoticed(is_contained));
    }
    Some(sync_failed(&operation.message))
}

/// Argo CD says nothing of a commit; nothing where it does.
fn unnoticed(is_contained: bool) -> Option<Trouble> {
    (!is_contained).then(|| {
        trouble(
            TroubleKind::Unnoticed,
            "Argo CD has not seen the commit yet".to_owned(),
            "see whether it runs and reads this repository: `kubectl get pods -n argocd`",
        )
    })
}

/// What the cluster did not take.
fn sync_failed(message: &str) -> Trouble {
    let has = |word: &str| message.contains(word);
    if let Some(quota) = quota(message) {
        return quota;
    }
    if let Some(right) = right(message) {
        return right;
    }
    if has("failed calling webhook") && has("seldon") {
        return trouble(
            TroubleKind::OperatorAbsent,
            format!("the Seldon operator does not answer, and nothing is applied without it: {message}"),
            OPERATOR_CURE,
        );
    }
    if has("because it is being terminated") {
        return trouble(
            TroubleKind::Terminating,
            format!("the namespace is being deleted: {message}"),
            "once it is gone Argo CD makes it anew; `kubectl get namespace NAMESPACE -o yaml` shows what holds it",
        );
    }
    if has("denied the request") || has("denied request") || has("is invalid") || has("is forbidden") {
        return trouble(
            TroubleKind::Refused,
            format!("the cluster refuses the manifests: {message}"),
            "correct what it names in the release, or roll back: `kmlflow rollback NAME`",
        );
    }
    trouble(
        TroubleKind::SyncFailed,
        format!("Argo CD could not apply the commit: {message}"),
        "correct what it names; Argo CD tries again by itself",
    )
}

/// What a quota of the namespace refuses, where that is what the cluster says.
pub(super) fn quota(message: &str) -> Option<Trouble> {
    let (reason, cure) = if message.contains("exceeded quota") {
        (
            "the namespace's quota is used up",
            "ask for fewer `serving.resources` or replicas, or have the quota raised: `kubectl describe resourcequota -n NAMESPACE`",
        )
    } else if message.contains("failed quota") {
        ("the namespace's quota wants to be told", "name the requests and limits that it counts in `serving.resources`")
    } else {
        return None;
    };
    Some(trouble(TroubleKind::Quota, format!("{reason}: {message}"), cure))
}

/// What an account may not do, where that is what the cluster says: nothing of it is the commit's.
pub(super) fn right(message: &str) -> Option<Trouble> {
    let (_, denied) = message.split_once(r#"is forbidden: User ""#)?;
    let (user, _) = denied.split_once('"')?;
    Some(trouble(
        TroubleKind::Right,
        format!("`{user}` may not do what the commit needs: {message}"),
        "give that account the right that it names, by a Role or a ClusterRole; Argo CD tries again by itself",
    ))
}
