//! With what a remote over HTTP lets us in.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures_util::future::BoxFuture;
use reqwest::header::HeaderValue;

use super::error::RemoteError;

/// The user name that goes with a token: GitHub asks for this one, GitLab and Gitea take any.
const TOKEN_USERNAME: &str = "x-access-token";

/// What stands where a secret was.
const HIDDEN: &str = "(hidden)";

/// So much of a secret is hidden at least; less is in many words, and says nothing.
const CUT_BYTES_MIN: usize = 4;

/// A password or token, which no log and no error ever shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// Who we are to the remote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credentials {
    /// A user and a password, or a user and a token.
    Basic { username: String, password: Secret },
    /// A token that is sent as `Bearer`.
    Bearer(Secret),
}

/// Where credentials come from that end: asked for before each exchange, and once more where the remote does not take them.
pub trait Renewal: fmt::Debug + Send + Sync {
    /// Credentials that outlast an exchange; other ones than those given last where `is_refused`, or nothing where there are no others.
    ///
    /// The error is [`RemoteError::NoCredentials`].
    fn credentials(&self, is_refused: bool) -> BoxFuture<'_, Result<Option<Credentials>, RemoteError>>;
}

impl Secret {
    /// Wraps a password or token; the end of the line that files have is left out.
    pub fn new(text: &str) -> Self {
        Self(text.trim_end_matches(['\r', '\n']).to_owned())
    }
}

impl Credentials {
    /// A token of a forge, which stands where the password would.
    pub fn token(token: Secret) -> Self {
        Self::Basic { username: TOKEN_USERNAME.to_owned(), password: token }
    }

    /// The value of the header `Authorization`.
    pub(super) fn header(&self) -> Result<HeaderValue, RemoteError> {
        let text = match self {
            Self::Basic { username, password } => {
                if username.contains(':') || has_control(username) || has_control(&password.0) {
                    return Err(RemoteError::Settings { rule: "the user or password of the remote cannot be sent" });
                }
                format!("Basic {}", BASE64.encode(format!("{username}:{}", password.0)))
            }
            Self::Bearer(token) => format!("Bearer {}", token.0),
        };
        let unusable = |_| RemoteError::Settings { rule: "the token of the remote cannot be sent" };
        let mut value = HeaderValue::from_str(&text).map_err(unusable)?;
        value.set_sensitive(true);
        Ok(value)
    }
}

/// Takes out of a remote's words what a header `Authorization` shows it: a proxy that explains itself, or a hook that prints its environment, may
/// repeat it. The beginning of it at their end goes too, for words are cut off somewhere.
pub(super) fn hide(authorization: &HeaderValue, words: &mut String) {
    let text = authorization.to_str().unwrap_or_default();
    let sent = text.split_once(' ').map_or(text, |(_, sent)| sent);
    let decoded = BASE64.decode(sent).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let password = decoded.as_deref().and_then(|pair| pair.split_once(':')).map(|(_, password)| password);
    for secret in [Some(sent), password].into_iter().flatten().filter(|secret| secret.len() >= CUT_BYTES_MIN) {
        *words = words.replace(secret, HIDDEN);
        let kept = words.trim_end_matches('…');
        let begun = (CUT_BYTES_MIN..secret.len()).rev().filter_map(|length| secret.get(..length));
        if let Some(begun) = begun.into_iter().find(|begun| kept.ends_with(begun)) {
            words.truncate(kept.len() - begun.len());
            words.push_str(HIDDEN);
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

fn has_control(text: &str) -> bool {
    text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_stands_where_the_password_would() {
        let header = Credentials::token(Secret::new("t0ken\n")).header().unwrap();
        assert_eq!(header.to_str().unwrap(), "Basic eC1hY2Nlc3MtdG9rZW46dDBrZW4=");
        assert_eq!(Credentials::Bearer(Secret::new("t0ken")).header().unwrap().to_str().unwrap(), "Bearer t0ken");
    }

    #[test]
    fn nothing_shows_a_secret() {
        let credentials = Credentials::Basic { username: "ann".into(), password: Secret::new("hunter2") };
        let shown = format!("{credentials:?} {:?}", credentials.header().unwrap());
        assert!(shown.contains("ann") && !shown.contains("hunter2") && !shown.contains("YW5u"), "{shown}");
    }

    #[test]
    fn words_that_repeat_what_was_sent_are_shown_without_it() {
        let login = Credentials::Basic { username: "ann".into(), password: Secret::new("hunter2-and-more") };
        for (credentials, said, shown) in [
            (
                &login,
                "you sent Basic YW5uOmh1bnRlcjItYW5kLW1vcmU=; ann:hunter2-and-more",
                "you sent Basic (hidden); ann:(hidden)",
            ),
            (&login, "env: ann:hunter2-an…", "env: ann:(hidden)"),
            (&login, "the hunter is here", "the hunter is here"),
            (&Credentials::Bearer(Secret::new("t0ken-t0ken")), "got t0ken-t0ken, t0ken", "got (hidden), (hidden)"),
        ] {
            let mut words = said.to_owned();
            hide(&credentials.header().unwrap(), &mut words);
            assert_eq!(words, shown);
        }
    }

    #[test]
    fn what_cannot_be_sent_is_refused() {
        for (username, password) in [("a:b", "x"), ("a\nb", "x"), ("a", "x\ny")] {
            let credentials = Credentials::Basic { username: username.into(), password: Secret::new(password) };
            assert!(credentials.header().is_err(), "{username:?}");
        }
        assert!(Credentials::Bearer(Secret::new("a\nHost: x")).header().is_err());
    }
}
