"""What the checks of the examples share: a copy of the directory, a user's shell, and the servers that an example talks to."""

from __future__ import annotations

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable

from service import ROOT, Checks, Service
from tracking import Tracking

# Each run takes seconds; the tier as a whole some minutes.
RUN_WITHIN_SECONDS = 300


class Scene:
    """A copy of the examples, and the servers that they talk to."""

    def __init__(self, home: pathlib.Path, pythons: dict[str, pathlib.Path], tracking: Tracking, service: Service, checks: Checks):
        self.home, self.pythons, self.service, self.checks = home, pythons, service, checks
        self.mlflow, self.artifacts = tracking.url, tracking.artifacts
        self.examples = home / "examples"
        shutil.copytree(ROOT / "examples", self.examples, ignore=shutil.ignore_patterns("__pycache__", ".venv"))
        self.client = mlflow_client(tracking.url)

    def variables(self, python: str = "examples", programs: pathlib.Path | None = None) -> dict[str, str]:
        """A user's shell with the virtual environment active; without Docker and Podman, where nothing else is put on the path."""
        return {
            "PATH": ":".join(str(p) for p in [self.pythons[python].parent, programs or self.home / "none", "/usr/bin", "/bin"]),
            "HOME": str(self.home),
            "LC_ALL": "C.UTF-8",
            "TMPDIR": str(self.home),
            "MLFLOW_TRACKING_URI": self.mlflow,
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "DOCKER_USERNAME": "ada",
        }

    def run(
        self, script: str, *arguments: str, python: str = "examples", programs: pathlib.Path | None = None, more: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Runs an example to its end; both of its outputs are one text."""
        program = [str(self.pythons[python]), script] if script.endswith(".py") else ["bash", script]
        variables = self.variables(python, programs) | (more or {})
        ran = subprocess.run(
            [*program, *arguments], cwd=self.examples, env=variables, text=True, timeout=RUN_WITHIN_SECONDS, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        return ran

    def must(self, script: str, *arguments: str, **how: object) -> str:
        """Runs an example that must succeed."""
        ran = self.run(script, *arguments, **how)
        self.checks.holds(f"{script} {' '.join(arguments)}: ends well", ran.returncode == 0, ran.stdout[-3000:])
        return ran.stdout

    def fails(self, what: str, says: str, script: str, *arguments: str, **how: object) -> None:
        """Runs an example that must fail, with a sentence and not with a traceback."""
        ran = self.run(script, *arguments, **how)
        self.checks.holds(what, ran.returncode != 0 and says in ran.stdout, ran.stdout[-3000:])

    def version(self, model: str, version: str):
        return self.client.get_model_version(model, version)


def mlflow_client(url: str):
    os.environ |= {"MLFLOW_TRACKING_URI": url, "MLFLOW_DISABLE_TELEMETRY": "true"}
    import mlflow

    return mlflow.MlflowClient()


def registered(text: str) -> tuple[str, str]:
    """The model and the version that an example says it registered."""
    found = re.findall(r"^registered (\S+) version (\d+)$", text, re.MULTILINE)
    return found[-1] if found else ("", "0")


def until(holds: Callable[[], bool]) -> bool:
    """Asks again until it holds or the time is over."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if holds():
            return True
        threading.Event().wait(0.1)
    return False


def ask(url: str, body: object = None) -> tuple[int, str]:
    """GET, or POST where there is a body."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, headers={"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def stand_in(scene: Scene, name: str) -> tuple[pathlib.Path, pathlib.Path]:
    """A directory with a builder of that name, and the file in which it writes down its calls."""
    programs = pathlib.Path(tempfile.mkdtemp(prefix="programs-", dir=scene.home))
    record = programs / "record"
    program = programs / name
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{ROOT}/tests/python/builder_stand_in.py" "{record}" "$@"\n')
    program.chmod(0o755)
    return programs, record


def live_image(service: Service, name: str) -> str | None:
    """The image of a release's first version, as the service says it."""
    status, answer = service.call("GET", f"/releases/production/models/{name}")
    return answer["spec"]["variants"][0].get("image") if status == 200 else None


def facts(service: Service) -> list[dict]:
    """What the tracking server's deliveries said so far."""
    return [item["event"].get("fact", {}) for item in service.must("GET", "/deliveries")["items"]]
