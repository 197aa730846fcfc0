//! Whether this machine can carry a cluster with the profile.

use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::time::Duration;

use super::edge::ports;
use super::{EDGE_CONTAINER, Look, Step, minikube};
use crate::catalogue::{self, Size};
use crate::fault::{Fault, Kind};
use crate::program::Call;
use crate::quantity::Memory;
use crate::reporter::Reporter;
use crate::session::Session;

pub(super) struct Machine;

/// How to come by another port.
pub(super) const OTHER_PORT: &str = "end what listens there, or write another port into the addresses: `cargo bootstrap render --port 8080` (HTTPS has 443 always); then run this again";

/// What Kubernetes' many watchers need; a third of it is used up by a desktop.
const INOTIFY_INSTANCES: u64 = 1280;
const INOTIFY_WATCHES: u64 = 655_360;

/// A machine says a little less than it was sold with.
const TOLERANCE_PERCENT: u64 = 92;

/// What was found; none where this system does not say.
#[derive(Debug, Clone, Default)]
struct Facts {
    cpus: Option<u64>,
    memory: Option<Memory>,
    disk_free: Option<Memory>,
    inotify_instances: Option<u64>,
    inotify_watches: Option<u64>,
    /// Whether the cluster is there already, with its share of this machine.
    has_cluster: bool,
    /// Of the ports that lead to the gateway the one that somebody else has.
    port_taken: Option<u16>,
    /// Of those the one that Docker may not open.
    port_privileged: Option<u16>,
    resolves: bool,
}

impl Step for Machine {
    fn name(&self) -> &'static str {
        "machine"
    }

    fn title(&self) -> &'static str {
        "Machine"
    }

    fn plan(&self, session: &Session) -> Result<Vec<String>, Fault> {
        let size = size(session)?;
        let (cpus, memory, disk) = (size.machine.cpus, size.machine.memory, size.machine.disk);
        Ok(vec![
            format!("check that Docker has {cpus} processors, {memory} of memory and {disk} of free disk"),
            format!("check fs.inotify: {INOTIFY_INSTANCES} instances, {INOTIFY_WATCHES} watches (Linux)"),
            format!(
                "check that port {} of 127.0.0.1 is free and may be opened, and that `probe.{}` resolves",
                ports(session).iter().map(u16::to_string).collect::<Vec<_>>().join(" and "),
                session.catalogue.host_suffix
            ),
        ])
    }

    fn look(&self, session: &Session, reporter: &mut Reporter) -> Result<Look, Fault> {
        let facts = facts(session)?;
        for (text, cure) in warnings(&facts, &session.catalogue) {
            reporter.warn(&text, &cure);
        }
        judge(&facts, size(session)?).map(Look::Done)
    }

    fn act(&self, _: &Session, _: &mut Reporter) -> Result<String, Fault> {
        Ok(String::new())
    }
}

fn size(session: &Session) -> Result<&Size, Fault> {
    let profile = session.options.profile;
    let missing =
        || Fault::new(format!("the catalogue has no size of `{}`", profile.name()), "restore it from the checkout");
    session.catalogue.size(profile).ok_or_else(missing)
}

/// Refuses a machine on which the profile would not come up.
fn judge(facts: &Facts, size: &Size) -> Result<String, Fault> {
    let enough = |found: u64, wanted: u64| found >= wanted * TOLERANCE_PERCENT / 100;
    let smaller = "use a smaller profile (`--profile core`), give Docker more (Docker Desktop: Settings, Resources), or another machine";
    let refused = |what: String, cure: &str| Err(Fault::new(what, cure).of(Kind::Refused));
    if let Some(port) = facts.port_taken {
        return refused(format!("port {port} of this machine is taken"), OTHER_PORT);
    }
    if let Some(port) = facts.port_privileged {
        return Err(privileged(port));
    }
    if facts.has_cluster {
        return Ok("the cluster has its share already".to_owned());
    }
    let machine = &size.machine;
    if let Some(cpus) = facts.cpus.filter(|cpus| *cpus < machine.cpus) {
        return refused(
            format!("Docker has {cpus} processors, and the profile `{}` needs {}", size.name.name(), machine.cpus),
            smaller,
        );
    }
    if let Some(memory) = facts.memory.filter(|memory| !enough(memory.0, machine.memory.0)) {
        return refused(
            format!("Docker has {memory} of memory, and the profile `{}` needs {}", size.name.name(), machine.memory),
            smaller,
        );
    }
    if let Some(free) = facts.disk_free.filter(|free| *free < machine.disk) {
        return refused(
            format!("{free} of disk are free, and the profile `{}` needs {}", size.name.name(), machine.disk),
            "free space: `docker system prune`",
        );
    }
    let shown = |value: Option<String>| value.unwrap_or_else(|| "unknown".to_owned());
    Ok(format!(
        "{} processors, {} of memory",
        shown(facts.cpus.map(|cpus| cpus.to_string())),
        shown(facts.memory.map(|memory| memory.to_string()))
    ))
}

/// Where Docker runs without rights, the kernel keeps the low ports for others.
pub(super) fn privileged(port: u16) -> Fault {
    let cure = format!(
        "`sudo sysctl -w net.ipv4.ip_unprivileged_port_start={port}` and a file in /etc/sysctl.d that says so, or `cargo bootstrap render --port 8080` (HTTPS has 443 always); then run this again"
    );
    Fault::new(format!("Docker runs without rights here and cannot open port {port}"), cure).of(Kind::Refused)
}

/// What stops nothing and will puzzle somebody.
fn warnings(facts: &Facts, catalogue: &catalogue::Catalogue) -> Vec<(String, String)> {
    let suffix = &catalogue.host_suffix;
    let hosts: Vec<String> = catalogue
        .components
        .iter()
        .filter_map(|part| part.address.as_deref())
        .map(|name| match name {
            "" => suffix.clone(),
            name => format!("{name}.{suffix}"),
        })
        .collect();
    let unresolved = (
        format!(
            "names such as `probe.{suffix}` do not resolve here: browsers and curl find them by themselves, Python, Node and Rust do not"
        ),
        format!(
            "Debian and Ubuntu: `sudo apt install libnss-myhostname`; elsewhere a line in the hosts file: `127.0.0.1 {}`",
            hosts.join(" ")
        ),
    );
    let mut warnings: Vec<(String, String)> = (!facts.resolves).then_some(unresolved).into_iter().collect();
    for (name, found, wanted) in [
        ("max_user_instances", facts.inotify_instances, INOTIFY_INSTANCES),
        ("max_user_watches", facts.inotify_watches, INOTIFY_WATCHES),
    ] {
        if let Some(found) = found.filter(|found| *found < wanted) {
            let text = format!(
                "`fs.inotify.{name}` is {found}, and {wanted} are wanted: pods may end with `too many open files`"
            );
            let cure = format!(
                "`sudo sysctl -w fs.inotify.{name}={wanted}`, and a file in /etc/sysctl.d that says so after a restart"
            );
            warnings.push((text, cure));
        }
    }
    warnings
}

fn facts(session: &Session) -> Result<Facts, Fault> {
    let engine = Call::new("docker", ["info", "--format", "{{.NCPU}} {{.MemTotal}} {{.DockerRootDir}}"]).run()?;
    let mut words = engine.stdout.trim().splitn(3, ' ');
    let (cpus, memory) = (words.next().and_then(number), words.next().and_then(number));
    let inotify =
        |name: &str| std::fs::read_to_string(format!("/proc/sys/fs/inotify/{name}")).ok().as_deref().and_then(number);
    // Where our own proxy has the port it is not taken.
    let edge = Call::new(
        "docker",
        ["inspect", "--format", "{{.State.Running}} {{json .HostConfig.PortBindings}}", EDGE_CONTAINER],
    )
    .run()?;
    let is_ours = |port: u16| edge.stdout.starts_with("true") && edge.stdout.contains(&format!("\"{port}\""));
    let ports: Vec<u16> = ports(session).into_iter().filter(|port| !is_ours(*port)).collect();
    let security = Call::new("docker", ["info", "--format", "{{json .SecurityOptions}}"]).run()?;
    // Where Docker runs without rights the kernel says which ports are anybody's.
    let first_free = match security.stdout.contains("name=rootless") {
        true => {
            std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").ok().as_deref().and_then(number)
        }
        false => None,
    };
    Ok(Facts {
        cpus,
        memory: memory.map(Memory),
        disk_free: words.next().and_then(free_below),
        inotify_instances: inotify("max_user_instances"),
        inotify_watches: inotify("max_user_watches"),
        has_cluster: !minikube::nodes()?.is_empty(),
        port_taken: ports.iter().copied().find(|port| is_taken(*port)),
        port_privileged: ports.iter().copied().find(|port| u64::from(*port) < first_free.unwrap_or(0)),
        resolves: (format!("probe.{}", session.catalogue.host_suffix), 80).to_socket_addrs().is_ok(),
    })
}

fn number(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

fn is_taken(port: u16) -> bool {
    TcpStream::connect_timeout(&SocketAddr::from(([127, 0, 0, 1], port)), Duration::from_millis(300)).is_ok()
}

/// The free space of the file system that a directory lies on; none where the engine has a machine of its own.
fn free_below(directory: &str) -> Option<Memory> {
    let answer = Call::new("df", ["-Pk", directory]).run().ok().filter(crate::program::Answer::is_success)?;
    let free = answer.stdout.lines().nth(1)?.split_whitespace().nth(3)?.parse::<u64>().ok()?;
    Some(Memory(free << 10))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::{Catalogue, Profile};

    fn catalogue() -> Catalogue {
        Catalogue::parse(include_str!("../../../gitops-repo/platform/catalogue.yaml")).unwrap()
    }

    fn good() -> Facts {
        Facts {
            cpus: Some(8),
            memory: Some(Memory(16 << 30)),
            disk_free: Some(Memory(100 << 30)),
            inotify_instances: Some(8192),
            inotify_watches: Some(1 << 20),
            has_cluster: false,
            port_taken: None,
            port_privileged: None,
            resolves: true,
        }
    }

    #[test]
    fn each_lack_has_its_own_sentence_and_cure() {
        let catalogue = catalogue();
        let size = catalogue.size(Profile::Core).unwrap();
        assert!(judge(&good(), size).is_ok());
        for (facts, what, cure) in [
            (Facts { cpus: Some(2), ..good() }, "2 processors", "--profile core"),
            (Facts { memory: Some(Memory(4 << 30)), ..good() }, "4Gi of memory", "Docker Desktop"),
            (Facts { disk_free: Some(Memory(1 << 30)), ..good() }, "1Gi of disk", "prune"),
            (Facts { port_taken: Some(80), ..good() }, "port 80 of this machine is taken", "render --port 8080"),
            (Facts { port_privileged: Some(443), ..good() }, "cannot open port 443", "ip_unprivileged_port_start=443"),
        ] {
            let fault = judge(&facts, size).unwrap_err();
            assert!(fault.what.contains(what) && fault.cure.contains(cure), "{fault:?}");
            assert_eq!(fault.code(), 3);
        }
    }

    #[test]
    fn what_the_machine_was_sold_with_is_enough() {
        let catalogue = catalogue();
        let facts = Facts { memory: Some(Memory((8 << 30) - (500 << 20))), ..good() };
        assert!(judge(&facts, catalogue.size(Profile::Core).unwrap()).is_ok());
    }

    #[test]
    fn a_cluster_that_is_there_is_not_judged_by_what_is_left_beside_it() {
        let catalogue = catalogue();
        let facts = Facts { has_cluster: true, cpus: Some(1), memory: Some(Memory(1 << 30)), ..good() };
        assert!(judge(&facts, catalogue.size(Profile::Full).unwrap()).is_ok());
        let taken = Facts { port_taken: Some(80), ..facts };
        assert!(judge(&taken, catalogue.size(Profile::Full).unwrap()).is_err());
    }

    #[test]
    fn a_system_that_does_not_say_is_not_refused() {
        let facts = Facts { resolves: true, ..Facts::default() };
        assert_eq!(
            judge(&facts, catalogue().size(Profile::Full).unwrap()),
            Ok("unknown processors, unknown of memory".to_owned())
        );
    }

    #[test]
    fn few_watchers_are_a_warning_with_the_command() {
        for (facts, cure) in [
            (Facts { inotify_instances: Some(128), ..good() }, "sudo sysctl -w fs.inotify.max_user_instances=1280"),
            (Facts { inotify_watches: Some(8192), ..good() }, "fs.inotify.max_user_watches=655360"),
        ] {
            let [(text, told)] = &warnings(&facts, &catalogue())[..] else { panic!("{facts:?}") };
            assert!(text.contains("too many open files") && told.contains(cure), "{text} {told}");
        }
    }

    #[test]
    fn names_that_do_not_resolve_are_a_warning_with_every_name() {
        assert_eq!(warnings(&good(), &catalogue()), []);
        let [(text, cure)] = &warnings(&Facts { resolves: false, ..good() }, &catalogue())[..] else { panic!() };
        assert!(
            text.contains("probe.k5w.localhost")
                && cure.contains("libnss-myhostname")
                && cure.contains("grafana.k5w.localhost")
        );
    }
}
