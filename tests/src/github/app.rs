//! The scripted GitHub's side of an App: whether a JWT is signed by its key, and tokens.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{REPOSITORY, Shared};
use crate::environment::{TestEnvironment, succeed};

/// The numbers of the App and of its installation.
pub const APP: u64 = 4_711;
pub const INSTALLATION: u64 = 815;

/// The longest that GitHub lets a JWT last, in seconds.
const JWT_SECONDS_MAX: i64 = 600;

/// An App's key, as GitHub hands it out.
#[derive(Debug, Clone)]
pub struct AppKey {
    /// The private half: what the service is given.
    pub private: PathBuf,
    public: PathBuf,
}

impl AppKey {
    /// Makes one, by `openssl`.
    ///
    /// # Panics
    /// When that is missing or fails.
    #[track_caller]
    pub fn make(environment: &TestEnvironment, name: &str) -> Self {
        let private = environment.write(format!("{name}.pem"), "");
        let public = environment.path(format!("{name}.pub"));
        std::fs::set_permissions(&private, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("its mode");
        succeed(environment.command("openssl").args(["genrsa", "-traditional", "-out"]).arg(&private).arg("2048"));
        let mut command = environment.command("openssl");
        succeed(command.args(["rsa", "-pubout", "-in"]).arg(&private).arg("-out").arg(&public));
        Self { private, public }
    }

    /// What is wrong with a JWT.
    fn fault(&self, jwt: &str) -> Option<&'static str> {
        let unreadable = "A JSON web token could not be decoded";
        let Some((signed, signature)) = jwt.rsplit_once('.') else { return Some(unreadable) };
        let Some((header, claims)) = signed.split_once('.') else { return Some(unreadable) };
        let read = |text: &str| serde_json::from_slice::<Value>(&URL_SAFE_NO_PAD.decode(text).ok()?).ok();
        let (Some(header), Some(claims)) = (read(header), read(claims)) else { return Some(unreadable) };
        let now = Timestamp::now().as_second();
        let at = |name: &str| claims[name].as_i64().unwrap_or_default();
        if header["alg"] != "RS256" || !self.has_signed(signed, signature) {
            return Some(unreadable);
        }
        let issuer = claims["iss"].as_u64().or_else(|| claims["iss"].as_str()?.parse().ok());
        if issuer != Some(APP) {
            return Some("'Issuer' claim ('iss') must be an Integer");
        }
        if at("exp") <= now || at("exp") > now + JWT_SECONDS_MAX || at("iat") > now {
            return Some("'Expiration time' claim ('exp') is too far in the future");
        }
        None
    }

    fn has_signed(&self, text: &str, signature: &str) -> bool {
        let Ok(signature) = URL_SAFE_NO_PAD.decode(signature) else { return false };
        let (data, sig) = (self.public.with_extension("text"), self.public.with_extension("sig"));
        std::fs::write(&data, text).expect("a file");
        std::fs::write(&sig, signature).expect("a file");
        let mut command = std::process::Command::new("openssl");
        command.args(["dgst", "-sha256", "-verify"]).arg(&self.public).arg("-signature").arg(sig).arg(data);
        command.output().expect("openssl starts").status.success()
    }
}

impl Shared {
    /// Answers the request for a token of an installation.
    pub(super) fn mint(&self, installation: &str, authorization: &str, body: &Value) -> (u16, Value) {
        let no = |status: u16, message: &str| {
            (status, json!({"message": message, "documentation_url": "https://docs.github.com/rest"}))
        };
        let jwt = authorization.strip_prefix("Bearer ").unwrap_or_default();
        let key = self.state().key.clone();
        match key.map(|key| key.fault(jwt)) {
            Some(None) => {}
            Some(Some(fault)) => return no(401, fault),
            None => return no(401, "Integration not found"),
        }
        if installation != INSTALLATION.to_string() {
            return no(404, "Not Found");
        }
        let name = REPOSITORY.split('/').next_back().unwrap_or_default();
        if body["repositories"] != json!([name]) {
            return no(
                422,
                "There is at least one repository that does not exist or is not accessible to the parent installation.",
            );
        }
        let mut state = self.state();
        if state.is_suspended {
            return no(403, "This installation has been suspended");
        }
        state.minted += 1;
        let token = format!("an-app-token-of-tests-{}", state.minted);
        state.tokens.push(token.clone());
        let end = Timestamp::now().as_second() + state.lifetime;
        let mut answer = self.description.example("installation-token");
        answer["token"] = token.into();
        answer["expires_at"] = Timestamp::from_second(end).expect("a moment").to_string().into();
        (201, answer)
    }
}
