//! Tests from outside: the real program as a process, real Git, bytes on a socket.

#![cfg(test)]

// The way in.
mod github;
mod github_examples;
mod github_forge;
mod image_registry;
mod mlflow;
mod receiver;
mod registry;
mod requests;

// What is asked of a release.
mod acts;
mod command_line;
mod strategies;

// What is kept.
mod acknowledged;
mod break_glass;
mod crash;
mod disk;
mod gitea;
mod postgres;
mod remotes;
mod repository;
mod reviewed;
mod trouble;

// What becomes of it in a cluster.
mod bed;

// How it is run.
mod ending;
mod platform;

// Who may, and what nobody may see.
mod access;
mod secrets;

// What people see.
mod drift;
mod live;
mod readme;
mod showcase;

use serde_json::{Value, json};
use tests::TestEnvironment;

/// The body of a PUT that needs no registry: an image of its own.
fn image(model: &str, version: &str) -> Value {
    json!({"model": model, "version": version, "image": format!("registry.example/{model}:{version}")})
}

/// The same with a strategy and what belongs to it.
fn by(strategy: &str, model: &str, version: &str, more: Value) -> Value {
    let mut body = image(model, version);
    body["strategy"] = strategy.into();
    if let Value::Object(more) = more {
        body.as_object_mut().unwrap().extend(more);
    }
    body
}

/// The file with the configuration that README shows under this name, with what is elsewhere here, and more of its last part besides.
fn of_readme(environment: &TestEnvironment, kind: &str, here: &[(&str, &str)], more: &str) -> String {
    let readme = std::fs::read_to_string(tests::environment::repository_root().join("README.md")).unwrap();
    let (_, block) = readme.split_once(&format!("```yaml test={kind}\n")).expect("the block of README");
    let mut text = block.split_once("\n```").expect("its end").0.to_owned();
    for (there, here) in here {
        assert!(text.contains(there), "{there}: {text}");
        text = text.replace(there, here);
    }
    environment.write("kmlflow.yaml", text + more + "\n").display().to_string()
}
