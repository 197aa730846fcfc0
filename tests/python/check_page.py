"""Opens the first page in a real browser: the releases are there, one that is made while it looks appears by itself, and no secret is shown."""

from __future__ import annotations

import pathlib
import re
import subprocess
import tempfile

from gallery import GALLERY, make
from service import ROOT, Checks, Service

ARTIFACTS = ROOT / "target/artifacts"


def chromium(profile: str, *arguments: str) -> str:
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"]
    command += ["--no-first-run", f"--user-data-dir={profile}", "--window-size=1280,1600", "--virtual-time-budget=4000", *arguments]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120)
    if ran.returncode != 0:
        raise SystemExit(f"chromium: {ran.stderr[-2000:]}")
    return ran.stdout


def sign_in_link(printed: list[str]) -> str:
    found = re.findall(r"^sign in\s+(\S+)$", "".join(printed), re.MULTILINE)
    if not found:
        raise SystemExit("the start prints no link to sign in:\n" + "".join(printed))
    return found[-1]


def main() -> None:
    checks = Checks()
    ARTIFACTS.mkdir(parents=True, exist_ok=True)
    with Service() as service, tempfile.TemporaryDirectory(prefix="kmlflow-test-") as profile:
        make(service)
        stranger = chromium(profile, "--dump-dom", f"{service.url}/")
        checks.holds("a stranger sees no release", not any(asked.name in stranger for asked in GALLERY), stranger[:500])
        link = sign_in_link(service.printed)
        page = chromium(profile, "--dump-dom", link)
        for asked in GALLERY:
            checks.holds(f"the page shows {asked.name}", asked.name in page)
        commit = service.must("GET", f"/releases/{GALLERY[0].path}")["commit"]
        checks.holds("the page shows the last commit", commit[:7] in page)
        for phase in ("settled", "running"):
            checks.holds(f"the page shows the phase {phase}", phase in page.lower())
        checks.holds("names are text, not markup", "<script>alert" not in page)
        checks.holds("the token is not in the page", service.token not in page)
        checks.holds("the code is not in the page", link.partition("#")[2] not in page)
        screenshot = ARTIFACTS / "page.png"
        screenshot.unlink(missing_ok=True)
        chromium(profile, f"--screenshot={screenshot}", link)
        checks.holds("there is a screenshot", screenshot.exists() and screenshot.stat().st_size > 10_000)
    checks.end()


main()
