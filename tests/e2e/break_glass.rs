//! The page for when the service cannot commit: its commands as they stand there, with real Git, and programs in place of `kubectl` and `argocd`
//! that note what they were given.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::json;
use tests::environment::{program, run, succeed};
use tests::{Request, Server, TestEnvironment};

use crate::image;
use crate::readme::{document, with_checks};

const FRAUD: &str = "production/models/fraud";

/// Notes its arguments, and keeps what it is to apply.
const NOTES: &str = r#"#!/bin/sh
set -e
echo "${0##*/} $*" >>"$CALLS"
for last; do :; done
case "$*" in *" -k "*) cp -R "$last" "$CALLS.applied" ;; esac
"#;

/// A branch elsewhere, a service on it, and the clone that anybody has.
struct Site {
    environment: TestEnvironment,
    url: String,
}

impl Site {
    fn new() -> Self {
        let environment = TestEnvironment::new();
        let repository = environment.path("gitops.git");
        succeed(environment.command("git").args(["init", "-q", "--bare", "--initial-branch=main"]).arg(&repository));
        let url = format!("file://{}", repository.display());
        succeed(&mut environment.kmlflow(["init", "--url", &url]));
        for name in ["kubectl", "argocd"] {
            let stub = environment.write(format!("bin/{name}"), NOTES);
            std::fs::set_permissions(stub, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        Self { environment, url }
    }

    fn start(&self) -> Server<'_> {
        self.environment.server().env("KMLFLOW__GIT__URL", &self.url).start()
    }

    fn clone(&self) -> PathBuf {
        let clone = self.environment.path("clone");
        succeed(self.environment.command("git").args(["clone", "-q", &self.url]).arg(&clone));
        clone
    }

    /// What Git says in the clone.
    fn git(&self, arguments: &[&str]) -> String {
        let mut git = self.environment.command("git");
        git.args(["-c", "user.name=Ann", "-c", "user.email=ann@example.org"]).args(arguments);
        succeed(git.current_dir(self.environment.path("clone"))).trim().to_owned()
    }

    /// Runs commands of the page in the clone.
    fn by_hand(&self, script: &str, server: Option<&Server<'_>>) {
        let mut bash = self.environment.command("bash");
        let programs = program("kmlflow").parent().map(Path::to_owned).unwrap();
        let path = std::env::var("PATH").unwrap();
        bash.env("PATH", format!("{}:{}:{path}", self.environment.path("bin").display(), programs.display()));
        bash.env("CALLS", self.environment.path("calls"));
        if let Some(server) = server {
            bash.env("KMLFLOW_URL", server.url()).env("KMLFLOW_TOKEN", server.token());
        }
        let file = self.environment.write("script.sh", with_checks(script));
        let ran = run(bash.arg(file).current_dir(self.environment.path("clone")));
        assert_eq!(ran.code, 0, "{script}\n{}{}", ran.stdout, ran.stderr);
    }
}

/// The commands of the page, about a release.
fn page(group: &str, commit: &str) -> String {
    let found = document("docs/break-glass.md");
    let text = found.get(group).unwrap_or_else(|| panic!("`{group}` of {:?}", found.keys()));
    let of_release = [("ENVIRONMENT/NAMESPACE/NAME", FRAUD), ("NAMESPACE", "models"), ("NAME", "fraud")];
    let words = of_release.into_iter().chain([("COMMIT", commit), ("APPLICATION", "models")]);
    words.fold(text.clone(), |text, (word, here)| text.replace(word, here))
}

#[test]
fn what_was_applied_by_hand_is_what_the_rollback_commits_once_git_is_back() {
    let site = Site::new();
    let server = site.start();
    let good = server.put(FRAUD, &image("fraud", "7")).expect(201).json()["commit"].as_str().unwrap().to_owned();
    server.put(FRAUD, &image("fraud", "8")).expect(200);
    let clone = site.clone();
    // Git is away, and so may the service be.
    let away = site.environment.path("away.git");
    std::fs::rename(site.environment.path("gitops.git"), &away).unwrap();
    let log = format!("#=> {} ", &good[..7]);
    site.by_hand(&page("apply", &good).replace("   git worktree", &format!("{log}\ngit worktree")), None);
    let calls = std::fs::read_to_string(site.environment.path("calls")).unwrap();
    let applied = format!("kubectl apply --server-side --force-conflicts -k ../before/releases/{FRAUD}");
    assert_eq!(calls.lines().collect::<Vec<_>>(), ["argocd app set models --sync-policy none", &applied]);

    std::fs::rename(&away, site.environment.path("gitops.git")).unwrap();
    server.act(FRAUD, "rollback", None).expect(200);
    site.git(&["pull", "-q"]);
    let (applied, committed) = (site.environment.path("calls.applied"), clone.join("releases").join(FRAUD));
    let names = |folder: &Path| {
        let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = files.filter(|name| name != "release.yaml").collect();
        names.sort();
        names
    };
    assert_eq!(names(&applied), names(&committed));
    let kustomization = std::fs::read_to_string(applied.join("kustomization.yaml")).unwrap();
    for name in names(&applied) {
        let [by_hand, by_service] = [&applied, &committed].map(|folder| std::fs::read(folder.join(&name)).unwrap());
        assert!(by_hand == by_service, "{name}");
        assert!(name == "kustomization.yaml" || kustomization.contains(&name), "`kubectl apply -k` leaves {name} out");
    }
}

#[test]
fn the_route_that_is_edited_by_hand_is_the_one_that_is_rendered() {
    let site = Site::new();
    let server = site.start();
    server.put(FRAUD, &image("fraud", "7")).expect(201);
    let clone = site.clone();
    site.by_hand(&page("route", ""), None);
    let calls = std::fs::read_to_string(site.environment.path("calls")).unwrap();
    assert_eq!(calls, "kubectl -n models edit httproute fraud\n");
    let route = std::fs::read_to_string(clone.join("releases").join(FRAUD).join("route.yaml")).unwrap();
    let is_it = |document: &str| {
        ["kind: HTTPRoute", "  name: \"fraud\"\n", "  namespace: \"models\"\n", "backendRefs:"]
            .iter()
            .all(|part| document.contains(part))
    };
    assert!(route.split("---\n").any(is_it), "{route}");
}

#[test]
fn everything_goes_on_from_a_rewritten_history_once_a_person_has_looked() {
    let site = Site::new();
    let server = site.start();
    server.put(FRAUD, &image("fraud", "7")).expect(201);
    site.clone();
    server.put(FRAUD, &image("fraud", "8")).expect(200);
    site.git(&["commit", "-q", "--allow-empty", "-m", "Rewritten by hand"]);
    site.git(&["push", "-q", "--force", "origin", "main"]);
    let held = server.put(FRAUD, &image("fraud", "9")).expect(202).json();
    assert!(held["waitsFor"].as_str().unwrap().contains("somebody rewrote the history of the branch"), "{held}");
    assert_eq!(server.get(&format!("/releases/{FRAUD}"))["waitsFor"], held["waitsFor"]);
    let seen = "#=> Rewritten by hand\n";
    site.by_hand(&page("rewritten", "").replace("kmlflow unhold", &format!("{seen}kmlflow unhold")), Some(&server));
    assert_eq!(server.settle(held["delivery"].as_str().unwrap())["state"], "applied");
}

#[test]
fn a_rollback_of_which_the_abandoned_history_knows_nothing_is_kept_until_a_person_has_looked() {
    let site = Site::new();
    let server = site.start();
    server.put(FRAUD, &image("fraud", "7")).expect(201);
    server.put(FRAUD, &image("fraud", "8")).expect(200);
    site.clone();
    server.api("DELETE", &format!("/releases/{FRAUD}"), None).expect(200);
    drop(server.act(FRAUD, "rollback", None).expect_problem(404));
    site.git(&["commit", "-q", "--allow-empty", "-m", "Rewritten by hand"]);
    site.git(&["push", "-q", "--force", "origin", "main"]);
    let kept = server.act(FRAUD, "rollback", None).expect(202).json();
    let waits_for = kept["waitsFor"].as_str().unwrap();
    assert!(waits_for.contains("somebody rewrote the history of the branch"), "{kept}");
    assert!(waits_for.contains("`kmlflow unhold`"), "{kept}");
    let dry = server.api("POST", &format!("/releases/{FRAUD}/rollback?dryRun=true"), None);
    drop(dry.expect_problem(404));
    // Whoever may not change what the release turns out to be of cannot know that it is not there.
    let scoped = json!({"role": "releaser", "name": "scoped", "scopes": ["production/models/other"]});
    let scoped = server.api("POST", "/tokens", Some(&scoped)).expect(201).json()["token"].as_str().unwrap().to_owned();
    let path = format!("/api/v1/releases/{FRAUD}/rollback");
    drop(Request::new("POST", &path).bearer(&scoped).send(server.address()).expect_problem(404));
    site.by_hand("kmlflow unhold --reason seen\n", Some(&server));
    assert_eq!(server.settle(kept["delivery"].as_str().unwrap())["state"], "applied");
    let release = server.get(&format!("/releases/{FRAUD}"));
    assert_eq!(release["spec"]["variants"][0]["version"], "7", "{release}");
}

#[test]
fn a_history_that_was_rewritten_by_mistake_is_put_back_and_everything_goes_on_from_there() {
    let site = Site::new();
    let server = site.start();
    server.put(FRAUD, &image("fraud", "7")).expect(201);
    site.clone();
    let good = server.put(FRAUD, &image("fraud", "8")).expect(200).json()["commit"].as_str().unwrap().to_owned();
    site.git(&["fetch", "-q"]);
    site.git(&["commit", "-q", "--allow-empty", "-m", "Rewritten by hand"]);
    site.git(&["push", "-q", "--force", "origin", "HEAD:main"]);
    let held = server.put(FRAUD, &image("fraud", "9")).expect(202).json();
    assert!(held["waitsFor"].as_str().unwrap().contains(&good[..12]), "{held}");
    let ready = Request::new("GET", "/readyz").send(server.address()).expect(200).text();
    assert!(ready.contains("everything is held") && ready.contains("`kmlflow unhold`"), "{ready}");
    site.by_hand(&page("put-back", &good), Some(&server));
    assert_eq!(server.settle(held["delivery"].as_str().unwrap())["state"], "applied");
    site.git(&["fetch", "-q"]);
    let log = site.git(&["log", "--format=%H %s", "origin/main"]);
    assert!(log.contains(&good) && !log.contains("Rewritten by hand"), "{log}");
}

#[test]
fn a_branch_that_was_deleted_is_put_back_by_the_command_that_is_said_and_nothing_is_begun_anew_meanwhile() {
    let site = Site::new();
    let server = site.start();
    let tip = server.put(FRAUD, &image("fraud", "7")).expect(201).json()["commit"].as_str().unwrap().to_owned();
    site.clone();
    let mut delete = site.environment.command("git");
    delete.args(["update-ref", "-d", "refs/heads/main"]).current_dir(site.environment.path("gitops.git"));
    succeed(&mut delete);
    let kept = server.put(FRAUD, &image("fraud", "8")).expect(202).json();
    let said = format!("`git push origin {tip}:refs/heads/main`");
    assert!(kept["waitsFor"].as_str().unwrap().contains(&said), "{kept}");
    assert!(!kept["waitsFor"].as_str().unwrap().contains("is empty"), "{kept}");

    let data_dir = site.environment.data_dir().display().to_string();
    for dry in [&["--dry-run"] as &[&str], &[]] {
        let init = ["init", "--url", &site.url, "--data-dir", &data_dir];
        let refused = run(&mut site.environment.kmlflow(init.into_iter().chain(dry.iter().copied())));
        assert_eq!(refused.code, 1, "{}", refused.stdout);
        assert!(
            refused.stderr.contains("has no branch `main`") && refused.stderr.contains(&said),
            "{}",
            refused.stderr
        );
    }
    site.by_hand(&page("deleted", &tip), None);
    let path = format!("/deliveries/{}", kept["delivery"].as_str().unwrap());
    server.until("the request", || (server.get(&path)["state"] == "applied").then_some(()));
    site.git(&["pull", "-q"]);
    assert_eq!(site.git(&["log", "-1", "--format=%P"]), tip, "it goes on from there");
}

#[test]
fn a_request_while_git_is_away_is_kept_and_shown_and_pushed_when_it_is_back() {
    let site = Site::new();
    let server = site.start();
    for version in ["7", "8"] {
        let _ = server.put(FRAUD, &image("fraud", version));
    }
    let (there, away) = (site.environment.path("gitops.git"), site.environment.path("away.git"));
    std::fs::rename(&there, &away).unwrap();
    let queued = server.act(FRAUD, "rollback", None).expect(202).json();
    let why = "there is no Git repository";
    assert!(queued["waitsFor"].as_str().unwrap().contains(why), "{queued}");
    let mut list = site.environment.kmlflow(["deliveries", "list", "-o", "json"]);
    let list = succeed(list.env("KMLFLOW_URL", server.url()).env("KMLFLOW_TOKEN", server.token()));
    assert!(list.contains(why), "{list}");
    std::fs::rename(&away, &there).unwrap();
    let path = format!("/deliveries/{}", queued["delivery"].as_str().unwrap());
    server.until("the rollback", || (server.get(&path)["state"] == "applied").then_some(()));
    let release = server.get(&format!("/releases/{FRAUD}"));
    assert_eq!(release["spec"]["variants"][0]["version"], "7");
}
