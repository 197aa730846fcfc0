//! Whether a policy can work: read strictly, with one sentence and a cure for what cannot.

use super::{
    Pattern, Place, PolicyDefaults, PolicySpec, ReleasePolicy, RequestRule, Requirement, SecondRule, image_for,
};
use crate::names::{ModelName, PolicyName, STATUS_TAG_PREFIX, Version, shown};
use crate::release::{Step, StepRequest, Strategy, Violations, check_steps, check_weights};

/// The largest policy file in bytes; a hundred rules fit many times over.
const FILE_BYTES_MAX: usize = 64 * 1024;

/// The most entries of `models` and of `second` each: every one is looked at for every event.
const ENTRIES_MAX: usize = 100;

/// What is wrong with one policy file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub policy: PolicyName,
    /// One plain sentence.
    pub reason: String,
    /// A change that helps.
    pub cure: Option<String>,
}

impl ReleasePolicy {
    /// Reads a policy file and compiles its patterns.
    pub(super) fn parse(name: &PolicyName, text: &str) -> Result<(Self, Vec<Pattern>), Problem> {
        let problem =
            |reason: String, cure: &str| Problem { policy: name.clone(), reason, cure: Some(cure.to_owned()) };
        if text.len() > FILE_BYTES_MAX {
            return Err(problem(
                format!("the file is larger than {FILE_BYTES_MAX} bytes"),
                "Split it into several policies",
            ));
        }
        let policy: Self = serde_yaml::from_str(text).map_err(|error| {
            problem(one_line(&error.to_string()), "Compare it with policies/default.yaml of the seed")
        })?;
        let mut found = Violations::default();
        let patterns = policy.check(name, &mut found);
        match found.into_vec().into_iter().next() {
            None => Ok((policy, patterns)),
            Some(first) => {
                Err(problem(format!("`{}` {}", first.field, first.detail), cure(&first.field, &first.detail)))
            }
        }
    }

    fn check(&self, name: &PolicyName, found: &mut Violations) -> Vec<Pattern> {
        let Self { api_version: _, kind: _, metadata, spec } = self;
        found.require(metadata.name == *name, "metadata.name", &format!("must be `{name}`, the name of the file"));
        let PolicySpec { models, release, stable, second, request, when_stable_goes: _, defaults } = spec;
        // Only names that parsed are in there.
        let Place { environment: _, namespace: _, name: _ } = release;
        let patterns = check_models(models, found);
        check_requirements(&stable.requires, "stable.requires", found);
        found.require(second.len() <= ENTRIES_MAX, "second", &format!("must have at most {ENTRIES_MAX} rules"));
        for (i, rule) in second.iter().enumerate() {
            let at = format!("second[{i}]");
            let same = rule.alias == stable.alias;
            found.require(
                !same,
                &format!("{at}.alias"),
                "is the alias of the stable version, which never stands beside itself",
            );
            check_second(rule, &at, found);
        }
        if let Some(RequestRule { tag }) = request {
            check_tag(tag, "request.tag", found);
        }
        check_defaults(defaults, found);
        patterns
    }
}

fn check_models(models: &[String], found: &mut Violations) -> Vec<Pattern> {
    let count_ok = (1..=ENTRIES_MAX).contains(&models.len());
    found.require(count_ok, "models", &format!("must have 1 to {ENTRIES_MAX} names or globs"));
    let mut patterns = Vec::new();
    for (i, text) in models.iter().enumerate().take(ENTRIES_MAX) {
        match Pattern::parse(text) {
            _ if text.is_empty() || text.contains('/') => {
                found.add(format!("models[{i}]"), "is empty or has a `/`, which no model name has")
            }
            Ok(pattern) => patterns.push(pattern),
            Err(error) => {
                found.add(format!("models[{i}]"), format!("is `{}`, which is not a glob: {error}", shown(text)))
            }
        }
    }
    patterns
}

fn check_second(rule: &SecondRule, at: &str, found: &mut Violations) {
    let SecondRule { alias: _, strategy, requires, steps, percent, weights } = rule;
    let field = |name: &str| format!("{at}.{name}");
    check_requirements(requires, &field("requires"), found);
    found.require(
        *strategy != Strategy::Single,
        &field("strategy"),
        "must be canary, ab, blue-green or shadow: `single` has no second version",
    );
    let only = |found: &mut Violations, given: bool, name: &str, of: Strategy| {
        found.require(
            !given || *strategy == of,
            &field(name),
            &format!("is for the strategy `{of}`, not for `{strategy}`"),
        );
    };
    only(found, steps.is_some(), "steps", Strategy::Canary);
    only(found, percent.is_some(), "percent", Strategy::Shadow);
    only(found, weights.is_some(), "weights", Strategy::Ab);
    found.require(
        percent.is_none_or(|percent| (1..=100).contains(&percent)),
        &field("percent"),
        "must be from 1 to 100",
    );

    let mut inner = Violations::default();
    if let Some(steps) = steps {
        check_steps(&steps.iter().cloned().map(StepRequest::step).collect::<Vec<Step>>(), &mut inner);
    }
    if let Some(weights) = weights {
        check_weights(weights, 2, &mut inner);
    }
    for violation in inner.into_vec() {
        found.add(field(&violation.field), violation.detail);
    }
}

fn check_requirements(requires: &[Requirement], at: &str, found: &mut Violations) {
    for (i, Requirement { tag, equals: _ }) in requires.iter().enumerate() {
        check_tag(tag, &format!("{at}[{i}].tag"), found);
    }
}

fn check_tag(tag: &str, at: &str, found: &mut Violations) {
    found.require(!tag.is_empty(), at, "must not be empty");
    found.require(
        !tag.starts_with(STATUS_TAG_PREFIX),
        at,
        &format!("is `{}`, which the service itself writes", shown(tag)),
    );
}

fn check_defaults(defaults: &PolicyDefaults, found: &mut Violations) {
    if let Some(serving) = &defaults.serving {
        serving.check("defaults.serving", found);
    }
    // A plain model shows whether the template works at all.
    if let (Ok(model), Ok(version)) = (ModelName::parse("model"), Version::parse("1"))
        && let Err(error) = image_for(defaults, &model, &version)
    {
        found.add("defaults.image", error.what());
    }
}

fn cure(field: &str, detail: &str) -> &'static str {
    match field {
        _ if detail.ends_with("the service itself writes") => "Read a tag that your own pipeline sets",
        "metadata.name" => "Rename the file or the policy",
        "defaults.image" => "Write it like \"registry/{{ model }}:{{ version }}\"",
        _ if field.starts_with("models") => "Write names or globs such as \"fraud-*\"",
        _ => "Compare it with policies/default.yaml of the seed",
    }
}

/// An error of the YAML parser without what would make it more than one line.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
