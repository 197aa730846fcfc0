//! What a policy makes of a model's registry state.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use jiff::Timestamp;

use super::{PolicyDefaults, ReleasePolicy, Requirement, SecondRule, StableRule, WhenStableGoes};
use crate::names::{AliasName, Digest, PolicyName, ReleaseKey, ReleaseName, Version, shown};
use crate::registry::RegistryState;
use crate::release::{RegistryView, Role, Step, StepRequest, Strategy};

/// The longest tag value that is written into `origin` as it is, in characters; of a longer one its digest says whether it changed.
const VIEWED_CHARS_MAX: usize = 200;

/// The release that should be by a policy.
#[derive(Debug, Clone, PartialEq)]
pub struct Desired {
    pub key: ReleaseKey,
    pub policy: PolicyName,
    /// The version that should serve; none where the alias is not set or a requirement is not met.
    pub stable: Option<Version>,
    pub second: Option<Second>,
    /// What the request tag asks for.
    pub request: Option<Wish>,
    /// The part of the registry state that the policy reads; the request tag is not in it, because it is answered once.
    pub view: RegistryView,
    /// The newest time that an alias which the policy reads was pointed at a version.
    pub set_at: BTreeMap<Version, Timestamp>,
    /// Whether the stable alias points nowhere: only then `when_stable_goes` counts, and only if it pointed somewhere before.
    pub stable_gone: bool,
    pub when_stable_goes: WhenStableGoes,
    pub defaults: PolicyDefaults,
    /// Plain sentences: which rule said what, and why nothing.
    pub because: Vec<String>,
}

/// The version beside the stable one.
#[derive(Debug, Clone, PartialEq)]
pub struct Second {
    pub version: Version,
    pub strategy: Strategy,
    pub steps: Option<Vec<Step>>,
    pub percent: Option<u8>,
    pub weights: Option<IndexMap<Role, u8>>,
    /// Number of the rule in the policy, from 1.
    pub rule: usize,
    /// The sentence of `because` that says why.
    pub said: String,
}

/// What a request tag asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    pub version: Version,
    /// The strategy, or why the tag's value names none.
    pub strategy: Result<Strategy, String>,
    /// The tag's key, to be deleted once answered.
    pub tag: String,
    /// When it was set.
    pub at: Timestamp,
}

/// Works out the release that should be, and says why.
pub fn desired(state: &RegistryState, policy: &ReleasePolicy) -> Desired {
    let spec = &policy.spec;
    let mut because = Vec::new();
    let stable = stable(state, &spec.stable, spec.when_stable_goes, &mut because);
    let second = second(state, &spec.second, stable, &mut because);
    let request = spec.request.as_ref().and_then(|rule| request(state, &rule.tag, &mut because));
    if stable.is_none() && second.is_none() && request.is_none() {
        because.push(format!("policy `{}` asks for nothing", policy.metadata.name));
    }
    Desired {
        key: ReleaseKey {
            environment: spec.release.environment.clone(),
            namespace: spec.release.namespace.clone(),
            name: spec.release.name.clone().unwrap_or_else(|| ReleaseName::of_model(&state.model)),
        },
        policy: policy.metadata.name.clone(),
        stable: stable.cloned(),
        second,
        request,
        view: view(state, policy),
        set_at: set_at(state, policy),
        stable_gone: state.alias(spec.stable.alias.as_str()).is_none(),
        when_stable_goes: spec.when_stable_goes,
        defaults: spec.defaults.clone(),
        because,
    }
}

fn stable<'a>(
    state: &'a RegistryState,
    rule: &StableRule,
    when_gone: WhenStableGoes,
    because: &mut Vec<String>,
) -> Option<&'a Version> {
    let StableRule { alias, requires } = rule;
    let Some((version, _)) = state.alias(alias.as_str()) else {
        because.push(match when_gone {
            WhenStableGoes::Nothing => {
                format!("no version has the alias `{alias}`, so what is released stays as it is")
            }
            WhenStableGoes::Retract => {
                format!("no version has the alias `{alias}`, and then the policy retracts the release")
            }
        });
        return None;
    };
    if let Some(unmet) = unmet(state, version, requires) {
        because.push(format!(
            "version {version} has the alias `{alias}`, but {unmet}, so it is not released and what is there stays"
        ));
        return None;
    }
    because.push(format!("version {version} is the stable one, because it has the alias `{alias}`"));
    Some(version)
}

fn second(
    state: &RegistryState,
    rules: &[SecondRule],
    stable: Option<&Version>,
    because: &mut Vec<String>,
) -> Option<Second> {
    let mut found: Option<Second> = None;
    for (i, rule) in rules.iter().enumerate() {
        let (n, alias, strategy) = (i + 1, &rule.alias, rule.strategy);
        let Some((version, _)) = state.alias(alias.as_str()) else { continue };
        if Some(version) == stable {
            because
                .push(format!("rule {n}: version {version} has the alias `{alias}`, but it is the stable one already"));
        } else if let Some(unmet) = unmet(state, version, &rule.requires) {
            because.push(format!("rule {n}: version {version} has the alias `{alias}`, but {unmet}"));
        } else if let Some(first) = &found {
            because.push(format!(
                "rule {n}: version {version} has the alias `{alias}`, but is superseded by rule {}",
                first.rule
            ));
        } else {
            let said = format!("rule {n}: version {version} runs as {strategy}, because it has the alias `{alias}`");
            because.push(said.clone());
            found = Some(Second {
                said,
                version: version.clone(),
                strategy,
                steps: rule.steps.clone().map(|steps| steps.into_iter().map(StepRequest::step).collect()),
                percent: rule.percent,
                weights: rule.weights.clone(),
                rule: n,
            });
        }
    }
    found
}

/// The wish that was set last, whether or not it can be granted; the others are only reported.
fn request(state: &RegistryState, tag: &str, because: &mut Vec<String>) -> Option<Wish> {
    let mut wishes = Vec::new();
    for (version, known) in &state.versions {
        let Some(stamped) = known.tags.get(tag) else { continue };
        let Some(value) = &stamped.value else { continue };
        let strategy = value.trim().parse();
        wishes.push(Wish { version: version.clone(), strategy, tag: tag.to_owned(), at: stamped.at });
    }
    wishes.sort_by_key(|wish| (wish.at, wish.version.number()));
    let newest = wishes.pop()?;
    for wish in &wishes {
        because.push(format!("{}, but that of version {} is newer", wish.said(), newest.version));
    }
    because.push(newest.said());
    Some(newest)
}

impl Wish {
    fn said(&self) -> String {
        let (tag, version) = (shown(&self.tag), &self.version);
        match &self.strategy {
            Ok(strategy) => format!("tag `{tag}` of version {version} asks for {strategy}"),
            Err(error) => format!("tag `{tag}` of version {version} asks for nothing: {error}"),
        }
    }
}

/// The first requirement that a version does not meet, as a part of a sentence.
fn unmet(state: &RegistryState, version: &Version, requires: &[Requirement]) -> Option<String> {
    let Requirement { tag, equals } = requires.iter().find(|r| state.tag(version, &r.tag) != Some(&r.equals))?;
    let (key, wanted) = (shown(tag), shown(equals));
    Some(match state.tag(version, tag) {
        None => format!("its tag `{key}` is not set and must be `{wanted}`"),
        Some(value) => format!("its tag `{key}` is `{}` and must be `{wanted}`", shown(value)),
    })
}

/// The aliases that a policy reads, with what each requires.
fn read_aliases(policy: &ReleasePolicy) -> impl Iterator<Item = (&AliasName, &[Requirement])> {
    let stable = std::iter::once((&policy.spec.stable.alias, policy.spec.stable.requires.as_slice()));
    stable.chain(policy.spec.second.iter().map(|rule| (&rule.alias, rule.requires.as_slice())))
}

/// The part of a registry state that a policy reads.
pub fn view(state: &RegistryState, policy: &ReleasePolicy) -> RegistryView {
    let mut view = RegistryView::default();
    for (alias, requires) in read_aliases(policy) {
        let Some((version, _)) = state.alias(alias.as_str()) else { continue };
        view.aliases.insert(alias.to_string(), version.clone());
        for Requirement { tag, .. } in requires {
            if let Some(value) = state.tag(version, tag) {
                view.tags.insert(format!("{version}.{tag}"), viewed(value));
            }
        }
    }
    view
}

fn viewed(value: &str) -> String {
    if value.chars().nth(VIEWED_CHARS_MAX).is_some() {
        Digest::of(value.as_bytes()).to_string()
    } else {
        value.to_owned()
    }
}

fn set_at(state: &RegistryState, policy: &ReleasePolicy) -> BTreeMap<Version, Timestamp> {
    let mut newest = BTreeMap::new();
    for (alias, _) in read_aliases(policy) {
        if let Some((version, at)) = state.alias(alias.as_str()) {
            let known = newest.entry(version.clone()).or_insert(at);
            *known = at.max(*known);
        }
    }
    newest
}
