//! A repository at a scripted GitHub, whose every request is held against the official description, which the tier `github` fetches.

mod app;
mod called_off;
mod checks;
mod retargeted;
mod review;
mod token;
mod told;

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use serde_json::{Value, json};
use tests::environment::succeed;
use tests::github::{AppKey, GitHub, TOKEN};
use tests::{Checkout, Server, ServerBuilder, TestEnvironment};

use crate::image;
use crate::reviewed::{review_is, review_of, says_why, serves};

/// The release of these tests.
const FRAUD: &str = "production/models/fraud";

/// The setting that names the file of the token of pushes.
const PASSWORD_FILE: &str = "KMLFLOW__GIT__CREDENTIALS__PASSWORD_FILE";

/// Looks so often that a test does not wait for long.
const OFTEN: (&str, &str) = ("KMLFLOW__GIT__POLL_INTERVAL", "1s");

/// A forge whose repository has what `kmlflow init` lays out, as somebody whom it lets in by these settings.
pub(super) struct Forge<'a> {
    pub(super) github: GitHub<'a>,
    settings: Vec<(&'static str, String)>,
}

impl<'a> Forge<'a> {
    /// The service has a personal token.
    pub(super) fn with_token(environment: &'a TestEnvironment) -> Self {
        let github = GitHub::start(environment, None);
        Self::begin(github, vec![("KMLFLOW__GIT__CREDENTIALS__PASSWORD", TOKEN.to_owned())])
    }

    /// The service has this personal token in the file of a setting.
    fn with_token_file(environment: &'a TestEnvironment, setting: &'static str, token: &str) -> Self {
        let github = GitHub::start(environment, None);
        github.give_token(token);
        let mut settings = vec![(setting, token_file(environment, token).display().to_string())];
        if setting != PASSWORD_FILE {
            settings.push(("KMLFLOW__GIT__CREDENTIALS__PASSWORD", TOKEN.to_owned()));
        }
        Self::begin(github, settings)
    }

    /// The service is an App.
    fn with_app(environment: &'a TestEnvironment) -> Self {
        let key = AppKey::make(environment, "app");
        let github = GitHub::start(environment, Some(key.clone()));
        Self::begin(github, app_settings(&key))
    }

    fn begin(github: GitHub<'a>, settings: Vec<(&'static str, String)>) -> Self {
        let place = [
            ("KMLFLOW__GIT__URL", github.url()),
            ("KMLFLOW__GIT__FORGE__KIND", "github".to_owned()),
            (OFTEN.0, OFTEN.1.to_owned()),
        ];
        let forge = Self { settings: place.into_iter().chain(settings).collect(), github };
        let mut init = forge.environment().kmlflow(["init", "--url", &forge.github.url(), "--with-default-policy"]);
        succeed(init.envs(forge.settings.iter().map(|(name, value)| (*name, value))));
        forge
    }

    fn environment(&self) -> &'a TestEnvironment {
        self.github.environment()
    }

    /// A service that pushes.
    fn server(&self) -> ServerBuilder<'a> {
        self.settings.iter().fold(self.environment().server(), |begin, (name, value)| begin.env(name, value))
    }

    /// A service in pull-request mode.
    pub(super) fn reviewed(&self) -> ServerBuilder<'a> {
        self.server().env("KMLFLOW__ENVIRONMENTS__PRODUCTION__MODE", "pull_request")
    }

    /// Ann's clone.
    #[track_caller]
    fn clone_repository(&self) -> Checkout<'a> {
        Checkout::of(self.environment(), &self.github.url_for_a_person())
    }

    /// Commits of the release, the newest first.
    #[track_caller]
    fn commits(&self) -> Vec<tests::Commit> {
        self.clone_repository().log(&format!("releases/{FRAUD}"))
    }
}

/// The file with the token of the service, which has this one from now on.
fn token_file(environment: &TestEnvironment, token: &str) -> PathBuf {
    let file = environment.write("token", token);
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("the mode is set");
    file
}

fn app_settings(key: &AppKey) -> Vec<(&'static str, String)> {
    use tests::github::{APP, INSTALLATION};
    vec![
        ("KMLFLOW__GIT__CREDENTIALS__GITHUB_APP__ID", APP.to_string()),
        ("KMLFLOW__GIT__CREDENTIALS__GITHUB_APP__INSTALLATION", INSTALLATION.to_string()),
        ("KMLFLOW__GIT__CREDENTIALS__GITHUB_APP__PRIVATE_KEY_FILE", key.private.display().to_string()),
    ]
}

/// Asks for a release, which must wait for the review of this pull request; answers its delivery.
#[track_caller]
fn put_for_review(server: &Server<'_>, version: &str, number: u64) -> String {
    let (url, delivery) = review_of(server, &server.put(FRAUD, &image("fraud", version)).expect(202).json());
    assert!(url.ends_with(&format!("/acme/gitops/pull/{number}")), "{url}");
    delivery
}

/// Versions 7 and 8, one after the other, each merged by a person.
#[track_caller]
fn release_two(forge: &Forge<'_>, server: &Server<'_>) {
    for (number, version) in [(1, "7"), (2, "8")] {
        put_for_review(server, version, number);
        forge.github.merge(number, tests::github::Way::Merge);
        serves(server, version);
        review_is(server, "merged");
    }
}

#[test]
fn what_github_does_not_describe_fails_a_test() {
    use tests::openapi::{Asked, Description};
    let github = Description::of_github();
    let faults = |method: &str, target: &str, body: Value| {
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        github.check(&Asked { method, target, body: &body }).err().unwrap_or_default().join("; ")
    };
    let pulls = "/repos/acme/gitops/pulls";
    assert_eq!(faults("GET", &format!("{pulls}?state=closed&per_page=50"), Value::Null), "");
    assert_eq!(faults("POST", pulls, json!({"head": "a", "base": "main", "title": "t", "body": "b"})), "");
    assert_eq!(faults("DELETE", "/repos/acme/gitops/git/refs/heads/kmlflow/a/b/c", Value::Null), "");
    for (method, target, body, because) in [
        ("GET", "/repos/acme/gitops/pull", Value::Null, "no such operation"),
        ("PUT", pulls, Value::Null, "no such operation"),
        ("GET", "/repos/acme/gitops/pulls?state=merged", Value::Null, "is none of"),
        ("GET", "/repos/acme/gitops/pulls?per_page=many", Value::Null, "is no integer"),
        ("GET", "/repos/acme/gitops/pulls?limit=5", Value::Null, "`limit` is not described"),
        ("GET", "/repos/acme/gitops/pulls/x", Value::Null, "is no integer"),
        ("POST", pulls, json!({"base": "main", "title": "t"}), "has no `head`"),
        ("POST", pulls, json!({"head": "a", "base": "main", "titel": "t"}), "`titel` is not described"),
        ("POST", pulls, json!({"head": 1, "base": "main"}), "is no string"),
        ("POST", "/repos/acme/gitops/statuses/abc", json!({"state": "done"}), "is none of"),
        ("POST", pulls, Value::Null, "the body is missing"),
    ] {
        let found = faults(method, target, body);
        assert!(found.contains(because), "{method} {target}: {found}");
    }
}
