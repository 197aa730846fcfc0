//! Secrets: made where they are missing, from those that are there; never changed.

use std::collections::{BTreeMap, BTreeSet};

use super::{Look, Step};
use crate::arguments::ArgoCd;
use crate::catalogue::Recipe;
use crate::fault::{Fault, Kind};
use crate::kubectl::Made;
use crate::overlay;
use crate::reporter::Reporter;
use crate::secrets::Known;
use crate::session::Session;

pub(super) struct Secrets;

/// The page that says which Secrets somebody makes, and what belongs into them.
pub(super) const PAGE: &str = "docs/from-laptop-to-production.md";

/// The folder of several release services, which is how a plan knows of them.
const REPLICAS: &str = "kmlflow-replicas";

/// A Secret that must be there with these keys.
struct Wanted<'s> {
    secret: &'s str,
    keys: Vec<&'s str>,
    /// Why somebody else makes it; bootstrap does where there is no reason.
    given: Option<String>,
}

/// The Secrets that are there, with their keys.
type Present = BTreeMap<String, BTreeSet<String>>;

impl Wanted<'_> {
    fn place(&self) -> (&str, &str) {
        self.secret.split_once('/').unwrap_or(("default", self.secret))
    }
}

impl Step for Secrets {
    fn name(&self) -> &'static str {
        "secrets"
    }

    fn title(&self) -> &'static str {
        "Secrets"
    }

    fn plan(&self, session: &Session) -> Result<Vec<String>, Fault> {
        let line = |wanted: &Wanted| {
            let keys = wanted.keys.join(", ");
            match &wanted.given {
                None => format!("make {} where it is missing: {keys}", wanted.secret),
                Some(why) => format!("check that {} is there, as {why}: {keys}", wanted.secret),
            }
        };
        let all = wanted(session);
        let page = all
            .iter()
            .any(|wanted| wanted.given.is_some())
            .then(|| format!("{PAGE} says what belongs into those that must be there"));
        Ok(all.iter().map(line).chain(page).collect())
    }

    fn look(&self, session: &Session, reporter: &mut Reporter) -> Result<Look, Fault> {
        let wanted = wanted(session);
        let present = present(session, &wanted)?;
        let missing: Vec<&Wanted> = wanted.iter().filter(|wanted| !present.contains_key(wanted.secret)).collect();
        refuse_missing(&missing)?;
        if !missing.is_empty() {
            // What lacks a key may need the value of one that is made now.
            return Ok(Look::ToDo);
        }
        refuse_incomplete(session, &wanted, &present)?;
        warn_of_lent(session, &wanted, &present, reporter);
        Ok(Look::Done(format!("{} are there", wanted.len())))
    }

    fn act(&self, session: &Session, reporter: &mut Reporter) -> Result<String, Fault> {
        let wanted = wanted(session);
        let present = present(session, &wanted)?;
        let mut known = Known::default();
        let mut made = 0;
        for recipe in session.catalogue.secrets(session.options.profile) {
            let one = make(session, &mut known, recipe);
            // Where another lacks the key that this one is made from, that is what is to be told.
            let one = one.or_else(|fault| refuse_incomplete(session, &wanted, &present).and(Err(fault)))?;
            made += usize::from(one == Made::Now);
        }
        refuse_incomplete(session, &wanted, &present)?;
        warn_of_lent(session, &wanted, &present, reporter);
        Ok(format!("{made} made, {} were there", wanted.len() - made))
    }
}

/// Every Secret that these options need: those of the recipes, and those that somebody makes.
fn wanted(session: &Session) -> Vec<Wanted<'_>> {
    let of = |recipe: &'_ Recipe| {
        let source = session.catalogue.sources_without_recipe(recipe).first().map(|source| (*source).to_owned());
        source.map(|source| format!("{source} is left out"))
    };
    let recipes = session.catalogue.secrets(session.options.profile).into_iter().map(|recipe| Wanted {
        secret: &recipe.secret,
        keys: recipe.data.keys().map(String::as_str).collect(),
        given: of(recipe),
    });
    recipes.chain(given(session)).collect()
}

/// What no recipe makes: where the repository or the service's database is elsewhere, somebody has what opens it.
fn given(session: &Session) -> Vec<Wanted<'static>> {
    let mut all = Vec::new();
    if overlay::takes_in(&session.checkout.platform(""), &session.options.follows, REPLICAS) {
        let replicas = Some("the release service has replicas".to_owned());
        all.push(Wanted { secret: "k5w/kmlflow-store", keys: vec!["password", "ca.crt"], given: replicas.clone() });
        all.push(Wanted { secret: "k5w/kmlflow-git", keys: vec!["password"], given: replicas });
    }
    if !session.repository.is_embedded() {
        let why = Some(format!("the repository is {}", session.repository.url));
        all.push(Wanted { secret: "argocd/repository", keys: vec!["type", "url"], given: why });
    }
    all
}

/// The keys of those that are there. Each namespace is asked for its own only, and for no value.
fn present(session: &Session, wanted: &[Wanted]) -> Result<Present, Fault> {
    let namespaces: BTreeSet<&str> = wanted.iter().map(|wanted| wanted.place().0).collect();
    let mut present = Present::new();
    for namespace in namespaces {
        let own = wanted.iter().filter(|wanted| wanted.place().0 == namespace);
        let names: Vec<&str> = own.map(|wanted| wanted.place().1).collect();
        for (name, keys) in session.kubectl.keys_of_secrets(namespace, &names)? {
            present.insert(format!("{namespace}/{name}"), keys);
        }
    }
    Ok(present)
}

/// What bootstrap cannot make must be there before it.
fn refuse_missing(missing: &[&Wanted]) -> Result<(), Fault> {
    let given: Vec<&&Wanted> = missing.iter().filter(|wanted| wanted.given.is_some()).collect();
    let Some(first) = given.first() else { return Ok(()) };
    let names: Vec<String> = given
        .iter()
        .map(|wanted| {
            let why = wanted.given.as_deref().unwrap_or_default();
            format!("`{}` ({}), as {why}", wanted.secret, wanted.keys.join(", "))
        })
        .collect();
    let what =
        format!("these Secrets are not there, and somebody else has what belongs into them: {}", names.join("; "));
    let (namespace, name) = first.place();
    let cure = format!(
        "make each with its keys, such as `kubectl create secret generic {name} --namespace {namespace} --from-file=KEY=FILE`; {PAGE} says what belongs into them"
    );
    Err(Fault::new(what, cure).of(Kind::NotFound))
}

/// A Secret that is there and lacks a key would be found out by a pod that does not start.
fn refuse_incomplete(session: &Session, wanted: &[Wanted], present: &Present) -> Result<(), Fault> {
    match told_incomplete(wanted.iter().filter(|wanted| !is_lent(session, wanted)), present) {
        Some((what, cure)) => Err(Fault::new(what, cure).of(Kind::NotFound)),
        None => Ok(()),
    }
}

/// Each Argo CD brings an empty Secret for its notifications; without them the service watches it alone.
fn warn_of_lent(session: &Session, wanted: &[Wanted], present: &Present, reporter: &mut Reporter) {
    if let Some((what, cure)) = told_incomplete(wanted.iter().filter(|wanted| is_lent(session, wanted)), present) {
        reporter.warn(&what, &cure);
    }
}

/// Whether it is of an Argo CD that is somebody else's.
fn is_lent(session: &Session, wanted: &Wanted) -> bool {
    session.options.argo_cd == ArgoCd::Present && wanted.given.is_none() && wanted.place().0 == "argocd"
}

/// The keys that are missing in Secrets that are there, with the cure.
fn told_incomplete<'w>(wanted: impl Iterator<Item = &'w Wanted<'w>>, present: &Present) -> Option<(String, String)> {
    let lacking = |wanted: &'w Wanted<'w>| {
        let keys = present.get(wanted.secret)?;
        let missing: Vec<&str> = wanted.keys.iter().copied().filter(|key| !keys.contains(*key)).collect();
        (!missing.is_empty()).then(|| (wanted, format!("`{}` lacks `{}`", wanted.secret, missing.join("`, `"))))
    };
    let all: Vec<(&Wanted, String)> = wanted.filter_map(lacking).collect();
    let (first, _) = all.first()?;
    let told: Vec<&str> = all.iter().map(|(_, told)| told.as_str()).collect();
    let (namespace, name) = first.place();
    let place = match first.given {
        Some(_) => PAGE,
        None => "`secrets` of gitops-repo/platform/catalogue.yaml",
    };
    let cure = format!(
        "add each key below `stringData` (`kubectl edit secret {name} --namespace {namespace}`), as bootstrap changes none that is there; {place} says what belongs into it"
    );
    Some((format!("these Secrets are there without keys that are read: {}", told.join("; ")), cure))
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
