//! The way from this machine's port to the gateway: a small proxy on the cluster's network, as node addresses are not reached from everywhere
//! (Docker Desktop, rootless Docker) and minikube cannot publish a port with several nodes.

use serde_json::{Value, json};

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

/// The ports that the gateway's Service has on every node (`platform/gateway`, `platform/tls`), and those inside of the container, whose
/// program is no administrator.
const HTTP: Way = Way { node: 30080, inner: 10080 };
const HTTPS: Way = Way { node: 30443, inner: 10443 };

/// The port of this machine for HTTPS: addresses name none.
const HTTPS_PORT: u16 = 443;

struct Way {
    node: u16,
    inner: u16,
}

/// The ports of this machine that lead to the gateway.
pub(super) fn ports(session: &Session) -> Vec<u16> {
    ways(session).into_iter().map(|(port, _)| port).collect()
}

/// From each port of this machine.
fn ways(session: &Session) -> Vec<(u16, Way)> {
    let mut ways = vec![(session.catalogue.port, HTTP)];
    if session.catalogue.tls {
        ways.push((HTTPS_PORT, HTTPS));
    }
    ways
}

fn inspect() -> Call {
    Call::new("docker", ["inspect", "--format", "{{.State.Running}} {{json .HostConfig.PortBindings}}", CONTAINER])
}

fn start(session: &Session) -> Result<Call, Fault> {
    let proxy = &session.component("gateway")?.version;
    let published = ways(session)
        .into_iter()
        .flat_map(|(port, way)| ["--publish".to_owned(), format!("127.0.0.1:{port}:{}", way.inner)]);
    let image = format!("docker.io/envoyproxy/envoy:distroless-v{proxy}");
    let first = ["run", "--detach", "--name", CONTAINER, "--restart", "unless-stopped", "--network", MINIKUBE_PROFILE];
    let last = [image, "--config-yaml".to_owned(), configuration(session)];
    let arguments: Vec<String> = first.map(str::to_owned).into_iter().chain(published).chain(last).collect();
    Ok(Call::new("docker", arguments).within(std::time::Duration::from_secs(300)))
}

/// Every connection goes to the node as it is.
fn configuration(session: &Session) -> String {
    let address = |host: &str, port: u16| json!({"socket_address": {"address": host, "port_value": port}});
    let listener = |way: &Way| {
        let proxy = json!({
            "name": "envoy.filters.network.tcp_proxy",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
                "stat_prefix": "edge", "cluster": way.node.to_string(),
            },
        });
        json!({"name": way.node.to_string(), "address": address("0.0.0.0", way.inner), "filter_chains": [{"filters": [proxy]}]})
    };
    let cluster = |way: &Way| {
        json!({
            "name": way.node.to_string(), "type": "STRICT_DNS", "connect_timeout": "5s",
            "load_assignment": {"cluster_name": way.node.to_string(), "endpoints": [{"lb_endpoints": [
                {"endpoint": {"address": address(MINIKUBE_PROFILE, way.node)}},
            ]}]},
        })
    };
    let ways = ways(session);
    let listeners: Vec<Value> = ways.iter().map(|(_, way)| listener(way)).collect();
    let clusters: Vec<Value> = ways.iter().map(|(_, way)| cluster(way)).collect();
    json!({"static_resources": {"listeners": listeners, "clusters": clusters}}).to_string()
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
        let is_same = ways(session).iter().all(|(port, _)| answer.stdout.contains(&format!("\"{port}\"")));
        match answer.is_success() && answer.stdout.starts_with("true") && is_same {
            true => Ok(Look::Done(format!("port {} of this machine", session.catalogue.port))),
            false => Ok(Look::ToDo),
        }
    }

    fn act(&self, session: &Session, _: &mut Reporter) -> Result<String, Fault> {
        // A stopped one, or one with another port, is in the way.
        let _absent = Call::new("docker", ["rm", "--force", CONTAINER]).run()?;
        let answer = start(session)?.run()?;
        if answer.stderr.contains("port is already allocated") || answer.stderr.contains("address already in use") {
            let ports: Vec<String> = ways(session).iter().map(|(port, _)| port.to_string()).collect();
            let what = format!("port {} of this machine is taken", ports.join(" or "));
            return Err(Fault::new(what, super::machine::OTHER_PORT).of(Kind::Refused));
        }
        if answer.stderr.contains("privileged port") {
            return Err(super::machine::privileged(session.catalogue.port));
        }
        refuse(&answer, "the proxy before the gateway could not be started")?;
        Ok(format!("port {} of this machine", session.catalogue.port))
    }
}
