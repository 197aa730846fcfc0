//! `kmlflow render`: the manifests of a `release.yaml`, offline and without configuration.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Map, Value, json};

use super::error::{CliError, Exit};
use super::manifests::{stream, write};
use super::output::Output;
use super::usage;
use crate::config::read_templates;
use crate::release::Release;
use crate::render::{Templates, render};

/// Render a `release.yaml` offline, byte for byte as the service does.
#[derive(Debug, Args)]
#[command(after_help = usage::RENDER)]
pub(super) struct RenderArgs {
    /// The release's document.
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,
    /// Directory whose files replace single templates by name.
    #[arg(long, value_name = "DIR")]
    templates: Option<PathBuf>,
    /// Write one file each into this directory instead.
    #[arg(long, value_name = "DIR")]
    output_dir: Option<PathBuf>,
}

/// Renders a document and prints or writes the manifests.
pub(super) fn run(args: &RenderArgs, output: Output) -> Result<Exit, CliError> {
    let RenderArgs { file, templates, output_dir } = args;
    let templates = match templates {
        Some(dir) => Templates::with_overrides(read_templates(dir)?).map_err(|error| error.refusal())?,
        None => Templates::built_in(),
    };
    let text = std::fs::read_to_string(file).map_err(|error| CliError::file(file, &error).as_usage())?;
    let release = Release::parse(&text).map_err(|reason| {
        CliError::usage(format!("`{}` is not a release: {reason}", file.display()))
            .hint("correct it; `kmlflow get NAME -o yaml` shows a good one")
    })?;
    let recorded = release.rendered.templates.as_ref();
    if recorded.is_some_and(|digest| digest != templates.digest()) {
        output.progress("these templates are not the ones that the document was rendered with last");
    }
    let manifests = render(&release, &templates).map_err(|error| error.refusal())?;
    let files: Vec<(String, String)> = manifests.files.into_iter().collect();
    match output_dir {
        Some(dir) => {
            write(dir, &files)?;
            output.progress(&format!("{} files in {}", files.len(), dir.display()));
        }
        None => {
            let texts: Map<String, Value> = files.iter().map(|(name, text)| (name.clone(), json!(text))).collect();
            let body = json!({ "manifests": texts });
            output.data(&body.to_string(), &body, |_| stream(&files))?;
        }
    }
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::cli::output::Format;

    const RELEASE: &str = "\
apiVersion: kmlflow.dev/v1
kind: Release
metadata: {name: fraud, namespace: models, environment: production}
spec:
  model: fraud
  strategy: single
  variants: [{role: live, version: '7', predictor: v7, image: 'registry.example/fraud:7', unpinned: true}]
  serving: {protocol: v2, engine: true, port: 9000, replicas: 1}
  target:
    cluster: in-cluster
    namespace: models
    gateway: {namespace: gateway, name: models}
    host: fraud-models.k5w.localhost
    previewHost: fraud-models-preview.k5w.localhost
    grpcHost: fraud-models-grpc.k5w.localhost
    monitoring: {mode: operator}
    links: {}
rollout: {phase: settled, since: 2026-11-23T10:00:00Z}
";

    fn args(dir: &Path, text: &str) -> RenderArgs {
        let file = dir.join("release.yaml");
        std::fs::write(&file, text).unwrap();
        RenderArgs { file, templates: None, output_dir: Some(dir.join("out")) }
    }

    fn output() -> Output {
        Output::new(Format::Text, false)
    }

    #[test]
    fn a_document_alone_gives_byte_for_byte_what_the_service_renders() {
        let dir = tempfile::tempdir().unwrap();
        let text = RELEASE;
        assert_eq!(run(&args(dir.path(), text), output()).unwrap(), Exit::Done);
        let rendered = render(&Release::parse(text).unwrap(), &Templates::built_in()).unwrap();
        assert!(rendered.files.contains_key("seldon.yaml") && rendered.files.contains_key("kustomization.yaml"));
        for (name, text) in &rendered.files {
            assert_eq!(&std::fs::read_to_string(dir.path().join("out").join(name)).unwrap(), text, "{name}");
        }
        assert_eq!(std::fs::read_dir(dir.path().join("out")).unwrap().count(), rendered.files.len());
    }

    #[test]
    fn what_is_no_release_is_refused_with_a_hint() {
        let dir = tempfile::tempdir().unwrap();
        let error = run(&args(dir.path(), "kind: Release\n"), output()).unwrap_err();
        assert_eq!(error.exit, Exit::Usage);
        assert!(error.sentence.contains("is not a release") && error.hint.is_some(), "{error:?}");
        assert!(!dir.path().join("out").exists());
    }

    #[test]
    fn what_no_release_can_be_is_refused_with_every_field() {
        let dir = tempfile::tempdir().unwrap();
        let text = RELEASE.replace("predictor: v7", "predictor: v9").replace("replicas: 1", "replicas: 0");
        let error = run(&args(dir.path(), &text), output()).unwrap_err();
        assert_eq!(error.exit, Exit::Usage);
        for field in ["`spec.variants[0].predictor` ", "`spec.serving.replicas` "] {
            assert!(error.sentence.contains(field), "{error:?}");
        }
        assert!(!dir.path().join("out").exists());
    }

    #[test]
    fn only_templates_are_read_from_a_directory_of_templates() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("seldon.yaml.j2"), "x").unwrap();
        std::fs::write(dir.path().join("notes.md"), "x").unwrap();
        assert_eq!(read_templates(dir.path()).unwrap().into_keys().collect::<Vec<_>>(), ["seldon.yaml.j2"]);
    }
}
