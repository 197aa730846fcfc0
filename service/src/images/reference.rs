//! The parts of an image's name by which its registry is asked.

/// The registry of images that name none, by the rule of `distribution/reference`.
const DOCKER: &str = "docker.io";

/// Where Docker's registry answers.
const DOCKER_HOST: &str = "registry-1.docker.io";

/// The tag of an image that names none.
const LATEST: &str = "latest";

/// An image whose digest is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reference {
    /// Its registry as people name it, with a port where it has one: `docker.io`, `localhost:5000`.
    pub(super) registry: String,
    /// Its path there: `library/python`.
    pub(super) repository: String,
    pub(super) tag: String,
}

impl Reference {
    /// Takes a valid image name apart; none where it has a digest already.
    pub(super) fn parse(image: &str) -> Option<Self> {
        if image.contains('@') {
            return None;
        }
        let path_at = image.rfind('/').map_or(0, |slash| slash + 1);
        let (name, tag) = match image[path_at..].find(':') {
            Some(colon) => (&image[..path_at + colon], &image[path_at + colon + 1..]),
            None => (image, LATEST),
        };
        let (registry, path) = match name.split_once('/') {
            Some((first, rest)) if first.contains(['.', ':', '[']) || first == "localhost" => (known_as(first), rest),
            _ => (DOCKER, name),
        };
        let official = registry == DOCKER && !path.contains('/');
        let repository = if official { format!("library/{path}") } else { path.to_owned() };
        Some(Self { registry: registry.to_ascii_lowercase(), repository, tag: tag.to_owned() })
    }

    /// The host that answers for the registry.
    pub(super) fn host(&self) -> &str {
        if self.registry == DOCKER { DOCKER_HOST } else { &self.registry }
    }
}

/// A registry's one name: Docker's has several.
pub(super) fn known_as(registry: &str) -> &str {
    match registry {
        "index.docker.io" | DOCKER_HOST => DOCKER,
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_taken_apart_as_docker_does() {
        for (image, registry, repository, tag) in [
            ("python", "docker.io", "library/python", "latest"),
            ("python:3.11", "docker.io", "library/python", "3.11"),
            ("seldonio/mlserver:1.7.1-mlflow", "docker.io", "seldonio/mlserver", "1.7.1-mlflow"),
            ("docker.io/python:3.11", "docker.io", "library/python", "3.11"),
            ("index.docker.io/a/b:1", "docker.io", "a/b", "1"),
            ("registry.example/fraud", "registry.example", "fraud", "latest"),
            ("Registry.Example:5000/team/fraud:8", "registry.example:5000", "team/fraud", "8"),
            ("localhost/fraud:8", "localhost", "fraud", "8"),
            ("localhost:5000/fraud", "localhost:5000", "fraud", "latest"),
            ("[::1]:5000/fraud:8", "[::1]:5000", "fraud", "8"),
        ] {
            let reference = Reference::parse(image).unwrap();
            let parts = (reference.registry.as_str(), reference.repository.as_str(), reference.tag.as_str());
            assert_eq!(parts, (registry, repository, tag), "{image}");
        }
        assert_eq!(Reference::parse("python").unwrap().host(), "registry-1.docker.io");
        assert_eq!(Reference::parse(&format!("a/b:1@sha256:{}", "0".repeat(64))), None);
    }
}
