//! Secrets that are made once: from the recipes of the catalogue, kept in the cluster, never in a file, a log or an argument.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde_json::{Value, json};
use sha1::{Digest as _, Sha1};

use crate::catalogue::Recipe;
use crate::fault::Fault;

/// The label of what bootstrap made, by which `credentials` and `down` find it.
pub const LABEL: &str = "kmlflow.dev/made-by";

/// How many letters and digits `$(random)` has: more than 230 bits.
const RANDOM_LETTERS: usize = 40;

/// The letters of `$(random)`: nothing that an address, a shell or YAML reads as something else.
const LETTERS: &[u8] = b"ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789";

/// Work factor of bcrypt: what the registry's own tools use.
const BCRYPT_COST: u32 = 10;

/// The values of Secrets that are known, by `namespace/name/key`.
#[derive(Default)]
pub struct Known(BTreeMap<String, String>);

impl Known {
    /// Takes in a Secret as the API server has it.
    pub fn take_in(&mut self, secret: &str, object: &Value) -> Result<(), Fault> {
        let Some(data) = object.get("data").and_then(Value::as_object) else { return Ok(()) };
        for (key, value) in data {
            let bytes = STANDARD.decode(value.as_str().unwrap_or_default()).ok();
            let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
            let text = text.ok_or_else(|| {
                Fault::new(
                    format!("the key `{key}` of the Secret `{secret}` is no text"),
                    "delete the Secret, and it is made anew",
                )
            })?;
            self.0.insert(format!("{secret}/{key}"), text);
        }
        Ok(())
    }

    pub fn get(&self, path: &str) -> Option<&str> {
        self.0.get(path).map(String::as_str)
    }

    /// Makes the values of a recipe and remembers them; returns the Secret to create.
    pub fn make(&mut self, recipe: &Recipe) -> Result<Value, Fault> {
        let mut data = serde_json::Map::new();
        for (key, template) in &recipe.data {
            let value = self.fill(template).map_err(|why| {
                Fault::new(
                    format!("the recipe of `{}` cannot be followed: {why}", recipe.secret),
                    "correct it in the catalogue",
                )
            })?;
            self.0.insert(format!("{}/{key}", recipe.secret), value.clone());
            data.insert(key.clone(), Value::String(value));
        }
        let (namespace, name) = recipe.place();
        Ok(json!({
            "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
            "metadata": {"name": name, "namespace": namespace, "labels": {LABEL: "bootstrap"}},
            "stringData": data,
        }))
    }

    fn fill(&self, template: &str) -> Result<String, String> {
        let (mut filled, mut rest) = (String::new(), template);
        while let Some((before, after)) = rest.split_once("$(") {
            let (what, after) = after.split_once(')').ok_or("a `$(` without its `)`")?;
            filled.push_str(before);
            filled.push_str(&self.value(what)?);
            rest = after;
        }
        filled.push_str(rest);
        Ok(filled)
    }

    fn value(&self, what: &str) -> Result<String, String> {
        let known = |path: &str| self.get(path).ok_or_else(|| format!("`{path}` is not known before it"));
        match what.split_once(' ') {
            None if what == "random" => letters(RANDOM_LETTERS),
            None if what == "fernet" => Ok(URL_SAFE.encode(bytes::<32>()?)),
            None if what == "whsec" => Ok(format!("whsec_{}", STANDARD.encode(bytes::<32>()?))),
            None => known(what).map(str::to_owned),
            Some(("random", count)) => letters(count.parse().map_err(|_| format!("`{count}` is no number"))?),
            Some(("sha1", path)) => Ok(STANDARD.encode(Sha1::digest(known(path)?.as_bytes()))),
            Some(("bcrypt", path)) => bcrypt::hash(known(path)?, BCRYPT_COST).map_err(|error| error.to_string()),
            Some((word, _)) => Err(format!("`{word}` is no way to make a value")),
        }
    }
}

impl std::fmt::Debug for Known {
    /// Names only.
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_list().entries(self.0.keys()).finish()
    }
}

impl Recipe {
    /// Namespace and name.
    pub fn place(&self) -> (&str, &str) {
        self.secret.split_once('/').unwrap_or(("default", &self.secret))
    }
}

fn bytes<const COUNT: usize>() -> Result<[u8; COUNT], String> {
    let mut made = [0; COUNT];
    getrandom::fill(&mut made).map_err(|error| format!("the machine gives no random numbers: {error}"))?;
    Ok(made)
}

/// So many letters, each equally likely: a byte beyond the last whole round of them is thrown away.
fn letters(count: usize) -> Result<String, String> {
    let round = u8::try_from(256 / LETTERS.len() * LETTERS.len()).unwrap_or(u8::MAX);
    let mut made = String::with_capacity(count);
    while made.len() < count {
        let fresh = bytes::<64>()?;
        let usable = fresh
            .iter()
            .filter(|byte| **byte < round)
            .map(|byte| char::from(LETTERS[usize::from(*byte) % LETTERS.len()]));
        made.extend(usable.take(count - made.len()));
    }
    Ok(made)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::Profile;

    fn recipe(secret: &str, data: &[(&str, &str)]) -> Recipe {
        let data = data.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Recipe { secret: secret.to_owned(), profile: Profile::Core, data }
    }

    #[test]
    fn a_value_is_made_once_and_used_by_those_that_name_it() {
        let mut known = Known::default();
        known.make(&recipe("a/users", &[("b", "$(random)")])).unwrap();
        let password = known.get("a/users/b").unwrap().to_owned();
        assert_eq!(password.len(), RANDOM_LETTERS);
        let made = known.make(&recipe("c/d", &[("uri", "db://b:$(a/users/b)@host"), ("plain", "x")])).unwrap();
        assert_eq!(made["stringData"]["uri"], format!("db://b:{password}@host"));
        assert_eq!((&made["metadata"]["namespace"], &made["metadata"]["name"]), (&json!("c"), &json!("d")));
    }

    #[test]
    fn what_the_cluster_has_is_taken_over() {
        let mut known = Known::default();
        known.take_in("a/users", &json!({"data": {"b": STANDARD.encode("kept")}})).unwrap();
        let made = known.make(&recipe("c/d", &[("password", "$(a/users/b)")])).unwrap();
        assert_eq!(made["stringData"]["password"], "kept");
    }

    #[test]
    fn each_key_has_the_form_that_its_reader_wants() {
        let mut known = Known::default();
        let data = [
            ("p", "$(random 16)"),
            ("f", "$(fernet)"),
            ("w", "$(whsec)"),
            ("s", "admin:{SHA}$(sha1 a/b/p)"),
            ("h", "u:$(bcrypt a/b/p)"),
        ];
        known.make(&recipe("a/b", &data)).unwrap();
        let value = |key: &str| known.get(&format!("a/b/{key}")).unwrap().to_owned();
        assert_eq!(value("p").len(), 16);
        assert_eq!(URL_SAFE.decode(value("f")).unwrap().len(), 32);
        assert_eq!(STANDARD.decode(value("w").strip_prefix("whsec_").unwrap()).unwrap().len(), 32);
        assert_eq!(value("s"), format!("admin:{{SHA}}{}", STANDARD.encode(Sha1::digest(value("p")))));
        assert!(bcrypt::verify(value("p"), value("h").strip_prefix("u:").unwrap()).unwrap());
    }

    #[test]
    fn two_random_values_differ_and_have_plain_letters_only() {
        let (one, other) = (letters(200).unwrap(), letters(200).unwrap());
        assert_ne!(one, other);
        assert!(one.bytes().all(|letter| LETTERS.contains(&letter)), "{one}");
    }

    #[test]
    fn a_recipe_that_cannot_be_followed_is_named_without_a_value() {
        for template in ["$(random", "$(x/y/z)", "$(random many)", "$(dance a/b)"] {
            let fault = Known::default().make(&recipe("a/b", &[("c", template)])).unwrap_err();
            assert!(fault.what.contains("`a/b`"), "{template}: {fault:?}");
        }
    }

    #[test]
    fn a_value_is_never_shown() {
        let mut known = Known::default();
        known.make(&recipe("a/b", &[("c", "$(random)")])).unwrap();
        let shown = format!("{known:?}");
        assert!(shown.contains("a/b/c") && !shown.contains(known.get("a/b/c").unwrap()), "{shown}");
    }
}
