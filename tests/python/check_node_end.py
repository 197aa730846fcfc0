"""Ends the node and looks for what it leaves on the machine. Runs outside of it."""

from __future__ import annotations

import subprocess

from node import Traces, interfaces
from service import ROOT, Checks


def main() -> None:
    checks = Checks()
    traces = Traces()
    checks.holds("while it is up its processes are seen", len(traces.processes()) > 10, str(traces.processes()))
    checks.holds("and its control groups", bool(traces.control_groups()))
    checks.equal("but no mount of it", traces.mounts(), [])
    before = interfaces()
    down = subprocess.run([ROOT / "tests/node/down"], capture_output=True, text=True, timeout=60)
    checks.equal("it ends", (down.returncode, down.stderr), (0, ""))
    checks.equal("no process is left", traces.processes(), [])
    checks.equal("no mount", traces.mounts(), [])
    checks.equal("no control group", traces.control_groups(), [])
    checks.equal("no folder", traces.folders(), [])
    checks.equal("no interface came or went with it", interfaces(), before)
    again = subprocess.run([ROOT / "tests/node/down"], capture_output=True, text=True, timeout=60)
    checks.equal("to end what is not there is nothing", (again.returncode, again.stdout + again.stderr), (0, ""))
    checks.end()


if __name__ == "__main__":
    main()
