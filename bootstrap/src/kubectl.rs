//! The cluster, asked and changed through `kubectl`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::fault::Fault;
use crate::program::{Answer, Call};

/// The oldest `kubectl` that will do: 1.30 is the first whose server-side `diff` shows what `apply --server-side` would do to every kind here.
pub const MINIMUM: crate::version::Version = crate::version::Version::new(1, 30);

/// Who changes things, in the managed fields of every object.
pub const MANAGER: &str = "kmlflow-bootstrap";

/// How long the API server may take for one answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);

/// How long an apply may take: the largest, Argo CD with its kinds, took 20 s on a loaded machine.
const APPLY_LIMIT: Duration = Duration::from_secs(300);

/// The name and the keys of each Secret: one is answered by itself, several as a list.
const KEYS: &str = concat!(
    r#"go-template={{define "one"}}{{.metadata.name}}{{range $key, $value := .data}}{{"\t"}}{{$key}}{{end}}{{"\n"}}{{end}}"#,
    r#"{{if .items}}{{range .items}}{{template "one" .}}{{end}}{{else}}{{template "one" .}}{{end}}"#
);

#[derive(Debug, Clone)]
pub struct Kubectl {
    context: Option<String>,
    /// How long the API server may take to be reached at all, where that is not sure.
    patience: Option<&'static str>,
}

/// What came of making an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Made {
    Now,
    Before,
}

impl Kubectl {
    pub fn new(context: Option<&str>) -> Self {
        Self { context: context.map(str::to_owned), patience: None }
    }

    /// For a cluster that may not answer.
    pub fn impatient(context: &str) -> Self {
        Self { patience: Some("--request-timeout=5s"), ..Self::new(Some(context)) }
    }

    /// The current context of the kubeconfig.
    pub fn current_context() -> Result<Option<String>, Fault> {
        let answer = Call::new("kubectl", ["config", "current-context"]).run()?;
        Ok(Some(answer.stdout.trim().to_owned()).filter(|name| answer.is_success() && !name.is_empty()))
    }

    /// Every context of the kubeconfig.
    pub fn contexts() -> Result<Vec<String>, Fault> {
        let answer = Call::new("kubectl", ["config", "get-contexts", "--output", "name"]).run()?;
        refuse(&answer, "the contexts of the kubeconfig cannot be listed")?;
        Ok(answer.stdout.lines().map(str::to_owned).collect())
    }

    pub fn call(&self, arguments: &[&str]) -> Call {
        let context = self.context.iter().flat_map(|name| ["--context", name.as_str()]);
        let patience = self.patience.iter().copied();
        Call::new("kubectl", context.chain(patience).chain(arguments.iter().copied())).within(ANSWER_LIMIT)
    }

    /// The objects that `kubectl get` finds; none where the kind is not known yet.
    pub fn list(&self, arguments: &[&str]) -> Result<Vec<Value>, Fault> {
        let answer = self.call(&[&["get"], arguments, &["--output", "json"]].concat()).run()?;
        if is_unknown_kind(&answer) || is_missing(&answer) {
            return Ok(Vec::new());
        }
        let mut found = parse(&answer, &arguments.join(" "))?;
        match found.get_mut("items").map(Value::take) {
            Some(Value::Array(items)) => Ok(items),
            _ => Ok(Vec::new()),
        }
    }

    /// Of the Secrets of a namespace that are there, by their names: which keys each has.
    pub fn keys_of_secrets(
        &self,
        namespace: &str,
        names: &[&str],
    ) -> Result<BTreeMap<String, BTreeSet<String>>, Fault> {
        let place = ["--namespace", namespace, "--ignore-not-found", "--output", KEYS];
        let answer = self.call(&[&["get", "secret"], names, &place].concat()).run()?;
        refuse(&answer, &format!("the Secrets of `{namespace}` cannot be read"))?;
        let of = |line: &str| {
            let mut words = line.split('\t').map(str::to_owned);
            words.next().map(|name| (name, words.collect()))
        };
        Ok(answer.stdout.lines().filter_map(of).collect())
    }

    /// The names of the objects that `kubectl get` finds, and nothing else of them.
    pub fn names(&self, arguments: &[&str]) -> Result<Vec<String>, Fault> {
        let answer = self.call(&[&["get"], arguments, &["--ignore-not-found", "--output", "name"]].concat()).run()?;
        if is_unknown_kind(&answer) {
            return Ok(Vec::new());
        }
        refuse(&answer, &format!("`kubectl get {}` failed", arguments.join(" ")))?;
        Ok(answer.stdout.lines().map(|line| line.rsplit('/').next().unwrap_or(line).to_owned()).collect())
    }

    /// One object, or none.
    pub fn get(&self, arguments: &[&str]) -> Result<Option<Value>, Fault> {
        let answer = self.call(&[&["get"], arguments, &["--output", "json"]].concat()).run()?;
        if is_missing(&answer) || is_unknown_kind(&answer) {
            return Ok(None);
        }
        parse(&answer, &arguments.join(" ")).map(Some)
    }

    /// Whether applying would change anything. What cannot be compared yet, as its namespace or kind is missing, would.
    pub fn differs(&self, manifests: &str) -> Result<bool, Fault> {
        let call =
            self.call(&["diff", "--server-side", "--force-conflicts", "--field-manager", MANAGER, "--filename", "-"]);
        let answer = call.with_input(manifests.to_owned()).within(APPLY_LIMIT).run()?;
        Ok(!answer.is_success())
    }

    /// Applies manifests; other managers' values of the fields in them give way.
    pub fn apply(&self, manifests: &str, what: &str) -> Result<(), Fault> {
        let answer = self.apply_call().with_input(manifests.to_owned()).run()?;
        refuse(&answer, &format!("{what} could not be applied"))
    }

    pub fn apply_call(&self) -> Call {
        let arguments = ["apply", "--server-side", "--force-conflicts", "--field-manager", MANAGER, "--filename", "-"];
        self.call(&arguments).within(APPLY_LIMIT)
    }

    /// Makes an object that must not be there yet; what is there is never changed.
    pub fn create(&self, manifest: &str, what: &str) -> Result<Made, Fault> {
        let answer = self.call(&["create", "--filename", "-"]).with_input(manifest.to_owned()).run()?;
        if answer.is_success() {
            return Ok(Made::Now);
        }
        if answer.stderr.contains("AlreadyExists") || answer.stderr.contains("already exists") {
            return Ok(Made::Before);
        }
        refuse(&answer, &format!("{what} could not be made")).map(|()| Made::Now)
    }

    /// Builds a kustomization.
    pub fn kustomize(&self, folder: &Path) -> Result<String, Fault> {
        let answer = self.kustomize_call(folder).run()?;
        refuse(&answer, &format!("`{}` could not be built", folder.display()))?;
        Ok(answer.stdout)
    }

    pub fn kustomize_call(&self, folder: &Path) -> Call {
        Call::new("kubectl", ["kustomize", &folder.display().to_string()]).within(APPLY_LIMIT)
    }

    /// Runs a command in a pod and returns what it wrote.
    pub fn exec(&self, namespace: &str, workload: &str, command: &[&str]) -> Result<Answer, Fault> {
        self.call(&[&["exec", "--namespace", namespace, workload, "--"], command].concat()).run()
    }
}

/// An error of a program as one of ours; nothing where it succeeded.
pub fn refuse(answer: &Answer, what: &str) -> Result<(), Fault> {
    match answer.is_success() {
        true => Ok(()),
        false => Err(Fault::new(format!("{what}: {}", answer.reason()), cure(answer))),
    }
}

fn parse(answer: &Answer, what: &str) -> Result<Value, Fault> {
    refuse(answer, &format!("`kubectl get {what}` failed"))?;
    serde_json::from_str(&answer.stdout)
        .map_err(|error| Fault::new(format!("the answer to `kubectl get {what}` is no JSON: {error}"), "run it again"))
}

fn is_missing(answer: &Answer) -> bool {
    !answer.is_success() && answer.stderr.contains("NotFound")
}

/// Whether the API server knows no such kind.
pub fn is_unknown_kind(answer: &Answer) -> bool {
    !answer.is_success() && answer.stderr.contains("the server doesn't have a resource type")
}

/// What helps against an error of the API server, by what it says.
fn cure(answer: &Answer) -> &'static str {
    let says = |text: &str| answer.stderr.contains(text);
    if says("was refused")
        || says("connection refused")
        || says("no such host")
        || says("i/o timeout")
        || says("Unable to connect")
    {
        "see that the cluster runs: `minikube status --profile k5w`, or `kubectl cluster-info` with your context"
    } else if says("does not exist") && says("context") {
        "`kubectl config get-contexts` lists the names"
    } else if says("Forbidden") || says("forbidden") {
        "use a context that may administer the cluster"
    } else if says("denied the request") {
        "an admission webhook refuses it: `cargo bootstrap doctor` looks at the webhooks"
    } else if says("Could not resolve host") || says("unable to access") || says("no such host") {
        "this machine must reach the internet, or `--argo-cd present` with an Argo CD that is there"
    } else {
        "run it again; what is done is not done twice"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(stderr: &str) -> Answer {
        Answer { code: Some(1), stdout: String::new(), stderr: stderr.to_owned() }
    }

    #[test]
    fn every_call_names_its_context() {
        let call = Kubectl::new(Some("k5w")).call(&["get", "nodes"]);
        assert_eq!(call.line(), "kubectl --context k5w get nodes");
        assert_eq!(Kubectl::new(None).call(&["version"]).line(), "kubectl version");
    }

    #[test]
    fn what_is_not_there_is_none_and_anything_else_is_an_error() {
        assert!(is_missing(&failed("Error from server (NotFound): secrets \"x\" not found")));
        assert!(is_unknown_kind(&failed("error: the server doesn't have a resource type \"applications\"")));
        assert!(!is_missing(&failed("Unable to connect to the server: dial tcp: i/o timeout")));
    }

    #[test]
    fn an_error_has_the_cure_for_what_it_says() {
        for (stderr, cure) in [
            ("The connection to the server 127.0.0.1:6443 was refused: connection refused", "minikube status"),
            (
                "The connection to the server localhost:8080 was refused - did you specify the right host or port?",
                "cluster-info",
            ),
            ("error: context \"x\" does not exist", "get-contexts"),
            ("Error from server (Forbidden): secrets is forbidden", "administer"),
            ("admission webhook \"v1.vseldondeployment.kb.io\" denied the request: bad", "webhook"),
            ("fatal: unable to access 'https://host.example/': Could not resolve host", "--argo-cd present"),
            (
                "The connection to the server localhost:8080 was refused - did you specify the right host or port?",
                "cluster-info",
            ),
            ("something else", "run it again"),
        ] {
            let fault = refuse(&failed(stderr), "it failed").unwrap_err();
            assert!(fault.cure.contains(cure) && fault.what.starts_with("it failed: "), "{stderr}: {fault:?}");
        }
    }
}
