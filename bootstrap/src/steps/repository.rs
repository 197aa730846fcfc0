//! The token that Argo CD reads the repository with: made by the service, kept in Argo CD's namespace.

use serde_json::Value;

use super::{Look, Step};
use crate::fault::{Fault, Kind};
use crate::kubectl::refuse;
use crate::manifests;
use crate::reporter::Reporter;
use crate::session::Session;

pub(super) struct Token;

const MAKE: [&str; 9] = ["kmlflow", "token", "create", "--role", "viewer", "--name", "argocd", "--output", "json"];

impl Step for Token {
    fn name(&self) -> &'static str {
        "repository"
    }

    fn title(&self) -> &'static str {
        "Argo CD's way to the repository"
    }

    fn plan(&self, session: &Session) -> Result<Vec<String>, Fault> {
        if !session.repository.is_embedded() {
            return Ok(vec![format!("check that argocd/repository is there, for {}", session.repository.url)]);
        }
        Ok(vec![
            format!("run in the service's pod, where the Secret is missing: {}", MAKE.join(" ")),
            format!("make argocd/repository for {}", session.repository.url),
        ])
    }

    fn look(&self, session: &Session, _: &mut Reporter) -> Result<Look, Fault> {
        refuse_without(session)?;
        match session.kubectl.get(&["secret", "repository", "--namespace", "argocd"])? {
            Some(_) => Ok(Look::Done("it has a token".to_owned())),
            None => Ok(Look::ToDo),
        }
    }

    fn act(&self, session: &Session, _: &mut Reporter) -> Result<String, Fault> {
        let answer = session.kubectl.exec("k5w", "statefulset/kmlflow", &MAKE)?;
        // Its words would be the token, where it wrote one: they are not passed on.
        if !answer.is_success() {
            let quiet = crate::program::Answer { stdout: String::new(), ..answer };
            return refuse(&quiet, "the service made no token").map(|()| String::new());
        }
        let made: Value = serde_json::from_str(&answer.stdout).unwrap_or_default();
        let no_token =
            || Fault::new("the service answered without a token", "use a service and a bootstrap of the same checkout");
        let token = made["token"].as_str().ok_or_else(no_token)?;
        let secret = manifests::repository_secret(&session.repository, token);
        session.kubectl.create(&secret, "the Secret `argocd/repository`")?;
        Ok("a token was made".to_owned())
    }
}

/// The service makes no token for somebody else's Git server, and Argo CD would present it there: whoever has the repository makes the Secret.
pub(super) fn refuse_without(session: &Session) -> Result<(), Fault> {
    if session.repository.is_embedded()
        || session.kubectl.get(&["secret", "repository", "--namespace", "argocd"])?.is_some()
    {
        return Ok(());
    }
    let what = format!(
        "there is no Secret `argocd/repository`, by which Argo CD reads {}: nobody but you can make it",
        session.repository
    );
    let cure = "make it with `type`, `url`, `username`, `password` and its label; docs/from-laptop-to-production.md lists it and the others that a repository of yours needs";
    Err(Fault::new(what, cure).of(Kind::NotFound))
}
