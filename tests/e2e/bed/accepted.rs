use std::fs;

use tests::bed::Bed;
use tests::environment::repository_root;

/// Asks the API server, and changes nothing; fields that it does not know are refused.
pub(super) const STRICT: [&str; 3] = ["--server-side", "--dry-run=server", "--validate=strict"];

/// Each state's files as they are reviewed, without the one that is for Argo CD alone.
fn rendered() -> Vec<(String, String)> {
    let folder = repository_root().join("service/core/src/render/golden");
    let states = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let read = states.map(|path| (path.file_stem().unwrap().display().to_string(), fs::read_to_string(&path).unwrap()));
    read.map(|(state, text)| {
        let files = text.split("# === ").filter_map(|file| file.split_once('\n'));
        let objects = files.filter(|(name, _)| !["kustomization.yaml", "release.yaml"].contains(name));
        (state, objects.map(|(_, text)| text).collect::<Vec<_>>().join("---\n"))
    })
    .collect()
}

#[test]
fn every_rendered_file_of_every_state_is_accepted_as_it_is() {
    let bed = Bed::shared();
    let states = rendered();
    for state in ["settled", "canary", "ab", "blue-green", "shadow"] {
        assert!(states.iter().any(|(known, _)| known == state), "{state} is rendered");
    }
    let namespace = bed.namespace("accepted");
    for (state, objects) in states {
        let objects = objects.replace("namespace: \"models\"", &format!("namespace: {:?}", namespace.name));
        let said = bed.try_apply(&objects, &STRICT).unwrap_or_else(|error| panic!("{state}: {error}"));
        assert!(!said.contains("Warning"), "{state}: {said}");
        let kinds = ["seldondeployment", "service/", "httproute", "podmonitor", "prometheusrule", "configmap"];
        // Where a release is without monitoring, it has neither of those two.
        let missing = kinds.iter().filter(|kind| !said.contains(*kind) && objects.contains("PodMonitor"));
        assert_eq!(missing.collect::<Vec<_>>(), Vec::<&&str>::new(), "{state}: {said}");
    }
}

#[test]
fn a_field_that_no_definition_has_is_refused() {
    let bed = Bed::shared();
    let (_, objects) = rendered().into_iter().find(|(state, _)| state == "settled").unwrap();
    for (right, wrong) in [("progressDeadlineSeconds:", "progressDeadlineSecond:"), ("backendRefs:", "backendRef:")] {
        let refused = bed.try_apply(&objects.replace(right, wrong), &STRICT).unwrap_err();
        assert!(refused.contains(wrong.trim_end_matches(':')), "{refused}");
    }
}
