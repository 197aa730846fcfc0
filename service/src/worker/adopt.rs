//! What a person changed in the rendered files, read back into `release.yaml`, as far as that is known how to.

use serde::Deserialize;
use serde_yaml::Value;
use similar::TextDiff;

use super::apply::{self, Ground, Hindrance, Write};
use super::task::Task;
use super::turn::Turn;
use crate::git::{GitError, Repository};
use crate::names::{CommitId, TreeId};
use crate::release::{Action, Artifact, EnvVar, Refusal, RefusalKind, Release, Resources, Role, Serving, Strategy};
use crate::render;

/// The files in the directory of a release, given by its tree, that are not what `release.yaml` says was rendered.
pub(super) fn drifted(repository: &Repository, directory: &TreeId, release: &Release) -> Result<Vec<String>, GitError> {
    let mut drifted = Vec::new();
    for (name, digest) in &release.rendered.files {
        let bytes = match repository.read_in(directory, name) {
            // Whatever it is, it is not what was rendered.
            Err(GitError::TooLarge { .. }) => None,
            other => other?,
        };
        if bytes.is_none_or(|bytes| crate::names::Digest::of(&bytes) != *digest) {
            drifted.push(name.clone());
        }
    }
    Ok(drifted)
}

/// What became of a change by hand that is to be taken over.
pub(super) enum Adopted {
    /// There was none.
    Nothing,
    Committed(CommitId),
    /// The branch takes no push of it, and this is waited for.
    Waits(String),
}

/// Takes over what was changed by hand: one commit, or none where nothing was.
pub(super) fn adopt(turn: &mut Turn<'_>, task: &Task) -> Result<Adopted, Hindrance> {
    let Some(entry) = turn.entry(&task.key).filter(|entry| !entry.drifted.is_empty()) else {
        return Ok(Adopted::Nothing);
    };
    let mut release = Release::clone(&entry.release);
    let directory = task.key.directory();
    if let Some(text) = turn.read(&format!("{directory}/seldon.yaml"))? {
        read_back_seldon(&mut release, &String::from_utf8_lossy(&text));
    }
    if let Some(text) = turn.read(&format!("{directory}/route.yaml"))? {
        read_back_route(&mut release, &String::from_utf8_lossy(&text));
    }
    let found = release.violations();
    if !found.is_empty() {
        return Err(Refusal::violations(found).into());
    }
    let templates = &turn.shared.settings.templates;
    let manifests = apply::render(turn.shared, &release)?;
    // What nobody changed follows `release.yaml`; a file that was never rendered here is a person's as well.
    let is_ours = |name: &String| entry.release.rendered.files.contains_key(name) && !entry.drifted.contains(name);
    let gone = entry.drifted.iter().filter(|name| !manifests.files.contains_key(*name));
    for name in manifests.files.keys().filter(|name| !is_ours(name)).chain(gone) {
        let text = manifests.files.get(name).map_or("", String::as_str);
        let there = turn.read(&format!("{directory}/{name}"))?;
        if there.is_none() && !entry.drifted.contains(name) {
            continue;
        }
        let there = String::from_utf8_lossy(&there.unwrap_or_default()).into_owned();
        if there != *text {
            return Err(not_reproduced(name, text, &there).into());
        }
    }
    render::finish(&mut release, &manifests, templates);
    release.rollout.since = turn.now();
    let files = manifests.files.into_iter().map(|(name, text)| (name, text.into_bytes())).collect();
    let write = Write {
        edits: apply::edits(&task.key, &release, files, Some(&entry.release)),
        subject: release.clone(),
        after: Some(release),
        action: Action::Adopt,
        summary: "take over what was changed by hand".to_owned(),
        body: format!("Changed by hand before: {}.", entry.drifted.join(", ")),
        created: false,
        more: None,
    };
    if let Some(merges_itself) = turn.wants_review(&task.key, write.action) {
        return Ok(Adopted::Waits(turn.propose_for_review(task, write, merges_itself)??));
    }
    Ok(turn.commit(write, task)?.map_or(Adopted::Nothing, Adopted::Committed))
}

fn not_reproduced(name: &str, rendered: &str, there: &str) -> Refusal {
    /// Enough lines to see what it is about.
    const LINES_MAX: usize = 6;
    let diff = TextDiff::from_lines(rendered, there);
    let lines: Vec<String> = diff
        .iter_all_changes()
        .filter(|change| change.tag() != similar::ChangeTag::Equal)
        .take(LINES_MAX)
        .map(|change| format!("{}{}", change.tag(), crate::names::shown(change.value().trim_end())))
        .collect();
    Refusal {
        kind: RefusalKind::Drifted,
        reason: format!("`{name}` says something that is not read back into `release.yaml`: {}", lines.join(" | ")),
        cure: Some("undo these lines by a push, or render over the file with `force=true` (`--force`)".to_owned()),
        violations: Vec::new(),
    }
}

#[derive(Deserialize)]
struct Container {
    image: Option<String>,
    resources: Option<Resources>,
    #[serde(default)]
    env: Vec<Value>,
}

/// Reads image, replicas, resources and environment of each predictor back.
fn read_back_seldon(release: &mut Release, text: &str) {
    let Ok(value) = serde_yaml::from_str::<Value>(text) else { return };
    let predictors = value
        .get("spec")
        .and_then(|spec| spec.get("predictors"))
        .and_then(Value::as_sequence)
        .cloned()
        .unwrap_or_default();
    for predictor in predictors {
        let name = predictor.get("name").and_then(Value::as_str).unwrap_or_default();
        let Some(position) = release.spec.variants.iter().position(|variant| variant.predictor.as_str() == name) else {
            continue;
        };
        let before = release.serving_of(&release.spec.variants[position]);
        let mut serving = before.clone();
        if let Some(replicas) = predictor.get("replicas").and_then(Value::as_u64).and_then(|n| u16::try_from(n).ok()) {
            serving.replicas = Some(replicas);
        }
        let container = predictor
            .get("componentSpecs")
            .and_then(|specs| specs.get(0))
            .and_then(|spec| spec.get("spec"))
            .and_then(|spec| spec.get("containers"))
            .and_then(|containers| containers.get(0))
            .and_then(|container| serde_yaml::from_value::<Container>(container.clone()).ok());
        if let Some(container) = container {
            read_back_container(release, position, container, &mut serving);
        }
        if serving != before {
            put_serving(release, position, serving);
        }
    }
}

fn read_back_container(release: &mut Release, position: usize, container: Container, serving: &mut Serving) {
    let variant = &mut release.spec.variants[position];
    if let Some(image) = container.image.filter(|_| variant.artifact.image.is_some()) {
        variant.artifact = Artifact::of_image(image);
    }
    serving.resources = container.resources.or(serving.resources.take());
    // The render adds variables of its own; only those that the release has, or that it could have, are read back.
    let env: Vec<EnvVar> = container.env.into_iter().filter_map(|value| serde_yaml::from_value(value).ok()).collect();
    let known = serving.env.clone().unwrap_or_default();
    let changed: Vec<EnvVar> =
        known.iter().map(|one| env.iter().find(|other| other.name == one.name).unwrap_or(one).clone()).collect();
    if !changed.is_empty() {
        serving.env = Some(changed);
    }
}

/// On the release where it is the only variant, else on the variant.
fn put_serving(release: &mut Release, position: usize, serving: Serving) {
    if release.spec.variants.len() == 1 {
        release.spec.variants[0].serving = None;
        release.spec.serving = serving;
    } else {
        release.spec.variants[position].serving = Some(serving);
    }
}

/// Reads the weights of an A/B release and the percent of a shadow back; those of a canary are its step, which is the service's.
fn read_back_route(release: &mut Release, text: &str) {
    let documents = serde_yaml::Deserializer::from_str(text).filter_map(|document| Value::deserialize(document).ok());
    let routes = documents.filter(|document| document.get("kind").and_then(Value::as_str) == Some("HTTPRoute"));
    let rules: Vec<Value> =
        routes.filter_map(|route| route.get("spec")?.get("rules")?.as_sequence().cloned()).flatten().collect();
    match release.spec.strategy {
        Strategy::Ab => read_back_weights(release, &rules),
        Strategy::Shadow => read_back_percent(release, &rules),
        Strategy::Single | Strategy::Canary | Strategy::BlueGreen => {}
    }
}

fn read_back_percent(release: &mut Release, rules: &[Value]) {
    let filters = rules.iter().filter_map(|rule| rule.get("filters")?.as_sequence()).flatten();
    let percent = filters.filter_map(|filter| filter.get("requestMirror")?.get("percent")?.as_u64()).next();
    if let (Some(shadow), Some(percent)) = (&mut release.spec.shadow, percent.and_then(|n| u8::try_from(n).ok())) {
        shadow.percent = percent;
    }
}

fn read_back_weights(release: &mut Release, rules: &[Value]) {
    let prefix = format!("{}-", release.metadata.name);
    let main =
        rules.iter().filter_map(|rule| rule.get("backendRefs")?.as_sequence()).max_by_key(|backends| backends.len());
    let Some(main) = main.filter(|main| main.len() > 1) else { return };
    let found: Vec<(Role, u8)> = main
        .iter()
        .filter_map(|backend| {
            let predictor = backend.get("name")?.as_str()?.strip_prefix(&prefix)?;
            let weight = u8::try_from(backend.get("weight")?.as_u64()?).ok()?;
            let variant = release.spec.variants.iter().find(|variant| variant.predictor.as_str() == predictor)?;
            Some((variant.role, weight))
        })
        .collect();
    let Some(ab) = &mut release.spec.ab else { return };
    if found.iter().map(|(_, weight)| u32::from(*weight)).sum::<u32>() == 100 {
        for (role, weight) in found {
            ab.weights.insert(role, weight);
        }
    }
}
