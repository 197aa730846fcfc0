//! How far the platform is, wave by wave, read off the Applications.

use serde::Serialize;
use serde_json::Value;

use crate::catalogue::{Catalogue, Profile};

/// One part and how it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Part {
    pub name: String,
    pub title: String,
    pub wave: i32,
    pub namespace: String,
    pub state: State,
    /// Why it is not healthy, in Argo CD's words.
    pub reason: String,
    /// The version that the cluster follows.
    pub version: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Argo CD has not made its Application yet: an earlier wave is not healthy, or the root is not read.
    NotThere,
    /// It is being applied, or its pods start.
    Progressing,
    /// It cannot be applied or does not run.
    Failing,
    /// As the repository says, and healthy.
    Healthy,
}

impl Part {
    /// How it stands, and why.
    pub fn told(&self) -> String {
        match self.reason.as_str() {
            "" => format!("is {}", self.state.word()),
            reason => format!("is {}: {reason}", self.state.word()),
        }
    }
}

impl State {
    pub fn word(self) -> &'static str {
        match self {
            Self::NotThere => "not there",
            Self::Progressing => "progressing",
            Self::Failing => "failing",
            Self::Healthy => "healthy",
        }
    }
}

/// Every part of a profile with what its Application says; of those without one, why it is not made yet.
pub fn read(catalogue: &Catalogue, profile: Profile, applications: &[Value]) -> Vec<Part> {
    let mut parts: Vec<Part> = catalogue
        .applications(profile)
        .into_iter()
        .map(|part| {
            let application =
                applications.iter().find(|application| application["metadata"]["name"] == part.name.as_str());
            let (state, reason) = application.map_or((State::NotThere, String::new()), state);
            let version = application
                .and_then(|application| application["metadata"]["annotations"]["kmlflow.dev/version"].as_str());
            Part {
                name: part.name.clone(),
                title: part.title.clone(),
                wave: part.wave,
                namespace: part.namespace.clone(),
                state,
                reason,
                version: version.map(str::to_owned),
            }
        })
        .collect();
    let first = waiting(&parts).map_or(i32::MAX, |(wave, _)| wave);
    for part in parts.iter_mut().filter(|part| part.state == State::NotThere) {
        part.reason = match part.wave > first {
            true => format!("waits for wave {first}"),
            false => "Argo CD has not made it yet".to_owned(),
        };
    }
    parts
}

/// What is waited for: the first wave that is not healthy; none when everything is.
pub fn waiting(parts: &[Part]) -> Option<(i32, Vec<&Part>)> {
    let wave = parts.iter().filter(|part| part.state != State::Healthy).map(|part| part.wave).min()?;
    Some((wave, parts.iter().filter(|part| part.wave == wave && part.state != State::Healthy).collect()))
}

/// A sentence for each part that is waited for.
pub fn told(wave: i32, parts: &[&Part]) -> String {
    let each = parts.iter().map(|part| format!("{} {}", part.name, part.told()));
    format!("wave {wave}: {}", each.collect::<Vec<_>>().join("; "))
}

fn state(application: &Value) -> (State, String) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let status = &application["status"];
    let operation = &status["operationState"];
    let conditions = status["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let problem =
        conditions.iter().find(|condition| condition["type"].as_str().is_some_and(|kind| kind.ends_with("Error")));
    let message = problem.map(|condition| text(&condition["message"])).unwrap_or_default();
    match (
        text(&operation["phase"]).as_str(),
        text(&status["sync"]["status"]).as_str(),
        text(&status["health"]["status"]).as_str(),
    ) {
        _ if !message.is_empty() => (State::Failing, short(&message)),
        ("Failed" | "Error", _, _) => (State::Failing, short(&text(&operation["message"]))),
        ("Running", _, _) if operation["retryCount"].as_u64().is_some_and(|count| count > 0) => {
            (State::Failing, short(&text(&operation["message"])))
        }
        ("Running", _, _) => (State::Progressing, "is being applied".to_owned()),
        (_, _, "Degraded") => (State::Failing, short(&text(&status["health"]["message"]))),
        (_, "Synced", "Healthy") => (State::Healthy, String::new()),
        (_, "Synced", _) => (State::Progressing, "its objects are there and not ready yet".to_owned()),
        (_, "", _) => (State::Progressing, "Argo CD has not looked at it yet".to_owned()),
        _ => (State::Progressing, "is not as the repository says yet".to_owned()),
    }
}

/// Why an Application fails; none where it does not.
pub fn failure(application: &Value) -> Option<String> {
    let (state, reason) = state(application);
    (state == State::Failing).then_some(reason)
}

/// The first line, at most 200 characters: Argo CD's messages repeat themselves.
fn short(message: &str) -> String {
    let line = message.lines().next().unwrap_or_default();
    match line.char_indices().nth(200) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn catalogue() -> Catalogue {
        Catalogue::parse(include_str!("../../gitops-repo/platform/catalogue.yaml")).unwrap()
    }

    fn healthy(name: &str) -> Value {
        json!({"metadata": {"name": name, "annotations": {"kmlflow.dev/version": "1"}},
            "status": {"sync": {"status": "Synced"}, "health": {"status": "Healthy"}, "operationState": {"phase": "Succeeded"}}})
    }

    #[test]
    fn the_first_wave_that_is_not_healthy_is_waited_for() {
        let catalogue = catalogue();
        let mut applications: Vec<Value> =
            catalogue.applications(Profile::Core).iter().map(|part| healthy(&part.name)).collect();
        let all = read(&catalogue, Profile::Core, &applications);
        assert_eq!(waiting(&all), None);
        assert_eq!(all[0].version.as_deref(), Some("1"));
        applications.retain(|application| application["metadata"]["name"] != "mlflow");
        for application in &mut applications {
            if application["metadata"]["name"] == "postgresql" {
                application["status"]["health"] = json!({"status": "Progressing"});
            }
        }
        let parts = read(&catalogue, Profile::Core, &applications);
        let (wave, waited) = waiting(&parts).unwrap();
        assert_eq!((wave, waited.iter().map(|part| part.name.as_str()).collect::<Vec<_>>()), (-10, vec!["postgresql"]));
        assert!(told(wave, &waited).contains("postgresql is progressing"), "{}", told(wave, &waited));
        let mlflow = parts.iter().find(|part| part.name == "mlflow").unwrap();
        assert_eq!((mlflow.state, mlflow.reason.as_str()), (State::NotThere, "waits for wave -10"));
        let none = read(&catalogue, Profile::Core, &[]);
        assert_eq!((none[0].reason.as_str(), none[0].wave), ("Argo CD has not made it yet", -30));
    }

    #[test]
    fn each_state_of_an_application_has_its_word_and_reason() {
        let cases = [
            (json!({"operationState": {"phase": "Failed", "message": "one\ntwo"}}), State::Failing, "one"),
            (
                json!({"operationState": {"phase": "Running", "retryCount": 2, "message": "denied"}}),
                State::Failing,
                "denied",
            ),
            (json!({"operationState": {"phase": "Running"}}), State::Progressing, "is being applied"),
            (
                json!({"sync": {"status": "Synced"}, "health": {"status": "Degraded", "message": "bad"}}),
                State::Failing,
                "bad",
            ),
            (
                json!({"sync": {"status": "Synced"}, "health": {"status": "Progressing"}}),
                State::Progressing,
                "not ready yet",
            ),
            (
                json!({"sync": {"status": "OutOfSync"}, "health": {"status": "Missing"}}),
                State::Progressing,
                "not as the repository says",
            ),
            (
                json!({"conditions": [{"type": "ComparisonError", "message": "no such chart"}]}),
                State::Failing,
                "no such chart",
            ),
            (
                json!({"conditions": [{"type": "SharedResourceWarning", "message": "x"}], "sync": {"status": "Synced"}, "health": {"status": "Healthy"}}),
                State::Healthy,
                "",
            ),
            (json!({}), State::Progressing, "has not looked"),
        ];
        for (status, expected, reason) in cases {
            let (found, why) = state(&json!({"status": status}));
            assert_eq!(found, expected, "{status}");
            assert!(why.contains(reason), "{status}: {why}");
        }
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let long = "ö".repeat(300);
        assert_eq!(short(&long).chars().count(), 201);
    }
}
