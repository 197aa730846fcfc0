//! Where a forge's API is and which repository is meant, from the address that Git has.

use reqwest::Url;

use super::Kind;
use crate::names::is_this_machine;

/// A repository in a forge's API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The base of the API, without a slash at the end.
    pub(super) api: String,
    /// `owner/name`.
    pub(super) repository: String,
}

impl Address {
    /// Finds the API of the forge that a repository of Git is at; `api_url` is it where somebody said so.
    ///
    /// # Errors
    /// What is wrong, as the end of a sentence about the address.
    pub fn of(kind: Kind, git_url: &str, api_url: Option<&str>) -> Result<Self, &'static str> {
        let (base, path) = parts(git_url).ok_or("names no repository of a forge")?;
        let path = path.trim_matches('/');
        let path = path.strip_suffix(".git").unwrap_or(path);
        let mut segments = path.rsplit('/');
        let (Some(name), Some(owner)) = (segments.next(), segments.next()) else {
            return Err("must end with the owner and the name of a repository");
        };
        let is_name = |text: &str| {
            !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) && text != ".."
        };
        if !is_name(name) || !is_name(owner) {
            return Err("must end with the owner and the name of a repository");
        }
        let repository = format!("{owner}/{name}");
        // What is before the repository is where the forge is mounted.
        let mount = path.strip_suffix(&repository).unwrap_or_default().trim_matches('/');
        let mount = if mount.is_empty() { String::new() } else { format!("/{mount}") };
        let given = api_url.map(|url| url.trim_end_matches('/').to_owned());
        let api = given.unwrap_or_else(|| kind.api(&base, &mount));
        let is_usable = Url::parse(&api).is_ok_and(|url| url.username().is_empty() && url.password().is_none());
        if !is_usable || !(api.starts_with("http://") || api.starts_with("https://")) {
            return Err("must be reached over http or https, without a user in it");
        }
        Ok(Self { api, repository })
    }

    /// Whether a token would go over the network for everybody to read.
    pub fn is_readable_on_the_way(&self) -> bool {
        let Ok(url) = Url::parse(&self.api) else { return true };
        url.scheme() == "http" && !url.host_str().is_some_and(is_this_machine)
    }

    /// The repository's own name.
    pub(super) fn name(&self) -> &str {
        self.repository.rsplit('/').next().unwrap_or_default()
    }

    /// The owner's name.
    pub(super) fn owner(&self) -> &str {
        self.repository.split('/').next().unwrap_or_default()
    }
}

/// The web address of a host, and the path of a repository there. Over ssh, its pages are assumed at https.
fn parts(git_url: &str) -> Option<(String, String)> {
    if let Some((scheme, _)) = git_url.split_once("://") {
        let url = Url::parse(git_url).ok()?;
        let host = url.host_str().filter(|host| !host.is_empty())?;
        let base = match scheme.to_ascii_lowercase().as_str() {
            "ssh" => format!("https://{host}"),
            scheme @ ("http" | "https") => match url.port() {
                Some(port) => format!("{scheme}://{host}:{port}"),
                None => format!("{scheme}://{host}"),
            },
            _ => return None,
        };
        return Some((base, url.path().to_owned()));
    }
    // `git@host:owner/name.git`
    let (place, path) = git_url.split_once(':')?;
    let host = place.rsplit('@').next().filter(|host| !host.is_empty() && !host.contains('/'))?;
    Some((format!("https://{host}"), path.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(kind: Kind, git_url: &str, api: &str, repository: &str) {
        let found = Address::of(kind, git_url, None).unwrap();
        assert_eq!((found.api.as_str(), found.repository.as_str()), (api, repository), "{git_url}");
    }

    #[test]
    fn the_api_is_found_by_the_address_of_the_repository() {
        check(Kind::Gitea, "https://git.example.com/team/gitops.git", "https://git.example.com/api/v1", "team/gitops");
        check(Kind::Gitea, "http://127.0.0.1:3000/team/gitops", "http://127.0.0.1:3000/api/v1", "team/gitops");
        check(Kind::Gitea, "https://example.com/git/team/gitops/", "https://example.com/git/api/v1", "team/gitops");
        check(Kind::Gitea, "git@git.example.com:team/gitops.git", "https://git.example.com/api/v1", "team/gitops");
        check(Kind::Github, "https://github.com/acme/gitops.git", "https://api.github.com", "acme/gitops");
        check(Kind::Github, "ssh://git@github.com/acme/gitops.git", "https://api.github.com", "acme/gitops");
        check(Kind::Github, "https://ghe.example.com/acme/gitops", "https://ghe.example.com/api/v3", "acme/gitops");
        let given = Address::of(Kind::Gitea, "git@host:a/b", Some("http://host:3000/api/v1/")).unwrap();
        assert_eq!(given.api, "http://host:3000/api/v1");
        assert_eq!(given.owner(), "a");
    }

    #[test]
    fn what_is_no_repository_of_a_forge_is_refused() {
        for url in [
            "embedded",
            "/srv/git/gitops.git",
            "file:///srv/a/b.git",
            "https://host/gitops.git",
            "https://host/a b/c",
            "https://host/../c",
        ] {
            assert!(Address::of(Kind::Gitea, url, None).is_err(), "{url}");
        }
        assert!(Address::of(Kind::Gitea, "https://host/a/b", Some("https://ann:x@host/api")).is_err());
        assert!(Address::of(Kind::Gitea, "https://host/a/b", Some("ftp://host")).is_err());
    }

    #[test]
    fn a_token_over_plain_http_is_readable_unless_it_stays_on_the_machine() {
        let readable = |url: &str| Address::of(Kind::Gitea, url, None).unwrap().is_readable_on_the_way();
        assert!(readable("http://host/a/b"));
        assert!(
            !readable("http://127.0.0.1:3000/a/b")
                && !readable("http://localhost/a/b")
                && !readable("https://host/a/b")
        );
    }
}
