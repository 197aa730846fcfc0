//! A GitHub App's tokens: made for the one repository, kept, renewed before they end. octocrab signs, asks and keeps; its requests go our way,
//! with our limits, authorities and headers.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use octocrab::auth::AppAuth;
use octocrab::models::{AppId, InstallationId};
use octocrab::secrecy::ExposeSecret as _;
use octocrab::{AuthState, Octocrab, OctocrabBuilder};

use super::line::Line;
use super::{Address, App, ForgeError, Kind, Renewal, Token};

/// How long before its end a token is renewed: a fetch that begins with it may take so long. They last an hour.
pub const RENEWED_BEFORE: Duration = Duration::from_secs(600);

/// How long before its end a token is still handed out where no new one can be had for the moment.
const STILL_GOOD: Duration = Duration::from_secs(30);

/// How much of GitHub's own words an error repeats, in characters.
const WORDS_CHARS_MAX: usize = 200;

/// An App as it is installed, and its token.
pub(super) struct Installation {
    line: Arc<Line>,
    app: AppId,
    /// Where the key is read again once it is refused.
    renewal: Option<Arc<dyn Renewal>>,
    installation: InstallationId,
    /// The name of the repository that the tokens are for.
    repository: String,
    /// Held while a token is asked for, so that all who need one share it.
    current: tokio::sync::Mutex<Current>,
}

struct Current {
    key: Token,
    auth: AppAuth,
    lent: Option<Lent>,
}

struct Lent {
    client: Octocrab,
    token: Token,
}

impl Installation {
    /// An App; nothing is asked yet.
    ///
    /// # Errors
    /// Its key cannot sign.
    pub(super) fn new(line: Line, place: &Address, app: &App) -> Result<Self, ForgeError> {
        let App { id, installation, private_key, renewal } = app;
        let rule = "the file in `git.credentials.github_app.private_key_file` is no private key of a GitHub App";
        let auth = signing(AppId(*id), private_key).ok_or(ForgeError::Settings { rule })?;
        Ok(Self {
            line: Arc::new(line),
            app: AppId(*id),
            renewal: renewal.clone(),
            installation: InstallationId(*installation),
            repository: place.name().to_owned(),
            current: tokio::sync::Mutex::new(Current { key: private_key.clone(), auth, lent: None }),
        })
    }

    /// A token that is good for [`RENEWED_BEFORE`], and another one than `refused`.
    ///
    /// # Errors
    /// The forge gives none, or does not answer.
    pub(super) async fn token(&self, refused: Option<&Token>) -> Result<Token, ForgeError> {
        let mut current = self.current.lock().await;
        let token = self.token_by(&mut current, refused).await;
        if token.as_ref().is_err_and(ForgeError::is_of_who_asks)
            && let Some((key, auth)) = self.another(&current.key)
        {
            // Whoever made a new key took the old one away at the forge.
            *current = Current { key, auth, lent: None };
            return self.token_by(&mut current, refused).await;
        }
        token
    }

    /// The key that is there now and what signs by it, where it is another one than what was refused.
    fn another(&self, refused: &Token) -> Option<(Token, AppAuth)> {
        let key = self.renewal.as_ref()?.another(refused)?;
        let auth = signing(self.app, &key)?;
        Some((key, auth))
    }

    async fn token_by(&self, current: &mut Current, refused: Option<&Token>) -> Result<Token, ForgeError> {
        // What somebody else was refused may have been replaced since.
        let kept = current.lent.take().filter(|kept| Some(&kept.token) != refused);
        let had_one = kept.is_some();
        let client = match kept {
            Some(Lent { client, .. }) => client,
            None => self.client(&current.auth).map_err(|error| self.problem(&error))?,
        };
        let mut token = client.installation_token_with_buffer(period(RENEWED_BEFORE)).await;
        if had_one && token.as_ref().is_err_and(|error| self.problem(error).is_temporary()) {
            token = client.installation_token_with_buffer(period(STILL_GOOD)).await;
        }
        let token = token.map(|token| Token::new(token.expose_secret())).map_err(|error| self.problem(&error))?;
        current.lent = Some(Lent { client, token: token.clone() });
        Ok(token)
    }

    /// A client that has no token yet.
    fn client(&self, auth: &AppAuth) -> octocrab::Result<Octocrab> {
        let line = Arc::clone(&self.line);
        let service = tower::service_fn(move |request| carry(Arc::clone(&line), request));
        let built = OctocrabBuilder::new_empty().with_service(service).with_auth(AuthState::App(auth.clone()));
        let app = match built.build() {
            Ok(app) => app,
            Err(never) => match never {},
        };
        app.installation_builder(self.installation).repositories(vec![self.repository.clone()]).build()
    }

    /// What octocrab met, in our words.
    fn problem(&self, error: &octocrab::Error) -> ForgeError {
        let address = self.line.address().to_owned();
        match error {
            octocrab::Error::Service { source, .. } => match source.downcast_ref::<ForgeError>() {
                Some(error) => error.clone(),
                None => ForgeError::Broken { address },
            },
            octocrab::Error::GitHub { source, .. } => {
                let status = source.status_code.as_u16();
                if status >= 500 {
                    return ForgeError::Failing { address, status };
                }
                let (what, cure) = said(status);
                let words: String = crate::names::shown(&source.message).chars().take(WORDS_CHARS_MAX).collect();
                ForgeError::App { address, words: format!("{what} ({status}: {words})"), cure }
            }
            octocrab::Error::JWT { .. } => ForgeError::Settings { rule: "the private key of the App does not sign" },
            _ => self.line.stranger(),
        }
    }
}

impl fmt::Debug for Installation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Installation").field("installation", &self.installation).finish_non_exhaustive()
    }
}

/// Signs as an App by its key; nothing where that does not sign.
fn signing(app_id: AppId, key: &Token) -> Option<AppAuth> {
    let key = octocrab::EncodingKey::from_rsa_pem(key.expose().as_bytes()).ok()?;
    let auth = AppAuth { app_id, key };
    // A key that is read may still be none that signs.
    auth.generate_bearer_token().ok()?;
    Some(auth)
}

/// What a refusal means, and what a person can do.
fn said(status: u16) -> (&'static str, &'static str) {
    match status {
        401 => (
            "it does not know the App, or not by this key",
            "compare `git.credentials.github_app.id` and the key with the App's page, where a new key can be made (its file is read again by itself), and look at this machine's clock",
        ),
        403 => ("its installation is suspended, or may not have one", "have the owner lift the suspension of the App"),
        404 => (
            "the App is not installed there",
            "install it for the repository, and set `git.credentials.github_app.installation` to the number at the end of the installation's address",
        ),
        422 => (
            "its installation does not reach the repository",
            "add the repository to those that the App is installed for, and give the App the permissions that the README names",
        ),
        _ => ("it refuses", "look at the App's page at the forge"),
    }
}

/// octocrab's requests name only what is below the base of the API.
async fn carry(
    line: Arc<Line>,
    request: http::Request<octocrab::OctoBody>,
) -> Result<http::Response<Full<bytes::Bytes>>, ForgeError> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let body = body.collect().await.map_err(|_| line.stranger())?.to_bytes();
    let mut request = line.request(parts.method, path).headers(parts.headers).body(body);
    for (name, value) in Kind::Github.headers() {
        request = request.header(*name, *value);
    }
    let answer = line.exchange(request).await?;
    let mut response = http::Response::new(Full::from(answer.body));
    *response.status_mut() = answer.status;
    *response.headers_mut() = answer.headers;
    Ok(response)
}

fn period(duration: Duration) -> chrono::Duration {
    chrono::Duration::from_std(duration).unwrap_or_default()
}
