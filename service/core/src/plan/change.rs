//! One commit's worth of change: its summary, and its body in plain words.

use crate::release::{Action, Change, Files, MainRule, Phase, Release, ReleasePlan};

/// The longest end of a commit's subject, in characters.
const SUMMARY_CHARS_MAX: usize = 50;

/// An update whose files are rendered.
pub(super) fn update(release: Release, action: Action, summary: impl Into<String>) -> ReleasePlan {
    ReleasePlan::Update(Box::new(change(release, action, summary)))
}

/// A change whose files are rendered.
pub(super) fn change(release: Release, action: Action, summary: impl Into<String>) -> Change {
    let summary: String = summary.into().chars().take(SUMMARY_CHARS_MAX).collect();
    Change { body: words(&release), release, action, summary, files: Files::Render, more: None }
}

/// One, `one and another`, or `one, another and a third`.
fn listed(parts: &[String]) -> String {
    match parts {
        [] => String::new(),
        [one] => one.clone(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}

/// What callers get from now on, in plain words.
fn words(release: &Release) -> String {
    let model = &release.spec.model;
    let Some(traffic) = release.traffic() else { return String::new() };
    let version_of = |predictor: &crate::names::PredictorName| predictor.parts().0.to_owned();
    let mut sentences = Vec::new();
    match (&traffic.main, release.stable()) {
        (MainRule::Own, Some(live)) => {
            sentences.push(format!("Version {} of {model} serves every request.", live.version))
        }
        (MainRule::Split(split), _) => {
            let shares: Vec<String> =
                split.iter().map(|(p, w)| format!("version {} gets {w} %", version_of(p))).collect();
            sentences.push(format!("Of the requests to {model}, {}.", listed(&shares)));
        }
        (MainRule::Own, None) => {}
    }
    for (rule, predictor) in &traffic.matches {
        sentences.push(format!(
            "Requests with the header {} of a certain value go to version {}.",
            rule.header,
            version_of(predictor)
        ));
    }
    if let Some((predictor, percent)) = &traffic.mirror {
        sentences.push(format!(
            "A copy of {percent} % of them goes to version {}, whose answers are dropped.",
            version_of(predictor)
        ));
    }
    if let Some(predictor) = &traffic.preview {
        sentences.push(format!(
            "Version {} answers on {} only.",
            version_of(predictor),
            release.spec.target.preview_host
        ));
    }
    let named = traffic.named();
    let idle: Vec<String> = release
        .spec
        .variants
        .iter()
        .filter(|v| !named.contains(&&v.predictor))
        .map(|v| format!("version {}", v.version))
        .collect();
    if release.rollout.phase != Phase::Settled && !idle.is_empty() {
        sentences.push(format!("No request reaches {}.", idle.join(", ")));
    }
    sentences.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_read_as_a_sentence() {
        let parts: Vec<String> = ["a", "b", "c"].map(str::to_owned).to_vec();
        assert_eq!(listed(&parts[..1]), "a");
        assert_eq!(listed(&parts[..2]), "a and b");
        assert_eq!(listed(&parts), "a, b and c");
    }
}
