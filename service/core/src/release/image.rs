//! Image references by the grammar of the registries (`distribution/reference`), which Kubernetes takes too.

use crate::names::{ModelName, Version};

/// The longest name without tag and digest.
const NAME_BYTES_MAX: usize = 255;

/// The longest tag.
const TAG_BYTES_MAX: usize = 128;

/// The model and its version, of `[registry/]model:version` with or without a digest.
///
/// # Errors
/// What is wrong with it, without the reference, in which somebody may have written a password.
pub fn model_of_image(image: &str) -> Result<(ModelName, Version), String> {
    let tagged = image.split_once('@').map_or(image, |(tagged, _)| tagged);
    let last = tagged.rsplit_once('/').map_or(tagged, |(_, last)| last);
    let (model, version) = last.split_once(':').ok_or("it has no version")?;
    let model = ModelName::parse(model).map_err(|error| format!("its model {}", error.rule))?;
    let version = Version::parse(version).map_err(|error| format!("its version {}", error.rule))?;
    Ok((model, version))
}

/// What is wrong with an image reference, as the end of a sentence about its field. It does not repeat the reference, in which somebody
/// may have written a password.
pub(super) fn image_fault(text: &str) -> Option<&'static str> {
    if text.contains("://") {
        return Some("must be an image reference without `https://`, such as `registry.example/fraud:8`");
    }
    let (named, digest) = text.split_once('@').map_or((text, None), |(named, digest)| (named, Some(digest)));
    match digest {
        Some(digest) if !digest.starts_with("sha256:") => {
            return Some(
                "must not have a user or a password: name a Secret for the registry in `serving.pod.imagePullSecrets`, \
                 and the image like `registry.example/fraud:8`",
            );
        }
        Some(digest) if crate::names::Digest::parse(digest).is_err() => {
            return Some("must have `@sha256:` and 64 hexadecimal digits in lower case where it has a digest");
        }
        _ => {}
    }
    let path_at = named.rfind('/').map_or(0, |slash| slash + 1);
    let (name, tag) = match named[path_at..].find(':') {
        Some(colon) => (&named[..path_at + colon], Some(&named[path_at + colon + 1..])),
        None => (named, None),
    };
    if tag.is_some_and(|tag| !is_tag(tag)) {
        return Some(
            "must have a tag of 1 to 128 letters, digits, `_`, `.` or `-`, such as `registry.example/fraud:8`",
        );
    }
    let (domain, path) = match name.split_once('/') {
        Some((first, rest)) if first.contains(['.', ':', '[']) || first == "localhost" => (Some(first), rest),
        _ => (None, name),
    };
    if domain.is_some_and(|domain| !is_domain(domain)) {
        return Some("must begin with a registry's name and port, such as `registry.example:5000/fraud:8`");
    }
    if name.len() > NAME_BYTES_MAX || !path.split('/').all(is_path_part) {
        return Some(
            "must have a name of at most 255 lower-case letters and digits, with single `.`, `_` or `-` inside and `/` between its \
             parts, such as `registry.example/team/fraud:8`",
        );
    }
    None
}

fn is_tag(tag: &str) -> bool {
    (1..=TAG_BYTES_MAX).contains(&tag.len())
        && tag.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
        && !tag.starts_with(['.', '-'])
}

/// A host name or an address, and a port where there is one.
fn is_domain(domain: &str) -> bool {
    let port_at = domain.rfind(']').map_or(0, |end| end + 1);
    let (host, port) = match domain[port_at..].find(':') {
        Some(colon) => (&domain[..port_at + colon], Some(&domain[port_at + colon + 1..])),
        None => (domain, None),
    };
    let host_ok = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => !address.is_empty() && address.bytes().all(|b| b.is_ascii_hexdigit() || b == b':'),
        None => super::is_host(&host.to_ascii_lowercase()),
    };
    host_ok && port.is_none_or(|port| port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok())
}

/// Runs of lower-case letters and digits, with `.`, `_`, `__` or any number of `-` between them.
fn is_path_part(part: &str) -> bool {
    let is_inside = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let mut separators = part.split(is_inside).filter(|between| !between.is_empty());
    part.starts_with(is_inside)
        && part.ends_with(is_inside)
        && separators
            .all(|between| matches!(between, "." | "_" | "__") || between.bytes().all(|separator| separator == b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_registry_takes_is_an_image() {
        let digest = "0a".repeat(32);
        for image in [
            "fraud",
            "fraud:8",
            "team/fraud",
            "registry.example/fraud:8",
            "registry.example:5000/team/fraud_model.v2:V8-rc.1",
            "localhost/fraud:8",
            "localhost:5000/a__b/c---d",
            "[::1]:5000/fraud:8",
            "Registry.Example/fraud",
            &format!("registry.example/fraud@sha256:{digest}"),
            &format!("registry.example/fraud:8@sha256:{digest}"),
            &format!("a/b:{}", "x".repeat(128)),
        ] {
            assert_eq!(image_fault(image), None, "{image}");
        }
    }

    #[test]
    fn what_no_registry_takes_is_refused_by_what_is_wrong_with_it() {
        let check = |image: &str, word: &str| {
            let fault = image_fault(image).unwrap_or_default();
            assert!(fault.contains(word), "{image}: {fault}");
            assert!(!fault.contains("hunter2"), "{image}");
        };
        check("https://registry.example/x:1", "https://");
        check("https://u:hunter2@reg/x:1", "https://");
        check("u:hunter2@reg/x:1", "password");
        check("hunter2@reg/x", "password");
        check(&format!("u:hunter2@reg/x:1@sha256:{}", "0".repeat(64)), "password");
        check("x@sha256:abc", "64 hexadecimal");
        check(&format!("x@sha256:{}", "A".repeat(64)), "64 hexadecimal");
        check("x@", "password");
        check("UPPER/x:1", "lower-case");
        check("registry.example/Fraud:1", "lower-case");
        check("u:hunter2/x:1", "registry's name and port");
        check("registry.example:99999/x:1", "registry's name and port");
        check("reg..example/x", "registry's name and port");
        check("x:", "tag");
        check("x:.1", "tag");
        check(&format!("x:{}", "1".repeat(129)), "tag");
        for image in ["", "/x", "x/", "a//b", "a b", "a..b", "a_-b", "-a", "a.", "{{ x }}", "a\nb", "größe", "a___b"]
        {
            check(image, "lower-case");
        }
        check(&"a".repeat(256), "255");
    }
}
