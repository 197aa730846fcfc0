//! Commands that are told, so that they reach the cluster that they are about.

use std::path::Path;

use crate::options::MINIKUBE_PROFILE;
use crate::program::Call;

/// How every command of this program begins.
const OUR_NAME: &str = "cargo bootstrap ";

/// The commands of this program that are about a cluster.
const OURS: [&str; 8] = ["up", "status", "doctor", "open", "credentials", "upgrade", "pin", "down"];

/// The text with the context in every command between backticks that would look at another cluster without it.
pub fn in_context(text: &str, context: &str) -> String {
    between_backticks(text, |piece| command(piece, context))
}

/// The text with the directory of the manifests in every command of this program between backticks, where it was given.
pub fn with_manifests(text: &str, gitops_repo: &Path) -> String {
    between_backticks(text, |piece| match piece.starts_with(OUR_NAME) && !piece.contains("--gitops-repo") {
        true => with_directory(piece, gitops_repo),
        false => piece.to_owned(),
    })
}

/// A command of this program without its name, such as `open kmlflow`, as it is typed.
pub fn ours(words: &str, context: Option<&str>, gitops_repo: Option<&Path>) -> String {
    let line = format!("{OUR_NAME}{words}");
    let line = context.map_or_else(|| line.clone(), |context| command(&line, context));
    gitops_repo.map_or_else(|| line.clone(), |directory| with_directory(&line, directory))
}

fn with_directory(line: &str, gitops_repo: &Path) -> String {
    let option = Call::new("--gitops-repo", [gitops_repo.display().to_string()]);
    format!("{line} {}", option.line())
}

fn between_backticks(text: &str, told: impl Fn(&str) -> String) -> String {
    let pieces = text.split('`').enumerate();
    let pieces = pieces.map(|(number, piece)| if number % 2 == 1 { told(piece) } else { piece.to_owned() });
    pieces.collect::<Vec<_>>().join("`")
}

fn command(line: &str, context: &str) -> String {
    let is_ours = |rest: &str| OURS.contains(&rest.split_whitespace().next().unwrap_or_default());
    match (line.strip_prefix("kubectl "), line.strip_prefix(OUR_NAME)) {
        _ if line.contains("--context") => line.to_owned(),
        // What the kubeconfig has is no cluster's.
        (Some(rest), _) if !rest.starts_with("config ") => format!("kubectl --context {context} {rest}"),
        (_, Some(rest)) if is_ours(rest) && context != MINIKUBE_PROFILE => format!("{line} --context {context}"),
        _ => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_is_told_reaches_its_cluster() {
        for (text, told) in [
            ("`cargo bootstrap doctor` says why", "`cargo bootstrap doctor --context c` says why"),
            ("see `kubectl get pods`, `kubectl`", "see `kubectl --context c get pods`, `kubectl`"),
            ("`cargo bootstrap up --profile full`", "`cargo bootstrap up --profile full --context c`"),
            ("`cargo bootstrap render --tls`", "`cargo bootstrap render --tls`"),
            ("`kubectl config get-contexts`", "`kubectl config get-contexts`"),
            ("`kubectl --context d get pods`", "`kubectl --context d get pods`"),
            ("cargo bootstrap down", "cargo bootstrap down"),
        ] {
            assert_eq!(in_context(text, "c"), told);
        }
        // Without a context this program means minikube, and kubectl whatever its current one is.
        assert_eq!(
            in_context("`cargo bootstrap down`, `kubectl get nodes`", MINIKUBE_PROFILE),
            "`cargo bootstrap down`, `kubectl --context k5w get nodes`"
        );
        assert_eq!(ours("open kmlflow", Some("c"), None), "cargo bootstrap open kmlflow --context c");
    }

    #[test]
    fn manifests_that_were_named_are_named_again() {
        let directory = Path::new("/my gitops");
        assert_eq!(
            ours("status", Some("c"), Some(directory)),
            "cargo bootstrap status --context c --gitops-repo '/my gitops'"
        );
        assert_eq!(
            with_manifests("`cargo bootstrap render --tls`, `kubectl get pods`, cargo bootstrap up", directory),
            "`cargo bootstrap render --tls --gitops-repo '/my gitops'`, `kubectl get pods`, cargo bootstrap up"
        );
        let named = "`cargo bootstrap up --gitops-repo DIR`";
        assert_eq!(with_manifests(named, directory), named);
    }
}
