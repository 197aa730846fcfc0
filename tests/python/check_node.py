"""What a real node does with pods, from images that were packed here: each check is one that a simulated node could not fail. Runs in the node."""

from __future__ import annotations

import socket
import sys

from node import apply, get, kubectl, until
from service import Checks

NAMESPACE = "default"
IMAGE = "node.example/sandbox:1"


def pod(name: str, command: list[str], image: str = IMAGE, **more: object) -> dict:
    container = {"name": "main", "image": image, "command": command} | more
    metadata = {"name": name, "namespace": NAMESPACE, "labels": {"app": name}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"terminationGracePeriodSeconds": 1, "containers": [container]}}


def main() -> None:
    checks = Checks()
    page = ["sh", "-c", "busybox mkdir /page && echo of the pod >/page/index.html && exec busybox httpd -f -p 8080 -h /page"]
    probe = {"exec": {"command": ["busybox", "test", "-e", "/opened"]}, "periodSeconds": 1}
    port = {"port": 80, "targetPort": 8080}
    apply(
        pod("page", page, readinessProbe=probe),
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "page", "namespace": NAMESPACE}, "spec": {"selector": {"app": "page"}, "ports": [port]}},
        pod("greedy", ["sh", "-c", "busybox tail /dev/zero"], resources={"limits": {"memory": "32Mi"}}),
        pod("failing", ["sh", "-c", "echo it cannot; exit 3"]),
        pod("absent", ["sh"], image="node.example/absent:1"),
    )
    until(lambda: phase("page"), lambda phase: phase == "Running")
    checks.equal("a pod whose probe fails runs and is not ready", (phase("page"), ready("page")), ("Running", "False"))
    kubectl("--namespace", NAMESPACE, "exec", "page", "--", "busybox", "touch", "/opened")
    checks.equal("a command in it opens it", until(lambda: ready("page"), lambda ready: ready == "True"), "True")
    address = get(NAMESPACE, "service", "page")["spec"]["clusterIP"]
    checks.equal("and its Service leads to it", until(lambda: ask(address), lambda said: said.endswith("of the pod\n"))[-11:], "of the pod\n")
    checks.equal("too much memory is the end of it", until(lambda: ended("greedy"), bool), ("OOMKilled", 137))
    checks.equal("an end is told with its code", until(lambda: ended("failing"), bool), ("Error", 3))
    # That it waits for the next time (`CrashLoopBackOff`) the kubelet may say a minute late, when that is over.
    again = until(lambda: container("failing").get("restartCount", 0), lambda count: count > 1)
    checks.holds("and it is tried again and again", again > 1, again)
    checks.equal("its log is there", kubectl("--namespace", NAMESPACE, "logs", "failing"), "it cannot\n")
    reasons = ("ErrImagePull", "ImagePullBackOff")
    checks.holds("an image that nobody packed is not there", until(lambda: waits("absent"), lambda reason: reason in reasons) in reasons, waits("absent"))
    kubectl("--namespace", NAMESPACE, "delete", "--wait=false", "service/page", *(f"pod/{name}" for name in ("page", "greedy", "failing", "absent")))
    checks.end()


def phase(name: str) -> str:
    return get(NAMESPACE, "pod", name).get("status", {}).get("phase", "")


def ready(name: str) -> str:
    conditions = get(NAMESPACE, "pod", name).get("status", {}).get("conditions", [])
    return next((condition["status"] for condition in conditions if condition["type"] == "Ready"), "")


def container(name: str) -> dict:
    return next(iter(get(NAMESPACE, "pod", name).get("status", {}).get("containerStatuses", [])), {})


def waits(name: str) -> str:
    return container(name).get("state", {}).get("waiting", {}).get("reason", "")


def ended(name: str) -> tuple[str, int] | None:
    """Why the container has ended, now or the time before."""
    found = container(name)
    for state in (found.get("state", {}), found.get("lastState", {})):
        if "terminated" in state:
            return state["terminated"]["reason"], state["terminated"]["exitCode"]
    return None


def ask(address: str) -> str:
    """What a server answers to the plainest of requests."""
    try:
        with socket.create_connection((address, 80), timeout=2) as connection:
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            return b"".join(iter(lambda: connection.recv(4096), b"")).decode()
    except OSError as error:
        return str(error)


if __name__ == "__main__":
    sys.exit(main())
