"""How what callers send would change, as the dialog shows it before anything is asked for: what breaks them, and what is merely added."""

from __future__ import annotations

from button_page import ARTIFACTS, FITS, LOOKS, SIDEWAYS, Page, PageChecks, state
from button_rights import ask, log_model
from service import Service
from tracking import Tracking

MODEL = "signed"

KEY = f"production/models/{MODEL}"

# Longer than a line of the smallest window.
LONG = "seconds_since_the_account_was_last_used_from_the_same_device"


def signatures(checks: PageChecks, page: Page, tracking: Tracking, service: Service) -> None:
    tracking.register(MODEL, 0)
    for columns in (["amount", "age"], ["amount", "age", "note?"], ["amount", LONG, "note?"], None):
        log_model(tracking, columns, MODEL)
    service.must("PUT", f"/releases/{KEY}", {"model": MODEL, "version": "1", "image": "registry.example/fraud:1"})
    signed = checks.page = Page(page.browser, "", MODEL)
    signed.base = page.base
    for where, is_dark, width, height in LOOKS:
        page.browser.resize(width, height)
        signed.set_up(is_dark)
        added(checks, signed, where)
        breaking(checks, signed, where)
    page.browser.resize(1280, 900)
    signed.set_up(False)
    silent(checks, signed)
    checks.equal("and nothing was done", state(service, KEY), "single settled 1")
    checks.page = page


def added(checks: PageChecks, page: Page, where: str) -> None:
    """Version 2 takes one column more, which may be left out."""
    page.version(2)
    checks.holds(f"{where}: the dialog opens on a wider version", page.press())
    ask(checks, page, "2")
    checks.sees(f"{where}: what is merely added is shown as that", "dialog[open] .signature p", "Merely added")
    checks.reads(f"{where}: by its input", "all('dialog[open] .signature pre span').map((line) => line.className + ' ' + line.textContent)", ["added + note: double (optional)"])
    checks.reads(f"{where}: and breaks nobody", "all('dialog[open] [data-breaks]').length", 0)
    looks(checks, page, f"signature-added-{where}", where)


def breaking(checks: PageChecks, page: Page, where: str) -> None:
    """Version 3 has lost a column, wants a new one, and takes one more."""
    page.version(3)
    checks.holds(f"{where}: the dialog opens on a version that breaks callers", page.press())
    ask(checks, page, "3")
    checks.sees(f"{where}: it is refused at first", "dialog[open] .problem", "breaks callers of the live version 1")
    checks.clicks("button", "Release all the same, callers may break")
    checks.sees(f"{where}: then what breaks is shown", "dialog[open] .signature [data-breaks] strong", "breaks callers of the live version 1")
    broken = "all('dialog[open] [data-breaks] li').map((item) => item.textContent)"
    checks.reads(f"{where}: input by input", broken, ["age is gone: double (required)", f"{LONG} is new and required: double (required)"])
    checks.reads(f"{where}: and apart from it what is merely added", "all('dialog[open] .signature pre span').map((line) => line.textContent)", ["+ note: double (optional)"])
    looks(checks, page, f"signature-breaks-{where}", where)


def silent(checks: PageChecks, page: Page) -> None:
    """Version 4 does not say what it takes."""
    page.version(4)
    checks.holds("the dialog opens on a version without a signature", page.press())
    ask(checks, page, "4")
    checks.sees("that it does not say what it takes is a warning", "dialog[open] .signature .note.warn", "It has no input signature")
    checks.sees("beside what the live one takes", "dialog[open] .signature pre span.removed", "- amount: double (required)")
    page.browser.screenshot(ARTIFACTS / "button-signature-silent.png")


def looks(checks: PageChecks, page: Page, name: str, where: str) -> None:
    checks.reads(f"{where}: it fits the window", FITS, [True])
    checks.reads(f"{where}: and nothing but a diff is scrolled sideways", SIDEWAYS, [0])
    page.browser.screenshot(ARTIFACTS / f"button-{name}.png")
