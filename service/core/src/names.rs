//! Names: every identifier that crosses a module, parsed once and valid ever after.
//!
//! A value of one of these types can be put into a path, a host name, a label or a commit message without a second look.
//! What a name means is said where it is used; here is only what it may look like.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// A text that is not the name it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} `{shown}` {rule}")]
pub struct InvalidName {
    /// What it should have been, for example `release name`.
    pub what: &'static str,
    /// The offending text, shortened and with control characters escaped.
    pub shown: String,
    /// The rule it breaks, as the end of a sentence.
    pub rule: &'static str,
}

/// What the keys of the tags begin with that the service writes to versions in the registry. A policy that read them would drive itself.
pub const STATUS_TAG_PREFIX: &str = "kmlflow.status.";

/// The most characters of a foreign text that an error repeats; enough to recognise it, too few to fill a log.
const SHOWN_CHARS_MAX: usize = 60;

/// Shortens and escapes a foreign text for a message.
pub fn shown(text: &str) -> String {
    let mut out: String = text.chars().take(SHOWN_CHARS_MAX).flat_map(char::escape_debug).collect();
    if text.chars().nth(SHOWN_CHARS_MAX).is_some() {
        out.push('…');
    }
    out
}

/// A foreign text as an error shows it: one line, a blank for every character that nobody sees, no more than so many characters.
pub fn readable(text: &str, chars_max: usize) -> String {
    let seen: String = text.chars().map(|c| if is_invisible(c) { ' ' } else { c }).take(chars_max).collect();
    seen.trim().to_owned()
}

/// How much is shown of a line that a person wrote: a squash bears the title of its pull request, of 256 characters at most at GitHub, and its number.
const LINE_CHARS_MAX: usize = 300;

/// A line that a person wrote, such as the subject of a commit, as others read it.
pub fn line_of_a_person(text: &str) -> String {
    readable(text, LINE_CHARS_MAX)
}

/// Whether a host is this machine itself, so that nobody is on the way to it: `localhost` or an address of the loopback, in brackets or not.
pub fn is_this_machine(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Whether a reader sees every character of a foreign text: it may stand in a name, a log, a commit message or a reason.
pub fn is_plain_text(text: &str) -> bool {
    !text.chars().any(is_invisible)
}

/// Whether a reader would not see the character; YAML forbids some of these.
///
/// Controls, soft hyphens, joiners, line and paragraph separators, controls of text direction, marks of byte order and annotation,
/// tags, and what is no character.
pub fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{fffe}' | '\u{ffff}' | '\u{e0000}'..='\u{e007f}')
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Box<str>);

        impl $name {
            /// Parses the name, or says which rule it breaks.
            pub fn parse(text: &str) -> Result<Self, InvalidName> {
                let check: fn(&str) -> Result<(), &'static str> = $check;
                match check(text) {
                    Ok(()) => Ok(Self(text.into())),
                    Err(rule) => Err(InvalidName { what: $what, shown: shown(text), rule }),
                }
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;
            fn from_str(text: &str) -> Result<Self, InvalidName> {
                Self::parse(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;
            fn try_from(text: String) -> Result<Self, InvalidName> {
                Self::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0.into()
            }
        }

        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                String::schema()
            }
        }

        impl utoipa::ToSchema for $name {
            fn name() -> Cow<'static, str> {
                Cow::Borrowed(stringify!($name))
            }
        }
    };
}

name!(
    /// Name of a release: a DNS-1035 label of at most 40 characters, because it names Services.
    ReleaseName, "release name", |t| dns_1035(t, 40, "must be a lower-case letter followed by at most 39 letters, digits or `-`, not ending in `-`")
);
name!(
    /// Namespace of a release, without the environment's prefix: a DNS-1123 label.
    Namespace, "namespace", |t| dns_1123(t, 63, "must be 1 to 63 lower-case letters, digits or `-`, not beginning or ending in `-`")
);
name!(
    /// Name of an environment, a directory of the repository: a DNS-1123 label of at most 40 characters.
    EnvironmentName, "environment", |t| dns_1123(t, 40, "must be 1 to 40 lower-case letters, digits or `-`, not beginning or ending in `-`")
);
name!(
    /// Name of a policy, the stem of its file in `policies/`.
    PolicyName, "policy name", |t| dns_1123(t, 63, "must be 1 to 63 lower-case letters, digits or `-`, not beginning or ending in `-`")
);
name!(
    /// Name of a Seldon predictor: `v<version>` or `v<version>r<n>`, at most 12 characters.
    PredictorName, "predictor name", predictor
);
name!(
    /// Name of a registered model in MLflow: 1 to 250 visible characters without `/` or `:`
    /// (MLflow 3.17, `mlflow/utils/validation.py`, refuses the last two as well).
    ModelName, "model name", |t| free_text(t, 250, &['/', ':'], "must be 1 to 250 visible characters without `/` or `:`")
);
name!(
    /// Version of a registered model: a whole number from 1 on, written without leading zeros, at most 10 digits.
    Version, "version", version
);
name!(
    /// An alias of a registered model.
    AliasName, "alias", |t| free_text(t, 255, &[], "must be 1 to 255 visible characters")
);
name!(
    /// Who asks, where a caller speaks for somebody else: a line of text that commits and `release.yaml` repeat.
    Requester, "requestedBy", |t| free_text(t, 100, &[], "must be 1 to 100 characters without control or invisible characters")
);
name!(
    /// Object id of a commit: 40 hexadecimal digits in lower case.
    CommitId, "commit", oid
);
name!(
    /// Object id of a tree; the entity tag of a release is the one of its directory.
    TreeId, "tree", oid
);
name!(
    /// Id of a delivery as its sender gave it: 1 to 200 printable ASCII characters without spaces or quotes.
    DeliveryId, "delivery id", |t| printable(t, 200)
);
name!(
    /// Id of one intent, the `Release-Id` trailer of every commit that carries it out.
    ReleaseId, "release id", |t| printable(t, 64)
);
name!(
    /// A `sha256:` digest in lower-case hexadecimal.
    Digest, "digest", digest
);

impl Version {
    /// The version as a number, for ordering.
    pub fn number(&self) -> u64 {
        self.0.parse().unwrap_or(u64::MAX)
    }
}

impl ReleaseName {
    /// The release name of a model: the model's own name where that is a valid one, else a slug of it with four hexadecimal digits
    /// of its SHA-256, so that two models never share a name by accident of spelling.
    pub fn of_model(model: &ModelName) -> Self {
        if let Ok(name) = Self::parse(model.as_str()) {
            return name;
        }
        let mut slug = String::new();
        for c in model.as_str().chars() {
            match c {
                'a'..='z' | '0'..='9' => slug.push(c),
                'A'..='Z' => slug.push(c.to_ascii_lowercase()),
                _ if !slug.ends_with('-') => slug.push('-'),
                _ => {}
            }
        }
        let slug: String = slug.trim_start_matches(|c: char| c == '-' || c.is_ascii_digit()).chars().take(35).collect();
        let slug = slug.trim_end_matches('-');
        let hash = &hex::encode(Sha256::digest(model.as_str()))[..4];
        Self(if slug.is_empty() { format!("m-{hash}") } else { format!("{slug}-{hash}") }.into())
    }
}

impl PredictorName {
    /// The predictor of the first (`n` = 1) or a later set of pods of a version.
    pub fn of(version: &Version, n: u32) -> Self {
        Self(if n <= 1 { format!("v{version}") } else { format!("v{version}r{n}") }.into())
    }

    /// The version and the number of its set of pods, 1 where the name has none.
    pub fn parts(&self) -> (&str, u32) {
        let rest = &self.0[1..];
        match rest.split_once('r') {
            Some((version, n)) => (version, n.parse().unwrap_or(1)),
            None => (rest, 1),
        }
    }
}

impl Digest {
    /// The digest of some bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(format!("sha256:{}", hex::encode(Sha256::digest(bytes))).into())
    }
}

/// Where a release lives: environment, namespace and name, written `production/models/fraud`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReleaseKey {
    pub environment: EnvironmentName,
    pub namespace: Namespace,
    pub name: ReleaseName,
}

impl ReleaseKey {
    /// The release's directory in the repository, without a slash at the end.
    pub fn directory(&self) -> String {
        format!("releases/{}/{}/{}", self.environment, self.namespace, self.name)
    }

    /// The file that a retraction leaves behind.
    pub fn retracted_path(&self) -> String {
        format!("retracted/{}/{}/{}.yaml", self.environment, self.namespace, self.name)
    }

    /// Parses `environment/namespace/name`.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        let mut parts = text.split('/');
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(e), Some(n), Some(r), None) => {
                Ok(Self { environment: e.parse()?, namespace: n.parse()?, name: r.parse()? })
            }
            _ => Err(InvalidName {
                what: "release",
                shown: shown(text),
                rule: "must be written environment/namespace/name",
            }),
        }
    }
}

impl fmt::Display for ReleaseKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.environment, self.namespace, self.name)
    }
}

fn dns_1123(text: &str, max: usize, rule: &'static str) -> Result<(), &'static str> {
    let ok = !text.is_empty()
        && text.len() <= max
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-');
    if ok { Ok(()) } else { Err(rule) }
}

fn dns_1035(text: &str, max: usize, rule: &'static str) -> Result<(), &'static str> {
    if text.starts_with(|c: char| c.is_ascii_lowercase()) { dns_1123(text, max, rule) } else { Err(rule) }
}

/// Whether a text is a line that a person can read whole: not blank, within a length, without control or invisible characters.
pub fn is_plain_line(text: &str, chars_max: usize) -> bool {
    free_text(text, chars_max, &[], "").is_ok()
}

fn free_text(text: &str, chars_max: usize, refused: &[char], rule: &'static str) -> Result<(), &'static str> {
    let ok =
        !text.trim().is_empty() && text.chars().count() <= chars_max && is_plain_text(text) && !text.contains(refused);
    if ok { Ok(()) } else { Err(rule) }
}

fn version(text: &str) -> Result<(), &'static str> {
    let ok = (1..=10).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
    if ok { Ok(()) } else { Err("must be a whole number from 1 on with at most 10 digits, without leading zeros") }
}

fn predictor(text: &str) -> Result<(), &'static str> {
    const RULE: &str = "must be `v<version>` or `v<version>r<n>` with n from 2 on, at most 12 characters";
    let rest = text.strip_prefix('v').ok_or(RULE)?;
    let (number, n) = rest.split_once('r').map_or((rest, None), |(number, n)| (number, Some(n)));
    let n_ok = n.is_none_or(|n| version(n).is_ok() && n != "1");
    if text.len() <= 12 && version(number).is_ok() && n_ok { Ok(()) } else { Err(RULE) }
}

fn oid(text: &str) -> Result<(), &'static str> {
    let ok = text.len() == 40 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if ok { Ok(()) } else { Err("must be 40 hexadecimal digits in lower case") }
}

fn digest(text: &str) -> Result<(), &'static str> {
    let hex = text.strip_prefix("sha256:").ok_or("must begin with `sha256:`")?;
    let ok = hex.len() == 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if ok { Ok(()) } else { Err("must be `sha256:` and 64 hexadecimal digits in lower case") }
}

fn printable(text: &str, max: usize) -> Result<(), &'static str> {
    let ok = (1..=max).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic() && !b"\"'`\\".contains(&b));
    if ok { Ok(()) } else { Err("must be printable ASCII without spaces, quotes or backslashes, and not too long") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_name_that_is_a_label_stays_and_any_other_gets_a_hash() {
        let of = |text: &str| ReleaseName::of_model(&ModelName::parse(text).unwrap()).to_string();
        assert_eq!(of("fraud-detector"), "fraud-detector");
        assert_eq!(
            of("Fraud Detector"),
            format!("fraud-detector-{}", &hex::encode(Sha256::digest("Fraud Detector"))[..4])
        );
        assert_ne!(of("Fraud Detector"), of("fraud detector"));
        assert!(of("模型").starts_with("m-"));
        assert!(ReleaseName::parse(&of(&"Ä9-".repeat(60))).is_ok());
    }

    #[test]
    fn names_refuse_what_could_leave_their_place() {
        for bad in ["", "../x", "a/b", "A", "9a", "a-", "a\nb", "a b", "{{x}}", &"a".repeat(41)] {
            assert!(ReleaseName::parse(bad).is_err(), "{bad:?}");
        }
        for bad in ["0", "01", "-1", "1.0", "", "12345678901", "１"] {
            assert!(Version::parse(bad).is_err(), "{bad:?}");
        }
        for bad in ["a\nb", "a/b", "a:b", "  ", "a\u{2028}b", "a\u{202e}b", "a\u{200b}b", "a\u{2060}b", "\u{feff}ab"] {
            assert!(ModelName::parse(bad).is_err(), "{bad:?}");
        }
        let error = Version::parse("99999999999").unwrap_err().to_string();
        assert!(error.contains("at most 10 digits"), "{error}");
        for bad in ["", " ", "a\nb", "a\u{85}b", "a\u{2028}b", "a\u{202e}b", &"a".repeat(101)] {
            assert!(Requester::parse(bad).is_err() && !is_plain_line(bad, 100), "{bad:?}");
        }
        for bad in ["v0", "v7r1", "v7r", "x7", "v7-r2", "v12345678901"] {
            assert!(PredictorName::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_predictor_name_tells_version_and_set_of_pods() {
        let version = Version::parse("7").unwrap();
        assert_eq!(PredictorName::of(&version, 1).as_str(), "v7");
        assert_eq!(PredictorName::of(&version, 2).parts(), ("7", 2));
    }

    #[test]
    fn a_foreign_text_is_one_line_that_is_seen_and_not_too_long() {
        assert_eq!(readable(" a\u{7}b\nc\u{202e}d ", 100), "a b c d");
        assert_eq!(readable(&"x".repeat(500), 300).len(), 300);
    }

    #[test]
    fn this_machine_has_few_names() {
        for (host, expected) in [
            ("localhost", true),
            ("127.0.0.1", true),
            ("127.8.8.8", true),
            ("[::1]", true),
            ("::1", true),
            ("localhost.example", false),
            ("10.0.0.1", false),
            ("[127.0.0.1", false),
            ("", false),
        ] {
            assert_eq!(is_this_machine(host), expected, "{host}");
        }
    }

    #[test]
    fn an_error_repeats_little_and_escapes_it() {
        let error = ReleaseName::parse(&format!("a\n{}", "x".repeat(500))).unwrap_err().to_string();
        assert!(!error.contains('\n') && error.len() < 250, "{error}");
    }
}
