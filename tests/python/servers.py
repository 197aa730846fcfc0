"""Servers that tests talk to, on loopback: any process, Prometheus, and a stand-in for a cluster with Katib. MLflow's is in `tracking.py`.

Each ends with its `with` block.
"""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import pathlib
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from typing import Self

# MLflow and MLServer take ten seconds on an idle machine; only a fault takes longer.
READY_WITHIN_SECONDS = 180

def free_port() -> int:
    """A port that nobody listens on at the moment."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


class Server:
    """A process that is there once an address answers; leads a process group, so that its children end with it."""

    def __init__(self, command: list[str], url: str, ready: str, cwd: pathlib.Path, variables: dict[str, str]):
        self.command, self.url, self.ready, self.cwd, self.variables = command, url, ready, cwd, variables

    def __enter__(self) -> Self:
        self.log = (self.cwd / f"{pathlib.Path(self.command[0]).name}-{self.url.rsplit(':', 1)[1]}.log").open("w+")
        self.process = subprocess.Popen(
            self.command, env=self.variables, cwd=self.cwd, stdout=self.log, stderr=subprocess.STDOUT, start_new_session=True
        )
        deadline = time.monotonic() + READY_WITHIN_SECONDS
        while time.monotonic() < deadline and not self.ended():
            try:
                urllib.request.urlopen(f"{self.url}{self.ready}", timeout=5).close()
                return self
            except OSError:
                continue
        text = self.printed()
        self.__exit__()
        raise SystemExit(f"{self.command} does not start:\n{text[-4000:]}")

    def ended(self) -> bool:
        """Whether it has ended, known as soon as it does and else within a moment."""
        try:
            self.process.wait(timeout=0.1)
        except subprocess.TimeoutExpired:
            return False
        return True

    def printed(self) -> str:
        self.log.seek(0)
        return self.log.read()

    def __exit__(self, *_: object) -> None:
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        self.log.close()


def prometheus(home: pathlib.Path, scrape: str) -> Server:
    """A Prometheus on the blocks below `home/data`, which scrapes what `scrape` (YAML) says."""
    port = free_port()
    (home / "prometheus.yml").write_text(scrape)
    command = ["prometheus", f"--config.file={home}/prometheus.yml", f"--storage.tsdb.path={home}/data", f"--web.listen-address=127.0.0.1:{port}"]
    return Server(command, f"http://127.0.0.1:{port}", "/-/ready", home, {"PATH": os.environ["PATH"]})


class Answers:
    """A small server on the loopback that answers what `respond` says; ends with its `with` block."""

    content_type = "application/json"

    def respond(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        """The status and the body of an answer."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        answers = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                status, answer = answers.respond(self.command, self.path, body)
                self.send_response(status)
                self.send_header("Content-Type", answers.content_type)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                # Whoever asked may have given up.
                with contextlib.suppress(BrokenPipeError):
                    self.wfile.write(answer)

            do_POST = do_GET

            def log_message(self, *_: object) -> None:
                """Says nothing."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"


class KatibStandIn(Answers):
    """The two calls of a Kubernetes API server that a submission makes; the Experiment has succeeded as soon as it is there."""

    EXPERIMENTS = "/apis/kubeflow.org/v1beta1/namespaces/kubeflow/experiments"

    def __init__(self, best_trial: str):
        self.best_trial = best_trial
        self.submitted: list[dict] = []

    def respond(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        if method == "POST":
            experiment = json.loads(body)
            self.submitted.append(experiment)
            return (201 if path == self.EXPERIMENTS else 404), json.dumps(experiment).encode()
        found = [s for s in self.submitted if path == f"{self.EXPERIMENTS}/{s['metadata']['name']}"]
        return (200 if found else 404), json.dumps(self.succeeded(found[-1]) if found else {}).encode()

    def succeeded(self, experiment: dict) -> dict:
        condition = {"type": "Succeeded", "status": "True", "reason": "ExperimentMaxTrialsReached", "message": ""}
        optimal = {"bestTrialName": self.best_trial, "parameterAssignments": []}
        optimal |= {"observation": {"metrics": [{"name": "validation_loss", "latest": "0.1", "min": "0.1", "max": "1"}]}}
        return experiment | {"status": {"conditions": [condition], "currentOptimalTrial": optimal}}

    def kubeconfig(self) -> str:
        cluster = {"name": "here", "cluster": {"server": self.url}}
        context = {"name": "here", "context": {"cluster": "here", "user": "here"}}
        user = {"name": "here", "user": {"token": "of-tests"}}
        whole = {"apiVersion": "v1", "kind": "Config", "current-context": "here", "clusters": [cluster], "contexts": [context], "users": [user]}
        return json.dumps(whole)


class PipelinesStandIn(Answers):
    """The calls of Kubeflow Pipelines that a submission makes; a run has ended as it is told to as soon as it is there."""

    HERE = "/apis/v2beta1"

    def __init__(self, state: str):
        self.state = state
        self.submitted: list[dict] = []
        self.experiments: list[str] = []

    def respond(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        status, answer = self.answer(method, path.split("?")[0], json.loads(body) if body else {})
        return status, json.dumps(answer).encode()

    def answer(self, method: str, path: str, body: dict) -> tuple[int, dict]:
        run = {"run_id": "run-1", "state": self.state}
        match method, path.removeprefix(self.HERE):
            case "GET", "/healthz":
                return 200, {"multi_user": False}
            case "GET", "/experiments":
                return 200, {"experiments": []}
            case "POST", "/experiments":
                self.experiments.append(body["display_name"])
                return 200, {"experiment_id": "experiment-1", "display_name": body["display_name"]}
            case "POST", "/runs":
                self.submitted.append(body)
                return 200, run
            case "GET", "/runs/run-1":
                return 200, run
        return 404, {}
