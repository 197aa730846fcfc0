//! What a registry wants to see before it answers: the `WWW-Authenticate` header
//! (<https://distribution.github.io/distribution/spec/auth/token/>).

/// The longest header that is looked at; real ones have some hundred bytes.
const BYTES_MAX: usize = 4096;

/// What must be sent along.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    Basic,
    /// A token that is to be fetched at `realm`.
    Bearer {
        realm: String,
        service: Option<String>,
        scope: Option<String>,
    },
}

impl Challenge {
    /// The challenge of a header that can be met; of several the token.
    pub(super) fn parse<'h>(headers: impl Iterator<Item = &'h str>) -> Option<Self> {
        let mut found = None;
        for header in headers.filter(|header| header.len() <= BYTES_MAX) {
            let (scheme, rest) = header.trim().split_once(' ').unwrap_or((header.trim(), ""));
            if scheme.eq_ignore_ascii_case("bearer") {
                let mut parameters = parameters(rest);
                let mut take = |name: &str| {
                    let at = parameters.iter().position(|(known, _)| known == name)?;
                    Some(parameters.swap_remove(at).1)
                };
                if let Some(realm) = take("realm") {
                    return Some(Self::Bearer { realm, service: take("service"), scope: take("scope") });
                }
            } else if scheme.eq_ignore_ascii_case("basic") {
                found = Some(Self::Basic);
            }
        }
        found
    }
}

/// `name="value", name=value …`, the names in lower case.
fn parameters(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((name, behind)) = rest.split_once('=') {
        let name = name.trim_matches([' ', ',']).to_ascii_lowercase();
        let (value, behind) = match behind.trim_start().strip_prefix('"') {
            Some(quoted) => unquoted(quoted),
            None => {
                let (value, behind) = behind.split_once(',').unwrap_or((behind, ""));
                (value.trim().to_owned(), behind)
            }
        };
        found.push((name, value));
        rest = behind;
    }
    found
}

/// The text up to the closing quote, and what is behind it.
fn unquoted(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, &text[at + 1..]),
            '\\' => value.extend(chars.next().map(|(_, escaped)| escaped)),
            c => value.push(c),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(headers: &[&str]) -> Option<Challenge> {
        Challenge::parse(headers.iter().copied())
    }

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Option<Challenge> {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Some(Challenge::Bearer { realm: realm.to_owned(), service: owned(service), scope: owned(scope) })
    }

    #[test]
    fn what_registries_send_is_read() {
        let docker = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/python:pull""#;
        assert_eq!(
            read(&[docker]),
            bearer("https://auth.docker.io/token", Some("registry.docker.io"), Some("repository:library/python:pull"))
        );
        let several = r#"bearer Scope="repository:a:pull,push", realm="https://r/t""#;
        assert_eq!(read(&[several]), bearer("https://r/t", None, Some("repository:a:pull,push")));
        assert_eq!(read(&["Bearer realm=https://r/t , service=x"]), bearer("https://r/t", Some("x"), None));
        assert_eq!(read(&[r#"Bearer realm="a\"b""#]), bearer("a\"b", None, None));
        assert_eq!(read(&["Basic realm=\"x\""]), Some(Challenge::Basic));
        assert_eq!(read(&["Basic", "Bearer realm=\"https://r\""]), bearer("https://r", None, None));
    }

    #[test]
    fn what_cannot_be_met_is_none() {
        for header in ["", "Bearer", "Bearer service=\"x\"", "Negotiate abc", "Bearer =,==\"", "\"", "Bearer re=é"] {
            assert_eq!(read(&[header]), None, "{header}");
        }
        assert_eq!(read(&[&format!("Bearer realm=\"{}\"", "x".repeat(BYTES_MAX))]), None);
    }
}
