//! Fields of an object that are read one by one; what was not read in the end is told.

use serde_json::{Map, Value};

use super::{Change, Obstacle};

/// What was found about an object.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) obstacles: Vec<Obstacle>,
    pub(super) changes: Vec<Change>,
}

impl Found {
    pub(super) fn obstacle(&mut self, field: &str, detail: &str, cure: &str) {
        let [field, detail, cure] = [field, detail, cure].map(ToOwned::to_owned);
        self.obstacles.push(Obstacle { field, detail, cure });
    }

    pub(super) fn change(&mut self, field: &str, detail: &str) {
        self.changes.push(Change { field: field.to_owned(), detail: detail.to_owned() });
    }
}

/// The fields of a map.
#[derive(Debug)]
pub(super) struct Fields<'v> {
    pub(super) path: String,
    left: Vec<(&'v str, &'v Value)>,
}

impl<'v> Fields<'v> {
    pub(super) fn of(map: Option<&'v Map<String, Value>>, path: &str) -> Self {
        let left =
            map.into_iter().flatten().map(|(name, value)| (name.as_str(), value)).filter(|(_, value)| !is_empty(value));
        Self { path: path.to_owned(), left: left.collect() }
    }

    /// Takes a field out, where it is there and not empty.
    pub(super) fn take(&mut self, name: &str) -> Option<&'v Value> {
        let at = self.left.iter().position(|(other, _)| *other == name)?;
        Some(self.left.swap_remove(at).1)
    }

    pub(super) fn text(&mut self, name: &str) -> Option<&'v str> {
        self.take(name)?.as_str()
    }

    pub(super) fn number(&mut self, name: &str) -> Option<u64> {
        self.take(name)?.as_u64()
    }

    pub(super) fn list(&mut self, name: &str) -> &'v [Value] {
        self.take(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    /// The fields of a map in it.
    pub(super) fn map(&mut self, name: &str) -> Self {
        let path = self.at(name);
        Self::of(self.take(name).and_then(Value::as_object), &path)
    }

    /// Lets go of what is left, whatever it is called.
    pub(super) fn end_all(self, found: &mut Found) {
        let names: Vec<&str> = self.left.iter().map(|(name, _)| *name).collect();
        self.end(&names, found);
    }

    /// The path of a field.
    pub(super) fn at(&self, name: &str) -> String {
        if name.contains('.') { format!("{}[{name}]", self.path) } else { format!("{}.{name}", self.path) }
    }

    /// Tells of what was not read: what is known to matter little is let go, anything else is in the way.
    pub(super) fn end(mut self, let_go: &[&str], found: &mut Found) {
        self.left.sort_unstable_by_key(|(name, _)| *name);
        for (name, _) in &self.left {
            if let_go.contains(name) {
                found.change(&self.at(name), "it is not taken over");
            } else {
                let cure = "take it out of the object if the model does without, or go on without a release";
                found.obstacle(&self.at(name), "a release cannot say that", cure);
            }
        }
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(entries) => entries.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}
