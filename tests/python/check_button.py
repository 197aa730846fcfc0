"""Presses the Release button in MLflow's own pages, in a real browser, and follows what it does to the commits in the repository."""

from __future__ import annotations

import json
import pathlib
import tempfile
import urllib.error
import urllib.request

from browser import Browser
from service import ROOT, Checks, Service
from tracking import ADMIN, Tracking, basic, free_port

ARTIFACTS = ROOT / "target/artifacts"

MODEL = "fraud-detector"

KEY = f"production/models/{MODEL}"

# The button in a page's header, in a row of the table, in the corner; and whether somebody could press it.
PRESSABLE = "all('kmlflow-release[data-kind={kind}]').flatMap((element) => all('button', '', element.shadowRoot)).map(hit).find(Boolean)"

# The version that each row's link names, beside the one that the row's button would release.
ROWS = """all('[data-testid="model-version-table"] [role="row"]').filter((row) => row.querySelector('a[href*="/versions/"]')).map((row) =>
    [row.querySelector('a[href*="/versions/"]').getAttribute('href').split('/').pop(), row.lastElementChild.querySelector('kmlflow-release')?.dataset.version])"""

ERRORS = "window.errorsOfTest = []; for (const kind of ['error', 'unhandledrejection']) addEventListener(kind, (event) => errorsOfTest.push(String(event.message || event.reason)));"

# A page of MLflow that has moved its hooks: what the button looks for is there under other names.
MOVED = """new MutationObserver(() => {
    for (const element of document.querySelectorAll('[data-testid="overflow-menu-trigger"], [data-testid="model-version-table"]')) element.dataset.testid = 'moved';
    for (const element of document.querySelectorAll('.promote-model-btn')) element.classList.remove('promote-model-btn');
}).observe(document, { childList: true, subtree: true });"""


class Page:
    """MLflow's pages through the service, in a browser."""

    def __init__(self, browser: Browser, url: str):
        self.browser = browser
        self.base = f"{url}/mlflow/"

    def model(self) -> None:
        self.browser.open(f"{self.base}#/models/{MODEL}")

    def version(self, version: int) -> None:
        self.browser.open(f"{self.base}#/models/{MODEL}/versions/{version}")

    def set_up(self, is_dark: bool) -> None:
        """Chooses MLflow's own theme, and puts its assistant away, which covers half of a small window."""
        self.browser.open(f"{self.base}#/models")
        self.browser.wait_for("document.querySelector('main')")
        chosen = {"_mlflow_dark_mode_toggle_enabled": str(is_dark).lower(), "databricks-dark-mode-pref": "dark" if is_dark else "light", "mlflow.assistant.panelOpen_v1": "false"}
        for name, value in chosen.items():
            self.browser.evaluate(f"localStorage.setItem({json.dumps(name)}, {json.dumps(value)})")

    def pressable(self, kind: str) -> bool:
        return bool(self.browser.wait_for(PRESSABLE.format(kind=kind), 20))

    def press(self, kind: str = "header") -> bool:
        """Presses the button once it is really in front, and waits for its dialog."""
        at = self.pressable(kind) and self.browser.click("button[aria-haspopup=dialog]")
        return at and bool(self.browser.wait_for("all('dialog[open] h3, dialog[open] .problem').length"))

    def dialog(self) -> str:
        return str(self.browser.wait_for("all('dialog[open]').map((dialog) => dialog.innerText)[0]") or "")

    def wait_for(self, selector: str, text: str = "") -> bool:
        return bool(self.browser.wait_for(f"all({json.dumps(selector)}, {json.dumps(text)}).length"))

    def type(self, name: str, value: str) -> None:
        """Fills in a field of the dialog as a person's typing does."""
        self.browser.wait_for(f"all('input[name={name}]').map((input) => {{ input.focus(); input.select(); return 1 }}).length")
        self.browser.call("Input.insertText", {"text": value}, self.browser.session)

    def rest(self, milliseconds: int) -> None:
        """Lets the page draw itself, and do for a while what it does by itself."""
        rested = f"new Promise((done) => setTimeout(() => requestAnimationFrame(() => requestAnimationFrame(done)), {milliseconds}))"
        self.browser.call("Runtime.evaluate", {"expression": f"{rested}.then(() => true)", "awaitPromise": True}, self.browser.session)

    def commit(self) -> str:
        """The commit at which a change has arrived."""
        return str(self.browser.wait_for("all('[data-commit]').map((step) => step.dataset.commit)[0]"))


def main() -> None:
    checks = Checks()
    ARTIFACTS.mkdir(parents=True, exist_ok=True)
    with Tracking() as tracking, Service(variables={"KMLFLOW__MLFLOW__TRACKING_URI": tracking.url}) as service:
        tracking.register(MODEL, 3, at=f"{service.url}/mlflow")
        with tempfile.TemporaryDirectory(prefix="kmlflow-test-", ignore_cleanup_errors=True) as profile, Browser(profile) as browser:
            browser.call("Page.enable", {}, browser.session)
            browser.call("Page.addScriptToEvaluateOnNewDocument", {"source": ERRORS}, browser.session)
            page = Page(browser, service.url)
            looks(checks, page)
            releases(checks, page, service)
            moves(checks, page)
            keys(checks, page)
            elsewhere(checks, service)
            stands_in(checks, page, service)
    # A browser takes every name below `localhost` for this machine.
    port = free_port()
    own = f"http://mlflow.localhost:{port}"
    with Tracking(with_accounts=True) as tracking:
        with Service(variables={"KMLFLOW__MLFLOW__TRACKING_URI": tracking.url, "KMLFLOW__MLFLOW__PUBLIC_URL": own}, port=port) as service:
            tracking.register(MODEL, 2)
            accounts(checks, tracking, service, own)
    checks.end()


def looks(checks: Checks, page: Page) -> None:
    """It is there and in front, large and small, light and dark, and so is its dialog."""
    browser = page.browser
    for is_dark in (False, True):
        for width, height in ((1280, 900), (360, 740)):
            browser.resize(width, height)
            page.set_up(is_dark)
            where = f"{'dark' if is_dark else 'light'}-{width}"
            page.model()
            checks.holds(f"{where}: a row has a button in front", page.pressable("row"))
            browser.screenshot(ARTIFACTS / f"button-model-{where}.png")
            page.version(2)
            checks.holds(f"{where}: the header has a button in front", page.pressable("header"))
            browser.screenshot(ARTIFACTS / f"button-version-{where}.png")
            theme = browser.evaluate("document.querySelector('kmlflow-release').dataset.theme")
            checks.equal(f"{where}: the button follows MLflow's theme", theme, "dark" if is_dark else "light")
            checks.holds(f"{where}: pressing it opens the dialog", page.press() and page.wait_for("dialog[open] h3", "New release"))
            box = browser.wait_for("all('dialog[open]').map((dialog) => dialog.getBoundingClientRect()).map(({left, right, top, bottom}) => ({left, right, top, bottom}))[0]")
            fits = isinstance(box, dict) and box["left"] >= 0 and box["right"] <= width and box["top"] >= 0 and box["bottom"] <= height
            checks.holds(f"{where}: the dialog fits the window", fits, str(box))
            sideways = browser.wait_for("[all('dialog[open] main').map((main) => main.scrollWidth - main.clientWidth)[0]]")
            checks.equal(f"{where}: nothing in it must be scrolled sideways", sideways, [0])
            browser.screenshot(ARTIFACTS / f"button-dialog-{where}.png")
    browser.resize(1280, 900)
    page.set_up(False)


def releases(checks: Checks, page: Page, service: Service) -> None:
    """A first release and a blue-green one, flipped and rolled back, by clicks alone."""
    browser = page.browser
    page.version(1)
    checks.holds("the dialog opens on version 1", page.press())
    checks.holds("nothing is live yet", "Nothing is released" in page.dialog())
    browser.click("summary", "Where:")
    page.type("artifact", "registry.example/fraud:1")
    browser.screenshot(ARTIFACTS / "button-first.png")
    browser.click("button[data-preview]")
    checks.holds("what changes is shown first", page.wait_for("pre span.added", "registry.example/fraud:1"), page.dialog())
    checks.equal("and nothing is done yet", service.call("GET", f"/releases/{KEY}")[0], 404)
    browser.screenshot(ARTIFACTS / "button-diff.png")
    browser.click("button[data-go]")
    commit = page.commit()
    checks.equal("the release is committed", service.must("GET", f"/releases/{KEY}")["commit"], commit)
    browser.screenshot(ARTIFACTS / "button-progress.png")
    browser.click("button[data-done]")
    checks.holds("then it is live", page.wait_for("dialog[open] li", "Version 1"))

    page.version(2)
    checks.holds("the dialog opens on version 2", page.press())
    browser.click("label", "Blue-green")
    browser.screenshot(ARTIFACTS / "button-blue-green.png")
    checks.holds("the live version is what it is compared with", page.wait_for("output", "Version 1"))
    browser.click("summary", "Where:")
    page.type("artifact", "registry.example/fraud:2")
    browser.click("button[data-preview]")
    checks.holds("a blue-green release is shown first", page.wait_for("pre span.added", "blue-green"), page.dialog())
    browser.click("button[data-go]")
    commit = page.commit()
    view = service.must("GET", f"/releases/{KEY}")
    checks.holds("it is committed", any(entry["commit"] == commit for entry in history(service)), commit)
    checks.equal("blue is active", (view["spec"]["strategy"], view["spec"]["blueGreen"]["active"]), ("blue-green", "blue"))
    checks.equal("who asked is who sits here", view["origin"]["requestedBy"], "local")
    browser.click("button[data-done]")
    checks.holds("the acts that apply are there", page.wait_for("button[data-act=advance]", "Flip to green"))
    browser.screenshot(ARTIFACTS / "button-running.png")

    act(page, "advance", "Flip to green")
    view = service.must("GET", f"/releases/{KEY}")
    checks.equal("the flip is committed", view["spec"]["blueGreen"]["active"], "green")
    browser.click("button[data-done]")
    checks.holds("and the dialog shows it", page.wait_for("button[data-act=advance]", "Flip to blue"))
    act(page, "rollback", "Roll back")
    view = service.must("GET", f"/releases/{KEY}")
    checks.equal("the roll back is committed", view["spec"]["variants"][0]["version"], "1")
    browser.screenshot(ARTIFACTS / "button-rolled-back.png")
    browser.click("button[data-done]")

    browser.click("label", "Canary")
    page.type("steps", "50, 5")
    browser.click("button[data-preview]")
    checks.holds("a refusal says what is wrong", page.wait_for(".problem strong"), page.dialog())
    browser.screenshot(ARTIFACTS / "button-refused.png")
    checks.equal("no script of a page has failed", browser.evaluate("errorsOfTest.filter((text) => !text.includes('ResizeObserver'))"), [])


def act(page: Page, name: str, label: str) -> None:
    """Presses an act, looks at what it would change, and confirms it."""
    page.browser.click(f"button[data-act={name}]")
    page.wait_for("button[data-go]", label)
    page.browser.screenshot(ARTIFACTS / f"button-{name}.png")
    page.browser.click("button[data-go]", label)
    page.commit()


def history(service: Service) -> list[dict]:
    return service.must("GET", f"/releases/{KEY}/history")["items"]


def moves(checks: Checks, page: Page) -> None:
    """Sorting, the old form of the registry, back, reload; and nothing stirs when nobody does anything."""
    browser = page.browser
    page.model()
    page.pressable("row")
    checks.equal("each row has its own button", browser.wait_for(ROWS), [["3", "3"], ["2", "2"], ["1", "1"]])
    orders = set()
    for n in range(6):
        browser.click("[role=columnheader] [role=button]", "Registered at")
        page.rest(0)
        rows = browser.wait_for(ROWS)
        orders.add(json.dumps(rows))
        checks.holds(f"after sorting {n + 1} times each row has its own button", all(link == button for link, button in rows), str(rows))
    checks.holds("sorting did change the order", len(orders) > 1, str(orders))

    browser.evaluate("window.stirred = 0; new MutationObserver((all) => stirred += all.length).observe(document.documentElement, { childList: true, subtree: true, attributes: true })")
    page.rest(2500)
    checks.equal("nothing stirs on an idle page", browser.evaluate("stirred"), 0)

    browser.click('button[aria-label="New model registry UI"]')
    browser.click("button", "Disable", 5)
    checks.holds("the old form is there", bool(browser.wait_for("all('[role=columnheader]', 'Stage').length", 20)))
    checks.holds("in the old form a row has a button in front", page.pressable("row"))
    checks.equal("and each row its own", browser.wait_for(ROWS), [["3", "3"], ["2", "2"], ["1", "1"]])
    browser.screenshot(ARTIFACTS / "button-old-form.png")
    page.version(3)
    checks.holds("in the old form the header has one too", page.pressable("header"))
    browser.screenshot(ARTIFACTS / "button-old-form-version.png")
    browser.click('button[aria-label="New model registry UI"]', patience=10)

    page.model()
    page.pressable("row")
    browser.click('a[href*="/versions/2"]')
    checks.holds("a link leads to the version", page.pressable("header"))
    only = "all('kmlflow-release').map((element) => element.dataset.kind + element.dataset.version)"
    checks.equal("with one button", browser.wait_for(only), ["header2"])
    browser.evaluate("history.back()")
    checks.holds("back brings the rows", page.pressable("row"))
    checks.equal("with their buttons alone", browser.wait_for(only), ["row3", "row2", "row1"])
    browser.evaluate("history.forward()")
    checks.holds("and forward the header", page.pressable("header"))
    browser.call("Page.reload", {}, browser.session)
    checks.holds("a reload keeps it", page.pressable("header"))
    browser.open(f"{page.base}#/models")
    browser.until(MODEL)
    checks.equal("the list of models has no button", browser.evaluate("document.querySelectorAll('kmlflow-release').length"), 0)


def keys(checks: Checks, page: Page) -> None:
    """The dialog by keyboard: the focus stays inside, Escape closes it, and the focus returns."""
    browser = page.browser
    page.version(2)
    page.pressable("header")
    browser.wait_for("all('kmlflow-release[data-kind=header]').map((element) => (element.shadowRoot.querySelector('button').focus(), 1)).length")
    browser.press("Enter", 13)
    browser.call("Input.dispatchKeyEvent", {"type": "char", "text": "\r", "key": "Enter"}, browser.session)
    checks.holds("Enter opens the dialog", page.wait_for("dialog[open] h3", "Live now"))
    named = browser.wait_for("all('dialog[open]').map((dialog) => dialog.getRootNode().getElementById(dialog.getAttribute('aria-labelledby')).textContent)[0]")
    checks.equal("it has a name", named, f"Release {MODEL}")
    inside = "all('kmlflow-dialog').map((host) => document.activeElement === host || document.activeElement === document.body)[0]"
    outside = []
    for _ in range(30):
        browser.press("Tab", 9)
        if not browser.evaluate(f"(() => {{ const all = (selector) => [...document.querySelectorAll(selector)]; return {inside} }})()"):
            outside.append(browser.evaluate("document.activeElement.outerHTML.slice(0, 100)"))
    checks.equal("the focus stays inside", outside, [])
    browser.press("Escape", 27)
    checks.holds("Escape closes it", bool(browser.wait_for("!document.querySelector('kmlflow-dialog')")))
    checks.equal("and the focus returns to the button", browser.evaluate("document.activeElement.localName"), "kmlflow-release")


def post(url: str, body: dict, headers: dict[str, str]) -> tuple[int, str]:
    request = urllib.request.Request(url, data=json.dumps(body).encode(), method="POST", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def asked(version: str) -> dict:
    key = dict(zip(("environment", "namespace", "name"), KEY.split("/")))
    return {"model": MODEL, "version": version, "image": f"registry.example/fraud:{version}", "release": key}


def elsewhere(checks: Checks, service: Service) -> None:
    """A page of somebody else, and one that sends what a form could send."""
    api = f"{service.url}/mlflow/_kmlflow/api"
    json_type = {"Content-Type": "application/json"}
    before = service.must("GET", f"/releases/{KEY}")["commit"]
    for origin in ("https://evil.example", "http://127.0.0.1:1", "null", None):
        headers = json_type | ({"Origin": origin} if origin else {})
        checks.equal(f"a POST from {origin} is refused", post(f"{api}/releases", asked("3"), headers)[0], 403)
        checks.equal(f"an act from {origin} is refused", post(f"{api}/releases/{KEY}/retract", {}, headers)[0], 403)
    form = {"Content-Type": "text/plain", "Origin": service.url}
    checks.equal("a POST of text is refused", post(f"{api}/releases", asked("3"), form)[0], 415)
    checks.equal("nothing was done", service.must("GET", f"/releases/{KEY}")["commit"], before)
    checks.equal("a page of the service may", post(f"{api}/releases", asked("1") | {"dryRun": True}, json_type | {"Origin": service.url})[0], 200)


def stands_in(checks: Checks, page: Page, service: Service) -> None:
    """Where MLflow has moved its hooks a button in the corner stands in, and a number says so."""
    browser = page.browser
    moved = browser.call("Page.addScriptToEvaluateOnNewDocument", {"source": MOVED}, browser.session)["identifier"]
    page.version(2)
    checks.holds("a button in the corner stands in", page.pressable("corner"))
    browser.screenshot(ARTIFACTS / "button-corner.png")
    checks.holds("and opens the same dialog", page.press("corner") and page.wait_for("dialog[open] h3", "New release of version 2"))
    page.model()
    checks.holds("on a model's page too", page.pressable("corner"))
    browser.click("button[aria-haspopup=dialog]")
    checks.holds("where a version is chosen first", page.wait_for("dialog[open] select option", "3"))
    browser.screenshot(ARTIFACTS / "button-corner-model.png")
    browser.click("dialog[open] footer button", "Go on")
    checks.holds("and then released", page.wait_for("dialog[open] h3", "New release of version 3"))
    browser.open(f"{page.base}#/models/there-is-none/versions/1")
    page.rest(8000)
    checks.equal("a model that is not there has no button", browser.evaluate("document.querySelectorAll('kmlflow-release').length"), 0)
    browser.call("Page.removeScriptToEvaluateOnNewDocument", {"identifier": moved}, browser.session)
    with urllib.request.urlopen(f"{service.url}/metrics") as answer:
        metrics = answer.read().decode()
    for line in ('kmlflow_button_anchors_missing_total{page="version"} 1', 'kmlflow_button_anchors_missing_total{page="model"} 1'):
        checks.holds(f"counted: {line}", line in metrics)


def accounts(checks: Checks, tracking: Tracking, service: Service, own: str) -> None:
    """Who has an account at MLflow may what the account may with the model; the browser sends its name by itself. On MLflow's own host name too."""
    api = f"{service.url}/mlflow/_kmlflow/api"
    who = {"reader": tracking.account("reader", "READ", MODEL), "editor": tracking.account("editor", "EDIT", MODEL), "other": tracking.account("other", "EDIT", "another")}
    who |= {"nobody": basic("nobody", "x"), "admin": basic(*ADMIN)}
    mine = {"Content-Type": "application/json", "Origin": service.url}
    for name, status in (("nobody", 401), ("other", 403), ("reader", 403), ("editor", 200), ("admin", 200)):
        answer = post(f"{api}/releases", asked("1") | {"dryRun": True}, mine | {"Authorization": who[name]})
        checks.equal(f"{name} asks for a release", answer[0], status)
    checks.equal("without a name nobody may, also from this machine", post(f"{api}/releases", asked("1"), mine)[0], 401)
    with tempfile.TemporaryDirectory(prefix="kmlflow-test-", ignore_cleanup_errors=True) as profile, Browser(profile) as browser:
        page = Page(browser, service.url)
        # Each name has its own host name, because a browser keeps what it once sent to one.
        local = service.url.replace("127.0.0.1", "localhost")
        for name, may, base in (("reader", False, f"{service.url}/mlflow/"), ("editor", True, f"{local}/mlflow/"), ("editor", True, f"{own}/")):
            page.base = base
            browser.open(base.replace("http://", f"http://{name}:{name}-of-tests-only@"))
            browser.wait_for("document.querySelector('main')")
            page.version(1)
            checks.holds(f"{base}: {name} sees the button", page.press(), page.dialog())
            checks.holds(f"{base}: the dialog knows {name}", f"signed in as {name}" in page.dialog(), page.dialog())
            checks.equal(f"{base}: {name} is offered a release: {may}", "New release" in page.dialog(), may)
            browser.screenshot(ARTIFACTS / f"button-{name}.png")
        browser.click("summary", "Where:")
        page.type("artifact", "registry.example/fraud:1")
        browser.click("button[data-preview]")
        browser.click("button[data-go]")
        page.commit()
    checks.equal("the history names who asked", history(service)[0]["requestedBy"], "editor")


if __name__ == "__main__":
    main()
