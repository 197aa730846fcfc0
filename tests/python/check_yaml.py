"""Looks with another YAML parser for what was asked of each release in what the repository holds."""

from __future__ import annotations

import json
import pathlib
import subprocess
import urllib.parse

import yaml

from gallery import GALLERY, SERVING, Asked, make
from service import Checks, Service

# Where the links of the manifests lead.
PUBLIC_URL, GRAFANA, MLFLOW = "https://kmlflow.example", "https://grafana.example", "https://mlflow.example"
VARIABLES = {"KMLFLOW__PUBLIC_URL": PUBLIC_URL, "KMLFLOW__LINKS__GRAFANA": GRAFANA, "KMLFLOW__LINKS__MLFLOW": MLFLOW}
LINK = "link.argocd.argoproj.io/"

# First and second role of each strategy.
ROLES = {"single": ("live",), "canary": ("stable", "candidate"), "ab": ("a", "b"), "blue-green": ("blue", "green"), "shadow": ("live", "shadow")}


def documents(path: pathlib.Path) -> list[dict]:
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


def only(found: list) -> dict:
    assert len(found) == 1, found
    return found[0]


def named(objects: list[dict], kind: str, name: str) -> dict:
    return only([o for o in objects if o["kind"] == kind and o["metadata"]["name"] == name])


def containers(predictor: dict) -> list[dict]:
    return [container for spec in predictor["componentSpecs"] for container in spec["spec"]["containers"]]


def check_release(checks: Checks, asked: Asked, directory: pathlib.Path) -> None:
    release = only(documents(directory / "release.yaml"))
    spec, name = release["spec"], asked.name
    checks.equal(f"{name}: identity", release["metadata"], {"name": name, "namespace": "models", "environment": "production"})
    checks.equal(f"{name}: model", spec["model"], asked.model)
    checks.equal(f"{name}: strategy", spec["strategy"], asked.strategy if asked.second else "single")
    versions = [asked.stable] + ([asked.second] if asked.second else [])
    checks.equal(f"{name}: versions are text", [v["version"] for v in spec["variants"]], versions)
    checks.equal(f"{name}: roles", tuple(v["role"] for v in spec["variants"]), ROLES[asked.strategy])
    checks.equal(f"{name}: predictors", [v["predictor"] for v in spec["variants"]], [f"v{v}" for v in versions])
    checks.equal(f"{name}: images", [v["image"] for v in spec["variants"]], [asked.image(v) for v in versions])
    checks.equal(f"{name}: phase and time are text", {type(release["rollout"][key]) for key in ("phase", "since")}, {str})
    if asked.serving:
        checks.equal(f"{name}: serving", {key: spec["serving"][key] for key in asked.serving}, asked.serving)
    checks.equal(f"{name}: phase", release["rollout"]["phase"], "running" if asked.second else "settled")
    if "requestedBy" in asked.more:
        checks.equal(f"{name}: who asked", release["origin"]["requestedBy"], asked.more["requestedBy"])
    if asked.strategy == "canary":
        steps = [step if isinstance(step, dict) else {"weight": step} for step in asked.more["steps"]]
        found = [{key: step[key] for key in ("weight", "pause") if key in step} for step in spec["canary"]["steps"]]
        checks.equal(f"{name}: steps", found, steps)
    if asked.strategy == "ab":
        checks.equal(f"{name}: weights", spec["ab"]["weights"], asked.more["weights"])
        checks.equal(f"{name}: match", spec["ab"]["match"], asked.more["match"])
    if asked.strategy == "blue-green":
        checks.equal(f"{name}: active", spec["blueGreen"]["active"], "blue")
        checks.equal(f"{name}: delay", spec["blueGreen"]["scaleDownDelay"], asked.more["scaleDownDelay"])
    if asked.strategy == "shadow":
        checks.equal(f"{name}: percent", spec["shadow"]["percent"], asked.more["percent"])


def check_seldon(checks: Checks, asked: Asked, directory: pathlib.Path) -> None:
    name = asked.name
    seldon = only(documents(directory / "seldon.yaml"))
    checks.equal(f"{name}: kind", (seldon["apiVersion"], seldon["kind"]), ("machinelearning.seldon.io/v1", "SeldonDeployment"))
    checks.equal(f"{name}: object", (seldon["metadata"]["name"], seldon["metadata"]["namespace"]), (name, "models"))
    predictors = seldon["spec"]["predictors"]
    versions = [asked.stable] + ([asked.second] if asked.second else [])
    checks.equal(f"{name}: predictors", [p["name"] for p in predictors], [f"v{v}" for v in versions])
    checks.equal(f"{name}: traffic is constant", [p.get("traffic", 0) for p in predictors], [100, 0][: len(predictors)])
    checks.holds(f"{name}: no shadow predictor", not any(p.get("shadow") for p in predictors))
    for predictor, version in zip(predictors, versions):
        container = only([c for c in containers(predictor) if "image" in c])
        checks.equal(f"{name}: image of v{version}", container["image"], asked.image(version))
        ports = {port["name"]: port for port in container["ports"]}
        checks.equal(f"{name}: ports of v{version}", sorted(ports), ["grpc", "http", "metrics"])
        checks.holds(f"{name}: protocols of v{version}", all(port["protocol"] == "TCP" for port in ports.values()))
        checks.holds(f"{name}: pod hash of v{version}", str(predictor["annotations"]["kmlflow.dev/pod-hash"]).startswith("sha256:"))
        if asked.serving:
            checks.equal(f"{name}: replicas of v{version}", predictor["replicas"], SERVING["replicas"])
            checks.equal(f"{name}: resources of v{version}", container["resources"], SERVING["resources"])
            env = {entry["name"]: entry.get("value") for entry in container["env"]}
            for entry in SERVING["env"]:
                checks.equal(f"{name}: {entry['name']} of v{version}", env.get(entry["name"]), entry["value"])


def main_rule(route: dict) -> dict:
    """The rule without header match for `/`: the last one."""
    return route["spec"]["rules"][-1]


def split(rule: dict) -> dict[str, int]:
    return {reference["name"]: reference.get("weight", 1) for reference in rule["backendRefs"]}


def check_route(checks: Checks, asked: Asked, directory: pathlib.Path) -> None:
    name = asked.name
    objects = documents(directory / "route.yaml")
    route = named(objects, "HTTPRoute", name)
    rule = main_rule(route)
    stable, second = f"{name}-v{asked.stable}", f"{name}-v{asked.second}"
    checks.equal(f"{name}: host", route["spec"]["hostnames"], [f"{name}-models.k5w.localhost"])
    found = split(rule)
    total = sum(found.values())
    percent = {backend: 100 * weight // total for backend, weight in found.items()}
    expected = {
        "single": {name: 100},
        "canary": {stable: 100, second: 0},
        "ab": {stable: 70, second: 30},
        "blue-green": {stable: 100},
        "shadow": {stable: 100},
    }[asked.strategy]
    if asked.strategy == "canary":
        step = asked.more["steps"][0]
        weight = step["weight"] if isinstance(step, dict) else step
        expected = {stable: 100 - weight, second: weight}
    checks.equal(f"{name}: weights of the route", percent, expected)
    grpc = only([o for o in objects if o["kind"] == "GRPCRoute"])
    checks.equal(f"{name}: gRPC has the same weights", split(main_rule(grpc)), found)
    own = named(objects, "Service", name)
    selector = own["spec"]["selector"]
    checks.equal(f"{name}: own Service", selector, {"seldon-app": stable} if asked.second else {"seldon-deployment-id": name})
    checks.holds(f"{name}: own Service lacks the label it selects by", "seldon-deployment-id" not in own["metadata"].get("labels", {}))
    if asked.strategy == "ab":
        wanted = asked.more["match"][0]
        matched = only([r for r in route["spec"]["rules"] for match in r["matches"] if match.get("headers")])
        header = matched["matches"][0]["headers"][0]
        checks.equal(f"{name}: header", (header["name"], header["value"]), (wanted["header"], wanted["value"]))
        checks.equal(f"{name}: header goes to", list(split(matched)), [second])
    if asked.strategy == "shadow":
        mirror = only([f["requestMirror"] for f in rule["filters"] if f["type"] == "RequestMirror"])
        checks.equal(f"{name}: mirror", (mirror["backendRef"]["name"], mirror["percent"]), (second, asked.more["percent"]))
    if asked.strategy == "blue-green":
        preview = named(objects, "HTTPRoute", f"{name}-preview")
        checks.equal(f"{name}: preview", (preview["spec"]["hostnames"], list(split(main_rule(preview)))), ([f"{name}-models-preview.k5w.localhost"], [second]))
    if asked.serving:
        checks.equal(f"{name}: timeout", rule["timeouts"]["request"], SERVING["timeout"])


def check_rest(checks: Checks, asked: Asked, directory: pathlib.Path) -> None:
    name = asked.name
    kustomization = only(documents(directory / "kustomization.yaml"))
    beside = sorted(p.name for p in directory.iterdir() if p.name not in ("kustomization.yaml", "release.yaml"))
    checks.equal(f"{name}: kustomization lists what is there", sorted(kustomization["resources"]), beside)
    dashboard = only(documents(directory / "dashboard.yaml"))
    checks.equal(f"{name}: label of the dashboard", str(dashboard["metadata"]["labels"]["grafana_dashboard"]), "1")
    for text in dashboard["data"].values():
        parsed = json.loads(text)
        checks.holds(f"{name}: dashboard has panels", len(parsed["panels"]) > 5)
    kinds = sorted(o["kind"] for o in documents(directory / "monitoring.yaml"))
    checks.holds(f"{name}: monitoring", "PrometheusRule" in kinds and "PodMonitor" in kinds, str(kinds))
    for file in beside:
        for document in documents(directory / file):
            checks.equal(f"{name}: namespace in {file}", document["metadata"]["namespace"], "models")
            annotations = document["metadata"].get("annotations", {})
            links = {key.removeprefix(LINK): value for key, value in annotations.items() if key.startswith(LINK)}
            what = f"{name}: links in {file} {document['kind']}"
            checks.equal(f"{what}: release", links.get("release"), f"{PUBLIC_URL}/releases/{asked.path}")
            checks.holds(f"{what}: dashboard", links.get("dashboard", "").startswith(f"{GRAFANA}/d/"), str(links))
            page = f"{MLFLOW}/#/models/{urllib.parse.quote(asked.model, safe='-_.~')}/versions/{asked.stable}"
            checks.equal(f"{what}: version", links.get(f"mlflow-version-{asked.stable}"), page)


def main() -> None:
    checks = Checks()
    with Service(variables=VARIABLES) as service:
        make(service)
        anonymous = subprocess.run(["git", "ls-remote", f"{service.url}/git/gitops.git"], env=service.environment, capture_output=True, text=True)
        checks.holds("with a public name nobody reads the repository without a token", anonymous.returncode != 0, anonymous.stdout)
        repository = service.clone()
        for asked in GALLERY:
            directory = repository / "releases" / asked.path
            for check in (check_release, check_seldon, check_route, check_rest):
                try:
                    check(checks, asked, directory)
                except (KeyError, IndexError, AssertionError, TypeError, OSError, yaml.YAMLError) as error:
                    checks.holds(f"{asked.name}: {check.__name__}", False, f"{type(error).__name__}: {error}")
    checks.end()


main()
