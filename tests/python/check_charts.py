"""The charts of the platform with our values, as far as they are at hand: every key is one that the chart reads, what Helm makes is the same each time, its
pods are let into their namespace, and our monitors find them.

    check_charts.py FOLDER HELM [--record]

FOLDER has a chart in each directory, named as the chart is. `--record` writes the keys that were found into `bootstrap/tests/values-keys.txt`, which holds
the values where no chart is at hand; it wants them all.
"""

from __future__ import annotations

import pathlib
import re
import subprocess
import sys
import tempfile

import yaml

from monitoring import PLATFORM
from service import ROOT, Checks

RECORD = ROOT / "bootstrap/tests/values-keys.txt"

# Values whose form is Kubernetes' own, or that of the program that reads them.
WHOLE = ("esources", "nodeSelector", "volumeClaimTemplate")

# What the project of Envoy Gateway fills in when it publishes its chart.
PUBLISHED = {"${GatewayImage}": "docker.io/envoyproxy/gateway:v1.9.0", "${GatewayImagePullPolicy}": "IfNotPresent", "${RateLimitImage}": "docker.io/envoyproxy/ratelimit:1", "${RateLimitImagePullPolicy}": "IfNotPresent"}


def leaves(value: object, path: tuple[str, ...]) -> list[tuple[str, ...]]:
    """The paths to all values that are no maps."""
    if isinstance(value, dict) and value and not (path and path[-1].endswith(WHOLE)):
        return [leaf for key, inner in value.items() for leaf in leaves(inner, (*path, key))]
    return [path]


def values_of(chart: pathlib.Path) -> dict:
    found = [file for name in ("values.yaml", "values.tmpl.yaml") if (file := chart / name).exists()]
    return yaml.safe_load(found[0].read_text()) or {} if found else {}


def has(defaults: object, path: tuple[str, ...]) -> bool:
    """Whether a path leads somewhere in the values that a chart has by itself."""
    for key in path:
        if not isinstance(defaults, dict) or key not in defaults:
            return False
        defaults = defaults[key]
    return True


def is_read(chart: pathlib.Path, path: tuple[str, ...]) -> bool:
    """Whether a chart knows a key: it has a value itself, or its templates name it, or take the map in whole in which it stands."""
    below = chart / "charts" / path[0]
    if below.is_dir() and path[1:] and is_read(below, path[1:]):
        return True
    templates = "\n".join(file.read_text() for file in sorted((chart / "templates").rglob("*")) if file.suffix in {".yaml", ".tpl", ".yml"})
    named = re.compile(r"\.Values\." + re.escape(".".join(path)) + r"(?![\w-])")
    if has(values_of(chart), path) or named.search(templates):
        return True
    outer = (".".join(path[:length]) for length in range(1, len(path)))
    # `grafana.ini` cannot be named with a dot.
    whole = rf'(toYaml|with|range)\s+\(?\$?(root)?\.Values\.%s(?![\w.-])|index \.Values "%s"'
    return any(re.search(whole % (re.escape(name), re.escape(name)), templates) for name in outer)


def made(helm: str, chart: pathlib.Path, part: dict, into: pathlib.Path) -> str:
    template = chart / "values.tmpl.yaml"
    more: list[str] = []
    if template.exists() and not (chart / "values.yaml").exists():
        text = template.read_text()
        for word, value in PUBLISHED.items():
            text = text.replace(word, value)
        (into / "values.yaml").write_text(text)
        more = ["--values", str(into / "values.yaml")]
    name = part["chart"].get("release", part["name"])
    more += ["--values", str(PLATFORM / part["path"] / "values.yaml"), "--kube-version", "1.36.3"]
    ran = subprocess.run([helm, "template", name, str(chart), "--namespace", part["namespace"], *more], capture_output=True, text=True)
    if ran.returncode:
        raise SystemExit(f"{part['name']}: {ran.stderr}")
    return ran.stdout


def pod_of(document: dict) -> dict | None:
    return document["spec"]["template"]["spec"] if document["kind"] in {"DaemonSet", "Deployment", "Job", "StatefulSet"} else None


def refused(pod: dict, level: str) -> list[str]:
    """What pod security has against a pod."""
    if level == "privileged":
        return []
    whole = pod.get("securityContext") or {}
    faults = [key for key in ("hostNetwork", "hostPID", "hostIPC") if pod.get(key)]
    faults += [f"hostPath {volume['name']}" for volume in pod.get("volumes") or [] if "hostPath" in volume]
    for container in [*(pod.get("initContainers") or []), *pod["containers"]]:
        own = whole | (container.get("securityContext") or {})
        capabilities = own.get("capabilities") or {}
        wrong = {"privileged": own.get("privileged"), "capabilities": capabilities.get("add")}
        if level == "restricted":
            wrong |= {
                "allowPrivilegeEscalation": own.get("allowPrivilegeEscalation") is not False,
                "capabilities": capabilities != {"drop": ["ALL"]},
                "runAsNonRoot": own.get("runAsNonRoot") is not True or own.get("runAsUser") == 0,
                "seccompProfile": (own.get("seccompProfile") or {}).get("type") != "RuntimeDefault",
            }
        faults += [f"{container['name']}: {what}" for what, is_wrong in wrong.items() if is_wrong]
    return faults


def is_found(monitor: dict, documents: list[dict]) -> bool:
    """Whether a PodMonitor selects a pod that has its port."""
    wanted = monitor["spec"]["selector"]["matchLabels"].items()
    [endpoint] = monitor["spec"]["podMetricsEndpoints"]
    templates = [document["spec"]["template"] for document in documents if pod_of(document)]
    found = [template for template in templates if wanted <= template["metadata"]["labels"].items()]
    return any(port.get("name") == endpoint["port"] for template in found for container in template["spec"]["containers"] for port in container.get("ports", []))


def check_argo_cd(checks: Checks, install: pathlib.Path) -> None:
    """The ServiceMonitor of Argo CD finds a Service with its port for each part that has figures, in the manifest of its project."""
    monitors = list(yaml.safe_load_all((PLATFORM / "monitoring/monitors.yaml").read_text()))
    [monitor] = [one for one in monitors if one["metadata"]["name"] == "argo-cd"]
    [endpoint] = monitor["spec"]["endpoints"]
    wanted = monitor["spec"]["selector"]["matchLabels"].items()
    services = [one for one in yaml.safe_load_all(install.read_text()) if one and one["kind"] == "Service" and wanted <= one["metadata"]["labels"].items()]
    ports = {port["port"] for one in services for port in one["spec"]["ports"] if port.get("name") == endpoint["port"]}
    checks.equal("Argo CD is asked for its figures", ports, {5558, 8080, 8082, 8083, 8084, 9001})


def main(folder: pathlib.Path, helm: str, record: bool) -> None:
    checks, keys, catalogue = Checks(), set(), yaml.safe_load((PLATFORM / "catalogue.yaml").read_text())
    levels = {namespace["name"]: namespace["pods"] for namespace in catalogue["namespaces"]}
    monitors = [one for file in PLATFORM.rglob("*.yaml") for one in yaml.safe_load_all(file.read_text()) if isinstance(one, dict) and one.get("kind") == "PodMonitor"]
    for part in (part for part in catalogue["components"] if "chart" in part):
        name, chart = part["chart"]["name"], folder / part["chart"]["name"]
        if not (chart / "Chart.yaml").exists():
            if record:
                raise SystemExit(f"there is no chart {name} in {folder}")
            continue
        for path in leaves(yaml.safe_load((PLATFORM / part["path"] / "values.yaml").read_text()), ()):
            key = ".".join((name, *path))
            keys.add(key)
            checks.holds(f"{part['name']}: its chart reads {'.'.join(path)}", is_read(chart, path))
        with tempfile.TemporaryDirectory(prefix="kmlflow-test-") as into:
            text = made(helm, chart, part, pathlib.Path(into))
            checks.equal(f"{part['name']}: the same is made again", made(helm, chart, part, pathlib.Path(into)), text)
        # A definition of a kind has no pod, and words that are no YAML to this reader.
        texts = [one for one in text.split("\n---\n") if "\nkind: CustomResourceDefinition" not in one]
        documents = [document for one in texts if (document := yaml.safe_load(one))]
        for document in documents:
            if pod := pod_of(document):
                checks.equal(f"{part['name']}: {document['metadata']['name']} is let into {part['namespace']}", refused(pod, levels[part["namespace"]]), [])
        for monitor in monitors:
            if part["namespace"] in monitor["spec"].get("namespaceSelector", {}).get("matchNames", []):
                checks.holds(f"{monitor['metadata']['name']} finds its pods", is_found(monitor, documents))
    if (folder / "install.yaml").exists():
        check_argo_cd(checks, folder / "install.yaml")
    checks.holds("there was a chart to look at", bool(keys), str(folder))
    if record and not checks.failed:
        head = [line for line in RECORD.read_text().splitlines() if line.startswith("#")]
        RECORD.write_text("\n".join([*head, *sorted(keys)]) + "\n")
    checks.end()


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), sys.argv[2], "--record" in sys.argv)
