//! What Argo CD reads the repository with: a token of the release service where the repository is inside it, else what somebody gave.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::secrets::PAGE;
use super::{Look, Step};
use crate::fault::{Fault, Kind};
use crate::kubectl::refuse;
use crate::manifests;
use crate::program::Answer;
use crate::reporter::Reporter;
use crate::session::Session;

pub(super) struct Token;

/// The name and the role of the token.
const NAME: &str = "argocd";
const ROLE: &str = "viewer";

const MAKE: [&str; 9] = ["kmlflow", "token", "create", "--role", ROLE, "--name", NAME, "--output", "json"];
const LIST: [&str; 5] = ["kmlflow", "token", "list", "--output", "json"];
const REVOKE: [&str; 3] = ["kmlflow", "token", "revoke"];

/// By which Argo CD knows that a Secret is about a repository.
const LABEL: &str = "argocd.argoproj.io/secret-type";

impl Step for Token {
    fn name(&self) -> &'static str {
        "repository"
    }

    fn title(&self) -> &'static str {
        "Argo CD's way to the repository"
    }

    fn plan(&self, session: &Session) -> Result<Vec<String>, Fault> {
        let url = &session.repository.url;
        if !session.repository.is_embedded() {
            return Ok(vec![format!("check that argocd/repository is there and for {url}; {PAGE} says what it has")]);
        }
        Ok(vec![
            format!("run in the service's pod, where the Secret is missing: {}", LIST.join(" ")),
            format!("run there for each `{NAME}` of an earlier run: {} ID", REVOKE.join(" ")),
            format!("run there: {}", MAKE.join(" ")),
            format!("make argocd/repository for {url}"),
        ])
    }

    fn look(&self, session: &Session, _: &mut Reporter) -> Result<Look, Fault> {
        let secret = session.kubectl.get(&["secret", "repository", "--namespace", "argocd"])?;
        match secret {
            Some(secret) => {
                refuse_another(session, &secret).map(|()| Look::Done("Argo CD has what it needs".to_owned()))
            }
            None if session.repository.is_embedded() => Ok(Look::ToDo),
            // Our token is nothing to show to somebody else's server.
            None => {
                let what = format!("the Secret `argocd/repository` for {} is not there", session.repository.url);
                Err(Fault::new(what, format!("make it as {PAGE} says")).of(Kind::NotFound))
            }
        }
    }

    fn act(&self, session: &Session, _: &mut Reporter) -> Result<String, Fault> {
        revoke_lost(session)?;
        let answer = in_service(session, &MAKE)?;
        // Its words would be the token, where it wrote one: they are not passed on.
        if !answer.is_success() {
            let quiet = Answer { stdout: String::new(), ..answer };
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

fn in_service(session: &Session, command: &[&str]) -> Result<Answer, Fault> {
    session.kubectl.exec("k5w", "statefulset/kmlflow", command)
}

/// Revokes what earlier runs made and did not come to write down: nobody has it, and it would be good for ever.
fn revoke_lost(session: &Session) -> Result<(), Fault> {
    let answer = in_service(session, &LIST)?;
    refuse(&answer, "the service does not list its tokens")?;
    let listed: Value = serde_json::from_str(&answer.stdout).unwrap_or_default();
    let is_lost = |token: &&Value| token["name"] == NAME && token["role"] == ROLE && !token["revokedAt"].is_string();
    for token in listed["items"].as_array().into_iter().flatten().filter(is_lost) {
        let id = token["id"].as_str().unwrap_or_default();
        refuse(&in_service(session, &[&REVOKE[..], &[id]].concat())?, "a token that nobody has could not be revoked")?;
    }
    Ok(())
}

/// A Secret that is there must be one that Argo CD takes for this repository.
fn refuse_another(session: &Session, secret: &Value) -> Result<(), Fault> {
    if secret["metadata"]["labels"][LABEL] != "repository" {
        let cure = format!("`kubectl label secret repository --namespace argocd {LABEL}=repository --overwrite`");
        let what =
            format!("the Secret `argocd/repository` has no label `{LABEL}=repository`, so Argo CD does not read it");
        return Err(Fault::new(what, cure).of(Kind::Refused));
    }
    let bytes = STANDARD.decode(secret["data"]["url"].as_str().unwrap_or_default()).unwrap_or_default();
    let wants = session.repository.url.as_str();
    if plain(&String::from_utf8_lossy(&bytes)) == plain(wants) {
        return Ok(());
    }
    let next = match session.repository.is_embedded() {
        true => "`cargo bootstrap up` makes another".to_owned(),
        false => format!("make it anew as {PAGE} says"),
    };
    let cure = format!("`kubectl delete secret repository --namespace argocd`, then {next}");
    // Its address may have a password in it.
    let what =
        format!("the Secret `argocd/repository` is for another repository than {wants}, which the platform follows");
    Err(Fault::new(what, cure).of(Kind::Conflict))
}

/// An address as Argo CD compares it.
fn plain(url: &str) -> String {
    let lower = url.trim().to_lowercase();
    let end = lower.trim_end_matches('/');
    end.strip_suffix(".git").unwrap_or(end).to_owned()
}
