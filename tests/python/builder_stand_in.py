"""Stands in for `docker` where no image can be built: looks at the build context as a build would, and writes down how it was called.

Called as `builder_stand_in.py RECORD ARGUMENT…`. A build fails where the Dockerfile or what it copies is missing, a push where nothing was
built under that name.
"""

from __future__ import annotations

import pathlib
import sys


def build(arguments: list[str]) -> str | None:
    """Why the build fails, or nothing."""
    context = pathlib.Path(arguments[-1])
    if not (context / "Dockerfile").is_file():
        return "no Dockerfile"
    if "fails" in arguments[arguments.index("--tag") + 1]:
        return "the build fails"
    for line in (context / "Dockerfile").read_text().splitlines():
        word, *names = line.split() or [""]
        if word == "COPY" and not (context / names[0]).exists():
            return f"COPY {names[0]}: not there"
    return None


def main() -> int:
    record, (command, *arguments) = pathlib.Path(sys.argv[1]), sys.argv[2:]
    before = record.read_text() if record.exists() else ""
    why = None
    if command == "build":
        why = build(arguments)
    elif command == "push" and f"--tag {arguments[0]} " not in before:
        why = f"{arguments[0]} was not built"
    if why:
        print(f"ERROR: {why}", file=sys.stderr)
        return 1
    record.write_text(before + " ".join([command, *arguments]) + "\n")
    return 0


sys.exit(main())
