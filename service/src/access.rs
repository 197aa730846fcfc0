//! Who may do what: tokens, their roles, and where a token is good for.
//!
//! The clear text of a token is shown once and never kept; what is stored and compared is its SHA-256. A token has 256 random bits, so a
//! slow hash would buy nothing.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use globset::GlobBuilder;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use utoipa::ToSchema;

use crate::names::{EnvironmentName, ModelName, Namespace, ReleaseKey, shown};

/// What a token allows; each role may do what the ones before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum TokenRole {
    /// Reads.
    Viewer,
    /// Reads and asks for releases.
    Releaser,
    /// Everything: tokens, holds, audit, pushing into the repository.
    Admin,
}

impl TokenRole {
    /// Every role, the least powerful first.
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Releaser, Self::Admin];

    /// Its name as it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Releaser => "releaser",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for TokenRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for TokenRole {
    type Err = InvalidAccess;

    fn from_str(text: &str) -> Result<Self, InvalidAccess> {
        Self::ALL.into_iter().find(|role| role.as_str() == text).ok_or_else(|| InvalidAccess::Role(shown(text)))
    }
}

/// A role or a scope that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAccess {
    /// No such role; the text is shortened and escaped.
    #[error("role `{0}` is not known: it is viewer, releaser or admin")]
    Role(String),
    /// Not a scope; the text is shortened and escaped.
    #[error("scope `{0}` must be written ENVIRONMENT/NAMESPACE/MODEL-GLOB, with `*` for any")]
    Scope(String),
}

/// Where a token is good for, written `production/models/fraud-*`; `*` stands for any environment or namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Scope {
    environment: Option<EnvironmentName>,
    namespace: Option<Namespace>,
    /// A glob over the model's name.
    model: String,
}

/// The most characters of a model glob: the longest model name.
const MODEL_GLOB_CHARS_MAX: usize = 250;

impl Scope {
    /// Parses a scope.
    pub fn parse(text: &str) -> Result<Self, InvalidAccess> {
        Self::parts(text).ok_or_else(|| InvalidAccess::Scope(shown(text)))
    }

    /// The scope of one model, everywhere.
    pub fn of_model(model: &ModelName) -> Self {
        Self { environment: None, namespace: None, model: globset::escape(model.as_str()) }
    }

    fn parts(text: &str) -> Option<Self> {
        let (environment, rest) = text.split_once('/')?;
        let (namespace, model) = rest.split_once('/')?;
        let environment = if environment == "*" { None } else { Some(EnvironmentName::parse(environment).ok()?) };
        let namespace = if namespace == "*" { None } else { Some(Namespace::parse(namespace).ok()?) };
        let plain = !model.is_empty()
            && model.chars().count() <= MODEL_GLOB_CHARS_MAX
            && !model.chars().any(|c| c == '/' || c.is_control());
        (plain && glob(model).is_some()).then(|| Self { environment, namespace, model: model.to_owned() })
    }

    /// The one environment it is good for; none where it is good for any.
    pub fn environment(&self) -> Option<&EnvironmentName> {
        self.environment.as_ref()
    }

    /// Whether something lies inside. What is not given counts as inside: a list is asked for without a model.
    pub fn covers(
        &self,
        environment: Option<&EnvironmentName>,
        namespace: Option<&Namespace>,
        model: Option<&ModelName>,
    ) -> bool {
        let inside = |mine: &Option<EnvironmentName>| {
            mine.as_ref().is_none_or(|mine| environment.is_none_or(|other| mine == other))
        };
        inside(&self.environment)
            && self.namespace.as_ref().is_none_or(|mine| namespace.is_none_or(|other| mine == other))
            && model.is_none_or(|model| {
                self.model == "*" || glob(&self.model).is_some_and(|glob| glob.is_match(model.as_str()))
            })
    }
}

/// Compiles a glob, or nothing where it is none.
fn glob(text: &str) -> Option<globset::GlobMatcher> {
    Some(GlobBuilder::new(text).literal_separator(false).backslash_escape(false).build().ok()?.compile_matcher())
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let environment = self.environment.as_ref().map_or("*", EnvironmentName::as_str);
        let namespace = self.namespace.as_ref().map_or("*", Namespace::as_str);
        write!(f, "{environment}/{namespace}/{}", self.model)
    }
}

impl TryFrom<String> for Scope {
    type Error = InvalidAccess;

    fn try_from(text: String) -> Result<Self, InvalidAccess> {
        Self::parse(&text)
    }
}

impl FromStr for Scope {
    type Err = InvalidAccess;

    fn from_str(text: &str) -> Result<Self, InvalidAccess> {
        Self::parse(text)
    }
}

impl From<Scope> for String {
    fn from(scope: Scope) -> Self {
        scope.to_string()
    }
}

impl utoipa::PartialSchema for Scope {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        String::schema()
    }
}

impl ToSchema for Scope {
    fn name() -> std::borrow::Cow<'static, str> {
        std::borrow::Cow::Borrowed("Scope")
    }
}

/// A token as it is kept and shown; its clear text is not part of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Token {
    pub id: String,
    pub name: Option<String>,
    pub role: TokenRole,
    /// Where it is good for; empty means everywhere.
    pub scopes: Vec<Scope>,
    #[schema(value_type = String)]
    pub created_at: Timestamp,
    #[schema(value_type = Option<String>)]
    pub expires_at: Option<Timestamp>,
    #[schema(value_type = Option<String>)]
    pub revoked_at: Option<Timestamp>,
}

impl Token {
    /// Whether it is neither revoked nor expired.
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|end| now < end)
    }

    /// Whether the token is good for this role at a place whatever model is there; for what is left of a release that is gone.
    pub fn allows_any_model(&self, role: TokenRole, key: &ReleaseKey) -> bool {
        let covers =
            |scope: &Scope| scope.model == "*" && scope.covers(Some(&key.environment), Some(&key.namespace), None);
        self.role >= role && (self.scopes.is_empty() || self.scopes.iter().any(covers))
    }

    /// Whether it allows what a role allows, for a release and its model; without a model (not known yet) only the place counts.
    pub fn allows(&self, role: TokenRole, key: &ReleaseKey, model: Option<&ModelName>) -> bool {
        let covers = |scope: &Scope| scope.covers(Some(&key.environment), Some(&key.namespace), model);
        self.role >= role && (self.scopes.is_empty() || self.scopes.iter().any(covers))
    }

    /// Whether it is good for everything everywhere that its role allows.
    pub fn is_unscoped(&self) -> bool {
        self.scopes.is_empty()
    }
}

/// A token to be kept: what it allows and the hash of its clear text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewToken {
    pub token: Token,
    pub hash: TokenHash,
}

/// The SHA-256 of a token's clear text, in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TokenHash(String);

impl TokenHash {
    /// Hashes a clear text.
    pub fn of(clear: &str) -> Self {
        Self(hex::encode(Sha256::digest(clear)))
    }

    /// The hash as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A token's clear text: shown once to the person it is made for, and never printed by accident.
#[derive(Clone, PartialEq, Eq)]
pub struct ClearToken(String);

/// What every token begins with, so that a secret scanner and a person recognise one.
pub const TOKEN_PREFIX: &str = "kmlflow_";

impl ClearToken {
    /// Makes a new one of 256 random bits. Fails where the machine has no randomness to give.
    pub fn generate() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes)?;
        Ok(Self(format!("{TOKEN_PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))))
    }

    /// Takes a clear text that somebody presents.
    pub fn presented(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The clear text, for its one showing.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Its hash.
    pub fn hash(&self) -> TokenHash {
        TokenHash::of(&self.0)
    }
}

impl fmt::Debug for ClearToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClearToken(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(role: TokenRole, scopes: &[&str]) -> Token {
        let scopes = scopes.iter().map(|text| Scope::parse(text).unwrap()).collect();
        let created_at = Timestamp::UNIX_EPOCH;
        Token { id: "t".into(), name: None, role, scopes, created_at, expires_at: None, revoked_at: None }
    }

    #[test]
    fn a_scope_covers_its_place_and_its_models_only() {
        let token = token(TokenRole::Releaser, &["production/models/fraud-*", "staging/*/*"]);
        let check = |key: &str, model: &str, expected: bool| {
            let (key, model) = (ReleaseKey::parse(key).unwrap(), ModelName::parse(model).unwrap());
            assert_eq!(token.allows(TokenRole::Releaser, &key, Some(&model)), expected, "{key} {model}");
        };
        check("production/models/a", "fraud-detector", true);
        check("production/models/a", "fraud", false);
        check("production/other/a", "fraud-detector", false);
        check("staging/other/a", "anything at all", true);
        check("test/models/a", "fraud-detector", false);
    }

    #[test]
    fn a_token_without_scopes_is_good_everywhere_but_not_beyond_its_role() {
        let key = ReleaseKey::parse("production/models/fraud").unwrap();
        let token = token(TokenRole::Releaser, &[]);
        assert!(token.allows(TokenRole::Viewer, &key, None) && token.allows(TokenRole::Releaser, &key, None));
        assert!(!token.allows(TokenRole::Admin, &key, None));
    }

    #[test]
    fn the_scope_of_a_model_covers_no_other_whatever_its_name_looks_like() {
        let key = ReleaseKey::parse("production/models/a").unwrap();
        for name in ["fraud", "*", "fraud-*", "a{b,c}", "[x]", "wh?t", "back\\slash", "größe 模型"] {
            let model = ModelName::parse(name).unwrap();
            let token = Token { scopes: vec![Scope::of_model(&model)], ..token(TokenRole::Releaser, &[]) };
            assert!(token.allows(TokenRole::Releaser, &key, Some(&model)), "{name}");
            for other in ["fraud-detector", "b", "x", "what", "anything"] {
                let other = ModelName::parse(other).unwrap();
                assert!(!token.allows(TokenRole::Releaser, &key, Some(&other)), "{name} {other}");
            }
        }
    }

    #[test]
    fn a_scope_is_written_as_it_is_read_and_bad_ones_are_refused() {
        for text in ["*/*/*", "production/models/fraud-*", "production/*/Fraud {a,b}"] {
            assert_eq!(Scope::parse(text).unwrap().to_string(), text);
        }
        for text in [
            "",
            "production",
            "production/models",
            "production/models/",
            "Production/models/*",
            "p/m/a/b",
            "p/m/[",
            "p/m/a\nb",
        ] {
            assert!(Scope::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_token_lives_until_it_expires_or_is_revoked() {
        let at = |seconds: i64| Timestamp::from_second(seconds).unwrap();
        let mut token = token(TokenRole::Viewer, &[]);
        assert!(token.is_live(at(1_000)));
        token.expires_at = Some(at(1_000));
        assert!(token.is_live(at(999)) && !token.is_live(at(1_000)));
        token.revoked_at = Some(at(5));
        assert!(!token.is_live(at(6)));
    }

    #[test]
    fn a_clear_token_is_random_and_does_not_print_itself() {
        let (one, other) = (ClearToken::generate().unwrap(), ClearToken::generate().unwrap());
        assert_ne!(one, other);
        assert!(one.reveal().starts_with(TOKEN_PREFIX) && one.reveal().len() == TOKEN_PREFIX.len() + 43);
        assert_eq!(format!("{one:?}"), "ClearToken(…)");
        assert_eq!(TokenHash::of("abc").as_str(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
