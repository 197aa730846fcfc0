//! What a new embedded repository begins with.

use crate::git;
use crate::policy::seeded_default_policy;

/// The policy of the seed that speaks for every model.
pub(super) const DEFAULT_POLICY: &str = "policies/default.yaml";

/// The seed. Without a tracking server nobody says what serves a version, so that an alias alone would release nothing: then the default
/// policy names an image.
pub(super) fn seed(has_registry: bool) -> Vec<(String, Vec<u8>)> {
    let mut files = git::seed();
    if !has_registry {
        let policies = files.iter_mut().filter(|(path, _)| path == DEFAULT_POLICY);
        policies.for_each(|(_, text)| *text = seeded_default_policy().into_bytes());
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Policies;

    #[test]
    fn the_seeded_policy_parses_and_has_an_image_where_no_tracking_server_is_asked() {
        for has_registry in [false, true] {
            let seed = seed(has_registry);
            let (_, text) = seed.iter().find(|(path, _)| path == DEFAULT_POLICY).unwrap();
            let text = String::from_utf8(text.clone()).unwrap();
            let (policies, problems) = Policies::parse(&[("default".parse().unwrap(), text)]);
            assert!(problems.is_empty(), "{problems:?}");
            let image = &policies.iter().next().unwrap().spec.defaults.image;
            assert_eq!(image.is_none(), has_registry, "{image:?}");
            assert_eq!(seed.len(), git::seed().len());
        }
    }
}
