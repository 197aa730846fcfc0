//! Where a cluster finds an artifact that the registry names its own way.

use crate::names::shown;
use crate::release::{Refusal, is_model_uri};

/// What MLflow calls its own artifact store, which only its own clients read (<https://mlflow.org/docs/latest/self-hosting/architecture/artifact-store/>).
const PROXIED: &str = "mlflow-artifacts:";

/// Schemes of Azure's stores as MLflow writes them, `<scheme>://<container>@<account>/<path>`.
const AZURE: [&str; 4] = ["wasbs", "wasb", "abfss", "abfs"];

/// The longest location that an error repeats whole is cut there; a real one has some hundred characters.
const LOCATION_BYTES_MAX: usize = 1024;

/// Turns the location of an artifact into the `modelUri` of a release.
///
/// Seldon fetches by rclone, which takes `<remote>:<path>` with the remote set up in the Secret that `serving.storageSecret` names
/// (<https://docs.seldon.ai/seldon-core-1/tutorials/notebooks/rclone-upgrade>), so `s3://` and `gs://` stay as they are.
/// `mlflow-artifacts:` becomes a path below the destination that MLflow's server writes to; Azure's container becomes `azure://`,
/// because rclone has the account in its settings and not in the path.
///
/// # Errors
/// A cluster cannot read it; the cure says what would help.
pub fn resolve_location(location: &str, artifacts_destination: Option<&str>) -> Result<String, Refusal> {
    check_path(location)?;
    let (scheme, rest) = scheme_of(location);
    let resolved = match scheme {
        "mlflow-artifacts" => below(proxied_path(location), artifacts_destination)?,
        "models" | "runs" => return Err(unresolved(location)),
        "" | "file" => return Err(of_one_machine(location)),
        "dbfs" | "ftp" | "sftp" | "hdfs" | "viewfs" => return Err(unread(location)),
        scheme if AZURE.contains(&scheme) => match rest.split_once('@') {
            Some((container, path)) => {
                format!("azure://{container}/{}", path.split_once('/').map_or("", |(_, path)| path))
            }
            None => format!("azure://{rest}"),
        },
        _ => location.to_owned(),
    };
    let resolved = resolved.trim_end_matches('/').to_owned();
    if is_model_uri(&resolved) { Ok(resolved) } else { Err(unread(location)) }
}

/// The scheme in lower case as far as it is one of ours, and what is behind `://` or `:`.
fn scheme_of(location: &str) -> (&str, &str) {
    match location.split_once(':') {
        Some((scheme, rest))
            if !scheme.is_empty() && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+.-".contains(&b)) =>
        {
            (scheme, rest.strip_prefix("//").unwrap_or(rest))
        }
        _ => ("", location),
    }
}

/// The path of a proxied location, with or without the server's own address: `/p` of `mlflow-artifacts:/p` and of
/// `mlflow-artifacts://mlflow:5000/p`.
fn proxied_path(location: &str) -> &str {
    let rest = location.get(PROXIED.len()..).unwrap_or_default();
    match rest.strip_prefix("//") {
        Some(rest) => rest.find('/').map_or("", |slash| &rest[slash..]),
        None => rest,
    }
}

fn below(path: &str, destination: Option<&str>) -> Result<String, Refusal> {
    let path = path.trim_matches('/');
    let destination = destination.map(|destination| destination.trim_end_matches('/')).filter(|text| !text.is_empty());
    let Some(destination) = destination else {
        return Err(Refusal::invalid(
            "MLflow keeps the artifact behind its own server, and it is not known where a cluster finds it",
            "set `mlflow.artifacts_destination` to the `--artifacts-destination` of MLflow's server, such as `s3://mlflow/art`; or name the \
             version's image by its tag `serving_image`",
        ));
    };
    if matches!(scheme_of(destination).0, "" | "file") {
        return Err(Refusal::invalid(
            format!(
                "`mlflow.artifacts_destination` is `{}`, a directory of one machine, which a cluster cannot read",
                shown(destination)
            ),
            "let MLflow's server write to a store such as `s3://mlflow/art`, and set `mlflow.artifacts_destination` to it",
        ));
    }
    if path.is_empty() {
        return Err(Refusal::invalid(
            "MLflow names its whole artifact store instead of one model's directory",
            "register the version again from a logged model",
        ));
    }
    Ok(format!("{destination}/{path}"))
}

/// Refuses what could leave its directory, however it is written.
fn check_path(location: &str) -> Result<(), Refusal> {
    let plain = location.to_ascii_lowercase().replace("%2e", ".");
    if plain.contains("..") || location.len() > LOCATION_BYTES_MAX || !crate::names::is_plain_text(location) {
        return Err(Refusal::invalid(
            format!(
                "`{}` is no location that is passed on: it is too long, or has `..` or invisible characters",
                shown(location)
            ),
            "register the version again from a logged model",
        ));
    }
    Ok(())
}

fn unresolved(location: &str) -> Refusal {
    Refusal::invalid(
        format!("MLflow does not say where `{}` lies", shown(location)),
        "check that the model it was made from still exists, or register the version again from a logged model",
    )
}

fn of_one_machine(location: &str) -> Refusal {
    Refusal::invalid(
        format!("the artifact is at `{}`, a directory of one machine, which a cluster cannot read", shown(location)),
        "let MLflow's server keep artifacts in a store (`--artifacts-destination s3://mlflow/art`) and log the model again, or release \
         an image",
    )
}

/// The location may have a password in it and is not repeated beyond its scheme.
fn unread(location: &str) -> Refusal {
    Refusal::invalid(
        format!(
            "the artifact's location begins with `{}:`, or has in it, what Seldon cannot fetch",
            shown(scheme_of(location).0)
        ),
        "keep the artifact in a store such as `s3://bucket/path`, `gs://bucket/path` or `azure://container/path`, with its credentials \
         in the Secret that `serving.storageSecret` names",
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn resolve(location: &str) -> Result<String, Refusal> {
        resolve_location(location, Some("s3://mlflow/art"))
    }

    #[test]
    fn a_proxied_location_lies_below_the_destination() {
        let path = "1/models/m-425ab0914bb0468b85e0bad8b9e23559/artifacts";
        let expected = format!("s3://mlflow/art/{path}");
        for location in [
            format!("mlflow-artifacts:/{path}"),
            format!("mlflow-artifacts:/{path}/"),
            format!("mlflow-artifacts:///{path}"),
            format!("mlflow-artifacts://mlflow.mlops.svc:5000/{path}"),
        ] {
            assert_eq!(resolve(&location).unwrap(), expected, "{location}");
            assert_eq!(resolve_location(&location, Some("s3://mlflow/art/")).unwrap(), expected);
        }
        let workspace = resolve("mlflow-artifacts:/workspaces/team-a/1/models/m-1/artifacts").unwrap();
        assert_eq!(workspace, "s3://mlflow/art/workspaces/team-a/1/models/m-1/artifacts");
        let node = resolve_location(&format!("mlflow-artifacts:/{path}"), Some("mlflow-artifacts://198.18.255.1:5000"));
        assert_eq!(node.unwrap(), format!("mlflow-artifacts://198.18.255.1:5000/{path}"));
    }

    #[test]
    fn what_rclone_reads_stays_as_it_is() {
        for location in
            ["s3://b/1/models/m-1/artifacts", "gs://b/p", "azure://c/p", "pvc://claim/p", "https://store.example/p"]
        {
            assert_eq!(resolve(location).unwrap(), location);
            assert_eq!(resolve_location(location, None).unwrap(), location);
        }
        for location in ["wasbs://c@acc.blob.core.windows.net/a/b", "abfss://c@acc.dfs.core.windows.net/a/b/"] {
            assert_eq!(resolve(location).unwrap(), "azure://c/a/b");
        }
    }

    #[test]
    fn what_a_cluster_cannot_read_is_refused_with_a_cure() {
        for (location, destination, reason, cure) in [
            ("mlflow-artifacts:/1/a", None, "not known where a cluster finds it", "`mlflow.artifacts_destination`"),
            ("mlflow-artifacts:/1/a", Some(""), "not known", "`mlflow.artifacts_destination`"),
            ("mlflow-artifacts:/1/a", Some("./artifacts"), "directory of one machine", "store"),
            ("mlflow-artifacts:/1/a", Some("file:///srv/art"), "directory of one machine", "store"),
            ("mlflow-artifacts:/", Some("s3://b"), "whole artifact store", "register"),
            ("mlflow-artifacts://host", Some("s3://b"), "whole artifact store", "register"),
            ("file:///srv/mlruns/1", None, "directory of one machine", "--artifacts-destination"),
            ("/srv/mlruns/1", None, "directory of one machine", "--artifacts-destination"),
            ("mlruns/1", None, "directory of one machine", "--artifacts-destination"),
            ("", None, "directory of one machine", "--artifacts-destination"),
            ("models:/m-1", None, "does not say where", "register"),
            ("models:/fraud/1", None, "does not say where", "register"),
            ("runs:/1/model", None, "does not say where", "register"),
            ("dbfs:/a", None, "begins with `dbfs:`", "s3://"),
            ("s3:", None, "begins with `s3:`", "s3://"),
            ("minio://a b", None, "begins with `minio:`", "s3://"),
            ("s3://../b", None, "`..`", "register"),
            ("mlflow-artifacts:/1/%2E%2e/2", Some("s3://b"), "`..`", "register"),
            ("mlflow-artifacts:/1/.%2e/2", Some("s3://b"), "`..`", "register"),
        ] {
            let refusal = resolve_location(location, destination).unwrap_err();
            assert!(refusal.reason.contains(reason), "{location}: {}", refusal.reason);
            assert!(refusal.cure.unwrap().contains(cure), "{location}");
        }
    }

    #[test]
    fn a_password_in_a_location_is_refused_and_not_repeated() {
        for location in ["s3://key:hunter2@bucket/a", "https://a:hunter2@store.example/p"] {
            let refusal = resolve(location).unwrap_err();
            assert!(!refusal.reason.contains("hunter2"), "{}", refusal.reason);
        }
    }

    proptest! {
        #[test]
        fn whatever_is_resolved_is_a_location_that_a_release_may_have(
            scheme in "(mlflow-artifacts:|s3:|wasbs:|file:|azure:|)", rest in "[a-z/.@%:é0-9 -]{0,40}", destination in "(s3://|./|gs:)[a-z/.]{0,10}",
        ) {
            if let Ok(resolved) = resolve_location(&format!("{scheme}{rest}"), Some(&destination)) {
                prop_assert!(is_model_uri(&resolved) && !resolved.contains(".."), "{resolved}");
            }
        }
    }
}
