//! An API server that does not take some releases, as the policy of a company may have it.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::bed::{Bed, Namespace};

/// It takes a moment; this only ends a hanging test.
const WITHIN: Duration = Duration::from_secs(60);

/// Has the API server refuse SeldonDeployments of a namespace whose image has this word, until it is dropped.
pub struct Refusing<'a> {
    bed: &'a Bed,
    name: String,
}

impl<'a> Refusing<'a> {
    /// Begins, and waits until the API server goes by it.
    ///
    /// # Panics
    /// When it does not in time.
    #[track_caller]
    pub fn begin(bed: &'a Bed, namespace: &Namespace<'_>, word: &str) -> Self {
        let name = format!("refuse-{}", namespace.name);
        let rule = json!({"apiGroups": ["machinelearning.seldon.io"], "apiVersions": ["*"], "operations": ["CREATE", "UPDATE"], "resources": ["seldondeployments"]});
        let is_ours = format!("object.metadata.namespace != '{}'", namespace.name);
        let has_word = format!(
            "object.spec.predictors.all(p, p.componentSpecs.all(c, c.spec.containers.all(i, !i.image.contains('{word}'))))"
        );
        let policy = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy", "metadata": {"name": name},
            "spec": {"failurePolicy": "Fail", "matchConstraints": {"resourceRules": [rule]},
                "validations": [{"expression": format!("{is_ours} || {has_word}"), "message": "images of this registry are not allowed here"}]}});
        let binding = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": {"name": name}, "spec": {"policyName": name, "validationActions": ["Deny"]}});
        bed.apply(&format!("{policy}\n---\n{binding}"));
        let refusing = Self { bed, name };
        // It takes a moment until the API server goes by it.
        let probe = json!({"apiVersion": "machinelearning.seldon.io/v1", "kind": "SeldonDeployment", "metadata": {"name": "probe", "namespace": namespace.name},
            "spec": {"predictors": [{"name": "p", "graph": {"name": "m"}, "componentSpecs": [{"spec": {"containers": [{"name": "m", "image": word}]}}]}]}});
        let deadline = Instant::now() + WITHIN;
        while bed.try_apply(&probe.to_string(), &["--server-side", "--dry-run=server"]).is_ok() {
            assert!(Instant::now() < deadline, "it is not refused");
        }
        refusing
    }
}

impl Drop for Refusing<'_> {
    fn drop(&mut self) {
        for kind in ["validatingadmissionpolicybinding", "validatingadmissionpolicy"] {
            self.bed.ask(&["delete", kind, &self.name, "--ignore-not-found"]);
        }
    }
}
