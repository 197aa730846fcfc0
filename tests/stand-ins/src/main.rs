//! What stands in on the test bed for what cannot run there.
//!
//! `stand-in operator`: the Seldon operator · `stand-in pods`: a model server per ready pod · `stand-in model …`: one of them ·
//! `stand-in crd FILE`: a CRD of the SeldonDeployment from a list of field paths, on stdout.

/// The CRD that a list of field paths describes.
mod crd;

/// The server in a pod.
mod model;

/// The operator.
mod operator;

/// Servers for pods, started and ended as the pods come and go.
mod pods;

use std::error::Error;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["operator"] => operator::run(kube::Client::try_default().await?).await,
        ["pods"] => pods::run(kube::Client::try_default().await?).await,
        ["model", pod] => model::run(serde_json::from_str(pod)?).await,
        ["crd", file] => {
            println!("{}", crd::of_field_paths(&std::fs::read_to_string(file)?));
            Ok(())
        }
        _ => Err("usage: stand-in operator | pods | model POD | crd FILE".into()),
    }
}
