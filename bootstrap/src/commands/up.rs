//! `up`: every step, then where everything is.

use std::io::IsTerminal as _;

use crate::arguments::{General, Output, UpArguments};
use crate::checkout::Checkout;
use crate::fault::Fault;
use crate::reporter::{Form, Reporter, seconds};
use crate::session::Session;
use crate::{addresses, answer, hints, steps};

pub(super) fn run(asked: &UpArguments, general: &General, checkout: Checkout) -> Result<(), Fault> {
    let options = super::options(asked)?.with_overlay(&checkout)?;
    let mut session = Session::new(options, checkout, general.poll, asked.timeout)?;
    addresses::refuse_others(&session.catalogue, asked)?;
    session.offline_images.clone_from(&asked.offline_images);
    let context = session.options.context().map(str::to_owned);
    let mut reporter = reporter(general.output, context.clone());
    let table = steps::table(&session.options, session.offline_images.is_some());
    let ran = steps::run(&table, &session, &mut reporter);
    let tally = ran.map_err(|fault| match &context {
        Some(context) => fault.in_context(context),
        None => fault,
    })?;
    let took = reporter.elapsed();
    let report = serde_json::json!({
        "event": "done", "steps": tally.done, "changed": tally.changed, "seconds": took.as_secs_f64(),
        "addresses": super::credentials::entries(&session), "left_out": session.options.without,
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
fn reporter(output: Output, context: Option<String>) -> Reporter {
    let reporter = match output {
        Output::Json => Reporter::new(Form::Json, Box::new(std::io::stdout())),
        Output::Text if std::io::stderr().is_terminal() => Reporter::new(Form::Live, Box::new(std::io::stderr())),
        Output::Text => Reporter::new(Form::Plain, Box::new(std::io::stderr())),
    };
    reporter.in_context(context)
}

fn told(session: &Session, tally: steps::Tally, took: &str) -> String {
    let what = match tally.changed {
        0 => format!("Everything was as it should be; nothing was changed ({took}).\n\n"),
        _ => format!("The platform is up ({took}).\n\n"),
    };
    let entries = super::credentials::entries(session);
    let context = session.options.context();
    let left_out = session.left_out().map_or_else(String::new, |parts| {
        format!("\nLeft out: {parts}. `{}` takes back what was named.\n", hints::ours("up --without none", context))
    });
    let mut next = vec![
        (hints::ours("open kmlflow", context), "the page, with a link that signs you in"),
        (hints::ours("credentials --show", context), "the passwords"),
        (hints::ours("status", context), "how everything is"),
    ];
    if session.catalogue.tls {
        let authority =
            ["get", "secret", "authority", "--namespace", "gateway", "--output", r"jsonpath={.data.ca\.crt}"];
        next.push((
            format!("{} | base64 --decode", session.kubectl.call(&authority).line()),
            "the authority for browsers to trust",
        ));
    }
    let width = next.iter().map(|(command, _)| command.len()).max().unwrap_or_default();
    let lines = next.iter().map(|(command, what)| format!("  {command:<width$}  {what}\n"));
    format!("{what}{}{left_out}\nNext:\n{}", super::credentials::table(&entries), lines.collect::<String>())
}
