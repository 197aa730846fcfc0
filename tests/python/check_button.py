"""Presses the Release button in MLflow's own pages, in a real browser, and follows what it does to the commits in the repository."""

from __future__ import annotations

import json
import tempfile
import urllib.request

from browser import Browser
from button_page import ARTIFACTS, FITS, LOOKS, MODEL, SIDEWAYS, Page, PageChecks
from button_rights import accounts, elsewhere, log_model, stranger_looks, strangers
from button_runs import runs
from button_signature import signatures
from service import Service
from tracking import ADMIN, Tracking, free_port

# The version that each row's link names, beside the one that the row's button would release.
ROWS = """all('[data-testid="model-version-table"] [role="row"]').filter((row) => row.querySelector('a[href*="/versions/"]')).map((row) =>
    [row.querySelector('a[href*="/versions/"]').getAttribute('href').split('/').pop(), row.lastElementChild.querySelector('kmlflow-release')?.dataset.version])"""

ERRORS = "window.errorsOfTest = []; for (const kind of ['error', 'unhandledrejection']) addEventListener(kind, (event) => errorsOfTest.push(String(event.message || event.reason)));"

# A page of MLflow that has moved its hooks: what the button looks for is there under other names.
MOVED = """new MutationObserver(() => {
    for (const element of document.querySelectorAll('[data-testid="overflow-menu-trigger"], [data-testid="model-version-table"]')) element.dataset.testid = 'moved';
    for (const element of document.querySelectorAll('.promote-model-btn')) element.classList.remove('promote-model-btn');
}).observe(document, { childList: true, subtree: true });"""

# How many frames in a row saw no change of the page. An observer that answers its own changes makes one every frame or two.
STILL = """window.still = 0; new MutationObserver(() => (still = 0)).observe(document.documentElement, { childList: true, subtree: true, attributes: true });
(function next() { still += 1; requestAnimationFrame(next) })();"""
STILL_FRAMES = 60

# Counts what the button has been answered about a version: MLflow's own page asks with a text, the button with an address.
ASKED = """window.askedByButton = 0; const plain = window.fetch; window.fetch = async (where, options) => {
    const answer = await plain(where, options);
    if (where instanceof URL && where.pathname.endsWith('/model-versions/get')) askedByButton += 1;
    return answer;
};"""

NEWEST_FIRST = [["3", "3"], ["2", "2"], ["1", "1"]]

# A name that a filter of MLflow must quote in another way than most.
QUOTED = "O'Brien & sons"

# Pages of two versions, so that three need a second one.
SHORT = "const short = window.fetch; window.fetch = (where, options) => short(String(where).replace('max_results=100&', 'max_results=2&'), options);"

# A registry that refuses to list versions.
SILENT = """const willing = window.fetch; window.fetch = async (where, options) => String(where).includes('max_results=100&')
    ? new Response(JSON.stringify({ error_code: 'INTERNAL_ERROR', message: 'the registry is tired' }), { status: 500 }) : willing(where, options);"""


def main() -> None:
    checks = PageChecks()
    ARTIFACTS.mkdir(parents=True, exist_ok=True)
    # A browser takes every name below `localhost` for this machine.
    port = free_port()
    own = f"http://mlflow.localhost:{port}"
    with Tracking() as tracking:
        variables = {"KMLFLOW__MLFLOW__TRACKING_URI": tracking.url, "KMLFLOW__MLFLOW__PUBLIC_URL": own}
        variables |= {"KMLFLOW__ENVIRONMENTS__STAGING__BLIND_DELAY": "0s"}
        with Service(variables=variables, port=port) as service:
            tracking.register(MODEL, 3, at=f"{service.url}/mlflow")
            tracking.register(QUOTED, 3)
            with tempfile.TemporaryDirectory(prefix="kmlflow-test-", ignore_cleanup_errors=True) as profile, Browser(profile) as browser:
                browser.call("Page.enable", {}, browser.session)
                browser.call("Page.addScriptToEvaluateOnNewDocument", {"source": ERRORS}, browser.session)
                page = checks.page = Page(browser, service.url)
                browser.resize(1280, 900)
                stranger_looks(checks, page)
                strangers(checks, page, service, own)
                page.set_up(False)
                runs(checks, page, service)
                looks(checks, page)
                moves(checks, page)
                keys(checks, page)
                elsewhere(checks, service)
                stands_in(checks, page, service)
                chooses(checks, page)
                signatures(checks, page, tracking, service)
                checks.page = None
    port = free_port()
    own = f"http://mlflow.localhost:{port}"
    with Tracking(with_accounts=True) as tracking:
        variables = {"KMLFLOW__MLFLOW__TRACKING_URI": tracking.url, "KMLFLOW__MLFLOW__PUBLIC_URL": own}
        variables |= {"KMLFLOW__MLFLOW__USERNAME": ADMIN[0], "KMLFLOW__MLFLOW__PASSWORD": ADMIN[1]}
        with Service(variables=variables, port=port) as service:
            tracking.register(MODEL, 0)
            for columns in (["amount", "age"], ["amount", "height"]):
                log_model(tracking, columns)
            accounts(checks, tracking, service, own)
    checks.end()


def looks(checks: PageChecks, page: Page) -> None:
    """It is there and in front, large and small, light and dark, and so is its dialog."""
    browser = page.browser
    for where, is_dark, width, height in LOOKS:
        browser.resize(width, height)
        page.set_up(is_dark)
        page.model()
        checks.holds(f"{where}: a row has a button in front", page.pressable("row"))
        browser.screenshot(ARTIFACTS / f"button-model-{where}.png")
        page.version(2)
        checks.holds(f"{where}: the header has a button in front", page.pressable("header"))
        browser.screenshot(ARTIFACTS / f"button-version-{where}.png")
        checks.reads(f"{where}: the button follows MLflow's theme", "document.querySelector('kmlflow-release').dataset.theme", "dark" if is_dark else "light")
        checks.holds(f"{where}: pressing it opens the dialog", page.press() and page.wait_for("dialog[open] h3", "New release"))
        checks.reads(f"{where}: the dialog fits the window", FITS, [True])
        checks.reads(f"{where}: nothing in it must be scrolled sideways", SIDEWAYS, [0])
        browser.screenshot(ARTIFACTS / f"button-dialog-{where}.png")
        checks.clicks("dialog[open] summary", "Where:")
        page.type("artifact", "registry.example/fraud:2")
        browser.screenshot(ARTIFACTS / f"button-form-{where}.png")
        checks.clicks("button[data-preview]")
        checks.sees(f"{where}: what changes is shown", "pre span.added", "registry.example/fraud:2")
        checks.reads(f"{where}: which fits the window too", FITS, [True])
        checks.reads(f"{where}: and only the diff is scrolled sideways", SIDEWAYS, [0])
        browser.screenshot(ARTIFACTS / f"button-diff-{where}.png")
    browser.resize(1280, 900)
    page.set_up(False)


def moves(checks: PageChecks, page: Page) -> None:
    """Sorting, the old form of the registry, back, reload; and nothing stirs when nobody does anything."""
    browser = page.browser
    page.model()
    page.pressable("row")
    checks.reads("each row has its own button", ROWS, NEWEST_FIRST)
    sorted_by = "all('[data-testid=\"model-version-table\"] a[href*=\"/versions/\"]').map((link) => link.getAttribute('href').split('/').pop())"
    orders = set()
    for n in range(6):
        checks.clicks("[role=columnheader] [role=button]", "Registered at")
        browser.frames()
        checks.reads(f"after sorting {n + 1} times each row has its own button", f"{ROWS}.filter(([link, button]) => link !== button)", [])
        orders.add(json.dumps(browser.wait_for(sorted_by)))
    checks.holds("sorting did change the order", len(orders) > 1, str(orders))

    # MLflow's page may have something to finish at first.
    browser.evaluate(STILL)
    checks.holds("nothing stirs on an idle page", bool(browser.wait_for(f"still >= {STILL_FRAMES}")))

    browser.click('button[aria-label="New model registry UI"]')
    browser.click("button", "Disable", 5)
    checks.sees("the old form is there", "[role=columnheader]", "Stage")
    checks.holds("in the old form a row has a button in front", page.pressable("row"))
    checks.reads("and each row its own", ROWS, NEWEST_FIRST)
    browser.screenshot(ARTIFACTS / "button-old-form.png")
    page.version(3)
    checks.holds("in the old form the header has one too", page.pressable("header"))
    browser.screenshot(ARTIFACTS / "button-old-form-version.png")
    browser.click('button[aria-label="New model registry UI"]', patience=10)

    page.model()
    page.pressable("row")
    checks.clicks('a[href*="/versions/2"]')
    checks.holds("a link leads to the version", page.pressable("header"))
    only = "all('kmlflow-release').map((element) => element.dataset.kind + element.dataset.version)"
    checks.reads("with one button", only, ["header2"])
    browser.evaluate("history.back()")
    checks.holds("back brings the rows", page.pressable("row"))
    checks.reads("with their buttons alone", only, ["row3", "row2", "row1"])
    browser.evaluate("history.forward()")
    checks.holds("and forward the header", page.pressable("header"))
    browser.call("Page.reload", {}, browser.session)
    checks.holds("a reload keeps it", page.pressable("header"))
    browser.open(f"{page.base}#/models")
    browser.until(MODEL)
    checks.reads("the list of models has no button", "all('kmlflow-release').length", 0)


def keys(checks: PageChecks, page: Page) -> None:
    """The dialog by keyboard: the focus stays inside, Escape closes it, and the focus returns."""
    browser = page.browser
    page.version(2)
    page.pressable("header")
    browser.wait_for("all('kmlflow-release[data-kind=header]').map((element) => (element.shadowRoot.querySelector('button').focus(), 1)).length")
    browser.press("Enter", 13)
    browser.call("Input.dispatchKeyEvent", {"type": "char", "text": "\r", "key": "Enter"}, browser.session)
    checks.sees("Enter opens the dialog", "dialog[open] h3", "Live now")
    checks.reads("it has a name", "all('dialog[open]').map((dialog) => dialog.getRootNode().getElementById(dialog.getAttribute('aria-labelledby')).textContent)", [f"Release {MODEL}"])
    inside = "all('kmlflow-dialog').map((host) => document.activeElement === host || document.activeElement === document.body)[0]"
    outside = []
    for _ in range(30):
        browser.press("Tab", 9)
        if not browser.evaluate(f"(() => {{ const all = (selector) => [...document.querySelectorAll(selector)]; return {inside} }})()"):
            outside.append(browser.evaluate("document.activeElement.outerHTML.slice(0, 100)"))
    checks.equal("the focus stays inside", outside, [])
    browser.press("Escape", 27)
    checks.reads("Escape closes it", "all('kmlflow-dialog').length", 0)
    checks.reads("and the focus returns to the button", "document.activeElement.localName", "kmlflow-release")


def stands_in(checks: PageChecks, page: Page, service: Service) -> None:
    """Where MLflow has moved its hooks a button in the corner stands in, and a number says so."""
    browser = page.browser
    moved = browser.call("Page.addScriptToEvaluateOnNewDocument", {"source": MOVED}, browser.session)["identifier"]
    page.version(2)
    checks.holds("a button in the corner stands in", page.pressable("corner"))
    browser.screenshot(ARTIFACTS / "button-corner.png")
    checks.holds("and opens the same dialog", page.press("corner") and page.wait_for("dialog[open] h3", "New release of version 2"))
    page.model()
    checks.holds("on a model's page too", page.pressable("corner"))
    checks.clicks("button[aria-haspopup=dialog]")
    checks.holds("where a version is chosen first", page.wait_for("dialog[open] select option", "3"))
    browser.screenshot(ARTIFACTS / "button-corner-model.png")
    checks.clicks("dialog[open] footer button", "Go on")
    checks.holds("and then released", page.wait_for("dialog[open] h3", "New release of version 3"))
    counting = browser.call("Page.addScriptToEvaluateOnNewDocument", {"source": ASKED}, browser.session)["identifier"]
    browser.open(f"{page.base}#/models/there-is-none/versions/1")
    checks.holds("of a model that is not there the button asks MLflow first", bool(browser.wait_for("askedByButton")))
    browser.frames()
    browser.call("Page.removeScriptToEvaluateOnNewDocument", {"identifier": counting}, browser.session)
    checks.equal("and then it does not stand in", browser.evaluate("document.querySelectorAll('kmlflow-release').length"), 0)
    browser.call("Page.removeScriptToEvaluateOnNewDocument", {"identifier": moved}, browser.session)
    for line in ('kmlflow_button_anchors_missing_total{page="version"} 1', 'kmlflow_button_anchors_missing_total{page="model"} 1'):
        checks.becomes(f"counted: {line}", lambda line=line: line in metrics(service), True)


def metrics(service: Service) -> str:
    with urllib.request.urlopen(f"{service.url}/metrics") as answer:
        return answer.read().decode()


def chooses(checks: PageChecks, page: Page) -> None:
    """The list of versions in the corner's dialog: of a name with a quote, more than a page, and none because MLflow says no."""
    browser = page.browser
    scripts = [browser.call("Page.addScriptToEvaluateOnNewDocument", {"source": source}, browser.session)["identifier"] for source in (MOVED, SHORT)]
    versions = "all('dialog[open] select[name=version] option').map((option) => option.value)"
    older = "all('dialog[open] [data-older]').filter((button) => !button.hidden).length"
    quoted = Page(browser, page.base.removesuffix("/mlflow/"), QUOTED)
    quoted.model()
    checks.holds("a model with a quote in its name has a button in the corner", quoted.pressable("corner"))
    checks.clicks("button[aria-haspopup=dialog]")
    checks.reads("which lists its versions", versions, ["3", "2"])
    checks.clicks("dialog[open] footer button", "Older versions")
    checks.reads("and the older ones where they are asked for", versions, ["3", "2", "1"])
    checks.reads("until there are no more", older, 0)
    browser.screenshot(ARTIFACTS / "button-versions.png")
    checks.clicks("dialog[open] footer button", "Go on")
    checks.sees("and one of them can be released", "dialog[open] h3", "New release of version 3")
    scripts.append(browser.call("Page.addScriptToEvaluateOnNewDocument", {"source": SILENT}, browser.session)["identifier"])
    page.model()
    page.pressable("corner")
    checks.clicks("button[aria-haspopup=dialog]")
    checks.sees("what MLflow refuses is said", "dialog[open] .problem", "the registry is tired")
    for script in scripts:
        browser.call("Page.removeScriptToEvaluateOnNewDocument", {"identifier": script}, browser.session)


if __name__ == "__main__":
    main()
