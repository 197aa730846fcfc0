//! `render`: the files that are made from the catalogue.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::catalogue::Catalogue;
use crate::checkout::Checkout;
use crate::fault::{Fault, Kind};
use crate::{readme, render};

pub(super) fn run(is_check: bool, checkout: &Checkout) -> Result<(), Fault> {
    let catalogue = Catalogue::read(&checkout.gitops)?;
    let folder = checkout.platform("profiles");
    let wanted = render::files(&catalogue);
    let present = present(&folder)?;
    let differs = |path: &&String| present.get(*path) != wanted.get(*path);
    let changed: Vec<&String> =
        wanted.keys().chain(present.keys().filter(|path| !wanted.contains_key(*path))).filter(differs).collect();
    let page = page(checkout, &catalogue)?;
    if is_check && (!changed.is_empty() || page.is_some()) {
        let pages = page.iter().map(|(file, _)| file.display().to_string());
        let names = changed.iter().map(|path| (*path).clone()).chain(pages).collect::<Vec<_>>().join(", ");
        let what = format!("not as the catalogue says: {names}");
        return Err(Fault::new(what, "`cargo bootstrap render` writes them").of(Kind::Conflict));
    }
    for path in changed {
        let file = folder.join(path);
        let written = match wanted.get(path) {
            Some(text) => file.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(&file, text)),
            None => fs::remove_file(&file),
        };
        written.map_err(|error| unwritable(&file, &error))?;
    }
    page.map_or(Ok(()), |(file, text)| fs::write(&file, text).map_err(|error| unwritable(&file, &error)))
}

/// The README of the checkout with its tables made anew, where they differ.
fn page(checkout: &Checkout, catalogue: &Catalogue) -> Result<Option<(PathBuf, String)>, Fault> {
    let Some(file) = checkout.root.as_ref().map(|root| root.join("README.md")) else { return Ok(None) };
    let text = fs::read_to_string(&file).map_err(|error| unwritable(&file, &error))?;
    Ok(readme::with_tables(&text, catalogue).filter(|made| *made != text).map(|made| (file, made)))
}

/// The files below the folder, with their paths in it.
fn present(folder: &Path) -> Result<BTreeMap<String, String>, Fault> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(current) = folders.pop() {
        let Ok(entries) = fs::read_dir(&current) else { continue };
        for path in entries.filter_map(Result::ok).map(|entry| entry.path()) {
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(name) = path.strip_prefix(folder) {
                let text = fs::read_to_string(&path).map_err(|error| unwritable(&path, &error))?;
                found.insert(name.display().to_string(), text);
            }
        }
    }
    Ok(found)
}

fn unwritable(file: &Path, error: &std::io::Error) -> Fault {
    Fault::new(format!("`{}` cannot be written: {error}", file.display()), "check who owns the checkout")
}
