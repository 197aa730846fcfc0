//! The `MLmodel` file: which flavours a model has, what loads it, what it was logged with and what it takes
//! (<https://mlflow.org/docs/latest/ml/model/>).

use serde_json::Value;

use super::bounded::parse_yaml;
use super::{Signature, Unreadable};
use crate::names::Digest;

/// The longest text that is taken over from the file.
const TEXT_BYTES_MAX: usize = 300;

/// What a model's `MLmodel` file says, as far as serving it depends on it.
#[derive(Debug, Clone, PartialEq)]
pub struct MlModel {
    /// The digest of the file's bytes: another one is another model.
    pub digest: Digest,
    /// The names of its flavours, such as `sklearn`, in the file's order.
    pub flavours: Vec<String>,
    /// The flavour that every generic server loads, where the model has it.
    pub python_function: Option<PythonFunction>,
    /// How its estimator is stored (`skops`, `cloudpickle`, `pickle`), where a flavour says so.
    pub serialization_format: Option<String>,
    /// The scikit-learn that it was logged with.
    pub sklearn_version: Option<String>,
    pub mlflow_version: Option<String>,
    /// `m-…` where MLflow 3 logged it.
    pub model_id: Option<String>,
    pub size_bytes: Option<u64>,
    pub signature: Option<Signature>,
}

/// The flavour `python_function`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PythonFunction {
    /// The module that loads the model, such as `mlflow.sklearn`.
    pub loader_module: Option<String>,
    pub python_version: Option<String>,
}

impl MlModel {
    /// The longest file in bytes: a signature of five thousand columns takes a third of it.
    pub const BYTES_MAX: usize = 1024 * 1024;

    /// Reads the file. Fields that are not known are passed over.
    ///
    /// # Errors
    /// It is no YAML, beyond the bounds, or has no flavours; or its signature cannot be read.
    pub fn parse(bytes: &[u8]) -> Result<Self, Unreadable> {
        let unreadable = |fault: String| Unreadable { file: "MLmodel", fault };
        if bytes.len() > Self::BYTES_MAX {
            return Err(unreadable("is longer than 1 MiB".to_owned()));
        }
        let written = parse_yaml(bytes).map_err(|error| {
            unreadable(format!("is not YAML that can be read: {}", crate::names::shown(&error.to_string())))
        })?;
        let flavours = written.get("flavors").and_then(Value::as_object);
        let flavours = flavours.ok_or_else(|| unreadable("has no `flavors`".to_owned()))?;
        let text = |field: &str| text_of(written.get(field));
        let format = |flavour: &Value| text_of(flavour.get("serialization_format"));
        Ok(Self {
            digest: Digest::of(bytes),
            flavours: flavours.keys().filter(|name| name.len() <= TEXT_BYTES_MAX).cloned().collect(),
            python_function: flavours.get("python_function").map(|flavour| PythonFunction {
                loader_module: text_of(flavour.get("loader_module")),
                python_version: text_of(flavour.get("python_version")),
            }),
            serialization_format: flavours.values().find_map(format),
            sklearn_version: flavours.get("sklearn").and_then(|flavour| text_of(flavour.get("sklearn_version"))),
            mlflow_version: text("mlflow_version"),
            model_id: text("model_id"),
            size_bytes: written.get("model_size_bytes").and_then(Value::as_u64),
            signature: Signature::parse(written.get("signature")).map_err(unreadable)?,
        })
    }

    /// The flavour that is loaded when the model is served: `sklearn` for the loader `mlflow.sklearn`. None where the model's own code
    /// loads it, or MLflow's generic loader does.
    pub fn loaded_flavour(&self) -> Option<&str> {
        let module = self.python_function.as_ref()?.loader_module.as_deref()?;
        let flavour = module.strip_prefix("mlflow.")?.split('.').next()?;
        (flavour != "pyfunc").then_some(flavour)
    }
}

/// A text, or the number that YAML made of a version such as `3.11`.
fn text_of(value: Option<&Value>) -> Option<String> {
    let text = match value? {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    (text.len() <= TEXT_BYTES_MAX).then_some(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::servable::Inputs;

    const SKOPS: &str = include_str!("samples/skops.yaml");

    fn read(text: &str) -> MlModel {
        MlModel::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_logged_model_is_read() {
        let model = read(SKOPS);
        assert_eq!(model.flavours, ["python_function", "sklearn"]);
        let function = model.python_function.as_ref().unwrap();
        assert_eq!(function.loader_module.as_deref(), Some("mlflow.sklearn"));
        assert_eq!(function.python_version.as_deref(), Some("3.11.7"));
        assert_eq!(model.serialization_format.as_deref(), Some("skops"));
        assert_eq!(model.sklearn_version.as_deref(), Some("1.9.1"));
        assert_eq!(model.mlflow_version.as_deref(), Some("3.17.2"));
        assert_eq!((model.model_id.as_deref(), model.size_bytes), (None, Some(11454)));
        assert_eq!(model.loaded_flavour(), Some("sklearn"));
        let Some(Inputs::Columns(columns)) = model.signature.unwrap().inputs else { panic!("no columns") };
        let names: Vec<&str> = columns.iter().filter_map(|column| column.name.as_deref()).collect();
        assert_eq!(names, ["sepal length (cm)", "sepal width (cm)", "petal length (cm)", "petal width (cm)"]);
    }

    #[test]
    fn a_logged_model_has_its_own_id() {
        let logged = SKOPS.replace("model_id: null", "model_id: m-425ab0914bb0468b85e0bad8b9e23559");
        assert_eq!(read(&logged).model_id.as_deref(), Some("m-425ab0914bb0468b85e0bad8b9e23559"));
    }

    #[test]
    fn what_cannot_be_read_is_a_refusal_with_a_cure() {
        let refusal = crate::release::Refusal::from(MlModel::parse(b"").unwrap_err());
        assert_eq!(refusal.reason, "`MLmodel` has no `flavors`");
        assert!(refusal.cure.unwrap().contains("log the model again"));
    }

    #[test]
    fn the_digest_is_of_the_bytes() {
        assert_eq!(read(SKOPS).digest, Digest::of(SKOPS.as_bytes()));
        assert_ne!(read(SKOPS).digest, read(&format!("{SKOPS}\n")).digest);
    }

    #[test]
    fn every_sort_of_signature_is_read() {
        let inputs = |text: &str| read(text).signature.and_then(|signature| signature.inputs);
        assert!(
            matches!(inputs(include_str!("samples/tensor.yaml")), Some(Inputs::Tensors(tensors)) if tensors.len() == 1)
        );
        assert!(
            matches!(inputs(include_str!("samples/pyfunc.yaml")), Some(Inputs::Columns(columns)) if columns.len() == 4)
        );
        assert_eq!(read(include_str!("samples/unsigned.yaml")).signature, None);
    }

    #[test]
    fn code_of_its_own_has_no_flavour_that_a_runtime_could_lack() {
        assert_eq!(read(include_str!("samples/pyfunc.yaml")).loaded_flavour(), None);
        let of = |module: &str| {
            read(&format!("flavors: {{python_function: {{loader_module: {module}}}}}"))
                .loaded_flavour()
                .map(str::to_owned)
        };
        assert_eq!(of("mlflow.pytorch").as_deref(), Some("pytorch"));
        assert_eq!(of("mlflow.pyfunc.loaders.code_model"), None);
        assert_eq!(of("own_loader"), None);
    }

    #[test]
    fn versions_that_yaml_takes_for_numbers_are_texts() {
        let model = read("flavors: {python_function: {python_version: 3.9}}\nmlflow_version: 2.0\nnew_field: {a: [1]}");
        assert_eq!(model.python_function.unwrap().python_version.as_deref(), Some("3.9"));
        assert_eq!(model.mlflow_version.as_deref(), Some("2.0"));
    }

    #[test]
    fn what_is_no_mlmodel_file_is_refused_in_one_sentence() {
        for (text, said) in [
            ("", "has no `flavors`"),
            ("flavors: [a]", "has no `flavors`"),
            ("<!doctype html><title>x</title>", "has no `flavors`"),
            ("flavors: {", "is not YAML"),
            ("flavors: !own {}", "is not YAML"),
            ("flavors: {}\nsignature: 7", "no mapping"),
            ("flavors: {}\nsignature: {inputs: 'x'}", "not JSON"),
            (&format!("flavors: {{}}\nx: {}", "y".repeat(MlModel::BYTES_MAX)), "1 MiB"),
            (&format!("flavors: {}{}", "[".repeat(1_000), "]".repeat(1_000)), "is not YAML"),
            (&format!("flavors: {{}}\nx: [{}]", "1,".repeat(50_000)), "too many values"),
        ] {
            let error = MlModel::parse(text.as_bytes()).unwrap_err().to_string();
            assert!(error.starts_with("`MLmodel` ") && error.contains(said) && error.len() < 300, "{error}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            drop(MlModel::parse(&bytes));
        }

        #[test]
        fn no_change_of_a_real_file_makes_it_panic(at in 0..SKOPS.len(), replaced in "[\\[\\]{}&*!:'\"a0 \n-]{0,6}", removed in 0..20_usize) {
            let mut bytes = SKOPS.as_bytes().to_vec();
            let end = (at + removed).min(bytes.len());
            bytes.splice(at..end, replaced.bytes());
            drop(MlModel::parse(&bytes));
        }
    }
}
