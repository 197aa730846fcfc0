"""The contender for the templates: jinja2 with the same templates and the same context, in one process, compiled once.

Started by the bench: jinja.py CONTEXT_FILE, which holds {"templates": {name: text}, "context": {…}}. For each line on standard input it
renders the set that many times and prints the seconds it took, so that the bench can take turns.
"""

from __future__ import annotations

import json
import pathlib
import sys
import time

import jinja2


def main() -> None:
    given = json.loads(pathlib.Path(sys.argv[1]).read_text())
    environment = jinja2.Environment(
        loader=jinja2.DictLoader(given["templates"]),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=given.get("trim_blocks", True),
        lstrip_blocks=given.get("lstrip_blocks", True),
        extensions=["jinja2.ext.do"],
    )
    # Text into YAML and JSON as the templates ask for it.
    environment.filters["json"] = lambda value: json.dumps(value, ensure_ascii=False)
    environment.filters["tojson"] = environment.filters["json"]
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False}
    templates = [environment.get_template(name) for name in given["render"]]
    for line in sys.stdin:
        began = time.perf_counter()
        size = 0
        for _ in range(int(line)):
            for template in templates:
                size += len(template.render(given["context"]))
        print(time.perf_counter() - began, size, flush=True)


main()
