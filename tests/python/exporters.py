"""Serves series shaped like those of the engine, MLServer, cAdvisor, kube-state-metrics, DCGM, Argo CD, Envoy and the Seldon operator, on loopback."""

from __future__ import annotations

import time

from servers import Answers

# The release that is served: two versions, the second of which fails 5 % of its predictions and gets 20 requests for 80 of the first.
RATES = {"v7": {"200": 80.0}, "v8": {"200": 19.0, "500": 1.0}}
BOUNDS = ["0.005", "0.01", "0.025", "0.05", "0.075", "0.1", "0.25", "0.5", "0.75", "1", "2.5", "5", "7.5", "10", "+Inf"]
# Every prediction takes between these two bounds.
TAKES = {"v7": "0.05", "v8": "0.1"}

Sample = tuple[str, dict[str, str], float]


def histogram(name: str, labels: dict[str, str], count: float, within: str, mean: float, bounds: list[str]) -> list[Sample]:
    from_here = bounds.index(within)
    buckets = [(f"{name}_bucket", labels | {"le": bound}, count if at >= from_here else 0.0) for at, bound in enumerate(bounds)]
    return [*buckets, (f"{name}_count", labels, count), (f"{name}_sum", labels, count * mean)]


def engine(version: str, seconds: float) -> list[Sample]:
    """The executor beside a model: what it was asked, and what it asked of the model."""
    samples: list[Sample] = []
    of = {"deployment_name": "fraud", "predictor_name": version, "predictor_version": "", "method": "post"}
    for code, rate in RATES[version].items():
        server = of | {"service": "predictions", "code": code}
        samples += histogram("seldon_api_executor_server_requests_seconds", server, 100 + rate * seconds, TAKES[version], 0.04, BOUNDS)
        model = of | {"service": "/v2/models/model/infer", "code": code, "model_name": "model", "model_image": "registry.example/fraud", "model_version": version[1:]}
        samples += histogram("seldon_api_executor_client_requests_seconds", model, 100 + rate * seconds, TAKES[version], 0.03, BOUNDS)
    return samples


def model(version: str, seconds: float) -> list[Sample]:
    """MLServer, and what an application says of itself."""
    return [
        ("model_infer_request_success_total", {"model": "model", "version": "None"}, 100 + 10 * seconds),
        ("model_load_time_seconds", {}, 3.0 if version == "v7" else 4.0),
    ]


def pod(version: str) -> str:
    return f"fraud-{version}-0-model-6d5f7c9b8-x2x4z"


def cadvisor(seconds: float) -> list[Sample]:
    places = [("models", pod("v7"), "model", 0.5), ("models", pod("v8"), "model", 0.25), ("k5w", "kmlflow-0", "kmlflow", 0.01), ("argocd", "argocd-server-0", "server", 0.1)]
    samples: list[Sample] = []
    for namespace, name, container, cores in places:
        labels = {"namespace": namespace, "pod": name, "container": container}
        samples.append(("container_cpu_usage_seconds_total", labels, 10 + cores * seconds))
        samples.append(("container_memory_working_set_bytes", labels, cores * 1e9))
    return samples


def kube_state(seconds: float) -> list[Sample]:
    samples: list[Sample] = []
    for version in RATES:
        of = {"namespace": "models", "pod": pod(version), "uid": version}
        samples += [
            ("kube_deployment_status_replicas_ready", {"namespace": "models", "deployment": f"fraud-{version}-0-model"}, 1.0),
            ("kube_pod_created", of, 1_000_000.0),
            ("kube_pod_status_ready_time", of, 1_000_012.0),
            ("kube_pod_container_status_restarts_total", of | {"container": "model"}, 2 + seconds / 100),
            ("kube_pod_status_ready", of | {"condition": "false"}, 0.0),
            ("kube_pod_status_phase", of | {"phase": "Running"}, 1.0),
            ("kube_pod_container_resource_requests", of | {"container": "model", "resource": "cpu", "unit": "core"}, 0.1),
            ("kube_pod_container_resource_requests", of | {"container": "model", "resource": "memory", "unit": "byte"}, 256e6),
        ]
    samples.append(("kube_pod_container_status_restarts_total", {"namespace": "k5w", "pod": "kmlflow-0", "container": "kmlflow"}, 0.0))
    samples.append(("kube_node_status_allocatable", {"node": "a", "resource": "cpu", "unit": "core"}, 4.0))
    samples.append(("kube_node_status_allocatable", {"node": "a", "resource": "memory", "unit": "byte"}, 8e9))
    return samples


def kubelet(_: float) -> list[Sample]:
    claims = [{"namespace": "k5w", "persistentvolumeclaim": "data-kmlflow-0"}, {"namespace": "storage", "persistentvolumeclaim": "objects"}]
    sizes = [("kubelet_volume_stats_used_bytes", 1e9), ("kubelet_volume_stats_capacity_bytes", 5e9)]
    return [(name, claim, value) for claim in claims for name, value in sizes]


def gpu(labels: dict[str, str]) -> list[Sample]:
    of = {"Hostname": "node-a", "gpu": labels["gpu"]} | labels
    return [("DCGM_FI_DEV_GPU_UTIL", of, 60.0), ("DCGM_FI_DEV_FB_USED", of, 2_048.0)]


def service(_: float, version: str) -> list[Sample]:
    """What the release service says of the release."""
    of = {"environment": "production", "namespace": "models", "release": "fraud"}
    weight = ("kmlflow_release_weight_ratio", of | {"predictor": version}, 0.75 if version == "v7" else 0.25)
    return [weight, ("kmlflow_release_changed_timestamp_seconds", of, 1_700_000_000.0)]


def argocd(seconds: float) -> list[Sample]:
    of = {"namespace": "argocd", "dest_server": "https://kubernetes.default.svc"}
    apps = [("mlflow", "platform", "Healthy", "Synced"), ("production.models.fraud", "releases", "Progressing", "OutOfSync")]
    samples: list[Sample] = []
    for name, project, health, sync in apps:
        samples.append(("argocd_app_info", of | {"name": name, "project": project, "health_status": health, "sync_status": sync}, 1.0))
        samples.append(("argocd_app_sync_total", of | {"name": name, "project": project, "phase": "Succeeded"}, 1 + seconds / 10))
    for kind in ("fetch", "ls-remote"):
        samples += histogram("argocd_git_request_duration_seconds", {"repo": "gitops", "request_type": kind}, seconds, "0.5", 0.2, ["0.25", "0.5", "1", "2", "4", "10", "20", "+Inf"])
    return samples


def envoy(seconds: float) -> list[Sample]:
    of = {"envoy_http_conn_manager_prefix": "http-10080"}
    answers = [("envoy_http_downstream_rq_xx", of | {"envoy_response_code_class": c}, rate * seconds) for c, rate in (("2", 90.0), ("4", 9.0), ("5", 1.0))]
    return answers + histogram("envoy_http_downstream_rq_time", of, 100 * seconds, "25", 20, ["0.5", "1", "5", "10", "25", "50", "100", "250", "+Inf"])


def operator(seconds: float) -> list[Sample]:
    of = {"controller": "seldon-controller-manager"}
    return [
        ("controller_runtime_reconcile_total", of | {"result": "success"}, seconds),
        ("controller_runtime_reconcile_total", of | {"result": "error"}, 0.0),
        ("controller_runtime_reconcile_errors_total", of, 0.0),
    ]


# A path, what it serves, the labels that Prometheus gives the target, and whether the target's own labels win.
TARGETS = [
    *((f"/engine/{v}", lambda t, v=v: engine(v, t), {"namespace": "models", "pod": pod(v), "container": "seldon-container-engine"}, False) for v in RATES),
    *((f"/model/{v}", lambda t, v=v: model(v, t), {"namespace": "models", "pod": pod(v), "container": "model"}, False) for v in RATES),
    ("/cadvisor", cadvisor, {}, True),
    ("/kube-state", kube_state, {}, True),
    ("/kubelet", kubelet, {}, True),
    # Some scrape these so that the pod's own labels win, others so that they become `exported_…`.
    ("/dcgm/v7", lambda _: gpu({"gpu": "0", "namespace": "models", "pod": pod("v7")}), {"namespace": "gpu", "pod": "dcgm-0"}, True),
    ("/dcgm/v8", lambda _: gpu({"gpu": "1", "namespace": "models", "pod": pod("v8")}), {"namespace": "gpu", "pod": "dcgm-1"}, False),
    ("/service/v7", lambda t: service(t, "v7"), {"namespace": "k5w"}, True),
    ("/service/v8", lambda t: service(t, "v8"), {"namespace": "k5w"}, False),
    ("/argocd", argocd, {"namespace": "argocd"}, False),
    ("/envoy", envoy, {"namespace": "envoy-gateway-system"}, False),
    ("/operator", operator, {"namespace": "seldon-system"}, False),
]


def text(samples: list[Sample]) -> str:
    def line(sample: Sample) -> str:
        name, labels, value = sample
        written = ",".join(f'{key}="{text}"' for key, text in labels.items())
        return f"{name}{{{written}}} {value}\n"

    return "".join(map(line, samples))


class Exporters(Answers):
    """All of them behind one port, growing with time."""

    content_type = "text/plain; version=0.0.4"

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.served = {path: samples for path, samples, _, _ in TARGETS}

    def respond(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        found = self.served.get(path)
        return (200, text(found(time.monotonic() - self.began)).encode()) if found else (404, b"")

    def scrape_configs(self) -> list[dict]:
        return [
            {
                "job_name": path.strip("/").replace("/", "-"),
                "metrics_path": path,
                "honor_labels": honor,
                "static_configs": [{"targets": [self.url.removeprefix("http://")], "labels": labels}],
            }
            for path, _, labels, honor in TARGETS
        ]
