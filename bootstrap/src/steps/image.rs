//! The image of the release service, which no registry has yet, and archives for a machine without a network.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use super::{Look, Step};
use crate::arguments::ClusterKind;
use crate::fault::{Fault, Kind};
use crate::kubectl::refuse;
use crate::options::MINIKUBE_PROFILE;
use crate::program::Call;
use crate::reporter::Reporter;
use crate::session::Session;
use crate::{digest, manifests};

pub(super) struct Image;
pub(super) struct Offline;

/// A first build compiles every crate on a small machine.
const BUILD_LIMIT: Duration = Duration::from_secs(3600);

/// Loading an archive of some gigabytes onto every node.
const LOAD_LIMIT: Duration = Duration::from_secs(900);

impl Step for Image {
    fn name(&self) -> &'static str {
        "image"
    }

    fn title(&self) -> &'static str {
        "Image of the release service"
    }

    fn plan(&self, session: &Session) -> Result<Vec<String>, Fault> {
        match session.options.cluster {
            ClusterKind::Minikube => Ok(vec![
                format!("check {}, and that it is built from what this checkout has", images().line()),
                format!("run {}", build(session)?.line()),
            ]),
            ClusterKind::Existing => Ok(vec![format!(
                "nothing: the cluster pulls `{}` by the name in platform/kmlflow",
                session.service_image()?
            )]),
        }
    }

    fn look(&self, session: &Session, _: &mut Reporter) -> Result<Look, Fault> {
        if session.options.cluster == ClusterKind::Existing {
            return Ok(Look::Done(format!("the cluster pulls `{}`", session.service_image()?)));
        }
        let image = built(session)?;
        let answer = images().run()?;
        refuse(&answer, "the images of the cluster cannot be listed")?;
        let is_there = answer.stdout.lines().any(|line| is_named(line.trim(), &image));
        match is_there && is_of_checkout(session)? {
            true => Ok(Look::Done(format!("`{image}` is there"))),
            false => Ok(Look::ToDo),
        }
    }

    fn act(&self, session: &Session, reporter: &mut Reporter) -> Result<String, Fault> {
        // Before the build: what is changed meanwhile is built by the next run.
        let sources = sources(session)?;
        let answer = build(session)?.run_and_tell(&mut |line| reporter.waiting(line))?;
        refuse(&answer, "the image of the release service could not be built")?;
        restart(session)?;
        let note = manifests::note(NOTE.0, NOTE.1, &json!({"sources": sources}));
        session.kubectl.apply(&note, "the note of what the image was built from")?;
        Ok(format!("`{}` built in the cluster", built(session)?))
    }
}

/// What is built bears the name that the pods ask for, without the digest that only a registry's has.
fn built(session: &Session) -> Result<String, Fault> {
    let image = session.service_image()?;
    Ok(image.split_once('@').map_or(image.as_str(), |(name, _)| name).to_owned())
}

/// The ConfigMap that says from which files the image was built.
const NOTE: (&str, &str) = ("k5w", "bootstrap-image");

/// What the program is built from.
const SOURCES: [&str; 8] = [
    "Cargo.toml",
    "Cargo.lock",
    "Dockerfile",
    "rust-toolchain.toml",
    "examples/demo",
    "gitops-repo",
    "service",
    "templates",
];

/// The digest of what the image is built from; none outside of a checkout, which builds none.
fn sources(session: &Session) -> Result<Option<String>, Fault> {
    session.checkout.root.as_deref().map(|root| digest::of_files(root, &SOURCES)).transpose()
}

/// Whether the image in the cluster was built from what this checkout has.
pub fn is_of_checkout(session: &Session) -> Result<bool, Fault> {
    let Some(sources) = sources(session)? else { return Ok(true) };
    let noted = session.kubectl.get(&["configmap", NOTE.1, "--namespace", NOTE.0])?;
    Ok(noted.is_some_and(|noted| noted["data"]["sources"] == sources))
}

/// Pods take up an image of the same name when they start; the step of the service waits for them.
fn restart(session: &Session) -> Result<(), Fault> {
    let service = ["statefulset/kmlflow", "--namespace", "k5w"];
    if session.kubectl.get(&service)?.is_none() {
        return Ok(());
    }
    refuse(
        &session.kubectl.call(&[&["rollout", "restart"], &service[..]].concat()).run()?,
        "the release service could not be restarted with its new image",
    )
}

/// Whether a name of the runtime, which has a registry before it, is that of an image.
fn is_named(listed: &str, image: &str) -> bool {
    listed.strip_suffix(image).is_some_and(|place| place.is_empty() || place.ends_with('/'))
}

fn images() -> Call {
    Call::new("minikube", ["image", "ls", "--profile", MINIKUBE_PROFILE])
}

fn build(session: &Session) -> Result<Call, Fault> {
    let outside = || {
        Fault::new(
            "the image of the release service is built from a checkout, and this is none",
            "run it in a checkout of Kmlflow",
        )
    };
    let root = session.checkout.root.as_deref().ok_or_else(outside)?;
    let tag = format!("--tag={}", built(session)?);
    let mut arguments = vec!["image".to_owned(), "build".to_owned(), format!("--profile={MINIKUBE_PROFILE}"), tag];
    if session.options.nodes > 1 {
        arguments.push("--all".to_owned());
    }
    arguments.push(root.display().to_string());
    Ok(Call::new("minikube", arguments).within(BUILD_LIMIT))
}

impl Step for Offline {
    fn name(&self) -> &'static str {
        "offline-images"
    }

    fn title(&self) -> &'static str {
        "Images from archives"
    }

    fn plan(&self, session: &Session) -> Result<Vec<String>, Fault> {
        Ok(archives(session)?.iter().map(|archive| format!("run {}", load(archive).line())).collect())
    }

    fn look(&self, _: &Session, _: &mut Reporter) -> Result<Look, Fault> {
        // What is there already is found out by loading it, in a moment.
        Ok(Look::ToDo)
    }

    fn act(&self, session: &Session, reporter: &mut Reporter) -> Result<String, Fault> {
        let archives = archives(session)?;
        for archive in &archives {
            reporter.waiting(&format!("loading `{}`", archive.display()));
            refuse(&load(archive).run()?, &format!("`{}` could not be loaded", archive.display()))?;
        }
        Ok(format!("{} loaded", archives.len()))
    }
}

fn load(archive: &std::path::Path) -> Call {
    Call::new("minikube", ["image", "load", "--profile", MINIKUBE_PROFILE, &archive.display().to_string()])
        .within(LOAD_LIMIT)
}

fn archives(session: &Session) -> Result<Vec<PathBuf>, Fault> {
    let Some(folder) = &session.offline_images else { return Ok(Vec::new()) };
    let unreadable = |why: String| {
        Fault::new(
            format!("`{}` has no archives of images: {why}", folder.display()),
            "`docker save IMAGE > DIR/NAME.tar` makes one",
        )
        .of(Kind::NotFound)
    };
    let entries = std::fs::read_dir(folder).map_err(|error| unreadable(error.to_string()))?;
    let mut found: Vec<PathBuf> = entries.filter_map(Result::ok).map(|entry| entry.path()).collect();
    found.retain(|path| path.extension().is_some_and(|extension| extension == "tar"));
    found.sort();
    match found.is_empty() {
        true => Err(unreadable("no `*.tar` in it".to_owned())),
        false => Ok(found),
    }
}
