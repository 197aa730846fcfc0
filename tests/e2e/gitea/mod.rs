//! A repository at a real forge, which the tier `gitea` builds.

mod called_off;
mod push;
mod replicas;
mod retargeted;
mod review;
mod squashed;
mod undone;
mod unusual;

use serde_json::{Value, json};
use tests::environment::succeed;
use tests::gitea::{Account, Gitea};
use tests::{Checkout, Response, Server, ServerBuilder, Signing, TestEnvironment};

/// The repository of these tests, and the release.
const REPOSITORY: &str = "team/gitops";
const FRAUD: &str = "production/models/fraud";

/// The service looks by itself so rarely that whatever it hears of, it hears of by a webhook.
const NEVER: (&str, &str) = ("KMLFLOW__GIT__POLL_INTERVAL", "1h");

/// A forge with one repository: `team` owns it, the service and Ann may push to it.
struct Forge<'a> {
    gitea: Gitea<'a>,
    team: Account,
    service: Account,
    ann: Account,
}

impl<'a> Forge<'a> {
    /// A forge whose repository has what `kmlflow init` lays out.
    fn start(environment: &'a TestEnvironment) -> Self {
        let gitea = Gitea::start(environment);
        let [team, service, ann] = ["team", "kmlflow", "ann"].map(|name| gitea.create_account(name));
        let forge = Self { gitea, team, service, ann };
        let repository = json!({"name": "gitops", "private": true, "default_branch": "main"});
        drop(forge.gitea.api(&forge.team, "POST", "/user/repos", Some(&repository)).expect(201));
        for name in ["kmlflow", "ann"] {
            forge.team("PUT", &format!("/collaborators/{name}"), &json!({"permission": "write"}), 204);
        }
        let mut init = environment.kmlflow(["init", "--url", &forge.url(), "--with-default-policy"]);
        succeed(init.envs(forge.settings()));
        forge
    }

    fn url(&self) -> String {
        self.gitea.url(REPOSITORY)
    }

    /// Where the repository is, and with what it lets the service in.
    fn settings(&self) -> [(&'static str, String); 3] {
        [
            ("KMLFLOW__GIT__URL", self.url()),
            ("KMLFLOW__GIT__CREDENTIALS__USERNAME", self.service.name.clone()),
            ("KMLFLOW__GIT__CREDENTIALS__PASSWORD", self.service.token.clone()),
        ]
    }

    /// A service on the repository, not yet started.
    fn server(&self) -> ServerBuilder<'a> {
        self.followed_by(self.gitea.environment().server())
    }

    /// A service that follows the repository.
    fn followed_by<'b>(&self, begin: ServerBuilder<'b>) -> ServerBuilder<'b> {
        self.settings().iter().fold(begin, |begin, (name, value)| begin.env(name, value))
    }

    /// Asks about the repository as its owner, who must be answered with this status.
    #[track_caller]
    fn team(&self, method: &str, path: &str, body: &Value, status: u16) -> Value {
        let answer = self.repository(&self.team, method, path, Some(body)).expect(status);
        if answer.body.is_empty() { Value::Null } else { answer.json() }
    }

    /// Asks about the repository as somebody; `path` begins after its name.
    #[track_caller]
    #[must_use = "assert what was answered"]
    fn repository(&self, who: &Account, method: &str, path: &str, body: Option<&Value>) -> Response {
        self.gitea.api(who, method, &format!("/repos/{REPOSITORY}{path}"), body)
    }

    /// Ann's clone.
    #[track_caller]
    fn clone_repository(&self) -> Checkout<'a> {
        Checkout::of(self.gitea.environment(), &self.gitea.url_for(&self.ann, REPOSITORY))
    }

    /// Has the forge tell a service of what happens, signed.
    #[track_caller]
    fn tell(&self, server: &Server<'_>, events: &[&str]) {
        let config = json!({
            "url": format!("{}/webhooks/github", server.url()), "content_type": "json", "secret": server.secret(Signing::Github),
        });
        let hook = json!({"type": "gitea", "active": true, "events": events, "config": config});
        drop(self.team("POST", "/hooks", &hook, 201));
    }

    /// Lets these people push to `main`, and nobody else.
    #[track_caller]
    fn protect(&self, who: &[&str]) {
        let rule = json!({
            "rule_name": "main", "enable_push": !who.is_empty(), "enable_push_whitelist": true, "push_whitelist_usernames": who,
        });
        drop(self.team("POST", "/branch_protections", &rule, 201));
    }
}
