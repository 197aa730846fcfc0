"""A real browser, spoken to over its debugging pipe: no driver program and no package beside the standard library."""

from __future__ import annotations

import base64
import json
import os
import pathlib
import select
import signal
import subprocess
import time

# Longer than any page here needs, so that only a fault reaches it.
PATIENCE_SECONDS = 60

# Finds elements in the page and in every shadow root of it: `all(selector, text)` those that match and whose text has a part, `hit(element)`
# where a person would point at one, or null where something else is in front of it.
FINDER = """
const all = (selector, text = '', root = document) => {
  const found = [...root.querySelectorAll(selector)].filter((element) => element.textContent.includes(text));
  for (const element of root.querySelectorAll('*')) if (element.shadowRoot) found.push(...all(selector, text, element.shadowRoot));
  return found;
};
const hit = (element) => {
  element.scrollIntoView({ block: 'center', inline: 'nearest' });
  const { left, top, width, height } = element.getBoundingClientRect();
  const [x, y] = [left + width / 2, top + height / 2];
  let at = document.elementFromPoint(x, y);
  while (at?.shadowRoot?.elementFromPoint(x, y) && at.shadowRoot.elementFromPoint(x, y) !== at) at = at.shadowRoot.elementFromPoint(x, y);
  return at && (at === element || element.contains(at) || at.contains(element) && at.closest('label')) ? { x, y } : null;
};
"""


class Browser:
    """Chromium without a window and with a profile of its own; ends with the `with` block."""

    def __init__(self, profile: str):
        self.profile = profile
        self.number = 0
        self.pending = b""

    def __enter__(self) -> Browser:
        to_read, self.to_write = os.pipe()
        self.to_read, from_write = os.pipe()

        def pipes() -> None:
            # Chromium reads its commands from 3 and writes its answers to 4.
            kept = os.dup(to_read), os.dup(from_write)
            os.dup2(kept[0], 3)
            os.dup2(kept[1], 4)

        command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
        command += ["--disable-background-networking", "--disable-component-update", "--window-size=1280,1000", "--hide-scrollbars"]
        command += [f"--user-data-dir={self.profile}", "--remote-debugging-pipe", "about:blank"]
        self.process = subprocess.Popen(command, preexec_fn=pipes, close_fds=False, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(to_read)
        os.close(from_write)
        target = self.call("Target.createTarget", {"url": "about:blank"})["targetId"]
        self.session = self.call("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
        return self

    def __exit__(self, *_: object) -> None:
        """Asks it to end, so that its many processes are done with the profile before that is removed; then ends what is left of them."""
        try:
            self.call("Browser.close", {})
            self.process.wait(PATIENCE_SECONDS)
        except (SystemExit, OSError, subprocess.TimeoutExpired):
            pass
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        os.close(self.to_write)
        os.close(self.to_read)

    def call(self, method: str, parameters: dict, session: str | None = None) -> dict:
        """One command of the protocol and its answer; events in between are of no interest."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters} | ({"sessionId": session} if session else {})
        os.write(self.to_write, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            answer = self._message(deadline)
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise SystemExit(f"{method}: {answer['error']}")
                return answer["result"]
        raise SystemExit(f"{method}: no answer from the browser")

    def _message(self, deadline: float) -> dict:
        while b"\0" not in self.pending:
            ready, _, _ = select.select([self.to_read], [], [], max(0, deadline - time.monotonic()))
            if not ready:
                return {}
            chunk = os.read(self.to_read, 1 << 16)
            if not chunk:
                raise SystemExit("the browser ended")
            self.pending += chunk
        message, _, self.pending = self.pending.partition(b"\0")
        return json.loads(message)

    def open(self, url: str) -> None:
        """Goes to an address; only the part after `#` may differ, so it always loads anew."""
        self.call("Page.navigate", {"url": "about:blank"}, self.session)
        self.call("Page.navigate", {"url": url}, self.session)

    def evaluate(self, expression: str) -> object:
        """The value of an expression in the page."""
        return self.call("Runtime.evaluate", {"expression": expression, "returnByValue": True}, self.session)["result"].get("value")

    def text(self) -> str:
        """What a reader sees."""
        return str(self.evaluate("document.body ? document.body.innerText : ''"))

    def source(self) -> str:
        """The page as it is now, with everything that scripts have put in."""
        return str(self.evaluate("document.documentElement.outerHTML"))

    def until(self, wanted: str) -> bool:
        """Looks until a reader sees a text; whether that came about."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            if wanted in self.text():
                return True
            select.select([], [], [], 0.05)
        return False

    def wait_for(self, expression: str, patience: float = PATIENCE_SECONDS) -> object:
        """Looks until an expression, which may use the finder, has a value that counts as true; that value, or None."""
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            if found := self.evaluate(f"(() => {{ {FINDER} const found = {expression}; return found instanceof Node ? true : found }})()"):
                return found
            select.select([], [], [], 0.05)
        return None

    def resize(self, width: int, height: int) -> None:
        """The size of the window in CSS pixels."""
        self.call("Emulation.setDeviceMetricsOverride", {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}, self.session)

    def prefer(self, scheme: str) -> None:
        """Whether the person prefers `light` or `dark` pages."""
        self.call("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}, self.session)

    def frames(self) -> None:
        """Lets the page draw itself twice."""
        drawn = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))"
        self.call("Runtime.evaluate", {"expression": drawn, "awaitPromise": True}, self.session)

    def click(self, selector: str, text: str = "", patience: float = PATIENCE_SECONDS) -> bool:
        """Points at the first such element once it is really in front and moves no more, and presses the mouse's button there; whether there was one."""
        place = f"all({json.dumps(selector)}, {json.dumps(text)}).filter((element) => !element.disabled).map(hit).find(Boolean)"
        deadline = time.monotonic() + patience
        at, before = self.wait_for(place, patience), None
        while isinstance(at, dict) and at != before:
            self.frames()
            at, before = self.wait_for(place, max(0.1, deadline - time.monotonic())), at
        if not isinstance(at, dict):
            return False
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", {"type": kind, **at, "button": "left" if kind != "mouseMoved" else "none", "clickCount": 1}, self.session)
        return True

    def press(self, key: str, code: int, modifiers: int = 0) -> None:
        """Presses a key by its name and number, such as `Escape` and 27; 8 is the modifier of the shift key."""
        for kind in ("rawKeyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", {"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code, "modifiers": modifiers}, self.session)

    def screenshot(self, path: pathlib.Path) -> None:
        """A picture of the whole page."""
        shot = self.call("Page.captureScreenshot", {"format": "png", "captureBeyondViewport": True}, self.session)
        path.write_bytes(base64.b64decode(shot["data"]))
