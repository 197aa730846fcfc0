"""A real Prometheus scrapes what the dashboards are about and evaluates the rules: every query answers, with what was served."""

from __future__ import annotations

import json
import math
import pathlib
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

import yaml

import monitoring
from exporters import Exporters
from gallery import make
from monitoring import Monitored, as_prometheus_sees_it
from servers import Answers, Server, prometheus
from service import Checks, Service

INTERVAL = "1s"

# Every target must have answered for so long: longer than the window of a rate.
SECONDS = 10

# What a panel must show, by its title, for the release that the exporters serve; within a fifth, because a busy machine scrapes late.
SHOWN = {
    "Weight of each version in Git": {"v7": 0.75, "v8": 0.25},
    "Requests per second": {"v7": 80.0, "v8": 20.0},
    "Successful predictions": {"v7": 80.0, "v8": 19.0},
    "Failed predictions": {"v7": 0.0, "v8": 1.0},
    "Error rate": {"v7": 0.0, "v8": 0.05},
    "Average inference time": {"v7": 0.03, "v8": 0.03},
    "CPU": {"v7": 0.5, "v8": 0.25},
    "RAM": {"v7": 0.5e9, "v8": 0.25e9},
    "Ready replicas": {"fraud-v7-0-model": 1.0, "fraud-v8-0-model": 1.0},
    "GPU": {"v7": 60.0, "v8": 60.0},
    "VRAM": {"v7": 2_048.0, "v8": 2_048.0},
    "Load time": {"v7 ready": 12.0, "v8 ready": 12.0, "v7 model": 3.0, "v8 model": 4.0},
    "Share of requests seen": {"v7": 0.8, "v8": 0.2},
    "Share of requests seen per arm": {"v7": 0.8, "v8": 0.2},
    "Error rate: stable against candidate": {"stable v7": 0.0, "candidate v8": 0.05},
    "Error rate: blue against green": {"blue v7": 0.0, "green v8": 0.05},
    "Error rate: live against shadow": {"live v7": 0.0, "shadow v8": 0.05},
    "Mirrored rate against expected": {"mirrored v8": 0.25, "expected": 0.2},
}

# Queries of the release service's dashboard that have nothing to show before it happens.
QUIET = {"Registry against Git"}


class Registry(Answers):
    """A tracking server that has no model: enough for a sweep."""

    def respond(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        return 200, json.dumps({"registered_models": [], "model_versions": []}).encode()


class Asked:
    """A Prometheus that is asked."""

    def __init__(self, server: Server):
        self.server = server
        self.moment = 0.0

    def query(self, expression: str, moment: float | None = None) -> list[dict]:
        parameters = {"query": as_prometheus_sees_it(expression), "time": str(self.moment if moment is None else moment)}
        answer = self.get(f"/api/v1/query?{urllib.parse.urlencode(parameters)}")
        return answer["result"]

    def get(self, path: str) -> dict:
        try:
            with urllib.request.urlopen(f"{self.server.url}{path}", timeout=30) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise SystemExit(f"{path}: {error.read().decode()}") from error

    def until_scraped(self) -> None:
        """Waits until every target has answered all the time; that moment is then what every query is about."""
        for _ in range(1_200):
            now = time.time()
            [found] = self.query(f"min(min_over_time(up[{SECONDS}s])) * min(count_over_time(up[{SECONDS}s]))", now) or [{"value": [0, "0"]}]
            if float(found["value"][1]) >= SECONDS - 1:
                self.moment = now
                return
            # Nothing ends by itself here: this only waits a moment.
            self.server.ended()
        raise SystemExit("the targets do not answer in time:\n" + self.server.printed()[-4000:])


def legend(target: dict, labels: dict[str, str]) -> str:
    text = target["legendFormat"]
    for name, value in labels.items():
        text = text.replace("{{" + name + "}}", value)
    return text


def shown(asked: Asked, panel: dict) -> dict[str, float]:
    """What a panel shows: a value for each line."""
    return {
        legend(target, sample["metric"]): float(sample["value"][1]) for target in panel["targets"] for sample in asked.query(target["expr"])
    }


def check_release(checks: Checks, asked: Asked, found: Monitored) -> None:
    for panel in found.panels:
        lines = shown(asked, panel)
        name = f"{found.name}: {panel['title']!r}"
        checks.holds(f"{name} answers", bool(lines) and all(map(math.isfinite, lines.values())), str(lines))
        checks.holds(f"{name} names its lines", not any("{{" in line for line in lines), str(lines))
        expected = SHOWN.get(panel["title"])
        if expected and "leaving" != found.name:
            same = lines.keys() == expected.keys() and all(math.isclose(lines[k], v, rel_tol=0.2, abs_tol=0.001) for k, v in expected.items())
            checks.holds(f"{name} shows what was served", same, f"{lines}, expected {expected}")
    for note in found.dashboard["annotations"]["list"]:
        [commit] = asked.query(note["expr"])
        checks.equal(f"{found.name}: the moment of the commit", float(commit["value"][1]), 1_700_000_000_000.0)


def check_of_platform(checks: Checks, asked: Asked, found: Monitored) -> None:
    for panel in found.panels:
        lines = shown(asked, panel)
        holds = bool(lines) or panel["title"] in QUIET
        checks.holds(f"{found.name}: {panel['title']!r} answers", holds, str(lines))
        # A quantile of nothing is not a number, and Grafana draws no line for it.
        checks.holds(f"{found.name}: {panel['title']!r} names its lines", not any("{{" in line for line in lines), str(lines))


def check_rules(checks: Checks, asked: Asked, expected: set[str]) -> None:
    groups = asked.get("/api/v1/rules")["groups"]
    found = {rule["name"] for group in groups for rule in group["rules"]}
    checks.equal("every alert is loaded", found, expected)
    for group in groups:
        for rule in group["rules"]:
            checks.equal(f"{group['file'].rsplit('/', 1)[-1]}: {rule['name']} is evaluated", (rule["health"], rule.get("lastError", "")), ("ok", ""))


def check_without_data(checks: Checks, asked: Asked, found: Monitored) -> None:
    """Long before anything was scraped there is nothing to show, which is no error and no failure."""
    for expression in found.expressions():
        asked.query(expression, 1_000_000)
    for group in found.groups:
        for rule in group["rules"]:
            fires = asked.query(rule["expr"], 1_000_000)
            is_about_absence = rule["expr"].startswith("absent(")
            checks.equal(f"{found.name}: {rule['alert']} without any data", bool(fires), is_about_absence)


# Told only by replicas that name their leader in a cluster: the bed sees it (tests/e2e/bed/lease.rs).
WITH_A_LEASE = {"kmlflow_lease_held"}


def check_names(checks: Checks, services: list[Service]) -> None:
    """What the dashboards and alerts name of the release service is what a running one tells."""
    told: set[str] = set()
    for one in services:
        with urllib.request.urlopen(f"{one.url}/metrics", timeout=30) as answer:
            told |= {line.split("{")[0].split(" ")[0] for line in answer.read().decode().splitlines() if not line.startswith("#")}
    for found in monitoring.everything():
        named = {name for expression in found.expressions() for name in monitoring.metrics_in(expression) if name.startswith("kmlflow_")}
        checks.equal(f"{found.name}: metrics that the release service does not tell", named - told - WITH_A_LEASE, set())
    checks.holds("the service's dashboard names its metrics", len([n for n in told if n.startswith("kmlflow_")]) > 20, str(told))


def scrape(home: pathlib.Path, exporters: Exporters, services: list[Service], everything: list[Monitored]) -> str:
    """The configuration of Prometheus, with the rules of each dashboard in a file of its own."""
    for found in everything:
        (home / f"{found.name}.rules.yml").write_text(yaml.safe_dump({"groups": [group | {"interval": INTERVAL} for group in found.groups]}))
    jobs = exporters.scrape_configs()
    targets = [one.url.removeprefix("http://") for one in services]
    jobs.append({"job_name": "k5w/kmlflow", "honor_labels": True, "static_configs": [{"targets": targets, "labels": {"namespace": "k5w"}}]})
    return yaml.safe_dump({"global": {"scrape_interval": INTERVAL, "evaluation_interval": INTERVAL}, "rule_files": ["*.rules.yml"], "scrape_configs": jobs})


def itself(home: pathlib.Path, text: str) -> Server:
    """Prometheus, which scrapes itself as well."""
    server = prometheus(home, text)
    own = {"job_name": "prometheus", "static_configs": [{"targets": [server.url.removeprefix("http://")]}]}
    configuration = yaml.safe_load(text)
    configuration["scrape_configs"].append(own)
    (home / "prometheus.yml").write_text(yaml.safe_dump(configuration))
    return server


def main() -> None:
    checks = Checks()
    everything = monitoring.everything()
    alerts = {alert for found in everything for alert in found.alerts}
    with tempfile.TemporaryDirectory(prefix="kmlflow-test-") as directory, Exporters() as exporters, Registry() as registry:
        home = pathlib.Path(directory)
        with Service() as service, Service(variables={"KMLFLOW__MLFLOW__TRACKING_URI": registry.url}) as with_registry:
            services = [service, with_registry]
            make(service)
            with_registry.must("POST", "/sweep")
            check_names(checks, services)
            with itself(home, scrape(home, exporters, services, everything)) as server:
                asked = Asked(server)
                asked.until_scraped()
                for found in monitoring.releases():
                    check_release(checks, asked, found)
                check_of_platform(checks, asked, monitoring.service())
                check_of_platform(checks, asked, monitoring.platform())
                for found in everything:
                    check_without_data(checks, asked, found)
                check_rules(checks, asked, alerts)
    checks.end()


if __name__ == "__main__":
    main()
