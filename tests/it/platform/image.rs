//! The image of the release service, read without a builder.

use serde_yaml::Value;

use super::{object, text};

/// One instruction: its word and the rest of its line, continued lines joined.
fn instructions() -> Vec<(String, String)> {
    let text = text("Dockerfile").replace("\\\n", " ");
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| line.split_once(' ').unwrap())
        .map(|(word, rest)| (word.to_owned(), rest.trim().to_owned()))
        .collect()
}

/// The instructions of the last stage, which is the image.
fn image() -> Vec<(String, String)> {
    let mut all = instructions();
    let begin = all.iter().rposition(|(word, _)| word == "FROM").unwrap();
    all.split_off(begin)
}

fn values(instructions: &[(String, String)], word: &str) -> Vec<String> {
    instructions.iter().filter(|(found, _)| found == word).map(|(_, rest)| rest.clone()).collect()
}

/// The packages that the image installs.
fn packages() -> Vec<String> {
    let runs = values(&image(), "RUN").join(" && ");
    let install = runs.split("&&").map(str::trim).find(|command| command.starts_with("apt-get install")).unwrap();
    install.split_whitespace().skip(2).filter(|word| !word.starts_with('-')).map(str::to_owned).collect()
}

#[test]
fn every_program_that_the_service_starts_is_installed() {
    let source = text("service/src/command.rs");
    let started: Vec<&str> = source.split("look_for(\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    assert_eq!(started, ["git", "ssh"], "another program needs a package here and in the image");
    let packages = packages();
    for package in ["git", "openssh-client", "ca-certificates", "tini"] {
        assert!(packages.iter().any(|found| found == package), "{package}: {packages:?}");
    }
    assert_eq!(values(&image(), "ENTRYPOINT"), [r#"["tini", "--", "kmlflow"]"#]);
}

#[test]
fn the_image_is_made_by_the_toolchain_of_the_repository() {
    let toolchain = text("rust-toolchain.toml");
    let channel = toolchain.lines().find_map(|line| line.strip_prefix("channel = \"")).unwrap().trim_end_matches('"');
    let rust = values(&instructions(), "ARG").into_iter().find(|argument| argument.starts_with("RUST=")).unwrap();
    assert!(rust.contains(&format!("/rust:{channel}-slim-")), "{rust}");
    assert!(values(&instructions(), "RUN")[0].contains("cargo build --release --locked"));
}

#[test]
fn its_bases_are_slim_named_in_full_and_of_one_distribution() {
    let bases: Vec<String> =
        values(&instructions(), "ARG").iter().map(|a| a.split_once('=').unwrap().1.to_owned()).collect();
    assert_eq!(bases.len(), 2);
    for base in &bases {
        assert!(base.starts_with("docker.io/") && base.contains("slim") && base.contains("bookworm"), "{base}");
        assert!(!base.ends_with(":latest"), "{base}");
    }
    // Programs of the one run with the C library of the other.
    assert_eq!(values(&instructions(), "FROM"), ["${RUST} AS build", "${BASE}"]);
}

#[test]
fn it_runs_as_a_user_with_a_number_who_owns_only_the_data_directory() {
    let image = image();
    let user = values(&image, "USER").pop().unwrap();
    assert_eq!(user, "10001:10001");
    let last = image.iter().rposition(|(word, _)| word == "USER").unwrap();
    assert!(
        image[last..].iter().all(|(word, _)| !["RUN", "COPY", "ADD"].contains(&word.as_str())),
        "written as the user"
    );
    let pod = object("kmlflow/statefulset.yaml", "StatefulSet")["spec"]["template"]["spec"].clone();
    for key in ["runAsUser", "runAsGroup", "fsGroup"] {
        assert_eq!(pod["securityContext"][key], Value::from(10001), "{key}");
    }
}

#[test]
fn nothing_secret_and_nothing_from_the_network_gets_into_it() {
    let all = instructions();
    assert_eq!(values(&all, "ADD"), [""; 0], "COPY says what is copied");
    for (word, rest) in &all {
        let is_setting = ["ARG", "ENV", "LABEL"].contains(&word.as_str());
        let names_a_secret =
            ["PASSWORD", "TOKEN", "SECRET", "KEY"].iter().any(|part| rest.to_uppercase().contains(part));
        assert!(!(is_setting && names_a_secret), "{word} {rest}");
        assert!(!rest.contains("curl ") && !rest.contains("wget "), "{word} {rest}");
    }
    // Only the program leaves the build, and the build sees no history and no caches.
    assert_eq!(values(&image(), "COPY"), ["--from=build /build/target/release/kmlflow /usr/local/bin/kmlflow"]);
    let ignored = text(".dockerignore");
    for name in [".git", ".cache", "target"] {
        assert!(ignored.lines().any(|line| line == name), "{name}");
    }
}

#[test]
fn its_version_is_the_one_that_the_platform_runs() {
    let version = text("Cargo.toml");
    let version = version.lines().find_map(|line| line.strip_prefix("version = ")).unwrap().trim_matches('"');
    let kustomization: Value = serde_yaml::from_str(&text("gitops-repo/platform/kmlflow/kustomization.yaml")).unwrap();
    assert_eq!(kustomization["images"][0]["newTag"], version);
    assert!(text("Dockerfile").contains(&format!("kmlflow:{version}")));
}
