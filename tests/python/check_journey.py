"""The whole way, with nothing in it that stands in for something: a model is logged and registered by an example, MLflow tells the service what
happens to it, aliases lead to a release, a canary and its promotion, and a click in MLflow's own page to a blue-green release, its flip and its
roll back. MLflow is killed in the middle, and a version that was rolled back stays away."""

from __future__ import annotations

import os
import pathlib
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

from browser import Browser
from button_page import ARTIFACTS, Page, act
from service import ROOT, Checks, Service
from tracking import Tracking

MODEL = "iris"

KEY = f"production/models/{MODEL}"

# As long as MLflow may need to deliver an event four times.
PATIENCE_SECONDS = 60

# Between two looks at something that changes by itself.
LOOK_SECONDS = 0.2


def main() -> None:
    checks = Checks()
    ARTIFACTS.mkdir(parents=True, exist_ok=True)
    with Tracking() as tracking:
        variables = {
            "KMLFLOW__MLFLOW__TRACKING_URI": tracking.url,
            "KMLFLOW__MLFLOW__ARTIFACTS_DESTINATION": "s3://models/art",
            "KMLFLOW__MLFLOW__SWEEP_INTERVAL": "2s",
            # An image that has what the example was logged with; what it does not say is not compared.
            "KMLFLOW__RUNTIMES": '{"registry.example/mlserver:own": {default: true}}',
        }
        with Service(variables=variables) as service:
            for version in ("1", "2", "3", "4"):
                printed = example(tracking, "track.py", "--model", MODEL)
                checks.holds(f"the example registers version {version}", f"registered {MODEL} version {version}" in printed, printed)
            connected = service.connect(tracking.url)
            checks.holds("connect succeeds", connected.returncode == 0, connected.stdout)
            aliases(checks, tracking, service)
            with tempfile.TemporaryDirectory(prefix="kmlflow-test-", ignore_cleanup_errors=True) as profile, Browser(profile) as browser:
                clicks(checks, Page(browser, service.url), service, tracking)
            killed(checks, tracking, service)
            stays_away(checks, tracking, service)
    checks.end()


def example(tracking: Tracking, *arguments: str) -> str:
    """Runs an example as a user would; gives what it prints."""
    variables = os.environ | {"MLFLOW_TRACKING_URI": tracking.url, "MLFLOW_DISABLE_TELEMETRY": "true"}
    ran = subprocess.run([sys.executable, *arguments], cwd=ROOT / "examples", env=variables, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300)
    return ran.stdout


def client(tracking: Tracking):
    import mlflow

    return mlflow.MlflowClient(tracking.url, tracking.url)


def state(service: Service) -> str:
    """Strategy, phase and versions of the release."""
    status, view = service.call("GET", f"/releases/{KEY}")
    if status != 200:
        return "not there"
    versions = [variant["version"] for variant in view["spec"]["variants"]]
    return " ".join([view["spec"]["strategy"], view["rollout"]["phase"], *versions])


def becomes(checks: Checks, what: str, found: Callable[[], object], expected: object) -> None:
    """Waits until something is as it should be."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while found() != expected and time.monotonic() < deadline:
        select.select([], [], [], LOOK_SECONDS)
    checks.equal(what, found(), expected)


def fares(tracking: Tracking, version: str) -> str | None:
    """How MLflow's own page says that a version fares."""
    return client(tracking).get_model_version(MODEL, version).tags.get("kmlflow.status.state")


def aliases(checks: Checks, tracking: Tracking, service: Service) -> None:
    registry = client(tracking)
    registry.set_registered_model_alias(MODEL, "champion", "1")
    becomes(checks, "the alias champion leads to a release", lambda: state(service), "single settled 1")
    view = service.must("GET", f"/releases/{KEY}")
    variant = view["spec"]["variants"][0]
    checks.holds("which serves the artifact where a cluster finds it", str(variant.get("modelUri", "")).startswith("s3://models/art/"), str(variant))
    checks.holds("with the digest of its MLmodel", str(variant.get("modelDigest", "")).startswith("sha256:"), str(variant))
    checks.holds("as a commit", view["commit"] in subprocess.run(["git", "-C", str(service.clone()), "log", "--format=%H"], text=True, stdout=subprocess.PIPE).stdout)
    becomes(checks, "and MLflow shows it", lambda: fares(tracking, "1"), "serving")
    registry.set_registered_model_alias(MODEL, "challenger", "2")
    becomes(checks, "the alias challenger leads to a canary", lambda: state(service), "canary running 1 2")
    registry.set_registered_model_alias(MODEL, "champion", "2")
    becomes(checks, "champion moved to it is its promotion", lambda: state(service), "single settled 2")
    registry.delete_registered_model_alias(MODEL, "challenger")
    becomes(checks, "and MLflow shows that", lambda: (fares(tracking, "1"), fares(tracking, "2")), ("retired", "serving"))


def clicks(checks: Checks, page: Page, service: Service, tracking: Tracking) -> None:
    """The button on version 3: blue-green, the flip, and the roll back."""
    browser = page.browser
    browser.resize(1280, 900)
    checks.holds("the link that the start printed signs in", page.sign_in(service))
    page.set_up(False)
    browser.open(f"{page.base}#/models/{MODEL}/versions/3")
    checks.holds("the button opens its dialog", page.press())
    browser.click("label", "Blue-green")
    browser.click("button[data-preview]")
    checks.holds("what changes is shown first", page.wait_for("pre span.added", "blue-green"), page.dialog())
    browser.screenshot(ARTIFACTS / "journey-diff.png")
    browser.click("button[data-go]")
    checks.holds("a click is a commit", bool(page.commit()))
    becomes(checks, "the click leads to a blue-green release", lambda: state(service), "blue-green running 2 3")
    browser.screenshot(ARTIFACTS / "journey-progress.png")
    browser.click("button[data-done]")
    act(page, "advance", "Flip to green")
    becomes(checks, "a click flips it", lambda: service.must("GET", f"/releases/{KEY}")["spec"].get("blueGreen", {}).get("active"), "green")
    browser.click("button[data-done]")
    act(page, "rollback", "Roll back")
    becomes(checks, "a click rolls it back", lambda: state(service), "single settled 2")
    browser.screenshot(ARTIFACTS / "journey-rolled-back.png")
    becomes(checks, "and MLflow shows that the version was rejected", lambda: fares(tracking, "3"), "rejected")


def killed(checks: Checks, tracking: Tracking, service: Service) -> None:
    """MLflow dies with the event that it was about to send."""
    client(tracking).set_registered_model_alias(MODEL, "champion", "4")
    os.killpg(tracking.process.pid, signal.SIGKILL)
    tracking.process.wait()
    tracking.__enter__()
    becomes(checks, "killed in the middle of a change it ends in the right state", lambda: state(service), "single settled 4")


def stays_away(checks: Checks, tracking: Tracking, service: Service) -> None:
    """What was rolled back does not return through ten sweeps."""
    service.must("POST", f"/releases/{KEY}/rollback")
    commit = service.must("GET", f"/releases/{KEY}")["commit"]
    for _ in range(10):
        report = service.must("POST", "/sweep")
        checks.holds("a sweep says why it stands", any(one["kind"] == "stands" for one in report["differences"]), str(report))
    checks.equal("after ten sweeps it is where it was", (state(service), service.must("GET", f"/releases/{KEY}")["commit"]), ("single settled 2", commit))
    becomes(checks, "and MLflow shows the version as rejected", lambda: fares(tracking, "4"), "rejected")


if __name__ == "__main__":
    pathlib.Path(ARTIFACTS).mkdir(parents=True, exist_ok=True)
    main()
