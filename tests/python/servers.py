"""Servers that tests talk to, on loopback: any process, Prometheus, and a stand-in for a cluster with Katib. MLflow's is in `tracking.py`.

Each ends with its `with` block.
"""

from __future__ import annotations

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


class KatibStandIn:
    """The two calls of a Kubernetes API server that a submission makes; the Experiment has succeeded as soon as it is there."""

    EXPERIMENTS = "/apis/kubeflow.org/v1beta1/namespaces/kubeflow/experiments"

    def __init__(self, best_trial: str):
        self.best_trial = best_trial
        self.submitted: list[dict] = []

    def __enter__(self) -> KatibStandIn:
        stand_in = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                stand_in.submitted.append(body)
                self.answer(201 if self.path == stand_in.EXPERIMENTS else 404, body)

            def do_GET(self) -> None:
                found = [s for s in stand_in.submitted if self.path == f"{stand_in.EXPERIMENTS}/{s['metadata']['name']}"]
                self.answer(200 if found else 404, stand_in.succeeded(found[-1]) if found else {})

            def answer(self, status: int, body: dict) -> None:
                data = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                """Says nothing."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    def succeeded(self, experiment: dict) -> dict:
        condition = {"type": "Succeeded", "status": "True", "reason": "ExperimentMaxTrialsReached", "message": ""}
        optimal = {"bestTrialName": self.best_trial, "parameterAssignments": []}
        optimal |= {"observation": {"metrics": [{"name": "validation_loss", "latest": "0.1", "min": "0.1", "max": "1"}]}}
        return experiment | {"status": {"conditions": [condition], "currentOptimalTrial": optimal}}

    def kubeconfig(self) -> str:
        cluster = {"name": "here", "cluster": {"server": f"http://127.0.0.1:{self.server.server_port}"}}
        context = {"name": "here", "context": {"cluster": "here", "user": "here"}}
        user = {"name": "here", "user": {"token": "of-tests"}}
        whole = {"apiVersion": "v1", "kind": "Config", "current-context": "here", "clusters": [cluster], "contexts": [context], "users": [user]}
        return json.dumps(whole)
