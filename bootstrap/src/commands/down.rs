//! `down`: everything away, or stopped with its data.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::arguments::{ArgoCd, ClusterKind, General, Place};
use crate::checkout::Checkout;
use crate::fault::{Fault, Kind};
use crate::kinds::{self, Brought};
use crate::kubectl::{Kubectl, refuse};
use crate::manifests::{RECORD, ROOT};
use crate::options::MINIKUBE_PROFILE;
use crate::program::Call;
use crate::record::Record;
use crate::reporter::Reporter;
use crate::secrets::LABEL;
use crate::session::Session;
use crate::steps::{self, EDGE_CONTAINER};

pub(super) fn run(
    place: &Place,
    general: &General,
    checkout: Checkout,
    keep_data: bool,
    timeout: Duration,
) -> Result<(), Fault> {
    let mut reporter = super::reporter(general.output);
    let state = match whose(place)? {
        Whose::Nobodys => "nothing",
        Whose::Minikubes => {
            minikube(keep_data, &mut reporter)?;
            if keep_data { "stopped" } else { "gone" }
        }
        Whose::Somebodys => {
            let session = Session { timeout, ..super::there(place, general, checkout)? };
            existing(&session, keep_data, &mut reporter)?;
            if keep_data { "kept" } else { "gone" }
        }
    };
    let report = json!({"event": "done", "state": state, "seconds": reporter.elapsed().as_secs_f64()});
    super::done(general.output, &report, || match state {
        "nothing" => "Nothing is there to take away.\n".to_owned(),
        _ => String::new(),
    })
}

/// The cluster that goes or that things are taken from.
enum Whose {
    /// There is none, and no platform in another.
    Nobodys,
    /// The one that `up` made.
    Minikubes,
    /// One that stays.
    Somebodys,
}

/// A cluster that runs says by its record who made it; one that does not run has only its name and how it was made.
fn whose(place: &Place) -> Result<Whose, Fault> {
    let context = super::context(place);
    let nodes = if context == MINIKUBE_PROFILE { nodes()? } else { Vec::new() };
    if nodes.is_empty() && place.context.is_none() {
        return super::perhaps_elsewhere()?.map_or(Ok(Whose::Nobodys), Err);
    }
    if !nodes.is_empty() && !nodes.iter().any(steps::node_runs) {
        return if steps::has_our_driver()? { Ok(Whose::Minikubes) } else { Err(not_ours()) };
    }
    let record = Record::read(&Kubectl::new(Some(context))).map_err(|fault| match nodes.is_empty() {
        true => fault,
        false => Fault { cure: format!("{}; {BY_HAND}", fault.cure), ..fault },
    })?;
    match record.map(|record| record.options.cluster) {
        Some(ClusterKind::Minikube) if nodes.is_empty() => {
            let what = format!(
                "the platform in the cluster of the context `{context}` is one on minikube, which goes as a whole, and this is not the cluster `{MINIKUBE_PROFILE}` of this machine"
            );
            let cure = "leave `--context` out for the one of this machine; another one is taken away where it was made";
            Err(Fault::new(what, cure).of(Kind::Refused))
        }
        Some(ClusterKind::Minikube) => Ok(Whose::Minikubes),
        None if !nodes.is_empty() => Err(not_ours()),
        Some(ClusterKind::Existing) | None => Ok(Whose::Somebodys),
    }
}

/// The nodes of minikube's cluster; without minikube there is none.
fn nodes() -> Result<Vec<Value>, Fault> {
    match steps::minikube_nodes() {
        Err(fault) if fault.kind == Kind::NotFound => Ok(Vec::new()),
        nodes => nodes,
    }
}

/// How somebody goes on who knows whose the cluster is.
const BY_HAND: &str = "`minikube delete --profile k5w` takes the whole cluster away by hand";

fn not_ours() -> Fault {
    let what = format!("minikube's cluster `{MINIKUBE_PROFILE}` has nothing that says that `up` made it");
    Fault::new(what, format!("see whose it is; {BY_HAND}")).of(Kind::Refused)
}

/// The cluster is ours, so it goes or stops as a whole.
fn minikube(keep_data: bool, reporter: &mut Reporter) -> Result<(), Fault> {
    reporter.step_began("edge", "Way to the gateway");
    let edge = Call::new("docker", ["rm", "--force", EDGE_CONTAINER]).run()?;
    if !edge.is_success() && !edge.stderr.contains("No such container") {
        refuse(&edge, "the proxy before the gateway could not be taken away")?;
    }
    reporter.step_ended("Way to the gateway", "gone");
    reporter.step_began("cluster", "Cluster");
    let (word, done) = if keep_data { ("stop", "stopped, with its data") } else { ("delete", "gone") };
    let answer = Call::new("minikube", [word, "--profile", MINIKUBE_PROFILE]).within(super::LIMIT).run()?;
    if !answer.stderr.contains("not found") {
        refuse(&answer, &format!("`minikube {word}` failed"))?;
    }
    reporter.step_ended("Cluster", done);
    Ok(())
}

/// Of a cluster that is somebody's only what bootstrap brought goes.
fn existing(session: &Session, keep_data: bool, reporter: &mut Reporter) -> Result<(), Fault> {
    let (record, name) = RECORD;
    let before = session.kubectl.get(&["configmap", name, "--namespace", record])?.as_ref().and_then(kinds::before);
    reporter.step_began("applications", "Applications");
    take_applications_away(session, reporter)?;
    take_away_what_they_leave(session)?;
    reporter.step_ended("Applications", "gone");
    reporter.step_began("roles", "Roles");
    take_away_what_was_applied(session)?;
    reporter.step_ended("Roles", "gone");
    reporter.step_began("namespaces", "Namespaces");
    let ours = session.kubectl.names(&["namespaces", "--selector", &format!("{LABEL}=bootstrap")])?;
    let with_data = if keep_data { with_data(session)? } else { Vec::new() };
    let (kept, gone): (Vec<&str>, Vec<&str>) =
        ours.iter().map(String::as_str).partition(|name| with_data.iter().any(|kept| kept == name));
    // What is remembered of the platform goes last: until then this can be run again.
    let (last, first): (Vec<&str>, Vec<&str>) = gone.iter().partition(|name| **name == record);
    take_namespaces_away(session, &first, reporter)?;
    let kinds = take_kinds_away(session, &before.unwrap_or_default(), &ours)?;
    take_namespaces_away(session, &last, reporter)?;
    let mut note = format!("{} gone", gone.len());
    if !kept.is_empty() {
        note.push_str(&format!("; kept with their data: {}", kept.join(", ")));
    }
    reporter.step_ended("Namespaces", &format!("{note}; {kinds}"));
    Ok(())
}

/// The namespaces with what cannot be made again: the record, volumes, and Secrets without which what lies in the volumes of others cannot be read.
fn with_data(session: &Session) -> Result<Vec<String>, Fault> {
    let unique = session.catalogue.secrets.iter().filter(|recipe| recipe.is_unique());
    let mut places: Vec<String> = unique.map(|recipe| recipe.place().0.to_owned()).collect();
    places.push(RECORD.0.to_owned());
    let namespaces = "jsonpath={range .items[*]}{.metadata.namespace}{\"\\n\"}{end}";
    let claims =
        session.kubectl.call(&["get", "persistentvolumeclaims", "--all-namespaces", "--output", namespaces]).run()?;
    refuse(&claims, "the volume claims of the cluster cannot be listed")?;
    places.extend(claims.stdout.lines().map(str::to_owned));
    Ok(places)
}

/// What bootstrap applied and no namespace takes along, by its label. An Argo CD that stays keeps its namespace, but nothing of ours in it.
fn take_away_what_was_applied(session: &Session) -> Result<(), Fault> {
    let label = format!("{LABEL}=bootstrap");
    let roles = ["delete", "clusterroles,clusterrolebindings", "--selector", &label];
    refuse(&session.kubectl.call(&roles).run()?, "the roles in the cluster could not be taken away")?;
    if session.options.argo_cd == ArgoCd::Present {
        let ours = ["delete", "secrets,roles,rolebindings", "--namespace", "argocd", "--selector", &label];
        refuse(&session.kubectl.call(&ours).run()?, "Argo CD's way to the repository could not be taken away")?;
    }
    Ok(())
}

/// Takes the kinds away that the platform brought and nobody else uses. Argo CD leaves each kind that an Application brought.
fn take_kinds_away(session: &Session, before: &[String], ours: &[String]) -> Result<String, Fault> {
    let Brought { unused, used } = kinds::to_take_away(session, before, ours)?;
    if !unused.is_empty() {
        let names: Vec<&str> = unused.iter().map(String::as_str).collect();
        let delete =
            [&["delete", "customresourcedefinitions"], &names[..], &["--ignore-not-found", "--wait=false"]].concat();
        let answer = session.kubectl.call(&delete).run()?;
        refuse(&answer, "the kinds that the platform brought could not be taken away")?;
    }
    let kept: Vec<String> = used.iter().map(|(kind, object)| format!("{kind} (of {object})")).collect();
    Ok(match kept.is_empty() {
        true => format!("{} kinds gone", unused.len()),
        false => format!("{} kinds gone; kept, as others use them: {}", unused.len(), kept.join(", ")),
    })
}

/// Ends them at once and waits, with the reason that the cluster gives for each: the pods of a proxy take their time to drain.
fn take_namespaces_away(session: &Session, names: &[&str], reporter: &mut Reporter) -> Result<(), Fault> {
    if names.is_empty() {
        return Ok(());
    }
    let delete = [&["delete", "namespace"], names, &["--ignore-not-found", "--wait=false"]].concat();
    refuse(&session.kubectl.call(&delete).run()?, "the namespaces could not be taken away")?;
    let label = format!("{LABEL}=bootstrap");
    let began = Instant::now();
    loop {
        let there = session.kubectl.list(&["namespaces", "--selector", &label])?;
        let ends = |namespace: &&Value| names.iter().any(|name| namespace["metadata"]["name"] == *name);
        let left: Vec<String> = there.iter().filter(ends).map(why_it_is_there).collect();
        if left.is_empty() {
            return Ok(());
        }
        if began.elapsed() > session.timeout {
            let what = format!("namespaces are still there: {}", left.join("; "));
            return Err(Fault::new(what, "take away what keeps them, or see to its controller; then run this again")
                .of(Kind::Deadline));
        }
        reporter.waiting(&format!("they end: {}", left.join("; ")));
        std::thread::sleep(session.poll);
    }
}

/// A namespace that ends, with what the cluster says is left in it.
fn why_it_is_there(namespace: &Value) -> String {
    let name = namespace["metadata"]["name"].as_str().unwrap_or_default();
    let conditions = namespace["status"]["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let said: Vec<&str> = conditions
        .iter()
        .filter(|condition| condition["status"] == "True")
        .filter_map(|condition| condition["message"].as_str())
        .collect();
    match said.is_empty() {
        true => format!("`{name}`"),
        false => format!("`{name}` ({})", said.join(", ")),
    }
}

/// Takes the root away and waits until everything that it made is gone: Argo CD does it in the reverse order of the waves.
fn take_applications_away(session: &Session, reporter: &mut Reporter) -> Result<(), Fault> {
    let kind = "applications.argoproj.io";
    let delete = session
        .kubectl
        .call(&["delete", kind, ROOT, "--namespace", "argocd", "--ignore-not-found", "--wait=false"])
        .run()?;
    if !delete.stderr.contains("the server doesn't have a resource type") {
        refuse(&delete, "the root Application could not be taken away")?;
    }
    let began = Instant::now();
    loop {
        let all = session.kubectl.list(&[kind, "--namespace", "argocd"])?;
        let left: Vec<&str> = all
            .iter()
            .filter(|application| is_ours(session, application))
            .filter_map(|a| a["metadata"]["name"].as_str())
            .collect();
        if left.is_empty() {
            break;
        }
        if left == ["argo-cd"] {
            // It has no finalizer: whoever is taken away by itself never ends. Its objects go in the next step.
            let own = session
                .kubectl
                .call(&["delete", kind, "argo-cd", "--namespace", "argocd", "--ignore-not-found"])
                .run()?;
            refuse(&own, "Argo CD's own Application could not be taken away")?;
        }
        if began.elapsed() > session.timeout {
            let what = format!("Applications are still there: {}", left.join(", "));
            return Err(Fault::new(
                what,
                "`kubectl --namespace argocd describe application` says why; then run this again",
            )
            .of(Kind::Deadline));
        }
        reporter.waiting(&format!("Argo CD takes away: {}", left.join(", ")));
        std::thread::sleep(session.poll);
    }
    let project = session
        .kubectl
        .call(&["delete", "appprojects.argoproj.io", ROOT, "--namespace", "argocd", "--ignore-not-found"])
        .run()?;
    match project.stderr.contains("the server doesn't have a resource type") {
        true => Ok(()),
        false => refuse(&project, "the project of the root could not be taken away"),
    }
}

/// Takes away what programs of the parts made by themselves in namespaces that stay.
fn take_away_what_they_leave(session: &Session) -> Result<(), Fault> {
    for left in session.catalogue.components.iter().flat_map(|part| &part.leaves) {
        let [namespace, kind, name] = left.split('/').collect::<Vec<_>>()[..] else {
            let cure = "write `leaves` in the catalogue as `namespace/kind/name`";
            return Err(Fault::new(format!("`{left}` names no object"), cure));
        };
        let delete = session.kubectl.call(&["delete", kind, name, "--namespace", namespace, "--ignore-not-found"]);
        refuse(&delete.run()?, &format!("{kind} `{name}` could not be taken away"))?;
    }
    Ok(())
}

fn is_ours(session: &Session, application: &Value) -> bool {
    let name = application["metadata"]["name"].as_str().unwrap_or_default();
    name == ROOT || session.catalogue.component(name).is_some()
}
