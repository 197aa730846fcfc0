"""Servers that the examples talk to, on loopback: MLflow, Prometheus and a model's as processes, and a stand-in for a cluster with Katib.

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

# MLflow takes ten seconds on an idle machine; only a fault takes longer.
READY_WITHIN_SECONDS = 180

# A Fernet key for the secrets of webhooks; MLflow's own default is another one in each of its processes.
WEBHOOK_KEY = "a2V5LW9mLXRlc3RzLW9ubHktMzItYnl0ZXMtbG9uZyE="


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


class Server:
    """A process that is there once an address answers; leads a process group, so that its children end with it."""

    def __init__(self, command: list[str], url: str, ready: str, cwd: pathlib.Path, variables: dict[str, str]):
        self.command, self.url, self.ready, self.cwd, self.variables = command, url, ready, cwd, variables

    def __enter__(self) -> Server:
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


def mlflow(bin: pathlib.Path, home: pathlib.Path) -> Server:
    """A tracking server with the three settings that webhooks to a loopback address need."""
    port = free_port()
    home.mkdir()
    variables = {
        "PATH": f"{bin}:{os.environ['PATH']}",
        "HOME": str(home),
        "LC_ALL": "C.UTF-8",
        "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY": WEBHOOK_KEY,
        "MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "http,https",
        "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true",
        "MLFLOW_WEBHOOK_CACHE_TTL": "0",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    command = [str(bin / "mlflow"), "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{home}/mlflow.db", "--artifacts-destination", str(home / "artifacts")]
    return Server(command, f"http://127.0.0.1:{port}", "/health", home, variables)


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
