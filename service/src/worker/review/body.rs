//! What a pull request says: the plan in words, who asked, how the versions compare, what changes in the files.

use std::collections::{BTreeMap, BTreeSet};

use crate::forge::Text;
use crate::git::GitError;
use crate::names::{ReleaseKey, Version, is_invisible};
use crate::worker::apply::{Ground, Write};
use crate::worker::preview::diff;
use crate::worker::task::Task;

/// The longest diff in a body, in characters: GitHub takes 65,536 for all of it.
const DIFF_CHARS_MAX: usize = 50_000;

/// The most measurements that are compared: what fits on a screen.
const METRICS_MAX: usize = 30;

/// The line before which measurements are put.
const BEFORE_FILES: &str = "### Files";

/// What the service writes stands between these two, which forges do not show.
const BEGIN: &str = "<!-- kmlflow: from here on written anew with each change -->";
const END: &str = "<!-- kmlflow: from here on yours again -->";

/// The longest title, in characters: Gitea's column has that many, GitHub takes one more.
const TITLE_CHARS_MAX: usize = 255;

/// Says what a change is about, and what of it follows by itself.
pub(super) fn text(ground: &dyn Ground, task: &Task, write: &Write, merges_itself: bool) -> Result<Text, GitError> {
    let Write { edits, summary, body, action, .. } = write;
    let key = &task.key;
    let asked = match (&task.requested_by, &task.origin) {
        (Some(who), _) => format!("Asked for by {}.", plain(who)),
        (None, Some(origin)) => match &origin.policy {
            Some(policy) => format!("Asked for by the policy `{policy}`, because of what the registry says."),
            None => "Asked for by the registry.".to_owned(),
        },
        (None, None) => "It follows by itself.".to_owned(),
    };
    let how = if merges_itself {
        "The branch takes no push of it, so it merges itself as soon as the rules of the branch let it."
    } else {
        "Merging it releases it: any way of merging is fine. Closing it is a no. What follows within this plan is then pushed without \
         another review, and so is every rollback."
    };
    let files = diff(&ground.shared().repository, &ground.tip(), edits)?;
    let title = format!("{}{}", beginning(key), plain(summary));
    let body = format!(
        "{BEGIN}\n{}\n\n{asked} Release `{key}`, action `{action}`.\n\n{how}\n\n{BEFORE_FILES}\n\n{}\n{END}\n",
        plain_lines(body),
        fenced(&files)
    );
    Ok(Text { title, body })
}

/// With what every title begins that the service writes.
fn beginning(key: &ReleaseKey) -> String {
    format!("release({key}): ")
}

/// What a pull request says once the service has its say: of what it says now, all that people wrote stays. That is what they put before the title, such as
/// `WIP:`, with which forges keep it from being merged; a title that is all their own; and what stands before and after the service's part of the body.
pub(super) fn revised(now: &Text, key: &ReleaseKey, ours: &Text) -> Text {
    let title = match now.title.find(&beginning(key)) {
        Some(at) => format!("{}{}", &now.title[..at], ours.title),
        None if now.title.trim().is_empty() => ours.title.clone(),
        None => now.title.clone(),
    };
    let title = if title.chars().count() <= TITLE_CHARS_MAX { title } else { ours.title.clone() };
    // A diff may have such a line in it, so the last one ends the part.
    let (before, after) = match (now.body.find(BEGIN), now.body.rfind(END)) {
        (Some(begin), Some(end)) if begin < end => {
            (&now.body[..begin], now.body[end + END.len()..].trim_start_matches(['\r', '\n']))
        }
        _ if now.body.trim().is_empty() => ("", ""),
        // Whoever took the lines away wrote all of it.
        _ => (now.body.trim_end(), ""),
    };
    let gap = if before.is_empty() || before.ends_with('\n') { "" } else { "\n\n" };
    Text { title, body: format!("{before}{gap}{}{after}", ours.body) }
}

/// A body with the measurements of versions in it; as it is where there are none.
pub(super) fn with_metrics(text: &Text, metrics: &[(Version, BTreeMap<String, f64>)]) -> Text {
    let names: BTreeSet<&String> = metrics.iter().flat_map(|(_, metrics)| metrics.keys()).collect();
    if names.is_empty() {
        return text.clone();
    }
    let head: String = metrics.iter().map(|(version, _)| format!(" version {version} |")).collect();
    let line: String = metrics.iter().map(|_| " ---: |").collect();
    let mut table = format!("### Measurements in MLflow\n\n| |{head}\n| --- |{line}\n");
    for name in names.iter().take(METRICS_MAX) {
        let value = |metrics: &BTreeMap<String, f64>| metrics.get(*name).map_or_else(String::new, f64::to_string);
        let values: String = metrics.iter().map(|(_, metrics)| format!(" {} |", value(metrics))).collect();
        table.push_str(&format!("| {} |{values}\n", plain(name).replace('|', "\\|")));
    }
    if names.len() > METRICS_MAX {
        table.push_str(&format!("\n{} more are in MLflow.\n", names.len() - METRICS_MAX));
    }
    let body = text.body.replacen(BEFORE_FILES, &format!("{table}\n{BEFORE_FILES}"), 1);
    Text { title: text.title.clone(), body }
}

/// A diff in a block that nothing in it ends.
fn fenced(diff: &str) -> String {
    let shown: String = diff.chars().filter(|c| *c == '\n' || !is_invisible(*c)).take(DIFF_CHARS_MAX).collect();
    let cut = if shown.len() < diff.len() { "\n(cut: the branch has the rest)" } else { "" };
    let longest = shown.lines().map(|line| line.trim_start_matches(['+', '-', ' ']));
    let longest = longest.map(|line| line.len() - line.trim_start_matches('`').len()).max().unwrap_or_default();
    let fence = "`".repeat(longest.max(2) + 1);
    format!("{fence}diff\n{}\n{fence}{cut}", shown.trim_end())
}

/// A foreign text on one line, in which nothing is a mention, a link or markup.
pub(super) fn plain(text: &str) -> String {
    let seen = text.chars().map(|c| if is_invisible(c) { ' ' } else { c });
    seen.flat_map(|c| if "<>@[]`#*_".contains(c) { vec!['\\', c] } else { vec![c] }).collect()
}

fn plain_lines(text: &str) -> String {
    text.lines().map(plain).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_diff_ends_its_block_and_a_long_one_is_cut() {
        let block = fenced("--- a/x\n+++ b/x\n+```\n+@everyone\n");
        assert!(block.starts_with("````diff\n") && block.ends_with("\n````"), "{block}");
        let long = fenced(&"+line\n".repeat(20_000));
        assert!(long.chars().count() < DIFF_CHARS_MAX + 100 && long.ends_with("has the rest)"));
    }

    #[test]
    fn a_foreign_text_is_neither_a_mention_nor_markup() {
        assert_eq!(plain("@ann <b>\n[x](y)"), "\\@ann \\<b\\> \\[x\\](y)");
    }

    #[test]
    fn what_people_write_in_a_pull_request_stays_theirs() {
        let key = ReleaseKey::parse("production/models/fraud").unwrap();
        let text = |title: &str, body: &str| Text { title: title.to_owned(), body: body.to_owned() };
        let ours = |what: &str| {
            text(&format!("release(production/models/fraud): {what}"), &format!("{BEGIN}\n{what}\n{END}\n"))
        };
        assert_eq!(revised(&ours("7"), &key, &ours("8")), ours("8"));
        assert_eq!(revised(&text("", ""), &key, &ours("8")), ours("8"));
        let edited = text(
            "WIP: release(production/models/fraud): 7",
            &format!("Please wait for Ann.\r\n\r\n{BEGIN}\r\n7, by hand\r\n+{END}\r\n{END}\r\nFixes #3\r\n"),
        );
        let again = revised(&edited, &key, &ours("8"));
        assert_eq!(again.title, "WIP: release(production/models/fraud): 8");
        assert_eq!(again.body, format!("Please wait for Ann.\r\n\r\n{}Fixes #3\r\n", ours("8").body));
        assert_eq!(revised(&again, &key, &ours("8")), again, "it grows with no change");
        let anew = revised(&text("My own", "All mine"), &key, &ours("8"));
        assert_eq!(anew, text("My own", &format!("All mine\n\n{}", ours("8").body)));
        let long = text(&format!("{}release(production/models/fraud): 7", "w".repeat(240)), "");
        assert_eq!(revised(&long, &key, &ours("8")).title, ours("8").title, "no forge takes it longer");
    }

    #[test]
    fn measurements_stand_before_the_files_version_by_version() {
        let text = Text { title: "t".to_owned(), body: format!("plan\n\n{BEFORE_FILES}\n\ndiff\n") };
        let version = |text: &str| Version::parse(text).unwrap();
        let metrics = [
            (version("7"), BTreeMap::from([("auc".to_owned(), 0.91)])),
            (version("8"), BTreeMap::from([("auc".to_owned(), 0.93), ("loss".to_owned(), 0.1)])),
        ];
        let body = with_metrics(&text, &metrics).body;
        let table =
            "| | version 7 | version 8 |\n| --- | ---: | ---: |\n| auc | 0.91 | 0.93 |\n| loss |  | 0.1 |\n\n### Files";
        assert!(body.contains(table), "{body}");
        assert_eq!(with_metrics(&text, &[(version("7"), BTreeMap::new())]), text);
    }
}
