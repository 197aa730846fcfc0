"""The dashboards are what Grafana takes: TypeScript holds them against its published types, and no panel lies on another.

`KMLFLOW_TEST_GRAFANA` is a folder whose `node_modules` have `@grafana/schema` and `typescript`.
"""

from __future__ import annotations

import itertools
import json
import os
import pathlib
import re
import subprocess

import monitoring
from monitoring import Monitored
from service import Checks

# Grafana's grid has so many columns.
COLUMNS = 24

# The units that are used, by Grafana's ids for them; one that it does not know, such as `cores`, it writes behind the number.
UNITS = {"bytes", "cores", "mbytes", "ms", "percent", "percentunit", "reqps", "s", "short"}

# What a data source adds to the types is its own: these are Prometheus'.
TYPES = """
import type { AnnotationQuery, Dashboard, Panel } from '@grafana/schema';

interface PrometheusQuery { refId: string; expr: string; legendFormat: string }
interface PrometheusAnnotation extends AnnotationQuery { expr: string; titleFormat: string; useValueForTime: boolean }
interface PrometheusPanel extends Omit<Panel, 'targets'> { targets: PrometheusQuery[] }
export interface Ours extends Omit<Dashboard, 'annotations' | 'panels'> {
  annotations?: { list: PrometheusAnnotation[] };
  panels: PrometheusPanel[];
}
"""

# Mistakes that the compiler must see; each is one to it when the line after the comment has none.
MISTAKES = """
import type { Ours } from './ours';

const well: Ours = { schemaVersion: 39, panels: [] };
// @ts-expect-error a field that Grafana does not know
export const unknown: Ours = { ...well, pannels: [] };
// @ts-expect-error a query that is no text
export const number: Ours = { ...well, panels: [{ type: 'stat', targets: [{ refId: 'A', expr: 1, legendFormat: '' }] }] };
// @ts-expect-error a place without a width
export const narrow: Ours = { ...well, panels: [{ type: 'stat', targets: [], gridPos: { x: 0, y: 0, h: 8 } }] };
"""

CONFIG = {
    "compilerOptions": {
        "strict": True,
        "noEmit": True,
        "exactOptionalPropertyTypes": True,
        "skipLibCheck": True,
        "target": "es2022",
        "module": "esnext",
        "moduleResolution": "bundler",
        "types": [],
    },
    "include": ["*.ts"],
}


def compile_all(folder: pathlib.Path, everything: list[Monitored]) -> str:
    """What the compiler says of them all; nothing where they fit."""
    source = folder / "dashboards"
    source.mkdir(exist_ok=True)
    for left in source.iterdir():
        left.unlink()
    (source / "ours.ts").write_text(TYPES)
    (source / "mistakes.ts").write_text(MISTAKES)
    (source / "tsconfig.json").write_text(json.dumps(CONFIG))
    for found in everything:
        text = json.dumps(found.dashboard, indent=1)
        (source / f"{found.name}.ts").write_text(f"import type {{ Ours }} from './ours';\nexport const dashboard: Ours = {text};\n")
    ran = subprocess.run([folder / "node_modules/.bin/tsc", "--project", source], capture_output=True, text=True)
    return ran.stdout + ran.stderr if ran.returncode else ""


def check_layout(checks: Checks, found: Monitored) -> None:
    cells: set[tuple[int, int]] = set()
    for panel in found.panels:
        x, y, w, h = (panel["gridPos"][side] for side in "xywh")
        own = set(itertools.product(range(x, x + w), range(y, y + h)))
        checks.holds(f"{found.name}: {panel['title']!r} lies on no other", not own & cells, str(panel["gridPos"]))
        checks.holds(f"{found.name}: {panel['title']!r} is on the grid", 0 <= x and x + w <= COLUMNS and w > 0 and h > 0, str(panel["gridPos"]))
        cells |= own
    height = 1 + max(y for _, y in cells)
    gaps = [y for y in range(height) if (0, y) not in cells]
    checks.equal(f"{found.name}: rows without a panel", gaps, [])


def check_words(checks: Checks, found: Monitored) -> None:
    titles = [panel["title"] for panel in found.panels]
    checks.equal(f"{found.name}: titles", sorted(set(titles)), sorted(titles))
    checks.equal(f"{found.name}: ids", len({panel["id"] for panel in found.panels}), len(found.panels))
    for panel in found.panels:
        name = f"{found.name}: {panel['title']!r}"
        checks.holds(f"{name} has one of the units", panel["fieldConfig"]["defaults"]["unit"] in UNITS, str(panel["fieldConfig"]))
        checks.equal(f"{name} says so where there is nothing", panel["fieldConfig"]["defaults"]["noValue"], "no data")
        checks.holds(f"{name} says what it shows", panel["description"].endswith("."), panel["description"])
        checks.equal(f"{name} asks the chosen source", panel["datasource"], {"type": "prometheus", "uid": "${datasource}"})
    checks.holds(f"{found.name}: an id that Grafana takes", bool(re.fullmatch(r"[a-zA-Z0-9_-]{1,40}", found.dashboard["uid"])), found.dashboard["uid"])


def check_documented(checks: Checks) -> None:
    """Every panel, alert and metric of the release service and the platform stands in the documentation."""
    text = (monitoring.ROOT / "docs/dashboard.md").read_text()
    for found in (monitoring.service(), monitoring.platform()):
        for word in [f"| {panel['title']} |" for panel in found.panels] + [f"`{alert}`" for alert in found.alerts]:
            checks.holds(f"{found.name}: documented {word}", word in text)


def main() -> None:
    checks = Checks()
    everything = monitoring.everything()
    checks.equal("Grafana's types", compile_all(pathlib.Path(os.environ["KMLFLOW_TEST_GRAFANA"]), everything), "")
    for found in everything:
        check_layout(checks, found)
        check_words(checks, found)
    check_documented(checks)
    checks.end()


if __name__ == "__main__":
    main()
