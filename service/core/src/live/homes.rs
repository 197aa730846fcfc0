//! Which release each object is of, by the object's own name: the labels that say so may be changed, or gone.

use std::collections::HashMap;

use super::index::{Kind, Place};

/// The release of each object of a kind: by its namespace and its name.
type OfKind = HashMap<Box<str>, HashMap<Box<str>, Box<str>>>;

/// The release of each object.
#[derive(Debug, Default)]
pub(super) struct Homes(HashMap<Kind, OfKind>);

impl Homes {
    /// Notes where an object is; says where it was, where that was elsewhere.
    pub(super) fn moves(&mut self, kind: Kind, to: &Place, name: &str) -> Option<Place> {
        let namespaces = self.0.entry(kind).or_default();
        let Some(names) = namespaces.get_mut(&to.namespace) else {
            let names = [(name.into(), to.name.clone())].into();
            namespaces.insert(to.namespace.clone(), names);
            return None;
        };
        match names.get_mut(name) {
            Some(home) if *home == to.name => None,
            Some(home) => {
                let name = std::mem::replace(home, to.name.clone());
                Some(Place { namespace: to.namespace.clone(), name })
            }
            None => {
                names.insert(name.into(), to.name.clone());
                None
            }
        }
    }

    /// Forgets an object; says where it was.
    pub(super) fn leaves(&mut self, kind: Kind, namespace: &str, name: &str) -> Option<Place> {
        let namespaces = self.0.get_mut(&kind)?;
        let names = namespaces.get_mut(namespace)?;
        let home = names.remove(name)?;
        if names.is_empty() {
            namespaces.remove(namespace);
        }
        Some(Place { namespace: namespace.into(), name: home })
    }

    /// Forgets all of a kind.
    pub(super) fn forget(&mut self, kind: Kind) {
        self.0.remove(&kind);
    }
}
