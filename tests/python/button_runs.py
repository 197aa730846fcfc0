"""Every strategy and every act by clicks alone, each followed to its commit in the repository."""

from __future__ import annotations

from button_page import ARTIFACTS, KEY, MODEL, PageChecks, Page, act, git, history, state
from service import Service

STAGING = f"staging/team-a/{MODEL}"

# Keeps what the page asks for, answers a release as a service does whose remote is away, and says twice that it failed for now.
AWAY = """const real = window.fetch; let looks = 0;
window.fetch = async (where, options) => {
    const address = String(where);
    const answer = (status, body) => new Response(JSON.stringify(body), { status, headers: { 'content-type': 'application/json' } });
    if (address.endsWith('_kmlflow/api/releases') && !JSON.parse(options.body).dryRun) return answer(202, { delivery: 'd-1', state: 'queued', waitsFor: 'its turn' });
    const found = await real(where, options);
    if (!address.includes('delivery=d-1')) return found;
    const body = await found.json();
    const failed = { state: 'failed', reason: 'the remote `git.example` cannot be reached', nextAttemptAt: '2026-11-23T10:00:00Z' };
    body.delivery = ++looks < 3 ? failed : { state: 'applied', commit: 'c'.repeat(40) };
    return answer(200, body);
};"""


def committed(checks: PageChecks, service: Service, commit: str, what: str, key: str = KEY, *words: str) -> None:
    """The commit that the dialog names is in the repository, one of its run says who asked, and its release has these words."""
    message = git(service, "log", "-1", "--format=%B", commit)
    checks.holds(f"{what} is a commit", message.startswith(f"release({key}): "), f"{commit}: {message}")
    # A request may lead to several; the first says who asked.
    run = git(service, "log", "--format=%(trailers:key=Release-Id)", "-1", commit).strip()
    asked = git(service, "log", "--format=%B", f"--grep={run}", commit)
    checks.holds(f"{what} says who asked", bool(run) and "Requested-By: page" in asked, asked)
    release = git(service, "show", f"{commit}:releases/{key}/release.yaml")
    checks.equal(f"with all of {what}", [word for word in words if word not in release], [])
    on_branch = git(service, "rev-list", "main").split()
    checks.holds(f"{what} is on the branch", commit in on_branch, commit)


def done(checks: PageChecks) -> None:
    checks.clicks("button[data-done]")
    checks.sees("the dialog shows the release again", "dialog[open] h3", "Live now")


def ask(checks: PageChecks, page: Page, service: Service, version: int, strategy: str, settings: dict[str, str]) -> str:
    """Asks for a release of a version, looks at what changes, and sends it; gives its commit."""
    page.version(version)
    checks.holds(f"{strategy}: the dialog opens on version {version}", page.press())
    checks.clicks("dialog[open] label", strategy)
    for name, value in settings.items():
        page.type(name, value)
    checks.clicks("dialog[open] summary", "Where:")
    page.type("artifact", f"registry.example/fraud:{version}")
    before = service.must("GET", f"/releases/{KEY}")["commit"]
    checks.clicks("button[data-preview]")
    checks.sees(f"{strategy}: what changes is shown first", "pre span.added", f"registry.example/fraud:{version}")
    page.browser.screenshot(ARTIFACTS / f"button-diff-{strategy.lower().replace('/', '')}.png")
    checks.equal(f"{strategy}: and nothing is done yet", service.must("GET", f"/releases/{KEY}")["commit"], before)
    checks.clicks("button[data-go]")
    return page.commit()


def first(checks: PageChecks, page: Page, service: Service) -> None:
    """A first release."""
    browser = page.browser
    page.version(1)
    checks.holds("the dialog opens on version 1", page.press())
    checks.sees("nothing is live yet", "dialog[open] p", "Nothing is released")
    checks.clicks("summary", "Where:")
    page.type("artifact", "models:/no-such-model/1")
    checks.clicks("button[data-preview]")
    checks.sees("a URI of MLflow's own is no image", ".problem", "modelUri")
    checks.clicks("button", "Back")
    page.type("artifact", "registry.example/fraud:1")
    browser.screenshot(ARTIFACTS / "button-first.png")
    checks.clicks("button[data-preview]")
    checks.sees("what changes is shown first", "pre span.added", "registry.example/fraud:1")
    checks.equal("and nothing is done yet", service.call("GET", f"/releases/{KEY}")[0], 404)
    browser.screenshot(ARTIFACTS / "button-diff.png")
    checks.clicks("button[data-go]")
    commit = page.commit()
    checks.equal("the release is committed", service.must("GET", f"/releases/{KEY}")["commit"], commit)
    committed(checks, service, commit, "the first release", KEY, "strategy: single", "registry.example/fraud:1")
    browser.screenshot(ARTIFACTS / "button-progress.png")
    checks.clicks("button[data-done]")
    checks.sees("then it is live", "dialog[open] li", "Version 1")


def blue_green(checks: PageChecks, page: Page, service: Service) -> None:
    """Asked for, flipped and rolled back."""
    browser = page.browser
    page.version(2)
    page.press()
    checks.clicks("label", "Blue-green")
    browser.screenshot(ARTIFACTS / "button-blue-green.png")
    checks.sees("the live version is what it is compared with", "output", "Version 1")
    commit = ask(checks, page, service, 2, "Blue-green", {})
    view = service.must("GET", f"/releases/{KEY}")
    checks.holds("it is in the history", any(entry["commit"] == commit for entry in history(service)), commit)
    committed(checks, service, commit, "the blue-green release", KEY, "strategy: blue-green")
    checks.equal("blue is active", (view["spec"]["strategy"], view["spec"]["blueGreen"]["active"]), ("blue-green", "blue"))
    checks.equal("who asked is who signed in by the link", view["origin"]["requestedBy"], "page")
    done(checks)
    checks.sees("the acts that apply are there", "button[data-act=advance]", "Flip to green")
    browser.screenshot(ARTIFACTS / "button-running.png")

    commit = act(page, "advance", "Flip to green")
    checks.equal("the flip is made", service.must("GET", f"/releases/{KEY}")["spec"]["blueGreen"]["active"], "green")
    committed(checks, service, commit, "the flip", KEY, "active: green")
    done(checks)
    checks.sees("and the dialog shows it", "button[data-act=advance]", "Flip to blue")
    commit = act(page, "rollback", "Roll back")
    checks.equal("the roll back is made", state(service), "single settled 1")
    committed(checks, service, commit, "the roll back", KEY, "outcome: rolled-back")
    browser.screenshot(ARTIFACTS / "button-rolled-back.png")
    done(checks)

    checks.clicks("label", "Canary")
    page.type("steps", "50, 5")
    checks.clicks("button[data-preview]")
    checks.sees("a refusal says what is wrong", ".problem strong")
    browser.screenshot(ARTIFACTS / "button-refused.png")


def canary(checks: PageChecks, page: Page, service: Service) -> None:
    """Asked for with steps of its own, led one step on, and promoted."""
    commit = ask(checks, page, service, 2, "Canary", {"steps": "10, 40"})
    checks.equal("the canary runs", state(service), "canary running 1 2")
    committed(checks, service, commit, "the canary", KEY, "strategy: canary", "weight: 10", "weight: 40")
    done(checks)
    checks.sees("it has its share", "dialog[open] .shares li", "10 %")
    commit = act(page, "advance", "Next step")
    checks.equal("the next step is made", service.must("GET", f"/releases/{KEY}")["rollout"]["step"], 1)
    committed(checks, service, commit, "the step", KEY, "step: 1")
    done(checks)
    checks.sees("and shown", "dialog[open] .shares li", "40 %")
    commit = act(page, "promote", "Promote")
    checks.equal("the promotion is made", state(service), "single settled 2")
    committed(checks, service, commit, "the promotion", KEY, "outcome: promoted")


def ab(checks: PageChecks, page: Page, service: Service) -> None:
    """Asked for with weights, aborted; asked for again, and one of the two is named the winner."""
    commit = ask(checks, page, service, 3, "A/B", {"weight": "30"})
    weights = service.must("GET", f"/releases/{KEY}")["spec"]["ab"]["weights"]
    checks.equal("the A/B release has its weights", (state(service), weights), ("ab running 2 3", {"a": 70, "b": 30}))
    committed(checks, service, commit, "the A/B release", KEY, "strategy: ab", "a: 70", "b: 30")
    done(checks)
    commit = act(page, "abort", "Abort")
    checks.equal("it is aborted", state(service), "single settled 2")
    committed(checks, service, commit, "the abort", KEY, "outcome: aborted")
    ask(checks, page, service, 1, "A/B", {"weight": "50"})
    done(checks)
    commit = act(page, "promote", "Promote b (version 1)")
    checks.equal("the winner serves", state(service), "single settled 1")
    committed(checks, service, commit, "the winner", KEY, "outcome: promoted")


def shadow(checks: PageChecks, page: Page, service: Service) -> None:
    """Asked for with a percentage, paused, resumed and promoted."""
    commit = ask(checks, page, service, 3, "Shadow", {"percent": "25"})
    checks.equal("the shadow has its share", (state(service), service.must("GET", f"/releases/{KEY}")["spec"]["shadow"]), ("shadow running 1 3", {"percent": 25}))
    committed(checks, service, commit, "the shadow", KEY, "strategy: shadow", "percent: 25")
    done(checks)
    checks.sees("and is shown", "dialog[open] .shares li", "25 % mirrored")
    commit = act(page, "pause", "Pause")
    committed(checks, service, commit, "the pause", KEY, "paused:")
    done(checks)
    commit = act(page, "resume", "Resume")
    checks.holds("it goes on", "paused" not in service.must("GET", f"/releases/{KEY}")["rollout"])
    committed(checks, service, commit, "going on")
    done(checks)
    commit = act(page, "promote", "Promote")
    checks.equal("the shadow serves", state(service), "single settled 3")
    committed(checks, service, commit, "its promotion", KEY, "outcome: promoted")


def places(checks: PageChecks, page: Page, service: Service) -> None:
    """Another environment and namespace, and back: what was chosen stays chosen."""
    page.version(2)
    checks.holds("the dialog opens for another place", page.press())
    checks.clicks("dialog[open] label", "Shadow")
    checks.clicks("dialog[open] summary", "Where:")
    page.choose("environment", "staging")
    checks.sees("another environment has nothing", "dialog[open] p", f"Nothing is released as staging/models/{MODEL}")
    chosen = "all('input[name=strategy]').filter((radio) => radio.checked).map((radio) => radio.value)[0]"
    checks.reads("so the first release is single", chosen, "single")
    page.choose("environment", "production")
    checks.sees("back where it serves", "dialog[open] li", "Version 3")
    checks.reads("the strategy is the one that was chosen", chosen, "shadow")
    page.choose("environment", "staging")
    checks.sees("the other environment again", "dialog[open] summary", f"staging / models / {MODEL}")
    page.type("namespace", "team-a")
    page.leave()
    checks.sees("and another namespace", "dialog[open] summary", f"staging / team-a / {MODEL}")
    page.type("artifact", "registry.example/fraud:2")
    page.browser.screenshot(ARTIFACTS / "button-place.png")
    checks.clicks("button[data-preview]")
    checks.sees("what changes there is shown", "pre span.added", "registry.example/fraud:2")
    checks.clicks("button[data-go]")
    commit = page.commit()
    checks.equal("it is released there", state(service, STAGING), "single settled 2")
    checks.equal("and where it was nothing changed", state(service), "single settled 3")
    committed(checks, service, commit, "the release in another place", STAGING, "namespace: team-a", "environment: staging")


def retract(checks: PageChecks, page: Page, service: Service) -> None:
    """The release in the other place goes, and the first one stays."""
    page.version(2)
    checks.holds("the dialog opens to retract", page.press())
    page.choose("release", STAGING)
    checks.sees("the other release is looked at", "dialog[open] summary", f"staging / team-a / {MODEL}")
    checks.clicks("button[data-act=retract]")
    checks.sees("it says what that means", ".note", "Nobody can call the endpoint")
    page.browser.screenshot(ARTIFACTS / "button-retract.png")
    checks.clicks("button[data-go]", "Retract")
    commit = page.commit()
    checks.sees("and that it is gone", "dialog[open] li", "gone from the repository")
    there = git(service, "ls-tree", "-r", "--name-only", commit).split("\n")
    checks.equal("the commit has no file of it", [name for name in there if name.startswith(f"releases/{STAGING}/")], [])
    checks.holds("but for what it was", f"retracted/{STAGING}.yaml" in there, str(there))
    checks.equal("the other one stays", state(service), "single settled 3")


def waits(checks: PageChecks, page: Page) -> None:
    """What failed for now is no refusal: the dialog waits, says why, and follows it to its commit."""
    browser = page.browser
    away = browser.call("Page.addScriptToEvaluateOnNewDocument", {"source": AWAY}, browser.session)["identifier"]
    page.version(1)
    checks.holds("the dialog opens while the remote is away", page.press())
    checks.clicks("dialog[open] label", "Single")
    checks.clicks("dialog[open] summary", "Where:")
    page.type("artifact", "registry.example/fraud:1")
    checks.clicks("button[data-preview]")
    checks.clicks("button[data-go]", "Release")
    checks.sees("a failure says why", "dialog[open] li.now", "git.example cannot be reached")
    checks.sees("and that it is tried again", "dialog[open] li.now", "It is tried again at ")
    browser.screenshot(ARTIFACTS / "button-tried-again.png")
    checks.equal("the dialog waits until it is done", page.commit(), "c" * 40)
    browser.call("Page.removeScriptToEvaluateOnNewDocument", {"identifier": away}, browser.session)


def runs(checks: PageChecks, page: Page, service: Service) -> None:
    for part in (first, blue_green, canary, ab, shadow, places, retract):
        part(checks, page, service)
    waits(checks, page)
    checks.reads("no script of a page has failed", "errorsOfTest.filter((text) => !text.includes('ResizeObserver'))", [])
