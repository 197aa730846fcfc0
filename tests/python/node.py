"""The node that `tests/node/up` has started, for tests in Python."""

from __future__ import annotations

import json
import os
import pathlib
import select
import subprocess
import time
from collections.abc import Callable
from typing import TypeVar

from service import ROOT

# A pod is there in seconds; where the processor is busy it takes longer, and only a fault takes as long as this.
PATIENCE_SECONDS = 180

# Between two looks at something that changes by itself.
LOOK_SECONDS = 0.2

T = TypeVar("T")


def kubectl(*arguments: str, stdin: str | None = None) -> str:
    """What kubectl says, of which a failure ends the test. In the node it is in PATH."""
    ran = subprocess.run(["kubectl", *arguments], input=stdin, text=True, capture_output=True, timeout=PATIENCE_SECONDS)
    if ran.returncode != 0:
        raise SystemExit(f"kubectl {' '.join(arguments)}: {ran.stderr}")
    return ran.stdout


def apply(*documents: dict) -> None:
    kubectl("apply", "--server-side", "--filename", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": documents}))


def get(namespace: str, kind: str, name: str) -> dict:
    """An object, or an empty one where there is none."""
    said = kubectl("--namespace", namespace, "get", kind, name, "--ignore-not-found", "--output", "json")
    return json.loads(said) if said.strip() else {}


def items(namespace: str, kind: str) -> list[dict]:
    return json.loads(kubectl("--namespace", namespace, "get", kind, "--output", "json"))["items"]


def until(found: Callable[[], T], wanted: Callable[[T], bool], patience: float = PATIENCE_SECONDS) -> T:
    """What is found as soon as it is wanted, or the last when it never was."""
    deadline = time.monotonic() + patience
    while not wanted(last := found()) and time.monotonic() < deadline:
        select.select([], [], [], LOOK_SECONDS)
    return last


class Traces:
    """What a node could leave on the machine, as it is seen from outside of it."""

    BED = ROOT / "target/node"

    def __init__(self) -> None:
        outer = (self.BED / "run/namespace").read_text().split()[0]
        first = pathlib.Path(f"/proc/{outer}/task/{outer}/children").read_text().split()[0]
        self.spaces = {os.readlink(f"/proc/{first}/ns/{kind}") for kind in ("mnt", "net", "pid")}

    def processes(self) -> list[str]:
        """Those in any of its namespaces."""
        found = []
        for link in pathlib.Path("/proc").glob("[0-9]*/ns/*"):
            # It may end while it is looked at.
            try:
                if os.readlink(link) in self.spaces:
                    found.append(link.parts[2])
            except OSError:
                continue
        return sorted(set(found))

    def mounts(self) -> list[str]:
        mounted = pathlib.Path("/proc/self/mounts").read_text().splitlines()
        return [line for line in mounted if str(self.BED) in line or f"{ROOT}/.cache/node" in line or "/kubelet" in line]

    def control_groups(self) -> list[str]:
        return [str(group) for group in pathlib.Path("/sys/fs/cgroup").glob("**/kmlflow-node")]

    def folders(self) -> list[str]:
        return [folder for folder in (str(self.BED), "/var/lib/kubelet") if pathlib.Path(folder).exists()]


def interfaces() -> set[str]:
    return {entry.name for entry in pathlib.Path("/sys/class/net").iterdir()}
