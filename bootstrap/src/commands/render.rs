//! `render`: the files that are made from the catalogue.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::addresses::{self, Addresses};
use crate::arguments::General;
use crate::catalogue::Catalogue;
use crate::checkout::{self, Checkout, unreadable, unwritable};
use crate::fault::{Fault, Kind};
use crate::{answer, readme, render};

/// What was written and taken away, below the checkout.
#[derive(Debug, Default, Serialize)]
struct Changes {
    written: Vec<PathBuf>,
    removed: Vec<PathBuf>,
}

/// `wanted` says of the present addresses which ones the files are to have.
pub(super) fn run(
    is_check: bool,
    wanted: impl FnOnce(Addresses) -> Addresses,
    general: &General,
    checkout: &Checkout,
) -> Result<(), Fault> {
    let mut changes = Changes::default();
    let mut catalogue = Catalogue::read(&checkout.gitops)?;
    let present = Addresses::of(&catalogue);
    let wanted = wanted(present.clone());
    if wanted != present {
        changes.written = addresses::rewrite(&checkout.gitops, &catalogue, &wanted)?;
        catalogue = Catalogue::read(&checkout.gitops)?;
    }
    make(is_check, checkout, &catalogue, &mut changes)?;
    answer::write(general.output, &changes, || told(&changes))
}

fn told(changes: &Changes) -> String {
    let lines = |word: &str, files: &[PathBuf]| -> String {
        files.iter().map(|file| format!("{word} {}\n", file.display())).collect()
    };
    let text = lines("written", &changes.written) + &lines("removed", &changes.removed);
    match text.is_empty() {
        true => "Everything is as the catalogue says.\n".to_owned(),
        false => {
            text + "Commit this to the repository that the cluster follows; before the first `up` there is nothing more to do.\n"
        }
    }
}

/// Makes the files that are made from the catalogue.
fn make(is_check: bool, checkout: &Checkout, catalogue: &Catalogue, changes: &mut Changes) -> Result<(), Fault> {
    let folder = checkout.platform("profiles");
    let wanted = render::files(catalogue);
    let present = present(&folder)?;
    let is_stale = |(path, text): &(&String, &String)| !wanted.contains_key(*path) && text.starts_with(render::MARK);
    let stale: Vec<&String> = present.iter().filter(is_stale).map(|(path, _)| path).collect();
    let missing: Vec<(&String, &String)> =
        wanted.iter().filter(|(path, text)| present.get(*path) != Some(*text)).collect();
    let page = page(checkout, catalogue)?;
    let is_as_it_says = missing.is_empty() && stale.is_empty() && page.is_none();
    if is_check && !is_as_it_says {
        let pages = page.iter().map(|(file, _)| file.display().to_string());
        let files = missing.iter().map(|(path, _)| *path).chain(stale).cloned();
        let names = files.chain(pages).collect::<Vec<_>>().join(", ");
        let what = format!("not as the catalogue says: {names}");
        return Err(Fault::new(what, "`cargo bootstrap render` writes them").of(Kind::Conflict));
    }
    for (path, text) in missing {
        let file = folder.join(path);
        file.parent().map_or(Ok(()), fs::create_dir_all).map_err(|error| unwritable(&file, &error))?;
        checkout::write(&file, text)?;
        changes.written.push(file);
    }
    for path in stale {
        let file = folder.join(path);
        fs::remove_file(&file).map_err(|error| unwritable(&file, &error))?;
        changes.removed.push(file);
    }
    if let Some((file, text)) = page {
        checkout::write(&file, &text)?;
        changes.written.push(file);
    }
    Ok(())
}

/// The README of the checkout with its tables made anew, where they differ.
fn page(checkout: &Checkout, catalogue: &Catalogue) -> Result<Option<(PathBuf, String)>, Fault> {
    let own = checkout.root.as_deref().filter(|root| checkout.gitops.parent() == Some(*root));
    let Some(file) = own.map(|root| root.join("README.md")) else { return Ok(None) };
    let text = fs::read_to_string(&file).map_err(|error| unreadable(&file, &error))?;
    Ok(readme::with_tables(&text, catalogue).filter(|made| *made != text).map(|made| (file, made)))
}

/// The files below the folder, with their paths in it.
fn present(folder: &Path) -> Result<BTreeMap<String, String>, Fault> {
    let read = |file: PathBuf| {
        let text = fs::read_to_string(&file).map_err(|error| unreadable(&file, &error))?;
        Ok((file.strip_prefix(folder).unwrap_or(&file).display().to_string(), text))
    };
    checkout::files(folder)?.into_iter().map(read).collect()
}
