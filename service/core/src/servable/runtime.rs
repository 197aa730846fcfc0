//! Runtimes: images that serve an artifact, and whether one of them can serve this model.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::requirements::normalised;
use super::{MlModel, Requirements, version};
use crate::release::{Refusal, RefusalKind, Violation};

/// The first MLflow that reads models stored by skops (3.9).
const SKOPS_SINCE: [u64; 2] = [3, 9];

/// The most findings that a refusal's sentence names; all of them are among its violations.
const NAMED_MAX: usize = 3;

/// The most packages that are named of one model.
const PACKAGES_MAX: usize = 50;

/// The version of a package of which a runtime has whatever is needed.
const ANY: &str = "*";

/// What an image has that serves artifacts. What it does not say is not compared with a model.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Runtime {
    /// Its Python, such as `3.10`; major and minor number count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub python: Option<String>,
    /// Its MLflow, such as `2.19.0`: what is older than 3.9 cannot read models stored by skops. Not compared otherwise, because MLflow
    /// loads models of newer and older versions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mlflow: Option<String>,
    /// The flavours that it loads, such as `sklearn`; a model that its own code loads needs none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub flavours: Vec<String>,
    /// The Python packages that it has, with their versions, of which major and minor number count; `*` is any. MLServer installs none.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub packages: IndexMap<String, String>,
    /// How the estimators that it loads may be stored: `pickle`, `cloudpickle`, `skops`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub formats: Vec<String>,
    /// The one that serves where a request names none.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub default: bool,
}

/// The table of runtimes, by image.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Runtimes(pub IndexMap<String, Runtime>);

/// One thing that a runtime lacks.
struct Finding {
    /// Where the model says that it needs it.
    field: &'static str,
    /// What it needs and what there is, for a sentence that begins with "version 8 cannot be served".
    detail: String,
    sort: Sort,
}

/// What helps against a finding.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sort {
    /// Logging the model again in another form.
    Format,
    /// Only another runtime, or logging with what this one has.
    Other,
}

impl Runtimes {
    /// The image that serves where nobody names one.
    pub fn default_image(&self) -> Option<&str> {
        self.0.iter().find(|(_, runtime)| runtime.default).map(|(image, _)| image.as_str())
    }

    /// What is known of an image, whether or not it is named with its registry or pinned to a digest.
    pub fn get(&self, image: &str) -> Option<&Runtime> {
        let wanted = plain(image);
        self.0
            .get(image)
            .or_else(|| self.0.iter().find(|(known, _)| plain(known) == wanted).map(|(_, runtime)| runtime))
    }

    /// Whether the runtime `image` can serve the model. An image that is not in the table is believed to.
    ///
    /// # Errors
    /// What it lacks, all of it, and what would help.
    pub fn judge(&self, image: &str, model: &MlModel, requirements: Option<&Requirements>) -> Result<(), Refusal> {
        if model.python_function.is_none() {
            return Err(Refusal::invalid(
                format!(
                    "the model has no flavour `python_function` (it has {}), and no runtime serves it",
                    quoted(&model.flavours)
                ),
                "log it by a flavour of MLflow, or as a `mlflow.pyfunc` model, or release an image",
            ));
        }
        let Some(runtime) = self.get(image) else { return Ok(()) };
        let findings = runtime.findings(model, requirements);
        if findings.is_empty() {
            return Ok(());
        }
        let named: Vec<&str> = findings.iter().take(NAMED_MAX).map(|finding| finding.detail.as_str()).collect();
        let more = match findings.len().saturating_sub(NAMED_MAX) {
            0 => String::new(),
            more => format!("; and {more} more"),
        };
        Err(Refusal {
            kind: RefusalKind::Invalid,
            reason: format!(
                "the runtime `{}` cannot serve the model: {}{more}",
                crate::names::shown(image),
                named.join("; ")
            ),
            cure: Some(self.cure(&findings, model, requirements)),
            violations: findings
                .into_iter()
                .map(|finding| Violation { field: finding.field.to_owned(), detail: finding.detail })
                .collect(),
        })
    }

    /// Another runtime that can, and what the model could be logged with.
    fn cure(&self, findings: &[Finding], model: &MlModel, requirements: Option<&Requirements>) -> String {
        // An entry that says nothing would fit everything.
        let fits = |runtime: &&Runtime| runtime.says_something() && runtime.findings(model, requirements).is_empty();
        if let Some((image, _)) = self.0.iter().find(|(_, runtime)| fits(runtime)) {
            return format!("set `serving.runtime` to `{image}`, which can");
        }
        let image =
            "release an image, or make a runtime image that has it and name it in `runtimes` of the configuration";
        let is_format = |finding: &Finding| finding.sort == Sort::Format;
        if findings.iter().all(is_format) {
            format!("log it again with `serialization_format='cloudpickle'`; or {image}")
        } else if findings.iter().any(is_format) {
            format!(
                "log it again with `serialization_format='cloudpickle'` and the versions that the runtime has; or {image}"
            )
        } else {
            format!("log it again with what the runtime has; or {image}")
        }
    }
}

impl Runtime {
    fn says_something(&self) -> bool {
        self.python.is_some() || !self.packages.is_empty() || !self.flavours.is_empty() || !self.formats.is_empty()
    }

    fn findings(&self, model: &MlModel, requirements: Option<&Requirements>) -> Vec<Finding> {
        let mut found = Vec::new();
        found.extend(self.format(model));
        found.extend(self.flavour(model));
        found.extend(self.python(model));
        let has_format_finding = found.iter().any(|finding| finding.sort == Sort::Format);
        found.extend(self.packages(model, requirements, has_format_finding));
        found
    }

    fn format(&self, model: &MlModel) -> Option<Finding> {
        let format = model.serialization_format.as_deref()?;
        let too_old = |mlflow: &String| {
            let numbers = version::numbers(mlflow)?;
            (version::compare(&numbers, &SKOPS_SINCE) == std::cmp::Ordering::Less).then_some(())
        };
        let lacks = if self.formats.is_empty() {
            format == "skops" && self.mlflow.as_ref().and_then(too_old).is_some()
        } else {
            !self.formats.iter().any(|known| known == format)
        };
        let format = crate::names::shown(format);
        lacks.then(|| Finding {
            field: "MLmodel.serialization_format",
            detail: match (self.formats.as_slice(), &self.mlflow) {
                ([], Some(mlflow)) => format!("it is stored by `{format}`, which MLflow {mlflow} does not read"),
                (known, _) => format!("it is stored by `{format}`, and the runtime reads {}", quoted(known)),
            },
            sort: Sort::Format,
        })
    }

    fn flavour(&self, model: &MlModel) -> Option<Finding> {
        let flavour = model.loaded_flavour()?;
        let lacks = !self.flavours.is_empty() && !self.flavours.iter().any(|known| known == flavour);
        lacks.then(|| Finding {
            field: "MLmodel.flavors",
            detail: format!(
                "its flavour is `{}`, and the runtime loads {}",
                crate::names::shown(flavour),
                quoted(&self.flavours)
            ),
            sort: Sort::Other,
        })
    }

    fn python(&self, model: &MlModel) -> Option<Finding> {
        let wanted = model.python_function.as_ref()?.python_version.as_deref()?;
        let have = self.python.as_deref()?;
        (!version::same_minor(wanted, have)).then(|| Finding {
            field: "MLmodel.python_version",
            detail: format!("it was logged with Python {}, and the runtime has {have}", crate::names::shown(wanted)),
            sort: Sort::Other,
        })
    }

    /// The packages that the runtime lacks or has in another version. MLflow itself is `mlflow`, and skops a matter of the format.
    fn packages(&self, model: &MlModel, requirements: Option<&Requirements>, without_skops: bool) -> Vec<Finding> {
        if self.packages.is_empty() {
            return Vec::new();
        }
        let has: IndexMap<String, &str> =
            self.packages.iter().map(|(name, version)| (normalised(name), version.as_str())).collect();
        let finding = |name: &str, wanted: &str| Finding {
            field: "requirements.txt",
            detail: match has.get(name) {
                Some(have) => format!("it needs `{name}` {wanted}, and the runtime has {have}"),
                None if wanted.is_empty() => format!("it needs `{name}`, which the runtime does not have"),
                None => format!("it needs `{name}` {wanted}, which the runtime does not have"),
            },
            sort: Sort::Other,
        };
        let Some(requirements) = requirements else {
            let sklearn = model.sklearn_version.as_deref().zip(has.get("scikit-learn"));
            let other = sklearn.filter(|(wanted, have)| **have != ANY && !version::same_minor(wanted, have));
            return other
                .map(|(wanted, _)| finding("scikit-learn", &crate::names::shown(wanted)))
                .into_iter()
                .collect();
        };
        let is_apart =
            |name: &str| name == "mlflow" || name.starts_with("mlflow-") || (name == "skops" && without_skops);
        let lacking = requirements.0.iter().filter(|r| !r.conditional && !is_apart(&r.name)).filter(|requirement| {
            has.get(&requirement.name).is_none_or(|have| *have != ANY && !requirement.fits(have))
        });
        lacking
            .take(PACKAGES_MAX)
            .map(|r| finding(&crate::names::shown(&r.name), &crate::names::shown(&r.wanted())))
            .collect()
    }
}

/// An image's name and tag as people write them short: without Docker's own registry and without a digest.
fn plain(image: &str) -> &str {
    let image = image.split_once('@').map_or(image, |(image, _)| image);
    let image = image.strip_prefix("docker.io/").or_else(|| image.strip_prefix("index.docker.io/")).unwrap_or(image);
    image.strip_prefix("library/").unwrap_or(image)
}

fn quoted(names: &[String]) -> String {
    if names.is_empty() {
        return "none".to_owned();
    }
    names.iter().take(20).map(|name| format!("`{}`", crate::names::shown(name))).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// MLServer 1.7.1 by its lock file, an own image with what the samples were logged with, and one that says nothing.
    const TABLE: &str = "
docker.io/seldonio/mlserver:1.7.1-mlflow:
  {python: '3.10', mlflow: 2.19.0, formats: [pickle, cloudpickle], default: true,
   packages: {numpy: 1.26.4, pandas: 2.2.3, scikit-learn: 1.5.2, scipy: 1.13.1, cloudpickle: 3.1.0}}
registry.example/silent:1: {}
registry.example/xgboost:1: {flavours: [xgboost, lightgbm]}
";
    const OWN: &str = "
registry.example/own:1:
  {python: 3.11.9, mlflow: 3.17.2, flavours: [sklearn],
   packages: {NumPy: 2.4.0, pandas: 3.1.1, scikit_learn: 1.9.0, scipy: '*', cloudpickle: 3.1.3, skops: 0.16.0}}
";
    const MLSERVER: &str = "docker.io/seldonio/mlserver:1.7.1-mlflow";

    fn table(text: &str) -> Runtimes {
        serde_yaml::from_str(text).unwrap()
    }

    fn sample(name: &str) -> (MlModel, Requirements) {
        let (model, requirements): (&str, &[u8]) = match name {
            "skops" => (include_str!("samples/skops.yaml"), include_bytes!("samples/skops.txt")),
            "cloudpickle" => (include_str!("samples/cloudpickle.yaml"), include_bytes!("samples/cloudpickle.txt")),
            _ => (include_str!("samples/pyfunc.yaml"), include_bytes!("samples/pyfunc.txt")),
        };
        (MlModel::parse(model.as_bytes()).unwrap(), Requirements::parse(requirements).unwrap())
    }

    fn refused(runtimes: &Runtimes, image: &str, name: &str) -> Refusal {
        let (model, requirements) = sample(name);
        runtimes.judge(image, &model, Some(&requirements)).unwrap_err()
    }

    #[test]
    fn a_runtime_that_has_everything_serves_it() {
        let runtimes = table(&format!("{TABLE}{OWN}"));
        for name in ["skops", "cloudpickle", "pyfunc"] {
            let (model, requirements) = sample(name);
            assert_eq!(runtimes.judge("registry.example/own:1", &model, Some(&requirements)), Ok(()), "{name}");
            assert_eq!(runtimes.judge("registry.example/silent:1", &model, Some(&requirements)), Ok(()), "{name}");
            assert_eq!(runtimes.judge("registry.example/unknown:1", &model, None), Ok(()), "{name}");
        }
    }

    #[test]
    fn skops_on_a_runtime_without_it_is_refused_with_all_that_is_lacking() {
        let refusal = refused(&table(TABLE), MLSERVER, "skops");
        assert!(
            refusal
                .reason
                .starts_with(&format!("the runtime `{MLSERVER}` cannot serve the model: it is stored by `skops`")),
            "{}",
            refusal.reason
        );
        assert!(refusal.reason.contains("Python 3.11.7, and the runtime has 3.10"), "{}", refusal.reason);
        assert!(refusal.reason.ends_with("; and 3 more"), "{}", refusal.reason);
        let details: Vec<&str> = refusal.violations.iter().map(|v| v.detail.as_str()).collect();
        assert_eq!(details.len(), 6, "{details:?}");
        assert!(details.contains(&"it needs `scikit-learn` 1.9.1, and the runtime has 1.5.2"), "{details:?}");
        assert!(
            !details.iter().any(|detail| detail.contains("`skops` 0.16") || detail.contains("`mlflow`")),
            "{details:?}"
        );
        assert!(refusal.cure.unwrap().contains("`serialization_format='cloudpickle'` and the versions"), "skops");
    }

    #[test]
    fn the_cure_names_another_runtime_of_the_table_that_can() {
        let cure = refused(&table(&format!("{TABLE}{OWN}")), MLSERVER, "skops").cure.unwrap();
        assert_eq!(cure, "set `serving.runtime` to `registry.example/own:1`, which can");
    }

    #[test]
    fn each_lack_is_named_by_what_is_needed_and_what_there_is() {
        for (entry, name, said) in [
            ("{mlflow: 2.19.0}", "skops", "it is stored by `skops`, which MLflow 2.19.0 does not read"),
            ("{formats: [pickle]}", "cloudpickle", "stored by `cloudpickle`, and the runtime reads `pickle`"),
            (
                "{flavours: [xgboost, lightgbm]}",
                "skops",
                "its flavour is `sklearn`, and the runtime loads `xgboost`, `lightgbm`",
            ),
            ("{python: '3.12'}", "pyfunc", "Python 3.11.7, and the runtime has 3.12"),
            ("{packages: {scipy: 1.0}}", "pyfunc", "it needs `numpy` <3,>=1.20, which the runtime does not have"),
            ("{packages: {numpy: 3.0.1}}", "pyfunc", "it needs `numpy` <3,>=1.20, and the runtime has 3.0.1"),
        ] {
            let refusal = refused(&table(&format!("a: {entry}")), "a", name);
            assert_eq!(refusal.violations.len(), 1, "{entry}: {:?}", refusal.violations);
            assert!(refusal.reason.contains(said), "{entry}: {}", refusal.reason);
            assert!(refusal.cure.is_some_and(|cure| cure.contains("log it again")), "{entry}");
        }
    }

    #[test]
    fn what_a_runtime_does_not_say_is_not_compared() {
        let (skops, requirements) = sample("skops");
        for entry in ["{}", "{mlflow: 3.9.0}", "{python: 3.11}", "{formats: [skops]}", "{flavours: [sklearn]}"] {
            let runtimes = table(&format!("a: {entry}"));
            assert_eq!(runtimes.judge("a", &skops, Some(&requirements)), Ok(()), "{entry}");
        }
        let own_code = table("a: {flavours: [xgboost]}");
        assert_eq!(own_code.judge("a", &sample("pyfunc").0, None), Ok(()), "its own code loads it");
    }

    #[test]
    fn without_requirements_the_version_of_scikit_learn_is_compared() {
        let (model, _) = sample("cloudpickle");
        let judge = |entry: &str| table(&format!("a: {{packages: {entry}}}")).judge("a", &model, None);
        assert!(
            judge("{scikit-learn: 1.5.2}")
                .unwrap_err()
                .reason
                .contains("`scikit-learn` 1.9.1, and the runtime has 1.5.2")
        );
        for entry in ["{scikit-learn: 1.9.0}", "{scikit-learn: '*'}", "{numpy: 1.0}"] {
            assert_eq!(judge(entry), Ok(()), "{entry}");
        }
    }

    #[test]
    fn a_requirement_with_a_marker_is_not_compared() {
        let requirements = Requirements::parse(b"pywin32==306; sys_platform == 'win32'\nnumpy==2.4.6").unwrap();
        let runtimes = table("a: {packages: {numpy: 2.4.1}}");
        assert_eq!(runtimes.judge("a", &sample("pyfunc").0, Some(&requirements)), Ok(()));
    }

    #[test]
    fn a_model_without_the_generic_flavour_is_served_by_no_runtime() {
        let model = MlModel::parse(b"flavors: {spark: {}}").unwrap();
        let refusal = table(TABLE).judge("registry.example/unknown:1", &model, None).unwrap_err();
        assert!(refusal.reason.contains("no flavour `python_function` (it has `spark`)"), "{}", refusal.reason);
    }

    #[test]
    fn an_image_is_found_by_its_short_name_and_with_a_digest() {
        let runtimes = table(TABLE);
        let digest = format!("@sha256:{}", "0".repeat(64));
        for image in [
            MLSERVER,
            "seldonio/mlserver:1.7.1-mlflow",
            &format!("{MLSERVER}{digest}"),
            &format!("seldonio/mlserver:1.7.1-mlflow{digest}"),
        ] {
            assert!(runtimes.get(image).is_some_and(|runtime| runtime.default), "{image}");
        }
        assert!(runtimes.get("seldonio/mlserver:1.7.2-mlflow").is_none());
        assert_eq!(runtimes.default_image(), Some(MLSERVER));
    }

    #[test]
    fn a_refusal_stays_short_whatever_the_model_says() {
        let many: String = (0..1_900).map(|n| format!("{}{n}==1.0\n", "p".repeat(90))).collect();
        let requirements = Requirements::parse(many.as_bytes()).unwrap();
        let refusal = table(TABLE).judge(MLSERVER, &sample("skops").0, Some(&requirements)).unwrap_err();
        assert!(refusal.reason.len() < 700 && refusal.violations.len() <= PACKAGES_MAX + 3, "{}", refusal.reason);
    }

    proptest! {
        #[test]
        fn no_table_makes_it_panic(python in "[0-9.é]{0,6}", name in "[a-z._-]{0,4}", version in "[0-9.*!é]{0,6}", image in "[a-z/:@.]{0,20}") {
            let runtime = Runtime {
                python: Some(python), mlflow: Some(version.clone()), packages: [(name, version)].into_iter().collect(), ..Runtime::default()
            };
            let runtimes = Runtimes([(image.clone(), runtime)].into_iter().collect());
            for name in ["skops", "pyfunc"] {
                let (model, requirements) = sample(name);
                drop(runtimes.judge(&image, &model, Some(&requirements)));
                drop(runtimes.judge(&image, &model, None));
            }
        }
    }
}
