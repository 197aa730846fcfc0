//! What the platform lets the service do in the cluster, held against what it was seen to ask the API server for.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::Deserialize as _;
use serde_json::{Value, json};
use tests::TestEnvironment;
use tests::bed::Bed;
use tests::environment::{repository_root, run, succeed};
use tests::server::Server;

use super::faults::{by as going_by, kubeconfig, until_live, until_said};
use super::followed::{release, until, view, with_seven};
use super::platform::{ACCOUNT, make_namespace};
use crate::by;

/// The platform's rules for the service.
fn rules() -> String {
    std::fs::read_to_string(repository_root().join("gitops-repo/platform/kmlflow/access.yaml")).unwrap()
}

/// The bed's kubeconfig with the service's own account, which has these rules.
fn own_account(bed: &Bed, environment: &TestEnvironment) -> PathBuf {
    make_namespace(bed, "k5w");
    bed.apply(&rules());
    let token = bed.ask(&["--namespace", "k5w", "create", "token", "kmlflow", "--duration=2h"]);
    kubeconfig(bed, environment, |config| config["users"][0]["user"] = json!({"token": token.trim()}))
}

/// A verb on a resource, by the role that allows it.
type Right = (String, String, String);

/// What the rules allow: role, verb, resource with its group.
fn granted() -> BTreeSet<Right> {
    let rules = rules();
    let objects = serde_yaml::Deserializer::from_str(&rules).map(|object| Value::deserialize(object).unwrap());
    let roles = objects.filter(|object| object["rules"].is_array());
    let mut rights = BTreeSet::new();
    for role in roles {
        let kind = role["kind"].as_str().unwrap();
        let of = |rule: &Value, list: &str| -> Vec<String> {
            rule[list].as_array().unwrap().iter().map(|it| it.as_str().unwrap().to_owned()).collect()
        };
        for rule in role["rules"].as_array().unwrap() {
            for (group, resource) in of(rule, "apiGroups")
                .iter()
                .flat_map(|group| of(rule, "resources").into_iter().map(move |it| (group.clone(), it)))
            {
                let named = of_group(&resource, &group);
                rights.extend(of(rule, "verbs").into_iter().map(|verb| (kind.to_owned(), verb, named.clone())));
            }
        }
    }
    rights
}

fn of_group(resource: &str, group: &str) -> String {
    if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") }
}

/// What the account has asked for since the log had this length, and what of it was refused.
fn asked(bed: &Bed, since: usize) -> (BTreeSet<Right>, Vec<Value>) {
    let log = bed.log("audit");
    let events = log[since..].lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let (mut rights, mut refused) = (BTreeSet::new(), Vec::new());
    for event in events.filter(|event| event["user"]["username"] == ACCOUNT) {
        if event["responseStatus"]["code"] == 403 {
            refused.push(event);
            continue;
        }
        let text = |field: &str| event["objectRef"][field].as_str().unwrap_or_default().to_owned();
        let resource = match (text("resource"), text("subresource")) {
            (resource, part) if part.is_empty() => resource,
            (resource, part) => format!("{resource}/{part}"),
        };
        // What is Argo CD's is allowed in its namespace alone.
        let role = if text("apiGroup") == "argoproj.io" { "Role" } else { "ClusterRole" };
        assert!(role == "ClusterRole" || text("namespace") == "argocd", "{event:#}");
        let verb = event["verb"].as_str().unwrap().to_owned();
        rights.insert((role.to_owned(), verb, of_group(&resource, &text("apiGroup"))));
    }
    (rights, refused)
}

/// A candidate whose pods come to nothing, until that is said and it is taken back.
fn in_trouble(server: &Server<'_>, release: &str, word: &str, reason: &str) {
    let body = json!({"image": format!("registry.example/fraud:8-{word}"), "deadline": "15s"});
    let asked = server.put(release, &by("canary", "fraud", "8", body));
    // It may have to wait until the one before is seen to be over.
    assert!([200, 202].contains(&asked.status), "{}", asked.text());
    until(server, release, reason, |view| view["status"]["reason"].as_str().unwrap().contains(reason));
    until(server, release, "v7 alone is live", |view| {
        let rollout = &view["rollout"];
        view["status"]["state"] == "live" && rollout["phase"] == "settled" && rollout["outcome"] == "aborted"
    });
}

#[test]
fn every_right_of_the_platform_is_used_and_no_other_is_asked_for() {
    let (bed, environment) = (Bed::alone(), TestEnvironment::new());
    let path = own_account(&bed, &environment);
    let since = bed.log("audit").len();
    let server = going_by(&environment, &path);
    let namespace = with_seven(&bed, &server, "rights");
    let release = release(&namespace);
    // A pod whose log is read, and one of which the events alone say what is wrong.
    in_trouble(&server, &release, "crashing", "ends again and again");
    in_trouble(&server, &release, "unready", "Readiness probe failed");
    let agree = server.get(&format!("/releases/{release}/diff"));
    assert_eq!(agree["differences"], json!([]), "{agree:#}");
    succeed(&mut server.client(&["import", "--all", "-n", &namespace.name]));
    server.api("DELETE", &format!("/releases/{release}"), None).expect(200);
    server.until("nothing is left", || {
        (server.api("GET", &format!("/releases/{release}"), None).status == 404).then_some(())
    });
    let (asked, refused) = asked(&bed, since);
    assert_eq!(refused, Vec::<Value>::new());
    let granted = granted();
    let unused: Vec<&Right> = granted.difference(&asked).collect();
    let beyond: Vec<&Right> = asked.difference(&granted).collect();
    assert_eq!((unused, beyond), (Vec::new(), Vec::new()), "granted and not used, used and not granted");
    println!("{} rights, each of them used", granted.len());
}

/// The rules without one verb on one resource.
fn without(verb: &str, resource: &str) -> String {
    let rules = rules();
    let line = rules.lines().find(|line| line.contains(&format!("[{resource}]"))).unwrap();
    let less = line.replace(&format!("{verb}, "), "").replace(&format!(", {verb}]"), "]");
    assert_ne!(less, line, "{verb} {resource}");
    rules.replace(line, &less)
}

/// Puts the platform's own rules back when it is dropped.
struct Smaller<'a> {
    bed: &'a Bed,
}

impl<'a> Smaller<'a> {
    fn by(bed: &'a Bed, verb: &str, resource: &str) -> Self {
        bed.apply(&without(verb, resource));
        Self { bed }
    }
}

impl Drop for Smaller<'_> {
    fn drop(&mut self) {
        let whole = self.bed.try_apply(&rules(), &["--server-side", "--force-conflicts"]);
        assert!(whole.is_ok() || std::thread::panicking(), "{whole:?}");
    }
}

#[test]
fn a_right_that_is_taken_away_is_named_where_it_is_missed() {
    let (bed, environment) = (Bed::alone(), TestEnvironment::new());
    let path = own_account(&bed, &environment);
    let server = going_by(&environment, &path);
    let namespace = with_seven(&bed, &server, "smaller");
    let release = release(&namespace);

    // To read one object, which `diff` does.
    let smaller = Smaller::by(&bed, "get", "services");
    let lacks = "does not let the service `get` `services`: its role lacks that verb";
    server.until("diff says which verb it lacks", || {
        let diff = server.get(&format!("/releases/{release}/diff"));
        (diff["state"] == "unknown" && diff["reason"].as_str()?.contains(lacks)).then_some(())
    });
    let shown = run(&mut server.client(&["diff", "fraud", "-n", &namespace.name]));
    assert!(shown.stdout.contains(lacks), "{shown:?}");
    assert_eq!(view(&server, &release)["status"]["state"], "live", "what is watched goes on");
    drop(smaller);

    // To list a kind, which a start does.
    drop(server);
    let smaller = Smaller::by(&bed, "list", "deployments");
    wait_until_refused(&bed, "list", "deployments.apps");
    let server = going_by(&environment, &path);
    let lacks = "does not let the service `list` `deployments.apps`: its role lacks that verb";
    let cure = "`kubectl auth can-i list deployments.apps -A --as ACCOUNT`";
    until_said(&server, &release, ("unknown", lacks, cure));
    drop(smaller);
    until_live(&server, &release, "7");
}

/// Waits until the API server goes by the rules.
fn wait_until_refused(bed: &Bed, verb: &str, resource: &str) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    let refused = || {
        let said = run(&mut bed.kubectl(&["auth", "can-i", verb, resource, "--all-namespaces", "--as", ACCOUNT]));
        said.stdout.trim() == "no"
    };
    while !refused() {
        assert!(std::time::Instant::now() < deadline, "{verb} {resource} is still allowed");
    }
}
