//! `up`: every step, then where everything is.

use std::io::IsTerminal as _;

use crate::arguments::{General, Output, UpArguments};
use crate::checkout::Checkout;
use crate::fault::{Fault, Kind};
use crate::reporter::{Form, Reporter, seconds};
use crate::session::Session;
use crate::{addresses, answer, steps};

pub(super) fn run(asked: &UpArguments, general: &General, checkout: Checkout) -> Result<(), Fault> {
    let options = super::options(asked)?;
    let mut session = Session::new(options, checkout, general.poll, asked.timeout)?;
    addresses::refuse_others(&session.catalogue, asked)?;
    session.offline_images.clone_from(&asked.offline_images);
    if !session.checkout.platform(&session.options.follows).join("kustomization.yaml").is_file() {
        let what = format!("there is no `platform/{}`", session.options.follows);
        return Err(
            Fault::new(what, "name a folder of `platform/overlays/`, or leave `--overlay` out").of(Kind::NotFound)
        );
    }
    let mut reporter = reporter(general.output);
    let table = steps::table(&session.options, session.offline_images.is_some());
    let tally = steps::run(&table, &session, &mut reporter)?;
    let took = reporter.elapsed();
    let report = serde_json::json!({
        "event": "done", "steps": tally.done, "changed": tally.changed, "seconds": took.as_secs_f64(),
        "addresses": super::credentials::entries(&session),
    });
    match general.output {
        // A line, as everything before it.
        Output::Json => println_object(&report),
        Output::Text => answer::write(general.output, &report, || told(&session, tally, &seconds(took))),
    }
}

fn println_object(object: &serde_json::Value) -> Result<(), Fault> {
    use std::io::Write as _;
    // A reader that went away has seen enough.
    let _gone = writeln!(std::io::stdout(), "{object}");
    Ok(())
}

/// Progress goes to standard error, but for programs, for whom it is the answer.
fn reporter(output: Output) -> Reporter {
    match output {
        Output::Json => Reporter::new(Form::Json, Box::new(std::io::stdout())),
        Output::Text if std::io::stderr().is_terminal() => Reporter::new(Form::Live, Box::new(std::io::stderr())),
        Output::Text => Reporter::new(Form::Plain, Box::new(std::io::stderr())),
    }
}

fn told(session: &Session, tally: steps::Tally, took: &str) -> String {
    let what = match tally.changed {
        0 => format!("Everything was as it should be; nothing was changed ({took}).\n\n"),
        _ => format!("The platform is up ({took}).\n\n"),
    };
    let entries = super::credentials::entries(session);
    let context = match session.options.context() {
        Some(context) if context != crate::options::MINIKUBE_PROFILE => format!(" --context {context}"),
        _ => String::new(),
    };
    let trust = match session.catalogue.tls {
        true => format!(
            "  kubectl{context} get secret authority --namespace gateway --output jsonpath='{{.data.ca\\.crt}}' | base64 --decode     for browsers to trust\n"
        ),
        false => String::new(),
    };
    format!(
        "{what}{}\nNext:\n  cargo bootstrap open kmlflow{context}           the page, with a link that signs you in\n  cargo bootstrap credentials --show{context}     the passwords\n  cargo bootstrap status{context}                 how everything is\n{trust}",
        super::credentials::table(&entries)
    )
}
