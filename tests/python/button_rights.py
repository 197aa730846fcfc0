"""Who may what with the button: nobody without signing in, pages of others, accounts of MLflow by their permission for the model, and the gate that only who manages it opens."""

from __future__ import annotations

import json
import tempfile
import urllib.parse
import urllib.request

from browser import Browser
from button_page import ARTIFACTS, FITS, KEY, LOOKS, MODEL, Page, PageChecks, asked, get, git, history, post, state
from service import Service
from tracking import ADMIN, Tracking, basic

# What a model says of itself, and what it takes where it says that.
MLMODEL = """flavors: {python_function: {loader_module: mlflow.sklearn, python_version: 3.11.7}}
mlflow_version: 3.17.2
"""
SIGNATURE = """signature:
  inputs: '{inputs}'
"""


def strangers(checks: PageChecks, page: Page, service: Service, own: str) -> None:
    """Nobody sees or changes a release without signing in, not from this machine either; the dialog says what to do, and then it can be done."""
    browser, here = page.browser, f"{service.sign_in_link.partition('/#')[0]}/mlflow/"
    by_link, at_mlflow = "the sign-in link that kmlflow serve printed (each start prints a new one)", "ign in at MLflow where it has accounts"
    for base, first, there in ((f"{service.url}/mlflow/", "S", f"{here}: that session counts"), (f"{own}/", "S", f"{here}: that session counts"), (here, "s", "Open")):
        page.base = base
        page.set_up(False)
        page.version(1)
        checks.holds(f"{base}: the button opens its dialog for a stranger", page.press())
        said = page.dialog()
        checks.holds(f"{base}: who says to sign in", "You are not signed in" in said and by_link in said and first + at_mlflow in said, said)
        checks.holds(f"{base}: and where that counts", there in said, said)
        checks.holds(f"{base}: nothing of a release is shown", "Live now" not in said and KEY not in said, said)
        checks.equal(f"{base}: a link to Kmlflow's own page, where there is one", "Kmlflow's own page" in said, base != f"{own}/")
    browser.screenshot(ARTIFACTS / "button-stranger.png")
    tab = browser.call("Target.createTarget", {"url": service.sign_in_link, "background": True})["targetId"]

    def is_in() -> bool:
        browser.click("dialog[open] button", "Try again", 1)
        return bool(browser.wait_for("all('dialog[open] h3', 'Live now').length", 1))

    checks.becomes("signed in by the link in another tab, trying again is enough", is_in, True)
    checks.sees("and the dialog knows it", "dialog[open] p", "signed in as page")
    browser.call("Target.closeTarget", {"targetId": tab})


def stranger_looks(checks: PageChecks, page: Page) -> None:
    """What a stranger is told fits the window, large and small, light and dark."""
    for where, is_dark, width, height in LOOKS:
        page.browser.resize(width, height)
        page.set_up(is_dark)
        page.version(1)
        checks.holds(f"{where}: the dialog opens for a stranger", page.press())
        checks.sees(f"{where}: and says what to do", "dialog[open] .problem p", "sign-in link")
        checks.reads(f"{where}: which fits the window", FITS, [True])
        page.browser.screenshot(ARTIFACTS / f"button-stranger-{where}.png")
    page.browser.resize(1280, 900)


def elsewhere(checks: PageChecks, service: Service) -> None:
    """A page of somebody else, and one that sends what a form could send."""
    api = f"{service.url}/mlflow/_kmlflow/api"
    json_type = {"Content-Type": "application/json"}
    signed_in = {"Authorization": f"Bearer {service.token}"}
    before = service.must("GET", f"/releases/{KEY}")["commit"]
    for origin in ("https://evil.example", "http://127.0.0.1:1", "null", None):
        headers = json_type | signed_in | ({"Origin": origin} if origin else {})
        checks.equal(f"a POST from {origin} is refused", post(f"{api}/releases", asked("3"), headers)[0], 403)
        checks.equal(f"an act from {origin} is refused", post(f"{api}/releases/{KEY}/retract", {}, headers)[0], 403)
    form = {"Content-Type": "text/plain", "Origin": service.url}
    checks.equal("a POST of text is refused", post(f"{api}/releases", asked("3"), form | signed_in)[0], 415)
    mine = json_type | {"Origin": service.url}
    for what, headers in (("without a name", mine), ("with a name that nobody checks", mine | {"Authorization": basic("ann", "x")})):
        checks.equal(f"{what} nobody asks for a release", post(f"{api}/releases", asked("3"), headers)[0], 401)
        checks.equal(f"{what} nobody retracts one", post(f"{api}/releases/{KEY}/retract", {}, headers)[0], 401)
        checks.equal(f"{what} nobody sees one", get(f"{api}/models/{MODEL}/versions/1", headers)[0], 401)
    status, said = post(f"{api}/releases", asked("99"), mine | signed_in)
    checks.equal("a version that MLflow does not have is refused", (status, "MLflow has no version 99" in said, "register it in MLflow first" in said), (422, True, True))
    checks.equal("nothing was done", service.must("GET", f"/releases/{KEY}")["commit"], before)
    checks.equal("a page of the service may, with a name", post(f"{api}/releases", asked("1") | {"dryRun": True}, mine | signed_in)[0], 200)
    status, said = get(f"{api}/models/{MODEL}/versions/99", signed_in)
    checks.equal("a version that MLflow does not have is not found", (status, "no version 99" in said), (404, True))
    checks.equal("nor is a model", get(f"{api}/models/there-is-none/versions/1", signed_in)[0], 404)


def log_model(tracking: Tracking, columns: list[str] | None, model: str = MODEL) -> None:
    """Registers a version whose model takes these columns, with `?` where one may be left out, or does not say what it takes."""
    api = "/ajax-api/2.0/mlflow"
    run = tracking.must(f"{api}/runs/create", {"experiment_id": "0"})["run"]["info"]
    inputs = json.dumps([{"type": "double", "name": name.rstrip("?"), "required": not name.endswith("?")} for name in columns or []])
    text = MLMODEL + (SIGNATURE.format(inputs=inputs) if columns else "")
    place = f"{tracking.url}/api/2.0/mlflow-artifacts/artifacts/{run['artifact_uri'].removeprefix('mlflow-artifacts:/')}/model/MLmodel"
    file = urllib.request.Request(place, data=text.encode(), method="PUT", headers={"Authorization": basic(*ADMIN)})
    urllib.request.urlopen(file, timeout=60).close()
    tracking.must(f"{api}/model-versions/create", {"name": model, "source": f"{run['artifact_uri']}/model", "run_id": run["run_id"]})


def accounts(checks: PageChecks, tracking: Tracking, service: Service, own: str) -> None:
    """Who has an account at MLflow may what the account may with the model; the browser sends its name by itself. On MLflow's own host name too."""
    api = f"{service.url}/mlflow/_kmlflow/api"
    may = {"reader": "READ", "user": "USE", "editor": "EDIT", "manager": "MANAGE"}
    who = {name: tracking.account(name, permission, MODEL) for name, permission in may.items()}
    who |= {"other": tracking.account("other", "EDIT", "another"), "nobody": basic("nobody", "x"), "admin": basic(*ADMIN)}
    mine = {"Content-Type": "application/json", "Origin": service.url}
    for name, status in (("nobody", 401), ("other", 403), ("reader", 403), ("user", 403), ("editor", 200), ("manager", 200), ("admin", 200)):
        answer = post(f"{api}/releases", asked("1") | {"dryRun": True}, mine | {"Authorization": who[name]})
        checks.equal(f"{name} asks for a release", answer[0], status)
    for name, status in (("nobody", 401), ("other", 403), ("reader", 404), ("user", 404), ("editor", 404), ("admin", 404)):
        checks.equal(f"{name} asks for a version that is not there", get(f"{api}/models/{MODEL}/versions/99", {"Authorization": who[name]})[0], status)
    checks.equal("with a token of the service too", get(f"{api}/models/{MODEL}/versions/99", {"Authorization": f"Bearer {service.token}"})[0], 404)
    checks.equal("without a name nobody may, also from this machine", post(f"{api}/releases", asked("1"), mine)[0], 401)
    # Each name has its own host name, because a browser keeps what it once sent to one.
    local = service.url.replace("127.0.0.1", "localhost")
    with tempfile.TemporaryDirectory(prefix="kmlflow-test-", ignore_cleanup_errors=True) as profile, Browser(profile) as browser:
        page = checks.page = Page(browser, service.url)
        for name, may_release, base in (("reader", False, f"{service.url}/mlflow/"), ("editor", True, f"{local}/mlflow/"), ("editor", True, f"{own}/")):
            sign_in(page, name, base)
            page.version(1)
            checks.holds(f"{base}: {name} sees the button", page.press())
            checks.sees(f"{base}: the dialog knows {name}", "dialog[open] p", f"signed in as {name}")
            checks.equal(f"{base}: {name} is offered a release: {may_release}", "New release" in page.dialog(), may_release)
            browser.screenshot(ARTIFACTS / f"button-{name}.png")
        ask(checks, page, "1")
        checks.clicks("button[data-go]")
        page.commit()
        checks.equal("the history names who asked", history(service)[0]["requestedBy"], "editor")
        page.base = f"{local}/mlflow/"
        page.version(2)
        checks.holds("the editor looks at a version that breaks callers", page.press())
        ask(checks, page, "2")
        checks.sees("which is refused by what breaks", ".problem", "breaks callers of the live version 1")
        checks.sees("input by input", ".problem li code", "double (required)")
        checks.equal("and an editor cannot have it all the same", "callers may break" in page.dialog(), False)
        browser.screenshot(ARTIFACTS / "button-breaks-editor.png")
    gate(checks, service)
    checks.page = None


def sign_in(page: Page, name: str, base: str) -> None:
    """Goes to MLflow as somebody with an account there."""
    page.base = base
    page.browser.open(base.replace("http://", f"http://{name}:{urllib.parse.quote(name)}-of-tests-only@"))
    page.browser.wait_for("document.querySelector('main')")


def ask(checks: PageChecks, page: Page, version: str) -> None:
    """Asks what a single release would change."""
    checks.clicks("label", "Single")
    checks.clicks("summary", "Where:")
    page.type("artifact", f"registry.example/fraud:{version}")
    checks.clicks("button[data-preview]")


def gate(checks: PageChecks, service: Service) -> None:
    """Who manages the model releases a version that breaks its callers, by a press that says so."""
    with tempfile.TemporaryDirectory(prefix="kmlflow-test-", ignore_cleanup_errors=True) as profile, Browser(profile) as browser:
        page = checks.page = Page(browser, service.url)
        sign_in(page, "manager", f"{service.url}/mlflow/")
        page.version(2)
        checks.holds("the manager looks at it too", page.press())
        ask(checks, page, "2")
        checks.sees("it is refused at first", ".problem", "breaks callers of the live version 1")
        browser.screenshot(ARTIFACTS / "button-breaks-manager.png")
        checks.equal("nothing was done", state(service), "single settled 1")
        checks.clicks("button", "Release all the same, callers may break")
        checks.sees("then it is shown what changes", "pre span.added", "registry.example/fraud:2")
        checks.clicks("button[data-go]")
        commit = page.commit()
        checks.equal("and released", state(service), "single settled 2")
        message = git(service, "log", "-1", "--format=%B", commit)
        checks.holds("as a commit of the manager", message.startswith(f"release({KEY}): ") and "Requested-By: manager" in message, message)
