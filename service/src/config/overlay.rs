//! Laying a file and the environment over the defaults, key by key, so that a misspelt key is found and the meant one named.

use serde_yaml::{Mapping, Value};

use super::{ConfigError, DEFAULT_FILE, Environment, split_password};

/// What a variable that overrides a key begins with.
const PREFIX: &str = "KMLFLOW__";

/// Keys whose feature is not there yet, with the values that mean "without it" and are therefore accepted. `*` is any name.
const LATER: &[(&str, &[&str])] = &[
    ("prometheus.url", &["null"]),
    ("environments.*.approval", &["none"]),
    ("environments.*.freeze", &["null", "[]"]),
];

/// Where a secret can be given by the environment, and the key that names its files.
const SECRETS: &[(&str, &str)] = &[
    ("webhooks.mlflow.secret", "webhooks.mlflow.secret_files"),
    ("webhooks.generic.secret", "webhooks.generic.secret_files"),
    ("webhooks.github.secret", "webhooks.github.secret_files"),
    ("webhooks.argocd.token", "webhooks.argocd.token_files"),
    ("argocd.webhook.secret", "argocd.webhook.secret_file"),
    ("mlflow.password", "mlflow.password_file"),
    ("git.credentials.password", "git.credentials.password_file"),
    ("git.credentials.github_app.private_key", "git.credentials.github_app.private_key_file"),
    ("git.forge.token", "git.forge.token_file"),
    ("store.password", "store.password_file"),
];

/// The one address that may have a password in it, where a variable gives it.
const STORE_URL: &str = "store.url";

/// Names under which people are tempted to write a secret down.
const SECRET_WORDS: &[&str] =
    &["secret", "secrets", "token", "tokens", "password", "private_key", "ssh_key", "signing_key"];

/// Mappings whose keys the user chooses.
const FREE: &[&str] = &["monitoring.labels", "runtimes", "clusters"];

/// How alike (from 0 to 1) a sibling must be to be what was meant; below it the whole file is searched.
const ALIKE_MIN: f64 = 0.6;

/// Where a value comes from: a variable is text, a file has types.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Layer {
    File,
    Environment,
}

/// The variables that override keys, as dotted paths; those with secrets are left to `Config::read_secrets`.
pub(super) fn overlay(environment: &Environment) -> Result<Vec<(String, String)>, ConfigError> {
    let mut found = Vec::new();
    for (variable, text) in environment {
        let Some(rest) = variable.strip_prefix(PREFIX) else { continue };
        let mut segments: Vec<String> = rest.split("__").map(str::to_lowercase).collect();
        if segments.iter().any(String::is_empty) {
            return Err(ConfigError::new(
                format!("the variable {variable} names no key"),
                "write it like KMLFLOW__GIT__BRANCH",
            ));
        }
        // An environment's name has `-` where a variable can only have `_`.
        if segments.len() > 1 && segments[0] == "environments" {
            segments[1] = segments[1].replace('_', "-");
        }
        let path = segments.join(".");
        if SECRETS.iter().all(|(secret, _)| *secret != path) {
            found.push((path, text.clone()));
        }
    }
    Ok(found)
}

/// The default settings, with one entry of the default environment for each that the file names.
pub(super) fn defaults(file: &Value) -> Result<Value, ConfigError> {
    let mut settings: Value = serde_yaml::from_str(DEFAULT_FILE).map_err(|error| {
        ConfigError::new(format!("the built-in defaults are not YAML: {error}"), "this build is broken; use another")
    })?;
    if let Some(named) = file.get("environments").and_then(Value::as_mapping) {
        let template = settings["environments"]["production"].clone();
        settings["environments"] =
            Value::Mapping(named.keys().map(|name| (name.clone(), template.clone())).collect::<Mapping>());
    }
    Ok(settings)
}

/// Lays one variable over the settings.
pub(super) fn set(settings: &mut Value, path: &str, text: &str) -> Result<(), ConfigError> {
    let mut segments: Vec<&str> = path.split('.').collect();
    if let ["environments", name, ..] = segments[..]
        && settings["environments"].get(name).is_none()
    {
        let template: Value = defaults(&Value::Null)?["environments"]["production"].clone();
        settings["environments"][name] = template;
    }
    let mut layer: Value = serde_yaml::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()));
    let target = segments.iter().try_fold(&*settings, |at, segment| at.get(*segment));
    match (target, &layer) {
        (Some(Value::Sequence(_)), Value::String(_)) => {
            layer = text.split(',').map(|item| Value::String(item.trim().to_owned())).collect()
        }
        (Some(Value::String(_)), Value::Null) => layer = Value::String(String::new()),
        (Some(Value::String(_) | Value::Null), Value::Number(_) | Value::Bool(_)) => {
            layer = Value::String(text.to_owned())
        }
        _ => {}
    }
    while let Some(segment) = segments.pop() {
        layer = Value::Mapping(Mapping::from_iter([(Value::String(segment.to_owned()), layer)]));
    }
    lay_over(settings, &layer, "", Layer::Environment)
}

/// Lays `layer` over `settings` key by key; a key that the settings do not have is an error or a feature to come.
pub(super) fn lay_over(settings: &mut Value, layer: &Value, at: &str, from: Layer) -> Result<(), ConfigError> {
    let Value::Mapping(layer) = layer else {
        return if layer.is_null() {
            Ok(())
        } else {
            Err(ConfigError::new(
                format!("`{at}` must be a mapping of keys"),
                "`kmlflow serve --defaults` prints every key with its default",
            ))
        };
    };
    for (key, value) in layer {
        let key = key
            .as_str()
            .map_or_else(|| serde_yaml::to_string(key).unwrap_or_default().trim().to_owned(), str::to_owned);
        let path = if at.is_empty() { key.clone() } else { format!("{at}.{key}") };
        if is_later(&path, value)? {
            continue;
        }
        let is_secret = SECRET_WORDS.contains(&key.as_str())
            || path == STORE_URL && value.as_str().is_some_and(|url| split_password(url).1.is_some());
        if is_secret && from == Layer::File {
            return Err(inline_secret(&path));
        }
        match settings.get_mut(&key) {
            Some(known @ Value::Mapping(_)) if !FREE.contains(&path.as_str()) => lay_over(known, value, &path, from)?,
            Some(known) if value.is_null() && !known.is_null() && from == Layer::File => {}
            Some(known) => *known = value.clone(),
            None if FREE.contains(&at) => settings[key.as_str()] = value.clone(),
            None => return Err(unknown(&path, settings)),
        }
    }
    Ok(())
}

/// Whether the key belongs to a feature to come and says that it is not wanted.
fn is_later(path: &str, value: &Value) -> Result<bool, ConfigError> {
    let segments: Vec<&str> = path.split('.').collect();
    let matches = |pattern: &str| {
        let pattern: Vec<&str> = pattern.split('.').collect();
        pattern.len() >= segments.len() && pattern.iter().zip(&segments).all(|(p, s)| *p == "*" || p == s)
    };
    let mut whole =
        LATER.iter().filter(|(pattern, _)| pattern.split('.').count() == segments.len() && matches(pattern));
    if let Some((_, accepted)) = whole.next() {
        let text = serde_yaml::to_string(value).unwrap_or_default();
        let text = text.trim();
        return if accepted.contains(&text) { Ok(true) } else { Err(not_supported(path, accepted[0])) };
    }
    // A mapping that holds nothing but keys to come, such as `prometheus`.
    let group = LATER.iter().any(|(pattern, _)| pattern.split('.').count() > segments.len() && matches(pattern));
    let known = serde_yaml::from_str::<Value>(DEFAULT_FILE)
        .ok()
        .and_then(|all| segments.iter().try_fold(all, |at, segment| at.get(*segment).cloned()))
        .is_some();
    if !group || known || segments.first() == Some(&"environments") {
        return Ok(false);
    }
    let Value::Mapping(inside) = value else { return Ok(value.is_null()) };
    for (key, value) in inside {
        let path = format!("{path}.{}", key.as_str().unwrap_or_default());
        if !is_later(&path, value)? {
            return Err(unknown(&path, &Value::Null));
        }
    }
    Ok(true)
}

/// The value is not repeated: an address may have a password in it.
pub(super) fn not_supported(path: &str, instead: &str) -> ConfigError {
    let (sentence, cure) = match instead {
        "null" => (format!("`{path}` is not supported yet"), format!("leave `{path}` out")),
        _ => (
            format!("`{path}` other than `{instead}` is not supported yet"),
            format!("leave `{path}` out, or set it to `{instead}`"),
        ),
    };
    ConfigError::new(sentence, &cure)
}

fn inline_secret(path: &str) -> ConfigError {
    let known = SECRETS.iter().find(|(secret, _)| path.starts_with(secret)).map(|(_, files)| *files);
    let (what, known) = match path {
        STORE_URL => ("the password in `store.url`".to_owned(), Some("store.password_file")),
        _ => (format!("`{path}`"), known),
    };
    let cure = known.map_or_else(
        || "put it into a file that only its owner can read, and name the file".to_owned(),
        |files| format!("put it into a file that only its owner can read, and name the file in `{files}`"),
    );
    ConfigError::new(format!("{what} is a secret, and a secret never stands in the configuration"), &cure)
}

/// An unknown key, with the known one that is most like it: a sibling, else any key of the file.
fn unknown(path: &str, siblings: &Value) -> ConfigError {
    let (at, key) = path.rsplit_once('.').unwrap_or(("", path));
    let alike = |known: &str| strsim::normalized_damerau_levenshtein(known, key);
    let names = siblings.as_mapping().into_iter().flatten().filter_map(|(key, _)| key.as_str());
    let sibling = names
        .map(|name| (alike(name), name))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .filter(|(score, _)| *score >= ALIKE_MIN);
    let nearest = match sibling {
        Some((_, name)) if at.is_empty() => name.to_owned(),
        Some((_, name)) => format!("{at}.{name}"),
        None => {
            let last = |known: &String| alike(known.rsplit('.').next().unwrap_or_default());
            // Of several with one name, the one that lies nearest.
            let shared = |known: &String| known.split('.').zip(path.split('.')).take_while(|(a, b)| a == b).count();
            let nearer = |a: &String, b: &String| last(a).total_cmp(&last(b)).then(shared(a).cmp(&shared(b)));
            known_keys().into_iter().max_by(nearer).unwrap_or_default()
        }
    };
    ConfigError::new(
        format!("the configuration has no key `{}`; the nearest is `{nearest}`", crate::names::shown(path)),
        "correct its spelling, or leave it out",
    )
}

/// Every key as a dotted path.
fn known_keys() -> Vec<String> {
    fn walk(value: &Value, at: &str, into: &mut Vec<String>) {
        for (key, value) in value.as_mapping().into_iter().flatten() {
            let path = [at, key.as_str().unwrap_or_default()].join(if at.is_empty() { "" } else { "." });
            walk(value, &path, into);
            into.push(path);
        }
    }
    let mut keys = Vec::new();
    walk(&serde_yaml::from_str(DEFAULT_FILE).unwrap_or_default(), "", &mut keys);
    keys
}
