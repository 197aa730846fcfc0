//! What minikube says of its cluster, and how it is called.

use std::time::Duration;

use serde_json::Value;

use crate::fault::{Fault, Kind};
use crate::kubectl::refuse;
use crate::options::MINIKUBE_PROFILE;
use crate::program::Call;
use crate::quantity::Memory;
use crate::reporter::Reporter;
use crate::session::Session;

/// A first start pulls the image of the nodes, about 1.3 GB.
const START_LIMIT: Duration = Duration::from_secs(1800);

/// minikube's exit code where it knows no profile of the name.
const NO_SUCH_PROFILE: i32 = 85;

/// minikube's driver that every cluster here is made with.
const DRIVER: &str = "docker";

/// An addon is taken away object by object.
const ADDON_LIMIT: Duration = Duration::from_secs(180);

/// What each node of a cluster has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Node {
    cpus: u64,
    /// In MiB.
    memory: u64,
}

/// How minikube says that it made the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Made {
    node: Node,
    has_gpu: bool,
}

pub(super) fn status() -> Call {
    Call::new("minikube", ["status", "--profile", MINIKUBE_PROFILE, "--output", "json"])
}

/// The nodes of the cluster, running or not; none where there is no cluster.
pub fn nodes() -> Result<Vec<Value>, Fault> {
    let answer = status().run()?;
    // One object for one node, a list for several; its exit code says that there is no such profile.
    match serde_json::from_str(&answer.stdout) {
        Ok(Value::Array(nodes)) => Ok(nodes),
        Ok(node @ Value::Object(_)) if node["Host"].is_string() => Ok(vec![node]),
        _ if answer.code == Some(NO_SUCH_PROFILE) => Ok(Vec::new()),
        _ => {
            let what = format!("`{}` does not say how the cluster is: {}", status().line(), answer.reason());
            Err(Fault::new(what, "run it by hand to see what it lacks"))
        }
    }
}

pub fn runs(node: &Value) -> bool {
    node["Host"] == "Running" && node["Kubelet"] == "Running"
}

/// Each node is a container with its own limit: together they get what the profile wants.
fn wanted(session: &Session) -> Result<Node, Fault> {
    let profile = session.options.profile;
    let missing =
        || Fault::new(format!("the catalogue has no size of `{}`", profile.name()), "restore it from the checkout");
    let machine = &session.catalogue.size(profile).ok_or_else(missing)?.machine;
    let nodes = u64::from(session.options.nodes);
    Ok(Node { cpus: machine.cpus.div_ceil(nodes).max(2), memory: (machine.memory.0 >> 20).div_ceil(nodes).max(2200) })
}

/// The call that makes or starts the cluster. The current context of the kubeconfig stays what it was.
pub(super) fn minikube_start(session: &Session, has_gpu: bool) -> Result<Call, Fault> {
    let Node { cpus, memory } = wanted(session)?;
    let nodes = session.options.nodes;
    // The card is handed over by Docker's own runtime only.
    let runtime = if has_gpu { "docker" } else { "containerd" };
    let mut arguments = vec![
        "start".to_owned(),
        format!("--profile={MINIKUBE_PROFILE}"),
        format!("--driver={DRIVER}"),
        format!("--container-runtime={runtime}"),
        format!("--kubernetes-version={}", session.catalogue.kubernetes),
        format!("--nodes={nodes}"),
        format!("--cpus={cpus}"),
        format!("--memory={memory}m"),
        "--keep-context".to_owned(),
        "--interactive=false".to_owned(),
        "--output=json".to_owned(),
    ];
    if nodes > 1 {
        // The built-in provisioner makes a volume on the first node and lets the pod run on another.
        arguments.push("--addons=storage-provisioner-rancher".to_owned());
    }
    if has_gpu {
        arguments.push("--gpus=all".to_owned());
    }
    Ok(Call::new("minikube", arguments).within(START_LIMIT))
}

/// The call that starts a cluster as it was made.
pub(super) fn start_as_made() -> Call {
    let profile = format!("--profile={MINIKUBE_PROFILE}");
    Call::new("minikube", ["start", &profile, "--keep-context", "--interactive=false", "--output=json"])
        .within(START_LIMIT)
}

/// The addons by which each node would make volumes of its own disk for pods of others; each start with them makes their class the only default again.
pub(super) const BUILT_IN_STORAGE: [&str; 2] = ["default-storageclass", "storage-provisioner"];

/// The class whose volumes lie where their pod runs.
const LOCAL_CLASS: &str = "local-path";

/// The addons of the built-in provisioner that several nodes must not have and that are switched on.
pub(super) fn built_in_storage(session: &Session) -> Result<Vec<&'static str>, Fault> {
    if session.options.nodes == 1 {
        return Ok(Vec::new());
    }
    let answer = Call::new("minikube", ["addons", "list", "--profile", MINIKUBE_PROFILE, "--output", "json"]).run()?;
    refuse(&answer, "the addons of minikube cannot be listed")?;
    let addons: Value = serde_json::from_str(&answer.stdout).unwrap_or_default();
    Ok(BUILT_IN_STORAGE.into_iter().filter(|name| addons[name]["Status"] == "enabled").collect())
}

/// The call that switches one off.
pub(super) fn addon_off(name: &str) -> Call {
    Call::new("minikube", ["addons", "disable", name, "--profile", MINIKUBE_PROFILE]).within(ADDON_LIMIT)
}

/// Leaves volumes to the provisioner that several nodes have.
pub(super) fn switch_off_built_in_storage(session: &Session) -> Result<(), Fault> {
    for name in built_in_storage(session)? {
        refuse(&addon_off(name).run()?, &format!("minikube's addon `{name}` could not be switched off"))?;
    }
    Ok(())
}

/// Says where another class than the one for several nodes is what volumes are made of.
pub(super) fn warn_of_class(session: &Session, reporter: &mut Reporter) -> Result<(), Fault> {
    if session.options.nodes == 1 {
        return Ok(());
    }
    let annotation = "storageclass.kubernetes.io/is-default-class";
    let classes = session.kubectl.list(&["storageclasses"])?;
    let default = classes.iter().filter(|class| class["metadata"]["annotations"][annotation] == "true");
    let names: Vec<&str> = default.filter_map(|class| class["metadata"]["name"].as_str()).collect();
    if names == [LOCAL_CLASS] {
        return Ok(());
    }
    let found = if names.is_empty() { "none".to_owned() } else { format!("`{}`", names.join("`, `")) };
    let others = names.iter().filter(|name| **name != LOCAL_CLASS);
    let no_more =
        others.map(|name| format!("`kubectl annotate storageclass {name} {annotation}=false --overwrite`, then "));
    reporter.warn(
        &format!("the default storage class is {found}, and with several nodes `{LOCAL_CLASS}` makes volumes where their pod runs"),
        &format!(
            "{}`kubectl annotate storageclass {LOCAL_CLASS} {annotation}=true --overwrite`",
            no_more.collect::<String>()
        ),
    );
    Ok(())
}

/// The settings that minikube has noted of the cluster; null where it has noted nothing.
fn noted() -> Result<Value, Fault> {
    let answer = Call::new("minikube", ["profile", "list", "--output", "json"]).run()?;
    let profiles: Value = serde_json::from_str(&answer.stdout).unwrap_or_default();
    let all = ["valid", "invalid"].iter().filter_map(|name| profiles[name].as_array()).flatten();
    Ok(all.into_iter().find(|one| one["Name"] == MINIKUBE_PROFILE).map(|one| one["Config"].clone()).unwrap_or_default())
}

/// Whether minikube made the cluster in the way in which it does so here.
pub fn has_our_driver() -> Result<bool, Fault> {
    Ok(noted()?["Driver"] == DRIVER)
}

/// How minikube has noted that it made the cluster. A node says that it has what the whole machine has.
fn made() -> Result<Option<Made>, Fault> {
    let config = noted()?;
    let node = config["CPUs"].as_u64().zip(config["Memory"].as_u64()).map(|(cpus, memory)| Node { cpus, memory });
    let has_gpu = config["GPUs"].as_str().is_some_and(|cards| !cards.is_empty());
    Ok(node.map(|node| Made { node, has_gpu }))
}

/// Refuses a cluster that was made for less: minikube makes no node larger.
pub(super) fn refuse_small(session: &Session) -> Result<(), Fault> {
    let (wanted, Some(Made { node, .. })) = (wanted(session)?, made()?) else { return Ok(()) };
    if node.cpus >= wanted.cpus && node.memory >= wanted.memory {
        return Ok(());
    }
    let size = |node: Node| format!("{} processors and {} of memory", node.cpus, Memory(node.memory << 20));
    let profile = session.options.profile.name();
    let what = format!(
        "the nodes of the cluster `{MINIKUBE_PROFILE}` were made with {}, and the profile `{profile}` needs {}",
        size(node),
        size(wanted)
    );
    let cure = format!(
        "the cluster must be made anew, as minikube makes no node larger: `cargo bootstrap down` takes it away with all its data, then `cargo bootstrap up --profile {profile}`"
    );
    Err(Fault::new(what, cure).of(Kind::Conflict))
}

/// Whether the platform looks after the card: with several nodes one alone may offer it, and the device plugin of a profile goes where the label is.
fn has_card_of_ours(session: &Session) -> Result<bool, Fault> {
    let has_plugin = session.catalogue.components(session.options.profile).iter().any(|part| part.name == GPU_PLUGIN);
    Ok((session.options.nodes > 1 || has_plugin) && made()?.is_some_and(|made| made.has_gpu))
}

/// The part that offers cards to pods.
pub(super) const GPU_PLUGIN: &str = "gpu-plugin";

/// The label of a node with a card.
pub(super) const GPU_LABEL: &str = "nvidia.com/gpu.present";

/// Whether the node with the card still lacks its label.
pub(super) fn lacks_label(session: &Session) -> Result<bool, Fault> {
    if !has_card_of_ours(session)? {
        return Ok(false);
    }
    let node = session.kubectl.get(&["node", MINIKUBE_PROFILE])?.unwrap_or_default();
    Ok(node["metadata"]["labels"][GPU_LABEL] != "true")
}

/// Every node sees the card, and minikube's own plugin would offer it beside ours.
pub(super) fn label_the_card(session: &Session) -> Result<(), Fault> {
    refuse(&addon_off("nvidia-device-plugin").run()?, "minikube's own device plugin could not be switched off")?;
    let label = format!("{GPU_LABEL}=true");
    let answer = session.kubectl.call(&["label", "node", MINIKUBE_PROFILE, &label, "--overwrite"]).run()?;
    refuse(&answer, "the node with the card could not be labelled")
}
