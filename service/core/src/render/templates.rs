//! The template set: compiled into the program, single templates overridable by name, known by its digest.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, LazyLock};

use minijinja::syntax::SyntaxConfig;
use minijinja::{AutoEscape, Environment, UndefinedBehavior, Value};

use super::RenderError;
use super::escape;
use crate::names::Digest;

macro_rules! template_set {
    ($($name:literal),* $(,)?) => {
        /// Name and text of every template of the program.
        pub(super) const BUILT_IN: &[(&str, &str)] = &[$(($name, include_str!(concat!("../../../../templates/seldon/", $name)))),*];
    };
}

template_set!(
    "dashboard.json.j2",
    "dashboard.yaml.j2",
    "dashboard/ab.json.j2",
    "dashboard/blue-green.json.j2",
    "dashboard/canary.json.j2",
    "dashboard/shadow.json.j2",
    "dashboard/single.json.j2",
    "kustomization.yaml.j2",
    "monitoring.yaml.j2",
    "route.yaml.j2",
    "route/ab.yaml.j2",
    "route/blue-green.yaml.j2",
    "route/canary.yaml.j2",
    "route/shadow.yaml.j2",
    "route/single.yaml.j2",
    "seldon.yaml.j2",
);

/// A parsed template set with its digest; cheap to clone.
#[derive(Clone)]
pub struct Templates(Arc<Set>);

struct Set {
    environment: Environment<'static>,
    digest: Digest,
}

impl Templates {
    /// The template set compiled into the program; parsed once.
    pub fn built_in() -> Self {
        static SET: LazyLock<Templates> = LazyLock::new(|| {
            #[expect(clippy::expect_used, reason = "the texts are part of the program and a test parses them")]
            Templates::with_overrides(BTreeMap::new()).expect("the built-in templates parse")
        });
        SET.clone()
    }

    /// The built-in set with some templates replaced by name, for example `seldon.yaml.j2`.
    ///
    /// # Errors
    /// A name that is not of the set, or a text that does not parse.
    pub fn with_overrides(files: BTreeMap<String, String>) -> Result<Self, RenderError> {
        let mut texts: BTreeMap<String, String> =
            BUILT_IN.iter().map(|(n, t)| ((*n).to_owned(), (*t).to_owned())).collect();
        for (name, text) in files {
            if texts.insert(name.clone(), text).is_none() {
                let known = BUILT_IN.iter().map(|(n, _)| *n).collect::<Vec<_>>().join(", ");
                return Err(RenderError::UnknownTemplate { name: crate::names::shown(&name), known });
            }
        }
        let digest = digest_of(&texts);
        let mut environment = environment()?;
        for (name, text) in texts {
            environment.add_template_owned(name, text).map_err(|error| RenderError::template(&error))?;
        }
        Ok(Self(Arc::new(Set { environment, digest })))
    }

    /// Digest over the names and texts of the set.
    pub fn digest(&self) -> &Digest {
        &self.0.digest
    }

    /// Renders one template of the set.
    ///
    /// # Errors
    /// Template, line and reason.
    pub(super) fn render(&self, name: &str, context: &Value) -> Result<String, RenderError> {
        let template = self.0.environment.get_template(name);
        template.and_then(|template| template.render(context.clone())).map_err(|error| RenderError::template(&error))
    }
}

impl fmt::Debug for Templates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Templates").field(self.digest()).finish()
    }
}

fn environment() -> Result<Environment<'static>, RenderError> {
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).keep_trailing_newline(true).build();
    let mut environment = Environment::new();
    environment.set_syntax(syntax.map_err(|error| RenderError::template(&error))?);
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::Custom("json".into()));
    environment.set_formatter(escape::write_json);
    environment.add_filter("promql", |text: &str| escape::promql(text));
    environment.add_filter("promql_regex", |value: &Value| escape::promql_regex(value));
    environment.add_filter("alert_text", |text: &str| escape::alert_text(text));
    Ok(environment)
}

/// The lengths stand before the texts, so that no text can pass for the next name.
fn digest_of(texts: &BTreeMap<String, String>) -> Digest {
    let mut bytes = Vec::new();
    for (name, text) in texts {
        bytes.extend_from_slice(format!("{} {name}\n{}\n{text}\n", name.len(), text.len()).as_bytes());
    }
    Digest::of(&bytes)
}
