//! Parts of the platform that are away for a while: it is said which, and nothing is lost.

use serde_json::{Value, json};
use tests::TestEnvironment;
use tests::bed::Bed;

use super::faults::{soon, until_live, until_said};
use super::followed::{release, watching, with_seven};

#[test]
fn while_argo_cd_is_down_it_is_missed_and_what_was_committed_is_live_once_it_is_back() {
    let (bed, environment) = (Bed::alone(), TestEnvironment::new());
    let server = watching(&bed, &environment);
    let namespace = with_seven(&bed, &server, "argo-down");
    let (old, new) = (release(&namespace), format!("production/{}/new", namespace.name));
    let paused = ["argocd-controller", "argocd-applicationsets"].map(|part| bed.pause(part));
    server.put(&old, &soon("8")).expect(200);
    server.put(&new, &soon("1")).expect(201);
    until_said(&server, &old, ("stalled", "Argo CD has not seen the commit yet", "`kubectl get pods -n argocd`"));
    let absent = format!("Argo CD has no Application `{}`", new.replace('/', "."));
    until_said(&server, &new, ("stalled", &absent, "`kubectl get applicationsets -A`"));
    drop(paused);
    until_live(&server, &old, "8");
    until_live(&server, &new, "1");
}

#[test]
fn a_kind_that_is_not_installed_is_named_and_its_objects_come_back_with_it() {
    let (bed, environment) = (Bed::alone(), TestEnvironment::new());
    let server = watching(&bed, &environment);
    let namespace = with_seven(&bed, &server, "kind");
    let release = release(&namespace);
    let name = "seldondeployments.machinelearning.seldon.io";
    let mut definition: Value = serde_json::from_str(&bed.ask(&["get", "crd", name, "--output", "json"])).unwrap();
    definition["metadata"] = json!({"name": name});
    definition.as_object_mut().unwrap().remove("status");
    bed.ask(&["delete", "crd", name]);
    let missing = format!("has no `{name}`: what brings that kind is not installed");
    until_said(&server, &release, ("unknown", &missing, &format!("`kubectl get crd {name}`")));
    bed.apply(&definition.to_string());
    until_live(&server, &release, "7");
}
