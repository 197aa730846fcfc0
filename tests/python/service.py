"""The service as a process, for tests in Python: the standard library alone, so that no client code is shared with it."""

from __future__ import annotations

import json
import os
import pathlib
import queue
import re
import shutil
import subprocess
import tempfile
import threading
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]


class Service:
    """`kmlflow serve` on a port, a free one unless given, and an empty data directory; ends with the `with` block."""

    def __init__(self, program: pathlib.Path | None = None, variables: dict[str, str] | None = None, data: pathlib.Path | None = None, port: int = 0):
        self.program = program or ROOT / "target/debug/kmlflow"
        self.port = port
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="kmlflow-test-"))
        self.data = data or self.home / "data"
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "LC_ALL": "C.UTF-8",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "KMLFLOW__ENVIRONMENTS__PRODUCTION__BLIND_DELAY": "0s",
            **(variables or {}),
        }
        self.printed: list[str] = []

    def __enter__(self) -> Service:
        command = [self.program, "serve", "--listen", f"127.0.0.1:{self.port}", "--data-dir", self.data]
        self.process = subprocess.Popen(command, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        found: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._read, args=(found,), daemon=True).start()
        url = found.get(timeout=60)
        if url is None:
            raise SystemExit("the service does not start:\n" + "".join(self.printed))
        self.url = url
        self.token = (self.data / "admin-token").read_text().strip()
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.home, ignore_errors=True)

    def _read(self, found: queue.Queue[str | None]) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.printed.append(line)
            if line.startswith("listening on "):
                found.put(line.removeprefix("listening on ").strip())
        found.put(None)

    @property
    def sign_in_link(self) -> str:
        """The link to sign in that the start printed."""
        found = re.findall(r"^sign in\s+(\S+)$", "".join(self.printed), re.MULTILINE)
        if not found:
            raise SystemExit("the start prints no link to sign in:\n" + "".join(self.printed))
        return found[-1]

    def call(self, method: str, path: str, body: object = None) -> tuple[int, dict]:
        """Asks the API; `path` begins after `/api/v1`."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.url}/api/v1{path}", data=data, method=method, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def must(self, method: str, path: str, body: object = None) -> dict:
        """Asks the API and insists on a 2xx that is not `queued`."""
        status, answer = self.call(method, path, body)
        if status not in (200, 201):
            raise SystemExit(f"{method} {path}: {status} {json.dumps(answer)}\n" + "".join(self.printed[-20:]))
        return answer

    def connect(self, mlflow: str) -> subprocess.CompletedProcess[str]:
        """Lets a tracking server tell the service what changes; both outputs of the command are one text."""
        command = [self.program, "mlflow", "connect", "--tracking-uri", mlflow, "--data-dir", self.data]
        return subprocess.run(command, env=self.environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)

    def clone(self) -> pathlib.Path:
        """Clones the embedded repository, as somebody with a token: nobody is let in without one where the service has a public name."""
        header = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "http.extraHeader", "GIT_CONFIG_VALUE_0": f"Authorization: Bearer {self.token}"}
        directory = pathlib.Path(tempfile.mkdtemp(dir=self.home)) / "gitops"
        subprocess.run(["git", "clone", "--quiet", f"{self.url}/git/gitops.git", directory], env=self.environment | header, check=True)
        return directory


class Checks:
    """Counts what held and what did not; the last line is for `tests/run`."""

    def __init__(self) -> None:
        self.passed = 0
        self.failed: list[str] = []

    def equal(self, what: str, found: object, expected: object) -> None:
        self.holds(what, found == expected, f"found {found!r}, expected {expected!r}")

    def holds(self, what: str, holds: bool, why: str = "") -> None:
        if holds:
            self.passed += 1
        else:
            self.failed.append(what)
            print(f"FAILED {what}: {why}")

    def end(self) -> None:
        print(f"{self.passed} passed, {len(self.failed)} failed")
        raise SystemExit(1 if self.failed else 0)
