//! The programs that are needed, and whether they are new enough.

use super::{Look, Step};
use crate::arguments::ClusterKind;
use crate::fault::{Fault, Kind};
use crate::kubectl;
use crate::program::{Call, how_to_install};
use crate::reporter::Reporter;
use crate::session::Session;
use crate::version::Version;

pub(super) struct Tools;

/// The first minikube that knows this Kubernetes and lets `--container-runtime` and `--gpus` be given together.
const MINIKUBE_MINIMUM: Version = Version::new(1, 38);

/// The first Docker Engine whose default cgroup and network settings minikube's node images expect.
const DOCKER_MINIMUM: Version = Version::new(24, 0);

struct Tool {
    name: &'static str,
    arguments: &'static [&'static str],
    minimum: Version,
}

const KUBECTL: Tool = Tool { name: "kubectl", arguments: &["version", "--client"], minimum: kubectl::MINIMUM };
const MINIKUBE: Tool = Tool { name: "minikube", arguments: &["version", "--short"], minimum: MINIKUBE_MINIMUM };
// The server's version: it answers only where the engine runs.
const DOCKER: Tool =
    Tool { name: "docker", arguments: &["version", "--format", "{{.Server.Version}}"], minimum: DOCKER_MINIMUM };

fn needed(kind: ClusterKind) -> Vec<Tool> {
    match kind {
        ClusterKind::Minikube => vec![KUBECTL, MINIKUBE, DOCKER],
        ClusterKind::Existing => vec![KUBECTL],
    }
}

impl Tool {
    fn call(&self) -> Call {
        Call::new(self.name, self.arguments.iter().copied())
    }

    fn check(&self) -> Result<String, Fault> {
        let answer = self.call().run()?;
        if !answer.is_success() {
            let cure = match self.name {
                "docker" => {
                    "start Docker (`sudo systemctl start docker`, or Docker Desktop), and see that your user may use it: `sudo usermod -aG docker $USER`"
                }
                _ => "run it by hand to see what it lacks",
            };
            return Err(Fault::new(format!("`{}` does not work: {}", self.call().line(), answer.reason()), cure));
        }
        let version = Version::find(&answer.stdout);
        match version.filter(|version| *version >= self.minimum) {
            Some(version) => Ok(format!("{} {version}", self.name)),
            None => {
                let found = version.map_or_else(|| "of an unknown version".to_owned(), |version| version.to_string());
                let what = format!("`{}` is {found}, and {} is the oldest that will do", self.name, self.minimum);
                Err(Fault::new(what, how_to_install(self.name)).of(Kind::Refused))
            }
        }
    }
}

impl Step for Tools {
    fn name(&self) -> &'static str {
        "tools"
    }

    fn title(&self) -> &'static str {
        "Programs"
    }

    fn plan(&self, session: &Session) -> Result<Vec<String>, Fault> {
        let line = |tool: &Tool| format!("check {} (at least {})", tool.call().line(), tool.minimum);
        Ok(needed(session.options.cluster).iter().map(line).collect())
    }

    fn look(&self, session: &Session, _: &mut Reporter) -> Result<Look, Fault> {
        let found: Result<Vec<String>, Fault> = needed(session.options.cluster).iter().map(Tool::check).collect();
        Ok(Look::Done(found?.join(", ")))
    }

    fn act(&self, _: &Session, _: &mut Reporter) -> Result<String, Fault> {
        Ok(String::new())
    }
}
