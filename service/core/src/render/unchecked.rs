//! The templates alone, without reading back what they made: for measuring them apart from the checks. Nobody applies this.

use minijinja::value::{Serde, Value};

use super::templates::{BUILT_IN, Templates};
use super::{RenderError, context, dashboard, stand_in};
use crate::release::{MonitoringMode, Release};

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
        let (Some(traffic), Some(stable)) = (release.traffic(), release.stable()) else {
            return Err(RenderError::rule("spec.variants", "must name at least one version"));
        };
        let stand_in = stand_in(release);
        let context = Value::from(Serde(context::build(release, stable, &traffic, &stand_in)));
        let dashboard_json = dashboard::compact(&templates.render(dashboard::TEMPLATE, &context)?)?;
        let context = minijinja::context! { dashboard_json, ..context };
        let mut names =
            vec!["seldon.yaml.j2", "route.yaml.j2", dashboard::TEMPLATE, "dashboard.yaml.j2", "kustomization.yaml.j2"];
        if release.spec.target.monitoring.mode == MonitoringMode::Operator {
            names.push("monitoring.yaml.j2");
        }
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
