//! What others did at a remote and nobody told of, over https to `git http-backend`.

use serde_json::json;
use tests::Server;
use tests::git_site::{GitSite, LOGIN};

use super::serve::empty;
use super::*;

const FRAUD: &str = "production/models/fraud";

/// A service on an empty repository behind https.
struct Stage<'a> {
    environment: &'a TestEnvironment,
    site: GitSite,
    repository: PathBuf,
}

impl<'a> Stage<'a> {
    fn new(environment: &'a TestEnvironment) -> Self {
        let repository = empty(environment, "gitops.git");
        let stage = Self { environment, site: GitSite::start(environment), repository };
        succeed(environment.kmlflow(["init"]).envs(stage.settings()));
        stage
    }

    fn settings(&self) -> [(String, String); 4] {
        let values =
            [self.site.url("gitops.git"), self.site.ca_file.display().to_string(), LOGIN.0.into(), LOGIN.1.into()];
        let mut names = ["URL", "CA_FILE", "CREDENTIALS__USERNAME", "CREDENTIALS__PASSWORD"].into_iter();
        values.map(|value| (format!("KMLFLOW__GIT__{}", names.next().unwrap()), value))
    }

    fn start(&self) -> Server<'a> {
        self.settings().iter().fold(self.environment.server(), |begin, (name, value)| begin.env(name, value)).start()
    }

    /// What Git says in a person's new clone.
    fn person(&self, arguments: &[&str]) -> String {
        let clone = self.environment.path("person");
        if !clone.exists() {
            succeed(self.environment.command("git").args(["clone", "-q"]).arg(&self.repository).arg(&clone));
        }
        let mut command = self.environment.command("git");
        command.args(["-c", "user.name=Ann", "-c", "user.email=ann@example.org"]).args(arguments);
        succeed(command.current_dir(clone)).trim().to_owned()
    }
}

#[test]
fn what_a_person_reverted_is_asked_for_again_with_effect_and_what_is_so_stays_unchanged() {
    let environment = TestEnvironment::new();
    let stage = Stage::new(&environment);
    let server = stage.start();
    let put = |version: &str| server.put(FRAUD, &crate::image("fraud", version));
    put("7").expect(201);
    put("8").expect(200);
    stage.person(&["revert", "--no-edit", "HEAD"]);
    stage.person(&["push", "-q", "origin", "main"]);
    let again = put("8").expect(200).json();
    assert_eq!(again["changed"], json!(true), "{again}");
    stage.person(&["pull", "-q"]);
    assert!(stage.person(&["show", &format!("HEAD:releases/{FRAUD}/seldon.yaml")]).contains("fraud:8"));
    assert!(stage.person(&["log", "--format=%s"]).contains("Revert"));
    assert_eq!(put("8").expect(200).json()["changed"], json!(false));
}
