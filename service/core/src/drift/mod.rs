//! Git against the cluster: what is wanted and does not run, what was changed by hand, what runs and nobody wants.
//!
//! Two looks: `compare` holds the rendered documents of one release against the objects as they are, field by field; `seen` and
//! `strangers` go by the index of what is watched, for all releases at once. Only what was rendered is compared: what the API server or
//! the operator fills in is no difference.

mod compare;
mod seen;
mod strangers;
mod subset;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use compare::{Live, NAMES_READ, ObjectName, RELEASE_ANNOTATION, compare, documents};
pub use seen::{files, pods, seen};
pub use strangers::{Stranger, strangers};
pub use subset::{Field, held_against};

use crate::names::ReleaseKey;

/// One place where Git and the cluster differ.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
pub struct Difference {
    pub kind: DriftKind,
    /// What it is about: `HTTPRoute/fraud`, or a file of the repository.
    pub object: String,
    /// The field, such as `spec.rules[0].backendRefs[fraud-v8].weight`; empty where it is the whole object.
    pub field: String,
    /// What Git wants there.
    pub want: String,
    /// What is there.
    pub have: String,
    /// What a person can do about it.
    pub cure: String,
}

/// How Git and the cluster differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum DriftKind {
    /// Git wants it, and it is not there.
    Missing,
    /// It is otherwise than Git wants it.
    Edited,
    /// It is there in the name of a release that Git does not have.
    Orphaned,
    /// A SeldonDeployment that no release made.
    Unmanaged,
    /// Something of another owner is where an object of the release belongs.
    Occupied,
    /// Two Applications apply one folder.
    Doubled,
    /// A rendered file in Git was changed by hand.
    Drifted,
}

impl DriftKind {
    /// Every kind.
    pub const ALL: [Self; 7] =
        [Self::Missing, Self::Edited, Self::Orphaned, Self::Unmanaged, Self::Occupied, Self::Doubled, Self::Drifted];

    /// Its name as it is written, also in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Edited => "edited",
            Self::Orphaned => "orphaned",
            Self::Unmanaged => "unmanaged",
            Self::Occupied => "occupied",
            Self::Doubled => "doubled",
            Self::Drifted => "drifted",
        }
    }
}

/// What is said of a release in every cure.
#[derive(Debug, Clone, Copy)]
struct About<'a> {
    key: &'a ReleaseKey,
}

impl About<'_> {
    /// The command line's words for the release.
    fn options(self) -> String {
        let ReleaseKey { environment, namespace, name } = self.key;
        format!("{name} -n {namespace} -e {environment}")
    }

    fn missing(self, object: &str) -> Difference {
        Difference {
            kind: DriftKind::Missing,
            object: object.to_owned(),
            field: String::new(),
            want: "it is there".to_owned(),
            have: "it is not there".to_owned(),
            cure: format!(
                "Argo CD makes it again by itself where it heals (`selfHeal`); `kmlflow get {}` says what keeps it from that",
                self.options()
            ),
        }
    }

    fn edited(self, object: &str, field: Field) -> Difference {
        let Field { path, want, have } = field;
        Difference {
            kind: DriftKind::Edited,
            object: object.to_owned(),
            field: path,
            want,
            have,
            cure: format!(
                "Argo CD puts it back by itself where it heals (`selfHeal`), else by a sync of its Application; to keep it, have it in Git: \
                 `kmlflow release {} …`",
                self.options()
            ),
        }
    }

    /// An object of the release that Git does not want any more.
    fn left(self, object: &str) -> Difference {
        Difference {
            kind: DriftKind::Orphaned,
            object: object.to_owned(),
            field: String::new(),
            want: "it is not there".to_owned(),
            have: "it is there".to_owned(),
            cure: "Argo CD removes it with its next sync where it prunes; else `kubectl delete` it".to_owned(),
        }
    }

    fn occupied(self, object: &str, (field, want, have): (&str, String, String)) -> Difference {
        Difference {
            kind: DriftKind::Occupied,
            object: object.to_owned(),
            field: field.to_owned(),
            want,
            have,
            cure: format!(
                "Argo CD takes it over with its next sync; if it is to stay, `kmlflow retract {}` and release under another name",
                self.options()
            ),
        }
    }
}
