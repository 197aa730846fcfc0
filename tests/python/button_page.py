"""MLflow's pages through the service with the Release button in them, as somebody at a browser uses them, and checks that wait for what they want."""

from __future__ import annotations

import json
import os
import select
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable

from browser import PATIENCE_SECONDS, Browser
from service import ROOT, Checks, Service

ARTIFACTS = ROOT / "target/artifacts"

MODEL = "fraud-detector"

KEY = f"production/models/{MODEL}"

# The button in a page's header, in a row of the table, in the corner; and whether somebody could press it.
PRESSABLE = "all('kmlflow-release[data-kind={kind}]').flatMap((element) => all('button', '', element.shadowRoot)).map(hit).find(Boolean)"

# Whether the dialog is in the window as a whole.
FITS = """all('dialog[open]').map((dialog) => dialog.getBoundingClientRect()).map(({ left, right, top, bottom }) =>
    left >= 0 && right <= innerWidth && top >= 0 && bottom <= innerHeight)"""

# How much wider what is in the dialog is than the dialog.
SIDEWAYS = "all('dialog[open] main').map((main) => main.scrollWidth - main.clientWidth)"

# Large and small windows, light and dark: what each is called in the names of pictures.
LOOKS = [(f"{'dark' if is_dark else 'light'}-{width}", is_dark, width, height) for is_dark in (False, True) for width, height in ((1280, 900), (360, 740))]

# How much of a page a failed check repeats, in characters.
SHOWN = 3000


class Page:
    """MLflow's pages of one model."""

    def __init__(self, browser: Browser, url: str, model: str = MODEL):
        self.browser = browser
        self.base = f"{url}/mlflow/"
        self.name = model

    def sign_in(self, service: Service) -> bool:
        """Opens the link that the start printed, as a person does. Its session counts at the host that it leads to, so that is gone to from here on."""
        self.base = f"{service.sign_in_link.partition('/#')[0]}/mlflow/"
        self.browser.open(service.sign_in_link)
        return self.wait_for("#sign-out")

    def model(self) -> None:
        self.browser.open(f"{self.base}#/models/{urllib.parse.quote(self.name, safe='')}")

    def version(self, version: int) -> None:
        self.browser.open(f"{self.base}#/models/{urllib.parse.quote(self.name, safe='')}/versions/{version}")

    def set_up(self, is_dark: bool) -> None:
        """Chooses MLflow's own theme, and puts its assistant away, which covers half of a small window."""
        self.browser.open(f"{self.base}#/models")
        self.browser.wait_for("document.querySelector('main')")
        chosen = {"_mlflow_dark_mode_toggle_enabled": str(is_dark).lower(), "databricks-dark-mode-pref": "dark" if is_dark else "light", "mlflow.assistant.panelOpen_v1": "false"}
        for name, value in chosen.items():
            self.browser.evaluate(f"localStorage.setItem({json.dumps(name)}, {json.dumps(value)})")

    def pressable(self, kind: str) -> bool:
        return bool(self.browser.wait_for(PRESSABLE.format(kind=kind)))

    def press(self, kind: str = "header") -> bool:
        """Presses the button once it is really in front, and waits for its dialog."""
        at = self.pressable(kind) and self.browser.click("button[aria-haspopup=dialog]")
        return at and bool(self.browser.wait_for("all('dialog[open] h3, dialog[open] .problem').length"))

    def dialog(self) -> str:
        return str(self.browser.wait_for("all('dialog[open]').map((dialog) => dialog.innerText)[0]") or "")

    def shown(self) -> str:
        """Where the browser is, and what a person reads there: in the dialog where it is open, and on the page."""
        dialog = self.browser.wait_for("all('dialog[open]').map((dialog) => dialog.innerText)[0]", 0.1)
        return f"at {self.browser.evaluate('location.href')}\ndialog: {dialog}\npage: {self.browser.text()}"[:SHOWN]

    def wait_for(self, selector: str, text: str = "") -> bool:
        return bool(self.browser.wait_for(f"all({json.dumps(selector)}, {json.dumps(text)}).length"))

    def type(self, name: str, value: str) -> None:
        """Fills in a field of the dialog as a person's typing does."""
        self.browser.wait_for(f"all('input[name={name}]').map((input) => {{ input.focus(); input.select(); return 1 }}).length")
        self.browser.call("Input.insertText", {"text": value}, self.browser.session)

    def choose(self, name: str, value: str) -> None:
        """Takes one of a list."""
        chosen = f"(select.value = {json.dumps(value)}, select.dispatchEvent(new Event('change', {{ bubbles: true }})), 1)"
        self.browser.wait_for(f"all('select[name={name}]').map((select) => {chosen}).length")

    def leave(self) -> None:
        """Goes on to the next field, so that the one before takes what was typed."""
        self.browser.press("Tab", 9)

    def commit(self) -> str:
        """The commit at which a change has arrived."""
        return str(self.browser.wait_for("all('[data-commit]').map((step) => step.dataset.commit)[0]"))


class PageChecks(Checks):
    """Checks of what pages do; each that does not hold is printed with what the page showed."""

    page: Page | None = None

    def holds(self, what: str, holds: bool, why: str = "") -> None:
        super().holds(what, holds, why)
        if not holds and self.page:
            print(self.page.shown(), flush=True)

    def becomes(self, what: str, found: Callable[[], object], expected: object) -> None:
        """Waits until something is as it should be."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (seen := found()) != expected and time.monotonic() < deadline:
            select.select([], [], [], 0.05)
        self.equal(what, seen, expected)

    def reads(self, what: str, expression: str, expected: object) -> None:
        """Waits until an expression in the page, which may use the finder, has a value. JSON, because 0 and nothing are values too."""
        assert self.page
        page = self.page
        self.becomes(what, lambda: json.loads(str(page.browser.wait_for(f"JSON.stringify({expression}) ?? 'null'"))), expected)

    def sees(self, what: str, selector: str, text: str = "") -> None:
        """Waits for an element with a text."""
        assert self.page
        self.holds(what, self.page.wait_for(selector, text), f"there is no `{selector}` with `{text}`")

    def clicks(self, selector: str, text: str = "") -> None:
        """Presses an element; that there is none is a check that does not hold."""
        assert self.page
        if not self.page.browser.click(selector, text):
            self.holds(f"`{selector}` with `{text}` can be pressed", False)


def act(page: Page, name: str, label: str) -> str:
    """Presses an act, looks at what it would change, and confirms it; gives its commit."""
    page.browser.click(f"button[data-act={name}]", label)
    page.wait_for("button[data-go]", label)
    page.browser.screenshot(ARTIFACTS / f"button-{name}.png")
    page.browser.click("button[data-go]", label)
    return page.commit()


def history(service: Service, key: str = KEY) -> list[dict]:
    return service.must("GET", f"/releases/{key}/history")["items"]


def state(service: Service, key: str = KEY) -> str:
    """Strategy, phase and versions of a release."""
    status, view = service.call("GET", f"/releases/{key}")
    if status != 200 or not view.get("deployed", True):
        return "not there"
    versions = [variant["version"] for variant in view["spec"]["variants"]]
    return " ".join([view["spec"]["strategy"], view["rollout"]["phase"], *versions])


def git(service: Service, *arguments: str) -> str:
    """What Git says of the service's own repository; nothing where it fails."""
    command = ["git", "--git-dir", str(service.data / "gitops.git"), *arguments]
    return subprocess.run(command, env=os.environ | service.environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout


def post(url: str, body: dict, headers: dict[str, str]) -> tuple[int, str]:
    return _answer(urllib.request.Request(url, data=json.dumps(body).encode(), method="POST", headers=headers))


def get(url: str, headers: dict[str, str]) -> tuple[int, str]:
    return _answer(urllib.request.Request(url, headers=headers))


def _answer(request: urllib.request.Request) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def asked(version: str) -> dict:
    key = dict(zip(("environment", "namespace", "name"), KEY.split("/")))
    return {"model": MODEL, "version": version, "image": f"registry.example/fraud:{version}", "release": key}
