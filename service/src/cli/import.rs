//! `kmlflow import`: makes releases of `SeldonDeployment`s that are there already; without `--apply` it only shows them.

use std::path::{Path, PathBuf};

use clap::Args;
use reqwest::Method;
use serde::Deserialize as _;
use serde_json::{Map, Value, json};

use super::args::{WaitFor, Waiting};
use super::change;
use super::client::Call;
use super::error::{CliError, Exit, with_options};
use super::table::{Table, plain};
use super::views::{items, text};
use super::{Context, usage};
use crate::names::{EnvironmentName, ModelName, Namespace, ReleaseName, Version};
use crate::release::{Period, Strategy};

/// How long the first request of two may take: the second one would take its place while it waits.
const COMMIT_WITHIN: Period = Period::from_minutes(5);

/// Make releases of `SeldonDeployment`s that are there already.
#[derive(Debug, Args)]
#[command(after_help = usage::IMPORT)]
pub(super) struct ImportArgs {
    /// These `SeldonDeployment`s.
    #[arg(value_name = "NAME", required_unless_present_any = ["all", "file"], conflicts_with_all = ["all", "file"])]
    names: Vec<String>,
    /// Every SeldonDeployment of the namespace that no release made.
    #[arg(long, conflicts_with = "file")]
    all: bool,
    /// The namespace of the releases.
    #[arg(short, long, default_value = "models", value_name = "NAMESPACE")]
    namespace: Namespace,
    /// Their environment.
    #[arg(short, long, default_value = "production", value_name = "ENVIRONMENT")]
    environment: EnvironmentName,
    /// A file with `SeldonDeployment`s, instead of those in the cluster.
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// The registered model; that of the image's name (model:version) unless given.
    #[arg(long, value_name = "M", conflicts_with = "all")]
    model: Option<ModelName>,
    /// The version that a predictor serves; that of the image's tag unless given.
    #[arg(long = "version", value_name = "[PREDICTOR=]V", value_parser = version_of, conflicts_with = "all")]
    versions: Vec<(String, Version)>,
    /// How two predictors run beside each other; by their traffic unless given.
    #[arg(long, value_name = "S", conflicts_with = "all")]
    strategy: Option<Strategy>,
    /// The name of the release, where it is not to be the object's own.
    #[arg(long = "as", value_name = "NAME", conflicts_with = "all")]
    name: Option<ReleaseName>,
    /// Ask for the releases; they are committed like any other.
    #[arg(long)]
    apply: bool,
}

/// Shows what releases they would be, and asks for them where that is wanted.
pub(super) async fn run(args: ImportArgs, ctx: &Context) -> Result<Exit, CliError> {
    let ImportArgs { names, all: _, namespace, environment, file, model, versions, strategy, name, apply } = args;
    let mut hints = Map::new();
    let mut hint = |field: &str, value: Option<Value>| hints.extend(value.map(|value| (field.to_owned(), value)));
    hint("model", model.map(|model| json!(model)));
    let versions: Map<String, Value> =
        versions.into_iter().map(|(predictor, version)| (predictor, json!(version))).collect();
    hint("versions", (!versions.is_empty()).then_some(Value::Object(versions)));
    hint("strategy", strategy.map(|strategy| json!(strategy)));
    hint("as", name.map(|name| json!(name)));
    let mut body = json!({"environment": environment, "namespace": namespace, "names": names, "hints": hints});
    if let Some(file) = file {
        body["objects"] = json!(read(&file)?);
    }
    let reply = ctx.client.call(Call::new(Method::POST, &["import"]).body(body).patient()).await?;
    let list = items(&reply.body);
    if !apply {
        ctx.output.data(&reply.raw, &reply.body, |color| list.iter().map(|one| shown(one, color)).collect())?;
        ctx.output.progress(if list.is_empty() {
            "nothing is there to import"
        } else {
            "nothing was changed: `--apply` asks for it"
        });
    }
    for one in list.iter().filter(|_| apply) {
        ask_for(one, ctx).await?;
    }
    let is_hindered = list.iter().any(|one| !items(&one["obstacles"]).is_empty());
    Ok(if is_hindered { Exit::Refused } else { Exit::Done })
}

/// Asks for one of them.
async fn ask_for(one: &Value, ctx: &Context) -> Result<(), CliError> {
    let obstacles = items(&one["obstacles"]);
    if !obstacles.is_empty() {
        ctx.output.progress(&format!("not imported: {}", shown(one, false)));
        return Ok(());
    }
    let release = text(one, "/release");
    let path: Vec<&str> = std::iter::once("releases").chain(release.split('/')).collect();
    let requests = items(&one["requests"]);
    for (number, request) in requests.iter().enumerate() {
        let is_last = number + 1 == requests.len();
        let wait = (!is_last).then_some(WaitFor::Committed);
        let waiting = Waiting { wait, timeout: COMMIT_WITHIN, idempotency_key: None };
        let takes_its_place = number == 0 && path.last() == Some(&text(one, "/seldonDeployment").as_str());
        let call = Call::new(Method::PUT, &path).flag("adopt", takes_its_place).body(request.clone());
        let exit = change::change(call, &waiting, ctx).await?;
        match exit {
            Exit::Done => {}
            // The run begins once the stable version is live.
            Exit::Deadline if is_last => {}
            _ => {
                return Err(CliError::failed(format!("the first version of `{release}` is not committed yet"))
                    .hint("import it again later"));
            }
        }
    }
    Ok(())
}

fn shown(one: &Value, color: bool) -> String {
    let name = text(one, "/seldonDeployment");
    let obstacles = items(&one["obstacles"]);
    let line = |entry: &Value| {
        let (field, detail, cure) = (text(entry, "/field"), text(entry, "/detail"), text(entry, "/cure"));
        let at = if field.is_empty() { String::new() } else { format!("{field}: ") };
        let cure = if cure.is_empty() { String::new() } else { format!("; {}", with_options(&cure)) };
        format!("  {}\n", plain(&format!("{at}{detail}{cure}")))
    };
    if !obstacles.is_empty() {
        let lines: String = obstacles.iter().map(line).collect();
        return format!("{}\n{lines}", plain(&format!("SeldonDeployment {name} cannot become a release:")));
    }
    let mut out =
        format!("{}\n", plain(&format!("SeldonDeployment {name} would become the release {}", text(one, "/release"))));
    for (number, request) in items(&one["requests"]).iter().enumerate() {
        out += &format!("request {}:\n", number + 1);
        let yaml = serde_yaml::to_string(request).unwrap_or_default();
        out.extend(yaml.lines().map(|line| format!("  {}\n", plain(line))));
    }
    out += "what becomes otherwise:\n";
    out.extend(items(&one["changes"]).iter().map(line));
    let mut pods = Table::new(&["POD FIELD", "WAS", "BECOMES"]);
    for change in items(&one["pods"]) {
        pods.row(["/field", "/was", "/becomes"].map(|field| text(change, field).into()));
    }
    if !items(&one["pods"]).is_empty() {
        out += &pods.to_text(color);
    }
    out
}

/// The `SeldonDeployment`s of a file: its documents, and the items of lists.
fn read(path: &Path) -> Result<Vec<Value>, CliError> {
    let content = std::fs::read_to_string(path).map_err(|error| CliError::file(path, &error).as_usage())?;
    let mut objects = Vec::new();
    for document in serde_yaml::Deserializer::from_str(&content) {
        let document = Value::deserialize(document)
            .map_err(|error| CliError::usage(format!("`{}` is neither YAML nor JSON: {error}", path.display())))?;
        match document.get("items").and_then(Value::as_array) {
            Some(items) => objects.extend(items.iter().cloned()),
            None => objects.push(document),
        }
    }
    objects.retain(|object| object["kind"] == "SeldonDeployment");
    if objects.is_empty() {
        return Err(CliError::usage(format!("`{}` has no SeldonDeployment", path.display()))
            .hint("`kubectl get seldondeployment NAME -o yaml` writes one"));
    }
    Ok(objects)
}

/// Parses the version of a predictor; without a name that of all.
fn version_of(text: &str) -> Result<(String, Version), String> {
    let (predictor, version) = text.split_once('=').unwrap_or(("*", text));
    Version::parse(version).map(|version| (predictor.to_owned(), version)).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_may_have_documents_lists_and_other_things() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("all.yaml");
        std::fs::write(&path, "kind: Service\n---\nkind: SeldonDeployment\nmetadata: {name: a}\n---\nkind: List\nitems: [{kind: SeldonDeployment, metadata: {name: b}}]\n").unwrap();
        let names: Vec<String> = read(&path).unwrap().iter().map(|object| text(object, "/metadata/name")).collect();
        assert_eq!(names, ["a", "b"]);
        std::fs::write(&path, "kind: Service\n").unwrap();
        assert_eq!(read(&path).unwrap_err().exit, Exit::Usage);
    }

    #[test]
    fn a_version_is_of_one_predictor_or_of_all() {
        assert_eq!(version_of("default=7").unwrap(), ("default".to_owned(), "7".parse().unwrap()));
        assert_eq!(version_of("7").unwrap().0, "*");
        assert!(version_of("default=x").is_err());
    }

    #[test]
    fn what_would_become_of_it_and_what_is_in_the_way_is_shown() {
        let one = json!({"seldonDeployment": "fraud", "release": "production/models/fraud", "requests": [{"model": "fraud"}],
            "changes": [{"field": "spec.name", "detail": "it is not taken over"}], "obstacles": [],
            "pods": [{"field": "containers[model].ports[grpc]", "was": "absent", "becomes": "there"}]});
        let text = shown(&one, false);
        assert!(text.contains("the release production/models/fraud\nrequest 1:\n  model: fraud\n"), "{text}");
        assert!(text.contains("  spec.name: it is not taken over\n") && text.contains("absent"), "{text}");
        let hindered =
            json!({"seldonDeployment": "f\u{1b}[2J", "obstacles": [{"field": "spec", "detail": "no", "cure": "do"}]});
        let text = shown(&hindered, false);
        assert!(text.ends_with("cannot become a release:\n  spec: no; do\n") && !text.contains('\u{1b}'), "{text:?}");
    }
}
