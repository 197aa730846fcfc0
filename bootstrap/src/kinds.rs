//! Kinds and other objects without a namespace in a cluster that is somebody's: whose they are, and which may go.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::catalogue::{Catalogue, Component};
use crate::fault::{Fault, Kind};
use crate::kubectl::{Kubectl, is_unknown_kind, refuse};
use crate::manifests::ROOT;
use crate::options::ARGO_CD;
use crate::secrets::LABEL;
use crate::session::Session;

/// Of each definition its name, who applied it, and bootstrap's label: whole ones are a megabyte each.
const DEFINITIONS: &str = r#"jsonpath={range .items[*]}{.metadata.name}{"\t"}{.metadata.managedFields[*].manager}{"\t"}{.metadata.labels.kmlflow\.dev/made-by}{"\n"}{end}"#;

/// Of each Application its place and the definitions that it brings. Argo CD marks every object with its Application, but no definition of a kind
/// (`GenerateManifest` in `reposerver/repository/repository.go`): only the Application knows them.
const BRINGS: &str = r#"jsonpath={range .items[*]}{.metadata.namespace}/{.metadata.name}{range .status.resources[?(@.kind=="CustomResourceDefinition")]}{"\t"}{.name}{end}{"\n"}{end}"#;

/// Who Argo CD is in the managed fields of what it applies.
const ARGO_CD_MANAGER: &str = "argocd-controller";

/// The key of the record under which the kinds are that were there before.
pub const BEFORE: &str = "kinds-before";

/// Where each object of a kind is.
const PLACES: &str = r#"jsonpath={range .items[*]}{.metadata.namespace}/{.metadata.name}{"\n"}{end}"#;

/// Of each Application and project its name, and the labels by which it is the platform's.
const OWNERS: &str = r#"jsonpath={range .items[*]}{.metadata.name}{"\t"}{.metadata.labels.app\.kubernetes\.io/part-of}{"\t"}{.metadata.labels.kmlflow\.dev/made-by}{"\n"}{end}"#;

/// A definition of a kind that the cluster has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    pub name: String,
    /// Whether a part of the platform, or bootstrap itself, has brought it.
    pub is_ours: bool,
}

/// The definitions of kinds that parts bring, whoever brought them.
///
/// `before` are those that the first `up` found, none where no platform is there: then nothing is its own but what was handed over by bootstrap's label.
/// Later it is what an Application of the platform brings, also where that Application is gone by now.
pub fn present(kubectl: &Kubectl, catalogue: &Catalogue, before: Option<&[String]>) -> Result<Vec<Definition>, Fault> {
    let answer = kubectl.call(&["get", "customresourcedefinitions", "--output", DEFINITIONS]).run()?;
    refuse(&answer, "the kinds of the cluster cannot be listed")?;
    let owners = owners(kubectl)?;
    let definition = |line: &str| {
        let mut fields = line.split('\t');
        let name = fields.next().unwrap_or_default().to_owned();
        let is_of_argo_cd = fields.next().unwrap_or_default().split(' ').any(|manager| manager == ARGO_CD_MANAGER);
        let has = |part: &&Component| part.has_kind(&name);
        let parts: Vec<&Component> = catalogue.components.iter().filter(has).collect();
        let is_brought = before.is_some_and(|before| !before.contains(&name))
            && match owners.get(&name) {
                Some(places) => places.iter().any(|place| {
                    place.strip_prefix("argocd/").is_some_and(|owner| parts.iter().any(|part| part.name == owner))
                }),
                None => is_of_argo_cd,
            };
        let is_ours = fields.next() == Some("bootstrap") || is_brought;
        (!parts.is_empty()).then_some(Definition { name, is_ours })
    };
    Ok(answer.stdout.lines().filter_map(definition).collect())
}

/// The places of the Applications that bring each definition, as far as any does.
fn owners(kubectl: &Kubectl) -> Result<BTreeMap<String, Vec<String>>, Fault> {
    let answer = kubectl.call(&["get", "applications.argoproj.io", "--all-namespaces", "--output", BRINGS]).run()?;
    let mut owners: BTreeMap<String, Vec<String>> = BTreeMap::new();
    if is_unknown_kind(&answer) {
        return Ok(owners);
    }
    refuse(&answer, "the Applications of the cluster cannot be listed")?;
    for line in answer.stdout.lines() {
        let mut fields = line.split('\t');
        let place = fields.next().unwrap_or_default();
        fields.for_each(|name| owners.entry(name.to_owned()).or_default().push(place.to_owned()));
    }
    Ok(owners)
}

/// Refuses parts that would take over what somebody else brought: what they take over they would take away with them.
///
/// `before` is as for [`present`].
pub fn refuse_foreign(session: &Session, before: Option<&[String]>) -> Result<(), Fault> {
    let (kubectl, profile) = (&session.kubectl, session.options.profile);
    let definitions = present(kubectl, &session.catalogue, before)?;
    let mut found: Vec<(&str, Vec<String>)> = Vec::new();
    for part in session.catalogue.applications(profile) {
        let of_part = |definition: &&Definition| part.has_kind(&definition.name) && !definition.is_ours;
        let mut foreign: Vec<String> =
            definitions.iter().filter(of_part).map(|definition| definition.name.clone()).collect();
        for object in part.kinds.iter().filter(|kind| kind.contains('/')) {
            foreign.extend(foreign_object(kubectl, object, &part.name)?);
        }
        if !foreign.is_empty() {
            found.push((&part.name, foreign));
        }
    }
    if found.is_empty() {
        return Ok(());
    }
    let told = found.iter().map(|(part, kinds)| match kinds.as_slice() {
        [one] => format!("`{part}` ({one})"),
        [first, more @ ..] => format!("`{part}` ({first} and {} more)", more.len()),
        [] => String::new(),
    });
    let what = format!(
        "the cluster has what somebody else brought, and these parts would take it over, and away with them: {}",
        told.collect::<Vec<_>>().join(", ")
    );
    let names: Vec<&str> = found.iter().map(|(part, _)| *part).collect();
    Err(Fault::new(what, cure(session, &names)?).of(Kind::Conflict))
}

/// How to go on with what is there.
fn cure(session: &Session, parts: &[&str]) -> Result<String, Fault> {
    let mut words: Vec<String> =
        parts.iter().filter(|part| **part != ARGO_CD).map(|part| format!("--without {part}")).collect();
    if !parts.contains(&ARGO_CD) {
        return Ok(format!(
            "leave them out: `{}`; or hand over what nobody else uses: `kubectl label customresourcedefinition NAME {LABEL}=bootstrap`",
            words.join(" ")
        ));
    }
    let places = argo_cds(&session.kubectl)?;
    if !places.is_empty() && !places.iter().any(|place| place == "argocd") {
        return Ok(format!(
            "its Argo CD runs in `{}`, and the platform follows one in `argocd` only, which would share its kinds: use another cluster",
            places.join("`, `")
        ));
    }
    words.insert(0, "--argo-cd present".to_owned());
    Ok(format!("use what is there: `{}`", words.join(" ")))
}

/// The namespaces in which a server of Argo CD runs.
pub fn argo_cds(kubectl: &Kubectl) -> Result<Vec<String>, Fault> {
    let servers = [
        "get",
        "deployments",
        "--all-namespaces",
        "--selector",
        "app.kubernetes.io/name=argocd-server",
        "--output",
        PLACES,
    ];
    let answer = kubectl.call(&servers).run()?;
    refuse(&answer, "the Deployments of the cluster cannot be listed")?;
    let place = |line: &str| line.split_once('/').map(|(namespace, _)| namespace.to_owned());
    Ok(answer.stdout.lines().filter_map(place).collect())
}

/// Applications and projects of an Argo CD that is there with the names of ours: applying would make them ours.
pub fn refuse_foreign_applications(session: &Session) -> Result<(), Fault> {
    let mut parts: Vec<&str> =
        session.catalogue.applications(session.options.profile).iter().map(|part| part.name.as_str()).collect();
    parts.push(ROOT);
    let kinds = "applications.argoproj.io,appprojects.argoproj.io";
    let answer = session.kubectl.call(&["get", kinds, "--namespace", "argocd", "--output", OWNERS]).run()?;
    refuse(&answer, "the Applications of the Argo CD that is there cannot be listed")?;
    let foreign = answer.stdout.lines().find_map(|line| {
        let mut fields = line.split('\t');
        let name = fields.next()?;
        let is_ours = fields.next() == Some("k5w") || fields.next() == Some("bootstrap");
        (parts.contains(&name) && !is_ours).then_some(name)
    });
    let Some(name) = foreign else { return Ok(()) };
    let what = format!("the Argo CD that is there has an Application or a project `{name}` that is somebody else's");
    let cure = match name {
        ROOT => "use another cluster, or give theirs another name".to_owned(),
        part => format!("`--without {part}` leaves ours out; or give theirs another name"),
    };
    Err(Fault::new(what, cure).of(Kind::Conflict))
}

/// An object without a namespace, as `kind/name`, where it is there and is somebody else's.
fn foreign_object(kubectl: &Kubectl, object: &str, part: &str) -> Result<Option<String>, Fault> {
    let Some(found) = kubectl.get(&[object])? else { return Ok(None) };
    let (labels, annotations) = (&found["metadata"]["labels"], &found["metadata"]["annotations"]);
    let tracking = annotations["argocd.argoproj.io/tracking-id"].as_str().unwrap_or_default();
    let is_ours = labels[LABEL] == "bootstrap" || tracking.split(':').next() == Some(part);
    Ok((!is_ours).then(|| object.to_owned()))
}

/// What becomes of the kinds that the platform brought.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Brought {
    /// Nobody else has an object of them.
    pub unused: Vec<String>,
    /// Each with the first object that keeps it.
    pub used: Vec<(String, String)>,
}

/// The kinds that the platform brought and nobody else has objects of, and those that stay with the first object that keeps them. Those that were
/// there `before` are not looked at.
pub fn to_take_away(session: &Session, before: &[String], ours: &[String]) -> Result<Brought, Fault> {
    let mut found = Brought::default();
    let brought = present(&session.kubectl, &session.catalogue, Some(before))?;
    for definition in brought.into_iter().filter(|definition| definition.is_ours && !before.contains(&definition.name))
    {
        let answer = session.kubectl.call(&["get", &definition.name, "--all-namespaces", "--output", PLACES]).run()?;
        refuse(&answer, &format!("the objects of `{}` cannot be listed", definition.name))?;
        let is_others =
            |line: &&str| line.split_once('/').is_some_and(|(namespace, _)| !ours.iter().any(|our| our == namespace));
        match answer.stdout.lines().find(is_others) {
            Some(object) => found.used.push((definition.name, object.trim_start_matches('/').to_owned())),
            None => found.unused.push(definition.name),
        }
    }
    Ok(found)
}

/// The kinds that were there at the first `up`, as its record says; none where it says nothing of them.
pub fn before(record: &Value) -> Option<Vec<String>> {
    serde_json::from_str(record["data"][BEFORE].as_str()?).ok()
}
