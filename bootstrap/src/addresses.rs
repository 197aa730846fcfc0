//! The addresses that the manifests name: written into all of them at once, and never on the way into a cluster.

use std::fs;
use std::path::{Path, PathBuf};

use crate::arguments::UpArguments;
use crate::catalogue::{self, Catalogue};
use crate::checkout;
use crate::fault::{Fault, Kind};

/// What the gateway's folder takes in for HTTPS.
const COMPONENT: &str = "components: [../tls]\n";

/// The longest suffix: names of releases stand before it, and a host name has 253 letters.
const SUFFIX_MAX: usize = 120;

/// Reads a host name of at least two labels: one alone stands in the manifests as a word of its own, and there would be no way back.
pub fn host_name(text: &str) -> Result<String, String> {
    let is_label = |label: &str| {
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        !label.is_empty()
            && label.len() <= 63
            && label.chars().all(is_plain)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    match text.len() <= SUFFIX_MAX && text.contains('.') && text.split('.').all(is_label) {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "`{text}` is no host name such as `ml.example.com`: in small letters, with a dot, and with at most {SUFFIX_MAX} letters"
        )),
    }
}

/// Refuses addresses that the manifests do not have: what Argo CD reads is what counts.
pub fn refuse_others(catalogue: &Catalogue, asked: &UpArguments) -> Result<(), Fault> {
    let suffix = asked.host_suffix.as_ref().filter(|suffix| **suffix != catalogue.host_suffix);
    let port = asked.port.filter(|port| *port != catalogue.port);
    let is_tls_new = asked.tls && !catalogue.tls;
    if suffix.is_none() && port.is_none() && !is_tls_new {
        return Ok(());
    }
    let mut words = suffix.map(|suffix| format!(" --host-suffix {suffix}")).unwrap_or_default();
    if is_tls_new {
        words.push_str(" --tls");
    }
    words.extend(port.map(|port| format!(" --port {port}")));
    let what = format!("the manifests have the addresses `{}`", Addresses::of(catalogue).url("*."));
    let cure = format!(
        "`cargo bootstrap render{words}` writes others into them: before the first `up` that is all, later commit it to the repository that the cluster follows, then run this again"
    );
    Err(Fault::new(what, cure).of(Kind::Conflict))
}

/// What every address of the platform has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses {
    pub suffix: String,
    pub tls: bool,
    /// Of this machine; those with HTTPS have its usual one.
    pub port: u16,
}

impl Addresses {
    pub fn of(catalogue: &Catalogue) -> Self {
        Self { suffix: catalogue.host_suffix.clone(), tls: catalogue.tls, port: catalogue.port }
    }

    /// The address of the host whose name begins so.
    pub fn url(&self, beginning: &str) -> String {
        let suffix = &self.suffix;
        match self.port {
            _ if self.tls => format!("https://{beginning}{suffix}"),
            80 => format!("http://{beginning}{suffix}"),
            port => format!("http://{beginning}{suffix}:{port}"),
        }
    }
}

/// Writes other addresses into every file of the platform; returns those that were changed. The catalogue is the last of them: until then it says what
/// was there, so that this can be begun again.
pub fn rewrite(gitops: &Path, catalogue: &Catalogue, wanted: &Addresses) -> Result<Vec<PathBuf>, Fault> {
    let present = Addresses::of(catalogue);
    let names: Vec<&str> = catalogue.components.iter().filter_map(|part| part.address.as_deref()).collect();
    let mut changed = Vec::new();
    for file in checkout::files(&gitops.join("platform"))? {
        // What is no text has no addresses.
        let Ok(text) = fs::read_to_string(&file) else { continue };
        let mut made = rewritten(&text, &names, &present, wanted);
        if file.ends_with(catalogue::FILE) {
            made = made.replace(&format!("\ntls: {}\n", present.tls), &format!("\ntls: {}\n", wanted.tls));
            made = made.replace(&format!("\nport: {}\n", present.port), &format!("\nport: {}\n", wanted.port));
        }
        if file.ends_with("platform/gateway/kustomization.yaml") && present.tls != wanted.tls {
            made = made.replace(COMPONENT, "");
            made.push_str(if wanted.tls { COMPONENT } else { "" });
        }
        if made != text {
            changed.push((file, made));
        }
    }
    changed.sort_by_key(|(file, _)| file.ends_with(catalogue::FILE));
    changed.iter().try_for_each(|(file, text)| checkout::write(file, text))?;
    Ok(changed.into_iter().map(|(file, _)| file).collect())
}

/// The text with every host of the platform as it is wanted, and with its scheme and port where it has a scheme. A name before the suffix that is
/// no part's is somebody else's.
fn rewritten(text: &str, names: &[&str], present: &Addresses, wanted: &Addresses) -> String {
    let is_of_host = |c: char| c.is_ascii_alphanumeric() || "-.*".contains(c);
    let is_ours = |before: &str| match before.strip_suffix('.') {
        Some(name) => ["", "*"].contains(&name) || names.contains(&name),
        None => before.is_empty(),
    };
    let (mut made, mut done) = (String::with_capacity(text.len()), 0);
    for (at, _) in text.match_indices(present.suffix.as_str()) {
        let (Some(before), Some(after)) = (text.get(done..at), text.get(at + present.suffix.len()..)) else { continue };
        let outside = before.char_indices().rev().find(|(_, c)| !is_of_host(*c));
        let (ahead, name) = before.split_at(outside.map_or(0, |(place, c)| place + c.len_utf8()));
        let goes_on = after.trim_start_matches('.').starts_with(|c: char| c.is_ascii_alphanumeric() || c == '-');
        if !is_ours(name) || goes_on {
            continue;
        }
        done = at + present.suffix.len();
        let port =
            after.strip_prefix(':').map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default());
        let is_gateways = port.is_none_or(|port| port.is_empty() || port == "80" || port == present.port.to_string());
        match ahead.strip_suffix("http://").or_else(|| ahead.strip_suffix("https://")).filter(|_| is_gateways) {
            None => made.extend([ahead, name, &wanted.suffix]),
            Some(ahead) => {
                made.extend([ahead, &wanted.url(name)]);
                done += port.filter(|port| !port.is_empty()).map_or(0, |port| port.len() + 1);
            }
        }
    }
    made.push_str(text.get(done..).unwrap_or_default());
    made
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_name_has_small_letters_and_labels() {
        for good in ["k5w.localhost", "ml.example.com", "1.b-c"] {
            assert_eq!(host_name(good).as_deref(), Ok(good));
        }
        for wrong in ["", "a", "k5w", "A.b", "a..b", "-a", "a-", "a b", "a/b", "http://a", &"a.".repeat(99)] {
            assert!(host_name(wrong).is_err(), "{wrong}");
        }
    }

    fn addresses(suffix: &str, tls: bool, port: u16) -> Addresses {
        Addresses { suffix: suffix.to_owned(), tls, port }
    }

    #[test]
    fn only_addresses_of_the_platform_are_written_anew_and_back() {
        let here = addresses("k5w.localhost", false, 80);
        let text = "http://a.k5w.localhost, 'http://k5w.localhost:80/x' *.k5w.localhost a.k5w.localhost:* .k5w.localhost ö k5w.localhost. http://b.k5w.localhost http://notk5w.localhost k5w.localhost.org http://mlflow.mlflow.svc:5000 http://";
        let https = addresses("ml.example.com", true, 80);
        let made = rewritten(text, &["", "a"], &here, &https);
        assert_eq!(
            made,
            "https://a.ml.example.com, 'https://ml.example.com/x' *.ml.example.com a.ml.example.com:* .ml.example.com ö ml.example.com. http://b.k5w.localhost http://notk5w.localhost k5w.localhost.org http://mlflow.mlflow.svc:5000 http://"
        );
        assert_eq!(rewritten(&made, &["", "a"], &https, &here), text.replace(":80/", "/"));
    }

    #[test]
    fn another_port_stands_in_every_address_and_goes_again() {
        let (here, there) = (addresses("k5w.localhost", false, 80), addresses("k5w.localhost", false, 8080));
        let text = "http://a.k5w.localhost/x \"http://k5w.localhost\" a.k5w.localhost http://a.k5w.localhost:8088";
        let made = rewritten(text, &["", "a"], &here, &there);
        let expected =
            "http://a.k5w.localhost:8080/x \"http://k5w.localhost:8080\" a.k5w.localhost http://a.k5w.localhost:8088";
        assert_eq!(made, expected);
        assert_eq!(rewritten(&made, &["", "a"], &there, &here), text);
    }

    #[test]
    fn the_servers_of_a_domain_that_is_shared_stay() {
        let (here, there) = (addresses("example.com", true, 80), addresses("corp.test", true, 80));
        let text = "https://grafana.example.com https://git.example.com/ml/gitops.git registry.example.com/kmlflow";
        let made = "https://grafana.corp.test https://git.example.com/ml/gitops.git registry.example.com/kmlflow";
        assert_eq!(rewritten(text, &["grafana"], &here, &there), made);
    }
}
