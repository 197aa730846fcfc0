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

use std::io::{IsTerminal as _, Write as _};
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::addresses::Addresses;
use crate::answer;
use crate::arguments::{Arguments, Command, General, Output, Place};
use crate::catalogue::{Catalogue, Component};
use crate::checkout::Checkout;
use crate::fault::{Fault, Kind};
use crate::hints;
use crate::kubectl::Kubectl;
use crate::options::MINIKUBE_PROFILE;
use crate::record::Record;
use crate::reporter::{Form, Reporter};
use crate::session::Session;

/// What one answer of the cluster may take where nothing is waited for.
const LIMIT: Duration = Duration::from_secs(600);

/// Carries out a command; `here` is the working directory.
pub fn run(arguments: Arguments, here: &Path) -> Result<(), Fault> {
    let gitops_repo = arguments.general.gitops_repo.clone();
    carry_out(arguments, here).map_err(|fault| match &gitops_repo {
        Some(directory) => Fault { cure: hints::with_manifests(&fault.cure, directory), ..fault },
        None => fault,
    })
}

fn carry_out(arguments: Arguments, here: &Path) -> Result<(), Fault> {
    let Arguments { command, general } = arguments;
    let checkout = Checkout::find(general.gitops_repo.as_deref(), here)?;
    match command {
        Command::Up(asked) => up::run(&asked, &general, checkout),
        Command::Plan(asked) => plan::run(&asked, &general, checkout),
        Command::Render { check, host_suffix, tls, no_tls, port } => {
            let wanted = |present: Addresses| Addresses {
                suffix: host_suffix.unwrap_or(present.suffix),
                tls: (present.tls || tls) && !no_tls,
                port: port.unwrap_or(present.port),
            };
            render::run(check, wanted, &general, &checkout)
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
    let found = Record::read(&Kubectl::new(Some(context(place))));
    let mut options = match (found, &place.context) {
        (Ok(Some(record)), _) => record.options,
        (Ok(None), None) => return Err(nowhere()?),
        // Without a cluster of minikube there is no such context.
        (Err(fault), None) if is_of_no_context(&fault) => return Err(nowhere()?),
        (Err(fault), _) => return Err(fault),
        (Ok(None), Some(context)) => return Err(missing(&format!("in the cluster of the context `{context}`"))),
    };
    if place.context.is_some() {
        options.context.clone_from(&place.context);
    }
    Session::new(options, checkout, general.poll, LIMIT)
}

fn is_of_no_context(fault: &Fault) -> bool {
    fault.what.contains("context") && fault.what.contains("does not exist")
}

const HERE: &str = "in the cluster of the context `k5w`";

/// What is wrong where nobody said which cluster and minikube's has no platform.
fn nowhere() -> Result<Fault, Fault> {
    Ok(perhaps_elsewhere()?.unwrap_or_else(|| missing(HERE)))
}

/// What is wrong where minikube has no platform and other contexts have one, or do not answer.
fn perhaps_elsewhere() -> Result<Option<Fault>, Fault> {
    let (found, silent) = elsewhere(&Kubectl::contexts()?);
    let told = match found.as_slice() {
        [] if silent.is_empty() => return Ok(None),
        [] => return Ok(Some(missing(&format!("{HERE}, and these do not answer: {}", silent.join(", "))))),
        found => found.iter().map(|context| format!("`--context {context}`")).collect::<Vec<_>>().join(" or "),
    };
    let what = format!("there is no platform {HERE}, and there is one elsewhere: {}", found.join(", "));
    Ok(Some(Fault::new(what, format!("say which: {told}")).of(Kind::NotFound)))
}

fn missing(place: &str) -> Fault {
    let cure = "bring it up: `cargo bootstrap up`; or name another cluster by `--context`";
    Fault::new(format!("there is no platform {place}"), cure).of(Kind::NotFound)
}

/// Of some contexts those whose cluster has a platform, and those that do not answer.
fn elsewhere(contexts: &[String]) -> (Vec<String>, Vec<String>) {
    let (mut found, mut silent) = (Vec::new(), Vec::new());
    for context in contexts.iter().filter(|context| *context != MINIKUBE_PROFILE) {
        match Record::read(&Kubectl::impatient(context)) {
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

/// The last event of a command that has steps: for programs a line, as every event before it.
fn done(output: Output, event: &Value, text: impl FnOnce() -> String) -> Result<(), Fault> {
    match output {
        Output::Json => {
            // A reader that went away has seen enough.
            let _gone = writeln!(std::io::stdout(), "{event}");
            Ok(())
        }
        Output::Text => answer::write(output, event, text),
    }
}

/// How progress is written, to standard error: what a command answers is alone on standard output.
fn reporter(output: Output) -> Reporter {
    let form = match output {
        Output::Json => Form::Json,
        Output::Text if std::io::stderr().is_terminal() => Form::Live,
        Output::Text => Form::Plain,
    };
    Reporter::new(form, Box::new(std::io::stderr()))
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
