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

/// What of the stack has Argo CD apply the releases: where the repository is, and the ApplicationSet.
const OF_RELEASES: [&str; 2] = ["platform/releases/", "platform/repository/"];

/// The files of the seed that a repository with something in it already gets only where they are asked for: the policy that speaks for every
/// model, and the stack, but for what has the releases applied.
pub(super) fn only_if_asked(seed: &[(String, Vec<u8>)], with_policy: bool, with_platform: bool) -> Vec<String> {
    let is_of_releases = |path: &str| OF_RELEASES.iter().any(|directory| path.starts_with(directory));
    let is_left_out = |path: &str| {
        let is_platform = path.starts_with("platform/") && !is_of_releases(path);
        (path == DEFAULT_POLICY && !with_policy) || (is_platform && !with_platform)
    };
    seed.iter().map(|(path, _)| path).filter(|path| is_left_out(path)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Policies;

    #[test]
    fn a_repository_with_content_gets_what_releases_need_and_the_rest_where_it_is_asked_for() {
        let seed = seed(true);
        let added = |with_policy, with_platform| {
            let left_out = only_if_asked(&seed, with_policy, with_platform);
            seed.iter()
                .map(|(path, _)| path.as_str())
                .filter(|path| !left_out.iter().any(|it| it == path))
                .collect::<Vec<_>>()
        };
        let needed = [
            "README.md",
            "platform/releases/kustomization.yaml",
            "platform/releases/production.yaml",
            "platform/releases/project.yaml",
            "platform/repository/kustomization.yaml",
            "platform/repository/repository.yaml",
        ];
        assert_eq!(added(false, false), needed);
        assert_eq!(added(true, false).len(), needed.len() + 1);
        assert_eq!(added(false, true).len(), seed.len() - 1);
        assert_eq!(added(true, true).len(), seed.len());
    }

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
