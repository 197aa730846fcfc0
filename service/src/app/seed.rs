//! What a new embedded repository begins with where no tracking server says what serves a version.

use crate::git;

/// The policy of the seed that speaks for every model.
const DEFAULT_POLICY: &str = "policies/default.yaml";

/// The line of that policy that says what a release gets where nobody says otherwise, and with an image in it. Without a tracking server
/// nobody else names one, so that an alias alone would release nothing.
const WITHOUT_IMAGE: &str = "  defaults: {}\n";
const WITH_IMAGE: &str = "  defaults: {image: \"registry.example/{{ model }}:{{ version }}\"}\n";

/// The seed, with a default image in its policy.
pub(super) fn seed() -> Vec<(String, Vec<u8>)> {
    let with_image = |text: Vec<u8>| match String::from_utf8(text) {
        Ok(text) => text.replace(WITHOUT_IMAGE, WITH_IMAGE).into_bytes(),
        Err(error) => error.into_bytes(),
    };
    git::seed()
        .into_iter()
        .map(|(path, text)| if path == DEFAULT_POLICY { (path, with_image(text)) } else { (path, text) })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Policies;

    #[test]
    fn the_seeded_policy_parses_and_has_an_image() {
        let seed = seed();
        let (_, text) = seed.iter().find(|(path, _)| path == DEFAULT_POLICY).unwrap();
        let text = String::from_utf8(text.clone()).unwrap();
        assert_eq!(text.matches(WITH_IMAGE).count(), 1, "{text}");
        let (_, problems) = Policies::parse(&[("default".parse().unwrap(), text)]);
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(seed.len(), git::seed().len());
    }
}
