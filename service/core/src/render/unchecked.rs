//! The templates alone, without reading back what they made: for measuring them apart from the checks. Nobody applies this.

use minijinja::value::Value;

use super::templates::{BUILT_IN, Templates};
use super::{KUSTOMIZATION_TEMPLATE, Prepared, RenderError, dashboard, prepare, stand_in, with_dashboard};
use crate::release::Release;

/// What the templates of one release see, and which of them make its files.
#[derive(Debug)]
pub struct Unchecked {
    context: Value,
    /// Names of the templates, in the order in which they are rendered.
    pub names: Vec<&'static str>,
}

/// Name and text of every template of the program.
pub fn texts() -> &'static [(&'static str, &'static str)] {
    BUILT_IN
}

impl Unchecked {
    /// Builds what the templates see of a release.
    ///
    /// # Errors
    /// A release without variants, or a dashboard that does not render.
    pub fn new(release: &Release, templates: &Templates) -> Result<Self, RenderError> {
        let Prepared { context, documents } = prepare(release, &stand_in(release))?;
        let context = with_dashboard(&context, &dashboard::json(&context, templates)?);
        let files = documents.into_iter().map(|(_, template)| template);
        let names = [dashboard::TEMPLATE].into_iter().chain(files).chain([KUSTOMIZATION_TEMPLATE]).collect();
        Ok(Self { context, names })
    }

    /// The context as JSON, for another engine.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::to_value(&self.context).unwrap_or_default()
    }

    /// Renders the whole set once.
    ///
    /// # Errors
    /// A template that fails.
    pub fn render(&self, templates: &Templates) -> Result<Vec<String>, RenderError> {
        self.names.iter().map(|name| templates.render(name, &self.context)).collect()
    }
}
