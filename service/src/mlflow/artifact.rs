//! Where the files of a version are, its small files, and the run that made it.

use std::collections::BTreeMap;

use super::call::{Call, present};
use super::wire::{DownloadUriAnswer, Metric, RunAnswer, tags};
use super::{Client, Error};
use crate::names::{ModelName, Version};

/// The largest file that is read of an artifact: an `MLmodel` with 5,000 columns in its signature has half of it.
const FILE_BYTES_MAX: usize = 1024 * 1024;

/// The most measurements of a run that are read: more than anybody compares.
const METRICS_MAX: usize = 200;

impl Client {
    /// Where the files of a version are, `models:/` followed to its end. None: there is no such version.
    ///
    /// # Errors
    /// The server does not answer, or not as MLflow does.
    pub async fn artifact_location(&self, model: &ModelName, version: &Version) -> Result<Option<String>, Error> {
        let call = of(Call::get("api/2.0/mlflow/model-versions/get-download-uri"), model, version);
        let found: Option<DownloadUriAnswer> = self.find(call).await?;
        Ok(found.and_then(|found| found.artifact_uri).filter(|location| !location.is_empty()))
    }

    /// A small file of a version's artifact (`MLmodel`, `requirements.txt`), at most 1 MiB. None: there is no such version or file.
    ///
    /// # Errors
    /// The server does not answer, not as MLflow does, or the file is larger. A store that MLflow has no better word for than 500 when a
    /// file is not there (S3 among them) gives that.
    pub async fn artifact_file(
        &self,
        model: &ModelName,
        version: &Version,
        path: &str,
    ) -> Result<Option<Vec<u8>>, Error> {
        let call = of(Call::get("model-versions/get-artifact"), model, version).query("path", path);
        present(self.bytes(call.bytes_max(FILE_BYTES_MAX)).await)
    }

    /// The tags of a run. None: there is no such run.
    ///
    /// # Errors
    /// The server does not answer, or not as MLflow does.
    pub async fn run_tags(&self, run_id: &str) -> Result<Option<BTreeMap<String, String>>, Error> {
        let call = Call::get("api/2.0/mlflow/runs/get").query("run_id", run_id);
        let found: Option<RunAnswer> = self.find(call).await?;
        Ok(found.map(|found| tags(found.run.data.tags)))
    }
}

impl Client {
    /// What was measured in the run that made a version, the last value of each. None: there is no such version, or no run made it.
    ///
    /// # Errors
    /// The server does not answer, or not as MLflow does.
    pub async fn version_metrics(
        &self,
        model: &ModelName,
        version: &Version,
    ) -> Result<Option<BTreeMap<String, f64>>, Error> {
        let Some(run_id) = self.version(model, version).await?.and_then(|found| found.run_id) else {
            return Ok(None);
        };
        let call = Call::get("api/2.0/mlflow/runs/get").query("run_id", run_id);
        let found: Option<RunAnswer> = self.find(call).await?;
        let measured = |found: RunAnswer| found.run.data.metrics.into_iter().take(METRICS_MAX);
        let number = |metric: Metric| Some((metric.key, metric.value.as_f64()?));
        Ok(found.map(|found| measured(found).filter_map(number).collect()))
    }
}

fn of(call: Call, model: &ModelName, version: &Version) -> Call {
    call.query("name", model.as_str()).query("version", version.as_str())
}
