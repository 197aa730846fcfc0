//! All policies of the repository, and which one speaks for a model.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use globset::{GlobBuilder, GlobMatcher};

use super::{Problem, ReleasePolicy};
use crate::names::{ModelName, PolicyName};

/// All policies that parsed, by name.
#[derive(Debug, Clone, Default)]
pub struct Policies(Vec<Ready>);

/// The policy that speaks for a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Selection<'a> {
    pub policy: &'a ReleasePolicy,
    /// Which other policies speak for it just as strongly, as one sentence.
    pub warning: Option<String>,
}

/// A policy with its patterns compiled.
#[derive(Debug, Clone)]
struct Ready {
    policy: ReleasePolicy,
    patterns: Vec<Pattern>,
}

/// One entry of `models`.
#[derive(Debug, Clone)]
pub(super) struct Pattern {
    text: String,
    matcher: GlobMatcher,
}

/// How closely a policy names a model; the greater one speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Closeness {
    Glob { literals: usize },
    Exact,
}

impl Policies {
    /// Parses policy files, each on its own: one that does not parse is a problem and leaves the others in force.
    pub fn parse(files: &[(PolicyName, String)]) -> (Self, Vec<Problem>) {
        let (mut ready, mut problems) = (Vec::new(), Vec::new());
        for (name, text) in files {
            match ReleasePolicy::parse(name, text) {
                Ok((policy, patterns)) => ready.push(Ready { policy, patterns }),
                Err(problem) => problems.push(problem),
            }
        }
        ready.sort_by(|a, b| a.policy.metadata.name.cmp(&b.policy.metadata.name));
        (Self(ready), problems)
    }

    /// Every policy, by name.
    pub fn iter(&self) -> impl Iterator<Item = &ReleasePolicy> {
        self.0.iter().map(|ready| &ready.policy)
    }

    /// The key of the tag by which a version of this model asks for a release, where its policy has one.
    pub fn wish_tag(&self, model: &ModelName) -> Option<String> {
        self.select(model)?.policy.spec.request.as_ref().map(|rule| rule.tag.clone())
    }

    /// The keys of all tags that ask for releases.
    pub fn wish_tags(&self) -> Vec<String> {
        let keys: BTreeSet<&String> =
            self.iter().filter_map(|policy| policy.spec.request.as_ref()).map(|rule| &rule.tag).collect();
        keys.into_iter().cloned().collect()
    }

    /// The policy for a model: an exact name beats a glob, then more literal characters, then the file name.
    pub fn select(&self, model: &ModelName) -> Option<Selection<'_>> {
        let closeness = |ready: &Ready| ready.patterns.iter().filter_map(|pattern| pattern.closeness(model)).max();
        let mut speaking: Vec<_> = self.0.iter().filter_map(|ready| Some((closeness(ready)?, &ready.policy))).collect();
        // The sort is stable and the policies are in the order of their names.
        speaking.sort_by_key(|(closeness, _)| Reverse(*closeness));
        let (best, policy) = *speaking.first()?;
        let tied: Vec<_> =
            speaking[1..].iter().filter(|(closeness, _)| *closeness == best).map(|(_, other)| other).collect();
        let warning = (!tied.is_empty()).then(|| {
            let others: Vec<_> = tied.iter().map(|other| format!("`{}`", other.metadata.name)).collect();
            format!(
                "{} names model `{model}` just as closely as `{}`, which comes first by name",
                others.join(", "),
                policy.metadata.name
            )
        });
        Some(Selection { policy, warning })
    }
}

impl Pattern {
    /// Compiles an entry of `models`, or says what is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let glob = GlobBuilder::new(text).literal_separator(true).backslash_escape(true).build();
        let matcher = glob.map_err(|error| error.kind().to_string())?.compile_matcher();
        Ok(Self { text: text.to_owned(), matcher })
    }

    fn closeness(&self, model: &ModelName) -> Option<Closeness> {
        // A model's name may contain a glob's signs; written out it names that model.
        if self.text == model.as_str() {
            return Some(Closeness::Exact);
        }
        self.matcher.is_match(model.as_str()).then(|| Closeness::Glob { literals: literals(&self.text) })
    }
}

/// The number of characters of a glob that stand for themselves: outside `[…]` and `{…}`, and not `*` or `?`.
fn literals(glob: &str) -> usize {
    let (mut count, mut depth) = (0, 0_usize);
    let mut chars = glob.chars();
    while let Some(c) = chars.next() {
        match c {
            '[' | '{' => depth += 1,
            ']' | '}' => depth = depth.saturating_sub(1),
            '*' | '?' => {}
            _ => {
                if c == '\\' {
                    chars.next();
                }
                count += usize::from(depth == 0);
            }
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policies(all: &[(&str, &str)]) -> Policies {
        let file = |(name, models): &(&str, &str)| {
            let text = format!(
                "apiVersion: kmlflow.dev/v1\nkind: ReleasePolicy\nmetadata: {{name: {name}}}\nspec:\n  models: {models}\n  \
                 release: {{environment: production, namespace: models}}\n  stable: {{alias: champion}}\n"
            );
            (PolicyName::parse(name).unwrap(), text)
        };
        let (policies, problems) = Policies::parse(&all.iter().map(file).collect::<Vec<_>>());
        assert_eq!(problems, []);
        policies
    }

    #[track_caller]
    fn check(all: &[(&str, &str)], model: &str, selected: Option<&str>, warns: bool) {
        let policies = policies(all);
        let selection = policies.select(&ModelName::parse(model).unwrap());
        assert_eq!(selection.as_ref().map(|s| s.policy.metadata.name.as_str()), selected);
        assert_eq!(selection.is_some_and(|s| s.warning.is_some()), warns);
    }

    #[test]
    fn an_exact_name_beats_a_glob_then_more_literals_then_the_file_name() {
        check(&[("a", "['fraud-detecto*']"), ("b", "[fraud-detector]")], "fraud-detector", Some("b"), false);
        check(&[("a", "['*']"), ("b", "['fraud-*']")], "fraud-detector", Some("b"), false);
        check(&[("a", "['fraud-*', '*']"), ("b", "['fraud-detec*']")], "fraud-detector", Some("b"), false);
        check(&[("a", "['fraud-*']"), ("b", "['*detector']")], "fraud-detector", Some("b"), false);
        check(&[("a", "['{fraud,spam}-detector']"), ("b", "['fraud-dete*']")], "fraud-detector", Some("b"), false);
    }

    #[test]
    fn a_tie_goes_to_the_first_file_name_with_a_warning() {
        check(&[("b", "['fraud-*']"), ("a", "['fraud-*']")], "fraud-detector", Some("a"), true);
        check(&[("b", "[fraud]"), ("a", "[fraud]")], "fraud", Some("a"), true);
        check(&[("b", "['*']"), ("a", "['*']"), ("c", "[fraud]")], "fraud", Some("c"), false);
    }

    #[test]
    fn a_model_that_no_policy_names_has_none() {
        check(&[("a", "['fraud-*']")], "spam", None, false);
        check(&[], "spam", None, false);
    }

    #[test]
    fn a_glob_knows_classes_and_alternatives_and_a_name_with_signs_matches_itself() {
        check(&[("a", "['model[0-9]', '{x,y}?']")], "model7", Some("a"), false);
        check(&[("a", "['model[0-9]', '{x,y}?']")], "y1", Some("a"), false);
        check(&[("a", "['model[0-9]', '{x,y}?']")], "Model7", None, false);
        check(&[("a", "['*']"), ("b", "['m [x]']")], "m [x]", Some("b"), false);
    }
}
