//! What one call works with: the options, the catalogue, the files and the cluster.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::arguments::{ArgoCd, ClusterKind};
use crate::catalogue::{Catalogue, Component};
use crate::checkout::{Checkout, unreadable};
use crate::fault::{Fault, Kind};
use crate::kubectl::Kubectl;
use crate::manifests::Repository;
use crate::options::{ARGO_CD, Options, Setting};

#[derive(Debug)]
pub struct Session {
    pub options: Options,
    /// Without the parts that are left out.
    pub catalogue: Catalogue,
    /// The namespaces that only those parts would have.
    pub without_namespaces: Vec<String>,
    pub checkout: Checkout,
    pub repository: Repository,
    pub kubectl: Kubectl,
    /// How often the cluster is asked while something is waited for.
    pub poll: Duration,
    /// How long one wave, or one workload, may take.
    pub timeout: Duration,
    /// Archives of images to load first.
    pub offline_images: Option<PathBuf>,
}

impl Session {
    pub fn new(options: Options, checkout: Checkout, poll: Duration, timeout: Duration) -> Result<Self, Fault> {
        let mut catalogue = Catalogue::read(&checkout.gitops)?;
        let everything: Vec<String> = catalogue.namespaces.iter().map(|namespace| namespace.name.clone()).collect();
        // An overlay may also take out what is no part: that is its own affair.
        let absent = options.absent.iter().filter(|name| catalogue.component(name).is_some());
        let left_out: Vec<String> = options.without.iter().chain(absent).cloned().collect();
        refuse_without(&options, &left_out)?;
        catalogue.leave_out(&left_out)?;
        let is_gone = |name: &String| !catalogue.namespaces.iter().any(|namespace| namespace.name == *name);
        // The namespace of an Argo CD that is there is whose that is.
        let is_lent = |name: &String| name == "argocd" && options.argo_cd == ArgoCd::Present;
        let without_namespaces = everything.into_iter().filter(|name| is_gone(name) || is_lent(name)).collect();
        refuse_settings(&catalogue, &options)?;
        let repository = Repository::read(&checkout.platform("repository"))?;
        let kubectl = Kubectl::new(options.context());
        Ok(Self {
            options,
            catalogue,
            without_namespaces,
            checkout,
            repository,
            kubectl,
            poll,
            timeout,
            offline_images: None,
        })
    }

    /// A component that the program knows by name.
    pub fn component(&self, name: &str) -> Result<&Component, Fault> {
        let missing = || Fault::new(format!("the catalogue has no `{name}`"), "restore it from the checkout");
        self.catalogue.component(name).ok_or_else(missing)
    }

    /// The parts that are left out, as a person reads it; none where the profile is whole.
    pub fn left_out(&self) -> Option<String> {
        let parts: Vec<&str> = self.options.without.iter().chain(&self.options.absent).map(String::as_str).collect();
        (!parts.is_empty()).then(|| parts.join(", "))
    }

    /// The image of the release service, as its manifests name it.
    pub fn service_image(&self) -> Result<String, Fault> {
        let file = self.checkout.platform("kmlflow/kustomization.yaml");
        let text = std::fs::read_to_string(&file).map_err(|error| unreadable(&file, &error))?;
        let manifest: Value = serde_yaml::from_str(&text).unwrap_or_default();
        let entry = manifest["images"].as_array().into_iter().flatten().find(|image| image["name"] == "kmlflow");
        let field = |name: &str| entry.and_then(|image| image[name].as_str());
        match (field("newName").or_else(|| field("name")), field("newTag"), field("digest")) {
            (Some(name), _, Some(digest)) => Ok(format!("{name}@{digest}")),
            (Some(name), Some(tag), None) => Ok(format!("{name}:{tag}")),
            _ => {
                let what = format!("`{}` has no image `kmlflow` with a tag", file.display());
                Err(Fault::new(what, "`images: [{name: kmlflow, newName: kmlflow, newTag: VERSION}]`"))
            }
        }
    }
}

/// Some parts are what the others stand on.
fn refuse_without(options: &Options, left_out: &[String]) -> Result<(), Fault> {
    let leave_in = |part: &str| format!("leave `--without {part}` out, and keep it in the overlay");
    let needed = [
        ("kmlflow", true, "it serves the releases, and the repository", leave_in("kmlflow")),
        (
            ARGO_CD,
            options.argo_cd == ArgoCd::Install,
            "it brings every other part",
            "`--argo-cd present` uses the one that is there".to_owned(),
        ),
        (
            "gateway",
            options.cluster == ClusterKind::Minikube,
            "the addresses of this machine lead to it",
            leave_in("gateway"),
        ),
    ];
    let wrong = needed.into_iter().find(|(part, is_needed, ..)| *is_needed && left_out.iter().any(|out| out == part));
    let Some((part, _, why, cure)) = wrong else { return Ok(()) };
    Err(Fault::new(format!("`{part}` cannot be left out: {why}"), cure).of(Kind::WrongUsage))
}

/// Values are for charts; everything else is a file of the repository.
fn refuse_settings(catalogue: &Catalogue, options: &Options) -> Result<(), Fault> {
    let with_chart: Vec<&str> = catalogue
        .components(options.profile)
        .into_iter()
        .filter(|part| part.chart.is_some())
        .map(|part| part.name.as_str())
        .collect();
    let is_wrong = |setting: &&Setting| !with_chart.contains(&setting.part.as_str());
    let Some(wrong) = options.set.iter().find(is_wrong) else { return Ok(()) };
    let cure = format!(
        "name one with a chart ({}); anything else is changed in `platform/` of the repository. `--set {}.{}=` takes it back",
        with_chart.join(", "),
        wrong.part,
        wrong.key
    );
    Err(Fault::new(format!("`--set {wrong}` names no part of this profile with a chart"), cure).of(Kind::WrongUsage))
}
