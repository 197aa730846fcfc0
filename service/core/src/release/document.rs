//! `release.yaml`: everything the service knows of a release, and the only input of the render.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Ab, BlueGreen, Canary, Period, Role, Serving, Shadow, Strategy};
use crate::names::{
    CommitId, Digest, EnvironmentName, ModelName, Namespace, PolicyName, PredictorName, ReleaseKey, ReleaseName,
    Version,
};

/// The document in `releases/<environment>/<namespace>/<name>/release.yaml`; the same object is what the API answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Release {
    pub api_version: ApiVersion,
    pub kind: ReleaseKind,
    pub metadata: Metadata,
    pub spec: ReleaseSpec,
    #[serde(default)]
    pub origin: Origin,
    pub rollout: Rollout,
    #[serde(default)]
    pub rendered: Rendered,
}

/// `kmlflow.dev/v1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub enum ApiVersion {
    #[default]
    #[serde(rename = "kmlflow.dev/v1")]
    V1,
}

/// `Release`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub enum ReleaseKind {
    #[default]
    Release,
}

/// Which release it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Metadata {
    pub name: ReleaseName,
    pub namespace: Namespace,
    pub environment: EnvironmentName,
}

/// What shall be: which versions serve, how, and where.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ReleaseSpec {
    /// The registered model in MLflow.
    pub model: ModelName,
    pub strategy: Strategy,
    /// The first is the stable one; those that leave are last.
    pub variants: Vec<Variant>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub canary: Option<Canary>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ab: Option<Ab>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub blue_green: Option<BlueGreen>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub shadow: Option<Shadow>,
    pub serving: Serving,
    #[serde(default)]
    pub route: RouteSettings,
    /// From commit to live; after it the release is stalled.
    #[serde(default = "ReleaseSpec::default_deadline")]
    pub deadline: Period,
    pub target: Target,
}

/// One serving version inside a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Variant {
    pub role: Role,
    pub version: Version,
    pub predictor: PredictorName,
    #[serde(flatten)]
    pub artifact: Artifact,
    /// Where this variant differs from the release's `serving`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub serving: Option<Serving>,
}

/// What is served: exactly one of a container image and a model artifact.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", from = "WrittenArtifact")]
pub struct Artifact {
    /// The container image that serves the version.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub image: Option<String>,
    /// The directory that holds the `MLmodel` file, for a runtime to load.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub model_uri: Option<String>,
    /// The digest of its `MLmodel` file, where that was read: another one is another model.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(value_type = Option<String>)]
    pub model_digest: Option<Digest>,
    /// True where the image is a tag that was not resolved to a digest: what it names may change. Ignored on input.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    unpinned: bool,
}

/// An artifact as it is read; whoever wrote it does not say what follows from it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WrittenArtifact {
    image: Option<String>,
    model_uri: Option<String>,
    model_digest: Option<Digest>,
    #[serde(default, rename = "unpinned")]
    _unpinned: serde::de::IgnoredAny,
}

/// Settings of the route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteSettings {
    #[serde(default)]
    pub auth: RouteAuth,
}

/// Who may call the endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum RouteAuth {
    /// Whoever reaches the gateway.
    #[default]
    None,
}

/// Where the release goes, resolved by the plan so that the render needs no configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Target {
    pub cluster: String,
    /// The cluster's namespace: the release's with the environment's prefix.
    pub namespace: String,
    pub gateway: GatewayRef,
    /// Host name of the endpoint.
    pub host: String,
    /// Host name of the idle colour.
    pub preview_host: String,
    /// Host name for gRPC.
    pub grpc_host: String,
    pub monitoring: MonitoringTarget,
    /// Web pages about the release, for the links in the cluster's tools.
    pub links: Links,
}

/// The Gateway that the routes attach to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GatewayRef {
    pub namespace: String,
    pub name: String,
}

/// Whether and how the Prometheus operator's objects are made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MonitoringTarget {
    pub mode: MonitoringMode,
    /// Labels that the cluster's Prometheus selects by.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// Whether the Prometheus operator's kinds are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum MonitoringMode {
    #[default]
    Operator,
    Off,
}

/// Addresses of pages about the release; empty where the configuration has none.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Links {
    /// The release in this service's UI.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub release: Option<String>,
    /// Base address of Grafana.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub grafana: Option<String>,
    /// Base address of MLflow's UI.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub mlflow: Option<String>,
}

/// Why the release is as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Origin {
    /// The policy that asked for it, where one did.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub policy: Option<PolicyName>,
    /// The registry state last acted on, or known when a person acted.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub registry: Option<RegistryView>,
    /// The person or program that asked for it, where one did.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub requested_by: Option<String>,
}

/// The part of a model's registry state that its policy reads.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RegistryView {
    #[schema(value_type = BTreeMap<String, String>)]
    #[serde(default)]
    pub aliases: BTreeMap<String, Version>,
    /// Required tags of the versions that the aliases name, as `<version>.<key>`, where the policy reads any.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
}

/// How far the release has come; written by the service only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Rollout {
    pub phase: Phase,
    /// The canary's present step from 0, or the number of flips of a blue-green release.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub step: Option<u32>,
    /// When the present state was decided.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub paused: Option<Paused>,
    /// How the last run ended.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub outcome: Option<Outcome>,
    /// The commit whose settled state a rollback is on its way to, or has restored.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub restores: Option<CommitId>,
    /// The predictor whose documentation page is routed, where `docsPath` is set.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub docs: Option<PredictorName>,
    /// Versions rolled back or aborted, the newest 50; neither policy nor sweep brings one back.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub rejected: Vec<Rejected>,
}

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// A new predictor is there; no route names it.
    Entering,
    /// The route names what the strategy says.
    Running,
    /// The route names what stays; what goes is removed.
    Leaving,
    /// One version serves through the release's own Service.
    Settled,
}

impl Phase {
    /// Its name as it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Entering => "entering",
            Self::Running => "running",
            Self::Leaving => "leaving",
            Self::Settled => "settled",
        }
    }
}

/// Since when and by whom a release is paused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Paused {
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    pub by: String,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    Promoted,
    RolledBack,
    Aborted,
    Superseded,
}

/// A version that was rolled back or aborted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Rejected {
    pub version: Version,
    /// The release's commit at that moment.
    pub commit: CommitId,
    pub reason: String,
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
}

/// What the render wrote.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Rendered {
    /// Digest of the template set.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub templates: Option<Digest>,
    /// Digest of each rendered file.
    #[schema(value_type = BTreeMap<String, String>)]
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub files: IndexMap<String, Digest>,
    /// Digest of all that restarts the pods of each predictor.
    #[schema(value_type = BTreeMap<String, String>)]
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub pods: IndexMap<PredictorName, Digest>,
}

/// The name of the document's file in the release's directory.
pub const RELEASE_FILE: &str = "release.yaml";

impl Artifact {
    /// What somebody names; a name without a digest is unpinned.
    pub fn new(image: Option<String>, model_uri: Option<String>) -> Self {
        let unpinned = image.as_ref().is_some_and(|image| !image.contains("@sha256:"));
        Self { image, model_uri, model_digest: None, unpinned }
    }

    /// A container image.
    pub fn of_image(image: String) -> Self {
        Self::new(Some(image), None)
    }

    /// A model's files, with the digest of its `MLmodel` where that was read.
    pub fn of_model(model_uri: String, model_digest: Option<Digest>) -> Self {
        Self { model_digest, ..Self::new(None, Some(model_uri)) }
    }

    /// Whether what the image names may change.
    pub fn is_unpinned(&self) -> bool {
        self.unpinned
    }
}

impl From<WrittenArtifact> for Artifact {
    fn from(WrittenArtifact { image, model_uri, model_digest, _unpinned }: WrittenArtifact) -> Self {
        Self { model_digest, ..Self::new(image, model_uri) }
    }
}

/// The largest document that is read: what a request of the largest size can lead to, twice.
const DOCUMENT_BYTES_MAX: usize = 2 << 20;

/// The deepest nesting that is read. A release has about ten levels; the parser's time grows with the square of the depth.
const NESTING_MAX: usize = 100;

/// Whether the text may be nested deeper than any release. Counts brackets wherever they stand and the indentation of each line, so it
/// says yes too early for a text with a hundred unclosed brackets in a quoted value, which no release has either.
fn is_nested_too_deep(yaml: &str) -> bool {
    let mut depth = 0_usize;
    for byte in yaml.bytes() {
        match byte {
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > NESTING_MAX {
            return true;
        }
    }
    let indicators = |line: &str| line.bytes().take_while(|byte| b" -?:".contains(byte)).count();
    yaml.lines().any(|line| indicators(line) > 2 * NESTING_MAX)
}

impl ReleaseSpec {
    /// Ten minutes: an image pull, a model download and a start, with room to spare.
    pub fn default_deadline() -> Period {
        Period::from_minutes(10)
    }
}

impl Rollout {
    /// When what was decided last counts as applied and ready, where no cluster is watched.
    pub fn counts_as_live_at(&self, delay: Period) -> Timestamp {
        delay.after(self.since)
    }
}

impl Release {
    /// Where the release lives.
    pub fn key(&self) -> ReleaseKey {
        let Metadata { name, namespace, environment } = &self.metadata;
        ReleaseKey { environment: environment.clone(), namespace: namespace.clone(), name: name.clone() }
    }

    /// Reads the document.
    ///
    /// # Errors
    /// One sentence that says where it is not a release, or why it is not even read.
    pub fn parse(yaml: &str) -> Result<Self, String> {
        if yaml.len() > DOCUMENT_BYTES_MAX {
            return Err(format!("it is larger than {} KiB", DOCUMENT_BYTES_MAX / 1024));
        }
        if is_nested_too_deep(yaml) {
            return Err(format!("it is nested deeper than {NESTING_MAX} levels"));
        }
        super::yaml::from_yaml(yaml).map_err(|error| error.to_string())
    }

    /// Writes the document as it stands in the repository.
    pub fn to_yaml(&self) -> String {
        super::to_yaml(self).unwrap_or_else(|error| format!("# not written: {error}\n"))
    }

    /// The stable variant: the first.
    pub fn stable(&self) -> Option<&Variant> {
        self.spec.variants.first()
    }

    /// The variants that do not leave.
    pub fn staying(&self) -> impl Iterator<Item = &Variant> {
        self.spec.staying()
    }

    /// The variants that leave.
    pub fn leaving(&self) -> impl Iterator<Item = &Variant> {
        self.spec.variants.iter().filter(|variant| variant.role == Role::Leaving)
    }

    /// The variant with a role.
    pub fn variant(&self, role: Role) -> Option<&Variant> {
        self.spec.variants.iter().find(|variant| variant.role == role)
    }

    /// How a variant is served: its own settings over the release's over the defaults.
    pub fn serving_of(&self, variant: &Variant) -> Serving {
        let release = self.spec.serving.over(&Serving::defaults());
        variant.serving.as_ref().map_or_else(|| release.clone(), |own| own.over(&release))
    }
}
