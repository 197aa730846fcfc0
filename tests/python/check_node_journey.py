"""From the example to answers of real pods: a model is logged and registered, an alias releases it, a canary of the next version goes to its promotion
and is rolled back, while somebody asks all the time and is always answered. Runs in the node; its one argument is the program of the object store."""

from __future__ import annotations

import http.client
import json
import os
import pathlib
import sys
import threading
import time
from collections import Counter

import yaml
from check_journey import client, example
from node import apply, items, kubectl, until
from service import ROOT, Checks, Service
from store import Store
from tracking import Tracking

NAMESPACE, MODEL = "models", "iris"
KEY = f"production/{NAMESPACE}/{MODEL}"
HOST = f"{MODEL}-{NAMESPACE}.k5w.localhost"

# The node's address, and the port of the gateway there.
ADDRESS, PORT = "10.245.0.1", 30080

BUCKET = "mlflow-artifacts"

# A pod that loads a model is ready half a minute after it was made, and two minutes where the processor is busy.
PATIENCE_SECONDS = 420

# Between two requests of the one who asks all the time.
PAUSE_SECONDS = 0.05


class Asking(threading.Thread):
    """Asks for a prediction again and again, a connection each, and counts what comes."""

    def __init__(self, rows: dict):
        super().__init__(daemon=True)
        self.body = json.dumps({"inputs": inputs(rows)})
        self.answers: Counter[str] = Counter()
        # When it failed, and what was said.
        self.failed: list[tuple[str, str]] = []
        self.slowest = 0.0
        self.end = threading.Event()

    def run(self) -> None:
        while not self.end.wait(PAUSE_SECONDS):
            began = time.monotonic()
            status, said = answered(self.body)
            self.answers[status] += 1
            if status != "200":
                self.failed.append((time.strftime("%H:%M:%S"), str(said)[:200]))
            self.slowest = max(self.slowest, time.monotonic() - began)

    def stop(self) -> Counter[str]:
        self.end.set()
        self.join()
        return self.answers


def inputs(rows: dict) -> list[dict]:
    """A table in the words of the V2 protocol (https://kserve.github.io/website/docs/concepts/architecture/data-plane/v2-protocol)."""
    count = len(rows["data"])
    return [{"name": name, "shape": [count, 1], "datatype": "FP64", "data": [row[i] for row in rows["data"]]} for i, name in enumerate(rows["columns"])]


def answered(body: str) -> tuple[str, dict]:
    """The status of an answer, or why there is none, and the answer."""
    connection = http.client.HTTPConnection(ADDRESS, PORT, timeout=10)
    try:
        connection.request("POST", "/v2/models/model/infer", body, {"Host": HOST, "Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read()
        return str(answer.status), json.loads(text) if answer.status == 200 else {"text": text.decode(errors="replace")}
    except (OSError, http.client.HTTPException) as error:
        return type(error).__name__, {}
    finally:
        connection.close()


def follow(service: Service) -> None:
    """Has Argo CD follow the service by the platform's own ApplicationSet."""
    there = "http://kmlflow.k5w.svc.cluster.local/git/gitops.git"
    documents = kubectl("kustomize", str(ROOT / "gitops-repo/platform/releases"))
    kubectl("apply", "--server-side", "--filename", "-", stdin=documents.replace(there, f"{service.url}/git/gitops.git"))


def state(service: Service) -> str:
    """Whether it is live, strategy, phase, and the versions of the release with their shares."""
    status, view = service.call("GET", f"/releases/{KEY}")
    if status != 200:
        return "not there"
    shares = [f"{share['version']}:{share['weight']}" for share in view["split"]]
    return " ".join([view["status"]["state"], view["spec"]["strategy"], view["rollout"]["phase"], *shares])


class Journey:
    """The steps, with when each was done."""

    def __init__(self, checks: Checks, service: Service):
        self.checks, self.service = checks, service
        self.began = time.monotonic()

    def becomes(self, what: str, expected: str) -> None:
        found = until(lambda: state(self.service), lambda state: state == expected, PATIENCE_SECONDS)
        why = "" if found == expected else f"found {found!r}, expected {expected!r}\n{told(self.service)}"
        self.checks.holds(what, found == expected, why)
        print(f"   {time.monotonic() - self.began:6.1f} s  {what}", flush=True)


def told(service: Service) -> str:
    """What helps to understand why something did not become what it should."""
    view = service.call("GET", f"/releases/{KEY}")[1].get("status", {})
    pods = kubectl("--namespace", NAMESPACE, "get", "pods", "--output", "wide")
    events = kubectl("--namespace", NAMESPACE, "get", "events", "--field-selector", "type=Warning")
    return f"{json.dumps(view)}\n{pods}\n{events}"


def registered(checks: Checks, tracking: Tracking) -> None:
    """Two versions of a model, by the example."""
    for version in ("1", "2"):
        printed = example(tracking, "track.py", "--model", MODEL)
        checks.holds(f"the example registers version {version}", f"registered {MODEL} version {version}" in printed, printed)


def first_release(journey: Journey, tracking: Tracking) -> dict:
    """The alias leads to a pod that answers; gives the example's rows."""
    import mlflow

    checks = journey.checks
    journey.began = time.monotonic()
    client(tracking).set_registered_model_alias(MODEL, "champion", "1")
    journey.becomes("the alias leads to a release that is live", "live single settled 1:100")
    mlflow.set_tracking_uri(tracking.url)
    model = mlflow.pyfunc.load_model(f"models:/{MODEL}/1")
    rows = model.input_example
    expected = model.predict(rows).tolist()
    table = {"columns": list(rows.columns), "data": rows.values.tolist()}
    status, answer = until(lambda: answered(json.dumps({"inputs": inputs(table)})), lambda answer: answer[0] == "200")
    checks.equal("through Envoy it answers what the model itself says", (status, answer.get("outputs", [{}])[0].get("data")), ("200", expected))
    print(f"   {time.monotonic() - journey.began:6.1f} s  a prediction is answered", flush=True)
    return table


def canary(journey: Journey) -> None:
    """By the API that the Release button calls: a canary, its next step, its promotion, and back."""
    service = journey.service
    service.must("PUT", f"/releases/{KEY}", {"model": MODEL, "version": "2", "strategy": "canary", "steps": [20, 50]})
    journey.becomes("a canary is live", "live canary running 1:80 2:20")
    service.must("POST", f"/releases/{KEY}/advance")
    journey.becomes("and its next step", "live canary running 1:50 2:50")
    service.must("POST", f"/releases/{KEY}/promote")
    journey.becomes("it is promoted", "live single settled 2:100")
    service.must("POST", f"/releases/{KEY}/rollback")
    journey.becomes("and rolled back", "live single settled 1:100")


def whole(journey: Journey, tracking: Tracking) -> None:
    """From the alias to the retraction."""
    checks, service = journey.checks, journey.service
    asking = Asking(first_release(journey, tracking))
    asking.start()
    canary(journey)
    answers = asking.stop()
    print(f"   {dict(answers)}, the slowest after {asking.slowest:.2f} s")
    for when, what in asking.failed:
        print(f"   failed at {when}: {what}")
    checks.equal("whoever asked meanwhile was always answered", set(answers), {"200"})
    service.must("DELETE", f"/releases/{KEY}")
    left = until(lambda: [*items(NAMESPACE, "pods"), *items(NAMESPACE, "httproutes")], lambda left: not left)
    checks.equal("a retracted release leaves no pod and no route", [one["metadata"]["name"] for one in left], [])


def main() -> None:
    checks = Checks()
    runtimes = yaml.safe_load((ROOT / "examples/runtime/kmlflow.yaml").read_text())["runtimes"]
    with Store(pathlib.Path(sys.argv[1]), [BUCKET]) as store, Tracking(store=(f"s3://{BUCKET}", store.of_mlflow() | {"PYTHONPATH": os.environ["PYTHONPATH"]})) as tracking:
        variables = {
            "KMLFLOW__MLFLOW__TRACKING_URI": tracking.url,
            "KMLFLOW__MLFLOW__ARTIFACTS_DESTINATION": f"s3://{BUCKET}",
            "KMLFLOW__KUBERNETES__KUBECONFIG": str(ROOT / "target/node/kubeconfig"),
            "KMLFLOW__RUNTIMES": json.dumps(runtimes),
        }
        apply(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": {"kmlflow.dev/routes": "true"}}},
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "kmlflow-storage", "namespace": NAMESPACE}, "stringData": Store.of_rclone(ADDRESS)},
        )
        with Service(variables=variables) as service:
            follow(service)
            journey = Journey(checks, service)
            registered(checks, tracking)
            connected = service.connect(tracking.url)
            checks.holds("connect succeeds", connected.returncode == 0, connected.stdout)
            whole(journey, tracking)
    checks.end()


if __name__ == "__main__":
    main()
