#!/usr/bin/env python3
"""Reads how a release is doing from Prometheus: requests per second, share of errors and p95 latency, by version.

What a reader learns:
- the series that Seldon's engine gives for each version of a release, and the queries of the generated dashboard;
- Prometheus' HTTP API: `query` for the value now, `query_range` for the values of the last while;
- no data is not zero: a version that nobody has called has no series, and the table says so.

    python metrics.py --prometheus http://127.0.0.1:9090 --release wine -n models
    python metrics.py --prometheus http://127.0.0.1:9090 --release wine -n models --last 1h --step 10m

A version is a predictor: `v7` is version 7, `v7r2` the same version with other pods. Exit code: 0, or 3 where there is no data at all.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import sys
import time

import requests

SERIES = "seldon_api_executor_server_requests_seconds"

# REST's predictions, and those of both protocols over gRPC; health and metadata calls are not counted.
PREDICTIONS = "predictions|.+/ModelInfer|.+/Predict"

# A server's error over HTTP or over gRPC. A caller's mistake (4xx) is none.
FAILED = "5..|Unknown|DeadlineExceeded|Unimplemented|Internal|Unavailable|DataLoss"

SECONDS_OF = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def queries(release: str, namespace: str, window: str) -> dict[str, str]:
    """The dashboard's queries, column by column. JSON's way to write a string is PromQL's too, so no name can break out of it."""
    of = f'namespace={json.dumps(namespace)},deployment_name={json.dumps(release)},service=~"{PREDICTIONS}"'
    rate = f"sum by (predictor_name) (rate({SERIES}_count{{{of}}}[{window}]))"
    failed = f'sum by (predictor_name) (rate({SERIES}_count{{{of},code=~"{FAILED}"}}[{window}]))'
    buckets = f"sum by (le, predictor_name) (rate({SERIES}_bucket{{{of}}}[{window}]))"
    return {
        "QPS": rate,
        # A version without errors has no series of errors: it gets a zero from its series of requests.
        "errors": f"({failed} or 0 * {rate}) / {rate}",
        "p95": f"histogram_quantile(0.95, {buckets})",
    }


class Prometheus:
    """Prometheus' HTTP API (<https://prometheus.io/docs/prometheus/latest/querying/api/>)."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")

    def ask(self, path: str, parameters: dict[str, str | float]) -> list[dict]:
        answer = requests.get(f"{self.url}/api/v1/{path}", params=parameters, timeout=30)
        if not answer.headers.get("Content-Type", "").startswith("application/json"):
            raise SystemExit(f"{self.url} answers {answer.status_code} and no JSON: is it a Prometheus?")
        body = answer.json()
        if body["status"] != "success":
            raise SystemExit(f"Prometheus refuses the query: {body['error']}")
        return body["data"]["result"]

    def now(self, query: str) -> dict[str, float]:
        """The newest value of each version."""
        return {one["metric"].get("predictor_name", ""): float(one["value"][1]) for one in self.ask("query", {"query": query})}

    def last(self, query: str, seconds: float, step: float) -> dict[str, list[tuple[float, float]]]:
        """The values of each version, oldest first."""
        end = time.time()
        found = self.ask("query_range", {"query": query, "start": end - seconds, "end": end, "step": step})
        return {one["metric"].get("predictor_name", ""): [(at, float(value)) for at, value in one["values"]] for one in found}


def text_of(column: str, value: float | None) -> str:
    if value is None or math.isnan(value):
        return "no data"
    return {"QPS": f"{value:.2f}/s", "errors": f"{value:.1%}", "p95": f"{value * 1000:.0f} ms"}[column]


def table(columns: dict[str, dict[str, float]]) -> str:
    """A line per version."""
    versions = sorted({version for values in columns.values() for version in values})
    lines = [["version", *columns]] + [[version, *(text_of(c, values.get(version)) for c, values in columns.items())] for version in versions]
    return "\n".join("".join(f"{cell:<12}" for cell in line).rstrip() for line in lines)


def duration(text: str) -> str:
    if not re.fullmatch(r"[1-9][0-9]*[smhd]", text):
        raise argparse.ArgumentTypeError(f"`{text}` is no time; write it like 5m")
    return text


def seconds_of(text: str) -> float:
    return int(text[:-1]) * SECONDS_OF[text[-1]]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    address = os.environ.get("PROMETHEUS_URL", "http://127.0.0.1:9090")
    parser.add_argument("--prometheus", default=address, metavar="URL", help="its address (default: PROMETHEUS_URL, else %(default)s)")
    parser.add_argument("--release", required=True, help="name of the release")
    parser.add_argument("-n", "--namespace", default="models", help="namespace of the release (default: %(default)s)")
    parser.add_argument("--window", type=duration, default="5m", help="what rates are averaged over (default: %(default)s)")
    parser.add_argument("--last", type=duration, help="print the requests per second over the last while as well, as in 1h")
    parser.add_argument("--step", type=duration, default="5m", help="time between two values of --last (default: %(default)s)")
    return parser.parse_args()


def main() -> int:
    arguments = parse()
    prometheus = Prometheus(arguments.prometheus)
    asked = queries(arguments.release, arguments.namespace, arguments.window)
    columns = {column: prometheus.now(query) for column, query in asked.items()}
    if not any(columns.values()):
        print(f"no data: Prometheus knows no requests to release `{arguments.release}` in `{arguments.namespace}` in the last {arguments.window}")
        return 3
    print(table(columns))
    if arguments.last:
        print("\ntime      QPS by version")
        found = prometheus.last(asked["QPS"], seconds_of(arguments.last), seconds_of(arguments.step))
        for at in sorted({at for values in found.values() for at, _ in values}):
            values = (f"{version} {text_of('QPS', dict(series).get(at))}" for version, series in sorted(found.items()))
            print(time.strftime("%H:%M:%S", time.localtime(at)), *values, sep="  ")
    return 0


if __name__ == "__main__":
    sys.exit(main())
