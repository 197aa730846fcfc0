//! The addresses that the manifests name: written into all of them at once, and never on the way into a cluster.

use std::fs;
use std::path::{Path, PathBuf};

use crate::arguments::UpArguments;
use crate::catalogue::{self, Catalogue};
use crate::fault::{Fault, Kind};

/// What the gateway's folder takes in for HTTPS.
const COMPONENT: &str = "components: [../tls]\n";

/// The longest suffix: names of releases stand before it, and a host name has 253 letters.
const SUFFIX_MAX: usize = 120;

/// Reads a host name of at least one label.
pub fn host_name(text: &str) -> Result<String, String> {
    let is_label = |label: &str| {
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        !label.is_empty()
            && label.len() <= 63
            && label.chars().all(is_plain)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    match text.len() <= SUFFIX_MAX && text.split('.').all(is_label) {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "`{text}` is no host name such as `ml.example.com`, in small letters and with at most {SUFFIX_MAX}"
        )),
    }
}

/// Refuses addresses that the manifests do not have: what Argo CD reads is what counts.
pub fn refuse_others(catalogue: &Catalogue, asked: &UpArguments) -> Result<(), Fault> {
    let suffix = asked.host_suffix.as_ref().filter(|suffix| **suffix != catalogue.host_suffix);
    let is_other = suffix.is_some() || asked.tls && !catalogue.tls;
    if !is_other {
        return Ok(());
    }
    let (scheme, more) = if catalogue.tls { ("https", "") } else { ("http", if asked.tls { " --tls" } else { "" }) };
    let named = suffix.map(|suffix| format!(" --host-suffix {suffix}")).unwrap_or_default();
    let what = format!("the manifests have the addresses `{scheme}://*.{}`", catalogue.host_suffix);
    let cure = format!(
        "`cargo bootstrap render{named}{more}` writes others into them; commit that to the repository that the cluster follows, then run this again"
    );
    Err(Fault::new(what, cure).of(Kind::Conflict))
}

/// Writes another suffix, or HTTPS, into every file of the directory; returns how many were changed.
pub fn rewrite(gitops: &Path, catalogue: &Catalogue, suffix: Option<&str>, tls: bool) -> Result<usize, Fault> {
    let present = catalogue.host_suffix.as_str();
    let wanted = suffix.unwrap_or(present);
    let mut changed = 0;
    for file in files(gitops)? {
        // What is no text has no addresses.
        let Ok(text) = fs::read_to_string(&file) else { continue };
        let mut made = text.replace(present, wanted);
        if tls && !catalogue.tls {
            made = with_https(&made, wanted);
            if file.ends_with(catalogue::FILE) {
                made = made.replace("\ntls: false\n", "\ntls: true\n");
            }
            if file.ends_with("platform/gateway/kustomization.yaml") {
                made.push_str(COMPONENT);
            }
        }
        if made != text {
            fs::write(&file, made).map_err(|error| unwritable(&file, &error))?;
            changed += 1;
        }
    }
    Ok(changed)
}

/// The text with `https` before every host that ends with the suffix.
fn with_https(text: &str, suffix: &str) -> String {
    let mut made = String::with_capacity(text.len());
    let mut pieces = text.split("http://");
    made.push_str(pieces.next().unwrap_or_default());
    for piece in pieces {
        let end = piece.find(|c: char| !(c.is_ascii_alphanumeric() || "-.*".contains(c))).unwrap_or(piece.len());
        let host = piece.get(..end).unwrap_or_default();
        let is_ours = host.strip_suffix(suffix).is_some_and(|name| name.is_empty() || name.ends_with('.'));
        made.push_str(if is_ours { "https://" } else { "http://" });
        made.push_str(piece);
    }
    made
}

fn files(folder: &Path) -> Result<Vec<PathBuf>, Fault> {
    let entries = fs::read_dir(folder).map_err(|error| unwritable(folder, &error))?;
    let mut found = Vec::new();
    for path in entries.filter_map(Result::ok).map(|entry| entry.path()) {
        match path.is_dir() {
            true if path.ends_with(".git") => {}
            true => found.extend(files(&path)?),
            false => found.push(path),
        }
    }
    Ok(found)
}

fn unwritable(path: &Path, error: &std::io::Error) -> Fault {
    Fault::new(format!("`{}` cannot be written: {error}", path.display()), "check who owns the checkout")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_name_has_small_letters_and_labels() {
        for good in ["k5w.localhost", "ml.example.com", "a", "1.b-c"] {
            assert_eq!(host_name(good).as_deref(), Ok(good));
        }
        for wrong in ["", "A.b", "a..b", "-a", "a-", "a b", "a/b", "http://a", &"a.".repeat(99)] {
            assert!(host_name(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn only_addresses_of_the_suffix_become_https() {
        let text = "http://a.k5w.localhost, http://k5w.localhost:80/x http://notk5w.localhost http://mlflow.mlflow.svc:5000 http://";
        let made = "https://a.k5w.localhost, https://k5w.localhost:80/x http://notk5w.localhost http://mlflow.mlflow.svc:5000 http://";
        assert_eq!(with_https(text, "k5w.localhost"), made);
    }
}
