//! The programs that `up` starts: missing, too old, failing, asking, and ended with it.

use std::io::{BufRead as _, BufReader};
use std::process::Command;

use super::changing;
use crate::scene::Scene;

#[test]
fn a_program_that_is_missing_is_told_with_where_to_get_it() {
    let scene = Scene::new();
    let folder = scene.path("bin");
    std::fs::create_dir(&folder).unwrap();
    for (present, missing, hint) in [
        (&["kubectl"][..], "minikube", "minikube.sigs.k8s.io"),
        (&["kubectl", "minikube"], "docker", "docs.docker.com"),
    ] {
        for name in present {
            let link = folder.join(name);
            let _there =
                std::os::unix::fs::symlink(crate::scene::crate_directory().join("tests/stand_ins").join(name), link);
        }
        // What the stand-ins themselves need.
        for tool in ["bash", "env", "cat", "cksum", "tr", "basename", "base64", "mkdir"] {
            let found = ["/usr/bin", "/bin"]
                .iter()
                .map(|place| std::path::Path::new(place).join(tool))
                .find(|path| path.exists());
            let _there = std::os::unix::fs::symlink(found.unwrap(), folder.join(tool));
        }
        let ended = scene.run_with_path(&["up"], folder.to_str().unwrap());
        ended.failed(4, &format!("`{missing}` is not installed"), hint);
    }
    let nothing = tempfile::tempdir().unwrap();
    scene.run_with_path(&["up"], nothing.path().to_str().unwrap()).failed(
        4,
        "`kubectl` is not installed",
        "kubernetes.io",
    );
}

#[test]
fn what_is_too_old_or_does_not_run_is_refused_before_anything_is_made() {
    for (scene, code, words, hint) in [
        (Scene::new().with("KUBECTL_VERSION", "1.27.0"), 3, "`kubectl` is 1.27, and 1.30", "install"),
        (Scene::new().with("MINIKUBE_VERSION", "1.33.1"), 3, "`minikube` is 1.33", "install"),
        (Scene::new().with("DOCKER_VERSION", "20.10.7"), 3, "`docker` is 20.10", "install"),
        (
            Scene::new().fault("^docker version", "fail 'Cannot connect to the Docker daemon'"),
            1,
            "Cannot connect to the Docker daemon",
            "systemctl start docker",
        ),
        (Scene::new().with("MEMORY", "2147483648"), 3, "2Gi of memory", "--profile core"),
        (Scene::new().with("CPUS", "1"), 3, "1 processors", "smaller profile"),
    ] {
        scene.up(&[]).failed(code, words, hint);
        assert_eq!(changing(&scene.calls()), [] as [&str; 0]);
    }
}

#[test]
fn a_step_that_fails_is_named_with_the_programs_words_and_the_next_run_goes_on() {
    let scene = Scene::new().fault(
        "^minikube start",
        r#"printf '{"type":"io.k8s.sigs.minikube.error","data":{"message":"no space left"}}\n'; exit 80"#,
    );
    let ended = scene.up(&[]).failed(1, "no space left", "minikube logs");
    assert!(ended.stderr.contains("FAIL") && ended.stderr.contains("Cluster"), "{ended:#?}");
    scene.remove("faults");
    scene.up(&[]).succeeded();
}

#[test]
fn a_signal_ends_what_was_started_too_and_is_told() {
    for (signal, code) in [("TERM", 143), ("INT", 130)] {
        let event = r#"printf '{"type":"io.k8s.sigs.minikube.step","data":{"currentstep":"1","totalsteps":"9","message":"x"}}\n'"#;
        // A program of minikube's own goes on beside it.
        let action = format!(r#"tail -f /dev/null & printf '%s %s' $$ $! >"$STATE/started"; {event}; wait"#);
        let scene = Scene::new().fault("^minikube start", &action);
        let mut program = scene.start(&["up", "-o", "json"]);
        let mut lines = BufReader::new(program.stderr.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().contains("waiting")), "{}", scene.read("calls"));
        let run = |script: String| Command::new("sh").args(["-c", &script]).output().unwrap();
        assert!(run(format!("kill -{signal} {}", program.id())).status.success());
        let told: String = lines.map_while(Result::ok).collect();
        assert_eq!(program.wait().unwrap().code(), Some(code), "{told}");
        assert!(told.contains(&format!("ended by SIG{signal}, and with it `minikube start")), "{told}");
        assert!(told.contains("run it again") && !told.contains("could not start"), "{told}");
        for pid in scene.read("started").split(' ') {
            let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            assert!(state.is_empty() || state.contains(") Z "), "it runs: {state}");
        }
        scene.remove("faults");
        scene.up(&[]).succeeded();
    }
}

#[test]
fn a_program_that_asks_for_confirmation_gets_none_and_is_told() {
    let scene = Scene::new().fault(
        "^minikube start",
        "read -r reply || fail 'X Exiting due to: no answer to: delete the old cluster? [y/N]'",
    );
    scene.up(&[]).failed(1, "no answer to", "minikube delete");
}

#[test]
fn the_api_server_s_refusal_has_a_cure() {
    let scene = Scene::new().fault("^kubectl apply", "fail 'Error from server (Forbidden): namespaces is forbidden'");
    scene.up(&[]).failed(1, "the namespaces could not be applied", "administer the cluster");
}
