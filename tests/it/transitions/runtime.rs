//! Which runtime an artifact gets, and that an image gets none.

use kmlflow::plan;
use kmlflow::release::{Change, Observed, Period, Refusal, ReleasePlan};

use super::{Repository, put};

const DEFAULT: &str = "registry.example/mlserver:1";

/// What a request would change, with a default runtime in the configuration.
fn planned(repository: &Repository, request: &str, default: Option<&str>) -> Result<Change, Refusal> {
    let mut situation = repository.situation(None, Observed::Blind { delay: Period::ZERO });
    situation.serving.runtime = default.map(str::to_owned);
    match plan::plan(&put(request), &situation) {
        ReleasePlan::Create(change) | ReleasePlan::Update(change) => Ok(*change),
        ReleasePlan::Refused(refusal) => Err(refusal),
        other => panic!("{request}: {other:?}"),
    }
}

/// The runtime of the newest variant.
fn runtime(repository: &Repository, request: &str, default: Option<&str>) -> Option<String> {
    let release = planned(repository, request, default).unwrap().release;
    let newest = release.spec.variants.iter().max_by_key(|variant| variant.version.number()).unwrap();
    release.serving_of(newest).runtime
}

#[test]
fn an_artifact_gets_the_default_runtime_and_an_image_none() {
    let new = Repository::new(Period::ZERO);
    let artifact = "version: 7, modelUri: 's3://b/7'";
    assert_eq!(runtime(&new, artifact, Some(DEFAULT)).as_deref(), Some(DEFAULT));
    assert_eq!(runtime(&new, "version: 7", Some(DEFAULT)), None);
    let own = format!("{artifact}, serving: {{runtime: 'registry.example/own:1'}}");
    assert_eq!(runtime(&new, &own, Some(DEFAULT)).as_deref(), Some("registry.example/own:1"));
    let refusal = planned(&new, artifact, None).unwrap_err();
    assert!(refusal.reason.contains("no runtime is configured"), "{refusal}");
}

#[test]
fn what_an_image_serves_is_the_same_with_and_without_a_default_runtime() {
    let new = Repository::new(Period::ZERO);
    let mut deployed = Repository::new(Period::ZERO);
    deployed.put("version: 7");
    for (repository, request) in
        [(&new, "version: 7"), (&deployed, "version: 8"), (&deployed, "version: 8, strategy: canary")]
    {
        assert_eq!(planned(repository, request, Some(DEFAULT)), planned(repository, request, None), "{request}");
    }
}

#[test]
fn an_artifact_beside_an_image_gets_the_default_runtime_alone() {
    let mut deployed = Repository::new(Period::ZERO);
    deployed.put("version: 7");
    let request = "version: 8, strategy: canary, modelUri: 's3://b/8'";
    let release = planned(&deployed, request, Some(DEFAULT)).unwrap().release;
    let runtimes: Vec<Option<String>> = release.spec.variants.iter().map(|v| release.serving_of(v).runtime).collect();
    assert_eq!(runtimes, [None, Some(DEFAULT.to_owned())]);
}
