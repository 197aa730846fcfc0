"""Collects what the test bed reads of other modules: `collect.py INTO KWOK ARGOCD ENVOY_GATEWAY PROMETHEUS_OPERATOR KATIB CERT_MANAGER`.

`INTO/crds` gets the definitions of custom resources, without their descriptions: those are half of the text, and reading them is most of
what the start of the bed costs. `INTO/stages` gets stages of kwok, `INTO/bin` scripts that Argo CD runs, `INTO/elsewhere` what the platform fetches from elsewhere and lies in
the modules too: manifests of Argo CD and of Katib, charts of Envoy Gateway and of cert-manager, the kinds of Prometheus and its operator's manifests.
"""

import json
import pathlib
import shutil
import sys

import yaml


CRDS_OF_PROMETHEUS = "example/prometheus-operator-crd"


class Loader(yaml.CSafeLoader):
    """A lone `=` is the text that it is."""


Loader.add_constructor("tag:yaml.org,2002:value", Loader.construct_yaml_str)


def without_descriptions(schema):
    """The schema without its descriptions; a property that is called so stays."""
    if isinstance(schema, list):
        return [without_descriptions(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: {name: without_descriptions(below) for name, below in value.items()} if key == "properties" else without_descriptions(value)
        for key, value in schema.items()
        if key != "description" or not isinstance(value, str)
    }


def definitions(*files):
    """Every document of these files that defines a custom resource."""
    for file in files:
        for document in yaml.load_all(file.read_text(), Loader):
            if document and document["kind"] == "CustomResourceDefinition":
                for version in document["spec"]["versions"]:
                    version["schema"] = without_descriptions(version["schema"])
                yield document


def elsewhere(into, argocd, envoy_gateway, prometheus_operator, katib, cert_manager):
    """Copies with the names that tests know; files of a module are read-only."""
    (into / "install.yaml").write_bytes((argocd / "manifests/install.yaml").read_bytes())
    folders = {
        "katib": katib / "manifests/v1beta1",
        "gateway-crds-helm": envoy_gateway / "charts/gateway-crds-helm",
        "gateway-helm": envoy_gateway / "charts/gateway-helm",
        "cert-manager": cert_manager / "deploy/charts/cert-manager",
        "prometheus-operator": prometheus_operator / "example/rbac",
    }
    for name, folder in folders.items():
        for file in (file for file in folder.rglob("*") if file.is_file()):
            copy = into / name / file.relative_to(folder)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(file.read_bytes())
    kinds = into / "prometheus-operator-crds"
    kinds.mkdir()
    for document in definitions(*sorted((prometheus_operator / CRDS_OF_PROMETHEUS).glob("*.yaml"))):
        (kinds / f"{document['metadata']['name']}.json").write_text(json.dumps(document))


def main(into, kwok, argocd, envoy_gateway, prometheus_operator, katib, cert_manager):
    for folder in ("crds", "stages", "bin", "elsewhere"):
        (into / folder).mkdir(parents=True)
    envoy_crds = envoy_gateway / "charts/gateway-helm/charts/crds/crds"
    prometheus_crds = prometheus_operator / CRDS_OF_PROMETHEUS
    found = definitions(
        *(kwok / f"kustomize/crd/bases/kwok.x-k8s.io_{name}.yaml" for name in ("stages", "execs")),
        *(argocd / f"manifests/crds/{name}-crd.yaml" for name in ("application", "applicationset", "appproject")),
        envoy_crds / "gatewayapi-crds.yaml",
        *sorted((envoy_crds / "generated").glob("*.yaml")),
        *(prometheus_crds / f"monitoring.coreos.com_{name}.yaml" for name in ("podmonitors", "prometheusrules", "servicemonitors")),
        *(katib / f"manifests/v1beta1/components/crd/{name}.yaml" for name in ("experiment", "suggestion", "trial")),
        *(cert_manager / f"deploy/crds/cert-manager.io_{name}.yaml" for name in ("certificates", "issuers")),
    )
    for document in found:
        (into / "crds" / f"{document['metadata']['name']}.json").write_text(json.dumps(document))
    for stage in ("node/fast/node-initialize.yaml", "pod/fast/pod-complete.yaml"):
        shutil.copy(kwok / "kustomize/stage" / stage, into / "stages")
    # Files of a module are not executable.
    for script in ("git-verify-wrapper.sh", "gpg-wrapper.sh"):
        (into / "bin" / script).write_bytes((argocd / "hack" / script).read_bytes())
        (into / "bin" / script).chmod(0o755)
    elsewhere(into / "elsewhere", argocd, envoy_gateway, prometheus_operator, katib, cert_manager)


if __name__ == "__main__":
    main(*(pathlib.Path(argument) for argument in sys.argv[1:]))
