"""What is monitored: the dashboards and rules of each state of a release, and those of the release service and the platform, read from where they lie."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import re

import yaml

from service import ROOT

GOLDEN = ROOT / "service/core/src/render/golden"
PLATFORM = ROOT / "gitops-repo/platform"

# The predictors that callers reach in each state of a release, which the alerts are about.
REACHED = {
    "settled": {"v7"},
    "entering": {"v7"},
    "canary": {"v7", "v8"},
    "ab": {"v7", "v8"},
    "blue-green": {"v7"},
    "flipped": {"v8"},
    "shadow": {"v7"},
    "leaving": {"v8"},
    "artifact": {"v7", "v8"},
    "without-engine": {"v7"},
    "full-settings": {"v7"},
}

# What Grafana puts in for its own variables before it asks Prometheus. Its window is four scrapes and more; here they are a second apart.
GRAFANA = {"$__rate_interval": "8s", "$__interval": "1s", "$__range": "1h"}


@dataclasses.dataclass
class Monitored:
    """A dashboard with the groups of rules beside it."""

    name: str
    dashboard: dict
    groups: list[dict]

    @property
    def panels(self) -> list[dict]:
        return self.dashboard["panels"]

    @property
    def alerts(self) -> list[str]:
        return [rule["alert"] for group in self.groups for rule in group["rules"]]

    def expressions(self) -> list[str]:
        """Every query and every alert's expression."""
        asked = [target["expr"] for panel in self.panels for target in panel["targets"]]
        asked += [note["expr"] for note in self.dashboard.get("annotations", {}).get("list", [])]
        return asked + [rule["expr"] for group in self.groups for rule in group["rules"]]


def as_prometheus_sees_it(expression: str) -> str:
    for variable, value in GRAFANA.items():
        expression = expression.replace(variable, value)
    return expression


def metrics_in(expression: str) -> set[str]:
    """The names of metrics in an expression: words before `{` or `[`, or that stand alone, and are no function and no label."""
    text = re.sub(r'"(?:[^"\\]|\\.)*"', "", expression)
    text = re.sub(r"\b(?:by|on|ignoring|group_left|group_right|without)\s*\([^)]*\)", "", text)
    text = re.sub(r"\{[^}]*\}|\[[^\]]*\]", " ", text)
    words = re.findall(r"[A-Za-z_:][A-Za-z0-9_:]*(?!\s*\(|[A-Za-z0-9_:])", text)
    return {word for word in words if "_" in word or word in ("up", "ALERTS")} - {"group_left", "group_right"}


def releases() -> list[Monitored]:
    """The release of the examples in each of its states; a test of the service holds these files against the templates."""
    return [release(path) for path in sorted(GOLDEN.glob("*.yaml"))]


def release(path: pathlib.Path) -> Monitored:
    files = dict(part.split("\n", 1) for part in path.read_text().split("# === ")[1:])
    [text] = yaml.safe_load(files["dashboard.yaml"])["data"].values()
    return Monitored(path.stem, json.loads(text), rules(files["monitoring.yaml"]))


def rules(text: str) -> list[dict]:
    documents = [document for document in yaml.safe_load_all(text) if document and document["kind"] == "PrometheusRule"]
    return [group for document in documents for group in document["spec"]["groups"]]


def service() -> Monitored:
    return of_platform("service", "kmlflow", "monitoring.yaml")


def platform() -> Monitored:
    return of_platform("platform", "monitoring", "alerts.yaml")


def of_platform(name: str, folder: str, file: str) -> Monitored:
    dashboard = json.loads((PLATFORM / folder / "dashboard.json").read_text())
    return Monitored(name, dashboard, rules((PLATFORM / folder / file).read_text()))


def everything() -> list[Monitored]:
    return [*releases(), service(), platform()]
