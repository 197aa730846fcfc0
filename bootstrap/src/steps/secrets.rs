//! Secrets: made where they are missing, from those that are there; never changed.

use super::{Look, Step};
use crate::catalogue::Recipe;
use crate::fault::Fault;
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
            let keys: Vec<&str> = recipe.data.keys().map(String::as_str).collect();
            format!("make {} where it is missing: {}", recipe.secret, keys.join(", "))
        };
        Ok(recipes.iter().map(line).collect())
    }

    fn look(&self, session: &Session, _: &mut Reporter) -> Result<Look, Fault> {
        let recipes = session.catalogue.secrets(session.options.profile);
        let present = session.kubectl.list(&["secrets", "--all-namespaces"])?;
        let is_there = |recipe: &&Recipe| {
            let (namespace, name) = recipe.place();
            present
                .iter()
                .any(|secret| secret["metadata"]["namespace"] == namespace && secret["metadata"]["name"] == name)
        };
        match recipes.iter().all(is_there) {
            true => Ok(Look::Done(format!("{} are there", recipes.len()))),
            false => Ok(Look::ToDo),
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
