//! Secrets: made where they are missing, from those that are there; never changed.

use std::collections::BTreeSet;

use super::{Look, Step, repository};
use crate::catalogue::Recipe;
use crate::fault::{Fault, Kind};
use crate::kubectl::Made;
use crate::reporter::Reporter;
use crate::secrets::Known;
use crate::session::Session;

pub(super) struct Secrets;

impl Step for Secrets {
    fn name(&self) -> &'static str {
        "secrets"
    }

    fn title(&self) -> &'static str {
        "Secrets"
    }

    fn plan(&self, session: &Session) -> Result<Vec<String>, Fault> {
        let recipes = session.catalogue.secrets(session.options.profile);
        let line = |recipe: &&Recipe| {
            let keys = keys(recipe);
            match session.catalogue.sources_without_recipe(recipe).first() {
                None => format!("make {} where it is missing: {keys}", recipe.secret),
                Some(source) => format!("check that {} is there, as {source} is left out: {keys}", recipe.secret),
            }
        };
        Ok(recipes.iter().map(line).collect())
    }

    fn look(&self, session: &Session, _: &mut Reporter) -> Result<Look, Fault> {
        repository::refuse_without(session)?;
        let missing = missing(session)?;
        refuse_unmakeable(session, &missing)?;
        match missing.len() {
            0 => Ok(Look::Done(format!("{} are there", session.catalogue.secrets(session.options.profile).len()))),
            _ => Ok(Look::ToDo),
        }
    }

    fn act(&self, session: &Session, _: &mut Reporter) -> Result<String, Fault> {
        let mut known = Known::default();
        let mut made = 0;
        let recipes = session.catalogue.secrets(session.options.profile);
        for recipe in &recipes {
            made += usize::from(make(session, &mut known, recipe)? == Made::Now);
        }
        Ok(format!("{made} made, {} were there", recipes.len() - made))
    }
}

fn keys(recipe: &Recipe) -> String {
    recipe.data.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
}

/// The recipes whose Secret is not there. Each namespace is asked for the names of its own only.
fn missing(session: &Session) -> Result<Vec<&Recipe>, Fault> {
    let recipes = session.catalogue.secrets(session.options.profile);
    let namespaces: BTreeSet<&str> = recipes.iter().map(|recipe| recipe.place().0).collect();
    let mut missing = Vec::new();
    for namespace in namespaces {
        let own = recipes.iter().filter(|recipe| recipe.place().0 == namespace);
        let names: Vec<&str> = own.clone().map(|recipe| recipe.place().1).collect();
        let there = session.kubectl.names(&[&["secret"], names.as_slice(), &["--namespace", namespace]].concat())?;
        missing.extend(own.filter(|recipe| !there.iter().any(|name| name == recipe.place().1)));
    }
    Ok(missing)
}

/// Where the part with the passwords is left out somebody else has them.
fn refuse_unmakeable(session: &Session, missing: &[&Recipe]) -> Result<(), Fault> {
    let sources = |recipe: &&&Recipe| !session.catalogue.sources_without_recipe(recipe).is_empty();
    let unmakeable: Vec<&&Recipe> = missing.iter().filter(sources).collect();
    let Some(first) = unmakeable.first() else { return Ok(()) };
    let names: Vec<String> =
        unmakeable.iter().map(|recipe| format!("`{}` ({})", recipe.secret, keys(recipe))).collect();
    let what = format!(
        "these Secrets are not there, and the part that would have their passwords is left out: {}",
        names.join("; ")
    );
    let (namespace, name) = first.place();
    let cure = format!(
        "make each with its keys, such as `kubectl create secret generic {name} --namespace {namespace} --from-literal=KEY=VALUE`; docs/from-laptop-to-production.md says what belongs into them"
    );
    Err(Fault::new(what, cure).of(Kind::NotFound))
}

fn make(session: &Session, known: &mut Known, recipe: &Recipe) -> Result<Made, Fault> {
    let (namespace, name) = recipe.place();
    let find = || session.kubectl.get(&["secret", name, "--namespace", namespace]);
    if let Some(present) = find()? {
        known.take_in(&recipe.secret, &present)?;
        return Ok(Made::Before);
    }
    let object = known.make(recipe)?;
    let made = session.kubectl.create(&object.to_string(), &format!("the Secret `{}`", recipe.secret))?;
    if made == Made::Before
        && let Some(present) = find()?
    {
        // Somebody else was faster: theirs counts.
        known.take_in(&recipe.secret, &present)?;
    }
    Ok(made)
}
