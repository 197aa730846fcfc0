//! Template files that override built-in ones, by their paths below a directory.

use std::collections::BTreeMap;
use std::path::Path;

use super::ConfigError;

/// What a template's file ends in; other files beside them are not read, so that a copy of `templates/seldon/` will do.
const ENDING: &str = ".j2";

/// The longest template that is read, in bytes; the built-in ones have a few thousand.
const TEMPLATE_BYTES_MAX: u64 = 1 << 20;

/// The most levels of folders: the set has one.
const LEVELS_MAX: usize = 4;

/// Reads the templates of a directory, by names such as `seldon.yaml.j2` and `route/canary.yaml.j2`.
///
/// # Errors
/// A file that cannot be read, is no text, or is too long.
pub fn read_templates(dir: &Path) -> Result<BTreeMap<String, String>, ConfigError> {
    let mut files = BTreeMap::new();
    read_folder(dir, "", LEVELS_MAX, &mut files)?;
    Ok(files)
}

fn read_folder(
    dir: &Path,
    prefix: &str,
    levels: usize,
    files: &mut BTreeMap<String, String>,
) -> Result<(), ConfigError> {
    let unreadable = |path: &Path, error: std::io::Error| {
        let sentence = format!("the templates in `{}` cannot be read: {}", path.display(), error.kind());
        ConfigError::new(sentence, "check the path and its owner")
    };
    for entry in std::fs::read_dir(dir).map_err(|error| unreadable(dir, error))? {
        let path = entry.map_err(|error| unreadable(dir, error))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // Kubernetes keeps what it mounts in hidden folders beside the links to it.
        if name.starts_with('.') {
            continue;
        }
        let metadata = std::fs::metadata(&path).map_err(|error| unreadable(&path, error))?;
        if metadata.is_dir() && levels > 0 {
            read_folder(&path, &format!("{prefix}{name}/"), levels - 1, files)?;
        } else if metadata.is_file() && name.ends_with(ENDING) {
            if metadata.len() > TEMPLATE_BYTES_MAX {
                let sentence = format!("the template `{}` is larger than 1 MiB", path.display());
                return Err(ConfigError::new(sentence, "make it shorter"));
            }
            let text = std::fs::read_to_string(&path).map_err(|error| unreadable(&path, error))?;
            files.insert(format!("{prefix}{name}"), text);
        }
    }
    Ok(())
}
