//! The remote that the branch lives at, from the settings; and what is done at it before there is a service.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::{StartError, seed, settings as of};
use crate::cli::{InitWish, Moved};
use crate::clock::Clock;
use crate::command::Git;
use crate::config::{Config, ForgeKind, GitConfig, GitCredentials, SecretText, read_secret_file};
use crate::forge::{self, Access, Address, App, Forge, ForgeError, Kind, Token, TokenAccess};
use crate::git::remote::{
    Branch, Credentials, Endpoint, EndpointError, Limits, RemoteError, Renewal, Secret, Settings, SshSettings,
};
use crate::git::{self, Beginning, Begun, GitError};
use crate::worker::{DataDirLock, RemoteSettings, offline};

/// What the worker needs of a branch that lives elsewhere; nothing where it is embedded.
///
/// # Errors
/// The address or the branch cannot be used.
pub(super) fn settings(config: &GitConfig, data_dir: &Path, git: &Git) -> Result<Option<RemoteSettings>, StartError> {
    if config.is_embedded() {
        return Ok(None);
    }
    let forge = forge(config, &config.url)?.map(Arc::new);
    let remote = remote(config, &config.url, data_dir, forge.as_ref())?;
    Ok(Some(RemoteSettings { remote, git: git.clone(), poll_interval: config.poll_interval, forge }))
}

/// Gives a repository elsewhere the files that a new one begins with. One that has something already gets the policy for every model and the
/// platform only where that is asked for.
///
/// # Errors
/// The address cannot be used, the remote refuses or cannot be reached, or the service knows a history that is not there any more.
pub async fn init(config: Config, wish: InitWish) -> Result<Begun, StartError> {
    let InitWish { url, with_policy, with_platform, is_dry } = wish;
    let scratch = tempfile::tempdir().map_err(|error| no_scratch(&error))?;
    let forge = of_app(&config.git, &url)?;
    let settings = remote(&config.git, &url, scratch.path(), forge.as_ref())?;
    let git = find_git(&config).await?;
    let files = seed::seed(true);
    let with = Beginning {
        only_if_empty: seed::only_if_asked(&files, with_policy, with_platform),
        files,
        author: of::author(),
        signing_key: of::signing_key(&config.git)?,
        now: Clock::system().now(),
        is_dry,
    };
    let known = config.data_dir().join(offline::CLONE);
    Ok(git::begin(settings, &git, (scratch.path(), &known), with).await?)
}

/// Moves the embedded repository of a service that does not run to an empty one elsewhere, with its history.
///
/// # Errors
/// The service runs, there is no embedded repository, or the remote is not empty, refuses or cannot be reached.
pub async fn move_repository(config: Config, to: &str) -> Result<Moved, StartError> {
    let scratch = tempfile::tempdir().map_err(|error| no_scratch(&error))?;
    let forge = of_app(&config.git, to)?;
    let settings = remote(&config.git, to, scratch.path(), forge.as_ref())?;
    let address = settings.endpoint.to_string();
    let git = find_git(&config).await?;
    let repository = config.data_dir().join(offline::REPOSITORY);
    if !repository.is_dir() {
        return Err(StartError::new("the data directory holds no repository, so there is nothing to move")
            .cure("name the data directory of the service with --data-dir"));
    }
    let _lock = DataDirLock::take(config.data_dir())
        .map_err(|error| StartError::new(error.to_string()).cure("stop the service first"))?;
    let commit = git::relocate(settings, &git, &repository).await?;
    offline::mark_as_moved(config.data_dir(), &address).map_err(|error| {
        StartError::new(format!("all of it is at {address} now, and that could not be noted here: {}", error.kind()))
            .cure("do the same again once the data directory can be written to")
    })?;
    Ok(Moved { address, commit })
}

async fn find_git(config: &Config) -> Result<Git, StartError> {
    Git::find(config.search_path.as_deref()).await.map_err(|error| StartError::new(error.to_string()))
}

fn no_scratch(error: &std::io::Error) -> StartError {
    StartError::new(format!("no temporary directory could be made: {}", error.kind()))
        .cure("name one that can be written to by TMPDIR")
}

impl From<GitError> for StartError {
    fn from(error: GitError) -> Self {
        Self::told(&error.to_string(), error.cure())
    }
}

/// A remote by its address, with everything else as it is configured.
fn remote(config: &GitConfig, url: &str, directory: &Path, forge: Option<&Arc<Forge>>) -> Result<Settings, StartError> {
    let GitConfig {
        url: _,
        branch,
        credentials,
        forge: _,
        ca_file,
        allow_plain_http,
        push_options,
        poll_interval: _,
        signing_key_file: _,
        signing_key: _,
    } = config;
    let password = of_password(credentials);
    let renewal = match forge.filter(|_| credentials.github_app.is_set()) {
        Some(forge) => Some(of_tokens(forge)),
        None => PasswordFile::of(credentials),
    };
    Ok(Settings {
        endpoint: Endpoint::parse(url).map_err(|error| wrong("git.url", &error))?,
        branch: Branch::parse(branch).map_err(|error| wrong("git.branch", &error))?,
        credentials: password,
        renewal,
        ca_file: ca_file.clone(),
        allow_plain_http: *allow_plain_http,
        ssh: of_key(credentials),
        push_options: push_options.clone(),
        directory: directory.to_owned(),
        limits: Limits::default(),
    })
}

/// The forge that a repository is at, where an App is what lets the service in there.
fn of_app(config: &GitConfig, url: &str) -> Result<Option<Arc<Forge>>, StartError> {
    if !config.credentials.github_app.is_set() {
        return Ok(None);
    }
    Ok(forge(config, url)?.map(Arc::new))
}

/// The forge that the repository is at, where there is one.
fn forge(config: &GitConfig, url: &str) -> Result<Option<Forge>, StartError> {
    let kind = match config.forge_kind() {
        ForgeKind::None | ForgeKind::Auto => return Ok(None),
        ForgeKind::Gitea => Kind::Gitea,
        ForgeKind::Github => Kind::Github,
    };
    let address = Address::of(kind, url, config.forge.api_url.as_deref()).map_err(|rule| {
        StartError::new(format!("`git.url` {rule}, so its forge is not found"))
            .cure("set `git.forge.api_url`, or `git.forge.kind` to none")
    })?;
    if address.is_readable_on_the_way() && !config.allow_plain_http {
        let sentence = "the forge is spoken to without TLS, so everybody on the way can read the token";
        return Err(StartError::new(sentence).cure("use https, or set `git.allow_plain_http`"));
    }
    let access = match (config.credentials.github_app.parts(), config.forge_token()) {
        (Some((id, installation, key)), _) => {
            let file = config.credentials.github_app.private_key_file.clone();
            let renewal = file.map(|path| Arc::new(SecretFile(path)) as Arc<dyn forge::Renewal>);
            Access::App(App { id, installation, private_key: Token::new(key.expose()), renewal })
        }
        (None, Some(token)) => Access::Token(token_access(config, token)),
        (None, None) => return Ok(None),
    };
    Ok(Some(Forge::new(forge::Settings { kind, address, access, ca_file: config.ca_file.clone() })?))
}

/// Lends an App's tokens to the remote, where they stand for a password.
#[derive(Debug)]
struct AppTokens {
    forge: Arc<Forge>,
    /// The one that was lent last.
    lent: Mutex<Option<Token>>,
}

fn of_tokens(forge: &Arc<Forge>) -> Arc<dyn Renewal> {
    Arc::new(AppTokens { forge: Arc::clone(forge), lent: Mutex::default() })
}

impl Renewal for AppTokens {
    fn credentials(&self, is_refused: bool) -> BoxFuture<'_, Result<Option<Credentials>, RemoteError>> {
        async move {
            let refused = self.lent.lock().unwrap_or_else(PoisonError::into_inner).clone().filter(|_| is_refused);
            let token = match self.forge.app_token(refused.as_ref()).await {
                Some(token) => token.map_err(|error| no_credentials(&error))?,
                None => return Err(RemoteError::Settings { rule: "no App lets the service in" }),
            };
            *self.lent.lock().unwrap_or_else(PoisonError::into_inner) = Some(token.clone());
            Ok(Some(Credentials::token(Secret::new(token.expose()))))
        }
        .boxed()
    }
}

/// A secret that lies in a file: read again where it is not taken any more, so that whoever replaces it needs no restart.
#[derive(Debug)]
struct SecretFile(PathBuf);

impl SecretFile {
    /// What the file has now, where it is another one than what was refused. What cannot be read for a moment helps no more than that.
    fn another(&self, refused: &SecretText) -> Option<SecretText> {
        read_secret_file(&self.0).ok().filter(|read| read != refused)
    }
}

/// With what the forge's API lets the service in, and where that is read again.
fn token_access(config: &GitConfig, token: &SecretText) -> TokenAccess {
    let file = config.forge_token_file();
    let cure = match &file {
        Some((key, _)) => format!(
            "put a token that is valid, and may write code and pull requests, into the file of `{key}`, which is read again by itself"
        ),
        None => "give a token that is valid, by the environment as before or in the file of `git.forge.token_file`, and start the service again".to_owned(),
    };
    let renewal = file.map(|(_, path)| Arc::new(SecretFile(path.to_owned())) as Arc<dyn forge::Renewal>);
    TokenAccess { token: Token::new(token.expose()), cure, renewal }
}

impl forge::Renewal for SecretFile {
    fn another(&self, refused: &Token) -> Option<Token> {
        let another = self.another(&SecretText::new(refused.expose()))?;
        Some(Token::new(another.expose()))
    }
}

/// A password of the remote that lies in a file.
#[derive(Debug)]
struct PasswordFile {
    file: SecretFile,
    username: Option<String>,
    /// As it was read last.
    current: Mutex<SecretText>,
}

impl PasswordFile {
    fn of(credentials: &GitCredentials) -> Option<Arc<dyn Renewal>> {
        let file = SecretFile(credentials.password_file.clone()?);
        let (username, current) = (credentials.username.clone(), Mutex::new(credentials.password.clone()?));
        Some(Arc::new(Self { file, username, current }))
    }
}

impl Renewal for PasswordFile {
    fn credentials(&self, is_refused: bool) -> BoxFuture<'_, Result<Option<Credentials>, RemoteError>> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let password = if is_refused {
            self.file.another(&current).inspect(|another| current.clone_from(another))
        } else {
            Some(current.clone())
        };
        let credentials = password.map(|password| with_password(self.username.as_deref(), &password));
        std::future::ready(Ok(credentials)).boxed()
    }
}

fn no_credentials(error: &ForgeError) -> RemoteError {
    RemoteError::NoCredentials {
        sentence: error.to_string(),
        cure: error.cure().map(ToOwned::to_owned),
        is_transient: error.is_temporary(),
        retry_after: error.retry_after(),
    }
}

impl From<ForgeError> for StartError {
    fn from(error: ForgeError) -> Self {
        Self::told(&error.to_string(), error.cure().map(ToOwned::to_owned))
    }
}

fn of_password(credentials: &GitCredentials) -> Option<Credentials> {
    Some(with_password(credentials.username.as_deref(), credentials.password.as_ref()?))
}

fn with_password(username: Option<&str>, password: &SecretText) -> Credentials {
    let password = Secret::new(password.expose());
    match username {
        Some(username) => Credentials::Basic { username: username.to_owned(), password },
        None => Credentials::token(password),
    }
}

fn of_key(credentials: &GitCredentials) -> Option<SshSettings> {
    let GitCredentials { ssh_key_file, known_hosts_file, .. } = credentials;
    let (key, known_hosts) = (ssh_key_file.clone()?, known_hosts_file.clone()?);
    Some(SshSettings { key, known_hosts })
}

fn wrong(key: &str, error: &EndpointError) -> StartError {
    StartError::told(&format!("`{key}` cannot be used: {error}"), None)
}
