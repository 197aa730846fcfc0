//! The commands, one file each.

mod credentials;
mod doctor;
mod down;
mod open;
mod plan;
mod render;
mod status;
mod up;
mod upgrade;

use std::path::Path;
use std::time::Duration;

use crate::addresses;
use crate::arguments::{Arguments, Command, General, Place, UpArguments};
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
        Command::Render { check, host_suffix, tls } => {
            if host_suffix.is_some() || tls {
                let catalogue = Catalogue::read(&checkout.gitops)?;
                addresses::rewrite(&checkout.gitops, &catalogue, host_suffix.as_deref(), tls)?;
            }
            render::run(check, &checkout)
        }
        Command::Status { place, watch } => status::run(&there(&place, &general, checkout)?, &general, watch),
        Command::Doctor { place } => doctor::run(&there(&place, &general, checkout)?, &general),
        Command::Open { place, service, print } => {
            open::run(&there(&place, &general, checkout)?, &general, &service, print)
        }
        Command::Credentials { place, show } => credentials::run(&there(&place, &general, checkout)?, &general, show),
        Command::Upgrade { place, diff } => upgrade::run(&there(&place, &general, checkout)?, &general, diff),
        Command::Down { place, keep_data, timeout } => down::run(&place, &general, checkout, keep_data, timeout),
    }
}

/// The session of a platform that is there.
fn there(place: &Place, general: &General, checkout: Checkout) -> Result<Session, Fault> {
    let kept = kept(&Kubectl::new(Some(context(place))))?;
    let missing = || {
        Fault::new(
            format!("there is no platform in the cluster of the context `{}`", context(place)),
            "bring it up: `cargo bootstrap up`; or name another cluster by `--context`",
        )
        .of(Kind::NotFound)
    };
    let mut options = kept.ok_or_else(missing)?;
    if place.context.is_some() {
        options.context.clone_from(&place.context);
    }
    Session::new(options, checkout, general.poll, LIMIT)
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
    let fresh = Options::new(asked, None)?;
    // Without a cluster, or without kubectl, the steps say what is missing in their order.
    let Ok(Some(kept)) = kept(&Kubectl::new(fresh.context())) else { return Ok(fresh) };
    let options = Options::new(asked, Some(&kept))?;
    options.refuse_change(&kept)?;
    Ok(options)
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
