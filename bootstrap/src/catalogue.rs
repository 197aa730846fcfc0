//! The catalogue: what the platform is made of. Everything else asks here.

use std::path::Path;

use clap::ValueEnum;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::addresses::Addresses;
use crate::fault::{Fault, Kind};
use crate::quantity::{Cpu, Memory};

/// Where it lies below the directory of the GitOps repository.
pub const FILE: &str = "platform/catalogue.yaml";

/// The ways of a recipe to a value that was not there before.
const UNIQUE: [&str; 3] = ["$(random", "$(fernet", "$(whsec"];

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub struct Catalogue {
    #[serde(rename = "apiVersion")]
    pub api_version: String,
    pub kind: String,
    pub host_suffix: String,
    /// Whether the gateway speaks HTTPS, with a certificate of the cluster's own authority.
    pub tls: bool,
    /// The port of this machine that addresses have.
    pub port: u16,
    /// The version of Kubernetes that a new cluster gets.
    pub kubernetes: String,
    pub profiles: Vec<Size>,
    pub namespaces: Vec<Namespace>,
    pub components: Vec<Component>,
    pub secrets: Vec<Recipe>,
    pub successors: Vec<Successor>,
}

/// How much of the platform; each has what the ones before have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    Core,
    Standard,
    Full,
}

/// What a profile may ask for, and the machine that it wants.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Size {
    pub name: Profile,
    pub budget: Requests,
    pub machine: Machine,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    pub cpus: u64,
    pub memory: Memory,
    pub disk: Memory,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Namespace {
    pub name: String,
    pub profile: Profile,
    /// The Pod Security Standard that is enforced.
    pub pods: String,
    #[serde(default)]
    pub routes: bool,
    /// The component whose manifests have the Namespace; bootstrap's own list has it otherwise.
    pub made_by: Option<String>,
    #[serde(default)]
    pub labels: IndexMap<String, String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Component {
    pub name: String,
    pub title: String,
    pub version: String,
    pub profile: Profile,
    pub wave: i32,
    pub namespace: String,
    /// Its folder below `platform/`.
    pub path: Option<String>,
    pub chart: Option<Chart>,
    /// The release of a kustomization elsewhere that its folder takes in.
    pub upstream: Option<String>,
    /// The component whose chart brings it.
    pub part_of: Option<String>,
    /// The kinds without a namespace that it may make.
    #[serde(default)]
    pub cluster: Vec<String>,
    /// Groups of kinds, or single ones as `plural.group`, that it brings or whose controller it is: it has no place where somebody else's are.
    #[serde(default)]
    pub kinds: Vec<String>,
    /// Other namespaces that it has objects in.
    #[serde(default)]
    pub also_in: Vec<String>,
    /// `namespace/kind/name` of what its program makes by itself in a namespace that is not bootstrap's, and leaves behind when it ends.
    #[serde(default)]
    pub leaves: Vec<String>,
    /// The kinds with a namespace that it may make, as `group/Kind`; any where it names none.
    #[serde(default)]
    pub objects: Vec<String>,
    /// `kind/name` of what shows that it is there.
    pub health: String,
    /// The first part of its host name; empty for the suffix itself.
    pub address: Option<String>,
    pub sign_in: Option<SignIn>,
    #[serde(default)]
    pub requests: Requests,
    /// The version whose memory was measured, where it is another one than this.
    pub measured: Option<String>,
    /// What it stands for that upstream has given up.
    pub in_place_of: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chart {
    pub repository: String,
    pub name: String,
    pub version: String,
    /// What Helm calls what it makes, where it is not the component's name: names of objects follow from it, and some are named elsewhere.
    #[serde(default)]
    pub release: Option<String>,
    /// Its definitions of kinds are left out: another component brings them, in an earlier wave.
    #[serde(default)]
    pub skip_kinds: bool,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignIn {
    pub user: String,
    /// `namespace/name/key` of the Secret with the password.
    pub secret: Option<String>,
    /// The command that makes one.
    pub command: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Requests {
    pub cpu: Cpu,
    pub memory: Memory,
    /// The measured memory of the running program.
    pub resident: Option<Memory>,
}

/// A Secret that is made once.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// `namespace/name`.
    pub secret: String,
    pub profile: Profile,
    pub data: IndexMap<String, String>,
}

/// What was named first and is given up upstream, and what fills its place.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Successor {
    pub name: String,
    pub became: String,
    pub why: String,
}

impl Profile {
    pub const ALL: [Self; 3] = [Self::Core, Self::Standard, Self::Full];

    pub fn name(self) -> &'static str {
        match self {
            Self::Core => "core",
            Self::Standard => "standard",
            Self::Full => "full",
        }
    }
}

impl Catalogue {
    /// Reads it from the directory of a GitOps repository.
    pub fn read(repository: &Path) -> Result<Self, Fault> {
        let file = repository.join(FILE);
        let text = std::fs::read_to_string(&file).map_err(|error| {
            Fault::new(
                format!("the catalogue `{}` cannot be read: {error}", file.display()),
                "run it in a checkout of Kmlflow, or name the directory by `--gitops-repo DIR`",
            )
        })?;
        Self::parse(&text)
    }

    pub fn parse(text: &str) -> Result<Self, Fault> {
        let catalogue: Self = serde_yaml::from_str(text).map_err(|error| {
            Fault::new(format!("the catalogue is not as it should be: {error}"), "correct the line it names")
        })?;
        match (catalogue.api_version.as_str(), catalogue.kind.as_str()) {
            ("kmlflow.dev/v1", "Catalogue") => Ok(catalogue),
            (version, kind) => Err(Fault::new(
                format!(
                    "the catalogue says `{version}`, `{kind}`, and this program reads `kmlflow.dev/v1`, `Catalogue`"
                ),
                "use the bootstrap of the same checkout",
            )),
        }
    }

    /// The components of a profile, by wave, and in the order of the file within one.
    pub fn components(&self, profile: Profile) -> Vec<&Component> {
        let mut found: Vec<&Component> = self.components.iter().filter(|part| part.profile <= profile).collect();
        found.sort_by_key(|part| part.wave);
        found
    }

    /// Those that are an Application of their own.
    pub fn applications(&self, profile: Profile) -> Vec<&Component> {
        self.components(profile).into_iter().filter(|part| part.part_of.is_none()).collect()
    }

    /// Takes parts out, and with them the namespaces and Secrets that no other part has a use for.
    pub fn leave_out(&mut self, parts: &[String]) -> Result<(), Fault> {
        if let Some(unknown) = parts.iter().find(|part| self.component(part).is_none()) {
            let names: Vec<&str> = self.components.iter().map(|part| part.name.as_str()).collect();
            return Err(Fault::new(
                format!("the catalogue has no part `{unknown}`"),
                format!("one of: {}", names.join(", ")),
            )
            .of(Kind::NotFound));
        }
        let is_out = |part: &Component| {
            parts.contains(&part.name) || part.part_of.as_ref().is_some_and(|whole| parts.contains(whole))
        };
        let before: Vec<String> =
            self.components.iter().filter(|part| is_out(part)).map(|part| part.namespace.clone()).collect();
        self.components.retain(|part| !is_out(part));
        let has_a_use = |name: &str| {
            let uses = |part: &Component| part.namespace == name || part.also_in.iter().any(|also| also == name);
            !before.iter().any(|namespace| namespace == name) || self.components.iter().any(uses)
        };
        self.namespaces.retain(|namespace| has_a_use(&namespace.name));
        let kept: Vec<&str> = self.namespaces.iter().map(|namespace| namespace.name.as_str()).collect();
        self.secrets.retain(|recipe| kept.contains(&recipe.place().0));
        Ok(())
    }

    pub fn component(&self, name: &str) -> Option<&Component> {
        self.components.iter().find(|part| part.name == name)
    }

    pub fn namespaces(&self, profile: Profile) -> Vec<&Namespace> {
        self.namespaces.iter().filter(|namespace| namespace.profile <= profile).collect()
    }

    pub fn secrets(&self, profile: Profile) -> Vec<&Recipe> {
        self.secrets.iter().filter(|recipe| recipe.profile <= profile).collect()
    }

    /// The Secrets that a recipe is made from and that nothing here makes: they went with a part that is left out.
    pub fn sources_without_recipe<'r>(&self, recipe: &'r Recipe) -> Vec<&'r str> {
        let has_recipe = |source: &&str| self.secrets.iter().any(|known| known.secret == **source);
        recipe.sources().into_iter().filter(|source| !has_recipe(source)).collect()
    }

    /// What the pods of a profile ask for, all together.
    pub fn requests(&self, profile: Profile) -> Requests {
        let parts = self.components(profile);
        Requests {
            cpu: parts.iter().map(|part| part.requests.cpu).sum(),
            memory: parts.iter().map(|part| part.requests.memory).sum(),
            resident: None,
        }
    }

    pub fn size(&self, profile: Profile) -> Option<&Size> {
        self.profiles.iter().find(|size| size.name == profile)
    }

    /// The address of a component in a browser.
    pub fn url(&self, part: &Component) -> Option<String> {
        let beginning = match part.address.as_deref()? {
            "" => String::new(),
            name => format!("{name}."),
        };
        Some(Addresses::of(self).url(&beginning))
    }
}

impl Component {
    /// Whether a kind is one of those that it brings or whose controller it is.
    pub fn has_kind(&self, definition: &str) -> bool {
        let group = definition.split_once('.').map_or("", |(_, group)| group);
        self.kinds.iter().any(|kind| kind == definition || kind == group)
    }
}

impl Recipe {
    /// Whether it has a value that no other Secret tells: made anew, what was written with it would be lost.
    pub fn is_unique(&self) -> bool {
        let makes = |template: &String| UNIQUE.iter().any(|way| template.contains(way));
        self.data.values().any(makes)
    }

    /// The Secrets, as `namespace/name`, that its values are taken from.
    pub fn sources(&self) -> Vec<&str> {
        let of = |piece: &str| piece.split_once(')').map(|(what, _)| what.len());
        let pieces = self.data.values().flat_map(|template| template.split("$(").skip(1));
        let paths = pieces.filter_map(|piece| piece.get(..of(piece)?)).filter_map(|what| what.rsplit(' ').next());
        paths
            .filter_map(|path| path.rsplit_once('/').map(|(secret, _)| secret))
            .filter(|source| *source != self.secret)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalogue() -> Catalogue {
        Catalogue::parse(include_str!("../../gitops-repo/platform/catalogue.yaml")).unwrap()
    }

    #[test]
    fn a_part_that_is_left_out_takes_along_what_only_it_uses() {
        let mut catalogue = catalogue();
        catalogue.leave_out(&["prometheus".into(), "cert-manager".into()]).unwrap();
        assert!(catalogue.component("grafana").is_none(), "it came with Prometheus");
        let has = |name: &str| catalogue.namespaces.iter().any(|namespace| namespace.name == name);
        // Another part lies in the namespace of the monitoring.
        assert!(!has("cert-manager") && has("monitoring") && has("models"));
        catalogue.leave_out(&["harbor".into()]).unwrap();
        assert!(!catalogue.secrets.iter().any(|recipe| recipe.secret.starts_with("harbor/")));
    }

    #[test]
    fn a_part_that_nobody_knows_is_refused_with_those_that_are() {
        let fault = catalogue().leave_out(&["cert-manger".into()]).unwrap_err();
        assert!(fault.what.contains("`cert-manger`") && fault.cure.contains("cert-manager"), "{fault:?}");
    }

    #[test]
    fn a_secret_knows_what_it_is_made_from_and_whether_it_can_be_made_again() {
        let mut catalogue = catalogue();
        let find = |catalogue: &Catalogue, name: &str| {
            catalogue.secrets.iter().find(|recipe| recipe.secret == name).unwrap().clone()
        };
        let (mlflow, models) = (find(&catalogue, "mlflow/mlflow"), find(&catalogue, "models/kmlflow-storage"));
        assert_eq!((mlflow.is_unique(), mlflow.sources()), (true, vec!["storage/postgres-users"]));
        assert_eq!((models.is_unique(), models.sources()), (false, vec!["storage/object-store-keys"]));
        assert_eq!(find(&catalogue, "harbor/harbor-registry").sources(), [] as [&str; 0]);
        assert_eq!(catalogue.sources_without_recipe(&mlflow), [] as [&str; 0]);
        catalogue.leave_out(&["postgresql".into(), "object-store".into(), "object-store-browser".into()]).unwrap();
        assert_eq!(catalogue.sources_without_recipe(&mlflow), ["storage/postgres-users"]);
    }

    #[test]
    fn a_kind_is_a_part_s_by_its_group_or_its_name() {
        let catalogue = catalogue();
        let of = |definition: &str| {
            let has = |part: &&Component| part.has_kind(definition);
            catalogue.components.iter().filter(has).map(|part| part.name.as_str()).collect::<Vec<_>>()
        };
        assert_eq!(of("gateways.gateway.networking.k8s.io"), ["gateway-api"]);
        assert_eq!(of("envoyproxies.gateway.envoyproxy.io"), ["gateway-api", "envoy-gateway"]);
        assert_eq!(of("applications.argoproj.io"), ["argo-cd"]);
        assert_eq!(of("workflows.argoproj.io"), ["kubeflow-pipelines-kinds"]);
        assert_eq!(of("rollouts.argoproj.io"), [] as [&str; 0]);
    }

    #[test]
    fn a_catalogue_with_a_field_that_nobody_knows_is_refused() {
        let text = include_str!("../../gitops-repo/platform/catalogue.yaml");
        for wrong in [text.replacen("wave: ", "wafe: ", 1), text.replacen("kmlflow.dev/v1", "kmlflow.dev/v2", 1)] {
            assert!(Catalogue::parse(&wrong).is_err());
        }
    }
}
