//! Commands that are told, so that they reach the cluster that they are about.

use crate::options::MINIKUBE_PROFILE;

/// The commands of this program that are about a cluster.
const OURS: [&str; 7] = ["up", "status", "doctor", "open", "credentials", "upgrade", "down"];

/// The text with the context in every command between backticks that would look at another cluster without it.
pub fn in_context(text: &str, context: &str) -> String {
    let pieces = text.split('`').enumerate();
    let told = pieces.map(|(number, piece)| match number % 2 {
        1 => command(piece, context),
        _ => piece.to_owned(),
    });
    told.collect::<Vec<_>>().join("`")
}

/// A command of this program without its name, such as `open kmlflow`, as it is typed.
pub fn ours(words: &str, context: Option<&str>) -> String {
    let line = format!("cargo bootstrap {words}");
    context.map_or_else(|| line.clone(), |context| command(&line, context))
}

fn command(line: &str, context: &str) -> String {
    let is_ours = |rest: &str| OURS.contains(&rest.split_whitespace().next().unwrap_or_default());
    match (line.strip_prefix("kubectl "), line.strip_prefix("cargo bootstrap ")) {
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
        assert_eq!(ours("open kmlflow", Some("c")), "cargo bootstrap open kmlflow --context c");
    }
}
