//! The platform's own `ApplicationSet` and project, for a service of a test.

use serde_json::Value;
use tests::bed::Bed;
use tests::environment::run;

use super::platform::component;

/// What makes Applications of a service's releases, until it is dropped.
pub(super) struct Releases<'a> {
    bed: &'a Bed,
}

impl<'a> Releases<'a> {
    /// The platform's own, with the service's repository in the place of the platform's.
    pub(super) fn of(bed: &'a Bed, repository: &str) -> Self {
        let there = "http://kmlflow.k5w.svc.cluster.local/git/gitops.git";
        let objects = component(bed, "releases");
        assert_eq!(objects.matches(there).count(), 3, "{objects}");
        bed.apply(&objects.replace(there, repository));
        Self { bed }
    }

    /// Has a look taken at the branch now.
    pub(super) fn look(&self) {
        let annotation = "argocd.argoproj.io/application-set-refresh=true";
        self.bed.ask(&[
            "--namespace",
            "argocd",
            "annotate",
            "--overwrite",
            "applicationset",
            "releases-production",
            annotation,
        ]);
    }

    pub(super) fn until(&self, what: &str, application: &str, condition: impl Fn(&Value) -> bool) {
        self.bed.until(what, ("argocd", "application"), |object| {
            (object["metadata"]["name"] == application && condition(object)).then_some(())
        });
    }
}

impl Drop for Releases<'_> {
    fn drop(&mut self) {
        let run = |arguments: &[&str]| {
            let run = run(self.bed.kubectl(&["--namespace", "argocd"]).args(arguments));
            // What goes by itself meanwhile need not be patched.
            let is_gone = run.stderr.contains("(NotFound)");
            assert!(run.code == 0 || is_gone || std::thread::panicking(), "{run:?}");
        };
        run(&["delete", "applicationset/releases-production", "--ignore-not-found"]);
        // Argo CD would first try what was refused for minutes; the objects go with their namespace.
        for application in self.bed.list("argocd", "application") {
            let name = application["metadata"]["name"].as_str().unwrap_or_default();
            if application["spec"]["project"] == "releases" {
                let no_finalizers = r#"{"metadata": {"finalizers": null}}"#;
                run(&["patch", "application", name, "--type=merge", "--patch", no_finalizers]);
            }
        }
        let ours = "--selector=app.kubernetes.io/managed-by=kmlflow";
        run(&["delete", "application", ours, "--ignore-not-found", "--timeout=60s"]);
        run(&["delete", "appproject/releases", "--ignore-not-found"]);
    }
}
