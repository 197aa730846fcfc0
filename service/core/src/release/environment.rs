//! Environment variables of a model's container: what they may be called, and which values must not stand in a repository.

use super::{EnvVar, Violations, is_object_name};

/// The most environment variables of a variant.
const ENV_MAX: usize = 100;

/// The most bytes of all names and values of a variant together. The engine's container carries its whole predictor in one variable, in
/// base64, and Linux takes 128 KiB for one: more would keep it from starting.
const ENV_BYTES_MAX: usize = 64 * 1024;

/// The longest value of one environment variable in bytes.
const ENV_VALUE_BYTES_MAX: usize = 8 * 1024;

/// Names that make the operator drop the rest of a container's environment (seen on Seldon 1.17.1, `mlserver.go` and
/// `seldondeployment_prepackaged_servers.go`).
pub const ENV_NAMES_THAT_WIPE: [&str; 6] = [
    "MLSERVER_HTTP_PORT",
    "MLSERVER_GRPC_PORT",
    "MLSERVER_MODEL_URI",
    "PREDICTIVE_UNIT_HTTP_SERVICE_PORT",
    "PREDICTIVE_UNIT_GRPC_SERVICE_PORT",
    "PREDICTIVE_UNIT_PARAMETERS",
];

/// Parts of a name that say its value is a secret, wherever in it they are.
const SECRET_PARTS: [&str; 4] = ["KEY", "TOKEN", "SECRET", "PASSWORD"];

/// Whole words of a name that say so; inside a longer word (`COMPASS`) they mean nothing.
const SECRET_WORDS: [&str; 5] = ["PASS", "PASSWD", "PASSPHRASE", "CREDENTIAL", "CREDENTIALS"];

/// Notes what is wrong with the variables of a variant; `at` is their path in the request.
pub(super) fn check_env(env: &[EnvVar], at: &str, found: &mut Violations) {
    for (i, variable) in env.iter().enumerate() {
        variable.check(&format!("{at}[{i}]"), found);
        let doubled = env[..i].iter().any(|other| other.name == variable.name);
        found.require(!doubled, &format!("{at}[{i}].name"), "is there twice");
    }
    found.require(env.len() <= ENV_MAX, at, "has more than 100 variables");
    let bytes: usize = env.iter().map(|v| v.name.len() + v.value.as_ref().map_or(0, String::len)).sum();
    found.require(
        bytes <= ENV_BYTES_MAX,
        at,
        "has more than 64 KiB of names and values: what is larger belongs into the image or the artifact",
    );
}

impl EnvVar {
    /// Whether it gives a literal value to a name that says it is a secret, or an address with a password in it.
    pub fn is_literal_secret(&self) -> bool {
        let Some(value) = &self.value else { return false };
        let name = self.name.to_ascii_uppercase();
        let is_named = SECRET_PARTS.iter().any(|part| name.contains(part));
        // A path says where the secret lies, as in `GOOGLE_APPLICATION_CREDENTIALS`.
        let is_word = !value.starts_with('/') && name.split(['_', '-', '.']).any(|word| SECRET_WORDS.contains(&word));
        is_named || is_word || has_password(value)
    }

    fn check(&self, at: &str, found: &mut Violations) {
        found.require(is_env_name(&self.name), &format!("{at}.name"), "is not the name of an environment variable");
        let wipes = ENV_NAMES_THAT_WIPE.contains(&self.name.as_str());
        found.require(
            !wipes,
            &format!("{at}.name"),
            &format!("is `{}`, which Seldon sets: the container would lose all its other variables", self.name),
        );
        found.require(
            self.value.is_some() != self.value_from.is_some(),
            at,
            "must have exactly one of `value` and `valueFrom`",
        );
        found.require(
            !self.is_literal_secret(),
            &format!("{at}.value"),
            "looks like a secret, which would end up in Git: use `valueFrom.secretKeyRef`",
        );
        found.require(
            self.value.as_ref().is_none_or(|v| v.len() <= ENV_VALUE_BYTES_MAX),
            &format!("{at}.value"),
            "is longer than 8 KiB",
        );
        if let Some(source) = &self.value_from {
            found.require(
                is_object_name(&source.secret_key_ref.name),
                at,
                "names a Secret with a name that Kubernetes would refuse",
            );
        }
    }
}

/// Whether an address in the text has a password (`postgres://user:password@host`). One that Kubernetes fills in from another variable,
/// `$(NAME)`, is none.
fn has_password(value: &str) -> bool {
    value.split("://").skip(1).any(|rest| {
        let authority = rest.split(['/', '?', '#', ' ', ',']).next().unwrap_or_default();
        let password =
            authority.rsplit_once('@').and_then(|(user, _)| user.split_once(':')).map(|(_, password)| password);
        password.is_some_and(|text| !(text.is_empty() || text.starts_with("$(") && text.ends_with(')')))
    })
}

/// Whether Kubernetes takes it as the name of an environment variable.
pub(crate) fn is_env_name(text: &str) -> bool {
    (1..=253).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
        && !text.starts_with(|c: char| c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn literal(name: &str, value: &str) -> EnvVar {
        EnvVar { name: name.to_owned(), value: Some(value.to_owned()), value_from: None }
    }

    #[test]
    fn a_secret_is_seen_by_its_name_or_its_value() {
        for (name, value) in [
            ("API_KEY", "x"),
            ("apiToken", "x"),
            ("SECRETS", "x"),
            ("DB_PASSWORD", "x"),
            ("DB_PASSWD", "x"),
            ("SMTP_PASS", "x"),
            ("pass", "x"),
            ("SSH-PASSPHRASE", "x"),
            ("AZURE_CREDENTIAL", "x"),
            ("DATABASE_URL", "postgres://u:hunter2@db/x"),
            ("BROKERS", "amqp://a,amqp://u:hunter2@b:5672/x"),
            ("PROXY", "http://:hunter2@proxy:3128"),
        ] {
            assert!(literal(name, value).is_literal_secret(), "{name}={value}");
        }
    }

    #[test]
    fn what_only_resembles_a_secret_passes() {
        for (name, value) in [
            ("COMPASS", "north"),
            ("BYPASS_CACHE", "1"),
            ("PASSES", "3"),
            ("GOOGLE_APPLICATION_CREDENTIALS", "/var/run/gcp.json"),
            ("DATABASE_URL", "postgres://db/x"),
            ("DATABASE_URL", "postgres://u@db:5432/x"),
            ("DATABASE_URL", "postgres://u:$(DB_PASS)@db/x"),
            ("ENDPOINT", "http://host:8080/a:b@c"),
            ("NOTE", "at 10:30 ask ada@example.com"),
        ] {
            assert!(!literal(name, value).is_literal_secret(), "{name}={value}");
        }
    }

    #[test]
    fn variables_that_the_engine_could_not_carry_are_refused() {
        let of = |count: usize| {
            let env: Vec<EnvVar> = (0..count).map(|n| literal(&format!("A{n}"), &"x".repeat(8 * 1024))).collect();
            let mut found = Violations::default();
            check_env(&env, "env", &mut found);
            found.into_vec()
        };
        assert_eq!(of(7), []);
        assert!(of(8)[0].detail.contains("64 KiB"));
    }
}
