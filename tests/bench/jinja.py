"""The contender for the templates: jinja2 with the same texts and the same context, in one process, compiled once.

Started by the bench: jinja.py FILE, which holds {"templates": {name: text}, "names": […], "context": {…}}. It prints a digest of what it
renders; then, for each number on standard input, it renders the set that many times and prints the seconds that took.
"""

from __future__ import annotations

import hashlib
import json
import pathlib
import sys
import time

import jinja2
from markupsafe import Markup


def as_json(value: object) -> str:
    """Whatever is interpolated becomes JSON; what a macro made is text of the template already."""
    return value if isinstance(value, Markup) else Markup(json.dumps(value, ensure_ascii=False))


def promql(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def promql_regex(value: str | list[str]) -> str:
    texts = [value] if isinstance(value, str) else value
    return promql("|".join("".join("\\" + c if c in r"\.+*?()|[]{}^$" else c for c in text) for text in texts))


def main() -> None:
    given = json.loads(pathlib.Path(sys.argv[1]).read_text())
    environment = jinja2.Environment(
        loader=jinja2.DictLoader(given["templates"]),
        undefined=jinja2.StrictUndefined,
        autoescape=True,
        finalize=as_json,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["promql"] = promql
    environment.filters["promql_regex"] = promql_regex
    environment.filters["alert_text"] = lambda text: text.replace("{{", '{{ "{{" }}')
    templates = [environment.get_template(name) for name in given["names"]]
    context = given["context"]
    print(hashlib.sha256("".join(template.render(context) for template in templates).encode()).hexdigest(), flush=True)
    for line in sys.stdin:
        began = time.perf_counter()
        for _ in range(int(line)):
            for template in templates:
                template.render(context)
        print(time.perf_counter() - began, flush=True)


main()
