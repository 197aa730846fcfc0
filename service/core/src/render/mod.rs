//! `release.yaml` → manifests: what Argo CD applies for a release.
//!
//! Pure: the release's document and the template set go in, the files come out. Nothing else is read, `rendered` included.
//!
//! The templates lie in `templates/seldon/`. What differs between strategies is one file each in `route/` (the rules of the
//! HTTPRoute) and in `dashboard/` (two panels); so a new strategy is one file here and there, and its tests. They decide nothing:
//! who gets which traffic comes from `Release::traffic`, names and ports from `context`.
//!
//! Every rendered document is read back (`objects`) and held against the operator's rules (`rules`) before anybody sees it.

mod context;
mod dashboard;
mod error;
mod escape;
mod fields;
mod kinds;
mod objects;
mod pods;
mod rules;
mod same;
mod templates;
#[cfg(test)]
mod tests;
#[doc(hidden)]
pub mod unchecked;

use indexmap::IndexMap;
use minijinja::value::{Serde, Value};

pub use error::RenderError;
pub use fields::{seldon_field_paths, used_field_paths};
pub use templates::Templates;

use crate::cores::in_pool;
use crate::names::{Digest, PredictorName};
use crate::release::{MonitoringMode, Release};
use objects::{Object, Parsed};

const SELDON: &str = "seldon.yaml";
const SELDON_DOCUMENT: (&str, &str) = (SELDON, "seldon.yaml.j2");
const ROUTE: &str = "route.yaml";
const MONITORING: &str = "monitoring.yaml";
const DASHBOARD: &str = "dashboard.yaml";
const DASHBOARD_DOCUMENT: (&str, &str) = (DASHBOARD, "dashboard.yaml.j2");
const KUSTOMIZATION: &str = "kustomization.yaml";
const KUSTOMIZATION_TEMPLATE: &str = "kustomization.yaml.j2";

/// The rendered files of a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifests {
    /// File name → text: those that `kustomization.yaml` names, in its order, then itself.
    pub files: IndexMap<String, String>,
    /// Predictor → digest of all that restarts its pods.
    pub pods: IndexMap<PredictorName, Digest>,
}

/// A file that is rendered and read back.
struct Rendered {
    file: &'static str,
    text: String,
    parsed: Vec<Parsed>,
    /// See [`Manifests::pods`]; of the file that has them.
    pods: IndexMap<PredictorName, Digest>,
}

/// Renders a release from its document alone; `rendered` is not read.
///
/// Where another thread of the pool has nothing to do, it takes over half of the files.
///
/// # Errors
/// A setting that the cluster would refuse or misunderstand, a template that fails, or a file that is not what it should be.
pub fn render(release: &Release, templates: &Templates) -> Result<Manifests, RenderError> {
    rules::check_release(release)?;
    let stand_in = stand_in(release);
    let Prepared { context, documents } = prepare(release, &stand_in)?;
    let render_one = |document: &(&'static str, &'static str)| match *document {
        SELDON_DOCUMENT => render_seldon(&context, templates, &stand_in),
        DASHBOARD_DOCUMENT => render_dashboard(&context, templates),
        document => render_document(document, &context, templates),
    };
    let rendered = in_pool(documents.iter().collect(), render_one);

    let (mut files, mut objects, mut pods) = (IndexMap::new(), Vec::new(), IndexMap::new());
    for rendered in rendered {
        let Rendered { file, text, parsed, pods: restarted } = rendered?;
        pods.extend(restarted);
        objects.extend(parsed.into_iter().map(|parsed| (file, parsed)));
        files.insert(file.to_owned(), text);
    }
    rules::check_objects(release, &objects)?;

    let text = templates.render(KUSTOMIZATION_TEMPLATE, &context)?;
    rules::check_kustomization(KUSTOMIZATION, &objects::parse_kustomization(KUSTOMIZATION, &text)?, &files)?;
    files.insert(KUSTOMIZATION.to_owned(), text);
    Ok(Manifests { files, pods })
}

/// What the templates of one release see, and which of them make its files.
struct Prepared {
    context: Value,
    /// File and template of each document, in the order of `kustomization.yaml`.
    documents: Vec<(&'static str, &'static str)>,
}

/// Builds what the templates see.
fn prepare(release: &Release, stand_in: &dyn Fn(&PredictorName) -> Digest) -> Result<Prepared, RenderError> {
    let (Some(traffic), Some(stable)) = (release.traffic(), release.stable()) else {
        return Err(RenderError::rule("spec.variants", "must name at least one version"));
    };
    let context = Value::from(Serde(context::build(release, stable, &traffic, stand_in)));
    let is_monitored = release.spec.target.monitoring.mode == MonitoringMode::Operator;
    let monitoring = is_monitored.then_some((MONITORING, "monitoring.yaml.j2"));
    let others = [SELDON_DOCUMENT, (ROUTE, "route.yaml.j2")].into_iter().chain(monitoring);
    let documents = others.chain([DASHBOARD_DOCUMENT]).collect();
    Ok(Prepared { context, documents })
}

/// Renders a document and reads it back.
fn render_document(
    (file, template): (&'static str, &'static str),
    context: &Value,
    templates: &Templates,
) -> Result<Rendered, RenderError> {
    let text = templates.render(template, context)?;
    let parsed = objects::parse(file, &text)?;
    Ok(Rendered { file, text, parsed, pods: IndexMap::new() })
}

fn render_seldon(
    context: &Value,
    templates: &Templates,
    stand_in: &dyn Fn(&PredictorName) -> Digest,
) -> Result<Rendered, RenderError> {
    let rendered = render_document(SELDON_DOCUMENT, context, templates)?;
    rules::check_size(&rendered.text)?;
    let pods = pod_hashes(&rendered.parsed)?;
    let text = with_pod_hashes(rendered.text, &pods, stand_in)?;
    Ok(Rendered { text, pods, ..rendered })
}

fn render_dashboard(context: &Value, templates: &Templates) -> Result<Rendered, RenderError> {
    let json = dashboard::json(context, templates)?;
    let with = |json: &str| render_document(DASHBOARD_DOCUMENT, &with_dashboard(context, json), templates);
    let placed = with(dashboard::STAND_IN)?;
    match dashboard::put_in(&placed.text, &placed.parsed, &json) {
        Some(text) => Ok(Rendered { text, ..placed }),
        None => with(&json),
    }
}

/// Adds the dashboard, which is a document of its own inside another one.
fn with_dashboard(context: &Value, json: &str) -> Value {
    minijinja::context! { dashboard_json => json, ..context.clone() }
}

/// Writes down in the release what was rendered.
pub fn finish(release: &mut Release, manifests: &Manifests, templates: &Templates) {
    let Manifests { files, pods } = manifests;
    release.rendered.templates = Some(templates.digest().clone());
    release.rendered.files = files.iter().map(|(name, text)| (name.clone(), Digest::of(text.as_bytes()))).collect();
    release.rendered.pods = pods.clone();
}

/// What stands for a pod hash until it is known: a digest of the whole document and the predictor's name, so that no text
/// inside the document can contain it.
fn stand_in(release: &Release) -> impl Fn(&PredictorName) -> Digest {
    let document = serde_json::to_vec(&(&release.metadata, &release.spec, &release.rollout)).unwrap_or_default();
    let document = Digest::of(&document);
    move |predictor| Digest::of(format!("{document} {predictor}").as_bytes())
}

fn pod_hashes(seldon: &[Parsed]) -> Result<IndexMap<PredictorName, Digest>, RenderError> {
    match seldon {
        [Parsed { object: Object::Seldon(_), document }] => pods::hashes(SELDON, document),
        _ => Err(RenderError::manifest(SELDON, "it must be one SeldonDeployment")),
    }
}

fn with_pod_hashes(
    text: String,
    pods: &IndexMap<PredictorName, Digest>,
    stand_in: &dyn Fn(&PredictorName) -> Digest,
) -> Result<String, RenderError> {
    pods.iter().try_fold(text, |text, (predictor, hash)| {
        let stand_in = stand_in(predictor);
        match text.matches(stand_in.as_str()).count() {
            1 => Ok(text.replace(stand_in.as_str(), hash.as_str())),
            n => Err(RenderError::manifest(
                SELDON,
                format!("the pod hash of `{predictor}` must be there once, not {n} times"),
            )),
        }
    })
}
