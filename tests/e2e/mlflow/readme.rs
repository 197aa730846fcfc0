//! The README's way to a tracking server, as it stands there.

use std::path::Path;

use tests::TestEnvironment;
use tests::environment::{program, run};
use tests::mlflow::MlflowServer;

use crate::readme::{document, with_checks};

#[test]
fn the_three_commands_of_the_readme_connect_an_mlflow() {
    // One of its own, because the webhook stays behind.
    let mlflow = MlflowServer::builder().start();
    mlflow.create_model("readme");
    let version = mlflow.create_version("readme", "s3://models/x", &[("serving_image", "registry.example/readme:1")]);
    let found = document("README.md");
    let script = with_checks(&format!(
        "{} &\ntrap 'kill %1' EXIT\nfor n in {{1..150}}; do kmlflow list && break; sleep 0.2; done\n{}\
         #=> answered 202\n#=> models\nfor n in {{1..150}}; do kmlflow get readme -n models && break; sleep 0.2; done\n#=> registry.example/readme:1\n",
        found["mlflow-serve"].trim_end(),
        found["mlflow"]
    ));
    mlflow.set_alias("readme", "champion", &version);
    let environment = TestEnvironment::new();
    let mut bash = environment.command("bash");
    let programs = program("kmlflow").parent().map(Path::to_owned).unwrap();
    bash.env("PATH", format!("{}:{}", programs.display(), std::env::var("PATH").unwrap()))
        .env("MLFLOW_URI", mlflow.url())
        .env("KMLFLOW__DATA_DIR", environment.data_dir())
        .env("KMLFLOW__LISTEN", "127.0.0.1:0");
    let ran = run(bash.arg(environment.write("script.sh", script)));
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
}
