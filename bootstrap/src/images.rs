//! The images that the manifests name, and their digests: what a tag names can be pushed anew, a digest is of one image for ever.

use std::collections::BTreeMap;
use std::ops::Range;

use serde_json::Value;

/// Between a tag and its digest. As one word with the tag the digest goes when somebody writes another tag; in a field of its own it would stay, and
/// the runtime heeds it alone.
const BETWEEN: &str = "@sha256:";

/// An image with a registry that a line of a manifest names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// Such as `docker.io/library/postgres:17.7`.
    pub image: String,
    pub digest: Option<String>,
    /// Where tag and digest stand in the line.
    place: Range<usize>,
}

/// What runs in a cluster: of each image by its tag the digests that nodes pulled.
///
/// More than one were pulled before and after somebody pushed the tag anew.
pub type Running = BTreeMap<String, Vec<String>>;

/// Every image that a manifest names in a line.
///
/// In one of three ways: an entry of `images` of a kustomization, `image` with the whole name, or a map of `registry`, `repository` and `tag`; all of ours
/// are in one line.
pub fn named(text: &str) -> Vec<Named> {
    text.lines().filter_map(of_line).collect()
}

/// The digest of an image of which exactly one runs.
pub fn only<'r>(running: &'r Running, image: &str) -> Option<&'r str> {
    match running.get(image)?.as_slice() {
        [digest] => Some(digest),
        _ => None,
    }
}

/// The same text, with the digest of each image of which exactly one runs.
pub fn pinned(text: &str, running: &Running) -> String {
    text.split_inclusive('\n').map(|line| pinned_line(line, running).unwrap_or_else(|| line.to_owned())).collect()
}

fn pinned_line(line: &str, running: &Running) -> Option<String> {
    let named = of_line(line)?;
    let digest = only(running, &named.image)?;
    let (_, tag) = named.image.rsplit_once(':')?;
    let (before, after) = (line.get(..named.place.start)?, line.get(named.place.end..)?);
    let value = format!("{tag}{BETWEEN}{digest}");
    // A quoted tag, such as a number, stays quoted; `@` cannot begin a word of YAML and may stand in one.
    Some(format!("{before}{value}{after}"))
}

fn of_line(line: &str) -> Option<Named> {
    if line.trim_start().starts_with('#') {
        return None;
    }
    let (name, place) = if let Some(tag) = value_of(line, "newTag") {
        let name = value_of(line, "newName").or_else(|| value_of(line, "name"))?;
        (line.get(name)?.to_owned(), tag)
    } else if let (Some(repository), Some(tag)) = (value_of(line, "repository"), value_of(line, "tag")) {
        let registry = value_of(line, "registry").and_then(|place| line.get(place)).map(|name| format!("{name}/"));
        (registry.unwrap_or_default() + line.get(repository)?, tag)
    } else {
        let whole = value_of(line, "image")?;
        let text = line.get(whole.clone())?;
        let (name, _) = text.split_once('@').unwrap_or((text, "")).0.rsplit_once(':')?;
        (name.to_owned(), whole.start + name.len() + 1..whole.end)
    };
    // A name without a place is of what is built here, or is given by a kustomization.
    if !name.contains('/') {
        return None;
    }
    let text = line.get(place.clone())?;
    let (tag, digest) = text.split_once(BETWEEN).map_or((text, None), |(tag, digest)| (tag, Some(digest.to_owned())));
    Some(Named { image: format!("{name}:{tag}"), digest, place })
}

/// Where the value of a key stands in a line, without quotes; none where it is a map or is not there.
fn value_of(line: &str, key: &str) -> Option<Range<usize>> {
    let is_key = |at: &usize| {
        let before = line.get(..*at).unwrap_or_default();
        before.is_empty() || before.ends_with([' ', '{', ','])
    };
    let wanted = format!("{key}: ");
    let at = line.match_indices(&wanted).map(|(at, _)| at).find(is_key)? + wanted.len();
    let rest = line.get(at..)?;
    let start = at + rest.len() - rest.trim_start_matches([' ', '"', '\'']).len();
    let length = line.get(start..)?.find([' ', ',', '}', '"', '\'', '\n', '\r']).unwrap_or(line.len() - start);
    let is_value = length > 0 && !line.get(start..)?.starts_with('{');
    is_value.then(|| start..start + length)
}

/// What the pods of a cluster run: their statuses have the digest that a node pulled, in what Kubernetes calls `imageID`. What was loaded into a node has
/// none there.
pub fn running(pods: &[Value]) -> Running {
    let mut found = Running::new();
    for pod in pods {
        for (containers, statuses) in [("containers", "containerStatuses"), ("initContainers", "initContainerStatuses")]
        {
            for container in pod["spec"][containers].as_array().into_iter().flatten() {
                let is_of = |status: &&Value| status["name"] == container["name"];
                let status = pod["status"][statuses].as_array().into_iter().flatten().find(is_of);
                let id = status.and_then(|status| status["imageID"].as_str()).unwrap_or_default();
                let id = id.strip_prefix("docker-pullable://").unwrap_or(id);
                let (Some(image), Some((pulled, digest))) = (container["image"].as_str(), id.split_once(BETWEEN))
                else {
                    continue;
                };
                let image = image.split_once('@').map_or(image, |(name, _)| name);
                // What a mirror gave may be another image, which the repository of this name has not.
                if image.rsplit_once(':').map(|(repository, _)| repository) != Some(pulled) {
                    continue;
                }
                let digests = found.entry(image.to_owned()).or_default();
                if is_digest(digest) && !digests.iter().any(|known| known == digest) {
                    digests.push(digest.to_owned());
                }
            }
        }
    }
    found.retain(|_, digests| !digests.is_empty());
    found
}

fn is_digest(text: &str) -> bool {
    text.len() == 64 && text.chars().all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const MANIFESTS: &str = "\
images:
- {name: mlflow, newName: ghcr.io/mlflow/mlflow, newTag: v3.18.0-full}
- {name: ghcr.io/kubeflow/katib/katib-ui, newTag: \"0.19\"}
- {name: kmlflow, newName: kmlflow, newTag: 0.1.0}
image: {registry: docker.io, repository: seldonio/operator, tag: 1.17.1}
chart: {repository: https://charts.example/x, name: x, version: 1.0.0}
          image: docker.io/envoyproxy/envoy:distroless-v1.39.0
        image: mlflow
# image: docker.io/library/none:1
image: localhost:5000/a/b:2
";

    fn digest(letter: char) -> String {
        letter.to_string().repeat(64)
    }

    #[test]
    fn images_are_found_however_a_manifest_names_them() {
        let found: Vec<String> = named(MANIFESTS).into_iter().map(|named| named.image).collect();
        assert_eq!(
            found,
            [
                "ghcr.io/mlflow/mlflow:v3.18.0-full",
                "ghcr.io/kubeflow/katib/katib-ui:0.19",
                "docker.io/seldonio/operator:1.17.1",
                "docker.io/envoyproxy/envoy:distroless-v1.39.0",
                "localhost:5000/a/b:2",
            ]
        );
    }

    #[test]
    fn a_digest_stands_behind_its_tag_and_is_written_anew() {
        let all = named(MANIFESTS);
        let of = |letter| all.iter().map(|named| (named.image.clone(), vec![digest(letter)])).collect::<Running>();
        let made = pinned(MANIFESTS, &of('a'));
        let a = digest('a');
        for line in [
            format!("newTag: v3.18.0-full@sha256:{a}}}"),
            format!("newTag: \"0.19@sha256:{a}\"}}"),
            format!("tag: 1.17.1@sha256:{a}}}"),
            format!("image: docker.io/envoyproxy/envoy:distroless-v1.39.0@sha256:{a}\n"),
            format!("image: localhost:5000/a/b:2@sha256:{a}\n"),
        ] {
            assert!(made.contains(&line), "{line}\n{made}");
        }
        assert!(
            named(&made)
                .iter()
                .zip(&all)
                .all(|(now, before)| now.image == before.image && now.digest.as_ref() == Some(&a))
        );
        assert_eq!(made.lines().filter(|line| line.contains(BETWEEN)).count(), 5);
        assert_eq!(pinned(&made, &of('b')), made.replace(&a, &digest('b')));
        // What does not run, or runs as two, stays as it is.
        assert_eq!(pinned(&made, &Running::new()), made);
        let two = all.iter().map(|named| (named.image.clone(), vec![digest('c'), digest('d')])).collect();
        assert_eq!(pinned(&made, &two), made);
    }

    #[test]
    fn what_nodes_pulled_is_read_from_the_pods() {
        let pod = |image: &str, id: &str| {
            json!({
                "spec": {"initContainers": [{"name": "i", "image": "r/init:1"}], "containers": [{"name": "c", "image": image}]},
                "status": {
                    "initContainerStatuses": [{"name": "i", "imageID": format!("r/init@sha256:{}", digest('1'))}],
                    "containerStatuses": [{"name": "c", "imageID": id}],
                },
            })
        };
        let (a, b) = (digest('a'), digest('b'));
        let found = running(&[
            pod("r/x:1", &format!("r/x@sha256:{a}")),
            pod(&format!("r/x:1@sha256:{a}"), &format!("docker-pullable://r/x@sha256:{a}")),
            pod("r/y:1", &format!("r/y@sha256:{a}")),
            pod("r/y:1", &format!("r/y@sha256:{b}")),
            // Loaded, not pulled; not there yet; no digest.
            pod("r/z:1", &format!("sha256:{a}")),
            pod("r/z:1", ""),
            pod("r/z:1", "r/z@sha256:x"),
            pod("r/z:1", &format!("mirror/r/z@sha256:{a}")),
            json!({"spec": {"containers": [{"name": "c", "image": "r/z:1"}]}}),
        ]);
        let expected: Running = [("r/init:1", vec![digest('1')]), ("r/x:1", vec![a.clone()]), ("r/y:1", vec![a, b])]
            .map(|(image, digests)| (image.to_owned(), digests))
            .into();
        assert_eq!(found, expected);
    }
}
