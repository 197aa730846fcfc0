"""`cargo bootstrap up` on a node with nothing but its control plane: the platform's own manifests become real pods, a model goes from the example to
answers on what it brought up, and `down` takes all of it away. Runs in the node; its arguments are the folder with what is fetched elsewhere and a
file for the figures."""

from __future__ import annotations

import base64
import http.client
import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request

from check_node_journey import ADDRESS, PORT, Journey, registered, whole
from node import apply, get, items, kubectl, until
from platform_copy import copied, push
from service import ROOT, Checks, Service

# What is left out: no registry that is reached here has its chart or its program.
WITHOUT = ("cert-manager", "seldon-core")

# What of the larger profile cannot be packed: what is left of it is the browser of the object store.
WITHOUT_OF_STANDARD = ("jupyterlab", "headlamp", "katib")

# The image that Envoy Gateway takes for its shutdown manager is compiled in by its project only.
SHUTDOWN = "envoy-gateway.config.envoyGateway.provider.kubernetes.shutdownManager.image=docker.io/envoyproxy/gateway:v1.9.0"

# Every part, with as much time as a cold start of all of them needs on two processors.
PATIENCE_SECONDS = 1500

# What comes and goes by itself.
PASSING = ("events", "leases.", "endpoint")

STATE = ROOT / "target/node/state"


class Of:
    """The release service that the platform runs: what the journey asks of one."""

    def __init__(self) -> None:
        self.url = "http://kmlflow.k5w.svc.cluster.local"
        self.token = in_pod("cat", "/var/lib/kmlflow/data/admin-token").strip()
        self.printed: list[str] = []

    call, must = Service.call, Service.must


class Registry:
    """MLflow as a notebook in the cluster finds it."""

    url = "http://mlflow.mlflow.svc.cluster.local:5000"


def in_pod(*command: str) -> str:
    return kubectl("exec", "--namespace", "k5w", "kmlflow-0", "--", *command)


class Bootstrap:
    """The program, with the copy of the repository."""

    def __init__(self, gitops: pathlib.Path, home: pathlib.Path):
        self.gitops = gitops
        self.environment = {"PATH": os.environ["PATH"], "KUBECONFIG": os.environ["KUBECONFIG"], "HOME": str(home)}

    def command(self, *arguments: str) -> list[str]:
        return [str(ROOT / "target/debug/kmlflow-bootstrap"), *arguments, "--gitops-repo", str(self.gitops), "--context", "bed"]

    def ask(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.command(*arguments), env=self.environment, capture_output=True, text=True, timeout=PATIENCE_SECONDS)

    def up(self, until_step: str | None = None, profile: str = "core", without: tuple[str, ...] = WITHOUT) -> dict:
        """Brings everything up, or ends like a power cut after a step; gives the last that it said."""
        asked = ["up", "--cluster", "existing", "--profile", profile, "--set", SHUTDOWN, "--output", "json"]
        asked += [word for part in without for word in ("--without", part)]
        last: dict = {}
        with subprocess.Popen(self.command(*asked), env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as running:
            assert running.stdout
            for line in running.stdout:
                last = json.loads(line)
                told(last)
                if (last.get("step"), last.get("state")) == (until_step, "done"):
                    running.kill()
        return last | {"code": running.returncode}


def told(event: dict) -> None:
    if event.get("state") == "done":
        print(f"   {event['seconds']:6.1f} s  {event['title']}: {event['note']}", flush=True)
    elif event.get("event") not in ("step", "done"):
        print(f"             {event.get('reason') or event.get('what') or event}", flush=True)


def prepared(home: pathlib.Path) -> None:
    """What a cluster has before a platform comes: a class of volumes."""
    annotations = {"storageclass.kubernetes.io/is-default-class": "true"}
    apply({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "provisioner": "kubernetes.io/no-provisioner", "metadata": {"name": "node", "annotations": annotations}})
    for number in range(5):
        folder = home / f"volume-{number}"
        folder.mkdir()
        folder.chmod(0o777)
        spec = {"storageClassName": "node", "capacity": {"storage": "50Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": str(folder)}}
        apply({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": f"node-{number}"}, "spec": spec | {"persistentVolumeReclaimPolicy": "Retain"}})


def reach(*services: str) -> None:
    """Lets programs of the node find Services by their names in the cluster."""
    with (STATE / "hosts").open("a") as hosts:
        for service in services:
            namespace, name = service.split("/")
            hosts.write(f"{get(namespace, 'service', name)['spec']['clusterIP']} {name}.{namespace}.svc.cluster.local\n")


def answers(url: str) -> bool:
    """Whether somebody listens: the way to a Service is there a moment after its pod."""
    host, _, port = url.removeprefix("http://").partition(":")
    try:
        socket.create_connection((host, int(port or 80)), timeout=2).close()
    except OSError:
        return False
    return True


def objects() -> set[str]:
    """Every object of the cluster by kind, namespace and name."""
    kinds = [kind for kind in kubectl("api-resources", "--verbs=list,delete", "--output=name").split() if not kind.startswith(PASSING)]
    each = r'{range .items[*]}{.kind} {.metadata.namespace}/{.metadata.name}{"\n"}{end}'
    return set(kubectl("get", ",".join(kinds), "--all-namespaces", "--output", f"jsonpath={each}").splitlines())


def resident() -> dict[str, float]:
    """The memory of each container in MiB: the proportional share of what its processes have resident."""
    names = {}
    for pod in json.loads(kubectl("get", "pods", "--all-namespaces", "--output", "json"))["items"]:
        for status in pod["status"].get("containerStatuses", []):
            where = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
            names[status.get("containerID", "").rpartition("/")[2]] = f"{where} {status['name']}"
    found: dict[str, float] = {}
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        # It may end while it is looked at.
        try:
            ids = re.findall(r"[0-9a-f]{64}", (process / "cgroup").read_text())
            shares = re.findall(r"^Pss: +(\d+) kB", (process / "smaps_rollup").read_text(), re.MULTILINE)
        except OSError:
            continue
        for name in {names[one] for one in ids if one in names}:
            found[name] = found.get(name, 0) + sum(map(int, shares)) / 1024
    return {name: round(memory, 1) for name, memory in sorted(found.items())}


def healthy(checks: Checks, bootstrap: Bootstrap) -> None:
    """Everything is as `up` said, by what the cluster says."""
    status = bootstrap.ask("status", "--output", "json")
    parts = {part["name"]: part["state"] for part in json.loads(status.stdout)}
    checks.holds("every part is healthy", len(parts) >= 10 and set(parts.values()) == {"healthy"}, str(parts))
    checks.equal("and none of those that are left out is told of", sorted(set(parts) & set(WITHOUT)), [])
    doctor = bootstrap.ask("doctor")
    checks.equal("the doctor finds nothing", doctor.returncode, 0)
    namespaces = ("argocd", "envoy-gateway-system", "k5w", "mlflow", "monitoring", "storage")
    pods = [pod for namespace in namespaces for pod in items(namespace, "pods")]
    names = sorted({pod["metadata"]["name"].split("-0")[0] for pod in pods})
    running = [pod for pod in pods if pod["status"]["phase"] == "Running"]
    checks.holds("its pods run", len(running) >= 14, str(names))


def page(path: str, user: str | None = None) -> tuple[int, str, str]:
    """The object store's page through the gateway: status, where it leads, and text."""
    headers = {"Host": "storage.k5w.localhost"}
    if user:
        headers["Authorization"] = f"Basic {base64.b64encode(user.encode()).decode()}"
    connection = http.client.HTTPConnection(ADDRESS, PORT, timeout=10)
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, urllib.parse.urlparse(answer.getheader("Location", "")).path, answer.read().decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        return 0, "", type(error).__name__
    finally:
        connection.close()


def asked(path: str, **query: str) -> list:
    """What Prometheus answers through the gateway: samples, or groups of rules."""
    connection = http.client.HTTPConnection(ADDRESS, PORT, timeout=10)
    try:
        connection.request("GET", f"/api/v1/{path}?{urllib.parse.urlencode(query)}", headers={"Host": "prometheus.k5w.localhost"})
        answer = connection.getresponse()
        data = json.loads(answer.read())["data"] if answer.status == 200 else {}
        return data.get("result") or data.get("groups") or []
    except (OSError, http.client.HTTPException):
        return []
    finally:
        connection.close()


def kept(checks: Checks) -> None:
    """Every bucket takes a file: each has volumes of its own, and they must be enough for all."""
    for bucket in re.search(r"name: BUCKETS, value: ([a-z -]+)", (ROOT / "gitops-repo/platform/object-store/buckets.yaml").read_text())[1].split():
        put = urllib.request.Request(f"http://object-store.storage.svc.cluster.local:8888/buckets/{bucket}/of-tests", b"kept", method="PUT")
        with urllib.request.urlopen(put, timeout=30) as answer:
            checks.equal(f"the bucket {bucket} takes a file", answer.status, 201)


def watched(checks: Checks) -> None:
    """Prometheus found what there is to ask: the service, the kubelet about containers, and the rules."""
    series = {
        "the service leads": "max_over_time(kmlflow_leads[1h])",
        "commits were made": 'sum(max_over_time(kmlflow_commits_total[1h]))',
        "the model's container had memory": 'max(max_over_time(container_memory_working_set_bytes{namespace="models",container="model"}[1h]))',
    }
    for what, query in series.items():
        samples = until(lambda query=query: asked("query", query=query), bool)
        checks.holds(f"Prometheus knows: {what}", bool(samples) and float(samples[0]["value"][1]) > 0, f"{query}: {samples}")
    groups = {group["name"] for group in asked("rules")}
    checks.holds("and has the rules of the service", "kmlflow.service" in groups, str(sorted(groups)))


def browsed(checks: Checks, bootstrap: Bootstrap) -> None:
    """The larger profile has a page of the object store: after the sign-in it lists the buckets."""
    ended = bootstrap.up(profile="standard", without=WITHOUT + WITHOUT_OF_STANDARD)
    checks.equal("a larger profile comes up too", (ended["code"], ended.get("event")), (0, "done"))
    checks.equal("nobody sees the buckets without a sign-in", until(lambda: page("/")[0], lambda status: status == 401), 401)
    password = base64.b64decode(get("storage", "secret", "object-store-browser-sign-in")["data"]["password"]).decode()
    user = f"admin:{password}"
    checks.equal("with it the first page leads on", page("/", user)[:2], (302, "/buckets/"))
    status, _, text = page("/buckets/", user)
    checks.holds("to both buckets", status == 200 and {"mlflow-artifacts", "data"} <= set(re.findall(r"/buckets/([a-z-]+)", text)), f"{status} {text[:2000]}")


def main() -> None:
    elsewhere, figures = (pathlib.Path(argument) for argument in sys.argv[1:])
    checks = Checks()
    with tempfile.TemporaryDirectory(prefix="kmlflow-test-", ignore_cleanup_errors=True) as folder:
        home = pathlib.Path(folder)
        home.chmod(0o755)
        gitops = copied(home, elsewhere)
        prepared(home)
        before = objects()
        bootstrap = Bootstrap(gitops, home)
        began = time.monotonic()
        bootstrap.up(until_step="service")
        reach("k5w/kmlflow")
        service = Of()
        checks.holds("the service answers", until(lambda: answers(service.url), bool))
        push(gitops, service.token, home)
        ended = bootstrap.up()
        took = time.monotonic() - began
        checks.equal("up ends well", (ended["code"], ended.get("event")), (0, "done"))
        if ended["code"]:
            print(bootstrap.ask("doctor").stdout)
            checks.end()
        again = bootstrap.up()
        checks.equal("and finds nothing to do again", (again["code"], again.get("changed")), (0, 0))
        healthy(checks, bootstrap)
        idle = resident()
        # MLflow has its clients fetch from the object store themselves.
        reach("mlflow/mlflow", "storage/object-store")
        checks.holds("MLflow answers", until(lambda: answers(Registry.url), bool))
        kept(checks)
        journey = Journey(checks, service)
        registered(checks, Registry())
        whole(journey, Registry())
        busy = resident()
        watched(checks)
        browsed(checks, bootstrap)
        began = time.monotonic()
        down = bootstrap.ask("down")
        checks.holds("down ends well", down.returncode == 0, down.stderr)
        gone = time.monotonic() - began
        left = until(lambda: sorted(objects() - before), lambda left: not left)
        checks.equal("and leaves nothing", left, [])
        checks.equal("nor does it take what was there", sorted(before - objects()), [])
    print(f"   up {took:.0f} s, down {gone:.0f} s")
    figures.write_text(json.dumps({"up_seconds": round(took), "down_seconds": round(gone), "idle_mib": idle, "busy_mib": busy}, indent=2) + "\n")
    checks.end()


if __name__ == "__main__":
    main()
