//! What a request's and a document's fields may be: each offending field is named with the rule it breaks.
//!
//! The one home of these rules: a request, a plan, a pushed document and the render ask here, so that none lets through what
//! another refuses. What only a template can get wrong is the render's.

use indexmap::IndexMap;

use super::environment::check_env;
use super::image::image_fault;
use super::{
    Artifact, Autoscaling, ENGINE_GRPC_PORT, ENGINE_PORT, GRPC_PORT, HeaderMatch, METRICS_PORT, Period, Release,
    ReleaseSpec, Role, Serving, Step, Strategy, Target, Violation,
};
use crate::names::PredictorName;

/// The most steps of a canary; more than anyone watches.
const STEPS_MAX: usize = 20;

/// The most header matches of an A/B release: Gateway API allows 16 rules a route, and two are taken.
const MATCHES_MAX: usize = 14;

/// Collects offending fields.
#[derive(Debug, Default)]
pub struct Violations(Vec<Violation>);

impl Violations {
    /// Notes an offending field.
    pub fn add(&mut self, field: impl Into<String>, detail: impl Into<String>) {
        self.0.push(Violation { field: field.into(), detail: detail.into() });
    }

    /// Notes the field unless the rule holds.
    pub fn require(&mut self, holds: bool, field: &str, detail: &str) {
        if !holds {
            self.add(field, detail);
        }
    }

    /// All of them.
    pub fn into_vec(self) -> Vec<Violation> {
        self.0
    }
}

impl Serving {
    /// Notes each setting that cannot work, and what does not go together once no setting is left to a default.
    pub fn check_whole(&self, at: &str, found: &mut Violations) {
        self.check(at, found);
        let taken = self.engine() && [ENGINE_PORT, ENGINE_GRPC_PORT].contains(&self.port());
        found.require(
            !taken,
            &format!("{at}.port"),
            "must not be 8000 or 5001, which the engine listens on; a model may listen on 9000",
        );
        let has_cpu = self.resources.as_ref().is_some_and(|resources| resources.requests.contains_key("cpu"));
        found.require(
            self.autoscaling.is_none() || has_cpu,
            &format!("{at}.autoscaling"),
            "needs a CPU request: its percentage is one of that",
        );
    }

    /// Notes each setting that cannot work; `at` is the path of this object in the request.
    pub fn check(&self, at: &str, found: &mut Violations) {
        let field = |name: &str| format!("{at}.{name}");
        if let Some(port) = self.port {
            found.require(port != 0, &field("port"), "must be a port from 1 to 65535");
            found.require(
                port != METRICS_PORT && port != GRPC_PORT,
                &field("port"),
                "must not be 6000 or 9500, which are for metrics and gRPC",
            );
        }
        found.require(
            self.replicas != Some(0),
            &field("replicas"),
            "must be at least 1: a predictor without a pod freezes the release",
        );
        if let Some(Autoscaling { min, max, cpu }) = self.autoscaling {
            found.require(min >= 1 && min <= max, &field("autoscaling"), "must have 1 ≤ min ≤ max");
            found.require((1..=100).contains(&cpu), &field("autoscaling.cpu"), "must be 1 to 100");
        }
        if let Some(resources) = &self.resources {
            resources.check(&field("resources"), found);
        }
        if let Some(env) = &self.env {
            check_env(env, &field("env"), found);
        }
        found.require(self.timeout.is_none_or(|t| !t.is_zero()), &field("timeout"), "must be at least 1s");
        for (name, path) in
            [("docsPath", self.docs_path.as_ref()), ("probe.path", self.probe.as_ref().map(|p| &p.path))]
        {
            found.require(
                path.is_none_or(|p| is_url_path(p)),
                &field(name),
                "must begin with `/`, hold only letters, digits and -._~/, and have no `//` and no part `.` or `..`",
            );
        }
        if let Some(fault) = self.runtime.as_ref().and_then(|image| image_fault(image)) {
            found.add(field("runtime"), fault);
        }
        found.require(
            self.storage_secret.as_ref().is_none_or(|s| is_object_name(s)),
            &field("storageSecret"),
            "is not the name of a Secret",
        );
        if let Some(pod) = &self.pod {
            let names = pod
                .image_pull_secrets
                .iter()
                .chain(&pod.service_account_name)
                .chain(&pod.priority_class_name)
                .chain(&pod.runtime_class_name);
            for name in names {
                found.require(
                    is_object_name(name),
                    &field("pod"),
                    "names an object with a name that Kubernetes would refuse",
                );
            }
        }
    }
}

impl Target {
    fn check(&self, at: &str, found: &mut Violations) {
        for (name, host) in [("host", &self.host), ("previewHost", &self.preview_host), ("grpcHost", &self.grpc_host)] {
            found.require(
                is_host(host),
                &format!("{at}.{name}"),
                "must be a host name, whose parts have at most 63 characters",
            );
        }
    }
}

impl Artifact {
    /// Notes what is wrong with what shall be served.
    pub fn check(&self, at: &str, found: &mut Violations) {
        self.check_asked(at, found);
        if let Some(uri) = &self.model_uri {
            found.require(
                is_model_uri(uri),
                &format!("{at}modelUri"),
                "must be an address a cluster can read, such as `s3://bucket/path`",
            );
        }
    }

    /// Notes what is wrong with what a request asks for. Where an artifact is may be said in MLflow's own way there; the plan resolves it.
    pub(super) fn check_asked(&self, at: &str, found: &mut Violations) {
        if let Some(fault) = self.image.as_ref().and_then(|image| image_fault(image)) {
            found.add(format!("{at}image"), fault);
        }
        if let Some(uri) = &self.model_uri {
            found.require(
                is_address(uri),
                &format!("{at}modelUri"),
                "must be an address without spaces, quotes, `..` or a password, such as `s3://bucket/path`",
            );
        }
        found.require(
            self.image.is_none() || self.model_uri.is_none(),
            &format!("{at}modelUri"),
            "cannot be given together with `image`",
        );
    }
}

/// Notes what is wrong with the steps of a canary.
pub fn check_steps(steps: &[Step], found: &mut Violations) {
    found.require((1..=STEPS_MAX).contains(&steps.len()), "steps", "must be 1 to 20 steps");
    for step in steps {
        found.require(
            (1..=99).contains(&step.weight),
            "steps",
            "must have weights from 1 to 99: `promote` is what gives 100",
        );
    }
    let rising = steps.windows(2).all(|pair| pair[0].weight < pair[1].weight);
    found.require(rising, "steps", "must have rising weights");
}

/// Notes what is wrong with the shares of A/B arms.
pub fn check_weights(weights: &IndexMap<Role, u8>, arms: usize, found: &mut Violations) {
    let expected = &Role::ARMS[..arms.min(Role::ARMS.len())];
    let complete = weights.len() == expected.len() && expected.iter().all(|role| weights.contains_key(role));
    let names: Vec<&str> = expected.iter().map(|role| role.as_str()).collect();
    found.require(complete, "weights", &format!("must name each arm once: {}", names.join(", ")));
    found.require(weights.values().all(|w| (1..=99).contains(w)), "weights", "must be from 1 to 99");
    let sum: u32 = weights.values().map(|w| u32::from(*w)).sum();
    found.require(sum == 100, "weights", &format!("must sum to 100, not {sum}"));
}

/// Notes what is wrong with the header matches of an A/B release.
pub fn check_matches(matches: &[HeaderMatch], arms: usize, found: &mut Violations) {
    found.require(matches.len() <= MATCHES_MAX, "match", "has more than 14 rules");
    for (i, rule) in matches.iter().enumerate() {
        let at = format!("match[{i}]");
        let name_ok = (1..=64).contains(&rule.header.len())
            && rule.header.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        found.require(name_ok, &format!("{at}.header"), "must be the name of a header in lower case");
        let value_ok = (1..=256).contains(&rule.value.len()) && rule.value.bytes().all(|b| (0x20..0x7f).contains(&b));
        found.require(value_ok, &format!("{at}.value"), "must be 1 to 256 printable ASCII characters");
        let arm = Role::ARMS[..arms.min(Role::ARMS.len())].contains(&rule.variant);
        found.require(arm, &format!("{at}.variant"), "must be one of the arms");
        let doubled = matches[..i].iter().any(|other| other.header == rule.header && other.value == rule.value);
        found.require(!doubled, &at, "repeats an earlier rule");
    }
}

/// Notes what is wrong with the share of a shadow.
pub(super) fn check_percent(percent: Option<u8>, field: &str, found: &mut Violations) {
    found.require(percent.is_none_or(|percent| (1..=100).contains(&percent)), field, "must be from 1 to 100");
}

/// Notes what is wrong with a deadline.
pub(super) fn check_deadline(deadline: Option<Period>, field: &str, found: &mut Violations) {
    found.require(deadline.is_none_or(|deadline| !deadline.is_zero()), field, "must be at least 1s");
}

impl Release {
    /// Everything that makes this document no valid release, field by field; for one that a person wrote.
    pub fn violations(&self) -> Vec<Violation> {
        let mut found = Violations::default();
        let spec = &self.spec;
        found.require(
            !spec.variants.is_empty() && spec.variants.len() <= 16,
            "spec.variants",
            "must be 1 to 16 variants",
        );
        let base = spec.serving.over(&Serving::defaults());
        base.check_whole("spec.serving", &mut found);
        spec.target.check("spec.target", &mut found);
        spec.check_strategy(&mut found);
        for (i, variant) in spec.variants.iter().enumerate() {
            let at = format!("spec.variants[{i}]");
            variant.artifact.check(&format!("{at}."), &mut found);
            let served = variant.artifact.image.is_some() || variant.artifact.model_uri.is_some();
            found.require(served, &at, "must have `image` or `modelUri`");
            let names_version = variant.predictor.parts().0 == variant.version.as_str();
            found.require(names_version, &format!("{at}.predictor"), "must be named after its version");
            let name_ok = PredictorName::parse(variant.predictor.as_str()).is_ok();
            found.require(
                name_ok,
                &format!("{at}.predictor"),
                "would be longer than 12 characters: a version of this many digits cannot change its pods, a new version can",
            );
            let doubled = spec.variants[..i].iter().any(|other| other.predictor == variant.predictor);
            found.require(!doubled, &format!("{at}.predictor"), "is there twice");
            let serving = self.serving_of(variant);
            if serving != base {
                serving.check_whole(&format!("{at}.serving"), &mut found);
            }
            found.require(
                serving.protocol() == base.protocol(),
                &format!("{at}.serving.protocol"),
                "must be the release's: one release has one protocol",
            );
        }
        let given = [
            (Strategy::Canary, spec.canary.is_some(), "spec.canary"),
            (Strategy::Ab, spec.ab.is_some(), "spec.ab"),
            (Strategy::BlueGreen, spec.blue_green.is_some(), "spec.blueGreen"),
            (Strategy::Shadow, spec.shadow.is_some(), "spec.shadow"),
        ];
        for (strategy, is_given, field) in given {
            found.require(is_given == (strategy == spec.strategy), field, "must be there exactly for its own strategy");
        }
        found.into_vec()
    }
}

impl ReleaseSpec {
    /// Notes what does not go together in roles and settings of the strategy, in a document and in a whole one that is asked for.
    pub(super) fn check_strategy(&self, found: &mut Violations) {
        self.check_roles(found);
        if let Some(canary) = &self.canary {
            check_steps(&canary.steps, found);
        }
        let arms = self.staying().count();
        if let Some(ab) = self.ab.as_ref().filter(|_| arms > 1) {
            check_weights(&ab.weights, arms, found);
            check_matches(&ab.matches, arms, found);
        }
        let active = self.blue_green.as_ref().map_or(Role::Blue, |bg| bg.active);
        found.require(matches!(active, Role::Blue | Role::Green), "spec.blueGreen.active", "must be `blue` or `green`");
        check_percent(self.shadow.as_ref().map(|shadow| shadow.percent), "spec.shadow.percent", found);
        check_deadline(Some(self.deadline), "spec.deadline", found);
    }

    fn check_roles(&self, found: &mut Violations) {
        let strategy = self.strategy;
        let first_ok = self.variants.first().is_some_and(|variant| variant.role == strategy.stable_role());
        found.require(first_ok, "spec.variants[0].role", &format!("must be `{}`", strategy.stable_role()));
        let mut leaving = false;
        for (i, variant) in self.variants.iter().enumerate() {
            found.require(
                !leaving || variant.role == Role::Leaving,
                &format!("spec.variants[{i}].role"),
                "must not come after one that leaves",
            );
            leaving |= variant.role == Role::Leaving;
        }
        let expected = match strategy {
            Strategy::Ab => Role::ARMS.to_vec(),
            other => vec![other.stable_role(), other.new_role()],
        };
        let roles_ok = self.staying().zip(&expected).all(|(variant, role)| variant.role == *role)
            && self.staying().count() <= expected.len();
        found.require(roles_ok, "spec.variants", "must have the roles of the strategy, in order");
    }
}

/// An address of an artifact that a cluster can read, without a password in it.
pub(crate) fn is_model_uri(text: &str) -> bool {
    const SCHEMES: [&str; 7] = ["s3://", "gs://", "azure://", "http://", "https://", "pvc://", "mlflow-artifacts:/"];
    SCHEMES.iter().any(|scheme| text.starts_with(scheme) && text.len() > scheme.len()) && is_address(text)
}

/// Something that can be the address of an artifact, without a password in it.
fn is_address(text: &str) -> bool {
    (1..=1024).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_graphic() && !b"\"'`\\<>{}|^".contains(&b))
        && !text.contains("..")
        && !text
            .split_once("://")
            .is_some_and(|(_, rest)| rest.split('/').next().is_some_and(|host| host.contains('@')))
}

fn is_url_path(text: &str) -> bool {
    (1..=256).contains(&text.len())
        && text.starts_with('/')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~/".contains(&b))
        && !text.contains("//")
        && !text.split('/').any(|part| part == "." || part == "..")
}

/// Whether Kubernetes takes it as the name of an object: a DNS subdomain of RFC 1123.
pub fn is_object_name(text: &str) -> bool {
    (1..=253).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.".contains(&b))
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.ends_with(|c: char| c.is_ascii_alphanumeric())
}

/// A host name or one label of it (RFC 1123).
pub(crate) fn is_host(host: &str) -> bool {
    let label = |part: &str| {
        (1..=63).contains(&part.len())
            && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !part.starts_with('-')
            && !part.ends_with('-')
    };
    host.len() <= 253 && host.split('.').all(label)
}
