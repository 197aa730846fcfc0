//! `up`: every step, then where everything is.

use crate::arguments::{ClusterKind, General, UpArguments};
use crate::checkout::Checkout;
use crate::fault::{Fault, Kind};
use crate::kubectl::Kubectl;
use crate::options::Options;
use crate::record::Record;
use crate::reporter::seconds;
use crate::session::Session;
use crate::steps::Found;
use crate::{addresses, hints, steps};

pub(super) fn run(asked: &UpArguments, general: &General, checkout: Checkout) -> Result<(), Fault> {
    // A context that is not named may be another one at the next call.
    let current = match (asked.cluster, &asked.context) {
        (Some(ClusterKind::Existing), None) => Kubectl::current_context()?,
        _ => None,
    };
    let asked = &UpArguments { context: asked.context.clone().or(current), ..asked.clone() };
    let fresh = Options::new(asked, None)?;
    let context = fresh.context().map(str::to_owned);
    bring_up(asked, fresh, general, checkout).map_err(|fault| match &context {
        Some(context) => fault.in_context(context),
        None => fault,
    })
}

fn bring_up(asked: &UpArguments, fresh: Options, general: &General, checkout: Checkout) -> Result<(), Fault> {
    let mut reporter = super::reporter(general.output).in_context(fresh.context().map(str::to_owned));
    let found = match fresh.cluster {
        ClusterKind::Minikube => steps::wake(&mut reporter)?,
        ClusterKind::Existing => Found::Running,
    };
    let options = options(asked, fresh, found, &checkout)?.with_overlay(&checkout)?;
    let mut session = Session::new(options, checkout, general.poll, asked.timeout)?;
    addresses::refuse_others(&session.catalogue, asked)?;
    session.offline_images.clone_from(&asked.offline_images);
    let table = steps::table(&session.options, session.offline_images.is_some());
    let mut tally = steps::run(&table, &session, &mut reporter)?;
    tally.changed += usize::from(found == Found::Stopped);
    let took = reporter.elapsed();
    let report = serde_json::json!({
        "event": "done", "steps": tally.done, "changed": tally.changed, "seconds": took.as_secs_f64(),
        "addresses": super::credentials::entries(&session), "left_out": session.options.without,
    });
    super::done(general.output, &report, || told(&session, general, tally, &seconds(took)))
}

/// The options of a call, over those of the platform that is there already.
///
/// Only where there is no cluster, or no record in it, they are all there is: what was left out or set before would be lost otherwise.
fn options(asked: &UpArguments, fresh: Options, found: Found, checkout: &Checkout) -> Result<Options, Fault> {
    let record = match found {
        Found::Nothing => None,
        Found::Running | Found::Stopped => match Record::read(&Kubectl::new(fresh.context())) {
            // The steps say in their order what is missing.
            Err(fault) if fault.kind == Kind::NotFound || super::is_of_no_context(&fault) => None,
            record => record?,
        },
    };
    let Some(record) = record else {
        refuse_second(asked)?;
        return Ok(fresh);
    };
    let options = Options::new(asked, Some(&record.options))?;
    options.refuse_change(&record.options)?;
    record.refuse_move(checkout, asked)?;
    Ok(options)
}

/// Where nobody says which cluster, and the current context has a platform, another one on minikube is hardly what is meant.
fn refuse_second(asked: &UpArguments) -> Result<(), Fault> {
    let current = match asked.cluster.is_none() && asked.context.is_none() {
        true => Kubectl::current_context().unwrap_or_default(),
        false => None,
    };
    let (found, _) = super::elsewhere(current.as_slice());
    let Some(context) = found.first() else { return Ok(()) };
    let what = format!("a platform is in the cluster of the context `{context}`, and nobody said where this one goes");
    let cure = format!("`--context {context}` is about that one, `--cluster minikube` makes another on this machine");
    Err(Fault::new(what, cure).of(Kind::Conflict))
}

/// The parts that are left out, each with who says so.
fn left_out(session: &Session, ours: impl Fn(&str) -> String) -> String {
    let options = &session.options;
    let (named, absent) = (options.named_without(), &options.absent);
    let mut text = String::new();
    if !named.is_empty() {
        let takes_back = ours("up --without none");
        text.push_str(&format!("\nLeft out: {}. `{takes_back}` takes them back.\n", named.join(", ")));
    }
    if !absent.is_empty() {
        text.push_str(&format!("\nNot in `platform/{}`: {}.\n", options.follows, absent.join(", ")));
    }
    text
}

fn told(session: &Session, general: &General, tally: steps::Tally, took: &str) -> String {
    let what = match tally.changed {
        0 => format!("Everything was as it should be; nothing was changed ({took}).\n\n"),
        _ => format!("The platform is up ({took}).\n\n"),
    };
    let entries = super::credentials::entries(session);
    let ours = |words: &str| hints::ours(words, session.options.context(), general.gitops_repo.as_deref());
    let left_out = left_out(session, ours);
    let mut next = vec![
        (ours("open kmlflow"), "the page, with a link that signs you in"),
        (ours("credentials --show"), "the passwords"),
        (ours("status"), "how everything is"),
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
