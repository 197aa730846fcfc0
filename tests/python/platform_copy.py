"""The platform's repository for a cluster that reaches nothing: what is fetched from elsewhere lies in it, and models have the runtime of the examples."""

from __future__ import annotations

import os
import pathlib
import re
import shutil
import subprocess

import yaml
from service import ROOT

URL = "http://kmlflow.k5w.svc.cluster.local/git/gitops.git"

# A chart of somebody else's in an Application.
CHART = re.compile(r"- repoURL: \S+\n    chart: (\S+)\n    targetRevision: \S+\n")

# The parts that are made of one, and are brought.
CHARTED = ("gateway-api", "envoy-gateway", "prometheus-kinds", "prometheus")

# Where the charts lie in the copy.
CHARTS = "charts"


def copied(into: pathlib.Path, elsewhere: pathlib.Path) -> pathlib.Path:
    """`gitops-repo/`, with the manifest of Argo CD, the charts of Envoy Gateway, the kinds of Prometheus and its operator from a folder in the place of their addresses."""
    gitops = into / "gitops-repo"
    shutil.copytree(ROOT / "gitops-repo", gitops)
    platform = gitops / "platform"
    shutil.copy(elsewhere / "install.yaml", platform / "argo-cd/upstream/install.yaml")
    changed(platform / "argo-cd/upstream/kustomization.yaml", lambda text: re.sub(r"- https://\S+/install\.yaml", "- install.yaml", text))
    for name in CHARTED:
        changed(platform / f"profiles/core/{name}.yaml", lambda text: CHART.sub(lambda found: f"- repoURL: {URL}\n    path: {CHARTS}/{found[1]}\n    targetRevision: main\n", text))
    for chart in ("gateway-crds-helm", "gateway-helm"):
        shutil.copytree(elsewhere / chart, gitops / CHARTS / chart)
    shutil.copytree(ROOT / "tests/node/charts", gitops / CHARTS, dirs_exist_ok=True)
    shutil.copytree(elsewhere / "prometheus-operator-crds", gitops / CHARTS / "prometheus-operator-crds/crds")
    with_prometheus(gitops, elsewhere / "prometheus-operator")
    # What the project fills in when it publishes the chart.
    version = next(part["chart"]["version"] for part in catalogue()["components"] if part["name"] == "envoy-gateway")
    template = gitops / CHARTS / "gateway-helm/values.tmpl.yaml"
    values = template.read_text().replace("${GatewayImage}", f"docker.io/envoyproxy/gateway:{version}").replace("${GatewayImagePullPolicy}", "IfNotPresent")
    (template.parent / "values.yaml").write_text(values)
    [runtime] = yaml.safe_load((ROOT / "examples/runtime/kmlflow.yaml").read_text())["runtimes"]
    changed(platform / "kmlflow/kmlflow.yaml", lambda text: re.sub(r'^  "localhost/mlserver:\S+":$', f'  "{runtime}":', text, flags=re.MULTILINE))
    return gitops


def with_prometheus(gitops: pathlib.Path, manifests: pathlib.Path) -> None:
    """The operator and the rights of Prometheus in the place where the chart has them, and no route to a Grafana that is not there."""
    templates = gitops / CHARTS / "kube-prometheus-stack/templates"
    of_prometheus = [file for file in (manifests / "prometheus").glob("*.yaml") if file.name != "prometheus.yaml"]
    for file in [*(manifests / "prometheus-operator").glob("*.yaml"), *of_prometheus]:
        text = file.read_text().replace("namespace: default", "namespace: monitoring")
        # The name that the chart gives it.
        (templates / file.name).write_text(text.replace("kube-system/kubelet", "kube-system/stack-kubelet"))
    routes = gitops / "platform/prometheus/routes.yaml"
    changed(routes, lambda text: yaml.safe_dump_all(one for one in yaml.safe_load_all(text) if one["metadata"]["name"] != "grafana"))


def changed(file: pathlib.Path, change) -> None:
    before = file.read_text()
    after = change(before)
    if before == after:
        raise SystemExit(f"{file}: nothing in it is from elsewhere")
    file.write_text(after)


def catalogue() -> dict:
    return yaml.safe_load((ROOT / "gitops-repo/platform/catalogue.yaml").read_text())


def push(gitops: pathlib.Path, token: str, home: pathlib.Path) -> None:
    """Makes the repository of the service that runs in the cluster the same as the copy, by a commit, as whoever keeps it does."""
    header = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "http.extraHeader", "GIT_CONFIG_VALUE_0": f"Authorization: Bearer {token}"}
    who = {"GIT_AUTHOR_NAME": "ops", "GIT_AUTHOR_EMAIL": "ops@example.com", "GIT_COMMITTER_NAME": "ops", "GIT_COMMITTER_EMAIL": "ops@example.com"}
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "GIT_CONFIG_NOSYSTEM": "1"} | header | who
    clone = home / "clone"

    def git(*arguments: str) -> None:
        ran = subprocess.run(["git", *arguments], cwd=home, env=environment, capture_output=True, text=True)
        if ran.returncode != 0:
            raise SystemExit(f"git {arguments[0]}: {ran.stderr}")

    git("clone", "--quiet", URL, str(clone))
    shutil.copytree(gitops, clone, dirs_exist_ok=True)
    git("-C", str(clone), "add", "--all")
    git("-C", str(clone), "commit", "--quiet", "--message", "platform: Bring what is elsewhere")
    git("-C", str(clone), "push", "--quiet", "origin", "HEAD:main")
