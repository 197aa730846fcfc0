//! The tables of the README that are made from the catalogue.

use std::fmt::Write as _;

use crate::catalogue::{Catalogue, Component, Profile};

/// Between these two lines of the README nobody writes by hand.
pub const BEGIN: &str = "<!-- catalogue: begin -->\n";
pub const END: &str = "<!-- catalogue: end -->\n";

/// The text of a page with the tables as the catalogue says; none where it has no place for them.
pub fn with_tables(page: &str, catalogue: &Catalogue) -> Option<String> {
    let (before, rest) = page.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}{}{END}{after}", tables(catalogue)))
}

fn tables(catalogue: &Catalogue) -> String {
    let mut text = String::from(
        "| Part | Version | From | Address | Requests | Measured |\n| --- | --- | --- | --- | --- | --- |\n",
    );
    for part in catalogue.components(Profile::Full) {
        text.push_str(&row(part, catalogue));
    }
    for profile in Profile::ALL {
        let sum = catalogue.requests(profile);
        // Writing to a string does not fail.
        let _written = writeln!(text, "| **{}**, all together | | | | {}, {} | |", profile.name(), sum.cpu, sum.memory);
    }
    text.push_str("\n| Given up upstream | In its place | Why |\n| --- | --- | --- |\n");
    for successor in &catalogue.successors {
        let became =
            catalogue.component(&successor.became).map_or(successor.became.as_str(), |part| part.title.as_str());
        let _written = writeln!(text, "| {} | {became} | {} |", successor.name, successor.why);
    }
    text
}

fn row(part: &Component, catalogue: &Catalogue) -> String {
    let address = catalogue
        .url(part)
        .map_or(String::new(), |url| format!("`{}`", url.trim_start_matches("https://").trim_start_matches("http://")));
    let requests = match part.requests.memory.0 {
        0 => String::new(),
        _ => format!("{}, {}", part.requests.cpu, part.requests.memory),
    };
    let measured = match (part.requests.resident, part.requests.memory.0) {
        (Some(resident), _) => match &part.measured {
            Some(version) => format!("{resident} of {version}"),
            None => resident.to_string(),
        },
        (None, 0) => String::new(),
        (None, _) => "not measured".to_owned(),
    };
    format!("| {} | {} | {} | {address} | {requests} | {measured} |\n", part.title, part.version, part.profile.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_marks_is_written() {
        let catalogue = Catalogue::parse(include_str!("../../gitops-repo/platform/catalogue.yaml")).unwrap();
        let page = format!("above\n{BEGIN}old\n{END}below\n");
        let made = with_tables(&page, &catalogue).unwrap();
        assert!(made.starts_with("above\n") && made.ends_with("below\n") && !made.contains("old\n"), "{made}");
        assert!(
            made.contains("| Grafana | 13.2.0 | core | `grafana.k5w.localhost` |") && made.contains("| MinIO |"),
            "{made}"
        );
        // What was measured of another version says so.
        assert!(
            made.contains("| 100m, 512Mi | 450Mi of 3.17.2 |") && made.contains("| 50m, 192Mi | 159Mi |"),
            "{made}"
        );
        assert_eq!(with_tables(&made, &catalogue).as_ref(), Some(&made));
        assert_eq!(with_tables("no marks", &catalogue), None);
    }
}
