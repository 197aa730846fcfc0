"""Opens the first page in a real browser: the releases are there, one that is made while it looks appears by itself, and no secret is shown."""

from __future__ import annotations

import tempfile

from browser import Browser
from gallery import GALLERY, make
from service import ROOT, Checks, Service

ARTIFACTS = ROOT / "target/artifacts"


def main() -> None:
    checks = Checks()
    ARTIFACTS.mkdir(parents=True, exist_ok=True)
    with Service() as service, tempfile.TemporaryDirectory(prefix="kmlflow-test-", ignore_cleanup_errors=True) as profile, Browser(profile) as browser:
        make(service)
        link = service.sign_in_link
        browser.open(link.partition("#")[0])
        stranger = browser.source()
        checks.holds("a stranger sees no release", not any(asked.path in stranger for asked in GALLERY))

        browser.open(link)
        checks.holds("the link signs in", browser.until(GALLERY[0].name))
        text = browser.text()
        for asked in GALLERY:
            checks.holds(f"the page shows {asked.name}", asked.name in text, text[:2000])
        commit = service.must("GET", f"/releases/{GALLERY[0].path}")["commit"]
        checks.holds("the page shows the last commit", commit[:7] in text)
        for phase in ("settled", "running"):
            checks.holds(f"the page shows the phase {phase}", phase in text.lower())

        service.must("PUT", "/releases/production/models/latecomer", {"model": "late", "version": "1", "image": "registry.example/late:1"})
        checks.holds("a release that is made now appears by itself", browser.until("latecomer"))
        source = browser.source()
        checks.holds("the token is not in the page", service.token not in source)
        checks.holds("the code is not in the page", link.partition("#")[2] not in source)
        checks.holds("the code is not in the address", "#kmlflow_" not in str(browser.evaluate("location.href")))
        screenshot = ARTIFACTS / "page.png"
        browser.screenshot(screenshot)
        checks.holds("there is a screenshot", screenshot.stat().st_size > 10_000)
    checks.end()


main()
