//! The image of a version for which nobody named one.

use minijinja::{Environment, UndefinedBehavior, context};

use super::PolicyDefaults;
use crate::names::{ModelName, ReleaseName, Version};

/// The default image that the first embedded start without a tracking server seeds: a placeholder that shows the form.
pub const SEED_IMAGE: &str = "registry.example/{{ model }}:{{ version }}";

/// The seed's default policy.
const DEFAULT_POLICY: &str = include_str!("../../../../gitops-repo/policies/default.yaml");

/// The part of the default policy that names no image.
const NO_DEFAULTS: &str = "\n  defaults: {}\n";

/// The longest image reference in characters; registries stop at 255 for the name and 128 for the tag.
const IMAGE_CHARS_MAX: usize = 500;

/// A `defaults.image` that does not give an image, as one sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the policy's `defaults.image` {0}")]
pub struct ImageError(String);

impl ImageError {
    /// What is wrong, as the end of a sentence about the field.
    pub(super) fn what(&self) -> &str {
        &self.0
    }
}

/// The image that a policy's defaults name for a version, where they name one.
///
/// The template sees `model`, `version` and `name`, the release name of the model, which is fit for an image where the model's own is not.
///
/// # Errors
/// A template that does not compile, uses another variable, or does not give one word.
pub fn image_for(
    defaults: &PolicyDefaults,
    model: &ModelName,
    version: &Version,
) -> Result<Option<String>, ImageError> {
    defaults.image.as_deref().map(|template| render(template, model, version)).transpose()
}

fn render(template: &str, model: &ModelName, version: &Version) -> Result<String, ImageError> {
    // An image is put together, never computed: without statements no template can run for long.
    if template.contains("{%") {
        return Err(ImageError(
            "must not contain statements, only `{{ model }}`, `{{ version }}` and `{{ name }}`".to_owned(),
        ));
    }
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    let values = context! { model => model.as_str(), version => version.as_str(), name => ReleaseName::of_model(model).as_str() };
    let image = environment.render_str(template, values).map_err(|error| unusable(&error))?;
    let word = !image.is_empty() && image.chars().all(|c| c.is_ascii_graphic()) && image.len() <= IMAGE_CHARS_MAX;
    if word {
        Ok(image)
    } else {
        Err(ImageError(format!("gives `{}`, which is not an image", crate::names::shown(&image))))
    }
}

fn unusable(error: &minijinja::Error) -> ImageError {
    let detail = error.detail().map(|detail| format!(": {detail}")).unwrap_or_default();
    ImageError(format!("is not a usable template ({}{detail}); it knows `model`, `version` and `name`", error.kind()))
}

/// The seed's `policies/default.yaml` with its `defaults.image` filled in.
pub fn seeded_default_policy() -> String {
    DEFAULT_POLICY.replace(NO_DEFAULTS, &format!("\n  defaults: {{image: \"{SEED_IMAGE}\"}}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(template: &str, model: &str) -> Result<Option<String>, String> {
        let defaults = PolicyDefaults { image: Some(template.to_owned()), serving: None };
        let (model, version) = (ModelName::parse(model).unwrap(), Version::parse("7").unwrap());
        image_for(&defaults, &model, &version).map_err(|error| error.to_string())
    }

    #[test]
    fn an_image_is_filled_in_from_model_and_version() {
        assert_eq!(image(SEED_IMAGE, "fraud").unwrap().unwrap(), "registry.example/fraud:7");
        assert!(
            image("r/{{ name }}:{{ version }}", "Fraud Detector").unwrap().unwrap().starts_with("r/fraud-detector-")
        );
        let (model, version) = (ModelName::parse("m").unwrap(), Version::parse("7").unwrap());
        assert_eq!(image_for(&PolicyDefaults::default(), &model, &version), Ok(None));
    }

    #[test]
    fn a_template_that_gives_no_image_is_an_error_in_one_sentence() {
        let check = |template: &str, because: &str| {
            let error = image(template, "Fraud Detector").unwrap_err();
            assert!(error.contains(because) && !error.contains('\n'), "{error}");
        };
        check("r/{{ modell }}", "undefined");
        check("r/{{ model", "not a usable template");
        check("{% for i in range(9) %}x{% endfor %}", "must not contain statements");
        check("r/{{ model }}", "gives `r/Fraud Detector`, which is not an image");
        check("", "is not an image");
    }

    #[test]
    fn a_model_name_is_never_read_as_a_template() {
        assert_eq!(image("r/{{ model }}", "{{7*7}}").unwrap().unwrap(), "r/{{7*7}}");
    }

    #[test]
    fn the_seeded_default_policy_names_the_placeholder_image() {
        assert!(seeded_default_policy().contains(SEED_IMAGE));
        assert!(!DEFAULT_POLICY.contains("registry.example"));
    }
}
