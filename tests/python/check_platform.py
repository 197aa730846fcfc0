"""The platform as Argo CD sees it: every folder is built by Kustomize, and the health scripts judge what the real operator was seen to say.

With `KMLFLOW_TEST_ARGOCD`, the program of Argo CD, each verdict is asked of that as well; `KMLFLOW_TEST_CRDS` is a folder with the real definitions
of the kinds that are not Kubernetes' own, as JSON.
"""

from __future__ import annotations

import copy
import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

import yaml
from lupa import lua51

from monitoring import PLATFORM
from service import ROOT, Checks

# The components that are about releases; the others are held by bootstrap, and here only built where that takes no network.
OWN = ("argo-cd/settings", "kmlflow", "kmlflow-replicas", "monitoring", "releases", "repository")

HEALTH = "resource.customizations.health."

# The status of a SeldonDeployment with two predictors, as the operator 1.17.1 wrote it.
AVAILABLE = {
    "state": "Available",
    "replicas": 2,
    "address": {"url": "http://wine-v7.models.svc.cluster.local:9000/v2/models/model/infer"},
    "deploymentStatus": {"wine-v7-0-model": {"availableReplicas": 2, "replicas": 2}, "wine-v8-0-model": {"availableReplicas": 1, "replicas": 1}},
    "serviceStatus": {name: {"svcName": name} for name in ("wine-v7", "wine-v7-model", "wine-v8", "wine-v8-model")},
    "conditions": [
        {"type": "DeploymentsReady", "status": "True", "reason": "MinimumReplicasAvailable", "message": "Deployment has minimum availability."},
        {"type": "Ready", "status": "True"},
        {"type": "istioVirtualServicesReady", "status": "True", "reason": "No VirtualServices defined"},
    ],
}


def is_here(kustomization: pathlib.Path) -> bool:
    """Whether a component, with all that it is made of, lies in the repository."""
    whole = yaml.safe_load(kustomization.read_text())
    # A Component is built by those who take it in.
    if whole["kind"] == "Component" or "helmCharts" in whole or any("://" in resource for resource in whole.get("resources", [])):
        return False
    below = [kustomization.parent / resource / "kustomization.yaml" for resource in whole.get("resources", []) + whole.get("components", [])]
    return all(is_here(path) for path in below if path.exists())


def built(folder: pathlib.Path) -> list[dict]:
    """What Kustomize makes of a folder."""
    ran = subprocess.run(["kubectl", "kustomize", folder], capture_output=True, text=True)
    if ran.returncode:
        raise SystemExit(f"{folder.name}: {ran.stderr}")
    return [document for document in yaml.safe_load_all(ran.stdout) if document]


def of_kind(objects: list[dict], kind: str) -> dict:
    [found] = [o for o in objects if o["kind"] == kind]
    return found


def images(value: object) -> list[str]:
    """Every image below a value."""
    if isinstance(value, dict):
        own = [value["image"]] if isinstance(value.get("image"), str) else []
        return own + [image for inner in value.values() for image in images(inner)]
    return [image for inner in value for image in images(inner)] if isinstance(value, list) else []


def check_builds(checks: Checks) -> dict[str, list[dict]]:
    folders = {path.parent.relative_to(PLATFORM).as_posix(): path for path in sorted(PLATFORM.rglob("kustomization.yaml"))}
    components = {name: built(path.parent) for name, path in folders.items() if name in OWN or is_here(path)}
    readme = (PLATFORM / "README.md").read_text()
    for name in OWN:
        checks.holds(f"{name} is in the README", f"| `{name}/` |" in readme)
    for name, objects in components.items():
        ids = [(o["kind"], o["metadata"].get("namespace"), o["metadata"]["name"]) for o in objects]
        checks.equal(f"{name}: each object once", len(set(ids)), len(ids))
        checks.holds(f"{name}: no Secret", all(o["kind"] != "Secret" for o in objects))
        cluster_wide = {"Namespace", "ClusterRole", "ClusterRoleBinding"}
        for kind, namespace, known_as in ids if name in OWN else []:
            checks.equal(f"{name}: {kind} {known_as} says where it goes", namespace is None, kind in cluster_wide)
        for image in images(objects):
            checks.holds(f"{name}: {image} has a version", bool(re.search(r"(:[\w.-]*\d[\w.-]*|@sha256:[0-9a-f]{64})$", image)) and ":latest" not in image, image)
    return components


def unknown_fields(schema: dict, value: object, path: str) -> list[str]:
    """The fields of a value that a definition does not have, and those that it wants and are not there."""
    if schema.get("x-kubernetes-preserve-unknown-fields") or schema.get("x-kubernetes-embedded-resource"):
        return []
    if isinstance(value, list):
        return [fault for at, item in enumerate(value) for fault in unknown_fields(schema.get("items", {}), item, f"{path}[{at}]")]
    if not isinstance(value, dict) or schema.get("x-kubernetes-int-or-string"):
        return []
    faults = [f"{path}.{name} is missing" for name in schema.get("required", []) if name not in value]
    for name, inner in value.items():
        known = schema.get("properties", {}).get(name, schema.get("additionalProperties"))
        if known is None:
            faults.append(f"{path}.{name} is not known")
        elif isinstance(known, dict):
            faults += unknown_fields(known, inner, f"{path}.{name}")
    return faults


def check_definitions(checks: Checks, components: dict[str, list[dict]], folder: pathlib.Path) -> None:
    """Objects of others' kinds have no field that the real definition does not know: the API server would drop it without a word."""
    definitions = [json.loads(file.read_text()) for file in sorted(folder.glob("*.json"))]
    schemas = {
        (f"{d['spec']['group']}/{version['name']}", d["spec"]["names"]["kind"]): version["schema"]["openAPIV3Schema"]
        for d in definitions
        for version in d["spec"]["versions"]
    }
    judged = 0
    for name, objects in components.items():
        for o in objects:
            schema = schemas.get((o["apiVersion"], o["kind"]))
            if schema is not None:
                judged += 1
                # What every object has is not in a definition.
                body = {key: value for key, value in o.items() if key != "metadata"}
                properties = {key: value for key, value in schema["properties"].items() if key != "metadata"}
                faults = unknown_fields(schema | {"properties": properties, "required": []}, body, o["kind"])
                checks.equal(f"{name}: {o['kind']} {o['metadata']['name']} by its definition", faults, [])
            elif name in OWN and "." in o["apiVersion"].split("/")[0] and not o["apiVersion"].split("/")[0].endswith(".k8s.io"):
                checks.holds(f"{name}: {o['kind']} has a definition", False, o["apiVersion"])
    checks.holds("definitions were asked", judged >= 7, str(judged))
    schema = schemas[("argoproj.io/v1alpha1", "AppProject")]
    checks.equal("a wrong field is seen", unknown_fields(schema, {"spec": {"sourceRepo": []}, "metadata": {}}, ""), [".spec.sourceRepo is not known"])


def check_references(checks: Checks, name: str, objects: list[dict]) -> None:
    """Every ConfigMap that a pod reads is made here, and every Secret stands in the README."""
    pod = of_kind(objects, "StatefulSet")["spec"]["template"]["spec"]
    made = {o["metadata"]["name"] for o in objects if o["kind"] == "ConfigMap"}
    container = pod["containers"][0]
    wanted = {v["configMap"]["name"] for v in pod["volumes"] if "configMap" in v}
    wanted |= {source["configMapRef"]["name"] for source in container.get("envFrom", [])}
    checks.holds(f"{name}: its ConfigMaps are made", wanted <= made, f"{wanted} of {made}")
    readme = (PLATFORM / "README.md").read_text()
    for volume in pod["volumes"]:
        if "secret" in volume:
            checks.holds(f"{name}: {volume['secret']['secretName']} is in the README", f"`{volume['secret']['secretName']}`" in readme)
    volumes = {volume["name"] for volume in pod["volumes"]} | {claim["metadata"]["name"] for claim in of_kind(objects, "StatefulSet")["spec"]["volumeClaimTemplates"]}
    checks.equal(f"{name}: each volume is mounted", {mount["name"] for mount in container["volumeMounts"]}, volumes)


def check_replicas(checks: Checks, alone: list[dict], several: list[dict]) -> None:
    """The overlay adds what several need and changes nothing else."""
    spec = of_kind(several, "StatefulSet")["spec"]
    checks.equal("replicas", (of_kind(alone, "StatefulSet")["spec"]["replicas"], spec["replicas"]), (1, 2))
    budget = of_kind(several, "PodDisruptionBudget")["spec"]
    checks.equal("a drained node takes one of them", (budget["maxUnavailable"], budget["selector"]["matchLabels"]), (1, spec["selector"]["matchLabels"]))
    [settings] = [o for o in several if o["metadata"]["name"].startswith("kmlflow-settings")]
    checks.holds("a database and a branch that they share", settings["data"]["KMLFLOW__STORE__URL"].startswith("postgres://") and settings["data"]["KMLFLOW__GIT__URL"].startswith("https://"), str(settings))
    [variable] = spec["template"]["spec"]["containers"][0]["env"]
    checks.equal("who holds the Lease", (variable["name"], variable["valueFrom"]["fieldRef"]["fieldPath"]), ("KMLFLOW__KUBERNETES__LEASE__HOLDER", "metadata.name"))
    [role] = [o for o in several if o["kind"] == "Role" and o["metadata"]["namespace"] == "k5w"]
    named = {name for rule in role["rules"] for name in rule.get("resourceNames", [])}
    checks.equal("its name is the one that the role is about", named, {settings["data"]["KMLFLOW__KUBERNETES__LEASE__NAME"]})
    same = [o for o in alone if o["kind"] != "StatefulSet"]
    checks.holds("the rest is as it was", all(o in several for o in same), "")


def check_production(checks: Checks) -> None:
    """Nothing of the overlay asks for a database or an object store that it takes away: with the settings of somebody's, everything names theirs."""
    yours = {
        "store": "postgres://kmlflow@db.example.org:6432/releases",
        "database_host": "db.example.org",
        "database_port": "6432",
        "objects": "https://s3.eu-central-1.amazonaws.com",
        "artifacts": "s3://models-of-ours/art",
        "region": "eu-central-1",
    }
    repository = "https://git.example.org/ml/gitops.git"
    with tempfile.TemporaryDirectory(prefix="kmlflow-test-") as home:
        platform = pathlib.Path(home) / "platform"
        shutil.copytree(PLATFORM, platform)
        overlay = platform / "overlays/production"
        settings = yaml.safe_load((overlay / "settings/settings.yaml").read_text())
        checks.equal("production: its settings", sorted(settings["data"]), sorted(yours))
        (overlay / "settings/settings.yaml").write_text(yaml.safe_dump(settings | {"data": yours}))
        place = platform / "repository/repository.yaml"
        place.write_text(place.read_text().replace("http://kmlflow.k5w.svc.cluster.local/git/gitops.git", repository))
        # What is patched here; the rest of Katib comes from elsewhere.
        (platform / "katib/kustomization.yaml").write_text("resources: [database.yaml]")
        applications = [o for o in built(overlay) if o["kind"] == "Application"]
        gone = {"postgresql", "object-store", "object-store-browser"}
        checks.equal("production: what is somebody else's is not there", gone & {one["metadata"]["name"] for one in applications}, set())
        own = {one["metadata"]["name"]: one["spec"]["sources"][0].get("path") for one in applications}
        texts = {name: yaml.safe_dump(built(platform.parent / path)) for name, path in own.items() if path and (name == "katib" or is_here(platform.parent / path / "kustomization.yaml"))}
    for name, text in texts.items():
        checks.holds(f"production: {name} asks for nothing that is not there", not re.search(r"(postgres|object-store)\.storage|example\.com", text), text)
    named = {
        "kmlflow": [yours["store"], f"KMLFLOW__MLFLOW__ARTIFACTS_DESTINATION: {yours['artifacts']}", repository],
        "mlflow": [yours["objects"], f"--artifacts-destination={yours['artifacts']}", f"value: {yours['region']}"],
        "jupyterlab": [yours["objects"], f"value: {yours['region']}"],
        "katib": [yours["database_host"], yours["database_port"]],
    }
    for name, values in named.items():
        for value in values:
            checks.holds(f"production: {name} has {value}", value in texts[name], texts[name])
    policies = [o for o in built(PLATFORM / "kmlflow-replicas") if o["kind"] == "NetworkPolicy"]
    out = {port["port"] for policy in policies for rule in policy["spec"].get("egress", []) if "to" not in rule for port in rule["ports"]}
    checks.holds("replicas are let out to a database elsewhere", 5432 in out, str(out))


def check_pipelines(checks: Checks) -> None:
    """Kubeflow Pipelines track in the platform's MLflow: its API server is given a configuration that names it, and has its own place for it."""
    container = {"name": "ml-pipeline-api-server", "image": "api-server:2"}
    theirs = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "ml-pipeline", "namespace": "kubeflow"}, "spec": {"template": {"spec": {"containers": [container]}}}}
    with tempfile.TemporaryDirectory(prefix="kmlflow-test-") as home:
        folder = pathlib.Path(home) / "kubeflow-pipelines"
        shutil.copytree(PLATFORM / "kubeflow-pipelines", folder)
        (folder / "upstream/kustomization.yaml").write_text("resources: [deployment.yaml]")
        (folder / "upstream/deployment.yaml").write_text(yaml.safe_dump(theirs))
        objects = built(folder)
    pod = of_kind(objects, "Deployment")["spec"]["template"]["spec"]
    [volume], made = pod["volumes"], of_kind(objects, "ConfigMap")
    checks.equal("pipelines: the configuration is mounted", volume["configMap"]["name"], made["metadata"]["name"])
    [mount] = pod["containers"][0]["volumeMounts"]
    checks.equal("pipelines: where its API server reads it", (mount["name"], mount["mountPath"]), (volume["name"], "/config/config.json"))
    plugin = json.loads(made["data"]["config.json"])["plugins"]["mlflow"]
    service = of_kind(built(PLATFORM / "mlflow"), "Service")
    address = f"http://{service['metadata']['name']}.{service['metadata']['namespace']}.svc.cluster.local:{service['spec']['ports'][0]['port']}"
    checks.equal("pipelines: tracked in MLflow", (plugin["endpoint"], plugin["settings"]["workspacesEnabled"]), (address, False))


def check_runtimes(checks: Checks) -> None:
    """What notebooks log can be served: by the runtime of the examples, which is the default, and by the one that the service has itself."""
    ours = yaml.safe_load((PLATFORM / "kmlflow/kmlflow.yaml").read_text())["runtimes"]
    [of_examples] = yaml.safe_load((ROOT / "examples/runtime/kmlflow.yaml").read_text())["runtimes"].values()
    own = yaml.safe_load((ROOT / "service/src/config.default.yaml").read_text())["runtimes"]
    local = next(iter(ours))
    # A name of nobody's registry: what is not built is missing, and is not somebody else's.
    checks.holds("the runtime is a local one", local.startswith("localhost/"), local)
    checks.equal("runtimes", ours, {local: of_examples} | {name: {key: said[key] for key in said if key != "default"} for name, said in own.items()})
    for page in ("README.md", "examples/runtime/README.md"):
        checks.holds(f"{page} says how it is built", f"--tag {local} examples/runtime" in (ROOT / page).read_text())


def check_image(checks: Checks) -> None:
    """The line of the README that names an image of yours does so, and its name of the gateway's Service is the gateway's."""
    page = (ROOT / "README.md").read_text()
    [line] = [line for line in page.splitlines() if line.startswith("sed -i ")]
    with tempfile.TemporaryDirectory(prefix="kmlflow-test-") as home:
        shutil.copytree(ROOT / "gitops-repo", pathlib.Path(home) / "gitops-repo")
        ran = subprocess.run(["bash", "-c", line], cwd=home, capture_output=True, text=True)
        named = images(built(pathlib.Path(home) / "gitops-repo/platform/kmlflow"))
    [before] = images(built(PLATFORM / "kmlflow"))
    checks.equal("README: an image of yours is the one that runs", (ran.returncode, named), (0, [f"registry.example.com/ml/{before}"]))
    checks.holds("README: it is the one that is pushed", f"docker push {named[0]}\n" in page, str(named))
    gateway = of_kind(built(PLATFORM / "gateway"), "Gateway")["metadata"]["name"]
    checks.holds("README: the gateway is asked for by its name", f"owning-gateway-name={gateway} " in page, gateway)


def check_releases(checks: Checks, components: dict[str, list[dict]]) -> None:
    of_repository = yaml.safe_load((PLATFORM / "repository/repository.yaml").read_text())["data"]
    objects = components["releases"]
    project = of_kind(objects, "AppProject")
    checks.equal("the project reads this repository alone", project["spec"]["sourceRepos"], [of_repository["url"]])
    sets = [o for o in objects if o["kind"] == "ApplicationSet"]
    checks.holds("an ApplicationSet for each environment", bool(sets))
    for one in sets:
        environment = one["metadata"]["labels"]["kmlflow.dev/environment"]
        name = f"releases of {environment}"
        [generator] = one["spec"]["generators"]
        template = one["spec"]["template"]
        checks.equal(f"{name}: its name", one["metadata"]["name"], f"releases-{environment}")
        checks.equal(f"{name}: its directories", generator["git"]["directories"], [{"path": f"releases/{environment}/*/*"}])
        places = [(generator["git"]["repoURL"], generator["git"]["revision"]), (template["spec"]["source"]["repoURL"], template["spec"]["source"]["targetRevision"])]
        checks.equal(f"{name}: the repository", places, [(of_repository["url"], of_repository["branch"])] * 2)
        checks.equal(f"{name}: an Application's name", template["metadata"]["name"], "{{ index .path.segments 1 }}.{{ index .path.segments 2 }}.{{ .path.basename }}")
        checks.equal(f"{name}: only its own directory is a reason", template["metadata"]["annotations"]["argocd.argoproj.io/manifest-generate-paths"], ".")
        policy = template["spec"]["syncPolicy"]
        checks.equal(f"{name}: a commit that puts it right does not wait", policy["retry"]["refresh"], True)
        checks.holds(f"{name}: how it is applied", {"ServerSideApply=true", "CreateNamespace=true"} <= set(policy["syncOptions"]), str(policy))
        checks.equal(f"{name}: the Gateway's label", policy["managedNamespaceMetadata"]["labels"]["kmlflow.dev/routes"], "true")
        checks.equal(f"{name}: the project", template["spec"]["project"], project["metadata"]["name"])


def judge(kind: str, obj: dict) -> tuple[str, str]:
    """What the health script of a kind says about an object; it has the base functions and tables alone, as in Argo CD."""
    data = yaml.safe_load((PLATFORM / "argo-cd/settings/health.yaml").read_text())["data"]
    lua = lua51.LuaRuntime(unpack_returned_tuples=True)
    lua.execute("os, io, string, require, package, debug = nil")
    run = lua.eval("function(text, object) obj = object; return loadstring(text)() end")
    verdict = run(data[f"{HEALTH}{kind}"], lua.table_from(obj, recursive=True))
    return verdict["status"], verdict["message"]


def judge_by_argocd(kind: str, obj: dict) -> tuple[str, str]:
    """What the real Argo CD says about it."""
    group, name = kind.split("_")
    version = "v1alpha1" if group == "argoproj.io" else "v1"
    whole = {"apiVersion": f"{group}/{version}", "kind": name} | ({"metadata": {"name": "wine", "namespace": "models"}} | obj)
    with tempfile.TemporaryDirectory(prefix="kmlflow-test-") as home:
        file = pathlib.Path(home) / "object.yaml"
        file.write_text(yaml.safe_dump(whole))
        command = [os.environ["KMLFLOW_TEST_ARGOCD"], "admin", "settings", "resource-overrides", "health", file, "--argocd-cm-path", PLATFORM / "argo-cd/settings/health.yaml"]
        ran = subprocess.run(command, env={"ARGOCD_BINARY_NAME": "argocd", "HOME": home, "PATH": os.environ["PATH"]}, capture_output=True, text=True)
    found = dict(line.split(": ", 1) for line in ran.stdout.splitlines() if ": " in line)
    if "STATUS" not in found:
        raise SystemExit(f"Argo CD gives no verdict: {ran.stdout}{ran.stderr}")
    return found["STATUS"], found.get("MESSAGE", "").strip()


def verdict(checks: Checks, what: str, kind: str, obj: dict) -> tuple[str, str]:
    """The verdict of the script, which must be Argo CD's where that is at hand."""
    found = judge(kind, obj)
    if "KMLFLOW_TEST_ARGOCD" in os.environ:
        checks.equal(f"Argo CD: {what}", judge_by_argocd(kind, obj), found)
    return found


def wine(status: dict | None, predictors: tuple[str, ...] = ("v7", "v8")) -> dict:
    made = {"metadata": {"name": "wine", "namespace": "models"}, "spec": {"predictors": [{"name": name, "replicas": 1} for name in predictors]}}
    return made | ({"status": status} if status is not None else {})


def but(**changes: object) -> dict:
    return copy.deepcopy(AVAILABLE) | changes


def check_seldon_health(checks: Checks) -> None:
    unready = [{"type": "DeploymentsReady", "status": "False", "reason": "MinimumReplicasUnavailable", "message": "Deployment does not have minimum availability."}]
    two_of_three = {"wine-v7-0-model": {"availableReplicas": 2, "replicas": 2}, "wine-v8-0-model": {"availableReplicas": 1, "replicas": 2}}
    none_yet = {"wine-v7-0-model": {"availableReplicas": 2, "replicas": 2}, "wine-v9-0-model": {"replicas": 1}}
    cases = [
        ("nobody has looked at it yet", wine(None), "Progressing", "operator"),
        ("an empty status", wine({}), "Progressing", "operator"),
        ("an empty state", wine({"state": ""}), "Progressing", "operator"),
        ("it is there", wine(AVAILABLE), "Healthy", "Available"),
        ("it is being made", wine({"state": "Creating"}), "Progressing", "not all ready"),
        ("a new predictor with a bad image", wine(but(state="Creating", conditions=unready)), "Progressing", "minimum availability"),
        ("a bad image in a predictor that serves", wine(but(state="Creating", deploymentStatus=two_of_three)), "Progressing", "not all ready"),
        ("it failed, with the reason", wine({"state": "Failed", "description": "the secret storage is not there"}), "Degraded", "the secret storage"),
        ("it failed, without a word", wine({"state": "Failed"}), "Degraded", "gave up"),
        ("`Available` of the predictors before", wine(AVAILABLE, ("v7", "v9")), "Progressing", "v9"),
        ("`Available` in the middle of an update", wine(but(deploymentStatus=two_of_three)), "Progressing", "wine-v8-0-model has 1 of 2"),
        ("`Available` without any pod", wine(but(deploymentStatus=none_yet)), "Progressing", "wine-v9-0-model has 0 of 1"),
        ("a predictor is gone", wine(AVAILABLE, ("v7",)), "Healthy", "Available"),
        ("no Deployment is told of", wine(but(deploymentStatus={})), "Healthy", "Available"),
    ]
    for what, obj, status, words in cases:
        found, message = verdict(checks, what, "machinelearning.seldon.io_SeldonDeployment", obj)
        checks.holds(f"SeldonDeployment: {what}", found == status and words in message, f"{found}: {message}")
    # Within half a second, as it was seen; healthy comes last and once.
    states = ["Available", "Creating", "Available", "Creating", "Available"]
    deployments = [two_of_three, two_of_three, two_of_three, AVAILABLE["deploymentStatus"], AVAILABLE["deploymentStatus"]]
    verdicts = [judge("machinelearning.seldon.io_SeldonDeployment", wine(but(state=s, deploymentStatus=d)))[0] for s, d in zip(states, deployments, strict=True)]
    checks.equal("SeldonDeployment: flapping", verdicts, ["Progressing"] * 4 + ["Healthy"])
    named = wine(AVAILABLE, ("v7",))
    named["spec"]["predictors"][0]["annotations"] = {"seldon.io/svc-name": "elsewhere"}
    checks.equal("SeldonDeployment: a Service with a name of its own", judge("machinelearning.seldon.io_SeldonDeployment", named)[0], "Progressing")
    long = wine(AVAILABLE, ("v" * 63,))
    checks.equal("SeldonDeployment: a Service whose name is a hash", judge("machinelearning.seldon.io_SeldonDeployment", long)[0], "Healthy")


def check_application_health(checks: Checks) -> None:
    cases = [({}, ("Progressing", "")), ({"status": {}}, ("Progressing", ""))]
    cases += [({"status": {"health": {"status": word, "message": "m"}}}, (word, "m")) for word in ("Healthy", "Degraded", "Missing", "Suspended")]
    for obj, expected in cases:
        checks.equal(f"Application: {obj}", verdict(checks, str(obj), "argoproj.io_Application", obj), expected)


def main() -> None:
    checks = Checks()
    components = check_builds(checks)
    for name in ("kmlflow", "kmlflow-replicas"):
        check_references(checks, name, components[name])
    check_replicas(checks, components["kmlflow"], components["kmlflow-replicas"])
    check_production(checks)
    check_image(checks)
    check_runtimes(checks)
    check_pipelines(checks)
    check_releases(checks, components)
    if "KMLFLOW_TEST_CRDS" in os.environ:
        check_definitions(checks, components, pathlib.Path(os.environ["KMLFLOW_TEST_CRDS"]))
    check_seldon_health(checks)
    check_application_health(checks)
    checks.end()


if __name__ == "__main__":
    main()
