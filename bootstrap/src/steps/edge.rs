//! The way from this machine's port to the gateway: a small proxy on the cluster's network, as node addresses are not reached from everywhere
//! (Docker Desktop, rootless Docker) and minikube cannot publish a port with several nodes.

use serde_json::json;

use super::{Look, Step};
use crate::fault::{Fault, Kind};
use crate::kubectl::refuse;
use crate::options::MINIKUBE_PROFILE;
use crate::program::Call;
use crate::reporter::Reporter;
use crate::session::Session;

pub(super) struct Edge;

/// The name of its container.
pub const CONTAINER: &str = "k5w-edge";

/// The port that the gateway's Service has on every node (`platform/gateway`).
const NODE_PORT: u16 = 30080;

/// The port inside of the container; its program is no administrator.
const INNER_PORT: u16 = 10080;

fn inspect() -> Call {
    Call::new("docker", ["inspect", "--format", "{{.State.Running}} {{json .HostConfig.PortBindings}}", CONTAINER])
}

fn start(session: &Session) -> Result<Call, Fault> {
    let proxy = &session.component("gateway")?.version;
    let publish = format!("127.0.0.1:{}:{INNER_PORT}", session.options.port);
    let image = format!("docker.io/envoyproxy/envoy:distroless-v{proxy}");
    let arguments = [
        "run",
        "--detach",
        "--name",
        CONTAINER,
        "--restart",
        "unless-stopped",
        "--network",
        MINIKUBE_PROFILE,
        "--publish",
        &publish,
        &image,
        "--config-yaml",
        &configuration(),
    ];
    Ok(Call::new("docker", arguments).within(std::time::Duration::from_secs(300)))
}

/// Every connection goes to the node as it is.
fn configuration() -> String {
    let address = |host: &str, port: u16| json!({"socket_address": {"address": host, "port_value": port}});
    let proxy = json!({
        "name": "envoy.filters.network.tcp_proxy",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
            "stat_prefix": "edge", "cluster": "node",
        },
    });
    json!({"static_resources": {
        "listeners": [{"name": "edge", "address": address("0.0.0.0", INNER_PORT), "filter_chains": [{"filters": [proxy]}]}],
        "clusters": [{
            "name": "node", "type": "STRICT_DNS", "connect_timeout": "5s",
            "load_assignment": {"cluster_name": "node", "endpoints": [{"lb_endpoints": [
                {"endpoint": {"address": address(MINIKUBE_PROFILE, NODE_PORT)}},
            ]}]},
        }],
    }})
    .to_string()
}

impl Step for Edge {
    fn name(&self) -> &'static str {
        "edge"
    }

    fn title(&self) -> &'static str {
        "Way to the gateway"
    }

    fn plan(&self, session: &Session) -> Result<Vec<String>, Fault> {
        Ok(vec![format!("run {}", start(session)?.line())])
    }

    fn look(&self, session: &Session, _: &mut Reporter) -> Result<Look, Fault> {
        let answer = inspect().run()?;
        let is_same = answer.stdout.contains(&format!("\"{}\"", session.options.port));
        match answer.is_success() && answer.stdout.starts_with("true") && is_same {
            true => Ok(Look::Done(format!("port {} of this machine", session.options.port))),
            false => Ok(Look::ToDo),
        }
    }

    fn act(&self, session: &Session, _: &mut Reporter) -> Result<String, Fault> {
        // A stopped one, or one with another port, is in the way.
        let _absent = Call::new("docker", ["rm", "--force", CONTAINER]).run()?;
        let answer = start(session)?.run()?;
        if answer.stderr.contains("port is already allocated") || answer.stderr.contains("address already in use") {
            let what = format!("port {} of this machine is taken", session.options.port);
            return Err(Fault::new(what, "`--port 8080`; the addresses then end with it").of(Kind::Refused));
        }
        refuse(&answer, "the proxy before the gateway could not be started")?;
        Ok(format!("port {} of this machine", session.options.port))
    }
}
