"""Gives every expression of every dashboard and alert rule to Prometheus' own parser."""

from __future__ import annotations

import json
import pathlib
import re
import subprocess
import tempfile

import yaml

from gallery import GALLERY, make
from service import Checks, Service

# What Grafana puts in for its own variables before it asks Prometheus.
GRAFANA = {"$__rate_interval": "5m", "$__interval": "1m", "$__range": "1h", "${__rate_interval}": "5m", "${__interval}": "1m", "${__range}": "1h"}


def expressions(panel: dict) -> list[str]:
    """The expressions of a panel and of the panels in it."""
    own = [target["expr"] for target in panel.get("targets", []) if "expr" in target]
    return own + [expression for inner in panel.get("panels", []) for expression in expressions(inner)]


def as_prometheus_sees_it(expression: str) -> str:
    for variable, value in GRAFANA.items():
        expression = expression.replace(variable, value)
    return re.sub(r"\$\{?[a-z_]+\}?", "value", expression)


def promtool(groups: list[dict]) -> tuple[bool, str]:
    with tempfile.TemporaryDirectory(prefix="kmlflow-test-") as directory:
        path = pathlib.Path(directory) / "rules.yaml"
        path.write_text(yaml.safe_dump({"groups": groups}))
        ran = subprocess.run(["promtool", "check", "rules", path], capture_output=True, text=True)
        return ran.returncode == 0, ran.stdout + ran.stderr


def recording(expressions_of_one: list[str]) -> list[dict]:
    rules = [{"record": f"checked:expression:{number}", "expr": e} for number, e in enumerate(expressions_of_one)]
    return [{"name": "checked", "rules": rules}]


def check_release(checks: Checks, name: str, directory: pathlib.Path) -> None:
    for document in yaml.safe_load_all((directory / "monitoring.yaml").read_text()):
        if document and document["kind"] == "PrometheusRule":
            # The operator's kind has the groups of a Prometheus rule file.
            checks.holds(f"{name}: alert rules", *promtool(document["spec"]["groups"]))
            rules = [rule for group in document["spec"]["groups"] for rule in group["rules"]]
            checks.holds(f"{name}: has alerts", sum("alert" in rule for rule in rules) >= 4, str(rules))
    dashboard = yaml.safe_load((directory / "dashboard.yaml").read_text())
    for text in dashboard["data"].values():
        for panel in json.loads(text)["panels"]:
            asked = [as_prometheus_sees_it(e) for e in expressions(panel)]
            if asked:
                checks.holds(f"{name}: panel {panel.get('title')!r}", *promtool(recording(asked)))
        found = [e for panel in json.loads(text)["panels"] for e in expressions(panel)]
        checks.holds(f"{name}: the label is `code`", not any(re.search(r"[{,]\s*status\s*[=!]", e) for e in found))


def main() -> None:
    checks = Checks()
    checks.holds("promtool refuses what is no expression", not promtool(recording(["sum(rate(x[5m])"]))[0])
    with Service() as service:
        make(service)
        repository = service.clone()
        for asked in GALLERY:
            check_release(checks, asked.name, repository / "releases" / asked.path)
    checks.end()


main()
