//! The commands, one file each.

mod credentials;
mod doctor;
mod down;
mod open;
mod pin;
mod plan;
mod render;
mod status;
mod up;
mod upgrade;

use std::path::Path;
use std::time::Duration;

use crate::addresses::{self, Addresses};
use crate::arguments::{Arguments, ClusterKind, Command, General, Place, UpArguments};
use crate::catalogue::{Catalogue, Component};
use crate::checkout::Checkout;
use crate::fault::{Fault, Kind};
use crate::kubectl::Kubectl;
use crate::manifests::RECORD;
use crate::options::{MINIKUBE_PROFILE, Options};
use crate::session::Session;

/// What one answer of the cluster may take where nothing is waited for.
const LIMIT: Duration = Duration::from_secs(600);

/// Carries out a command; `here` is the working directory.
pub fn run(arguments: Arguments, here: &Path) -> Result<(), Fault> {
    let Arguments { command, general } = arguments;
    let checkout = Checkout::find(general.gitops_repo.as_deref(), here)?;
    match command {
        Command::Up(asked) => up::run(&asked, &general, checkout),
        Command::Plan(asked) => plan::run(&asked, &general, checkout),
        Command::Render { check, host_suffix, tls, no_tls, port } => {
            let catalogue = Catalogue::read(&checkout.gitops)?;
            let present = Addresses::of(&catalogue);
            let wanted = Addresses {
                suffix: host_suffix.unwrap_or_else(|| present.suffix.clone()),
                tls: (present.tls || tls) && !no_tls,
                port: port.unwrap_or(present.port),
            };
            if wanted != present {
                addresses::rewrite(&checkout.gitops, &catalogue, &wanted)?;
            }
            render::run(check, &checkout)
        }
        Command::Status { place, watch } => {
            at(&place, &general, checkout, |session| status::run(session, &general, watch))
        }
        Command::Doctor { place } => at(&place, &general, checkout, |session| doctor::run(session, &general)),
        Command::Open { place, service, print } => {
            at(&place, &general, checkout, |session| open::run(session, &general, &service, print))
        }
        Command::Credentials { place, show } => {
            at(&place, &general, checkout, |session| credentials::run(session, &general, show))
        }
        Command::Pin { place } => at(&place, &general, checkout, |session| pin::run(session, &general)),
        Command::Upgrade { place, diff } => {
            at(&place, &general, checkout, |session| upgrade::run(session, &general, diff))
        }
        Command::Down { place, keep_data, timeout } => {
            down::run(&place, &general, checkout, keep_data, timeout).map_err(|fault| fault.in_context(context(&place)))
        }
    }
}

/// Carries out a command about a platform that is there.
fn at(
    place: &Place,
    general: &General,
    checkout: Checkout,
    command: impl FnOnce(&Session) -> Result<(), Fault>,
) -> Result<(), Fault> {
    there(place, general, checkout)
        .and_then(|session| command(&session))
        .map_err(|fault| fault.in_context(context(place)))
}

/// The session of a platform that is there.
fn there(place: &Place, general: &General, checkout: Checkout) -> Result<Session, Fault> {
    let found = kept(&Kubectl::new(Some(context(place))));
    let mut options = match (found, &place.context) {
        (Ok(Some(options)), _) => options,
        (Ok(None), None) => return Err(nowhere()?),
        // Without a cluster of minikube there is no such context.
        (Err(fault), None) if fault.what.contains("does not exist") => return Err(nowhere()?),
        (Err(fault), _) => return Err(fault),
        (Ok(None), Some(context)) => return Err(missing(&format!("in the cluster of the context `{context}`"))),
    };
    if place.context.is_some() {
        options.context.clone_from(&place.context);
    }
    Session::new(options, checkout, general.poll, LIMIT)
}

/// What is wrong where nobody said which cluster and minikube's has no platform: the contexts that have one are named.
fn nowhere() -> Result<Fault, Fault> {
    let (found, silent) = elsewhere(&Kubectl::contexts()?);
    let here = format!("in the cluster of the context `{MINIKUBE_PROFILE}`");
    let told = match found.as_slice() {
        [] if silent.is_empty() => return Ok(missing(&here)),
        [] => return Ok(missing(&format!("{here}, and these do not answer: {}", silent.join(", ")))),
        found => found.iter().map(|context| format!("`--context {context}`")).collect::<Vec<_>>().join(" or "),
    };
    let what = format!("there is no platform {here}, and there is one elsewhere: {}", found.join(", "));
    Ok(Fault::new(what, format!("say which: {told}")).of(Kind::NotFound))
}

fn missing(place: &str) -> Fault {
    let cure = "bring it up: `cargo bootstrap up`; or name another cluster by `--context`";
    Fault::new(format!("there is no platform {place}"), cure).of(Kind::NotFound)
}

/// Of some contexts those whose cluster has a platform, and those that do not answer.
fn elsewhere(contexts: &[String]) -> (Vec<String>, Vec<String>) {
    let (mut found, mut silent) = (Vec::new(), Vec::new());
    for context in contexts.iter().filter(|context| *context != MINIKUBE_PROFILE) {
        match kept(&Kubectl::impatient(context)) {
            Ok(Some(_)) => found.push(context.clone()),
            Ok(None) => {}
            Err(_) => silent.push(context.clone()),
        }
    }
    (found, silent)
}

fn context(place: &Place) -> &str {
    place.context.as_deref().unwrap_or(MINIKUBE_PROFILE)
}

/// The options that the platform in the cluster was brought up with.
fn kept(kubectl: &Kubectl) -> Result<Option<Options>, Fault> {
    let (namespace, name) = RECORD;
    let Some(record) = kubectl.get(&["configmap", name, "--namespace", namespace])? else { return Ok(None) };
    let text = record["data"]["options"].as_str().unwrap_or_default();
    let options = serde_json::from_str(text).map_err(|error| {
        let what = format!("the ConfigMap `{namespace}/{name}` is not as this program writes it: {error}");
        Fault::new(
            what,
            format!(
                "`kubectl --namespace {namespace} delete configmap {name}`, then `cargo bootstrap up` with the options"
            ),
        )
    })?;
    Ok(Some(options))
}

/// The options of a call, over those of the platform that may be there already. A cluster that is not there has none.
fn options(asked: &UpArguments) -> Result<Options, Fault> {
    // A context that is not named may be another one at the next call.
    let current = match (asked.cluster, &asked.context) {
        (Some(ClusterKind::Existing), None) => Kubectl::current_context()?,
        _ => None,
    };
    let asked = &UpArguments { context: asked.context.clone().or(current), ..asked.clone() };
    let fresh = Options::new(asked, None)?;
    // Without a cluster, or without kubectl, the steps say what is missing in their order.
    let Ok(Some(kept)) = kept(&Kubectl::new(fresh.context())) else {
        refuse_second(asked)?;
        return Ok(fresh);
    };
    let options = Options::new(asked, Some(&kept))?;
    let in_context = |fault: Fault| fresh.context().map_or(fault.clone(), |context| fault.in_context(context));
    options.refuse_change(&kept).map_err(in_context)?;
    Ok(options)
}

/// Where nobody says which cluster, and the current context has a platform, another one on minikube is hardly what is meant.
fn refuse_second(asked: &UpArguments) -> Result<(), Fault> {
    let current = match asked.cluster.is_none() && asked.context.is_none() {
        true => Kubectl::current_context().unwrap_or_default(),
        false => None,
    };
    let (found, _) = elsewhere(current.as_slice());
    let Some(context) = found.first() else { return Ok(()) };
    let what = format!("a platform is in the cluster of the context `{context}`, and nobody said where this one goes");
    let cure = format!("`--context {context}` is about that one, `--cluster minikube` makes another on this machine");
    Err(Fault::new(what, cure).of(Kind::Conflict))
}

/// A part by its name, or the nearest known one in the hint.
fn part<'c>(catalogue: &'c Catalogue, name: &str) -> Result<&'c Component, Fault> {
    let missing = || {
        let known = catalogue.components.iter().filter(|part| part.address.is_some()).map(|part| part.name.as_str());
        Fault::new(
            format!("the catalogue has no `{name}` with a page"),
            format!("one of: {}", known.collect::<Vec<_>>().join(", ")),
        )
        .of(Kind::NotFound)
    };
    let wanted =
        |part: &&Component| part.address.is_some() && (part.name == name || part.address.as_deref() == Some(name));
    catalogue.components.iter().find(wanted).ok_or_else(missing)
}
