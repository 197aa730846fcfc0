//! An overlay: a profile with other settings and without some of its parts, as its kustomization says.

use std::path::Path;

use serde_json::Value;

use crate::catalogue::Profile;
use crate::fault::{Fault, Kind};

/// How many overlays may stand on each other.
const DEPTH_MAX: usize = 8;

/// What Kustomize calls the file of a folder.
const FILE: &str = "kustomization.yaml";

/// What an overlay says of the platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overlay {
    /// The profile that it is made of.
    pub profile: Profile,
    /// The Applications of it that it takes out.
    pub absent: Vec<String>,
}

impl Overlay {
    /// Reads a folder of `platform/`, such as `overlays/production`.
    pub fn read(platform: &Path, follows: &str) -> Result<Self, Fault> {
        if !platform.join(follows).join(FILE).is_file() {
            let what = format!("there is no `platform/{follows}`");
            let cure = "name a folder of `platform/overlays/`, or leave `--overlay` out";
            return Err(Fault::new(what, cure).of(Kind::NotFound));
        }
        let mut absent = Vec::new();
        let profile = profile_of(&platform.join(follows), DEPTH_MAX, &mut absent)?;
        let without = || {
            let cure = "take one in by `resources`, as `platform/overlays/production` does";
            Fault::new(format!("`platform/{follows}` is made of no profile"), cure)
        };
        Ok(Self { profile: profile.ok_or_else(without)?, absent })
    }
}

/// The profile that a folder takes in, itself or by another; what is taken out on the way is added.
fn profile_of(folder: &Path, depth: usize, absent: &mut Vec<String>) -> Result<Option<Profile>, Fault> {
    let file = folder.join(FILE);
    let unreadable =
        |why: String| Fault::new(format!("`{}` cannot be read: {why}", file.display()), "correct the file");
    let text = std::fs::read_to_string(&file).map_err(|error| unreadable(error.to_string()))?;
    let kustomization: Value = serde_yaml::from_str(&text).map_err(|error| unreadable(error.to_string()))?;
    let list = |name: &str| kustomization[name].as_array().cloned().unwrap_or_default();
    absent.extend(list("patches").iter().flat_map(taken_out));
    for resource in list("resources").iter().filter_map(Value::as_str) {
        let mut names = resource.trim_end_matches('/').rsplit('/');
        let (last, above) = (names.next().unwrap_or_default(), names.next().unwrap_or_default());
        let named = Profile::ALL.into_iter().find(|profile| above == "profiles" && profile.name() == last);
        if named.is_some() {
            return Ok(named);
        }
        let below = folder.join(resource);
        if depth > 0
            && below.join(FILE).is_file()
            && let Some(found) = profile_of(&below, depth - 1, absent)?
        {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// Whether a folder of `platform/` takes in another, by a resource or by the path that it gives an Application.
pub fn takes_in(platform: &Path, folder: &str, wanted: &str) -> bool {
    reaches(platform, &platform.join(folder), wanted, DEPTH_MAX)
}

fn reaches(platform: &Path, folder: &Path, wanted: &str, depth: usize) -> bool {
    if folder.file_name().is_some_and(|name| name == wanted) {
        return true;
    }
    let text = std::fs::read_to_string(folder.join(FILE)).unwrap_or_default();
    let kustomization: Value = serde_yaml::from_str(&text).unwrap_or_default();
    let list = |name: &str| kustomization[name].as_array().cloned().unwrap_or_default();
    let resources = list("resources").into_iter().filter_map(|name| Some(folder.join(name.as_str()?)));
    let paths = list("patches").into_iter().flat_map(|patch| new_paths(&patch)).map(|path| platform.join(path));
    depth > 0 && resources.chain(paths).any(|below| reaches(platform, &below, wanted, depth - 1))
}

/// The folders of `platform/` that a patch has an Application follow.
fn new_paths(patch: &Value) -> Vec<String> {
    let operations: Vec<Value> = serde_yaml::from_str(patch["patch"].as_str().unwrap_or_default()).unwrap_or_default();
    let path = |operation: &Value| operation["value"].as_str()?.strip_prefix("platform/").map(str::to_owned);
    operations.iter().filter_map(path).collect()
}

/// The Applications that a patch deletes.
fn taken_out(patch: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (kinds, names) = (text(&patch["target"]["kind"]), text(&patch["target"]["name"]));
    let is_one = kinds.split('|').any(|kind| kind == "Application") && text(&patch["patch"]).contains("$patch: delete");
    names.split('|').filter(|name| is_one && !name.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_overlay_says_its_profile_and_what_it_takes_out_also_by_another() {
        let platform = Path::new(env!("CARGO_MANIFEST_DIR")).join("../gitops-repo/platform");
        let production = Overlay::read(&platform, "overlays/production").unwrap();
        let absent = ["postgresql", "object-store", "object-store-browser"].map(str::to_owned);
        assert_eq!(production, Overlay { profile: Profile::Standard, absent: absent.into() });

        assert!(takes_in(&platform, "overlays/production", "kmlflow-replicas"));
        assert!(!takes_in(&platform, "profiles/standard", "kmlflow-replicas"));

        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            std::fs::create_dir_all(folder.path().join(name)).unwrap();
            std::fs::write(folder.path().join(name).join(FILE), text).unwrap();
        };
        write(
            "overlays/one",
            "resources: [../../profiles/full/]\npatches:\n- {target: {kind: Application, name: harbor}, patch: '$patch: delete'}\n- {target: {kind: Namespace, name: search}, patch: '$patch: delete'}\n",
        );
        write("overlays/two", "resources: [../other, ../one]\n");
        write("overlays/other", "resources: [a.yaml]\n");
        let two = Overlay::read(folder.path(), "overlays/two").unwrap();
        assert_eq!(two, Overlay { profile: Profile::Full, absent: vec!["harbor".to_owned()] });
        let none = Overlay::read(folder.path(), "overlays/other").unwrap_err();
        assert!(none.what.contains("is made of no profile"), "{none:?}");
        assert_eq!(Overlay::read(folder.path(), "overlays/mars").unwrap_err().code(), 4);
    }
}
